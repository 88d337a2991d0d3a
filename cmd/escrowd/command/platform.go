package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errRetired = refusal.New(refusal.Conflict, "platform.retired",
		"the platform has retired, and who has retired does not come back: ids are for ever, so register another one")
	errExists = refusal.New(refusal.Conflict, "platform.exists",
		"a platform with this id exists already: change it with escrowd platform edit, or register yours under another id")
)

// registryFlags say where the registry is, and who signs for it.
type registryFlags struct{ dsn, key string }

func platformCommand() *cobra.Command {
	var at registryFlags
	c := &cobra.Command{
		Use: "platform", Short: "Register platforms, and change what is registered",
		Long: "Register platforms, and change what is registered.\n\n" +
			"Each command but list and show signs a new record of the platform with the registry key and puts it into the\n" +
			"public log. No custodian is asked, and running services take it within a minute. Evidence of a platform, and\n" +
			"under a new key of it, counts once the bundle's waiting time is over.",
	}
	c.AddCommand(platformAdd(&at), platformList(&at), platformShow(&at), platformEdit(&at), platformRotateSecret(&at), platformRetire(&at))
	databaseFlag(c, &at.dsn, "role penname_disclosing")
	c.PersistentFlags().StringVar(&at.key, "registry-key", "/etc/penname/registry.jwk", "secret key that signs the records of platforms (JWK, mode 0600), as escrow key new wrote it")
	return c
}

// draft is the next record of a platform, with the settings of its client.
type draft struct {
	record policy.PlatformRecord
	client openid.Platform
	before *entry // nil for the first record, and if its settings are not believed
}

// changes reports whether d says something else than the record before it, or by another key.
func (d draft) changes(key jose.JSONWebKey) (bool, error) {
	if d.before == nil {
		return true, nil
	}
	same := d.before.record.Successor()
	was, err := document.Canonical(same)
	if err != nil {
		return false, err
	}
	now, err := document.Canonical(d.record)
	if err != nil {
		return false, err
	}
	signed, err := jose.ParseSignedCompact(d.before.Signed, document.SignatureAlgorithms)
	if err != nil {
		return false, err
	}
	return !bytes.Equal(was, now) || signed.Signatures[0].Header.KeyID != key.KeyID, nil
}

// recordFlags are how a record gets into the log.
type recordFlags struct {
	countersigned []string // files
	out           string
}

func (f *recordFlags) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.countersigned, "countersigned", nil, "file with what escrow platform countersign wrote over this very record; repeatable")
	c.Flags().StringVar(&f.out, "record-out", "", "register nothing: write the signed record to this file, for somebody to countersign, and give the same command again with --countersigned")
}

// recorded is what a command says of what it did.
type recorded struct {
	Platform  string   `json:"platform"`
	Leaf      *int64   `json:"leaf,omitempty"` // in the public log; none with --record-out
	Record    string   `json:"record,omitempty"`
	Counts    string   `json:"evidence_counts_from,omitempty"` // day
	Namesakes []string `json:"same_name,omitempty"`            // ids of others that people cannot tell from it
	Nothing   bool     `json:"nothing_to_change,omitempty"`    // and nothing was written
	handed
}

// handed is the secret that a command gave to who asked for it.
type handed struct {
	Secret string `json:"client_secret,omitempty"` // "" if it is in File, or was made elsewhere
	File   string `json:"client_secret_file,omitempty"`
	SHA256 string `json:"client_secret_sha256,omitempty"`
}

// put signs a draft and has it logged, or writes it for others to countersign.
func (r *registry) put(ctx context.Context, d draft, f recordFlags) (done recorded, err error) {
	done.Platform = d.record.ID
	if !d.record.Retired {
		if err := r.checkSettings(d); err != nil {
			return done, err
		}
	}
	settings, err := d.client.Settings()
	if err != nil {
		return done, err
	}
	d.record.Client = policy.ClientHash(settings)
	key, err := secretfile.ReadKey(r.key)
	if err != nil {
		return done, err
	}
	if changes, err := d.changes(key); err != nil || !changes {
		done.Nothing = !changes
		return done, err
	}
	signed, err := policy.SignPlatform(key, d.record)
	if errors.Is(err, policy.ErrPlatform) && errors.Unwrap(err) != nil { // the reason first: it was made here
		err = errSettings.Because(errors.Unwrap(err))
	}
	if err != nil {
		return done, err
	}
	if f.out != "" {
		done.Record = f.out
		return done, shell.WriteFile(f.out, []byte(signed+"\n"))
	}
	var countersigned []string
	for _, file := range f.countersigned {
		raw, err := shell.ReadFile(file)
		if err != nil {
			return done, err
		}
		countersigned = append(countersigned, strings.TrimSpace(string(raw)))
	}
	logged, err := r.Record(ctx, signed, countersigned, settings)
	done.Leaf = &logged.Leaf
	switch {
	case errors.Is(err, policy.ErrPlatformNotNext) && d.record.Number == 1:
		if _, taken := r.next(ctx, d.record.ID); errors.Is(taken, errRetired) {
			return done, errRetired
		}
		return done, errExists
	case errors.Is(err, policy.ErrBundleSharedKey):
		err = policy.ErrBundleSharedKey.Because(fmt.Errorf("--key: %w", errors.Unwrap(err)))
	case err == nil:
		r.notice(ctx, d.record, &done)
	}
	return done, err
}

// notice adds what is to be known of a record that is registered. It is registered also if
// nothing can be said.
func (r *registry) notice(ctx context.Context, record policy.PlatformRecord, done *recorded) {
	all, err := r.views(ctx)
	for _, v := range all {
		switch {
		case err != nil:
		case v.ID != record.ID && v.Name == record.Name && !v.Retired:
			done.Namesakes = append(done.Namesakes, v.ID)
		case v.ID == record.ID && record.Number == 1 && r.bundle.Registry.WaitingDays > 0:
			done.Counts = v.Counts
		}
	}
}

// said is the text of what was done.
func (d recorded) said(what string) string {
	if d.Nothing {
		return "nothing to change: " + d.Platform + " is registered like this, and nothing was written"
	}
	if d.Record != "" {
		return fmt.Sprintf("written: %s. Have it countersigned, and give the same command again with --countersigned instead of --record-out", d.Record)
	}
	text := fmt.Sprintf("%s %s, entry %d of the public log: running services take it within a minute", d.Platform, what, *d.Leaf)
	if d.Counts != "" {
		text += "\nits evidence counts " + countsText(d.Counts)
	}
	if len(d.Namesakes) > 0 {
		text += "\nwarning: people read the name alone, and other platforms have the same: " + strings.Join(d.Namesakes, ", ")
	}
	return text
}

func platformList(at *registryFlags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the platforms that are registered",
		Example: "  escrowd platform list --database-file /etc/penname/disclosing.dsn",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return at.open(cmd, func(ctx context.Context, r *registry) error {
				all, err := r.views(ctx)
				if err != nil {
					return err
				}
				var text strings.Builder
				w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
				for _, v := range all {
					fmt.Fprintf(w, "%s\t%s\t%s\tentry %d\t%s\n", v.ID, v.Kind, v.State, v.Leaf, v.Name)
				}
				if err := w.Flush(); err != nil {
					return err
				}
				if len(all) == 0 {
					text.WriteString("no platform is registered")
				}
				return say(cmd, all, "%s", text.String())
			})
		},
	}
}

func platformShow(at *registryFlags) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show what is registered of a platform", Args: cobra.ExactArgs(1), ValidArgsFunction: at.complete,
		Example: "  escrowd platform show town-square --database-file /etc/penname/disclosing.dsn",
		RunE: func(cmd *cobra.Command, args []string) error {
			return at.open(cmd, func(ctx context.Context, r *registry) error {
				all, err := r.views(ctx)
				if err != nil {
					return err
				}
				i := slices.IndexFunc(all, func(v platformView) bool { return v.ID == args[0] })
				if i < 0 {
					return disclose.ErrUnknownPlatform
				}
				return say(cmd, all[i], "%s", strings.Join(append([]string{fmt.Sprintf("%s, entry %d of the public log", all[i].State, all[i].Leaf)}, all[i].lines...), "\n"))
			})
		},
	}
}

// platformView is a platform as operators see it.
type platformView struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Kind    string   `json:"kind"` // of kinds; empty if its settings cannot be read
	State   string   `json:"state"`
	Leaf    int64    `json:"leaf"`
	Number  int      `json:"number"` // of its record
	Sector  string   `json:"sector"`
	Origins []string `json:"origins"`
	Stolen  []string `json:"stolen"` // kids
	Retired bool     `json:"retired"`

	Personas int    `json:"personas"` // how many pen names one person may have, by its own record
	Succeeds string `json:"succeeds,omitempty"`
	Counts   string `json:"evidence_counts_from,omitempty"` // day of the first of Keys that counts; none: nothing counts

	Keys []keyView `json:"evidence_keys"`

	openid.Platform // its settings, without its secrets

	Secrets int          `json:"secrets"` // how many there are
	Hashes  []secretView `json:"secret_hashes,omitempty"`

	lines []string
}

// keyView is an evidence key that is not reported stolen.
type keyView struct {
	ID     string `json:"kid"`
	Counts string `json:"counts_from"` // day; "at once" if the rules list it
}

// secretView is a secret as operators see it.
type secretView struct {
	SHA256 string    `json:"sha256_begins"`  // 8 hex digits
	Newest bool      `json:"newest"`         // the other one is what it replaces
	Until  time.Time `json:"until,omitzero"` // zero: until it is forgotten
}

// view is one entry as of a day.
func (r *registry) view(e entry, now time.Time) platformView {
	v := platformView{ID: e.record.ID, Name: e.record.Name, Leaf: e.Leaf, Number: e.record.Number, Sector: e.record.SectorID(),
		Personas: max(1, e.record.Personas), Succeeds: e.record.Succeeds,
		Origins: e.record.Origins, Stolen: e.record.Stolen, Retired: e.record.Retired, Keys: []keyView{}, lines: e.record.Lines()}
	v.count(e.counts)
	if p, err := openid.ParseSettings(e.Client); err == nil {
		v.Kind, v.lines = kindOf(p), append(v.lines, clientLines(p)...)
		for i, h := range p.SecretHashes {
			v.Hashes = append(v.Hashes, secretView{SHA256: h.SHA256[:min(8, len(h.SHA256))], Newest: i == 0, Until: h.Until})
		}
		v.Secrets, p.SecretHashes = len(p.SecretHashes), nil
		v.Platform = p
	}
	_, _, unsound := service.Client(e.Registered, r.bundle, r.algorithms, r.sandbox)
	switch {
	case e.record.Retired:
		v.State = "retired"
	case r.bundle.StopsPlatform(v.ID):
		v.State = "stopped by the custodians"
	case unsound != nil:
		v.State = "signs nobody in: " + shell.ProblemOf(unsound).Error()
	case v.Kind == "api":
		v.State = "is an API"
	case v.Counts == "":
		v.State = "signs in; no evidence of it counts: it has no evidence key"
	case v.Counts != atOnce && now.Format(time.DateOnly) < v.Counts:
		v.State = "signs in; evidence waits until " + v.Counts
	default:
		v.State = "signs in"
	}
	if n := len(v.Stolen); n > 0 {
		v.State += fmt.Sprintf("; %d stolen", n)
	}
	return v
}

// atOnce is the day of a key that does not wait.
const atOnce = "at once"

func countsText(day string) string {
	if day == atOnce {
		return day
	}
	return "from " + day
}

// count takes the days from which evidence counts, by kid.
func (v *platformView) count(from map[string]time.Time) {
	for _, kid := range slices.Sorted(maps.Keys(from)) {
		k := keyView{ID: kid, Counts: atOnce}
		if !from[kid].IsZero() {
			k.Counts = from[kid].Format(time.DateOnly)
		}
		if v.Counts == "" || k.Counts == atOnce || v.Counts != atOnce && k.Counts < v.Counts {
			v.Counts = k.Counts
		}
		v.Keys = append(v.Keys, k)
		v.lines = append(v.lines, fmt.Sprintf("evidence under key %s counts %s", kid, countsText(k.Counts)))
	}
}

func (r *registry) views(ctx context.Context) ([]platformView, error) {
	entries, err := r.entries(ctx)
	if err != nil {
		return nil, err
	}
	all := []platformView{}
	for _, e := range entries {
		all = append(all, r.view(e, time.Now().UTC()))
	}
	return all, nil
}

// next is a draft that changes what is registered of a platform.
func (r *registry) next(ctx context.Context, id string) (draft, error) {
	entries, err := r.entries(ctx)
	if err != nil {
		return draft{}, err
	}
	i := slices.IndexFunc(entries, func(e entry) bool { return e.record.ID == id })
	if i < 0 {
		return draft{}, disclose.ErrUnknownPlatform
	}
	if entries[i].record.Retired {
		return draft{}, errRetired
	}
	d := draft{record: entries[i].record.Successor()}
	// Settings that are not those of the record were changed in the database: then the client
	// of the draft is empty, and all is to be said again.
	if policy.ClientHash(entries[i].Client) == entries[i].record.Client {
		d.before = &entries[i]
		d.client, err = openid.ParseSettings(entries[i].Client)
	}
	return d, err
}

// complete offers the ids of platforms to a shell.
func (at *registryFlags) complete(cmd *cobra.Command, args []string, _ string) (ids []string, _ cobra.ShellCompDirective) {
	if len(args) > 0 || at.dsn == "" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	_ = at.open(cmd, func(ctx context.Context, r *registry) error { // without an answer there is nothing to offer
		entries, err := r.entries(ctx)
		for _, e := range entries {
			ids = append(ids, e.record.ID+"\t"+e.record.Name)
		}
		return err
	})
	return ids, cobra.ShellCompDirectiveNoFileComp
}
