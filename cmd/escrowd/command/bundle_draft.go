package command

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/template"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errDraft = refusal.New(refusal.Invalid, "bundle.bad_draft",
		"the draft of a bundle cannot be read: correct what is named here; escrowd bundle draft writes one with every field explained")
	errLogKey = refusal.New(refusal.Invalid, "file.not_a_verifier_key",
		"the file does not hold one verifier key: it is the line that escrowd log keygen or escrow custodian witness init printed")
)

//go:embed draft.toml
var draftText string

// draftTemplate writes a policy.Bundle as the draft that a person edits.
var draftTemplate = template.Must(template.New("draft").Funcs(template.FuncMap{
	"text": func(s string) (string, error) {
		if s == "" {
			s = "…"
		}
		return tomlValue(s)
	},
	"optional": func(s string) (string, error) { return tomlValue(s) },
	"list":     func(all []string) (string, error) { return tomlValue(append([]string{}, all...)) },
	"time":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
}).Parse(draftText))

// tomlValue writes a text or a list of texts: the escapes of JSON are those of TOML 1.0.
func tomlValue(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.ReplaceAll(strings.TrimSpace(b.String()), `","`, `", "`), err
}

// Limits of a draft. A bundle has no more bytes. Each part of a key in TOML, whose parser
// compares each key of a table with those before it, has one of three signs beside it.
const (
	maxDraft      = 4 << 20
	maxDraftSigns = 20_000
)

// readDraft reads a bundle as a person edits it: TOML, or JSON in any order and spacing,
// such as a bundle in force. What it leaves out of rules, offence classes and fields with
// their compartments is filled in with those that this version comes with.
func readDraft(name string) (*policy.Bundle, error) {
	raw, err := shell.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxDraft {
		return nil, shell.InFile(name, 0, errDraft.Because(fmt.Errorf("it is longer than %d MiB, and so no bundle", maxDraft>>20)))
	}
	text := raw
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		if raw, err = jsonOfDraft(raw); err != nil {
			return nil, shell.InFile(name, 0, err)
		}
	}
	b, line, err := policy.ParseBundleDraft(raw, text)
	if err != nil {
		return nil, shell.InFile(name, line, errDraft.Because(err))
	}
	fillDefaults(b)
	return b, nil
}

// fillDefaults lists what a draft leaves out of rules, offence classes and fields, as this
// version comes with them.
func fillDefaults(b *policy.Bundle) {
	if len(b.Policies) == 0 {
		b.Policies = policy.DefaultRules()
	}
	if len(b.OffenceClasses) == 0 {
		b.OffenceClasses = policy.DefaultOffenceClasses()
		if len(b.Offences) == 0 {
			b.Offences = policy.DefaultOffences()
		}
	}
	if len(b.Fields) == 0 && len(b.Compartments) == 0 {
		b.Fields, b.Compartments = policy.DefaultFields(), policy.DefaultCompartments()
	}
}

// drafted is what the template writes: a draft and the profile that it names.
type drafted struct {
	*policy.Bundle
	Profile string
}

// jsonOfDraft is a draft in TOML as the JSON of a bundle. A text that begins with a brace
// is a key, pasted as it was printed.
func jsonOfDraft(raw []byte) ([]byte, error) {
	if bytes.Count(raw, []byte("="))+bytes.Count(raw, []byte("["))+bytes.Count(raw, []byte(".")) > maxDraftSigns {
		return nil, errDraft.Because(fmt.Errorf("it has more than %d signs for keys (= [ .); a bundle that large is written as JSON", maxDraftSigns))
	}
	var draft map[string]any
	if err := toml.Unmarshal(raw, &draft); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			row, _ := at.Position()
			err = fmt.Errorf("line %d: %w", row, err)
		}
		return nil, errDraft.Because(err)
	}
	keys, err := pasted(draft)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(keys)
	if err != nil {
		return nil, errDraft.Because(err)
	}
	return b, nil
}

// pasted is v with the keys in it, which are JSON in a text, as JSON.
func pasted(v any) (_ any, err error) {
	switch v := v.(type) {
	case map[string]any:
		for name := range v {
			if v[name], err = pasted(v[name]); err != nil {
				return nil, err
			}
		}
	case []any:
		for i := range v {
			if v[i], err = pasted(v[i]); err != nil {
				return nil, err
			}
		}
	case string:
		if text := strings.TrimSpace(v); strings.HasPrefix(text, "{") {
			if !json.Valid([]byte(text)) {
				return nil, errDraft.Because(errors.New("a key between quotes is not the JSON that was printed"))
			}
			return json.RawMessage(text), nil
		}
	}
	return v, nil
}

// draftFlags are what files and addresses say already.
type draftFlags struct {
	origin, logKey, registryKey, profile                              string
	tokenKeys, courts, platforms, witnesses, reviewers, organisations []string
}

func bundleDraft() *cobra.Command {
	var f draftFlags
	var out shell.Out
	c := &cobra.Command{
		Use: "draft", Short: "Write a draft of the rules with every field explained, and filled in with what files say already", Args: cobra.NoArgs,
		Long: "Writes a draft of the rules, TOML with every field explained, and fills in what flags and the files that they\n" +
			"name say already. What is left to edit stands as \"…\". --profile names the law: the draft says its name, and the\n" +
			"bundle gets its catalogue of offences, its classes and its rules; without one they are listed in the draft, to be\n" +
			"edited.\n\n" +
			"Files with keys of others hold public keys: what `escrow key new FILE --json` printed there. Next:\n" +
			"escrowd ceremony bundle for the first bundle, escrowd bundle write for a later one.",
		Example: "  escrowd bundle draft --origin https://penname.example --profile england-and-wales --log-vkey-file log.vkey --token-key /etc/penname/token-2026.jwk" +
			" --court 'id=county-court,name=Thornley County Court,jurisdiction=GB,key=court.pub' --organisation 'id=thornley-police,name=Thornley Police' --registry-key registry.pub --platform 'id=town-square,name=Town Square,keys=town-square.pub'" +
			" --witness card=alba.json,vkey=alba.vkey,url=https://alba.witness.example --reviewer 'id=rita,name=Rita Ashgrove,key=rita.pub' --out draft.toml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := shell.Require(cmd, "origin"); err != nil {
				return err
			}
			b, err := f.bundle(time.Now())
			if err != nil {
				return err
			}
			if err := b.CheckDraft(); err != nil {
				return err
			}
			var text bytes.Buffer
			if err := draftTemplate.Execute(&text, drafted{b, f.profile}); err != nil {
				return err
			}
			if out.File == "" {
				return say(cmd, map[string]string{"draft": text.String()}, "%s", text.String())
			}
			if err := out.WriteFile(text.Bytes()); err != nil {
				return err
			}
			return say(cmd, map[string]string{"file": out.File}, "written: %s. Read and correct it, then: escrowd ceremony bundle transcript.json --from %s --out bundle.json", out.File, out.File)
		},
	}
	c.Flags().StringVar(&f.origin, "origin", "", "where people reach Penname, https://…: origin in the configuration")
	c.Flags().StringVar(&f.profile, "profile", "", "whose law: "+strings.Join(policy.Profiles(), ", "))
	c.RegisterFlagCompletionFunc("profile", cobra.FixedCompletions(policy.Profiles(), cobra.ShellCompDirectiveNoFileComp)) //nolint:errcheck // it exists
	c.Flags().StringArrayVar(&f.organisations, "organisation", nil, "id=,name= of one that may ask, such as the police; repeatable")
	c.Flags().StringVar(&f.logKey, "log-vkey-file", "", "file with the line that escrowd log keygen printed")
	c.Flags().StringArrayVar(&f.tokenKeys, "token-key", nil, "secret key that signs tokens (JWK, mode 0600), of which the public half is taken; repeatable")
	c.Flags().StringArrayVar(&f.courts, "court", nil, "id=,name=,jurisdiction=,key=FILE and, if it is no court, kind=; repeatable")
	c.Flags().StringVar(&f.registryKey, "registry-key", "", "file with the public key that registers platforms, what escrow key new printed with --json")
	c.Flags().StringArrayVar(&f.platforms, "platform", nil, "one whose evidence counts from the first day, because the custodians endorse it here: id=,name=,keys=FILE; repeatable. Register it too: escrowd platform add")
	c.Flags().StringArrayVar(&f.witnesses, "witness", nil, "vkey=FILE (what escrow custodian witness init printed), url= and operator= or card=FILE, a custodian's; repeatable")
	c.Flags().StringArrayVar(&f.reviewers, "reviewer", nil, "id=,name=,key=FILE; repeatable, at least two")
	out.Flags(c, "", "file to write the draft to, instead of printing it")
	return c
}

// bundle is the draft that the flags make. An authority's key is valid from the day of
// now on, for two years.
func (f draftFlags) bundle(now time.Time) (*policy.Bundle, error) {
	b := &policy.Bundle{
		Registrar: f.origin, Issuer: f.origin, IssuerKeys: json.RawMessage(`{"keys":[]}`), MaxTargets: 600, MaxSecrecyDays: 366, MaxValidityDays: 90,
		PostSpanHours: policy.DefaultPostSpanHours, AppealDays: policy.DefaultAppealDays,
	}
	if f.profile != "" {
		law, err := policy.ProfileNamed(f.profile)
		if err != nil {
			return nil, err
		}
		law.Fill(b)
	}
	fillDefaults(b)
	b.MinSecrecyDays, b.HoldDays = cmp.Or(b.MinSecrecyDays, policy.DefaultMinSecrecyDays), cmp.Or(b.HoldDays, policy.DefaultHoldDays)
	b.ExtensionDays, b.ValidationHours = cmp.Or(b.ExtensionDays, policy.DefaultExtensionDays), cmp.Or(b.ValidationHours, policy.DefaultValidationHours)
	b.SmallCount = cmp.Or(b.SmallCount, policy.DefaultSmallCount)
	for _, fill := range []func(*policy.Bundle, time.Time) error{f.fillTokenKeys, f.fillLog, f.fillRegistry, f.fillPlatforms, f.fillOrganisations, f.fillCourts, f.fillReviewers} {
		if err := fill(b, now); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (f draftFlags) fillTokenKeys(b *policy.Bundle, _ time.Time) error {
	public := []json.RawMessage{}
	for _, name := range f.tokenKeys {
		k, err := secretfile.ReadKey(name)
		if err != nil {
			return err
		}
		raw, err := k.Public().MarshalJSON()
		if err != nil {
			return err
		}
		public = append(public, raw)
	}
	var err error
	b.IssuerKeys, err = json.Marshal(map[string]any{"keys": public})
	return err
}

func (f draftFlags) fillLog(b *policy.Bundle, _ time.Time) (err error) {
	b.Log.Quorum = len(f.witnesses)/2 + 1
	if f.logKey != "" {
		if b.Log.Origin, b.Log.VKey, err = readVerifierKey(f.logKey); err != nil {
			return err
		}
	}
	for _, given := range f.witnesses {
		v, err := shell.Pairs("witness", given, []string{"vkey"}, "url", "operator", "card")
		if err != nil {
			return err
		}
		w := policy.Witness{Operator: v.Get("operator"), URL: v.Get("url")}
		if card := v.Get("card"); card != "" {
			s, err := readCard(card)
			if err != nil {
				return shell.InFile(card, 0, err)
			}
			w.Operator = s.Organisation
		}
		if w.Operator == "" {
			return shell.UsageError("--witness needs operator= or card=")
		}
		if w.Name, w.VKey, err = readVerifierKey(v.Get("vkey")); err != nil {
			return err
		}
		b.Log.Witnesses = append(b.Log.Witnesses, w)
	}
	return nil
}

func (f draftFlags) fillRegistry(b *policy.Bundle, _ time.Time) (err error) {
	if f.registryKey == "" {
		return nil
	}
	b.Registry = &policy.Registry{WaitingDays: policy.DefaultWaitingDays}
	b.Registry.Keys, err = readPublicKeys(f.registryKey)
	return err
}

func (f draftFlags) fillPlatforms(b *policy.Bundle, _ time.Time) error {
	for _, given := range f.platforms {
		v, err := shell.Pairs("platform", given, []string{"id", "name", "keys"})
		if err != nil {
			return err
		}
		keys, err := readPublicKeys(v.Get("keys"))
		if err != nil {
			return err
		}
		b.Platforms = append(b.Platforms, policy.Platform{ID: v.Get("id"), Name: v.Get("name"), Keys: keys})
	}
	return nil
}

func (f draftFlags) fillOrganisations(b *policy.Bundle, _ time.Time) error {
	for _, given := range f.organisations {
		v, err := shell.Pairs("organisation", given, []string{"id", "name"})
		if err != nil {
			return err
		}
		b.Organisations = append(b.Organisations, policy.Organisation{ID: v.Get("id"), Name: v.Get("name")})
	}
	return nil
}

func (f draftFlags) fillCourts(b *policy.Bundle, now time.Time) error {
	var classes []string
	for _, c := range b.OffenceClasses {
		classes = append(classes, c.ID)
	}
	day := now.UTC().Truncate(24 * time.Hour)
	for _, given := range f.courts {
		v, err := shell.Pairs("court", given, []string{"id", "name", "jurisdiction", "key"}, "kind")
		if err != nil {
			return err
		}
		key, err := readPublicKey(v.Get("key"))
		if err != nil {
			return err
		}
		a := policy.Authority{ID: v.Get("id"), Name: v.Get("name"), Kind: v.Get("kind"), Jurisdiction: v.Get("jurisdiction"), OffenceClasses: classes,
			DailyWarrants: policy.DefaultDailyWarrants, Keys: []policy.Key{{JWK: key, From: day, Until: day.AddDate(2, 0, 0)}}}
		if a.Kind == "" {
			a.Kind = "court"
		}
		b.Authorities = append(b.Authorities, a)
	}
	return nil
}

func (f draftFlags) fillReviewers(b *policy.Bundle, _ time.Time) error {
	for _, given := range f.reviewers {
		v, err := shell.Pairs("reviewer", given, []string{"id", "name", "key"})
		if err != nil {
			return err
		}
		key, err := readPublicKey(v.Get("key"))
		if err != nil {
			return err
		}
		b.Reviewers = append(b.Reviewers, policy.Reviewer{ID: v.Get("id"), Name: v.Get("name"), Key: key})
	}
	return nil
}

// readVerifierKey reads the one line NAME+HASH+KEY (C2SP signed-note).
func readVerifierKey(file string) (name, vkey string, err error) {
	raw, err := shell.ReadFile(file)
	if err != nil {
		return "", "", err
	}
	vkey = string(document.Typed(raw))
	parts := strings.Split(vkey, "+")
	if len(parts) < 3 || len(parts[1]) != 8 || parts[0] == "PRIVATE" || strings.ContainsAny(vkey, " \n") {
		return "", "", errLogKey.Because(errors.New(file))
	}
	return parts[0], vkey, nil
}

// readPublicKey reads one public JWK.
func readPublicKey(file string) (json.RawMessage, error) {
	raw, err := shell.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return publicKey(file, raw)
}

func publicKey(file string, raw []byte) (json.RawMessage, error) {
	if _, err := document.ParseSigner(document.Typed(raw)); err != nil {
		if secret := secretfile.RefuseSecret(file, raw); secret != nil {
			return nil, secret
		}
		return nil, secretfile.ErrNotPublic.Because(fmt.Errorf("%s: %w", file, err))
	}
	return compact(raw)
}

func compact(raw []byte) (json.RawMessage, error) {
	var b bytes.Buffer
	err := json.Compact(&b, document.Typed(raw))
	return b.Bytes(), err
}

// readPublicKeys reads a JWKS, or one public JWK as a set.
func readPublicKeys(file string) (json.RawMessage, error) {
	raw, err := shell.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var set struct{ Keys []json.RawMessage }
	if json.Unmarshal(document.Typed(raw), &set) != nil || set.Keys == nil {
		set.Keys = []json.RawMessage{raw}
	}
	for i := range set.Keys {
		if set.Keys[i], err = publicKey(file, set.Keys[i]); err != nil {
			return nil, err
		}
	}
	return json.Marshal(map[string]any{"keys": set.Keys})
}
