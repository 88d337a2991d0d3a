package command

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// village is a few custodians with their folders, and a message board.
type village struct {
	t     testing.TB
	dir   string
	board *board
	keys  map[string]*jose.JSONWebKey // of the bundle's other parties
}

const passphrase = "correct horse battery"

func newVillage(t testing.TB, ids ...string) *village {
	t.Helper()
	v := &village{t: t, dir: t.TempDir(), board: &board{said: map[string][]string{}}}
	for _, id := range ids {
		v.ok(id, "init", "--id", id, "--name", "N "+id, "--organisation", "O "+id, "--work-factor", "1", "--server", "http://127.0.0.1:1")
	}
	return v
}

func (v *village) path(parts ...string) string {
	return filepath.Join(append([]string{v.dir}, parts...)...)
}

// result is what a run of the program printed, and its exit code.
type result struct {
	out, errs string
	code      int
}

// run runs `escrow custodian` in a custodian's folder. faults, if not nil, are
// what their machine and their network do.
func (v *village) run(id string, faults *faults, args ...string) result {
	var out, errs bytes.Buffer
	p := &program{Env: Env{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: func() time.Time { return time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) },
		HTTP: &http.Client{Transport: v.board}, Passphrase: func(context.Context, string, bool) ([]byte, error) { return []byte(passphrase), nil },
	}}
	if faults != nil {
		p.HTTP, p.disk = &http.Client{Transport: faultyNetwork{v.board, faults}}, faultyDisk{faults}
	} else {
		p.disk = plainDisk{}
	}
	code := p.run(v.t.Context(), slices.Concat([]string{"custodian"}, args, []string{"--home", v.path(id)}))
	return result{out.String(), errs.String(), code}
}

func (v *village) ok(id string, args ...string) string {
	v.t.Helper()
	r := v.run(id, nil, args...)
	if r.code != 0 {
		v.t.Fatalf("%s %v: %s%s", id, args, r.out, r.errs)
	}
	return r.out
}

func (v *village) refused(code, id string, args ...string) string {
	v.t.Helper()
	r := v.run(id, nil, args...)
	if r.code != 1 || !strings.Contains(r.errs, code+":") {
		v.t.Fatalf("%s %v: not %s but %d: %s%s", id, args, code, r.code, r.out, r.errs)
	}
	return r.errs
}

func (v *village) card(id string, index int) (s policy.Seat) {
	v.t.Helper()
	if err := json.Unmarshal([]byte(v.ok(id, "card")), &s); err != nil {
		v.t.Fatal(err)
	}
	s.Index = index
	return s
}

// plan writes a plan and returns its file and hash. dealers are ids with their
// index in b.
func (v *village) plan(quorum int, b *policy.Bundle, dealers []string, receivers ...string) (file, hash string) {
	v.t.Helper()
	var nonce [32]byte
	rand.Read(nonce[:])
	p := policy.CeremonyPlan{Version: 1, Nonce: hex.EncodeToString(nonce[:]), Threshold: quorum}
	for i, id := range receivers {
		p.Receivers = append(p.Receivers, v.card(id, i+1))
	}
	if b != nil {
		p.Previous = b.ThresholdKey
		for _, id := range dealers {
			p.Dealers = append(p.Dealers, v.card(id, b.Custodian(id).Index))
		}
	}
	return v.writePlan(&p)
}

func (v *village) writePlan(p *policy.CeremonyPlan) (file, hash string) {
	v.t.Helper()
	raw, err := p.Marshal()
	if err != nil {
		v.t.Fatal(err, errors.Unwrap(err))
	}
	hash = hashOf(raw)
	file = v.path("plan-" + hash[:8] + ".json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		v.t.Fatal(err)
	}
	return file, hash
}

// hold lets the participants take turns until all of them are done, and returns
// what the last printed.
func (v *village) hold(file, hash string, ids ...string) (last ceremonyStatus) {
	v.t.Helper()
	for range 6 {
		done := 0
		for _, id := range ids {
			last = ceremonyStatus{}
			if err := json.Unmarshal([]byte(v.ok(id, "ceremony", file, "--agree", hash, "--once", "--json")), &last); err != nil {
				v.t.Fatal(err)
			}
			if last.State == "complete" {
				done++
			}
		}
		if done == len(ids) {
			return last
		}
	}
	v.t.Fatal("the ceremony does not end")
	return last
}

// bundle is a bundle of the outcome of a ceremony.
func (v *village) bundle(transcript []byte) (file string, b *policy.Bundle) {
	v.t.Helper()
	plan, key, err := CeremonyResult(transcript)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.writeBundle(func(b *policy.Bundle) {
		b.Threshold, b.ThresholdKey, b.Ceremony = plan.Threshold, key, hashOf(transcript)
		for _, s := range plan.Receivers {
			b.Custodians = append(b.Custodians, policy.Custodian{ID: s.ID, Name: s.Name, Organisation: s.Organisation, Index: s.Index, Key: s.Key})
		}
	})
}

func (v *village) writeBundle(change func(*policy.Bundle)) (file string, b *policy.Bundle) {
	v.t.Helper()
	jwks := func(name string) json.RawMessage {
		raw, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{v.party(name).Public()}})
		if err != nil {
			v.t.Fatal(err)
		}
		return raw
	}
	court, err := v.party("court").Public().MarshalJSON()
	if err != nil {
		v.t.Fatal(err)
	}
	vkey := func(name string) string {
		return name + "+0a1b2c3d+" + base64.StdEncoding.EncodeToString(append([]byte{4}, v.party(name).Key.(ed25519.PrivateKey).Public().(ed25519.PublicKey)...))
	}
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	draft := &policy.Bundle{
		Version: 1, Registrar: "https://penname.example", Issuer: "https://penname.example", IssuerKeys: jwks("issuer"),
		Log: policy.Log{Origin: "penname.example/log", VKey: vkey("log"), Quorum: 1,
			Witnesses: []policy.Witness{{Name: "w1", Operator: "W", VKey: vkey("w1")}}},
		Platforms: []policy.Platform{{ID: "town-square", Name: "Town Square", Keys: jwks("square")}},
		Authorities: []policy.Authority{{ID: "court", Name: "Court", Kind: "court", Jurisdiction: "GB",
			Keys:           []policy.Key{{JWK: court, From: from, Until: from.AddDate(2, 0, 0)}},
			OffenceClasses: []string{policy.DefaultOffenceClasses()[0].ID}}},
		OffenceClasses: policy.DefaultOffenceClasses(), Fields: policy.DefaultFields(), Policies: policy.DefaultRules(),
		MaxTargets: 600, MaxSecrecyDays: 365, MaxValidityDays: 30,
	}
	change(draft)
	raw, err := draft.Marshal()
	if err != nil {
		v.t.Fatal(err, errors.Unwrap(err))
	}
	if b, err = policy.ParseBundle(raw); err != nil {
		v.t.Fatal(err)
	}
	file = v.path("bundle-" + b.Hash()[:8] + ".json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		v.t.Fatal(err)
	}
	return file, b
}

func (v *village) party(name string) *jose.JSONWebKey {
	if v.keys == nil {
		v.keys = map[string]*jose.JSONWebKey{}
	}
	if _, ok := v.keys[name]; !ok {
		k, err := document.NewKey()
		if err != nil {
			v.t.Fatal(err)
		}
		v.keys[name] = &k
	}
	return v.keys[name]
}

// settled is a village whose custodians have made a key and endorsed its bundle.
func settled(t testing.TB, quorum int, ids []string, others ...string) (*village, *policy.Bundle) {
	t.Helper()
	v := newVillage(t, slices.Concat(ids, others)...)
	file, hash := v.plan(quorum, nil, nil, ids...)
	s := v.hold(file, hash, ids...)
	bundle, b := v.bundle(v.read(s.File))
	for _, id := range ids {
		v.ok(id, "endorse", bundle)
	}
	return v, b
}

func (v *village) read(file string) []byte {
	v.t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		v.t.Fatal(err)
	}
	return b
}

// open unlocks a folder as its custodian does.
func (v *village) open(id string) *Custodian {
	v.t.Helper()
	p := &program{Env: Env{Passphrase: func(context.Context, string, bool) ([]byte, error) { return []byte(passphrase), nil }}, disk: plainDisk{}}
	c, err := p.openHome(v.t.Context(), v.path(id))
	if err != nil {
		v.t.Fatal(err)
	}
	return c
}

// share is the share in a folder under the key of b.
func (v *village) share(id string, b *policy.Bundle) (threshold.KeyShare, error) {
	v.t.Helper()
	c := v.open(id)
	return c.share(v.key(b))
}

func (v *village) key(b *policy.Bundle) threshold.PublicKey {
	v.t.Helper()
	pk, err := threshold.ParsePublicKey(b.ThresholdKey)
	if err != nil {
		v.t.Fatal(err)
	}
	return pk
}

// opens combines the shares of some custodians under the key of b.
func (v *village) opens(b *policy.Bundle, ct threshold.Ciphertext, want [32]byte, ids ...string) error {
	v.t.Helper()
	pk := v.key(b)
	var shares []threshold.Share
	for _, id := range ids {
		ks, err := v.share(id, b)
		if err != nil {
			return err
		}
		s, err := ks.Decrypt(rand.Reader, pk, ct)
		if err != nil {
			return err
		}
		shares = append(shares, s)
	}
	got, err := pk.Combine(ct, shares)
	if err == nil && got != want {
		v.t.Fatal("it opens to something else") // I22: never
	}
	return err
}

func (v *village) seal(b *policy.Bundle) (threshold.Ciphertext, [32]byte) {
	v.t.Helper()
	var m [32]byte
	rand.Read(m[:])
	ct, err := v.key(b).Encrypt(rand.Reader, m, []byte("a record"))
	if err != nil {
		v.t.Fatal(err)
	}
	return ct, m
}

// files are the names of a folder, with their content.
func (v *village) files(id string) map[string]string {
	v.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(v.path(id), func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out[filepath.Base(name)] = string(v.read(name))
		}
		return err
	})
	if err != nil {
		v.t.Fatal(err)
	}
	return out
}

func codeOf(err error) string {
	var said *registrar.Problem
	if errors.As(err, &said) {
		return said.Code
	}
	if e := refusal.Of(err); e != nil {
		return e.Code
	}
	return fmt.Sprint(err)
}

// board is the registrar's message board, in memory. It keeps what it is given,
// in any order: it is trusted for nothing. edit changes what is shown.
type board struct {
	said map[string][]string // by plan
	edit func(messages []string) []string
}

// RoundTrip implements http.RoundTripper.
func (b *board) RoundTrip(r *http.Request) (*http.Response, error) {
	plan := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/v1/ceremonies/"), "/messages")
	status := http.StatusOK
	if r.Method == http.MethodPost {
		var in struct{ Message string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			return nil, err
		}
		status = http.StatusCreated
		b.said[plan] = append(b.said[plan], in.Message)
	}
	messages := slices.Clone(b.said[plan])
	if b.edit != nil {
		messages = b.edit(messages)
	}
	if messages == nil {
		messages = []string{}
	}
	raw, err := json.Marshal(map[string]any{"messages": messages})
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(raw)), Request: r}, nil
}

// faults cut the power at the nth thing that is done to disk or network: before
// it, or after it but before anybody is told. From then on nothing works.
type faults struct {
	at    int
	after bool
	n     int
	off   bool
}

var errPower = errors.New("power cut")

func (f *faults) do(what func() error) error {
	if f.off {
		return errPower
	}
	f.n++
	if f.n != f.at {
		return what()
	}
	f.off = true
	if f.after {
		what() //nolint:errcheck // nobody is left to be told
	}
	return errPower
}

type faultyDisk struct{ *faults }

func (d faultyDisk) Create(name string, b []byte) error {
	return d.do(func() error { return plainDisk{}.Create(name, b) })
}
func (d faultyDisk) Rename(from, to string) error {
	return d.do(func() error { return plainDisk{}.Rename(from, to) })
}
func (d faultyDisk) Link(from, to string) error {
	return d.do(func() error { return plainDisk{}.Link(from, to) })
}
func (d faultyDisk) Remove(name string) error {
	return d.do(func() error { return plainDisk{}.Remove(name) })
}

type faultyNetwork struct {
	http.RoundTripper
	*faults
}

func (n faultyNetwork) RoundTrip(r *http.Request) (res *http.Response, err error) {
	err = n.do(func() error { res, err = n.RoundTripper.RoundTrip(r); return err })
	if err != nil {
		return nil, err
	}
	return res, nil
}

// plainDisk is the file system without waiting for it.
type plainDisk struct{}

func (plainDisk) Create(name string, b []byte) error {
	if exists(name) {
		return secretfile.ErrExists
	}
	return os.WriteFile(name, b, 0o600)
}
func (plainDisk) Rename(from, to string) error { return os.Rename(from, to) }
func (plainDisk) Link(from, to string) error {
	if exists(to) {
		return secretfile.ErrExists
	}
	return os.Link(from, to)
}
func (plainDisk) Remove(name string) error {
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

type cryptoRand struct{}

func (cryptoRand) Read(b []byte) (int, error) { return rand.Read(b) }

func decode(t testing.TB, payload string, v any) {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

// copyFolder copies a flat folder with its modes.
func copyFolder(t testing.TB, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, e.Name()), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
