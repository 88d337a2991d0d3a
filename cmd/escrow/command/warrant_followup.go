package command

import (
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/policy"
)

// followUp is what the commands have in common that sign a warrant about an earlier one.
type followUp struct {
	signFlags
	grounds string
	targets []string
	other   bool // another authority than that of the earlier one signs: the bundle says whose the key is
}

// add adds the flags; what says what the grounds are for: "it is withdrawn".
func (f *followUp) add(c *cobra.Command, what string) {
	f.signFlags.add(c)
	c.Flags().StringVar(&f.grounds, "grounds", "", "why "+what)
}

// some lets the command be about some targets of the earlier warrant alone.
func (f *followUp) some(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.targets, "target", nil, "PENNAME@PLATFORM of the earlier warrant, about which alone it is; can be given again (default: about all of them)")
}

// run drafts a warrant of that kind about the one in a file, lets complete add what no other
// kind has, and signs it.
func (f *followUp) run(p *program, kind, file string, complete func(w *policy.Warrant)) error {
	if err := f.needed("key"); err != nil {
		return err
	}
	if err := require([2]string{"grounds", f.grounds}); err != nil {
		return err
	}
	if f.other {
		if err := require([2]string{"bundle", f.bundle}); err != nil {
			return err
		}
	}
	for _, name := range f.targets {
		if penName, platform, _ := strings.Cut(name, "@"); penName == "" || platform == "" {
			return shell.UsageError("--target takes PENNAME@PLATFORM, both as the earlier warrant names them")
		}
	}
	k, done, err := f.open(p.ctx, p)
	if err != nil {
		return err
	}
	defer done()
	raw, err := p.readFile(file)
	if err != nil {
		return err
	}
	b, err := f.rules(p)
	if err != nil {
		return err
	}
	earlier := strings.TrimSpace(string(raw))
	w, err := f.draftOf(k, b, kind, earlier, complete)
	if err != nil {
		return err
	}
	return f.sign(p, k, b, w, earlier)
}

// draftOf drafts a warrant of that kind about the earlier one, for the authority whose key it is.
func (f *followUp) draftOf(k jose.JSONWebKey, b *policy.Bundle, kind, earlier string, complete func(w *policy.Warrant)) (*policy.Warrant, error) {
	var by *policy.Authority
	if f.other {
		var err error
		if by, err = b.Signer(k); err != nil {
			return nil, err
		}
	}
	w, err := policy.FollowUp(kind, earlier, by, f.grounds, f.targets...)
	if err == nil && complete != nil {
		complete(w)
	}
	return w, err
}
