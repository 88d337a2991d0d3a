package witness_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/penname/penname/escrow/witness"
	"github.com/penname/penname/verifier/proof"
)

func newWitness(t testing.TB, w *world, s witness.Store) *witness.Witness {
	t.Helper()
	return must(witness.New(t.Context(), w.names[0], w.keys[0], origin, w.vkey, s, clock))(t)
}

// request is an add-checkpoint body from old to n, with the right proof.
func (w *world) request(old, n int64) string {
	w.t.Helper()
	var path tlog.TreeProof
	if 0 < old && old < n {
		path = must(tlog.ProveTree(n, old, w.HashReader()))(w.t)
	}
	return string(witness.FormatRequest(old, path, w.signed(n)))
}

func post(h http.Handler, body string) *httptest.ResponseRecorder {
	r := httptest.NewRecorder()
	h.ServeHTTP(r, httptest.NewRequest(http.MethodPost, "/add-checkpoint", strings.NewReader(body)))
	return r
}

func TestWitnessCosignsWhatOnlyGrows(t *testing.T) {
	w := newWorld(t).grow(9)
	s := &store{}
	alba := newWitness(t, w, s)
	for _, step := range [][2]int64{{0, 3}, {3, 3}, {3, 7}, {7, 9}} {
		r := post(alba, w.request(step[0], step[1]))
		if r.Code != http.StatusOK {
			t.Fatalf("%v: %d %s", step, r.Code, r.Body)
		}
		// The line verifies under torchwood, and is all that is answered (M18).
		v := must(torchwood.NewCosignatureVerifier(alba.VKey()))(t)
		n, err := note.Open(append([]byte(w.checkpoint(step[1]).String()+"\n"), r.Body.Bytes()...), note.VerifierList(v))
		if err != nil || len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 {
			t.Fatalf("%v: %v", step, err)
		}
		if at, err := torchwood.CosignatureTimestamp(n.Sigs[0]); err != nil || at != noon.Unix() {
			t.Errorf("cosigned at %d, %v", at, err)
		}
		if seen, err := alba.Seen(t.Context()); err != nil || seen != w.checkpoint(step[1]).Tree {
			t.Errorf("%v: seen %v, %v", step, seen, err)
		}
	}
}

func TestWitnessAttacks(t *testing.T) {
	w := newWorld(t).grow(12)
	fork := newWorld(t).grow(4)
	fork.add("another leaf")
	fork.grow(12)
	skey, _ := logKey(origin, 7)
	impostor := must(note.NewSigner(skey))(t)
	text := w.checkpoint(9).String()
	byImpostor := must(note.Sign(&note.Note{Text: text}, impostor))(t)
	good := w.request(5, 9)
	signed := string(w.signed(9))
	path := must(tlog.ProveTree(9, 5, w.HashReader()))(t)
	hash := path[0].String()
	// A line with the log's name and key hash that it did not make.
	line := signed[strings.Index(signed, "— "):]
	raw := must(base64.StdEncoding.DecodeString(strings.Fields(line)[2]))(t)
	raw[30] ^= 1
	forged := "— " + origin + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
	other := strings.ReplaceAll(good, origin, "log.example/elsewhere")
	extended := text + "extension\n"
	req := func(old int64, path tlog.TreeProof, signed []byte) string {
		return string(witness.FormatRequest(old, path, signed))
	}
	unclean := torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: 9, Hash: w.checkpoint(9).Hash}}.String()
	last := strings.LastIndex(unclean, "=")
	unclean = unclean[:last-1] + string(unclean[last-1]+1) + unclean[last:] // the same 32 bytes, spelt otherwise
	for name, c := range map[string]struct {
		body   string
		status int
		want   string // of the body, if not empty
	}{
		"M01 unknown origin":                    {other, 404, ""},
		"M02 signed by another key":             {req(5, path, byImpostor), 403, ""},
		"M02 not signed":                        {req(5, path, []byte(text+"\n"+forged)), 403, ""},
		"M03 forged line before the good one":   {req(5, path, []byte(text+"\n"+forged+line)), 403, ""},
		"M04 old above size":                    {req(10, nil, w.signed(9)), 400, ""},
		"M05 old too small":                     {w.request(4, 9), 409, "5\n"},
		"M05 old 0":                             {w.request(0, 9), 409, "5\n"},
		"M05 old too large":                     {w.request(6, 9), 409, "5\n"},
		"M06 same size, other root":             {fork.request(5, 5), 422, ""},
		"M06 same size, other root, stale old":  {fork.request(0, 5), 422, ""},
		"M07 no proof":                          {req(5, nil, w.signed(9)), 422, ""},
		"M07 garbage proof":                     {req(5, make(tlog.TreeProof, len(path)), w.signed(9)), 422, ""},
		"M07 proof of another step":             {req(5, must(tlog.ProveTree(9, 6, w.HashReader()))(t), w.signed(9)), 422, ""},
		"M07 proof of a fork":                   {fork.request(5, 9), 422, ""},
		"M07 proof for the same size":           {req(5, path, w.signed(5)), 422, ""},
		"M10 64 proof lines":                    {req(5, make(tlog.TreeProof, 64), w.signed(9)), 400, ""},
		"M11 leading zero":                      {strings.Replace(good, "old 5", "old 05", 1), 400, ""},
		"M11 plus sign":                         {strings.Replace(good, "old 5", "old +5", 1), 400, ""},
		"M11 minus sign":                        {strings.Replace(good, "old 5", "old -5", 1), 400, ""},
		"M11 two spaces":                        {strings.Replace(good, "old 5", "old  5", 1), 400, ""},
		"M11 beyond 63 bits":                    {strings.Replace(good, "old 5", "old 9223372036854775808", 1), 400, ""},
		"M11 hex":                               {strings.Replace(good, "old 5", "old 0x5", 1), 400, ""},
		"M11 no size":                           {strings.Replace(good, "old 5", "old ", 1), 400, ""},
		"M11 no old line":                       {strings.Replace(good, "old 5\n", "", 1), 400, ""},
		"M11 checkpoint size with leading zero": {req(5, path, w.sign(strings.Replace(text, "\n9\n", "\n09\n", 1))), 400, ""},
		"M12 no blank line":                     {strings.ReplaceAll(good, "\n\n", "\n"), 400, ""},
		"M12 CRLF":                              {strings.ReplaceAll(good, "\n", "\r\n"), 400, ""},
		"M12 carriage return in a hash":         {strings.Replace(good, hash, hash+"\r", 1), 400, ""},
		"M12 hash not canonical":                {strings.Replace(good, hash, hash[:42]+string(hash[42]+1)+"=", 1), 400, ""},
		"M12 control character":                 {strings.Replace(good, "— ", "\x07— ", 1), 400, ""},
		"M12 not UTF-8":                         {strings.Replace(good, "— ", "\xff— ", 1), 400, ""},
		"M12 empty":                             {"", 400, ""},
		"M12 root not canonical":                {req(5, path, w.sign(unclean)), 400, ""},
		"M13 extension lines":                   {req(5, path, w.sign(extended)), 400, ""},
		"M35 a body of a megabyte":              {good + strings.Repeat("— someone.example AAAAAAAA\n", 40000), 413, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &store{state: w.signed(5)}
			r := post(newWitness(t, w, s), c.body)
			if r.Code != c.status || c.want != "" && r.Body.String() != c.want {
				t.Errorf("%d %s", r.Code, r.Body)
			}
			if c.status == 409 && r.Header().Get("Content-Type") != "text/x.tlog.size" {
				t.Error("409 without text/x.tlog.size")
			}
			if strings.Contains(r.Body.String(), "— "+w.names[0]) {
				t.Error("a refusal carries a cosignature")
			}
			if !bytes.Equal(s.state, w.signed(5)) {
				t.Error("a refused request changed the state")
			}
			if wantEvidence := strings.HasPrefix(name, "M06"); wantEvidence != (len(s.evidence) == 1) {
				t.Errorf("%d pieces of evidence", len(s.evidence))
			}
		})
	}
}

func TestWitnessRefusesWhatCannotBeFirst(t *testing.T) {
	w := newWorld(t).grow(12)
	path := must(tlog.ProveTree(9, 5, w.HashReader()))(t)
	emptyRoot := must(tlog.TreeHash(0, nil))(t)
	req := func(old int64, path tlog.TreeProof, signed []byte) string {
		return string(witness.FormatRequest(old, path, signed))
	}
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"M08 old 0 with a proof":        {req(0, path, w.signed(9)), 422},
		"M09 size 0, non-empty root":    {req(0, nil, w.sign(torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{Hash: tlog.Hash{1}}}.String())), 422},
		"the empty log may be cosigned": {req(0, nil, w.sign(torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{Hash: emptyRoot}}.String())), 200},
	} {
		t.Run(name, func(t *testing.T) {
			if r := post(newWitness(t, w, &store{}), c.body); r.Code != c.status {
				t.Errorf("%d %s", r.Code, r.Body)
			}
		})
	}
}

func TestWitnessTakesOneKindOfRequest(t *testing.T) {
	w := newWorld(t).grow(9)
	for _, c := range []struct {
		method, path string
		status       int
	}{{"GET", "/add-checkpoint", 405}, {"POST", "/", 404}, {"POST", "/add-checkpoint/", 404}} {
		r := httptest.NewRecorder()
		newWitness(t, w, &store{}).ServeHTTP(r, httptest.NewRequest(c.method, c.path, strings.NewReader(w.request(5, 9))))
		if r.Code != c.status {
			t.Errorf("%s %s: %d", c.method, c.path, r.Code)
		}
	}
}

// Sunlight's witness once took such a line for its own work and stored it.
func TestM14ForgedWitnessLineDoesNotPoisonTheState(t *testing.T) {
	w := newWorld(t).grow(9)
	s := &store{}
	alba := newWitness(t, w, s)
	forgedLine := "— " + w.names[0] + " " + base64.StdEncoding.EncodeToString(append(keyHash(t, alba.VKey()), make([]byte, 72)...)) + "\n"
	if r := post(alba, w.request(0, 5)+forgedLine); r.Code != http.StatusOK || strings.Contains(r.Body.String(), strings.Fields(forgedLine)[2]) {
		t.Fatalf("%d %s", r.Code, r.Body)
	}
	if r := post(alba, w.request(5, 9)); r.Code != http.StatusOK {
		t.Errorf("the state is poisoned: %d %s", r.Code, r.Body)
	}
	newWitness(t, w, s) // and it starts again
}

func keyHash(t testing.TB, vkey string) []byte {
	t.Helper()
	v := must(torchwood.NewCosignatureVerifier(vkey))(t)
	h := v.KeyHash()
	return []byte{byte(h >> 24), byte(h >> 16), byte(h >> 8), byte(h)}
}

// C2SP tlog-witness describes the race: a request for N that was checked
// before one for N+K was stored must not roll it back.
func TestM15RaceBetweenTwoSizes(t *testing.T) {
	w := newWorld(t).grow(9)
	s := &store{state: w.signed(3)}
	alba := newWitness(t, w, s)
	s.beforeSwap = func() {
		s.beforeSwap = nil // the small request is checked; the large one overtakes it
		if r := post(alba, w.request(3, 9)); r.Code != http.StatusOK {
			t.Errorf("overtaking: %d", r.Code)
		}
	}
	if r := post(alba, w.request(3, 5)); r.Code != http.StatusConflict || r.Body.String() != "9\n" {
		t.Errorf("%d %q", r.Code, r.Body)
	}
	if seen, err := alba.Seen(t.Context()); err != nil || seen.N != 9 {
		t.Errorf("rolled back to %d, %v", seen.N, err)
	}
}

func TestM15ManyRequestsAtOnceNeverShrinkTheState(t *testing.T) {
	w := newWorld(t).grow(40)
	requests := make([]string, 0, 200)
	for n := int64(1); n <= 40; n++ {
		for old := int64(0); old <= n; old += 8 {
			requests = append(requests, w.request(old, n))
		}
	}
	alba := newWitness(t, w, &store{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var largest int64
			for _, r := range requests {
				post(alba, r)
				seen, err := alba.Seen(context.Background())
				if err != nil || seen.N < largest {
					t.Errorf("shrank from %d to %d, %v", largest, seen.N, err)
				}
				largest = seen.N
			}
		})
	}
	wg.Wait()
}

// Any sequence of requests about two histories: the witness cosigns trees of
// one of them only, and never a smaller after a larger.
func TestWitnessCosignsOneHistoryOnly(t *testing.T) {
	a := newWorld(t).grow(20)
	b := newWorld(t).grow(7)
	b.add("another leaf")
	b.grow(20)
	rapid.Check(t, func(rt *rapid.T) {
		alba := newWitness(t, a, &store{})
		var signedA, signedB, largest int64 // largest sizes beyond the common 7
		for range rapid.IntRange(1, 30).Draw(rt, "requests") {
			w := rapid.SampledFrom([]*world{a, b}).Draw(rt, "history")
			n := rapid.Int64Range(1, 20).Draw(rt, "size")
			old := rapid.Int64Range(0, n).Draw(rt, "old")
			if seen, err := alba.Seen(t.Context()); err == nil && seen.N <= n && rapid.Bool().Draw(rt, "old as known") {
				old = seen.N
			}
			if post(alba, w.request(old, n)).Code != http.StatusOK {
				continue
			}
			if n < largest {
				rt.Fatalf("cosigned %d after %d", n, largest)
			}
			largest = n
			if n > 7 && w == a {
				signedA = n
			} else if n > 7 {
				signedB = n
			}
			if signedA > 0 && signedB > 0 {
				rt.Fatalf("cosigned %d of one history and %d of the other", signedA, signedB)
			}
		}
	})
}

func TestM24SplitViewIsKeptAndRaisesTheAlarm(t *testing.T) {
	w := newWorld(t).grow(5)
	fork := newWorld(t).grow(4)
	fork.add("another leaf")
	s := &store{}
	alba := newWitness(t, w, s)
	var alarms []error
	alba.Alarm = func(err error) { alarms = append(alarms, err) }
	post(alba, w.request(0, 5))
	post(alba, w.request(3, 5)) // stale, no alarm
	post(alba, fork.request(5, 5))
	if len(alarms) != 1 || !errors.Is(alarms[0], proof.ErrSplitView) || len(s.evidence) != 1 {
		t.Fatalf("%d alarms, %d pieces of evidence", len(alarms), len(s.evidence))
	}
	e := s.evidence[0]
	if err := proof.VerifySplitView(origin, w.vkey, []byte(e.First), []byte(e.Second)); err != nil {
		t.Error("the evidence does not convict:", err)
	}
	// Evidence that cannot be kept is a failure, not a quiet refusal.
	s.fault = "fails"
	if r := post(alba, fork.request(5, 5)); r.Code != http.StatusServiceUnavailable {
		t.Errorf("%d", r.Code)
	}
}

func TestM16WitnessThatCannotBeToldFromTheLog(t *testing.T) {
	w := newWorld(t)
	logSeed := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	for name, c := range map[string]struct {
		name string
		key  ed25519.PrivateKey
		vkey string
	}{
		"M16 the name of the log":    {origin, w.keys[0], w.vkey},
		"M16 the key of the log":     {w.names[0], logSeed, w.vkey},
		"a name with a space":        {"witness example", w.keys[0], w.vkey},
		"no key":                     {w.names[0], nil, w.vkey},
		"no log key":                 {w.names[0], w.keys[0], ""},
		"a witness key as the log's": {w.names[0], w.keys[0], w.witnesses[1].VKey},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := witness.New(t.Context(), c.name, c.key, origin, c.vkey, &store{}, clock); !errors.Is(err, proof.ErrPolicy) {
				t.Error(err)
			}
		})
	}
}

func TestM17WitnessWithoutAClockDoesNotSign(t *testing.T) {
	w := newWorld(t).grow(2)
	for _, at := range []time.Time{time.Unix(0, 0), time.Unix(-1, 0), {}} {
		alba := must(witness.New(t.Context(), w.names[0], w.keys[0], origin, w.vkey, &store{}, func() time.Time { return at }))(t)
		if r := post(alba, w.request(0, 2)); r.Code != http.StatusServiceUnavailable {
			t.Errorf("%v: %d %s", at, r.Code, r.Body)
		}
	}
}

// F40: each write of the state appears twice, "fails" and "fails but
// persisted". In both the witness signs nothing, and after recovery the same
// request or the one that the 409 asks for succeeds.
func TestF18WitnessStateFaults(t *testing.T) {
	w := newWorld(t).grow(9)
	for _, c := range []struct {
		fault string
		after int
	}{{"fails", http.StatusOK}, {"fails but persisted", http.StatusConflict}} {
		t.Run("F18 write "+c.fault, func(t *testing.T) {
			s := &store{state: w.signed(5), fault: c.fault}
			alba := newWitness(t, w, s)
			if r := post(alba, w.request(5, 9)); r.Code != http.StatusServiceUnavailable || strings.Contains(r.Body.String(), "— ") {
				t.Fatalf("%d %s", r.Code, r.Body)
			}
			s.fault = ""
			alba = newWitness(t, w, s) // the process starts again
			r := post(alba, w.request(5, 9))
			if r.Code != c.after {
				t.Fatalf("%d %s", r.Code, r.Body)
			}
			if r.Code == http.StatusConflict && (r.Body.String() != "9\n" || post(alba, w.request(9, 9)).Code != http.StatusOK) {
				t.Errorf("does not recover: %s", r.Body)
			}
			if r := post(alba, w.request(0, 3)); r.Code != http.StatusConflict {
				t.Errorf("signed a smaller tree: %d", r.Code)
			}
		})
	}
	for name, state := range map[string][]byte{
		"F18 garbage":             []byte("garbage"),
		"F18 empty":               {},
		"F18 one bit":             flip(w.signed(5), 100),
		"F18 another log's state": must(note.Sign(&note.Note{Text: w.checkpoint(5).String()}, must(note.NewSigner(first(logKey(origin, 7))))(t)))(t),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := witness.New(t.Context(), w.names[0], w.keys[0], origin, w.vkey, &store{state: state}, clock); !errors.Is(err, witness.ErrState) {
				t.Error(err)
			}
		})
	}
}

func first(a, _ string) string { return a }

func flip(b []byte, bit int) []byte {
	b = bytes.Clone(b)
	b[bit/8] ^= 1 << (bit % 8)
	return b
}

func TestWitnessFiles(t *testing.T) {
	w := newWorld(t).grow(9)
	fork := newWorld(t).grow(4)
	fork.add("another leaf")
	open := func(t *testing.T, dir string) *witness.Files {
		t.Helper()
		f := must(witness.OpenFiles(dir))(t)
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	fresh := func(t *testing.T) string {
		dir := filepath.Join(t.TempDir(), "witness")
		if err := witness.InitFiles(dir); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	t.Run("state survives a restart", func(t *testing.T) {
		dir := fresh(t)
		f := open(t, dir)
		if r := post(newWitness(t, w, f), w.request(0, 5)); r.Code != http.StatusOK {
			t.Fatalf("%d %s", r.Code, r.Body)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		alba := newWitness(t, w, open(t, dir))
		if r := post(alba, w.request(0, 3)); r.Code != http.StatusConflict || r.Body.String() != "5\n" {
			t.Errorf("forgot: %d %s", r.Code, r.Body)
		}
		for range 3 { // once, however often it is shown
			post(alba, fork.request(5, 5))
		}
		kept := must(filepath.Glob(filepath.Join(dir, "split-view-*.json")))(t)
		if len(kept) != 1 {
			t.Fatalf("%d pieces of evidence", len(kept))
		}
		if b := must(os.ReadFile(kept[0]))(t); !bytes.Contains(b, []byte("log.example")) {
			t.Errorf("%s", b)
		}
		if left := must(filepath.Glob(filepath.Join(dir, "tmp-*")))(t); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	t.Run("F19 a lost state is not begun anew", func(t *testing.T) {
		dir := fresh(t)
		if err := os.Remove(filepath.Join(dir, "checkpoint")); err != nil {
			t.Fatal(err)
		}
		if _, err := witness.OpenFiles(dir); !errors.Is(err, witness.ErrState) {
			t.Error(err)
		}
		if _, err := witness.OpenFiles(filepath.Join(dir, "absent")); !errors.Is(err, witness.ErrState) {
			t.Error(err)
		}
	})
	t.Run("F19 an existing state is not overwritten", func(t *testing.T) {
		dir := fresh(t)
		if err := witness.InitFiles(dir); !errors.Is(err, witness.ErrState) {
			t.Error(err)
		}
	})
	t.Run("F03 a truncated state is not an empty one", func(t *testing.T) {
		dir := fresh(t)
		if err := os.Truncate(filepath.Join(dir, "checkpoint"), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := witness.OpenFiles(dir); !errors.Is(err, witness.ErrState) {
			t.Error(err)
		}
	})
	t.Run("X06 a second process is locked out", func(t *testing.T) {
		dir := fresh(t)
		open(t, dir)
		if _, err := witness.OpenFiles(dir); !errors.Is(err, witness.ErrState) {
			t.Error(err)
		}
	})
	t.Run("the store conforms", func(t *testing.T) {
		testStore(t, open(t, fresh(t)))
	})
	t.Run("the fake conforms", func(t *testing.T) { testStore(t, &store{}) })
	t.Run("permissions", func(t *testing.T) {
		dir := fresh(t)
		for _, p := range []string{dir, filepath.Join(dir, "checkpoint")} {
			if fi := must(os.Stat(p))(t); fi.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v", p, fi.Mode())
			}
		}
	})
}

// testStore is the conformance suite of witness.Store.
func testStore(t *testing.T, s witness.Store) {
	t.Helper()
	ctx := t.Context()
	expect := func(want []byte) {
		t.Helper()
		if got, err := s.Load(ctx); err != nil || !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Fatalf("loaded %q, %v; want %q", got, err, want)
		}
	}
	expect(nil)
	if err := s.Swap(ctx, []byte("x"), []byte("a")); !errors.Is(err, witness.ErrChanged) {
		t.Fatal(err)
	}
	expect(nil)
	for _, step := range [][2]string{{"", "a"}, {"a", "b"}, {"b", "c"}} {
		if err := s.Swap(ctx, []byte(step[0]), []byte(step[1])); err != nil {
			t.Fatal(err)
		}
		expect([]byte(step[1]))
		if err := s.Swap(ctx, []byte(step[0]), []byte("z")); !errors.Is(err, witness.ErrChanged) {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 8 {
		wg.Go(func() {
			if err := s.Swap(ctx, []byte("c"), fmt.Append(nil, i)); err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			} else if !errors.Is(err, witness.ErrChanged) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of 8 racing swaps won", won)
	}
	for range 2 {
		if err := s.Keep(ctx, witness.Evidence{First: "a", Second: "b"}); err != nil {
			t.Error(err)
		}
	}
}
