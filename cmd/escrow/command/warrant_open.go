package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/rules"
)

// openFlags are what opening a package takes.
type openFlags struct {
	key, bundle  string
	save, folder string // the delivery and the exhibits alone
	out          string
	sign         signer
	revocation   []string
}

func warrantOpen(p *program) *cobra.Command {
	var f openFlags
	c := leaf("open CASE", "Fetch the package of a case, check every proof and what was published, and open it with the requester's key",
		"escrow warrant open CASE --key requester.key --bundle bundle.json --server https://penname.example --out court-file",
		cobra.ExactArgs(1), func(ctx context.Context, args []string) error { return f.run(ctx, p, args[0]) })
	c.Long = "Fetches the package of a case, checks it and opens it. With --out everything is kept in a folder, for the court\n" +
		"file: the package first, before anything of it is decrypted, with the proofs of the public log, the rules and what\n" +
		"was published; then certificate.json, certificate.html (a page of A4 for each pen name), results.csv and a\n" +
		"sheet for each suspect. With --sign the certificate is signed, certificate.jws: by the court that ordered, here\n" +
		"or later with escrow opening sign. escrow opening check checks the folder, years later and without asking anybody.\n" +
		"The folder is as secret as the names in it."
	c.Flags().StringVar(&f.key, "key", "", "file with the requester's secret delivery key (mode 0600)")
	c.Flags().StringVar(&f.save, "save", "", "file to save the delivery alone to, mode 0600, instead of all with --out")
	c.Flags().StringVar(&f.folder, "exhibits-to", "", "folder to save what was published in, which is made if there is none; without it and --out that is compared and not kept")
	c.Flags().StringVar(&f.bundle, "bundle", "", "bundle of rules that you trust, in force now or on the day of the case: the public log leads from it to the others")
	c.Flags().StringVar(&f.out, "out", "", "folder for the court file, new or empty, mode 0700")
	f.sign.add(c, "sign", "the secret signing key of the court that ordered, to sign the certificate in --out with")
	addRevocation(c, &f.revocation)
	return c
}

func (f *openFlags) run(ctx context.Context, p *program, id string) error {
	if err := require([2]string{"key", f.key}, [2]string{"bundle", f.bundle}); err != nil {
		return err
	}
	switch {
	case f.sign.given() && f.out == "":
		return shell.UsageError("--sign signs the certificate in the folder of --out, which is needed too")
	case f.out != "" && f.save+f.folder != "":
		return shell.UsageError("--out keeps the delivery and what was published: leave out --save and --exhibits-to")
	}
	private, err := requester.ReadKey(f.key)
	if err != nil {
		return err
	}
	lists, err := p.revocationLists(f.revocation)
	if err != nil {
		return err
	}
	var by *jose.JSONWebKey
	if f.sign.given() {
		if err := f.sign.needed("sign"); err != nil {
			return err
		}
		k, done, err := f.sign.open(ctx, p)
		if err != nil {
			return err
		}
		defer done()
		by = &k
	}
	b, err := p.readBundle(f.bundle)
	if err != nil {
		return err
	}
	r, err := p.registrar()
	if err != nil {
		return err
	}
	var file *requester.CourtFile
	if f.out != "" {
		if file, err = requester.CreateCourtFile(f.out); err != nil {
			return err
		}
	}
	o, err := f.open(ctx, p, r, id, private, b, file, by, lists)
	if o.Targets == nil {
		return err
	}
	text := o.String()
	if file != nil {
		text += "court file\n  " + f.out + ": certificate.html, results.csv and all that proves them; check it with escrow opening check " + f.out + "\n"
	}
	return errors.Join(p.print(o, text), err)
}

// open opens a case by the rules b, into the court file if there is one, whose certificate by
// signs; nil: nobody does. Without targets it opened nothing. With an error beside them it opened
// the others, or the certificate has no signature ([opening.ErrSigner]).
func (f *openFlags) open(ctx context.Context, p *program, r *registrar.Client, id string, private requester.Key, b *policy.Bundle, file *requester.CourtFile, by *jose.JSONWebKey, lists []string) (requester.Opened, error) {
	none := requester.Opened{}
	d, err := f.fetch(ctx, p, r, id, file, func(sealed []byte) (opening.Delivery, error) { return requester.Unseal(id, sealed, private) })
	if err != nil {
		return none, err
	}
	since, err := p.since(ctx, d, b, file)
	if err != nil {
		return none, err
	}
	o, err := requester.Open(id, d, private, f.reader(ctx, r, id, file), since...)
	if o.Targets == nil || file == nil {
		return o, err
	}
	if failed := file.SaveRevocation(lists); failed != nil {
		return none, failed
	}
	switch unsigned := file.Finish(o.Revealed, by, p.Now()); {
	case errors.Is(unsigned, opening.ErrSigner): // all is there but that
		err = errors.Join(err, unsigned)
	case unsigned != nil:
		return none, unsigned
	}
	return o, err
}

// fetch gets the package and saves it as it came, before it is decrypted, and again before it
// is checked.
func (f *openFlags) fetch(ctx context.Context, p *program, r *registrar.Client, id string, file *requester.CourtFile, unseal func(sealed []byte) (opening.Delivery, error)) (d opening.Delivery, err error) {
	sealed, err := r.Package(ctx, id)
	if err != nil {
		return d, err
	}
	where := cmp.Or(f.out, f.save)
	if file != nil {
		if err := file.SaveSealed(sealed); err != nil {
			return d, err
		}
	}
	if d, err = unseal(sealed); err != nil {
		return d, err
	}
	switch {
	case file != nil:
		err = file.SaveDelivery(d)
	case f.save != "":
		err = saveDelivery(f.save, d)
	}
	if err == nil && where != "" && !p.json {
		fmt.Fprintf(p.Stderr, "saved: %s, the delivery as it came; whether it opens is said beside\n", where)
	}
	return d, err
}

// reader reads what was published, and keeps it where it is asked to.
func (f *openFlags) reader(ctx context.Context, r *registrar.Client, id string, file *requester.CourtFile) exhibit.Reader {
	read := exhibit.Reader{Save: func(exhibit.Declared, []byte) error { return nil }, Fetch: func(digest [32]byte) (io.ReadCloser, error) {
		sealed, err := r.Exhibit(ctx, id, digest)
		return sealed, missing(err)
	}}
	read.Short = shortExhibits(ctx, r, id)
	if to := (&exhibitFolder{dir: f.folder}); f.folder != "" {
		read.Save = to.save
	}
	if file != nil {
		read.Save = file.SaveExhibit
	}
	return read
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
// from the public log. A court file gets all from the first on, with their endorsements.
func (p *program) since(ctx context.Context, d opening.Delivery, trusted *policy.Bundle, file *requester.CourtFile) ([]*policy.Bundle, error) {
	hash, err := opening.CaseBundle(d)
	if err != nil {
		return nil, err
	}
	h, _, err := p.follow(ctx, trusted, nil, "", maxAge)
	if err != nil {
		return nil, err
	}
	since, err := h.Since(ctx, hash)
	if errors.Is(err, rules.ErrNotInLog) {
		err = opening.ErrNotLogged
	}
	if err != nil || file == nil {
		return since, err
	}
	all, err := h.Since(ctx, h.Entries()[0].Bundle)
	if err != nil {
		return nil, err
	}
	return since, file.SaveBundles(all, func(hash string) ([]string, error) {
		_, endorsements, err := p.fetchBundle(ctx, hash)
		return endorsements, err
	})
}
