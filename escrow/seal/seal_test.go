package seal_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/verifier/refusal"
)

// tester is testing.TB or *rapid.T.
type tester interface {
	Fatal(...any)
	Fatalf(string, ...any)
}

var person = map[string][]byte{
	"name":      []byte("Tom Troll"),
	"birthdate": []byte("1980-02-29"),
	"address":   []byte("1 Bridge Lane, Nowhere"),
	"email":     []byte("tom@example.org"),
}

// house is a set of custodians and a key service that remembers each K1.
type house struct {
	pk   threshold.PublicKey
	keys []threshold.KeyShare
	k1   map[string][]byte
}

func newHouse(t tester) *house {
	pk, keys, err := escrowtest.ThresholdKey(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	return &house{pk, keys, map[string][]byte{}}
}

func (h *house) wrap(_ context.Context, label string, k1 []byte) (string, error) {
	h.k1[label] = bytes.Clone(k1)
	return "vault:v1:" + hex.EncodeToString(make([]byte, 60)), nil
}

func (h *house) seal(t tester, fields map[string][]byte) seal.Record {
	rec, err := seal.Seal(context.Background(), seal.NewLabel(), fields, h.pk, h.wrap)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func (h *house) shares(t tester, rec seal.Record, n int) []threshold.Share {
	var out []threshold.Share
	for _, ks := range h.keys[:n] {
		s, err := seal.DecryptShare(rec.Label, rec.SecondHalf, h.pk, ks)
		if err != nil {
			t.Fatal(err)
		}
		if err := seal.VerifyShare(rec.Label, rec.SecondHalf, h.pk, s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

func (h *house) halves(rec seal.Record, fields ...string) map[string][]byte {
	return seal.FirstHalves(h.k1[rec.Label], rec.Label, fields)
}

func names(m map[string][]byte) []string { return slices.Sorted(maps.Keys(m)) }

func refused(t tester, err error, want *refusal.Error) {
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %s", err, want.Code)
	}
}

func TestSealAndOpen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := rapid.MapOfN(rapid.StringMatching(`[a-z][a-z_]{0,10}`), rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 6).Draw(t, "fields")
		named := rapid.SliceOfDistinct(rapid.SampledFrom(names(fields)), rapid.ID).Filter(func(s []string) bool { return len(s) > 0 }).Draw(t, "named")
		h := newHouse(t)
		rec := h.seal(t, fields)
		got, err := seal.Open(rec.Named(named), h.halves(rec, named...), h.pk, h.shares(t, rec, 2))
		if err != nil || len(got) != len(named) {
			t.Fatalf("%d fields, %v", len(got), err)
		}
		for _, f := range named {
			if !bytes.Equal(got[f], fields[f]) {
				t.Fatalf("%s changed", f)
			}
		}
	})
}

func TestHalvesAloneOpenNothing(t *testing.T) {
	h := newHouse(t)
	rec := h.seal(t, person)
	all := h.halves(rec, names(person)...)
	// t-1 custodians with the key service.
	_, err := seal.Open(rec, all, h.pk, h.shares(t, rec, 1))
	refused(t, err, threshold.ErrTooFewShares)
	// All custodians without the key service.
	_, err = seal.Open(rec, nil, h.pk, h.shares(t, rec, 3))
	refused(t, err, seal.ErrHalf)
	_, err = seal.Open(rec, seal.FirstHalves(make([]byte, 32), rec.Label, names(person)), h.pk, h.shares(t, rec, 3))
	refused(t, err, seal.ErrDecrypt)
	// What the record shows holds no field in clear.
	b, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	for f, v := range person {
		if bytes.Contains(b, v) || bytes.Contains(rec.Fields[f], v) {
			t.Fatalf("%s is in clear", f)
		}
	}
}

func TestI13FieldNotNamedCannotBeOpened(t *testing.T) {
	h := newHouse(t)
	rec := h.seal(t, person)
	shares := h.shares(t, rec, 3)
	half := h.halves(rec, "name")
	// The whole record, every share, the half of one field: tried on the others.
	for _, f := range names(person) {
		got, err := seal.Open(rec, map[string][]byte{f: half["name"]}, h.pk, shares)
		if f == "name" {
			if err != nil || string(got[f]) != "Tom Troll" {
				t.Fatal(err)
			}
			continue
		}
		refused(t, err, seal.ErrDecrypt)
		// A field's bytes under the named field's name do not open either.
		moved := rec
		moved.Fields = map[string][]byte{"name": rec.Fields[f]}
		_, err = seal.Open(moved, half, h.pk, shares)
		refused(t, err, seal.ErrDecrypt)
	}
	// What was not handed over is known to be there.
	_, err := seal.Open(rec.Named([]string{"name"}), h.halves(rec, "name", "email"), h.pk, shares)
	refused(t, err, seal.ErrWithheld)
	// A field that the person never gave is absent, not an error.
	got, err := seal.Open(rec, h.halves(rec, "name", "phone"), h.pk, shares)
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
}

// I13: a swapped row, or any part of one, fails.
func TestI13SwappedRows(t *testing.T) {
	h := newHouse(t)
	a, b := h.seal(t, person), h.seal(t, map[string][]byte{"name": []byte("Jo Teacher")})
	swap := func(change func(r *seal.Record)) seal.Record {
		r := a
		r.Fields = maps.Clone(a.Fields)
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		rec  seal.Record
		want *refusal.Error
	}{
		"label moved":           {swap(func(r *seal.Record) { r.Label = b.Label }), seal.ErrMoved},
		"second half moved":     {swap(func(r *seal.Record) { r.SecondHalf = b.SecondHalf }), seal.ErrMoved},
		"label and half moved":  {swap(func(r *seal.Record) { r.Label, r.SecondHalf = b.Label, b.SecondHalf }), threshold.ErrOtherRecord},
		"field moved":           {swap(func(r *seal.Record) { r.Fields["name"] = b.Fields["name"] }), seal.ErrDecrypt},
		"second half truncated": {swap(func(r *seal.Record) { r.SecondHalf = r.SecondHalf[:80] }), threshold.ErrCiphertext},
		"field truncated":       {swap(func(r *seal.Record) { r.Fields["name"] = r.Fields["name"][:20] }), seal.ErrDecrypt},
		"no label":              {swap(func(r *seal.Record) { r.Label = "" }), seal.ErrLabel},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := seal.Open(c.rec, h.halves(a, "name"), h.pk, h.shares(t, a, 2))
			refused(t, err, c.want)
		})
	}
	// The key service unwrapped another record's K1.
	_, err := seal.Open(a, h.halves(b, "name"), h.pk, h.shares(t, a, 2))
	refused(t, err, seal.ErrDecrypt)
	// A custodian asked for one record does not open another in its place.
	_, err = seal.DecryptShare(a.Label, b.SecondHalf, h.pk, h.keys[0])
	refused(t, err, seal.ErrMoved)
	refused(t, seal.VerifyShare(a.Label, b.SecondHalf, h.pk, h.shares(t, b, 1)[0]), seal.ErrMoved)
	refused(t, seal.VerifyShare(a.Label, a.SecondHalf, h.pk, h.shares(t, b, 1)[0]), threshold.ErrOtherRecord)
}

// C08: a share for another record, through the envelope. C07: of an old epoch is
// in escrow/seal/threshold.
func TestC08ShareForAnotherRecord(t *testing.T) {
	h := newHouse(t)
	a, b := h.seal(t, person), h.seal(t, person)
	_, err := seal.Open(a, h.halves(a, "name"), h.pk, []threshold.Share{h.shares(t, a, 1)[0], h.shares(t, b, 2)[1]})
	refused(t, err, threshold.ErrOtherRecord)
	var blamed *threshold.BlameError
	if !errors.As(err, &blamed) || !slices.Equal(blamed.Indices, []int{2}) {
		t.Fatal(err)
	}
}

// C16: somebody who can write the database seals another K2 under the same
// label. Every share proof holds; the field's key commitment does not.
func TestC16AnotherSecondHalfUnderTheSameLabel(t *testing.T) {
	h := newHouse(t)
	rec := h.seal(t, person)
	ct, err := h.pk.Encrypt(rand.Reader, [32]byte{1}, []byte(rec.Label))
	if err != nil {
		t.Fatal(err)
	}
	before, err := rec.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if rec.SecondHalf, err = ct.MarshalBinary(); err != nil {
		t.Fatal(err)
	}
	_, err = seal.Open(rec, h.halves(rec, "name"), h.pk, h.shares(t, rec, 2))
	refused(t, err, seal.ErrDecrypt)
	if after, err := rec.Digest(); err != nil || after == before {
		t.Fatal("the digest does not notice", err)
	}
}

func TestEachByteFlippedOpensNothing(t *testing.T) {
	h := newHouse(t)
	rec := h.seal(t, map[string][]byte{"name": person["name"]})
	shares, half := h.shares(t, rec, 2), h.halves(rec, "name")
	digest, err := rec.Digest()
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, i int, r seal.Record, half map[string][]byte) {
		if got, err := seal.Open(r, half, h.pk, shares); err == nil {
			t.Fatalf("%s, byte %d: opened %q", what, i, got)
		}
		if d, err := r.Digest(); err == nil && d == digest && what != "half" {
			t.Fatalf("%s, byte %d: the digest does not notice", what, i)
		}
	}
	flip := func(b []byte, i int, by byte) []byte {
		b = bytes.Clone(b)
		b[i] ^= by
		return b
	}
	for _, by := range []byte{1, 0x80, 0xff} {
		for i := range rec.Label {
			r := rec
			r.Label = string(flip([]byte(rec.Label), i, by))
			try("label", i, r, half)
		}
		for i := range rec.SecondHalf {
			r := rec
			r.SecondHalf = flip(rec.SecondHalf, i, by)
			try("second half", i, r, half)
		}
		for i := range rec.Fields["name"] {
			r := rec
			r.Fields = map[string][]byte{"name": flip(rec.Fields["name"], i, by)}
			try("field", i, r, half)
		}
		for i := range half["name"] {
			try("half", i, rec, map[string][]byte{"name": flip(half["name"], i, by)})
		}
	}
}

func TestDigestNamesWhatWasSealed(t *testing.T) {
	h := newHouse(t)
	rec := h.seal(t, person)
	want, err := rec.Digest()
	if err != nil {
		t.Fatal(err)
	}
	same := func(r seal.Record) {
		t.Helper()
		if d, err := r.Digest(); err != nil || d != want {
			t.Fatal("another digest", err)
		}
	}
	same(rec.Named([]string{"name"}))
	same(rec.Named(nil))
	same(rec.Named([]string{"name", "email"}).Named([]string{"email"}))
	rewrapped := rec
	rewrapped.FirstHalf = "vault:v2:"
	same(rewrapped)
	// Leaving a field out, as if the person had never given it, shows.
	without := rec
	without.Fields = maps.Clone(rec.Fields)
	delete(without.Fields, "email")
	if d, err := without.Digest(); err != nil || d == want {
		t.Fatal("a removed field does not show", err)
	}
	for name, bad := range map[string]seal.Record{
		"nothing":         {},
		"no field":        {Label: rec.Label},
		"bad field name":  {Label: rec.Label, Fields: map[string][]byte{"Name": nil}},
		"short hash":      {Label: rec.Label, Withheld: map[string][]byte{"name": {1}}},
		"contradiction":   {Label: rec.Label, Fields: rec.Fields, Withheld: map[string][]byte{"name": make([]byte, 32)}},
		"too many fields": {Label: rec.Label, Fields: manyFields(33)},
	} {
		if _, err := bad.Digest(); !errors.Is(err, seal.ErrRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func manyFields(n int) map[string][]byte {
	m := map[string][]byte{}
	for i := range n {
		m["f"+strings.Repeat("a", i%30)+string(rune('a'+i/30))] = nil
	}
	return m
}

func TestPaddingHidesLengths(t *testing.T) {
	h := newHouse(t)
	size := map[int]int{}
	for n := range 200 {
		rec := h.seal(t, map[string][]byte{"name": bytes.Repeat([]byte("x"), n)})
		size[len(rec.Fields["name"])]++
	}
	if len(size) != 4 || size[32+28+64] != 63 || size[32+28+128] != 64 {
		t.Fatal(size)
	}
}

func TestSealRefuses(t *testing.T) {
	h := newHouse(t)
	down := func(context.Context, string, []byte) (string, error) { return "", errors.New("sealed") }
	ok := seal.NewLabel()
	for name, c := range map[string]struct {
		label  string
		fields map[string][]byte
		pk     threshold.PublicKey
		wrap   func(context.Context, string, []byte) (string, error)
		want   *refusal.Error
	}{
		"empty label":       {"", person, h.pk, h.wrap, seal.ErrLabel},
		"upper case label":  {strings.ToUpper(ok), person, h.pk, h.wrap, seal.ErrLabel},
		"second encoding":   {ok[:25] + "b", person, h.pk, h.wrap, seal.ErrLabel},
		"label and newline": {ok + "\n", person, h.pk, h.wrap, seal.ErrLabel},
		"no fields":         {ok, nil, h.pk, h.wrap, seal.ErrFields},
		"too many fields":   {ok, manyFields(33), h.pk, h.wrap, seal.ErrFields},
		"field name":        {ok, map[string][]byte{"Name": nil}, h.pk, h.wrap, seal.ErrFields},
		"field too long":    {ok, map[string][]byte{"name": make([]byte, 4097)}, h.pk, h.wrap, seal.ErrFields},
		"no custodians":     {ok, person, threshold.PublicKey{}, h.wrap, threshold.ErrPublicKey},
		"key service down":  {ok, person, h.pk, down, seal.ErrWrap},
	} {
		t.Run(name, func(t *testing.T) {
			rec, err := seal.Seal(t.Context(), c.label, c.fields, c.pk, c.wrap)
			refused(t, err, c.want)
			if rec.Label != "" || rec.Fields != nil || rec.SecondHalf != nil {
				t.Fatal("part of a record came out")
			}
		})
	}
	if len(h.k1) != 0 {
		t.Fatal("a refused record has a key in the key service")
	}
	if halves := seal.FirstHalves(make([]byte, 31), ok, []string{"name"}); len(halves) != 0 {
		t.Fatal("halves of a short key")
	}
	if a, b := seal.NewLabel(), seal.NewLabel(); a == b || len(a) != 26 {
		t.Fatal(a, b)
	}
}

// K1 is overwritten when the key service has it.
func TestFirstHalfIsNotKept(t *testing.T) {
	h := newHouse(t)
	var kept []byte
	if _, err := seal.Seal(t.Context(), seal.NewLabel(), person, h.pk, func(_ context.Context, _ string, k1 []byte) (string, error) {
		kept = k1
		return "wrapped", nil
	}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, make([]byte, 32)) {
		t.Fatal("K1 is still in memory")
	}
}

// A record with random parts never panics, and opens only as what was sealed.
func FuzzOpen(f *testing.F) {
	h := newHouse(f)
	rec := h.seal(f, person)
	shares, halves := h.shares(f, rec, 2), h.halves(rec, names(person)...)
	good, err := json.Marshal(rec)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	named, err := json.Marshal(rec.Named([]string{"name"}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(named)
	fuzzing.Run(f, func(t *testing.T, b []byte) {
		var r seal.Record
		if json.Unmarshal(b, &r) != nil {
			return
		}
		got, err := seal.Open(r, halves, h.pk, shares)
		if err != nil && refusal.Of(err) == nil {
			t.Fatalf("not a refusal: %v", err)
		}
		for f, v := range got {
			if !bytes.Equal(v, person[f]) {
				t.Fatalf("%s opens as something else", f)
			}
		}
	})
}

func sizeOf(rec seal.Record) int {
	n := len(rec.Label) + len(rec.FirstHalf) + len(rec.SecondHalf)
	for f, b := range rec.Fields {
		n += len(f) + len(b)
	}
	return n
}

func TestSealedPersonIsUnderAKilobyte(t *testing.T) {
	h := newHouse(t)
	rec := h.seal(t, person)
	// Vault's text for 32 bytes: "vault:v1:" and 60 bytes in base64.
	rec.FirstHalf = "vault:v1:" + strings.Repeat("A", 80)
	t.Logf("%d bytes a sealed person: four fields, both halves, label and names", sizeOf(rec))
	if sizeOf(rec) > 1000 {
		t.Fatal(sizeOf(rec))
	}
}

func ExampleSeal() {
	custodians, keys, _ := escrowtest.ThresholdKey(2, 3)
	var vault []byte // stands for the key service
	rec, _ := seal.Seal(context.Background(), seal.NewLabel(), map[string][]byte{"name": []byte("Tom Troll"), "email": []byte("tom@example.org")}, custodians,
		func(_ context.Context, _ string, k1 []byte) (string, error) {
			vault = bytes.Clone(k1)
			return "vault:v1:…", nil
		})

	// A warrant names the field "name": two custodians release a share, the
	// registrar the first half of that field.
	a, _ := seal.DecryptShare(rec.Label, rec.SecondHalf, custodians, keys[0])
	b, _ := seal.DecryptShare(rec.Label, rec.SecondHalf, custodians, keys[2])
	halves := seal.FirstHalves(vault, rec.Label, []string{"name"})

	_, err := seal.Open(rec.Named([]string{"name"}), halves, custodians, []threshold.Share{a})
	fmt.Println(refusal.Of(err).Code)
	fields, _ := seal.Open(rec.Named([]string{"name"}), halves, custodians, []threshold.Share{a, b})
	fmt.Printf("%d field: %s\n", len(fields), fields["name"])
	// Output:
	// custodian.too_few_shares
	// 1 field: Tom Troll
}

// A record that another implementation sealed opens to the same bytes, and what
// no honest program would put under the seal opens to nothing.
func TestRecordOfAnotherImplementation(t *testing.T) {
	b, err := os.ReadFile("testdata/record.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		K1          []byte            `json:"k1"`
		PublicKey   []byte            `json:"public_key"`
		Shares      [][]byte          `json:"shares"`
		Record      seal.Record       `json:"record"`
		Digest      string            `json:"digest"`
		FirstHalves map[string][]byte `json:"first_halves"`
		Opens       map[string][]byte `json:"opens"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	var pk threshold.PublicKey
	if err := pk.UnmarshalBinary(v.PublicKey); err != nil {
		t.Fatal(err)
	}
	shares := make([]threshold.Share, len(v.Shares))
	for i, s := range v.Shares {
		if err := shares[i].UnmarshalBinary(s); err != nil {
			t.Fatal(err)
		}
	}
	if d, err := v.Record.Digest(); err != nil || hex.EncodeToString(d[:]) != v.Digest {
		t.Errorf("digest %x, %v", d, err)
	}
	halves := seal.FirstHalves(v.K1, v.Record.Label, names(v.Record.Fields))
	if len(v.Opens) != 4 || !maps.EqualFunc(halves, v.FirstHalves, bytes.Equal) {
		t.Fatal("other first halves")
	}
	for name, half := range halves {
		got, err := seal.Open(v.Record, map[string][]byte{name: half}, pk, shares)
		if want, ok := v.Opens[name]; !ok {
			refused(t, err, seal.ErrDecrypt)
		} else if err != nil || !bytes.Equal(got[name], want) {
			t.Errorf("%s opens as %q, %v", name, got[name], err)
		}
		_, err = seal.Open(v.Record, map[string][]byte{name: half[:31]}, pk, shares)
		refused(t, err, seal.ErrHalf)
	}
	if seal.FirstHalves(v.K1, "no label", []string{"name"})["name"] != nil {
		t.Error("a half for what is no label")
	}
	v.Record.Label = "no label"
	_, err = v.Record.Digest()
	refused(t, err, seal.ErrRecord)
}
