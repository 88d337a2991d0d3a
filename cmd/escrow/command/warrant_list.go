package command

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
)

// ownCase is a case of the list, with the signed file that it was filed with, if that is here.
type ownCase struct {
	registrar.CaseStatus
	FileNumber string `json:"file_number,omitempty"`
	File       string `json:"file,omitempty"`
}

// ownCases is a page of the cases of an authority that have a date to come.
type ownCases struct {
	Cases []ownCase `json:"cases"`
	Next  string    `json:"next,omitempty"` // where the next page begins
}

// ownCasesOf asks for a page of the cases of the authority whose key it is, from a place on, and
// adds what was filed.
func ownCasesOf(ctx context.Context, r *registrar.Client, k jose.JSONWebKey, authority, from string, lists []string, filed map[string]ownCase) (all ownCases, err error) {
	page, err := r.Mine(ctx, k, authority, from, lists)
	all = ownCases{[]ownCase{}, page.Next}
	for _, st := range page.Cases {
		own := filed[st.Warrant]
		own.CaseStatus = st
		all.Cases = append(all.Cases, own)
	}
	return all, err
}

// filedFrom are the signed warrants in a folder, by their hashes as the registrar has them.
func filedFrom(folder string) (map[string]ownCase, error) {
	files, err := filepath.Glob(filepath.Join(globbed(filepath.Clean(folder)), "*.jws"))
	if err != nil {
		return nil, err
	}
	found := make(map[string]ownCase)
	for _, file := range files {
		hash, w, err := readSigned(file)
		if err != nil {
			return nil, err
		}
		if w != nil {
			found[hash] = ownCase{FileNumber: w.FileNumber, File: file}
		}
	}
	return found, nil
}

// readSigned reads a signed warrant, with its hash as the registrar has it; nil: it is none.
func readSigned(file string) (hash string, w *policy.Warrant, err error) {
	raw, err := readRegular(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil // a folder, a pipe
	}
	if err != nil {
		return "", nil, err
	}
	signed := strings.TrimSpace(string(raw))
	if w, err = policy.ParseUnverified(signed); err != nil {
		return "", nil, nil //nolint:nilerr // another file: evidence, a certificate
	}
	sum := policy.Hash(signed)
	return hex.EncodeToString(sum[:]), w, nil
}

// authorityOf is the id of the authority whose key it is, by the rules that the registrar
// serves: what it serves is used for nothing else.
func authorityOf(ctx context.Context, r *registrar.Client, k jose.JSONWebKey) (string, error) {
	served, err := r.Bundle(ctx)
	if err != nil {
		return "", err
	}
	b, err := policy.ParseBundle(served.Bundle)
	if err != nil {
		return "", err
	}
	a, err := b.Signer(k)
	if err != nil {
		return "", err
	}
	return a.ID, nil
}

func warrantList(p *program) *cobra.Command {
	var by signer
	var authority, folder, from string
	var revocation []string
	c := leaf("list", "List the cases of your authority that have a date to come, with what is due first in front",
		"escrow warrant list --key court.jwk --dir warrants --server https://penname.example", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if err := by.needed("key"); err != nil {
				return err
			}
			r, err := p.registrar()
			if err != nil {
				return err
			}
			lists, err := p.revocationLists(revocation)
			if err != nil {
				return err
			}
			filed, err := filedFrom(folder)
			if err != nil {
				return err
			}
			k, done, err := by.open(ctx, p)
			if err != nil {
				return err
			}
			defer done()
			if authority == "" {
				if authority, err = authorityOf(ctx, r, k); err != nil {
					return err
				}
			}
			out, err := ownCasesOf(ctx, r, k, authority, from, lists, filed)
			if err != nil {
				return err
			}
			var text strings.Builder
			for _, own := range out.Cases {
				fmt.Fprintf(&text, "%s\n  pen names: %d", own.Listed(p.Now()), own.PenNames)
				if own.File != "" {
					fmt.Fprintf(&text, "; %s, in %s", document.Visible(own.FileNumber), own.File)
				}
				text.WriteString("\n")
			}
			if len(out.Cases) == 0 {
				text.WriteString("no case of " + authority + " has a date to come")
			}
			if out.Next != "" {
				fmt.Fprintf(&text, "there are more: escrow warrant list --from %s …\n", out.Next)
			}
			return p.print(out, document.Printable(text.String()))
		})
	c.Long = "Lists the cases of your authority, which your key proves: state, what is due next with the time left,\n" +
		"and what waits for you. What has ended is not listed: escrow warrant status tells of that. The\n" +
		"registrar is sent no file: with --dir the file numbers come from your own signed warrants."
	by.add(c, "key", "the authority's secret signing key")
	c.Flags().StringVar(&authority, "authority", "", "id of your authority (default: the one whose key it is in the rules that the registrar serves)")
	c.Flags().StringVar(&folder, "dir", ".", "folder with your signed warrants (*.jws), for their file numbers")
	c.Flags().StringVar(&from, "from", "", "go on where the page before ended, which named the place")
	c.Flags().StringArrayVar(&revocation, "revocation", nil, "with --certificate: list of revoked certificates (CRL); can be given again")
	return c
}
