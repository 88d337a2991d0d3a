package command

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/witness"
	"github.com/penname/penname/verifier/refusal"
)

var errWitnessTLS = refusal.New(refusal.Invalid, "custodian.bad_certificate",
	"--tls-cert and --tls-key must be a PEM certificate for the witness's host, with its chain, and its key")

var errListen = refusal.New(refusal.Unavailable, "custodian.cannot_listen",
	"the address to listen on cannot be used: stop what listens there, or name another with --listen")

func custodianWitness(h *home) *cobra.Command {
	var listen, cert, key string
	c := leaf("witness", "Cosign the public log's checkpoints: a web server that the registrar asks",
		"escrow custodian witness --listen :8470 --tls-cert alba.crt --tls-key alba.key", cobra.NoArgs, func(ctx context.Context, _ []string) error {
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
			if cert != "" || key != "" {
				pair, err := tls.LoadX509KeyPair(cert, key)
				if err != nil {
					ln.Close()           // nothing is served
					return errWitnessTLS // the cause could quote the key
				}
				ln = tls.NewListener(ln, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}})
				address = "https://" + ln.Addr().String()
			}
			if err := h.print(map[string]string{"address": address}, "witness at "+address); err != nil {
				return err
			}
			return witness.Serve(ctx, ln, w)
		})
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "address to listen on; one that is not loopback needs TLS, here or in front")
	c.Flags().StringVar(&cert, "tls-cert", "", "certificate, PEM; it is read at the start")
	c.Flags().StringVar(&key, "tls-key", "", "its key, PEM")
	c.AddCommand(custodianWitnessInit(h))
	return c
}
