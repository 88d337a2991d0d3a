package issue_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/escrow/web/person"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/token"
)

// seated is how many people sit at a table: chance is 1 in seated.
const seated = 8

// player is somebody at the table, and what the platforms and the line have of them.
type player struct {
	id      identity.Identity
	device  string // a word for it
	cookies map[string]*http.Cookie
	proved  time.Time
	names   [2]token.Pseudonym
	signIns [2][]signIn // at each platform, the newest last
}

// signIn is what a platform has of a sign-in, and what was seen of it elsewhere.
type signIn struct {
	Refresh string `json:"refresh_token"`
	Access  string `json:"access_token"`
	ID      string `json:"id_token"`

	size  int // of all that went over the line
	lines int // of the access log
	label string
}

// called is what the ID token has to call somebody by, and to write to them.
func (s signIn) called(t *testing.T) (handle, local string) {
	t.Helper()
	var c struct {
		Handle string `json:"preferred_username"`
		Email  string `json:"email"`
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(s.ID, ".")[1])
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	local, _, _ = strings.Cut(c.Email, "@")
	if err != nil || c.Handle == "" || local == "" {
		t.Fatalf("%v: %s", err, b)
	}
	return c.Handle, local
}

// told is both platforms' logout address, and when it was told of whom.
type told struct {
	now func() time.Time
	mu  sync.Mutex
	at  map[token.Pseudonym]time.Time // the first time
}

// RoundTrip implements http.RoundTripper.
func (l *told) RoundTrip(r *http.Request) (*http.Response, error) {
	raw := ""
	if r.URL.Path == "/events" {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		raw = string(body)
	} else {
		raw = r.FormValue("logout_token")
	}
	l.note(raw)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// note notes of whom a platform was told.
func (l *told) note(raw string) {
	c := signIn{Access: raw}.payload()
	name := cmp.Or(c.Name, c.Subject.Name)
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, again := l.at[name]; !again {
		l.at[name] = l.now()
	}
}

// vouched are somebody's claims: all people share them but their school, which is nobody else's.
func vouched(school int) identity.Claims {
	return identity.Claims{"true", "true", "GB", "teacher", identity.Private(fmt.Sprint("School ", school))}
}

// verified is what a platform was told that both may ask for, and when it was true.
func (s signIn) verified(t *testing.T) string {
	t.Helper()
	var c struct {
		Verified struct {
			Verification json.RawMessage            `json:"verification"`
			Claims       map[string]json.RawMessage `json:"claims"`
		} `json:"verified_claims"`
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(s.ID, ".")[1])
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %s %d", c.Verified.Verification, c.Verified.Claims["age_over_18"], len(c.Verified.Claims))
}

// claims are those of the access token.
type claims struct {
	Name       token.Pseudonym `json:"sub"`
	Commitment string          `json:"penname_commitment"`
	ID         string          `json:"jti"`
	Grant      string          `json:"grant_id"`
	Session    string          `json:"sid"`
	Subject    struct {
		Name token.Pseudonym `json:"sub"`
	} `json:"sub_id"` // of an event
	Status struct {
		List struct {
			Index int `json:"idx"`
		} `json:"status_list"`
	} `json:"status"`
}

func (s signIn) claims(t *testing.T) claims {
	t.Helper()
	c := s.payload()
	if c.Name == "" {
		t.Fatal(s.Access)
	}
	return c
}

// payload is of no token if it has no name.
func (s signIn) payload() (c claims) {
	_, rest, _ := strings.Cut(s.Access, ".")
	body, _, _ := strings.Cut(rest, ".")
	if b, err := base64.RawURLEncoding.DecodeString(body); err != nil || json.Unmarshal(b, &c) != nil {
		return claims{}
	}
	return c
}

func (p *player) newest(platform int) signIn {
	return p.signIns[platform][len(p.signIns[platform])-1]
}

// seat is a person at a platform.
type seat struct {
	*player
	platform int
}

// table is a Penname with two platforms, behind its real edge.
type table struct {
	*testing.T
	leak       bool // everything that an observer is there to find is there
	claims     bool // people have claims, and tick them all
	edge       *web.Server
	live       *person.Live
	told       told
	issuer     *issue.Issuer
	store      *postgres.Issuing
	disclosing *postgres.Disclosing
	keeper     *keep.Keeper
	platforms  [2]openid.Platform
	same       bool // with the leak, one pen name is used twice there
	personas   bool // both are one platform, at which everybody has two pen names
	admin      *pgx.Conn
	now        time.Time
	desk       desk
	come       int // people who ever came
	close      func()

	// Of this round:
	players   []*player
	order     []seat       // who signed in where, one after the other
	before    []row        // of a first copy
	counted   int          // of order, when that copy was taken
	from      string       // where the write-ahead log was
	firstLeaf int64        // the first that is new in the public log
	sent      int          // over the line so far
	log       bytes.Buffer // of the service
	polled    polled
}

// desk is an identity provider at which everybody is who they say they are.
type desk struct {
	person.Proving
	who identity.Identity
}

func (*desk) Begin() (identity.Flow, string) { return identity.Flow{State: "s"}, "https://id.example/" }

func (d *desk) Finish(context.Context, identity.Flow, url.Values) (identity.Identity, error) {
	return d.who, nil
}
func (*desk) Origin() string { return "https://id.example" }

const clientSecret = "q1w2e3r4t5y6u7i8o9p0-_aAsSdDfFgGhHjJkKlLzZx"

func newTable(t *testing.T) *table {
	t.Helper()
	tb := &table{T: t, now: disclosetest.Day.Add(9 * time.Hour)}
	dsn := escrowtest.Postgres(t)
	tb.check(postgres.Migrate(t.Context(), dsn))
	login := func(role string) string {
		login, err := postgres.Login(t.Context(), dsn, role)
		tb.check(err)
		return login
	}
	keys, _, keeping := sandbox.NewKeyring(sandbox.NewSecret())
	var err error
	tb.store, err = postgres.OpenIssuing(t.Context(), login("penname_issuing"), postgres.Options{RowKey: issue.RowKey(keys)})
	tb.check(err)
	tb.disclosing, err = postgres.OpenDisclosing(t.Context(), login("penname_disclosing"), postgres.Options{RowKey: issue.RowKey(keys)})
	tb.check(err)
	kept, err := postgres.OpenKeeping(t.Context(), login("penname_keeping"), postgres.Options{})
	tb.check(err)
	tb.admin, err = pgx.Connect(t.Context(), dsn)
	tb.check(err)
	tb.close = sync.OnceFunc(func() {
		tb.admin.Close(context.Background())
		kept.Close()
		tb.disclosing.Close()
		tb.store.Close()
	})
	t.Cleanup(tb.close)
	now := func() time.Time { return tb.now }
	tb.keeper = &keep.Keeper{Keys: keeping, Past: kept, Rotations: kept, Erasures: kept, Now: now}
	// The slot keeps the write-ahead log, as an archive would, until it was read.
	_, err = tb.admin.Exec(t.Context(), `CREATE EXTENSION IF NOT EXISTS pageinspect SCHEMA public; SET search_path = penname;
		SELECT pg_create_physical_replication_slot('games_' || pg_backend_pid(), true, true)`)
	tb.check(err)
	custodians, _, err := escrowtest.ThresholdKey(2, 3)
	tb.check(err)
	tb.issuer = &issue.Issuer{Keys: keys, Store: tb.store, Custodians: func() (seal.Custodians, error) { return seal.Custodians{Key: custodians}, nil }, Now: now}
	for i, id := range []string{"town-square", "school-forum"} {
		tb.platforms[i] = openid.Platform{ID: id, Name: id, RedirectURIs: []string{"https://" + id + ".example/cb"}, SecretHashes: []openid.SecretHash{openid.HashSecret(clientSecret)}, Sector: id + ".example",
			BackchannelLogoutURI: "https://" + id + ".example/logout", BackchannelLogoutSessionRequired: i == 1, Username: true, Email: true}
	}
	tb.edge, err = web.New(web.Config{Origin: "https://penname.example", Log: slog.New(slog.NewTextHandler(&tb.log, nil)), Now: now, PerSender: 1e6})
	tb.check(err)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	tb.check(err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	tb.check(err)
	tb.platforms[0].IDTokenAlg = jose.EdDSA // the other gets what who names none gets, RS256
	tb.told.now = now
	tb.live, err = person.Mount(tb.edge, person.Config{
		Issuer: tb.issuer, Providers: []person.Provider{{ID: "desk", ACRs: []string{"high"}, Proving: &tb.desk}}, Platforms: tb.platforms[:], CookieKeys: [][32]byte{{1}},
		TokenKeys: []openid.Key{{JWK: jose.JSONWebKey{KeyID: "k1", Algorithm: "EdDSA", Use: "sig", Key: key}}, {JWK: jose.JSONWebKey{KeyID: "k2", Algorithm: "RS256", Use: "sig", Key: rsaKey}}}, Store: tb.store, HTTP: &http.Client{Transport: &tb.told},
		Rules: func() (*policy.Bundle, error) { return &policy.Bundle{}, nil },
	})
	tb.check(err)
	return tb
}

func (tb *table) check(err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// begin begins a round with new people.
func (tb *table) begin() {
	tb.players, tb.order, tb.before, tb.counted = nil, nil, nil, 0
	tb.polled = polled{}
	tb.log.Reset()
	tb.told.at = map[token.Pseudonym]time.Time{}
	tb.firstLeaf = tb.size()
	tb.check(tb.admin.QueryRow(tb.Context(), `SELECT pg_current_wal_lsn()::text`).Scan(&tb.from))
	for range seated {
		tb.come++
		tb.players = append(tb.players, &player{device: fmt.Sprint("telephone of nobody but ", tb.come), cookies: map[string]*http.Cookie{}, id: identity.Identity{
			Issuer: "https://id.example", Subject: identity.Private(fmt.Sprint(tb.come)), ACR: "high",
			Name: identity.Private(fmt.Sprint("Jo Teacher ", tb.come)), Birthdate: "1988-02-29"}})
		if tb.claims {
			tb.players[len(tb.players)-1].id.Claims = vouched(tb.come)
		}
	}
}

// crowd enrols a hundred people who share claims with the players of this month.
func (tb *table) crowd() {
	tb.Helper()
	for n := range issue.Shared {
		id := identity.Identity{Issuer: "https://id.example", Subject: identity.Private(fmt.Sprint("of the crowd ", n)), ACR: "high",
			Name: identity.Private(fmt.Sprint("Of The Crowd ", n)), Birthdate: "1988-02-29", Claims: vouched(-n)}
		p, _, err := tb.issuer.Enrol(tb.Context(), id)
		tb.check(err)
		_, err = tb.issuer.Attest(tb.Context(), p, id, false)
		tb.check(err)
	}
}

// size is how many leaves the public log has.
func (tb *table) size() int64 {
	tb.Helper()
	size, err := tb.disclosing.Log.Size(tb.Context())
	tb.check(err)
	return size
}

// call sends a request, from the browser of a person or from nobody's.
func (tb *table) call(p *player, method, path string, form url.Values) *httptest.ResponseRecorder {
	tb.Helper()
	r := httptest.NewRequest(method, "https://penname.example"+path, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	if p != nil {
		for _, c := range p.cookies {
			r.AddCookie(c)
		}
	}
	w := httptest.NewRecorder()
	tb.edge.ServeHTTP(w, r)
	tb.sent += len(path) + len(form.Encode()) + len(r.Header.Get("Cookie")) + w.Body.Len()
	for name, values := range w.Header() {
		tb.sent += len(name) + len(strings.Join(values, ""))
	}
	if p != nil {
		for _, c := range w.Result().Cookies() {
			if p.cookies[c.Name] = c; c.MaxAge < 0 {
				delete(p.cookies, c.Name)
			}
		}
	}
	return w
}

// press is a person's press on a button, after which another page comes.
func (tb *table) press(p *player, path string, form url.Values) {
	tb.Helper()
	if w := tb.call(p, http.MethodPost, path, form); w.Code >= 400 {
		tb.Fatal(path, w.Code, w.Body)
	}
}

// prove proves who p is: enrolment the first time, then sign-in or return.
func (tb *table) prove(p *player) {
	tb.Helper()
	tb.desk.who = p.id
	tb.desk.who.Proven = tb.now
	tb.press(p, "/enrol", url.Values{"device": {p.device}, "return": {"yes"}})
	if w := tb.call(p, http.MethodGet, "/enrol/callback/desk?state=s&code=c", nil); w.Code >= 400 {
		tb.Fatal(w.Code, w.Body)
	}
	p.proved = tb.now
}

var action = regexp.MustCompile(`action="(/authorize/[^"]+)"`)

const codeVerifier = "a-code-verifier-of-at-least-forty-three-characters"

// request is how a platform asks for a sign-in.
func (tb *table) request(platform int) url.Values {
	pl, challenge := tb.platforms[platform], sha256.Sum256([]byte(codeVerifier))
	return url.Values{
		"client_id": {pl.ID}, "redirect_uri": {pl.RedirectURIs[0]}, "response_type": {"code"}, "scope": {"openid offline_access profile email " + strings.Join(pl.Claims, " ")},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
}

// visit is a sign-in of p at a platform.
func (tb *table) visit(p *player, platform int) {
	tb.Helper()
	sent, lines := tb.sent, bytes.Count(tb.log.Bytes(), []byte("\n"))
	if tb.now.Sub(p.proved) > 20*time.Minute {
		tb.prove(p)
	}
	pl := tb.platforms[platform]
	page := tb.call(p, http.MethodGet, "/authorize?"+tb.request(platform).Encode(), nil)
	asks := action.FindStringSubmatch(page.Body.String())
	if asks == nil {
		tb.Fatal(page.Code, page.Body)
	}
	answer := url.Values{"decision": {"allow"}, "claim": pl.Claims}
	if tb.personas {
		answer.Set("persona", cmp.Or(string(p.names[platform]), "new"))
		if tb.leak && platform == 1 && p.names[1] == "" && tb.same {
			answer.Set("persona", string(p.names[0]))
		}
	}
	back, err := url.Parse(tb.call(p, http.MethodPost, asks[1], answer).Header().Get("Location"))
	tb.check(err)
	w := tb.call(nil, http.MethodPost, "/token", url.Values{"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")},
		"redirect_uri": {pl.RedirectURIs[0]}, "code_verifier": {codeVerifier}, "client_id": {pl.ID}, "client_secret": {clientSecret}})
	var s signIn
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || s.Refresh == "" {
		tb.Fatal(w.Code, w.Body, back)
	}
	s.size, s.lines = tb.sent-sent, bytes.Count(tb.log.Bytes(), []byte("\n"))-lines
	if tb.leak {
		who, _, err := tb.issuer.Enrol(tb.Context(), p.id)
		tb.check(err)
		s.label = who.Label
	}
	p.names[platform], p.signIns[platform] = s.claims(tb.T).Name, append(p.signIns[platform], s)
	tb.order = append(tb.order, seat{p, platform})
}

// everybody visits both platforms, each in an order that tells nothing.
func (tb *table) everybody() {
	tb.Helper()
	for platform := range tb.platforms {
		for _, i := range mrand.Perm(len(tb.players)) {
			tb.visit(tb.players[i], platform)
		}
	}
}

// pass lets time go by, in which platforms are told who signed out.
func (tb *table) pass(d, every time.Duration) {
	tb.Helper()
	for end := tb.now.Add(d); tb.now.Before(end); {
		tb.now = tb.now.Add(every)
		told, err := tb.live.TellPlatforms(tb.Context())
		tb.check(err)
		for platform, t := range told {
			if t.Refused+t.Failed+t.GivenUp > 0 {
				tb.Errorf("%s: %+v", platform, t)
			}
		}
		tb.poll(1, nil)
	}
}

// poll has a platform ask for its events, if it does, and acknowledge them.
func (tb *table) poll(platform int, ack []string) {
	tb.Helper()
	if tb.platforms[platform].Events == nil {
		return
	}
	body, err := json.Marshal(map[string]any{"returnImmediately": true, "ack": ack})
	tb.check(err)
	r := httptest.NewRequest(http.MethodPost, "https://penname.example/events", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth(tb.platforms[platform].ID, clientSecret)
	w := httptest.NewRecorder()
	tb.edge.ServeHTTP(w, r)
	var got struct{ Sets map[string]string }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
		tb.Fatal(w.Code, w.Body)
	}
	if len(got.Sets) == 0 {
		return
	}
	ack = nil
	for jti, raw := range got.Sets {
		tb.told.note(raw)
		ack = append(ack, jti)
	}
	tb.poll(platform, ack)
}

// when is how a person leaves: with the leak at once, so that platforms may compare.
func (tb *table) when() url.Values {
	if tb.leak {
		return url.Values{"when": {"now"}}
	}
	return nil
}

// client is what a platform sends of itself, with more.
func (tb *table) client(platform int, more ...string) url.Values {
	form := url.Values{"client_id": {tb.platforms[platform].ID}, "client_secret": {clientSecret}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form
}

// erase carries out the erasures that were asked for.
func (tb *table) erase() {
	tb.Helper()
	labels, err := tb.disclosing.Erasures.Pending(tb.Context(), "", 1000)
	tb.check(err)
	newest, err := tb.disclosing.Erasures.Newest(tb.Context())
	tb.check(err)
	tb.check(tb.disclosing.Erasures.Clear(tb.Context(), labels, newest))
	_, err = tb.keeper.Erase(tb.Context())
	tb.check(err)
}

// open has pen names opened by one warrant, as far as the notice.
func (tb *table) open(targets ...seat) {
	tb.ordered(policy.Production, targets, disclosetest.Release, disclosetest.Notify)
}

// suspend has pen names suspended by one order, and lets the issuing side and the platforms
// know.
func (tb *table) suspend(targets ...seat) {
	tb.Helper()
	tb.ordered(policy.Suspension, targets)
	tb.check(tb.live.Suspend(tb.Context()))
	tb.pass(10*time.Minute, time.Minute)
}

// ordered has an order of a court filed, decided, and carried out by further steps.
func (tb *table) ordered(kind string, targets []seat, further ...func(disclose.Case) (disclose.Change, error)) {
	tb.Helper()
	c, _ := disclosetest.NewCase(kind)
	c.SecrecyEnds, c.Expires, c.ApproveFrom = tb.now.AddDate(0, 3, 0), tb.now.AddDate(0, 0, 10), tb.now
	w := policy.Warrant{ID: c.WarrantID, Authority: c.Authority, Kind: kind, Jurisdiction: "GB", IssuedAt: tb.now, Expiry: c.Expires, Secrecy: policy.Secrecy{Ends: c.SecrecyEnds}}
	var committed []proof.Target
	c.Targets = slices.Repeat([]disclose.CaseTarget{{State: disclose.TargetWaiting}}, len(targets))
	for _, target := range targets {
		name, platform := target.names[target.platform], tb.platforms[target.platform].ID
		w.Targets = append(w.Targets, policy.Target{Pseudonym: name, Platform: platform})
		committed = append(committed, proof.Target{Pseudonym: string(name), Platform: platform})
	}
	c.Submission.Warrant = fmt.Sprint(c.WarrantID, w.Targets)
	if kind == policy.Suspension { // which the store reads
		_, key, err := ed25519.GenerateKey(rand.Reader)
		tb.check(err)
		c.Submission.Warrant, err = policy.SignWarrant(jose.JSONWebKey{KeyID: "court", Algorithm: "EdDSA", Use: "sig", Key: key}, w)
		tb.check(err)
	}
	c.WarrantHash = sha256.Sum256([]byte(c.Submission.Warrant))
	c, err := tb.disclosing.Cases.File(tb.Context(), c, proof.RecordedLeaf(tb.now, proof.Facets{
		Jurisdiction: "GB", OffenceClass: "threats-to-kill", WarrantKind: kind, SecrecyEnds: c.SecrecyEnds, Bundle: c.Bundle, Salt: c.Salt,
		Warrant: c.Submission.Warrant, Targets: committed}))
	tb.check(err)
	for _, change := range slices.Concat([]func(disclose.Case) (disclose.Change, error){disclosetest.Approve}, further) {
		_, err := tb.disclosing.Cases.Apply(tb.Context(), c.ID, func(c disclose.Case) (disclose.Change, error) {
			change, err := change(c)
			if change.Notice != nil {
				change.Notice.To = w.Targets
			}
			for i := range change.Steps {
				change.Steps[i].Leaf = change.Steps[i].Leaf.On(tb.now.Format(time.DateOnly))
			}
			return change, err
		})
		tb.check(err)
	}
}

// known is every value that a platform has of a pen name, and what it can compute of
// it with what the public log has published, as it could lie in a file.
func (tb *table) known(p *player, platform int, salts [][32]byte) (values [][]byte) {
	tb.Helper()
	add := func(texts ...string) {
		for _, text := range texts {
			sum := sha256.Sum256([]byte(text))
			values = append(values, []byte(text), sum[:], []byte(hex.EncodeToString(sum[:])))
		}
	}
	add(string(p.names[platform]), p.device)
	for _, s := range p.signIns[platform] {
		c := s.claims(tb.T)
		handle, local := s.called(tb.T)
		add(handle, local+"@", strings.TrimPrefix(local, "pen1"))
		add(s.Refresh, s.Refresh[:43], s.Refresh[:86], c.ID, c.Grant, "penname/openid/v1\x00grant\x00"+c.Grant, signIn{Access: s.ID}.payload().Session)
		if b, err := base64.RawURLEncoding.DecodeString(c.Commitment); err == nil {
			values = append(values, b, []byte(hex.EncodeToString(b)))
		}
	}
	for _, salt := range salts {
		values = append(values, []byte(proof.Commit(salt, "target", []byte(p.names[platform]), []byte(tb.platforms[platform].ID))))
	}
	return values
}

// row is a row as a logical copy has it.
type row struct {
	table, key, text string
	xmin             float64
}

// copied is the database as thieves have it: its rows, in their order with the numbers
// of their transactions; the bytes of every page of every table and index; and the
// write-ahead log of the round. What is dead is in the last two.
type copied struct {
	rows          []row
	physical, wal []byte
}

func (tb *table) one(query string, args ...any) (b []byte) {
	tb.Helper()
	if err := tb.admin.QueryRow(tb.Context(), query, args...).Scan(&b); err != nil {
		tb.Fatal(query, err)
	}
	return b
}

// relations are all tables ('r') or indexes ('i').
func (tb *table) relations(kind string) (names []string) {
	tb.Helper()
	rows, err := tb.admin.Query(tb.Context(), `SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE nspname = 'penname' AND relkind = $1::"char" ORDER BY 1`, kind)
	tb.check(err)
	names, err = pgx.CollectRows(rows, pgx.RowTo[string])
	tb.check(err)
	return names
}

// rows is a logical copy.
func (tb *table) rows() (all []row) {
	tb.Helper()
	var query []string
	for _, name := range tb.relations("r") {
		query = append(query, `SELECT '`+name+`', coalesce(to_json(t)->>'id', to_json(t)->>'handle', t.ctid::text), t::text, t.xmin::text::float8 xmin FROM `+name+` t`)
	}
	rows, err := tb.admin.Query(tb.Context(), strings.Join(query, " UNION ALL ")+" ORDER BY xmin")
	tb.check(err)
	all, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (row row, err error) {
		err = r.Scan(&row.table, &row.key, &row.text, &row.xmin)
		return row, err
	})
	tb.check(err)
	return all
}

func (tb *table) copy() (c copied) {
	tb.Helper()
	c.rows = tb.rows()
	for _, name := range append(tb.relations("r"), tb.relations("i")...) {
		c.physical = append(c.physical, tb.one(`SELECT coalesce(string_agg(public.get_raw_page($1::text, page::int), '' ORDER BY page), '')
			FROM generate_series(0, pg_relation_size($1::text::regclass) / 8192 - 1) page`, name)...)
	}
	c.wal = tb.one(`SELECT string_agg(pg_read_binary_file('pg_wal/' || name, first, last - first), '' ORDER BY name) FROM (
		SELECT name, CASE WHEN name = b.file_name THEN b.file_offset ELSE 0 END first, CASE WHEN name = e.file_name THEN e.file_offset ELSE size END last
		FROM pg_ls_waldir(), pg_walfile_name_offset($1::pg_lsn) b, pg_walfile_name_offset(pg_current_wal_lsn()) e
		WHERE name BETWEEN b.file_name AND e.file_name) wal`, tb.from)
	return c
}

// twoPenNames makes both platforms one, at which a person may have two pen names.
func (tb *table) twoPenNames(same bool) {
	tb.Helper()
	tb.personas, tb.same = true, same
	tb.platforms[0].Personas = 2
	tb.platforms[1] = tb.platforms[0]
	tb.check(tb.live.SetPlatforms(tb.platforms[:1]))
}

// named writes pen names of p as rows of it were before, side by side, and then one of
// nobody, so that nobody else's are as near.
func (tb *table) named(p *player) {
	tb.Helper()
	names := slices.Compact([]string{string(p.names[0]), string(p.names[1]), "pen1" + strings.ToLower(rand.Text())}) // two, of members of one sector
	_, err := tb.admin.Exec(tb.Context(), `INSERT INTO pseudonyms_named (pseudonym, platform, link, commitment, day)
		SELECT name, 'platform', 'link', sha256(name::bytea), '2026-11-28' FROM unnest($1::text[]) WITH ORDINALITY names (name, place) ORDER BY place`, names)
	tb.check(err)
}
