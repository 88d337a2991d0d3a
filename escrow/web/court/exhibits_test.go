package court

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/verifier/token"
)

// exhibitSide is the disclosing side with a case, what its evidence declares, and who reads it.
type exhibitSide struct {
	store      *disclosetest.Memory
	client     *registrar.Client
	log        *bytes.Buffer
	recipients []string
	identity   string
}

func newExhibitSide(t *testing.T) *exhibitSide {
	t.Helper()
	s := &exhibitSide{store: new(disclosetest.Memory), log: new(bytes.Buffer)}
	for range 4 {
		id, err := age.GenerateHybridIdentity()
		if err != nil {
			t.Fatal(err)
		}
		s.identity, s.recipients = id.String(), append(s.recipients, id.Recipient().String())
	}
	srv := httptest.NewUnstartedServer(nil)
	origin := "http://" + srv.Listener.Addr().String()
	edge, err := web.New(web.Config{Origin: origin, Log: slog.New(slog.NewTextHandler(s.log, nil)), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	Mount(edge, Config{Registrar: &disclose.Registrar{Cases: s.store, Rules: &disclose.Rules{Bundles: s.store}, Now: time.Now}, Board: &disclose.Board{}})
	srv.Config.Handler = edge
	srv.Start()
	t.Cleanup(srv.Close)
	s.client = &registrar.Client{Server: origin, HTTP: srv.Client(), Now: time.Now}
	return s
}

// file records a case that declares these contents.
func (s *exhibitSide) file(t *testing.T, contents ...string) (id string, declared []token.Exhibit) {
	t.Helper()
	c, leaf := disclosetest.NewCase("production")
	c.KeepDays = 90
	for _, content := range contents {
		x, err := token.NewExhibit("text/plain", strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		declared = append(declared, x)
		c.Exhibits = append(c.Exhibits, disclose.SealedExhibit{Digest: x.Digest, Length: exhibit.SealedSize(x.Length, len(s.recipients))})
	}
	if _, err := s.store.File(t.Context(), c, leaf); err != nil {
		t.Fatal(err)
	}
	return c.ID, declared
}

func (s *exhibitSide) put(t *testing.T, id string, x token.Exhibit, content string) error {
	t.Helper()
	return exhibit.Send(x, strings.NewReader(content), s.recipients, func(sealed io.Reader, length int64) error {
		return s.client.PutExhibit(t.Context(), id, x.Digest, sealed, length)
	})
}

// fetch opens what is stored and compares it with what is declared.
func (s *exhibitSide) fetch(t *testing.T, id string, x token.Exhibit) error {
	t.Helper()
	sealed, err := s.client.Exhibit(t.Context(), id, x.Digest)
	if err != nil {
		return err
	}
	defer sealed.Close()
	r, err := exhibit.Open(sealed, s.identity)
	if err != nil {
		return err
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return x.Check(content)
}

func code(err error) string {
	var said *registrar.Problem
	if errors.As(err, &said) {
		return said.Code
	}
	return ""
}

// What a post showed goes through the registrar, which neither it nor its log can read;
// only what the evidence of that very case declares is taken, and nothing is replaced.
func TestExhibitsTravelEncrypted(t *testing.T) {
	s := newExhibitSide(t)
	const canary, other = "I know where you live, canary-51", "and your children too"
	id, x := s.file(t, canary, other)
	another, _ := s.file(t, "of another case")
	before, err := s.client.Exhibits(t.Context(), id)
	if err != nil || before.Stored != 0 || len(before.Missing) != 2 || !slices.Contains(before.Missing, x[0].Name()) {
		t.Fatal(before, err)
	}
	if err := s.put(t, id, x[0], canary); err != nil {
		t.Fatal(err)
	}
	if err := s.fetch(t, id, x[0]); err != nil {
		t.Fatal(err)
	}
	stored, err := s.store.Exhibit(t.Context(), id, x[0].Digest)
	if err != nil || bytes.Contains(stored, []byte("canary")) || strings.Contains(s.log.String(), "canary") || strings.Contains(s.log.String(), x[0].Name()) {
		t.Errorf("what the registrar has is no ciphertext: %v", err)
	}
	after, err := s.client.Exhibits(t.Context(), id)
	if err != nil || after.Stored != 1 || !slices.Equal(after.Missing, []string{x[1].Name()}) || after.String() == "" {
		t.Error(after, err)
	}

	send := func(id string, digest [32]byte, b []byte) string {
		return code(s.client.PutExhibit(t.Context(), id, digest, bytes.NewReader(b), int64(len(b))))
	}
	noise := make([]byte, len(stored))
	rand.Read(noise)
	for name, got := range map[string]struct{ code, want string }{
		"the same bytes":       {send(id, x[0].Digest, stored), ""},
		"other bytes":          {send(id, x[0].Digest, noise), "exhibit.stored"},
		"encrypted again":      {code(s.put(t, id, x[0], canary)), "exhibit.stored"},
		"in another case":      {send(another, x[0].Digest, stored), "exhibit.undeclared"},
		"in no case":           {send("none", x[0].Digest, stored), "exhibit.undeclared"},
		"not declared":         {send(id, sha256.Sum256([]byte("x")), stored), "exhibit.undeclared"},
		"cut":                  {send(id, x[1].Digest, stored[:len(stored)-1]), "exhibit.length"},
		"larger than any":      {send(id, x[1].Digest, make([]byte, 21<<20+1)), "server.body_too_large"},
		"fetched, not stored":  {code(s.fetch(t, id, x[1])), "exhibit.not_stored"},
		"a copy, not stored":   {code(func() error { _, err := s.client.Copy(t.Context(), id, x[0].Digest, s.recipients[0]); return err }()), "exhibit.not_stored"},
		"a copy, before rules": {code(s.client.PutCopy(t.Context(), id, x[0].Digest, s.recipients[0], stored)), "bundle.none_in_force"},
		"fetched, of no case":  {code(s.fetch(t, "none", x[0])), "exhibit.not_stored"},
		"asked for of no case": {code(func() error { _, err := s.client.Exhibits(t.Context(), "none"); return err }()), "warrant.no_case"},
	} {
		if got.code != got.want {
			t.Errorf("%s: %q", name, got.code)
		}
	}
	for _, digest := range []string{"", "x", strings.Repeat("z", 64), x[0].Name() + "00", strings.ToUpper(x[0].Name())[:10]} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.client.Server+registrar.Fill(registrar.PathExhibit, id, digest), nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.client.HTTP.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != http.StatusNotFound {
			t.Errorf("%q: %d", digest, res.StatusCode)
		}
	}
}

// Short exhibits travel together, and no other way around what is checked of one.
func TestShortExhibitsTravelTogether(t *testing.T) {
	s := newExhibitSide(t)
	long := strings.Repeat("x", exhibit.MaxShort)
	id, x := s.file(t, "one", "two", long)
	sealed := make(map[[32]byte][]byte)
	for i, content := range []string{"one", "two"} {
		var b bytes.Buffer
		if err := exhibit.Seal(&b, s.recipients, strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		sealed[x[i].Digest] = b.Bytes()
	}
	if err := errors.Join(s.client.PutShortExhibits(t.Context(), id, sealed), s.put(t, id, x[2], long)); err != nil {
		t.Fatal(err)
	}
	got, err := s.client.ShortExhibits(t.Context(), id, [][32]byte{x[1].Digest, x[0].Digest, x[2].Digest, {}})
	if err != nil || !maps.EqualFunc(got, sealed, bytes.Equal) {
		t.Errorf("%d, %v", len(got), err)
	}
	many := make([][32]byte, exhibit.MaxTogether, exhibit.MaxTogether+1)
	if got, err := s.client.ShortExhibits(t.Context(), id, append(many, x[0].Digest)); err != nil || len(got) > 0 {
		t.Errorf("of more than travel together: %d, %v", len(got), err)
	}
	for name, got := range map[string]struct{ code, want string }{
		"not declared": {code(s.client.PutShortExhibits(t.Context(), id, map[[32]byte][]byte{{}: nil})), "exhibit.undeclared"},
		"cut":          {code(s.client.PutShortExhibits(t.Context(), id, map[[32]byte][]byte{x[0].Digest: nil})), "exhibit.length"},
		"too much":     {code(s.client.PutShortExhibits(t.Context(), id, map[[32]byte][]byte{x[0].Digest: make([]byte, 9<<20)})), "server.body_too_large"},
		"none":         {code(func() error { _, err := s.client.ShortExhibits(t.Context(), id, nil); return err }()), "exhibit.not_stored"},
	} {
		if got.code != got.want {
			t.Errorf("%s: %q", name, got.code)
		}
	}
}

// A registrar that swaps, cuts or replays what it stores is found by whoever opens it.
func TestARegistrarThatChangesExhibits(t *testing.T) {
	s := newExhibitSide(t)
	const words, others = "the words of the post", "words of another case"
	id, x := s.file(t, words)
	if err := s.put(t, id, x[0], words); err != nil {
		t.Fatal(err)
	}
	honest, err := s.store.Exhibit(t.Context(), id, x[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	var swapped, forged bytes.Buffer
	if err := exhibit.Seal(&swapped, s.recipients, strings.NewReader(others)); err != nil {
		t.Fatal(err)
	}
	if err := exhibit.Seal(&forged, s.recipients[:1], strings.NewReader(words)); err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(honest)
	flipped[len(flipped)-1] ^= 1
	for name, c := range map[string]struct {
		served []byte
		want   error
	}{
		"as it was stored":             {honest, nil},
		"another case's, same readers": {swapped.Bytes(), token.ErrExhibitMismatch},
		"encrypted to somebody else":   {forged.Bytes(), exhibit.ErrNotForThisKey},
		"cut":                          {honest[:len(honest)-1], exhibit.ErrDamaged},
		"one bit":                      {flipped, exhibit.ErrDamaged},
		"more behind it":               {append(slices.Clone(honest), 0), exhibit.ErrDamaged},
		"nothing":                      {nil, exhibit.ErrDamaged},
	} {
		liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, hex.EncodeToString(x[0].Digest[:])) {
				t.Error(r.URL.Path)
			}
			w.Write(c.served) //nolint:errcheck // the client says so
		}))
		lied := *s
		lied.client = &registrar.Client{Server: liar.URL, HTTP: liar.Client(), Now: time.Now}
		if err := lied.fetch(t, id, x[0]); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		liar.Close()
	}
}
