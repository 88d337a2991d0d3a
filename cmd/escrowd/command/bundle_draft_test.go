package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/exhibit/exhibittest"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
)

// drafting is a folder with the files that an operator has before the first bundle.
type drafting struct {
	*testing.T
	dir string
}

func (d drafting) file(name string, text []byte) string {
	d.Helper()
	file := filepath.Join(d.dir, name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		d.Fatal(err)
	}
	return file
}

// key makes a signing key, and returns its file and that of its public half.
func (d drafting) key(name string) (secret, public string) {
	d.Helper()
	k, err := document.NewKey()
	if err != nil {
		d.Fatal(err)
	}
	raw, err := k.MarshalJSON()
	if err != nil {
		d.Fatal(err)
	}
	open, err := k.Public().MarshalJSON()
	if err != nil {
		d.Fatal(err)
	}
	return d.file(name+".jwk", raw), d.file(name+".pub", append(open, '\n'))
}

func (d drafting) vkey(name string) string {
	d.Helper()
	_, vkey, err := translog.NewKey(name)
	if err != nil {
		d.Fatal(err)
	}
	return d.file(strings.ReplaceAll(name, "/", "-")+".vkey", []byte(vkey+"\r\n"))
}

// flags are those of a draft in which nothing is left to fill in.
func (d drafting) flags() []string {
	token, _ := d.key("token")
	next, _ := d.key("token-next")
	_, court := d.key("court")
	_, registry := d.key("registry")
	_, town := d.key("town")
	_, rita := d.key("rita")
	_, sami := d.key("sami")
	return []string{"bundle", "draft", "--origin", "https://penname.example", "--log-vkey-file", d.vkey("penname.example/log"),
		"--token-key", token, "--token-key", next,
		"--court", "id=county-court,name=Court of \"Thornley\", County,jurisdiction=GB,key=" + court,
		"--registry-key", registry, "--platform", "id=town-square,name=Town Square,keys=" + town,
		"--reviewer", "id=rita,name=Rita Ashgrove,key=" + rita, "--reviewer", "id=sami,name=Sami Tollgate,key=" + sami,
		"--witness", "operator=Bar Association,url=https://alba.example/w,vkey=" + d.vkey("alba.example"),
		"--witness", "operator=Press Council,vkey=" + d.vkey("chidi.example")}
}

func operator(t *testing.T, code int, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if c := Run(t.Context(), args, &out, &errs); c != code {
		t.Fatalf("%v: %d %s", args, c, errs.String())
	}
	return out.String() + errs.String()
}

// A draft that names a profile lists nothing of it, and its bundle has the whole, beside
// what the draft says of parties.
func TestDraftOfAProfile(t *testing.T) {
	d := drafting{t, t.TempDir()}
	draft := filepath.Join(d.dir, "draft.toml")
	operator(t, 0, append(d.flags(), "--profile", "eu-2023-1543", "--organisation", "id=landeskriminalamt,name=Landeskriminalamt", "--out", draft)...)
	text, err := os.ReadFile(draft)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "de-stgb-241") || !strings.Contains(string(text), "\nprofile = \"eu-2023-1543\"\n") {
		t.Error("the draft lists what its profile gives")
	}
	b, err := readDraft(draft)
	if err != nil {
		t.Fatal(err)
	}
	if b.Offence("de-stgb-241") == nil || b.Policies["40-link.cedar"] == "" || b.Organisations[0].ID != "landeskriminalamt" || !slices.Contains(b.Authorities[0].OffenceClasses, "offence_against_honour") {
		t.Errorf("%+v", b)
	}
	seats(d, b)
	b.Succeed(nil)
	if _, err := b.Marshal(); err != nil {
		t.Error(err)
	}
	if said := operator(t, 1, append(d.flags(), "--profile", "atlantis")...); !strings.Contains(said, "bundle.profile") || !strings.Contains(said, "england-and-wales") {
		t.Error(said)
	}
	other := d.file("other.toml", []byte("profile = \"atlantis\"\n"))
	if said := operator(t, 1, "bundle", "write", other); !strings.Contains(said, "bundle.bad_draft") || !strings.Contains(said, "other.toml, line 1") || !strings.Contains(said, "eu-2023-1543") {
		t.Error(said)
	}
}

// N1: the draft of a bundle could only be copied from the sandbox. Written with flags
// nothing is left to fill in but what the custodians' ceremony gives.
func TestFoundN1TheDraftOfABundle(t *testing.T) {
	d := drafting{t, t.TempDir()}
	draft, out := filepath.Join(d.dir, "draft.toml"), filepath.Join(d.dir, "bundle.json")
	flags := d.flags()
	operator(t, 0, append(flags, "--out", draft)...)

	b, err := readDraft(draft)
	if err != nil {
		t.Fatal(err)
	}
	for name, wrong := range map[string]bool{
		"origins":  b.Registrar != "https://penname.example" || b.Issuer != b.Registrar || b.Log.Origin != "penname.example/log",
		"names":    b.Authorities[0].Name != `Court of "Thornley", County` || b.Platforms[0].ID != "town-square" || b.Log.Witnesses[0].Name != "alba.example",
		"quorum":   b.Log.Quorum != 2 || b.Log.Witnesses[0].URL != "https://alba.example/w" || b.Log.Witnesses[1].URL != "",
		"rules":    !reflect.DeepEqual(b.Policies, policy.DefaultRules()) || !reflect.DeepEqual(b.Compartments, policy.DefaultCompartments()) || len(b.OffenceClasses) != len(policy.DefaultOffenceClasses()),
		"keys":     !bytes.Contains(b.IssuerKeys, []byte(`"kid"`)) || bytes.Contains(b.IssuerKeys, []byte(`"d"`)) || len(b.Reviewers) != 2,
		"registry": b.Registry == nil || b.Registry.WaitingDays != policy.DefaultWaitingDays || !bytes.Contains(b.Registry.Keys, []byte(`"kid"`)),
	} {
		if wrong {
			t.Errorf("%s: %+v", name, b)
		}
	}

	// Without a ceremony there is no bundle; with what it gives there is.
	if said := operator(t, 1, "bundle", "write", draft, "--out", out); !strings.Contains(said, "bundle.bad_key") {
		t.Error(said)
	}
	seats(d, b)
	b.Succeed(nil)
	first, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	// A later bundle is the same draft with a change: custodians and key are those of the one before.
	before := d.file("first.json", first)
	text, err := os.ReadFile(draft)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "max_targets       = 600", "max_targets = 5", 1)
	d.file("draft.toml", []byte(changed))
	operator(t, 0, "bundle", "write", draft, "--after", before, "--out", out)
	made, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if next, err := policy.ParseBundle(made); err != nil || next.MaxTargets != 5 || next.Number != 2 || next.ThresholdKey != b.ThresholdKey || len(next.Custodians) != 2 {
		t.Errorf("%v", err)
	}
	many := d.file("many.toml", []byte(strings.Replace(changed, "[policies]\n", "[policies]\n"+numbered("\"r%d.cedar\" = \"\"\n", 65), 1)))
	if said := operator(t, 1, "bundle", "write", many, "--after", before, "--out", out); !strings.Contains(said, "no rule files, or too many") {
		t.Error(said)
	}
	// And JSON is read as before, a bundle in force too.
	if _, err := readDraft(out); err != nil {
		t.Error(err)
	}

	// Another file is not overwritten, and the same is no obstacle.
	if said := operator(t, 1, "bundle", "write", draft, "--after", before, "--out", before); !strings.Contains(said, "file.exists") {
		t.Error(said)
	}
	operator(t, 0, "bundle", "write", draft, "--after", before, "--out", out)
	d.file("draft.toml", text)
	operator(t, 0, "bundle", "write", draft, "--after", before, "--out", out, "--force")
}

// numbered is a format with the numbers below n, one after the other.
func numbered(format string, n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, format, i)
	}
	return text.String()
}

// seats fills in what a ceremony gives.
func seats(d drafting, b *policy.Bundle) {
	b.Threshold, b.ThresholdKey = 2, strings.Repeat("A", 43)
	for i, id := range []string{"alba", "chidi"} {
		_, file := d.key(id)
		key, err := os.ReadFile(file)
		if err != nil {
			d.Fatal(err)
		}
		b.Custodians = append(b.Custodians, policy.Custodian{ID: id, Name: "Custodian " + id, Organisation: "Organisation " + id, Index: i + 1, Key: bytes.TrimSpace(key)})
	}
	exhibittest.Name(b)
}

// N1: every field is explained, so that a new one cannot be forgotten; and without flags
// the draft still is TOML in which each "…" is to be filled in.
func TestFoundN1EveryFieldIsExplained(t *testing.T) {
	text := operator(t, 0, "bundle", "draft", "--origin", "https://penname.example")
	header, field := regexp.MustCompile(`^(?:# )?\[+([a-z_.]+)\]+$`), regexp.MustCompile(`^(?:# )?([a-z_]+) += .* # \S`)
	assignment := regexp.MustCompile(`^([a-z_]+) += `)
	explained, section, above := map[string]bool{}, "", ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := header.FindStringSubmatch(line); m != nil {
			section = m[1] + "."
			if strings.HasPrefix(above, "#") {
				explained[m[1]] = true
			}
		} else if m := field.FindStringSubmatch(line); m != nil {
			explained[section+m[1]] = true
		} else if m := assignment.FindStringSubmatch(line); m != nil && strings.HasPrefix(above, "# ") {
			explained[section+m[1]] = true
		}
		above = line
	}
	var walk func(reflect.Type, string)
	walk = func(of reflect.Type, in string) {
		for i := range of.NumField() {
			f := of.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !f.IsExported() {
				continue
			}
			if !explained[in+name] {
				t.Errorf("%s%s of policy.%s is not explained", in, name, of.Name())
			}
			kind := f.Type
			for kind.Kind() == reflect.Slice || kind.Kind() == reflect.Pointer {
				kind = kind.Elem()
			}
			if kind.Kind() == reflect.Struct && kind.PkgPath() == reflect.TypeFor[policy.Bundle]().PkgPath() {
				walk(kind, in+name+".")
			}
		}
	}
	walk(reflect.TypeFor[policy.Bundle](), "")
	if len(explained) < 50 {
		t.Errorf("only %d fields were found", len(explained))
	}
	if _, err := readDraft(drafting{t, t.TempDir()}.file("draft.toml", []byte(text))); err != nil {
		t.Error(err)
	}
}

func TestDraftRefused(t *testing.T) {
	d := drafting{t, t.TempDir()}
	secret, public := d.key("any")
	out := operator(t, 0, "bundle", "draft", "--origin", "https://penname.example")
	for _, c := range []struct{ old, new, says string }{
		{"max_targets ", "max_target ", "a bundle has no field max_target"},
		{"quorum = 1", "quorm = 1", "a bundle has no field log.quorm"},
		{"max_targets       = 600", "max_targets = many", "line 2"},
		{"max_targets       = 600", `max_targets = "600"`, "max_targets"},
		{`issuer_keys = '{"keys":[]}'`, `issuer_keys = '{"keys":[}'`, "not the JSON that was printed"},
	} {
		file := d.file("draft.toml", []byte(strings.Replace(out, c.old, c.new, 1)))
		if said := operator(t, 1, "bundle", "write", file); !strings.Contains(said, "bundle.bad_draft: ") || !strings.Contains(said, c.says) {
			t.Errorf("%s: %s", c.new, said)
		}
	}
	// What is larger than a bundle is not parsed, nor what takes long to parse; and of rules
	// none is compiled if there are too many.
	for says, text := range map[string]string{
		"it is longer than 4 MiB":      out + strings.Repeat("#", 4<<20),
		"it has more than 20000 signs": out + "[x]\n" + numbered("r%d.cedar = \"\"\n", 10_000),
		"signs for keys":               strings.Repeat("a.", 20_000) + "a = 1",
		"a bundle has no field r0":     numbered("r%d = 1\n", 1000) + out,
	} {
		if said := operator(t, 1, "bundle", "write", d.file("draft.toml", []byte(text))); !strings.Contains(said, says) {
			t.Errorf("%s: %.300s", says, said)
		}
	}
	for _, c := range []struct {
		code       int
		args, says string
	}{
		{1, "--court id=c,name=C,jurisdiction=GB,key=" + secret, "file.not_a_public_key: "},
		{1, "--platform id=c,name=C,keys=" + d.vkey("other.example"), "file.not_a_public_key: "},
		{1, "--token-key " + public, "file.not_a_key: "},
		{1, "--registry-key " + secret, "file.not_a_public_key: "},
		{1, "--log-vkey-file " + public, "file.not_a_verifier_key: "},
		{1, "--witness card=" + public + ",vkey=" + public, "ceremony.bad_card: "},
		{2, "--witness vkey=" + public, "--witness needs operator= or card="},
		{2, "--court id=c,key=" + public, "--court needs name=: it takes id, name, jurisdiction, key, kind"},
		{2, "--court id=c,nam=C", `--court has no "nam"`},
		{2, "--platform my-app", `--platform has no "my-app"`},
	} {
		args := append([]string{"bundle", "draft", "--origin", "https://penname.example"}, strings.SplitN(c.args, " ", 2)...)
		if said := operator(t, c.code, args...); !strings.Contains(said, c.says) {
			t.Errorf("%s: %s", c.args, said)
		}
	}
	if err := secretfile.Create(filepath.Join(d.dir, "kept.toml"), []byte("kept")); err != nil {
		t.Fatal(err)
	}
	if said := operator(t, 1, "bundle", "draft", "--origin", "https://penname.example", "--out", filepath.Join(d.dir, "kept.toml")); !strings.Contains(said, "file.exists: ") {
		t.Error(said)
	}
}

// Issue 10: what a draft says and nobody means went all the way to refused warrants, and
// faults named no place.
func TestFoundIssue10WrongDrafts(t *testing.T) {
	d := drafting{t, t.TempDir()}
	file, out := filepath.Join(d.dir, "draft.toml"), filepath.Join(d.dir, "next.json")
	flags := d.flags()
	operator(t, 0, append(flags, "--out", file)...)
	draft, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first, err := readDraft(file)
	if err != nil {
		t.Fatal(err)
	}
	seats(d, first)
	first.Succeed(nil)
	raw, err := first.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	before := d.file("first.json", raw)
	if said := operator(t, 0, "bundle", "write", before, "--out", before); !strings.Contains(said, "now its custodians endorse") {
		t.Error(said)
	}
	if said := operator(t, 0, "bundle", "write", file, "--after", before, "--out", out); !strings.Contains(said, "now the custodians in force endorse") {
		t.Error(said)
	}
	for _, c := range []struct{ old, new, code, says string }{
		{"\nkind            = \"court\"", "\nkind = \"curt\"", "bundle.authority", `authority "county-court": no rule knows the kind "curt"`},
		{"\nname     = \"alba.example\"", "\nname = \"alba.exmple\"", "bundle.witness_name", `"alba.exmple", where the key has "alba.example"`},
		{"quorum = 2", "quorm = 2", "bundle.bad_draft", "draft.toml, line "},
		{"max_targets       = 600", `max_targets = "many"`, "bundle.bad_draft", "the value of max_targets has the wrong form"},
		{"\nuntil = 20", "\nuntil = 19", "bundle.bad_key", `authority "county-court": the key `},
		{"\nid   = \"town-square\"", "\nid = \"Town Square\"", "bundle.bad_name", `platform "Town Square"`},
		{"\nwaiting_days = 7", "\nwaiting_days = 0", "bundle.registry", "bundle.registry"},
		{"\njurisdiction    = \"GB\"", "\njurisdiction = \"Earth\"", "bundle.authority", `authority "county-court"`},
		{"unless { resource.listed };", "unless resource.listed;", "bundle.rules", "20-offence.cedar"},
		{"context.max_penalty_months < resource", "context.max_penalty_moths < resource", "bundle.rules", "20-offence.cedar, line "},
	} {
		if !strings.Contains(string(draft), c.old) {
			t.Fatal("the draft has no ", c.old)
		}
		d.file("draft.toml", []byte(strings.Replace(string(draft), c.old, c.new, 1)))
		said := operator(t, 1, "bundle", "write", file, "--after", before, "--out", out)
		if !strings.Contains(said, c.code+": ") || !strings.Contains(said, c.says) || strings.Contains(said, "Go ") {
			t.Errorf("%s: %s", c.new, said)
		}
	}
	for i := range flags {
		flags[i] = strings.Replace(flags[i], "jurisdiction=GB,", "jurisdiction=GB,kind=curt,", 1)
	}
	if said := operator(t, 1, flags...); !strings.Contains(said, `no rule knows the kind "curt"`) {
		t.Error(said)
	}
	if said := operator(t, 2, "ceremony", "plan", "--threshold", "4", "--seat", "a.json", "--seat", "b.json", "--seat", "c.json"); !strings.Contains(said, "the number of seats, which is 3") {
		t.Error(said)
	}
}

// N1: what is printed is the documented configuration, and that of one side is one that
// serve accepts.
func TestFoundN1TheExampleConfiguration(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("..", "..", "..", "deploy", "escrowd.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if whole := operator(t, 0, "serve", "--example-config"); whole != string(want) {
		t.Error("it is not deploy/escrowd.toml")
	}
	for _, side := range configSides {
		var said struct{ Config string }
		if err := json.Unmarshal([]byte(operator(t, 0, "serve", "--example-config", "--side", side, "--json")), &said); err != nil {
			t.Fatal(err)
		}
		for _, other := range configSides {
			if has := strings.Contains(said.Config, "\n["+other+"]"); has != (other == side) || has && !strings.Contains(said.Config, "["+other+".vault]") {
				t.Errorf("%s: [%s] is there: %v", side, other, has)
			}
		}
		file := drafting{t, t.TempDir()}.file("escrowd.toml", []byte(said.Config))
		// It is read whole and strictly: what is refused is that this machine has no such files.
		if text := operator(t, 1, "serve", "--config", file); !strings.Contains(text, "file.unreadable: ") {
			t.Error(side, text)
		}
	}
	operator(t, 2, "serve", "--side", "issue")
	operator(t, 2, "serve", "--example-config", "--side", "all")
}
