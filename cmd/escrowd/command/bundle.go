package command

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

func bundleCommand() *cobra.Command {
	c := &cobra.Command{Use: "bundle", Short: "Write new rules, and put endorsed ones in force"}
	c.AddCommand(bundleDraft(), bundleWrite(), bundleInstall())
	return c
}

// succeed gives a draft its place: after the bundle in that file, or as the first of
// its log if there is no file. A draft that names its predecessor stays there. One that
// names no custodians has those of the bundle before it, with their key. Cards are files
// with what custodians of an older one lack, their recipients.
func succeed(b *policy.Bundle, after string, cards []string) error {
	if err := follow(b, after); err != nil {
		return err
	}
	b.Custodians = slices.Clone(b.Custodians) // they can be those of a parsed bundle
	for _, file := range cards {
		card, err := readCard(file)
		if err != nil {
			return shell.InFile(file, 0, err)
		}
		c := b.Custodian(card.ID)
		if c == nil || !sameJSON(card.Key, c.Key) {
			return shell.InFile(file, 0, errOtherCard)
		}
		c.Recipient = card.Recipient
	}
	return nil
}

// sameJSON compares however the two are spelled: a bundle spells keys anew.
func sameJSON(a, b json.RawMessage) bool {
	x, err := document.Canonical(a)
	y, other := document.Canonical(b)
	return err == nil && other == nil && bytes.Equal(x, y)
}

func follow(b *policy.Bundle, after string) error {
	if after == "" {
		if b.Version != policy.CurrentVersion || b.Predecessor == "" {
			b.Succeed(nil)
		}
		return nil
	}
	raw, err := shell.ReadFile(after)
	if err != nil {
		return err
	}
	previous, err := policy.ParseBundle(raw)
	if err != nil {
		return err
	}
	if b.ThresholdKey == "" {
		b.Threshold, b.ThresholdKey, b.Ceremony = previous.Threshold, previous.ThresholdKey, previous.Ceremony
		seat(b, previous.Custodians)
		for _, o := range previous.Organisations { // theirs
			if !slices.ContainsFunc(b.Organisations, func(has policy.Organisation) bool { return has.ID == o.ID }) {
				b.Organisations = append(b.Organisations, o)
			}
		}
	}
	b.Succeed(previous)
	return nil
}

// seat makes these the custodians of a draft, which says of some what they are and who steps
// in for them.
func seat(b *policy.Bundle, seats []policy.Custodian) {
	said := b.Custodians
	b.Custodians = slices.Clone(seats)
	for _, d := range said {
		c := b.Custodian(d.ID)
		if c == nil {
			continue // who leaves
		}
		c.Role, c.Alternates, c.OrganisationID = d.Role, d.Alternates, cmp.Or(d.OrganisationID, c.OrganisationID)
	}
}

func afterFlag(c *cobra.Command, after *string) {
	c.Flags().StringVar(after, "after", "", "the bundle in force, which the new one follows; without it, the first of a log")
}

var errOtherCard = refusal.New(refusal.Invalid, "bundle.other_card",
	"the card is not of a custodian of these rules, by id and signing key: name the cards of those who are")

func cardsFlag(c *cobra.Command, cards *[]string) {
	c.Flags().StringArrayVar(cards, "card", nil, "file with the card of a custodian whose recipient the rules do not name yet, as escrow custodian card prints it; repeatable")
}

// writeBundle writes the one form of a bundle that custodians can endorse.
func writeBundle(cmd *cobra.Command, b *policy.Bundle, out shell.Out) error {
	raw, err := b.Marshal()
	if err != nil {
		return err
	}
	if err := b.CheckDraft(); err != nil {
		return err
	}
	if err := out.WriteFile(raw); err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	hash := hex.EncodeToString(sum[:])
	who := "the custodians in force endorse"
	if b.Number == 1 {
		who = "its custodians endorse"
	}
	return say(cmd, map[string]string{"bundle": hash, "file": out.File}, "bundle %s\nwritten: now %s %s", hash, who, out.File)
}

func bundleWrite() *cobra.Command {
	var after string
	var cards []string
	var out shell.Out
	c := &cobra.Command{
		Use: "write DRAFT", Short: "Check a draft of new rules and write it in the form that custodians endorse", Args: cobra.ExactArgs(1),
		Long: "Checks a draft of new rules and writes it in the one form that has a hash.\n\n" +
			"The draft is what escrowd bundle draft wrote, or a copy of the bundle in force with what\n" +
			"shall change. --after names that bundle: custodians that a draft does not name are its\n" +
			"own, and the new one gets the next number and its hash, and can come into force after\n" +
			"it and nowhere else. The first bundle, and one for other custodians, come from a\n" +
			"ceremony: escrowd ceremony bundle.\n\n" +
			"Custodians of rules before format 4 have no recipient of exhibits: each runs\n" +
			"escrow custodian card, and --card names what it printed.",
		Example: "  escrowd bundle write draft.toml --after bundle.json --out next.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := readDraft(args[0])
			if err != nil {
				return err
			}
			if err := succeed(b, after, cards); err != nil {
				return err
			}
			return writeBundle(cmd, b, out)
		},
	}
	afterFlag(c, &after)
	cardsFlag(c, &cards)
	out.Flags(c, "next.json", "file to write")
	return c
}

var errEndsPlatforms = refusal.New(refusal.Conflict, "bundle.ends_platforms",
	"under these rules platforms would sign nobody in any more, because no registry key that the bundle names signed their records: have one endorsed that has the old key beside the new one, give each platform a record by the new one with escrowd platform edit, and leave the old key out of a later bundle; --end-platforms installs this one all the same")

// installed is what bundle install says.
type installed struct {
	Bundle  string   `json:"bundle"`                    // hash
	Ended   []string `json:"ended_platforms,omitempty"` // no registry key of it signed their records
	Unknown []string `json:"unknown_stopped,omitempty"` // ids that it stops, and nobody has
}

// platformsUnder returns the ids of platforms that are registered under the rules in
// force, nil if there are none yet, and not under b; and those that b stops and that
// there are not.
func platformsUnder(b, inForce *policy.Bundle, registered []policy.LoggedPlatform) (ended, unknown []string) {
	newest := map[string]policy.LoggedPlatform{}
	for _, l := range registered {
		r, err := policy.ParsePlatform(l.Signed)
		if err != nil {
			continue // it is registered under neither
		}
		newest[r.ID] = l
	}
	for _, id := range slices.Sorted(maps.Keys(newest)) {
		day, err := time.Parse(time.DateOnly, newest[id].Day)
		if err != nil || inForce == nil {
			continue
		}
		r, before := inForce.VerifyPlatform(newest[id].Signed, day)
		if _, now := b.VerifyPlatform(newest[id].Signed, day); before == nil && now != nil && !r.Retired {
			ended = append(ended, id)
		}
	}
	for _, stop := range b.Stops {
		listed := slices.ContainsFunc(b.Platforms, func(p policy.Platform) bool { return p.ID == stop.Platform })
		if _, known := newest[stop.Platform]; stop.Platform != "" && !known && !listed {
			unknown = append(unknown, stop.Platform)
		}
	}
	return ended, unknown
}

func bundleInstall() *cobra.Command {
	var dsn string
	var endPlatforms bool
	c := &cobra.Command{
		Use: "install BUNDLE ENDORSEMENTS", Short: "Put endorsed rules in force, with a leaf in the public log", Args: cobra.ExactArgs(2),
		Example: "  escrowd bundle install bundle.json endorsements.txt --database-file /etc/penname/disclosing.dsn",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := shell.Require(cmd, "database-file"); err != nil {
				return err
			}
			bundle, err := shell.ReadFile(args[0])
			if err != nil {
				return err
			}
			endorsements, err := shell.ReadFile(args[1])
			if err != nil {
				return err
			}
			store, err := service.OpenDisclosingStore(cmd.Context(), dsn)
			if err != nil {
				return err
			}
			defer store.Close()
			rules := disclose.Rules{Bundles: store.Bundles, Ceremonies: store.Ceremonies, Now: time.Now}
			registered, err := store.Platforms.Of(cmd.Context())
			if err != nil {
				return err
			}
			inForce, err := rules.Current(cmd.Context())
			if err != nil && !errors.Is(err, disclose.ErrNoBundle) {
				return err
			}
			b, err := policy.ParseBundle(bundle)
			if err != nil {
				return err
			}
			ended, unknown := platformsUnder(b, inForce, registered)
			if len(ended) > 0 && !endPlatforms {
				return errEndsPlatforms.Because(fmt.Errorf("%d: %s", len(ended), strings.Join(ended, ", ")))
			}
			if err := rules.Install(cmd.Context(), bundle, strings.Fields(string(endorsements))); err != nil {
				return err
			}
			said := fmt.Sprintf("the rules %s are in force and in the public log: a running escrowd serve takes them within a minute; name this file in its configuration, for the next start", b.Hash())
			if len(ended) > 0 {
				said += fmt.Sprintf("\n%d platforms sign nobody in any more until escrowd platform edit signs their records anew: %s", len(ended), strings.Join(ended, ", "))
			}
			for _, id := range unknown {
				said += fmt.Sprintf("\nwarning: the rules stop the platform %q, and none of that id is registered: see escrowd platform list", id)
			}
			return say(cmd, installed{b.Hash(), ended, unknown}, "%s", said)
		},
	}
	c.Flags().BoolVar(&endPlatforms, "end-platforms", false, "install rules that name no registry key by which platforms are registered now: they sign nobody in until their records are signed anew")
	databaseFlag(c, &dsn, "role penname_disclosing")
	return c
}
