// Package recordtest makes a public log for tests of the public record: with its rules, its
// platforms, an entry of each kind, and entries that mean harm.
package recordtest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/policy/rehearsal"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/rules"
)

// Noon is when the log is published, if nothing else is said.
var Noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// Hostile is an entry that nobody who keeps to the format writes.
const Hostile = "<script>alert(1)</script>\u202e&\x00\xff\n\n\"'"

// World is a log in the making. It implements torchwood.TileReader. It is not safe for
// concurrent use while it grows.
type World struct {
	t          testing.TB
	signers    []note.Signer // the log, then its two witnesses
	keys       []ed25519.PrivateKey
	registry   jose.JSONWebKey
	custodians []jose.JSONWebKey

	Bundle   *policy.Bundle // in force
	Bundles  []*policy.Bundle
	endorsed map[string][]string

	leaves     [][]byte
	hashes     []tlog.Hash
	checkpoint []byte
	platforms  []policy.LoggedPlatform
	salts      int
	Now        time.Time // the day of what is added
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// New returns a log with the first rules, of the registrar with that origin.
func New(t testing.TB, origin string) *World {
	t.Helper()
	w := &World{t: t, endorsed: map[string][]string{}, Now: time.Date(2024, 11, 4, 9, 0, 0, 0, time.UTC)}
	at, err := url.Parse(origin)
	check(t, err)
	name := at.Host + "/log"
	skey, vkey, err := note.GenerateKey(nil, name)
	check(t, err)
	signer, err := note.NewSigner(skey)
	check(t, err)
	w.signers = []note.Signer{signer}
	log := policy.Log{Origin: name, VKey: vkey, Quorum: 2}
	for _, by := range []string{"alder", "birch", "cedar"} {
		_, key, err := ed25519.GenerateKey(nil)
		check(t, err)
		s, err := torchwood.NewCosignatureSigner("witness.example/"+by, key)
		check(t, err)
		w.keys = append(w.keys, key)
		log.Witnesses = append(log.Witnesses, policy.Witness{Name: "witness.example/" + by, Operator: "The " + by + " society", VKey: s.Verifier().String(), URL: "https://" + by + ".example"})
	}
	w.registry, err = document.NewKey()
	check(t, err)
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{w.registry.Public()}})
	check(t, err)
	profile, err := policy.ProfileNamed("england-and-wales")
	check(t, err)
	draft, err := rehearsal.Bundle(profile)
	check(t, err)
	w.install(draft, func(b *policy.Bundle) {
		b.Registrar, b.Issuer, b.Log = origin, origin, log
		b.Registry = &policy.Registry{Keys: keys, WaitingDays: 7}
		for i := range b.Custodians {
			key, err := document.NewKey()
			check(t, err)
			w.custodians = append(w.custodians, key)
			public, err := key.Public().MarshalJSON()
			check(t, err)
			b.Custodians[i].Key = public
		}
		court, err := document.NewKey()
		check(t, err)
		public, err := court.Public().MarshalJSON()
		check(t, err)
		b.Authorities = []policy.Authority{{ID: "county-court", Name: "The County Court at <b>Thornley</b>", Kind: "court", Jurisdiction: "GB-ENG",
			Keys: []policy.Key{{JWK: public, From: Noon.AddDate(-3, 0, 0), Until: Noon.AddDate(1, 0, 0)}}, OffenceClasses: []string{"threat_to_life", "stalking"}}}
		b.Succeed(nil)
	})
	return w
}

// install logs rules that are made of others.
func (w *World) install(from *policy.Bundle, change func(b *policy.Bundle)) {
	w.t.Helper()
	raw, err := from.Marshal()
	check(w.t, err)
	draft := new(policy.Bundle)
	check(w.t, json.Unmarshal(raw, draft))
	change(draft)
	raw, err = draft.Marshal()
	if err != nil {
		w.t.Fatal(err, fmt.Sprint(unwrap(err)))
	}
	b, err := policy.ParseBundle(raw)
	check(w.t, err)
	for i := range 2 {
		signed, err := policy.SignEndorsement(w.custodians[i], b.Custodians[i].ID, b.Hash(), w.Now)
		check(w.t, err)
		w.endorsed[b.Hash()] = append(w.endorsed[b.Hash()], signed)
	}
	w.Bundle, w.Bundles = b, append(w.Bundles, b)
	w.Add(proof.BundleLeaf(w.Now, b.Hash()))
}

func unwrap(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return nil
}

// NextRules puts other rules into force.
func (w *World) NextRules() {
	w.t.Helper()
	w.install(w.Bundle, func(b *policy.Bundle) {
		b.MaxTargets--
		b.AppealDays++
		b.Authorities[0].DailyWarrants += 7
		b.Succeed(w.Bundle)
	})
}

// Moves puts rules into force by which another registrar serves the log.
func (w *World) Moves(to string) {
	w.t.Helper()
	w.install(w.Bundle, func(b *policy.Bundle) {
		b.Registrar = to
		b.Succeed(w.Bundle)
	})
}

// Log is the log as whoever trusts the rules in force sees it.
func (w *World) Log() *proof.Log {
	w.t.Helper()
	log, err := w.Bundle.TrustedLog()
	check(w.t, err)
	return log
}

// Add appends leaves, and returns the index of the last.
func (w *World) Add(leaves ...proof.Leaf) int64 {
	w.t.Helper()
	for _, l := range leaves {
		raw, err := l.Marshal()
		if err != nil {
			w.t.Fatal(err, unwrap(err), l.Kind)
		}
		w.AddRaw(raw)
	}
	return int64(len(w.leaves)) - 1
}

// AddRaw appends an entry, whatever it is.
func (w *World) AddRaw(raw []byte) {
	w.t.Helper()
	hashes, err := tlog.StoredHashes(int64(len(w.leaves)), raw, w)
	check(w.t, err)
	w.leaves, w.hashes = append(w.leaves, raw), append(w.hashes, hashes...)
}

// Stored are the entries and the hashes of the tree, as a store keeps them.
func (w *World) Stored() (leaves [][]byte, hashes []tlog.Hash) { return w.leaves, w.hashes }

// Size is how many entries there are.
func (w *World) Size() int64 { return int64(len(w.leaves)) }

// Later lets days pass.
func (w *World) Later(days int) { w.Now = w.Now.AddDate(0, 0, days) }

// Platform registers a platform, or its next record.
func (w *World) Platform(id string, change func(*policy.PlatformRecord)) {
	w.t.Helper()
	p := policy.PlatformRecord{Version: 1, ID: id, Number: 1, Name: "The " + id, Origins: []string{"https://" + id + ".example"}, Client: policy.ClientHash(nil)}
	for _, before := range w.platforms {
		r, err := policy.ParsePlatform(before.Signed)
		check(w.t, err)
		if r.ID == id {
			p = r.Successor()
		}
	}
	if change != nil {
		change(&p)
	}
	signed, err := policy.SignPlatform(w.registry, p)
	check(w.t, err)
	w.platforms = append(w.platforms, policy.LoggedPlatform{Signed: signed, Leaf: w.Size(), Day: proof.Day(w.Now)})
	w.Add(proof.PlatformLeaf(w.Now, signed, nil))
}

// Salt is another one at each call.
func (w *World) Salt() [32]byte {
	w.salts++
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte("salt"), uint64(w.salts)))
}

// Warrant records one.
func (w *World) Warrant(kind string, targets int, salt [32]byte, change func(*proof.Leaf)) int64 {
	w.t.Helper()
	f := proof.Facets{Jurisdiction: "GB-ENG", OffenceClass: "threat_to_life", WarrantKind: kind, Bundle: w.Bundle.Hash(), Salt: salt, Warrant: "a.b.c"}
	k := proof.WarrantKindOf(kind)
	if k.Decided {
		f.Quorum = 2
	}
	if k.Holds {
		f.HoldEnds = w.Now.AddDate(0, 0, 60)
	}
	for i := range targets {
		f.Targets = append(f.Targets, proof.Target{Pseudonym: fmt.Sprint("pen1", i), Platform: "town-square"})
	}
	l := proof.RecordedLeaf(w.Now, f)
	if change != nil {
		change(&l)
	}
	return w.Add(l)
}

// Opened takes a case from the decisions to the notice.
func (w *World) Opened(c int64, targets int, salt [32]byte, kind string) {
	w.t.Helper()
	when := proof.WarrantKindOf(kind).When(w.Now)
	all := proof.AllMarks(targets)
	var opened []proof.Opened
	for _, by := range w.Bundle.Custodians[:2] {
		d := proof.Decision{Custodian: by.ID, Votes: all, Signed: fmt.Appendf(nil, "signed by %s about %d", by.ID, c)}
		opened = append(opened, d.Open(salt, w.Add(proof.DecisionLeaf(w.Now, c, salt, d))))
	}
	w.Add(proof.DecidedLeaf(w.Now, c, all, opened).On(when), proof.ReleasedLeaf(w.Now, c, salt, all).On(when), proof.NoticedLeaf(w.Now, c, salt))
}

// Story adds an entry of each kind, as they come, and some that should not be.
func (w *World) Story() {
	w.t.Helper()
	w.Platform("town-square", nil)
	w.Platform("market", func(p *policy.PlatformRecord) { p.Name = "Market <i>& Fair</i>" })
	w.Later(200)
	w.Platform("town-square", func(p *policy.PlatformRecord) { p.Name = "The Square" })
	salt := w.Salt()
	w.Opened(w.Warrant(proof.Production, 3, salt, nil), 3, salt, proof.Production)
	w.Later(200)
	w.Add(proof.RefusedLeaf(w.Now, "warrant.refused_by_rule", "press-freedom"), proof.RefusedLeaf(w.Now, "warrant.unknown_authority"))
	w.Add(proof.ErasedLeaf(w.Now, w.Salt(), strings.Repeat("a", 26)), proof.ReviewedLeaf(w.Now, proof.Separated, w.Salt(), []string{"a", "b"}))
	w.Add(proof.CeremonyLeaf(w.Now, w.Salt()))
	w.NextRules()
	w.Later(60)
	salt = w.Salt()
	emergency := w.Warrant(proof.Emergency, 1, salt, nil)
	w.Later(2)
	w.Add(proof.LapsedLeaf(w.Now, emergency, nil, 0))
	first := w.Warrant(proof.Preservation, 900, w.Salt(), nil)
	w.Warrant(proof.Extension, 900, w.Salt(), func(l *proof.Leaf) { l.Case, l.HoldEnds = &first, proof.Day(w.Now.AddDate(0, 0, 70)) })
	w.Warrant(proof.Withdrawal, 0, w.Salt(), func(l *proof.Leaf) { l.Case = &first })
	told := w.Warrant(proof.Production, 1, w.Salt(), func(l *proof.Leaf) { l.NoticeDays, l.OffenceClass, l.Jurisdiction = 7, "stalking", "GB-WLS" })
	w.Add(proof.ToldLeaf(w.Now, told, true), proof.ObjectedLeaf(w.Now, told), proof.ExpiredLeaf(w.Now, told))
	late := w.Warrant(proof.Production, 2, w.Salt(), func(l *proof.Leaf) { l.SecrecyEnds = proof.Day(w.Now.AddDate(0, 0, 30)) })
	for range 40 { // more than a page has
		w.Add(proof.DecisionLeaf(w.Now, late, w.Salt(), proof.Decision{Custodian: "alba", Votes: proof.AllMarks(2), Signed: []byte("s")}))
	}
	w.Add(proof.ReleasedLeaf(w.Now, late, w.Salt(), proof.AllMarks(2)), proof.DeletedLeaf(w.Now, late)) // before anybody agreed
	w.AddRaw([]byte(Hostile))
	w.AddRaw([]byte(`{"v":2,"kind":"later","day":"2099-01-01"}`))
	w.AddRaw([]byte(strings.Repeat("x", proof.MaxLeaf)))
}

// Grow adds cases until there are so many entries, over so many days.
func (w *World) Grow(n int64, days int) {
	w.t.Helper()
	begin, from := w.Now, w.Size()
	for w.Size() < n {
		w.Now = begin.AddDate(0, 0, int((w.Size()-from)*int64(days)/max(1, n-from)))
		salt := w.Salt()
		switch c := w.Size(); {
		case c%11 == 0:
			w.Add(proof.RefusedLeaf(w.Now, "warrant.expired"))
		case n-c < 7:
			w.Add(proof.ErasedLeaf(w.Now, salt, strings.Repeat("b", 26)))
		default:
			w.Opened(w.Warrant(proof.Production, 1, salt, nil), 1, salt, proof.Production)
		}
	}
}

// Publish signs what there is, as of a time, by the log and two of its witnesses.
func (w *World) Publish(at time.Time) {
	w.t.Helper()
	root, err := tlog.TreeHash(w.Size(), w)
	check(w.t, err)
	text := torchwood.Checkpoint{Origin: w.Bundle.Log.Origin, Tree: tlog.Tree{N: w.Size(), Hash: root}}.String()
	signed, err := note.Sign(&note.Note{Text: text}, w.signers...)
	check(w.t, err)
	for i, by := range w.Bundle.Log.Witnesses[:2] {
		signed = append(signed, w.cosignature(by.Name, w.keys[i], at.Add(time.Duration(i)*time.Second), text)...)
	}
	w.checkpoint = signed
}

// cosignature is as C2SP tlog-cosignature has it.
func (w *World) cosignature(name string, key ed25519.PrivateKey, at time.Time, text string) string {
	s, err := torchwood.NewCosignatureSigner(name, key)
	check(w.t, err)
	b := binary.BigEndian.AppendUint32(nil, s.KeyHash())
	b = binary.BigEndian.AppendUint64(b, uint64(at.Unix()))
	b = append(b, ed25519.Sign(key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at.Unix(), text))...)
	return fmt.Sprintf("— %s %s\n", name, base64.StdEncoding.EncodeToString(b))
}

// ReadHashes implements tlog.HashReader.
func (w *World) ReadHashes(ids []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(ids))
	for i, id := range ids {
		found[i] = w.hashes[id]
	}
	return found, nil
}

// ReadEndpoint implements torchwood.TileReader.
func (w *World) ReadEndpoint(context.Context, string) ([]byte, error) {
	return slices.Clone(w.checkpoint), nil
}

// ReadTiles implements torchwood.TileReader.
func (w *World) ReadTiles(_ context.Context, tiles []tlog.Tile) (all [][]byte, err error) {
	for _, tile := range tiles {
		var data []byte
		from := tile.N * torchwood.TileWidth
		if (from+int64(tile.W))<<(8*max(0, tile.L)) > w.Size() {
			return nil, fmt.Errorf("the log has no tile %v", tile)
		}
		if tile.L < 0 {
			for _, leaf := range w.leaves[from : from+int64(tile.W)] {
				if data, err = torchwood.AppendTileEntry(data, leaf); err != nil {
					return nil, err
				}
			}
		} else if data, err = tlog.ReadTileData(tile, w); err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// SaveTiles implements torchwood.TileReader.
func (w *World) SaveTiles([]tlog.Tile, [][]byte) {}

// Fetch is rules.Fetch.
func (w *World) Fetch(_ context.Context, hash string) ([]byte, []string, error) {
	for _, b := range w.Bundles {
		if b.Hash() == hash {
			raw, err := b.Marshal()
			return raw, w.endorsed[hash], err
		}
	}
	return nil, nil, rules.ErrUnavailable
}

// Records is rules.Records.
func (w *World) Records(_ context.Context, digest string) (string, []string, error) {
	for _, p := range w.platforms {
		if proof.PlatformDigest(p.Signed, p.Countersigned) == digest {
			return p.Signed, p.Countersigned, nil
		}
	}
	return "", nil, rules.ErrUnavailable
}

// Mirror makes a mirror of what is published, as escrow log mirror does.
func (w *World) Mirror(dir string) {
	w.t.Helper()
	_, err := w.Log().Mirror(w.t.Context(), w, dir, nil)
	check(w.t, err)
	check(w.t, rules.Mirror(w.t.Context(), dir, w.Log(), w.Fetch, w.Records))
}

// ServeHTTP serves the log, rules and registry as a registrar does, for commands.
func (w *World) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	write := func(v any) {
		if err := json.NewEncoder(rw).Encode(v); err != nil {
			w.t.Error(err)
		}
	}
	path, hash := r.URL.Path, ""
	if rest, ok := strings.CutPrefix(path, strings.Split(registrar.PathBundles, ":")[0]); ok {
		hash, _, _ = strings.Cut(rest, "/")
	}
	switch tile, err := torchwood.ParseTilePath(strings.TrimPrefix(path, registrar.PathLog+"/")); {
	case path == registrar.PathLog+"/checkpoint":
		_, _ = rw.Write(w.checkpoint)
	case err == nil:
		data, err := w.ReadTiles(r.Context(), []tlog.Tile{tile})
		if err != nil {
			http.NotFound(rw, r)
			return
		}
		_, _ = rw.Write(data[0])
	case path == registrar.PathPlatforms:
		write(registrar.Platforms{Records: w.platforms})
	case path == strings.ReplaceAll(registrar.PathEndorsed, ":"+registrar.ParamHash, hash):
		write(registrar.Endorsements{Endorsements: w.endorsed[hash]})
	case hash != "":
		raw, _, err := w.Fetch(r.Context(), hash)
		if err != nil {
			http.NotFound(rw, r)
			return
		}
		_, _ = rw.Write(raw)
	default:
		http.NotFound(rw, r)
	}
}
