package identity

import (
	"bytes"
	"database/sql/driver"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"text/template"
	"time"
)

func TestPrivateIsNeverPrinted(t *testing.T) {
	const secret = "Weathervane"
	p := Private(secret)
	id := Identity{Issuer: p, Subject: p, Name: p, Birthdate: p, Address: p, Email: p, ACR: "a", VerifiedAt: time.Unix(0, 0)}
	flow := Flow{Issuer: secret, State: secret, Nonce: secret, CodeVerifier: secret}
	provider := Provider{Issuer: "https://op.example", ClientSecret: secret}
	var out bytes.Buffer
	for _, v := range []any{p, &p, id, &id, []Private{p}, map[string]Private{"p": p}, struct{ P Private }{p}, flow, &flow, provider, &provider, fmt.Errorf("x: %w, %v", errPrivateValue, p)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10.3s"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		fmt.Fprintln(&out, v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		if _, isFlow := v.(Flow); !isFlow {
			if err := template.Must(template.New("").Parse("{{.}}")).Execute(&out, v); err != nil {
				t.Error(err)
			}
		}
	}
	for _, v := range []any{p, id, []Private{p}, map[string]Private{"p": p}} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		out.Write(b)
	}
	if err := gob.NewEncoder(&out).Encode(id); err != nil {
		t.Error(err)
	}
	if b, err := xml.Marshal(id); err != nil {
		t.Error(err)
	} else {
		out.Write(b)
	}
	if s := out.String(); strings.Contains(s, secret) || strings.Contains(s, fmt.Sprintf("%x", secret)) || strings.Contains(s, fmt.Sprintf("%X", secret)) {
		i := strings.Index(s, secret)
		t.Errorf("printed: %q", s[max(0, i-100):max(0, i)])
	}
	if !strings.Contains(out.String(), redacted) {
		t.Error("nothing was redacted")
	}
	if _, err := driver.DefaultParameterConverter.ConvertValue(p); err == nil {
		t.Error("personal data was taken as an argument of a database statement")
	}
	if p.Reveal() != secret || string(id.Fields()["name"]) != secret {
		t.Error("Reveal does not give the clear value")
	}
}

func TestFlowSurvivesItsCookie(t *testing.T) {
	op := newOP(t)
	rp := op.party(t)
	f, authURL := rp.Begin()
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var back Flow
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	id, err := rp.Finish(t.Context(), back, op.authorize(authURL))
	accepted(t, id, err)
}

func TestFieldsLeaveOutWhatIsEmpty(t *testing.T) {
	if fields := (Identity{Name: "a", Issuer: "i", Subject: "s"}).Fields(); len(fields) != 1 || string(fields["name"]) != "a" {
		t.Errorf("%d fields", len(fields))
	}
}
