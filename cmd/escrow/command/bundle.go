package command

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/policy/rehearsal"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errCasesDiffer = refusal.New(refusal.Denied, "bundle.cases_differ", "The rules decide a case otherwise than it expects: mend the rules, or the case if it is the case that is wrong.")
	errProfile     = refusal.New(refusal.Invalid, "bundle.is_profile", "This is a profile and not a bundle: name it in a draft and make the bundle with `escrowd bundle write`; `escrow bundle test --profile` tries a profile by itself.")
	errFindings    = refusal.New(refusal.Denied, "bundle.findings", "The rules forget or contradict something: read what was found before anybody endorses them.")
)

// bundles is `escrow bundle`: what one looks at before rules are endorsed.
func bundles(p *program) *cobra.Command {
	h := &home{program: p}
	endorse := endorsement(h, "escrow bundle endorse next.json")
	h.flags(endorse)
	return group("bundle", "Show, try, check, compare and endorse bundles of rules", bundleShow(p), bundleTest(p), bundleLint(p), bundleDiff(p), endorse)
}

func bundleShow(p *program) *cobra.Command {
	c := leaf("show BUNDLE", "Show all that a bundle says, and its rules word for word",
		"escrow bundle show next.json", cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			b, err := p.readBundle(args[0])
			if err != nil {
				return err
			}
			lines := b.Lines()
			return p.print(map[string]any{"lines": lines, "rules": b.Policies}, strings.Join(lines, "\n")+rulesOf(b))
		})
	c.Long = "Shows what endorse shows, and then the text of each rule file. Nothing is signed."
	return c
}

// rulesOf are the rules of a bundle, word for word.
func rulesOf(b *policy.Bundle) (all string) {
	for _, name := range slices.Sorted(maps.Keys(b.Policies)) {
		all += "\n\n" + name + ":\n\n" + strings.TrimSpace(b.Policies[name])
	}
	return all
}

// triedCase is a case as bundle test shows it.
type triedCase struct {
	Name     string `json:"name"`
	Title    string `json:"title"`
	Decision string `json:"decision"`
	Article  string `json:"article"`
	Differs  string `json:"differs,omitempty"`
}

func bundleTest(p *program) *cobra.Command {
	var profile, folder string
	c := leaf("test [BUNDLE]", "Decide the cases of a profile, or of a folder, under a bundle of rules",
		"escrow bundle test bundle.json --profile england-and-wales", cobra.MaximumNArgs(1), func(_ context.Context, args []string) error {
			if (profile == "") == (folder == "") {
				return shell.UsageError("name either --profile or --cases")
			}
			b, cases, cast, err := p.rehearse(args, profile, folder)
			if err != nil {
				return err
			}
			stage, err := rehearsal.New(b, cast)
			if err != nil {
				return err
			}
			tried, differing := make([]triedCase, len(cases)), 0
			var said strings.Builder
			for i, c := range cases {
				d, err := stage.Decide(c)
				if err != nil {
					return shell.InFile(c.Name+".json", 0, err)
				}
				tried[i] = triedCase{c.Name, c.Title, rehearsal.Said(d), c.Expect.Article, c.Expect.Differs(d, b.Threshold)}
				sign := "ok  "
				if tried[i].Differs != "" {
					sign = "NOT "
					differing++
				}
				fmt.Fprintf(&said, "%s %s: %s (%s)\n", sign, c.Title, tried[i].Decision, c.Expect.Article)
				if tried[i].Differs != "" {
					fmt.Fprintf(&said, "     %s: %s\n", c.Name, tried[i].Differs)
				}
			}
			fmt.Fprintf(&said, "%d cases, %d of them decided otherwise than expected", len(cases), differing)
			if err := p.print(map[string]any{"cases": tried, "differing": differing}, said.String()); err != nil || differing == 0 {
				return err
			}
			return errCasesDiffer
		})
	c.Long = "Decides each case, an order with its right decision, under a bundle, and says where the two differ (exit code 1).\n" +
		"The rules, classes, catalogue, limits and parties are the bundle's; keys that stand in sign the orders, so nothing\n" +
		"of it counts anywhere else. Without BUNDLE a profile is tried as it stands, with five custodians of whom two open.\n\n" +
		"A folder of cases has files such as those in policy/bundles/*/cases, and cast.json with the parties that they name."
	c.Flags().StringVar(&profile, "profile", "", "profile whose cases are tried: "+strings.Join(policy.Profiles(), ", "))
	c.Flags().StringVar(&folder, "cases", "", "folder with cases of your own")
	c.RegisterFlagCompletionFunc("profile", cobra.FixedCompletions(policy.Profiles(), cobra.ShellCompDirectiveNoFileComp)) //nolint:errcheck // it exists
	c.MarkFlagDirname("cases")                                                                                             //nolint:errcheck // it exists
	return c
}

// rehearse reads the bundle, or that of the profile, and the cases with their cast.
func (p *program) rehearse(args []string, profile, folder string) (b *policy.Bundle, cases []rehearsal.Case, cast rehearsal.Cast, err error) {
	var from fs.FS
	if folder != "" {
		from = os.DirFS(folder)
	} else {
		named, err := policy.ProfileNamed(profile)
		if err != nil {
			return nil, nil, cast, err
		}
		if from, err = named.Cases(); err == nil && len(args) == 0 {
			b, err = rehearsal.Bundle(named)
		}
		if err != nil {
			return nil, nil, cast, err
		}
	}
	switch {
	case len(args) > 0:
		b, err = p.readBundle(args[0])
	case b == nil:
		err = shell.UsageError("--cases needs a bundle: escrow bundle test bundle.json --cases %s", folder)
	}
	if err != nil {
		return nil, nil, cast, err
	}
	cases, cast, err = rehearsal.ReadCases(from)
	return b, cases, cast, err
}

func bundleLint(p *program) *cobra.Command {
	c := leaf("lint BUNDLE", "Say what a bundle of rules forgets or contradicts, and what of it ends soon",
		"escrow bundle lint next.json", cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			b, err := p.readBundle(args[0])
			if err != nil {
				return err
			}
			found := b.Lint(p.Now())
			if len(found) == 0 {
				return p.print(map[string]any{"findings": []policy.Finding{}}, "nothing was found")
			}
			var said []string
			for _, f := range found {
				said = append(said, f.Code+": "+f.Says)
			}
			if err := p.print(map[string]any{"findings": found}, strings.Join(said, "\n")); err != nil {
				return err
			}
			return errFindings
		})
	c.Long = "Looks for what a bundle may say and its makers hardly mean: a class that nobody may ask about, a rule that applies to\n" +
		"nothing, a prohibition of this version that is gone, an offence below the least of its class, nobody who can annul, keys that end within " + fmt.Sprint(int(policy.EndsSoon/(24*time.Hour))) + " days. Exit code 1 if\n" +
		"there is anything. What makes a bundle unreadable is refused, as everywhere."
	return c
}

func bundleDiff(p *program) *cobra.Command {
	c := leaf("diff OLD NEW", "Say in sentences what one bundle of rules changes of another",
		"escrow bundle diff bundle.json next.json", cobra.ExactArgs(2), func(_ context.Context, args []string) error {
			old, err := p.readBundle(args[0])
			if err != nil {
				return err
			}
			b, err := p.readBundle(args[1])
			if err != nil {
				return err
			}
			changes := b.Changes(old)
			if len(changes) == 0 {
				return p.print(map[string]any{"changes": []string{}}, "nothing changes")
			}
			return p.print(map[string]any{"changes": changes}, strings.Join(changes, "\n"))
		})
	c.Long = "Says everything that differs, in sentences: who may sign, about what, how many must agree, which rule is gone and\n" +
		"what its title was. Of keys it says that they are others, by marks. The order of a list is no difference where\n" +
		"nothing depends on it."
	return c
}
