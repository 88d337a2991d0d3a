package command

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/seal/ceremony"
	"github.com/penname/penname/escrow/witness"
	"github.com/penname/penname/policy"
)

// Serve is [witness.Serve].
func Serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	return witness.Serve(ctx, ln, h)
}

// OpenWitness is [custodian.OpenWitness].
func OpenWitness(dir, passphraseFile string, now func() time.Time) (http.Handler, func() error, error) {
	return custodian.OpenWitness(dir, passphraseFile, now)
}

// CheckPlan is [ceremony.CheckPlan].
func CheckPlan(plan *policy.CeremonyPlan) error { return ceremony.CheckPlan(plan) }

// CeremonyResult is [ceremony.Result].
func CeremonyResult(transcript []byte) (*policy.CeremonyPlan, string, error) {
	return ceremony.Result(transcript)
}
