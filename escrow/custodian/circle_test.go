package custodian

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/exhibit/exhibittest"
	"github.com/penname/penname/escrow/seal/ceremony"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// circle is a few custodians with their folders, and a message board.
type circle struct {
	t     testing.TB
	dir   string
	board *board
	keys  map[string]*jose.JSONWebKey // of the bundle's other parties
	since []*policy.Bundle            // of the case that is shown
}

const passphrase = "correct horse battery"

func newCircle(t testing.TB, ids ...string) *circle {
	t.Helper()
	v := &circle{t: t, dir: t.TempDir(), board: &board{said: map[string][]string{}}}
	for _, id := range ids {
		c, err := v.home(id, nil).Create(t.Context(), Identity{ID: id, Name: "N " + id, Organisation: "O " + id, Server: "http://127.0.0.1:1"}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Card(); err != nil { // makes the key for the first ceremony
			t.Fatal(err)
		}
	}
	return v
}

func (v *circle) path(parts ...string) string {
	return filepath.Join(append([]string{v.dir}, parts...)...)
}

// typed is a person who types that passphrase.
func typed(pass string) Passphrase {
	return func(context.Context, string, bool) ([]byte, error) { return []byte(pass), nil }
}

// home is a custodian's folder. faults, if not nil, are what their disk does.
func (v *circle) home(id string, faults *faults) Home {
	h := Home{Dir: v.path(id), Passphrase: typed(passphrase), disk: plainDisk{}}
	if faults != nil {
		h.disk = faultyDisk{faults}
	}
	return h
}

// try lets a custodian's program do in a ceremony what can be done now. faults, if
// not nil, are what their disk and their network do.
func (v *circle) try(id string, faults *faults, file, agreed string) (CeremonyStatus, error) {
	v.t.Helper()
	plan, err := policy.ParseCeremonyPlan(v.read(file))
	if err != nil {
		v.t.Fatal(err)
	}
	c, err := v.home(id, faults).Open(v.t.Context())
	if err != nil {
		return CeremonyStatus{}, err
	}
	p, err := c.Join(plan, agreed)
	if err != nil {
		return CeremonyStatus{}, err
	}
	return p.Run(v.t.Context(), v.board.of(plan.Hash(), faults), 0, nil)
}

// turn is try, without faults and refusals.
func (v *circle) turn(id, file, agreed string) CeremonyStatus {
	v.t.Helper()
	s, err := v.try(id, nil, file, agreed)
	if err != nil {
		v.t.Fatal(id, err)
	}
	return s
}

// refused is try, refused with that code. It returns what the refusal says.
func (v *circle) refused(code, id, file, agreed string) string {
	v.t.Helper()
	_, err := v.try(id, nil, file, agreed)
	return v.expect(code, err)
}

// refusedTranscript verifies transcripts of one ceremony, the files, and is
// refused with that code. It returns what the refusal says.
func (v *circle) refusedTranscript(code string, files ...string) string {
	v.t.Helper()
	var all [][]byte
	for _, name := range files {
		all = append(all, v.read(name))
	}
	view, err := ceremony.VerifyTranscript(all[0], all[1:]...)
	if err == nil {
		_, err = view.Result()
	}
	return v.expect(code, err)
}

func (v *circle) expect(code string, err error) string {
	v.t.Helper()
	if codeOf(err) != code {
		v.t.Fatalf("not %s but %v", code, err)
	}
	return err.Error()
}

// tryEndorse endorses a bundle's file, with a transcript's if that is not "".
func (v *circle) tryEndorse(id string, faults *faults, bundle, transcript string) error {
	v.t.Helper()
	c, err := v.home(id, faults).Open(v.t.Context())
	if err != nil {
		return err
	}
	var raw []byte
	if transcript != "" {
		raw = v.read(transcript)
	}
	_, err = c.Endorse(v.read(bundle), raw, nil, time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC))
	return err
}

func (v *circle) endorse(id, bundle, transcript string) {
	v.t.Helper()
	if err := v.tryEndorse(id, nil, bundle, transcript); err != nil {
		v.t.Fatal(id, err)
	}
}

// comesIntoForce lets a custodian see a bundle in the public log. faults, if not
// nil, are what their disk does.
func (v *circle) comesIntoForce(id string, faults *faults, b *policy.Bundle) error {
	v.t.Helper()
	c, err := v.home(id, faults).Open(v.t.Context())
	if err != nil {
		return err
	}
	return c.adopt(b)
}

func (v *circle) card(id string, index int) policy.Seat {
	v.t.Helper()
	s, err := v.open(id).Card()
	if err != nil {
		v.t.Fatal(err)
	}
	s.Index = index
	return s
}

// plan writes a plan and returns its file and hash. dealers are ids with their
// index in b.
func (v *circle) plan(quorum int, b *policy.Bundle, dealers []string, receivers ...string) (file, hash string) {
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

func (v *circle) writePlan(p *policy.CeremonyPlan) (file, hash string) {
	v.t.Helper()
	raw, err := p.Marshal()
	if err != nil {
		v.t.Fatal(err, errors.Unwrap(err))
	}
	hash = ceremony.Hash(raw)
	file = v.path("plan-" + hash[:8] + ".json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		v.t.Fatal(err)
	}
	return file, hash
}

// hold lets the participants take turns until all of them are done, and returns
// what the last was told.
func (v *circle) hold(file, hash string, ids ...string) (last CeremonyStatus) {
	v.t.Helper()
	for range 6 {
		done := 0
		for _, id := range ids {
			if last = v.turn(id, file, hash); last.State == "complete" {
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
func (v *circle) bundle(transcript []byte) (file string, b *policy.Bundle) {
	v.t.Helper()
	plan, key, err := ceremony.Result(transcript)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.writeBundle(func(b *policy.Bundle) {
		b.Threshold, b.ThresholdKey, b.Ceremony = plan.Threshold, key, ceremony.Hash(transcript)
		for _, s := range plan.Receivers {
			b.Custodians = append(b.Custodians, policy.Custodian{ID: s.ID, Name: s.Name, Organisation: s.Organisation, Index: s.Index, Key: s.Key})
		}
	})
}

func (v *circle) writeBundle(change func(*policy.Bundle)) (file string, b *policy.Bundle) {
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
	exhibittest.Forget(draft)
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

func (v *circle) party(name string) *jose.JSONWebKey {
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

// settled is a circle whose custodians have made a key and endorsed its bundle.
func settled(t testing.TB, quorum int, ids []string, others ...string) (*circle, *policy.Bundle) {
	t.Helper()
	v := newCircle(t, slices.Concat(ids, others)...)
	file, hash := v.plan(quorum, nil, nil, ids...)
	s := v.hold(file, hash, ids...)
	bundle, b := v.bundle(v.read(s.File))
	for _, id := range ids {
		v.endorse(id, bundle, "")
	}
	return v, b
}

func (v *circle) read(file string) []byte {
	v.t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		v.t.Fatal(err)
	}
	return b
}

// open unlocks a folder as its custodian does.
func (v *circle) open(id string) *Custodian {
	v.t.Helper()
	c, err := v.home(id, nil).Open(v.t.Context())
	if err != nil {
		v.t.Fatal(err)
	}
	return c
}

// share is the share in a folder under the key of b.
func (v *circle) share(id string, b *policy.Bundle) (threshold.KeyShare, error) {
	v.t.Helper()
	return v.open(id).folder.share(v.key(b))
}

func (v *circle) key(b *policy.Bundle) threshold.PublicKey {
	v.t.Helper()
	pk, err := threshold.ParsePublicKey(b.ThresholdKey)
	if err != nil {
		v.t.Fatal(err)
	}
	return pk
}

// opens combines the shares of some custodians under the key of b.
func (v *circle) opens(b *policy.Bundle, ct threshold.Ciphertext, want [32]byte, ids ...string) error {
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

func (v *circle) seal(b *policy.Bundle) (threshold.Ciphertext, [32]byte) {
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
func (v *circle) files(id string) map[string]string {
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

// of is the board of one ceremony. faults, if not nil, are what the network does.
func (b *board) of(plan string, faults *faults) Board {
	return func(_ context.Context, message string) (messages []string, err error) {
		exchange := func() error {
			if message != "" {
				b.said[plan] = append(b.said[plan], message)
			}
			messages = slices.Clone(b.said[plan])
			if b.edit != nil {
				messages = b.edit(messages)
			}
			return nil
		}
		err = faults.do(exchange)
		if err != nil {
			return nil, err
		}
		return messages, nil
	}
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
	if f == nil {
		return what()
	}
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
