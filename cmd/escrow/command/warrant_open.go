package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/rules"
)

func warrantOpen(p *program) *cobra.Command {
	var key, bundle, save, folder string
	c := leaf("open CASE", "Fetch the package of a case, check every proof and what was published, and open it with the requester's key",
		"escrow warrant open CASE --key requester.key --bundle bundle.json --server https://penname.example",
		cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			if err := require([2]string{"key", key}, [2]string{"bundle", bundle}); err != nil {
				return err
			}
			private, err := requester.ReadKey(key)
			if err != nil {
				return err
			}
			b, err := p.readBundle(bundle)
			if err != nil {
				return err
			}
			r, err := p.registrar()
			if err != nil {
				return err
			}
			sealed, err := r.Package(ctx, args[0])
			if err != nil {
				return err
			}
			d, err := requester.Unseal(args[0], sealed, private)
			if err != nil {
				return err
			}
			if save != "" {
				if err := saveDelivery(save, d); err != nil {
					return err
				}
				if !p.json {
					fmt.Fprintf(p.Stderr, "saved: %s, the delivery as it came; whether it opens is said beside\n", save)
				}
			}
			since, err := p.since(ctx, d, b)
			if err != nil {
				return err
			}
			read := exhibit.Reader{Save: func(exhibit.Declared, []byte) error { return nil }, Fetch: func(digest [32]byte) (io.ReadCloser, error) {
				sealed, err := r.Exhibit(ctx, args[0], digest)
				return sealed, missing(err)
			}}
			read.Short = shortExhibits(ctx, r, args[0])
			if to := (&exhibitFolder{dir: folder}); folder != "" {
				read.Save = to.save
			}
			o, err := requester.Open(args[0], d, private, read, since...)
			if o.Targets == nil {
				return err
			}
			return errors.Join(p.print(o, o.String()), err)
		})
	c.Flags().StringVar(&key, "key", "", "file with the requester's secret delivery key (mode 0600)")
	c.Flags().StringVar(&save, "save", "", "file to save the delivery to, mode 0600: with the bundle an appeal court checks it without asking anybody")
	c.Flags().StringVar(&folder, "exhibits-to", "", "folder to save what was published in, which is made if there is none; without it that is compared and not kept")
	c.Flags().StringVar(&bundle, "bundle", "", "bundle of rules that you trust, in force now or on the day of the case: the public log leads from it to the others")
	return c
}

// saveDelivery writes a delivery as verifier/opening reads it. It names a pen name
// and whoever asked, so only its owner reads it.
func saveDelivery(file string, d opening.Delivery) error {
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return secretfile.Create(file, append(b, '\n'))
}

// since returns the bundle of the case that a delivery is of, and those after it,
// from the public log.
func (p *program) since(ctx context.Context, d opening.Delivery, trusted *policy.Bundle) ([]*policy.Bundle, error) {
	hash, err := opening.CaseBundle(d)
	if err != nil {
		return nil, err
	}
	h, _, err := p.follow(ctx, trusted, "", maxAge)
	if err != nil {
		return nil, err
	}
	since, err := h.Since(ctx, hash)
	if errors.Is(err, rules.ErrNotInLog) {
		err = opening.ErrNotLogged
	}
	return since, err
}
