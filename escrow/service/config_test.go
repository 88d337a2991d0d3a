package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/mail"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/refusal"
)

// sample returns the documented configuration, with the dots filled in.
func sample(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../../deploy/escrowd.toml")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(raw), `"…"`, `"`+strings.Repeat("0b9d2a34", 8)+`"`)
}

func TestDocumentedConfigurationIsComplete(t *testing.T) {
	if _, err := ReadConfig(write(t, "escrowd.toml", sample(t), 0o644)); err != nil {
		t.Fatal(err)
	}
}

const mailTo = "[mail]\nserver = \"mail.example:25\"\nfrom = \"penname@penname.example\"\n"

// TestFoundN1EverySettingIsExplained: each setting stands in the documented configuration,
// in force or behind "#", and what stands behind it can be used as it is.
func TestFoundN1EverySettingIsExplained(t *testing.T) {
	text := sample(t)
	var settings func(of reflect.Type)
	seen := 0
	settings = func(of reflect.Type) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct || of == reflect.TypeFor[time.Time]() || of == reflect.TypeFor[identity.ClaimSources]() {
			return
		}
		for i := range of.NumField() {
			f := of.Field(i)
			name := f.Tag.Get("toml")
			if name == "" || name == "-" || name == "platforms" { // of before
				continue
			}
			seen++
			settings(f.Type)
			if !regexp.MustCompile(`(?m)^(# *)?(\[\[?([a-z_]+\.)?` + name + `\]|` + name + ` *=)`).MatchString(text) {
				t.Errorf("%s is not explained", name)
			}
		}
	}
	settings(reflect.TypeFor[Config]())
	if seen < 40 {
		t.Errorf("%d settings were looked for", seen)
	}
	at := strings.Index(text, "# [mail]")
	c, err := ReadConfig(write(t, "escrowd.toml", text[:at]+regexp.MustCompile(`(?m)^# ?`).ReplaceAllString(text[at:], ""), 0o644))
	if err != nil || len(c.Mail.Reminders) != 3 {
		t.Errorf("%v", err)
	}
}

// TestConfigurationRefused changes one thing of a good configuration at a time.
func TestConfigurationRefused(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		want           *refusal.Error
	}{
		{"X01 unknown key", `listen   =`, `listn   =`, errConfigKey},
		{"X01 unknown key in a section", `cookie_key_file =`, `cookie_key =`, errConfigKey},
		{"X10 the sandbox's keyring cannot be configured", `[disclose.vault]`, "[disclose.keyring]", errConfigKey},
		{"X10 nor its people", `[[issue.identity_providers]]`, "[issue.sandbox]\n[[issue.identity_providers]]", errConfigKey},
		{"X11 http origin", `"https://penname.example"`, `"http://penname.example"`, errConfigOrigin},
		{"X11 http origin on loopback", `"https://penname.example"`, `"http://127.0.0.1:8080"`, errConfigOrigin},
		{"X11 http identity provider", `"https://identity.example"`, `"http://identity.example"`, errConfigOrigin},
		{"X11 http Vault", `"https://vault.example:8200"`, `"http://127.0.0.1:8200"`, errConfigOrigin},
		{"no TLS", `tls_key  = "/etc/penname/tls.key"`, "", errConfigMissing},
		{"no bundle", `bundle   = "/etc/penname/bundle.json"`, "", errConfigMissing},
		{"no assurance level", `acr_values         = ["http://eidas.europa.eu/LoA/substantial"]`, "", errConfigMissing},
		{"X01 the table of a single provider", `[[issue.identity_providers]]`, "[issue.identity_provider]", errConfigKey},
		{"an identity provider without an id", `id                 = "bank"`, "", errConfigMissing},
		{"a preset that there is not", `id                 = "bank"`, "id = \"bank\"\npreset = \"bank\"", errConfigPreset},
		{"X11 http for the second identity provider", `"https://bank.example"`, `"http://bank.example"`, errConfigOrigin},
		{"no assurance level of the second", `acr_values         = ["urn:bank:verified"]`, "", errConfigMissing},
		{"personas, which nothing implements", `cookie_key_file =`, "personas = 2\ncookie_key_file =", errConfigKey},
		{"N5 localhost, which only a sandbox allows", `cookie_key_file =`, "localhost = true\ncookie_key_file =", errConfigKey},
		{"H1 a proxy by its name", `listen   =`, "trusted_proxies = [\"proxy.example\"]\nlisten   =", web.ErrProxies},
		{"H1 everybody a proxy", `listen   =`, "trusted_proxies = [\"0.0.0.0/0\"]\nlisten   =", web.ErrProxies},
		{"metrics for everybody", `listen   =`, "metrics_listen = \"0.0.0.0:9464\"\nlisten   =", errConfigMetrics},
		{"metrics nowhere", `listen   =`, "metrics_listen = \"localhost\"\nlisten   =", errConfigMetrics},
		{"metrics at a name", `listen   =`, "metrics_listen = \"metrics.example:9464\"\nmetrics_client_ca_file = \"/etc/penname/metrics-ca.pem\"\nlisten   =", errConfigMetrics},
		{"the record nowhere", `listen   =`, "record_listen = \"localhost\"\nlisten   =", errConfigRecord},
		{"the record where metrics are", `listen   =`, "metrics_listen = \"127.0.0.1:9464\"\nrecord_listen = \"127.0.0.1:9464\"\nlisten   =", errConfigRecord},
		{"the record where the rest is", `listen   =`, "record_listen = \"0.0.0.0:8443\"\nlisten   =", errConfigRecord},
		{"traces in clear to another machine", `log_level =`, "traces_to = \"http://collector.example:4318/v1/traces\"\nlog_level =", errConfigTraces},
		{"traces to a name that a resolver decides on", `log_level =`, "traces_to = \"http://localhost:4318/v1/traces\"\nlog_level =", errConfigTraces},
		{"traces with a password", `log_level =`, "traces_to = \"https://a:b@collector.example/v1/traces\"\nlog_level =", errConfigTraces},
		{"L2 a contact that is none", `"mailto:help@penname.example"`, `"mailto:help"`, web.ErrContact},
		{"a time zone that there is not", `"Europe/London"`, `"Cardiff"`, errConfigZone},
		{"the time zone of whatever machine", `"Europe/London"`, `"Local"`, errConfigZone},
		{"a level that there is not", `log_level = "info"`, `log_level = "verbose"`, errConfigLogLevel},
		{"H1 a rate that limits nobody", `listen   =`, "requests_per_sender = 100000\nlisten   =", errConfigSender},
		{"an e-mail domain that is none", `# email_domain  = "users.penname.example"`, `email_domain = "users@penname.example"`, errEmailDomain},
		{"mail in clear to another machine", `# [mail]`, "[mail]\nserver = \"mail.example:25\"\nfrom = \"penname@penname.example\"\ntls = \"off\"", errConfigMail},
		{"mail by no port", `# [mail]`, "[mail]\nserver = \"mail.example\"\nfrom = \"penname@penname.example\"", errConfigMail},
		{"mail by a way that there is not", `# [mail]`, "[mail]\nserver = \"mail.example:25\"\nfrom = \"penname@penname.example\"\ntls = \"ssl\"", errConfigMail},
		{"mail by a user without a password", `# [mail]`, "[mail]\nserver = \"mail.example:25\"\nfrom = \"penname@penname.example\"\nuser = \"x\"", errConfigMail},
		{"mail from nobody", `# [mail]`, "[mail]\nserver = \"mail.example:25\"", errConfigMissing},
		{"mail with a header in the sender", `# [mail]`, "[mail]\nserver = \"mail.example:25\"\nfrom = \"x@penname.example\\r\\nBcc: y@z.example\"", mail.ErrAddress},
		{"a reminder to nobody", `# [mail]`, mailTo + "[[mail.reminders]]\naddress = \"x@y.example\"", errConfigReminder},
		{"a reminder to two", `# [mail]`, mailTo + "[[mail.reminders]]\ncustodian = \"a\"\nauthority = \"b\"\naddress = \"x@y.example\"", errConfigReminder},
		{"two addresses of one party", `# [mail]`, mailTo + strings.Repeat("[[mail.reminders]]\ncustodian = \"a\"\naddress = \"x@y.example\"\n", 2), errConfigReminder},
		{"a reminder without an address", `# [mail]`, mailTo + "[[mail.reminders]]\ncustodian = \"a\"", mail.ErrAddress},
		{"not TOML", `[disclose.vault]`, `[disclose.vault`, errConfig},
		{"a key twice", `origin   =`, "origin = \"https://a.example\"\norigin   =", errConfig},
	} {
		t.Run(c.name, func(t *testing.T) {
			good := sample(t)
			if !strings.Contains(good, c.old) {
				t.Fatalf("the sample has no %q", c.old)
			}
			_, err := ReadConfig(write(t, "escrowd.toml", strings.Replace(good, c.old, c.new, 1), 0o644))
			if !c.want.Is(refusalOf(err)) {
				t.Fatalf("got %v, want %s", err, c.want.Code)
			}
		})
	}
}

// TestAPresetThatThereIsNotNamesThoseThatThereAre, at the line of the wrong one.
func TestAPresetThatThereIsNotNamesThoseThatThereAre(t *testing.T) {
	text := strings.Replace(sample(t), `id                 = "bank"`, "id = \"bank\"\npreset = \"gov-uk\"", 1)
	before, _, _ := strings.Cut(text, "preset = \"gov-uk\"")
	_, err := ReadConfig(write(t, "escrowd.toml", text, 0o644))
	want := fmt.Sprintf("escrowd.toml:%d: issue.identity_providers[1].preset: it should be franceconnect or gov-uk-one-login", strings.Count(before, "\n")+1)
	if why := errors.Unwrap(refusalOf(err)); why == nil || !strings.HasSuffix(why.Error(), want) {
		t.Errorf("%v, want %s", why, want)
	}
}

func TestX08SecretFileReadableByOthersRefused(t *testing.T) {
	if _, err := secretfile.ReadText(write(t, "cookie.key", strings.Repeat("ab", 32), 0o644)); !secretfile.ErrMode.Is(refusalOf(err)) {
		t.Fatalf("got %v", err)
	}
	if _, err := readCookieKeys(write(t, "cookie.key", strings.Repeat("ab", 32)+"\n"+strings.Repeat("cd", 32), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := readCookieKeys(write(t, "cookie.key", "short", 0o600)); !ErrSecretFile.Is(refusalOf(err)) {
		t.Fatalf("got %v", err)
	}
}

// TestTokenKeyMustBeEndorsed: a token that is signed with a key of which the
// bundle knows nothing is evidence of nothing.
func TestTokenKeyMustBeEndorsed(t *testing.T) {
	var files []tokenKey
	var all jose.JSONWebKeySet
	for _, name := range []string{"today.jwk", "tomorrow.jwk"} {
		file := filepath.Join(t.TempDir(), name)
		k, err := document.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		b, err := k.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		files, all.Keys = append(files, tokenKey{File: file}), append(all.Keys, k.Public())
	}
	impostor, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	impostor.KeyID = all.Keys[1].KeyID
	for name, c := range map[string]struct {
		endorsed []jose.JSONWebKey
		want     *refusal.Error
	}{
		"both":                          {all.Keys, nil},
		"only that of today":            {all.Keys[:1], errConfigTokenKey},
		"none":                          {nil, errConfigTokenKey},
		"another under tomorrow's name": {[]jose.JSONWebKey{all.Keys[0], impostor.Public()}, errConfigTokenKey},
	} {
		raw, err := json.Marshal(jose.JSONWebKeySet{Keys: c.endorsed})
		if err != nil {
			t.Fatal(err)
		}
		keys, err := readTokenKeys(files, &policy.Bundle{IssuerKeys: raw})
		if c.want == nil && (err != nil || len(keys) != 2) || c.want != nil && !c.want.Is(refusalOf(err)) {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
	}
}

func write(t *testing.T, name, content string, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return file
}

// refusalOf is refusal.Of with a type that Is accepts.
func refusalOf(err error) error {
	if e := refusal.Of(err); e != nil {
		return e
	}
	return nil
}
