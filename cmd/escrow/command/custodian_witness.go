package command

import (
	"context"
	"net"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/witness"
	"github.com/penname/penname/verifier/refusal"
)

var errListen = refusal.New(refusal.Unavailable, "custodian.cannot_listen",
	"the address to listen on cannot be used: stop what listens there, or name another with --listen")

func custodianWitness(h *home) *cobra.Command {
	var listen string
	c := leaf("witness", "Cosign the public log's checkpoints: an HTTP server that the registrar asks",
		"escrow custodian witness --listen 127.0.0.1:8470", cobra.NoArgs, func(ctx context.Context, _ []string) error {
			w, done, err := h.at().OpenWitness(ctx, h.Now)
			if err != nil {
				return err
			}
			defer done() //nolint:errcheck // a lock
			ln, err := net.Listen("tcp", listen)
			if err != nil {
				return errListen.Because(err)
			}
			address := "http://" + ln.Addr().String()
			if err := h.print(map[string]string{"address": address}, "witness at "+address); err != nil {
				return err
			}
			return witness.Serve(ctx, ln, w)
		})
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "address to listen on; put TLS in front of any that is not loopback")
	c.AddCommand(custodianWitnessInit(h))
	return c
}
