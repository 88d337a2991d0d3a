package issue_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/token"
)

// A linking game: people sign in at two platforms, something happens to one of
// them, an observer sees what observers of that sort see, is shown one pen name at
// the first platform, and names one at the second. The advantage is how much more
// often than by chance it is the same person's. Each game is played a second time
// with the leak that it is there to find, and must find it.
//
// LINKING_GAMES is how many of each are played, 1,000 for the figures in SECURITY.md.

// seated is how many people sit at a table: chance is 1 in seated.
const seated = 8

func games(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("LINKING_GAMES"))
	if err != nil {
		n = 16
	}
	return n
}

// verdict compares the guesses that were right with chance, by a 95 % interval
// (Wald's).
func verdict(t *testing.T, right, played int) (advantage, margin float64) {
	t.Helper()
	rate, chance := float64(right)/float64(played), 1.0/seated
	margin = 1.96 * math.Sqrt(max(rate*(1-rate), chance*(1-chance))/float64(played))
	t.Logf("%d games, %d right: advantage %+.3f ± %.3f", played, right, rate-chance, margin)
	return rate - chance, margin
}

// play plays a game, and its control.
func play(t *testing.T, game func(t *testing.T, leak bool) (right, played int)) {
	t.Helper()
	t.Run("honest", func(t *testing.T) {
		right, played := game(t, false)
		if advantage, margin := verdict(t, right, played); advantage > 2.5*margin { // by chance once in 10,000 runs
			t.Errorf("the observer links pen names: %+.3f ± %.3f", advantage, margin)
		}
	})
	t.Run("control", func(t *testing.T) {
		right, played := game(t, true)
		if advantage, _ := verdict(t, right, played); advantage < 0.8*(1-1.0/seated) {
			t.Errorf("the observer misses the leak: it would miss others")
		}
	})
}

// player is somebody at the table, and what the platforms have of them.
type player struct {
	id      identity.Identity
	person  issue.Person
	session issue.Session // here
	names   [2]token.Pseudonym
	tokens  [2][]signIn // of each platform, the newest last
}

// signIn is what a platform has of a sign-in.
type signIn struct {
	Refresh string `json:"refresh_token"`
	Access  string `json:"access_token"`
	ID      string `json:"id_token"`
}

func (s signIn) claims(t *testing.T) (c struct {
	Commitment string `json:"penname_commitment"`
	ID         string `json:"jti"`
	Grant      string `json:"grant_id"`
	Status     struct {
		List struct {
			Index int `json:"idx"`
		} `json:"status_list"`
	} `json:"status"`
}) {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(s.Access, ".")[1])
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// table is a Penname with two platforms.
type table struct {
	*testing.T
	issuer    *issue.Issuer
	store     *postgres.Issuing
	provider  *openid.Provider
	platforms [2]openid.Platform
	admin     *pgx.Conn
	now       time.Time
	signsIn   *player // at the page
	players   []*player
	come      int
}

const clientSecret = "q1w2e3r4t5y6u7i8o9p0-_aAsSdDfFgGhHjJkKlLzZx"

func newTable(t *testing.T) *table {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	tb := &table{T: t, now: time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)}
	dsn := escrowtest.Postgres(t)
	check(postgres.Migrate(t.Context(), dsn))
	login, err := postgres.Login(t.Context(), dsn, "penname_issuing")
	check(err)
	keys, _, _ := sandbox.NewKeyring(sandbox.NewSecret())
	tb.store, err = postgres.OpenIssuing(t.Context(), login, postgres.Options{RowKey: issue.RowKey(keys)})
	check(err)
	t.Cleanup(tb.store.Close)
	tb.admin, err = pgx.Connect(t.Context(), dsn)
	check(err)
	t.Cleanup(func() { tb.admin.Close(context.Background()) })
	_, err = tb.admin.Exec(t.Context(), `CREATE EXTENSION IF NOT EXISTS pageinspect SCHEMA public; SET search_path = penname`)
	check(err)
	custodians, _, err := escrowtest.ThresholdKey(2, 3)
	check(err)
	tb.issuer = &issue.Issuer{Keys: keys, Store: tb.store, Custodians: func() (seal.Custodians, error) { return seal.Custodians{Key: custodians}, nil }, Now: func() time.Time { return tb.now }}
	for i, id := range []string{"town-square", "school-forum"} {
		tb.platforms[i] = openid.Platform{ID: id, Name: id, RedirectURIs: []string{"https://" + id + ".example/cb"}, SecretHash: sha256.Sum256([]byte(clientSecret))}
	}
	fixed, err := openid.Fixed(tb.platforms[:]...)
	check(err)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(err)
	tb.provider, err = openid.New(openid.Config{
		Issuer: "https://penname.example", Platforms: fixed, ACRs: []string{"high"}, Now: tb.issuer.Now,
		Keys: []openid.Key{{JWK: jose.JSONWebKey{KeyID: "k1", Algorithm: "EdDSA", Use: "sig", Key: key}}},
	}, tb.store, func(_ http.ResponseWriter, r *http.Request, ask openid.SignInRequest) (openid.Subject, openid.Outcome, error) {
		name, commitment, err := tb.issuer.Pseudonym(r.Context(), tb.signsIn.person, ask.Platform.ID)
		return openid.Subject{Pseudonym: name, Commitment: commitment, ACR: "high"}, openid.Approved, err
	})
	check(err)
	return tb
}

// sit brings new people to the table, who enrol one after the other.
func (tb *table) sit(then func(*player)) {
	tb.Helper()
	tb.players = nil
	for range seated {
		tb.come++
		p := &player{id: identity.Identity{Issuer: "https://id.example", Subject: identity.Private(fmt.Sprint(tb.come)),
			Name: identity.Private(fmt.Sprint("Jo Teacher ", tb.come)), Birthdate: "1988-02-29"}}
		tb.enrol(p)
		tb.players = append(tb.players, p)
		then(p)
	}
}

func (tb *table) enrol(p *player) {
	tb.Helper()
	var err error
	if p.person, _, err = tb.issuer.Return(tb.Context(), p.id); err != nil {
		tb.Fatal(err)
	}
	if p.session, err = tb.store.BeginSession(tb.Context(), p.person, issue.NewSession("Jo's phone", tb.now)); err != nil {
		tb.Fatal(err)
	}
}

// call sends a request to the provider.
func (tb *table) call(method, path string, form url.Values) *httptest.ResponseRecorder {
	tb.Helper()
	r := httptest.NewRequest(method, "https://penname.example"+path, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	tb.provider.Handler().ServeHTTP(w, r)
	return w
}

// visit is a sign-in of p at a platform.
func (tb *table) visit(p *player, platform int) {
	tb.Helper()
	tb.signsIn = p
	pl := tb.platforms[platform]
	const verifier = "a-code-verifier-of-at-least-forty-three-characters"
	challenge := sha256.Sum256([]byte(verifier))
	w := tb.call(http.MethodGet, "/authorize?"+url.Values{
		"client_id": {pl.ID}, "redirect_uri": {pl.RedirectURIs[0]}, "response_type": {"code"}, "scope": {"openid offline_access"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode(), nil)
	back, err := url.Parse(w.Header().Get("Location"))
	if err != nil || back.Query().Get("code") == "" {
		tb.Fatal(w.Code, w.Body, back)
	}
	w = tb.call(http.MethodPost, "/token", url.Values{"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")},
		"redirect_uri": {pl.RedirectURIs[0]}, "code_verifier": {verifier}, "client_id": {pl.ID}, "client_secret": {clientSecret}})
	var s signIn
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || s.Refresh == "" {
		tb.Fatal(w.Code, w.Body)
	}
	p.tokens[platform] = append(p.tokens[platform], s)
	var err2 error
	if p.names[platform], _, err2 = tb.issuer.Pseudonym(tb.Context(), p.person, pl.ID); err2 != nil {
		tb.Fatal(err2)
	}
}

// everybody visits a platform, in an order that tells nothing.
func (tb *table) everybody(platform int) {
	tb.Helper()
	for _, i := range mrand.Perm(len(tb.players)) {
		tb.visit(tb.players[i], platform)
	}
}

// leave ends the sessions of p, and the sign-ins at both platforms.
func (tb *table) leave(p *player, end func(context.Context, token.Pseudonym) error) {
	tb.Helper()
	if err := tb.store.EndSessions(tb.Context(), p.person); err != nil {
		tb.Fatal(err)
	}
	for _, name := range p.names {
		if err := end(tb.Context(), name); err != nil {
			tb.Fatal(err)
		}
	}
}

// closest guesses: of the second platform's people, one whose feature is nearest to
// that of the person who is shown, by lot if several are.
func closest(features []float64, shown float64) int {
	best, nearest := []int{}, math.Inf(1)
	for i, f := range features {
		switch d := math.Abs(f - shown); {
		case d < nearest:
			best, nearest = []int{i}, d
		case d == nearest:
			best = append(best, i)
		}
	}
	return best[mrand.IntN(len(best))]
}

// revoked are the bits that the status list has for the newest tokens of a platform.
func (tb *table) revoked(platform int) []bool {
	tb.Helper()
	w := tb.call(http.MethodGet, "/status/0", nil)
	keys, err := token.ParseKeySet(tb.call(http.MethodGet, "/jwks", nil).Body.Bytes())
	if err != nil {
		tb.Fatal(err)
	}
	list, err := token.VerifyStatusList(tb.Context(), w.Body.String(), "https://penname.example/status/0", keys, tb.now)
	if err != nil {
		tb.Fatal(w.Code, err)
	}
	var bits []bool
	for _, p := range tb.players {
		index := p.tokens[platform][len(p.tokens[platform])-1].claims(tb.T).Status.List.Index
		withdrawn, _ := list.Withdrawn(index)
		bits = append(bits, withdrawn)
	}
	return bits
}

// TestFoundP2StatusListAfterSigningOut: two platforms poll the public list from one
// minute to the next for a day, while one of their people signs out everywhere, or at
// one of them. Before, both saw the bit of that person change in one minute.
func TestFoundP2StatusListAfterSigningOut(t *testing.T) {
	for _, where := range []string{"everywhere", "at one platform"} {
		t.Run(where, func(t *testing.T) {
			play(t, func(t *testing.T, leak bool) (right, played int) {
				tb := newTable(t)
				for range games(t) {
					tb.sit(func(*player) {})
					tb.everybody(0)
					tb.everybody(1)
					k := mrand.IntN(seated)
					var err error
					switch {
					case leak:
						tb.leave(tb.players[k], tb.provider.End)
					case where == "everywhere":
						tb.leave(tb.players[k], tb.provider.EndQuietly)
					default:
						err = tb.provider.End(t.Context(), tb.players[k].names[0])
					}
					if err != nil {
						t.Fatal(err)
					}
					flipped := tb.poll()
					if closest(flipped[1], flipped[0][k]) == k {
						right++
					}
					played++
				}
				return right, played
			})
		})
	}
}

// poll looks at the status list for a day: at which look the token of each person at
// each platform was withdrawn, 1000 if at none.
func (tb *table) poll() (flipped [2][]float64) {
	tb.Helper()
	for i := range flipped {
		flipped[i] = slices.Repeat([]float64{1000}, seated)
	}
	for look, after := range []time.Duration{time.Minute, 9 * time.Minute, 50 * time.Minute, 3 * time.Hour, 8 * time.Hour, 12 * time.Hour} {
		tb.now = tb.now.Add(after)
		for platform := range flipped {
			for i, bit := range tb.revoked(platform) {
				if bit && flipped[platform][i] == 1000 {
					flipped[platform][i] = float64(look)
				}
			}
		}
	}
	return flipped
}

// TestFoundP1DeletedAndBack: platforms compare what tokens committed to, before one of
// their people deletes themself and comes back, and afterwards. Before, only that
// person's commitments changed, at every platform.
func TestFoundP1DeletedAndBack(t *testing.T) {
	play(t, func(t *testing.T, leak bool) (right, played int) {
		tb := newTable(t)
		commitments := func(p *player, platform int) (all []string) {
			for _, s := range p.tokens[platform] {
				all = append(all, s.claims(t).Commitment)
			}
			return all
		}
		for range games(t) {
			var before [seated]string
			tb.sit(func(p *player) { before[len(tb.players)-1] = p.person.Label })
			tb.everybody(0)
			tb.everybody(1)
			k := mrand.IntN(seated)
			if _, err := tb.issuer.Erase(t.Context(), tb.players[k].person, []string{"town-square", "school-forum"}, tb.provider.EndQuietly); err != nil {
				t.Fatal(err)
			}
			tb.enrol(tb.players[k])
			if played%2 == 0 { // in the same month, or the next
				tb.now = tb.now.AddDate(0, 1, 0)
			}
			tb.everybody(0)
			tb.everybody(1)
			var changed [2][]float64 // how many distinct commitments
			for platform := range changed {
				for i, p := range tb.players {
					seen := commitments(p, platform)
					if leak { // one for each record
						seen = []string{before[i], p.person.Label}
					}
					slices.Sort(seen)
					changed[platform] = append(changed[platform], float64(len(slices.Compact(seen))))
				}
			}
			if closest(changed[1], changed[0][k]) == k {
				right++
			}
			played++
		}
		return right, played
	})
}

// known is every value that a platform has of a pen name, and what it can compute of
// it, as it could lie in a file.
func (p *player) known(t *testing.T, platform int) (values [][]byte) {
	t.Helper()
	add := func(texts ...string) {
		for _, text := range texts {
			sum := sha256.Sum256([]byte(text))
			values = append(values, []byte(text), sum[:], []byte(hex.EncodeToString(sum[:])))
		}
	}
	add(string(p.names[platform]), p.session.Word)
	values = append(values, p.session.ID[:], []byte(hex.EncodeToString(p.session.ID[:])))
	for _, s := range p.tokens[platform] {
		c := s.claims(t)
		add(s.Refresh, s.Refresh[:43], s.Refresh[:86], c.ID, c.Grant, "penname/openid/v1\x00grant\x00"+c.Grant)
		if b, err := base64.RawURLEncoding.DecodeString(c.Commitment); err == nil {
			values = append(values, b, []byte(hex.EncodeToString(b)))
		}
	}
	return values
}

// copies are the database as two thieves have it: the rows, in their order with the
// numbers of their transactions; and the bytes of every page of every table and
// index and of the write-ahead log, with what is dead in them.
func (tb *table) copies(from string) (logical, physical, wal []byte) {
	tb.Helper()
	rows, err := tb.admin.Query(tb.Context(), `SELECT c.oid::regclass::text, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE nspname = 'penname' AND relkind IN ('r', 'i') ORDER BY 1`)
	if err != nil {
		tb.Fatal(err)
	}
	type relation struct{ Name, Kind string }
	relations, err := pgx.CollectRows(rows, pgx.RowToStructByPos[relation])
	if err != nil {
		tb.Fatal(err)
	}
	one := func(query string, args ...any) (b []byte) {
		if err := tb.admin.QueryRow(tb.Context(), query, args...).Scan(&b); err != nil {
			tb.Fatal(query, err)
		}
		return b
	}
	for _, r := range relations {
		if r.Kind == "r" {
			logical = append(logical, one(`SELECT convert_to(coalesce(string_agg(line, E'\n' ORDER BY xmin), ''), 'UTF8') FROM
				(SELECT t.xmin::text::bigint xmin, t.ctid || ' ' || t.xmin || ' ' || t::text line FROM `+r.Name+` t) x`)...)
		}
		physical = append(physical, one(`SELECT coalesce(string_agg(public.get_raw_page($1::text, page::int), ''), '') FROM generate_series(0, pg_relation_size($1::text::regclass) / 8192 - 1) page`, r.Name)...)
	}
	// WAL files are 16 MiB; what was written since from, at most two of them.
	wal = one(`SELECT coalesce(string_agg(pg_read_binary_file('pg_wal/' || name), ''), '') FROM
		(SELECT name FROM pg_ls_waldir() WHERE name BETWEEN pg_walfile_name($1::pg_lsn) AND pg_walfile_name(pg_current_wal_lsn()) ORDER BY name LIMIT 2) w`, from)
	return logical, physical, wal
}

func (tb *table) walPosition() (at string) {
	tb.Helper()
	if err := tb.admin.QueryRow(tb.Context(), `SELECT pg_current_wal_lsn()::text`).Scan(&at); err != nil {
		tb.Fatal(err)
	}
	return at
}

// TestFoundP3CopyOfTheDatabase: somebody takes a copy of the database, seconds after
// people enrolled and signed in at both platforms one after the other, one of whom
// then left, was deleted and came back; both platforms help with all that they have.
// Whatever of it they find in the copy tells by its place which pen names are near
// each other. Before, the pen names were there, in the order of their making.
func TestFoundP3CopyOfTheDatabase(t *testing.T) {
	for _, kind := range []string{"logical", "physical", "write-ahead log"} {
		t.Run(kind, func(t *testing.T) {
			play(t, func(t *testing.T, leak bool) (right, played int) {
				tb := newTable(t)
				for played < games(t) {
					from := tb.walPosition()
					tb.sit(func(p *player) {
						for platform := range 2 {
							tb.visit(p, platform)
							if leak {
								tb.named(p, platform)
							}
						}
					})
					k := tb.players[mrand.IntN(seated)]
					if _, err := tb.issuer.Erase(t.Context(), k.person, []string{"town-square", "school-forum"}, tb.provider.EndQuietly); err != nil {
						t.Fatal(err)
					}
					if err := tb.store.EndSession(t.Context(), k.session); err != nil {
						t.Fatal(err)
					}
					tb.enrol(k)
					tb.visit(k, 0)
					tb.visit(k, 1)
					logical, physical, wal := tb.copies(from)
					where := tb.places(map[string][]byte{"logical": logical, "physical": physical, "write-ahead log": wal}[kind])
					for i := range tb.players {
						if closest(where[1], where[0][i]) == i {
							right++
						}
						played++
					}
				}
				return right, played
			})
		})
	}
}

// named writes a pen name as rows of it were before.
func (tb *table) named(p *player, platform int) {
	tb.Helper()
	if _, err := tb.admin.Exec(tb.Context(), `INSERT INTO pseudonyms_named (pseudonym, platform, link, commitment, day) VALUES ($1, $2, 'link', sha256($3), '2026-11-28')`,
		string(p.names[platform]), tb.platforms[platform].ID, []byte(p.names[platform])); err != nil {
		tb.Fatal(err)
	}
}

// places is where something of each pen name lies in a copy: for a row the number of
// its transaction, else the offset. Those of whom nothing is found share one place.
func (tb *table) places(copied []byte) (where [2][]float64) {
	tb.Helper()
	for platform := range where {
		for _, p := range tb.players {
			place := -1.0
			for _, value := range p.known(tb.T, platform) {
				if at := bytes.Index(copied, value); at >= 0 && len(value) >= 16 {
					place = float64(at)
					var ctid string
					var xmin float64
					line := copied[bytes.LastIndexByte(copied[:at], '\n')+1:]
					if n, err := fmt.Sscan(string(line[:min(40, len(line))]), &ctid, &xmin); n == 2 && err == nil {
						place = xmin // of a row: nearer to its time than its place
					}
				}
			}
			where[platform] = append(where[platform], place)
		}
	}
	return where
}

// TestRenewalTellsPlatformsThatRenew is the figure of what remains: two platforms that
// both renew a sign-in every ten minutes learn in one of them that it cannot be
// renewed. It cannot be less, because a thief must not renew.
func TestRenewalTellsPlatformsThatRenew(t *testing.T) {
	tb := newTable(t)
	right, played := 0, 0
	for range min(games(t), 100) {
		tb.sit(func(*player) {})
		tb.everybody(0)
		tb.everybody(1)
		k := mrand.IntN(seated)
		tb.leave(tb.players[k], tb.provider.EndQuietly)
		tb.now = tb.now.Add(10 * time.Minute)
		var refused [2][]float64
		for platform := range refused {
			for _, p := range tb.players {
				s := p.tokens[platform][0]
				w := tb.call(http.MethodPost, "/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.Refresh},
					"client_id": {tb.platforms[platform].ID}, "client_secret": {clientSecret}})
				refused[platform] = append(refused[platform], float64(w.Code))
			}
		}
		if closest(refused[1], refused[0][k]) == k {
			right++
		}
		played++
	}
	verdict(t, right, played)
	if right != played {
		t.Errorf("%d of %d: a refresh token outlives the end", right, played)
	}
}

// N07: who has a copy of the database, and an account and a name in mind, cannot find
// out whether that person is enrolled: nothing in it is computed of them without a key
// of the key service.
func TestN07CopyTellsNotWhoIsEnrolled(t *testing.T) {
	tb := newTable(t)
	from := tb.walPosition()
	tb.sit(func(*player) {})
	id := tb.players[0].id
	iss, sub, name, born := id.Issuer.Reveal(), id.Subject.Reveal(), id.Name.Reveal(), id.Birthdate.Reveal()
	var guesses [][]byte
	for _, text := range []string{name, strings.ToLower(name), iss + sub, iss + " " + sub, sub, name + born, born} {
		sum := sha256.Sum256([]byte(text))
		guesses = append(guesses, sum[:], []byte(hex.EncodeToString(sum[:])))
	}
	guesses = append(guesses, []byte(name), []byte(born), []byte(iss))
	logical, physical, wal := tb.copies(from)
	for what, copied := range map[string][]byte{"logical": logical, "physical": physical, "write-ahead log": wal} {
		for i, guess := range guesses {
			if bytes.Contains(copied, guess) {
				t.Errorf("%s: guess %d is in the copy", what, i)
			}
		}
		if stored := tb.players[0].person.ID[:]; !bytes.Contains(copied, stored) && !bytes.Contains(copied, []byte(hex.EncodeToString(stored))) {
			t.Errorf("%s: the person is not in the copy, so this saw nothing", what)
		}
	}
}
