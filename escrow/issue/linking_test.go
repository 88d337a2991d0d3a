package issue_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/token"
)

// A linking game: people sign in at two platforms, something happens, an observer sees
// what observers of that sort see, is shown a pen name at the first platform, and
// names one at the second. The advantage is how much more often than by chance it is
// the same person's. Each game is played a second time with the leak that it is there
// to find, and must find it.
//
// LINKING_GAMES is how many of each are played, 1,000 for the figures in SECURITY.md.
// The leaks are played a tenth as often.
func games(t *testing.T, leak bool) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("LINKING_GAMES"))
	switch {
	case err != nil && leak:
		return 2
	case err != nil:
		return 6
	case leak:
		return n / 10
	}
	return n
}

// TestMain lets games be played side by side: most of the time they wait for a disk.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// event is what happens after everybody signed in at both platforms.
type event struct {
	name      string
	everybody bool // it concerns all: each is asked for. Else it concerns one
	first     bool // it is itself the first sign-in
	claims    bool // everybody has claims, and tells them
	happens   func(tb *table, k *player)
	observers []string
}

// observers are who watches, by what they see. Each gives a number to every pen name:
// those of one person should be near each other.
var observers = map[string]func(*view) *features{
	"tokens":          (*view).tokens,
	"pen names":       (*view).penNames,
	"handles":         (*view).handles,
	"addresses":       (*view).addresses,
	"status list":     func(v *view) *features { return &v.polled.withdrawn },
	"introspection":   func(v *view) *features { return &v.polled.inactive },
	"logical copy":    func(v *view) *features { return v.inRows(v.after.rows) },
	"physical copy":   func(v *view) *features { return v.places(v.after.physical) },
	"write-ahead log": func(v *view) *features { return v.places(v.after.wal) },
	"two copies":      (*view).twoCopies,
	"public log":      (*view).publicLog,
	"access log":      (*view).accessLog,
	"sizes":           (*view).sizes,
	"logout tokens":   (*view).logoutTokens,
	"events":          (*view).logoutTokens,
	"claims":          (*view).claimsTold,
}

var (
	copies = []string{"logical copy", "physical copy", "write-ahead log", "two copies"}
	line   = []string{"access log", "sizes"}
)

// TestFoundP1DeletedAndBack: one of the people deletes themself and comes back. Before,
// only that person's commitments changed, at every platform.
func TestFoundP1DeletedAndBack(t *testing.T) {
	seen := slices.Concat([]string{"tokens", "handles", "addresses", "status list", "public log"}, copies, line)
	play(t, event{name: "deleted and back", observers: seen, happens: func(tb *table, k *player) {
		tb.press(k, "/me/delete", tb.when())
		tb.day()
		tb.prove(k)
		tb.now = tb.now.Add(time.Hour).AddDate(0, mrand.IntN(2), 0) // in the same month, or the next
		tb.everybody()
	}})
}

// TestFoundP2StatusListAfterSigningOut: one of the people signs out everywhere, or at
// one platform; or all do within an hour. Before, both platforms saw the bit of that
// person change in one minute.
func TestFoundP2StatusListAfterSigningOut(t *testing.T) {
	seen := slices.Concat([]string{"tokens", "status list", "public log"}, copies, line)
	play(t,
		event{name: "signs out everywhere", observers: seen, happens: func(tb *table, k *player) {
			tb.press(k, "/me/sign-out-everywhere", tb.when())
			tb.day()
		}},
		event{name: "signs out at one platform", observers: seen, happens: func(tb *table, k *player) {
			for platform := range tb.platforms {
				if platform == 0 || tb.leak {
					tb.press(nil, "/revoke", tb.client(platform, "token", k.newest(platform).Refresh))
				}
			}
			tb.day()
		}},
		event{name: "all sign out within the hour", everybody: true, observers: []string{"introspection"}, happens: func(tb *table, _ *player) {
			for _, i := range mrand.Perm(seated) {
				tb.press(tb.players[i], "/me/sign-out-everywhere", tb.when())
				tb.now = tb.now.Add(2 * time.Minute)
				tb.introspect()
			}
			for range 12 {
				tb.now = tb.now.Add(2 * time.Hour)
				tb.introspect()
			}
		}},
	)
}

// TestLogoutTokensLinkNobody: platforms are told who signed out, and compare when. All of the
// people leave within an hour; or Penname is down for the day in which they were to be
// told; or one leaves while somebody takes copies of the database.
func TestLogoutTokensLinkNobody(t *testing.T) {
	allLeave := func(tb *table) {
		for _, i := range mrand.Perm(seated) {
			tb.press(tb.players[i], "/me/sign-out-everywhere", tb.when())
			tb.pass(4*time.Minute, time.Minute)
		}
	}
	play(t,
		event{name: "all sign out and platforms are told", everybody: true, observers: []string{"logout tokens"}, happens: func(tb *table, _ *player) {
			allLeave(tb)
			tb.pass(24*time.Hour, 4*time.Minute)
		}},
		event{name: "Penname was down for a day", everybody: true, observers: []string{"logout tokens"}, happens: func(tb *table, _ *player) {
			allLeave(tb)
			tb.now = tb.now.Add(25 * time.Hour)
			tb.pass(6*time.Hour, time.Minute)
		}},
		event{name: "one signs out and platforms are told", observers: slices.Concat([]string{"tokens", "status list", "public log"}, copies, line), happens: func(tb *table, k *player) {
			tb.press(k, "/me/sign-out-everywhere", tb.when())
			tb.day()
			tb.pass(24*time.Hour, 4*time.Minute)
		}},
	)
}

// TestEventsLinkNobody: as TestLogoutTokensLinkNobody, with platforms that are told who was
// deleted, one by push and one by poll.
func TestEventsLinkNobody(t *testing.T) {
	hear := func(tb *table) {
		for i := range tb.platforms {
			tb.platforms[i].BackchannelLogoutURI, tb.platforms[i].BackchannelLogoutSessionRequired = "", false
		}
		tb.platforms[0].Events = &openid.Stream{Push: "https://town-square.example/events"}
		tb.platforms[1].Events = &openid.Stream{}
		tb.check(tb.live.SetPlatforms(tb.platforms[:]))
	}
	deleted := func(tb *table, p *player) {
		tb.prove(p)
		tb.press(p, "/me/delete", tb.when())
	}
	all := func(tb *table) {
		hear(tb)
		for _, i := range mrand.Perm(seated) {
			deleted(tb, tb.players[i])
			tb.pass(4*time.Minute, time.Minute)
		}
	}
	play(t,
		event{name: "all are deleted and platforms are told", everybody: true, observers: []string{"events"}, happens: func(tb *table, _ *player) {
			all(tb)
			tb.pass(24*time.Hour, 4*time.Minute)
		}},
		event{name: "Penname was down for a day", everybody: true, observers: []string{"events"}, happens: func(tb *table, _ *player) {
			all(tb)
			tb.now = tb.now.Add(25 * time.Hour)
			tb.pass(6*time.Hour, time.Minute)
		}},
		event{name: "one is deleted and platforms are told", observers: slices.Concat([]string{"tokens", "status list"}, copies, line), happens: func(tb *table, k *player) {
			hear(tb)
			deleted(tb, k)
			tb.day()
			tb.pass(24*time.Hour, 4*time.Minute)
		}},
	)
}

// logoutTokens is when each pen name's platform was told, in minutes.
func (v *view) logoutTokens() *features {
	return v.each(func(p *player, platform int) float64 {
		at, told := v.told.at[p.names[platform]]
		if !told {
			v.Fatal("a platform was not told")
		}
		return float64(at.Unix()) / 60
	})
}

// TestFoundP3CopyOfTheDatabase: somebody takes copies of the database; both platforms
// help with all that they have. Whatever of it is found in a copy tells by its place
// which pen names are near each other, and so does what was made, or changed, when
// they know that somebody signed in. Before, the pen names were there, in the order of
// their making.
func TestFoundP3CopyOfTheDatabase(t *testing.T) {
	play(t,
		event{name: "enrolment and first sign-ins", everybody: true, first: true, observers: slices.Concat([]string{"tokens", "handles", "addresses"}, copies[:3], line), happens: func(tb *table, _ *player) {
			for _, p := range tb.players {
				tb.visit(p, 0)
				tb.visit(p, 1)
			}
		}},
		event{name: "names are opened", everybody: true, observers: slices.Concat([]string{"public log"}, copies), happens: func(tb *table, _ *player) {
			for _, n := range mrand.Perm(2 * seated) {
				switch p := tb.players[n/2]; {
				case !tb.leak:
					tb.open(seat{p, n % 2})
				case n%2 == 0: // by one warrant
					tb.open(seat{p, 0}, seat{p, 1})
				}
			}
		}},
		event{name: "the record key is rotated", everybody: true, observers: slices.Concat([]string{"public log"}, copies, line), happens: func(tb *table, _ *player) {
			_, err := tb.keeper.Rotate(tb.Context())
			tb.check(err)
		}},
		event{name: "a month begins", everybody: true, observers: slices.Concat([]string{"tokens", "public log"}, copies, line), happens: func(tb *table, _ *player) {
			tb.now = tb.now.AddDate(0, 1, 0)
			tb.everybody()
		}},
	)
}

// TestSuspensionLinksNobody: a court has one pen name suspended at one platform, which is
// told. Both look for a day at what else changes, the person tries to sign in once more, and
// everybody does at the other platform. The control is one order against
// both pen names.
func TestSuspensionLinksNobody(t *testing.T) {
	play(t, event{name: "suspended", observers: slices.Concat([]string{"tokens", "status list", "introspection", "public log"}, copies, line), happens: func(tb *table, k *player) {
		targets := []seat{{k, 0}, {k, 1}}
		if !tb.leak {
			targets = targets[:1]
		}
		tb.suspend(targets...)
		if _, told := tb.told.at[k.names[0]]; !told || len(tb.told.at) != len(targets) {
			tb.Errorf("platforms were told %v", tb.told.at)
		}
		tb.introspect()
		tb.day()
		tb.introspect()
		for _, p := range tb.players {
			tb.prove(p)
		}
		if w := tb.call(k, http.MethodGet, "/authorize?"+tb.request(0).Encode(), nil); w.Code != http.StatusForbidden {
			tb.Errorf("a suspended pen name: %d", w.Code)
		}
		for _, i := range mrand.Perm(seated) {
			if !tb.leak {
				tb.visit(tb.players[i], 1)
			}
		}
	}})
}

// TestSectorsAreNotLinked: two platforms of different sectors compare what they know people
// by. The control is one sector for both: its members know a person by one pen name, as
// the consent page says.
func TestSectorsAreNotLinked(t *testing.T) {
	play(t, event{name: "sectors", everybody: true, first: true, observers: []string{"pen names", "handles", "addresses", "tokens"}, happens: func(tb *table, _ *player) {
		tb.platforms[1].Sector = tb.platforms[1].ID + ".example"
		if tb.leak {
			tb.platforms[1].Sector = tb.platforms[0].Sector
		}
		tb.check(tb.live.SetPlatforms(tb.platforms[:]))
		tb.everybody()
	}})
}

// TestPersonasAreNotLinked: everybody has two pen names at one platform, which compares
// them, and somebody else takes copies of the database. The control is one pen name that is
// used twice, or, where something is done with one of two, that it is done with both.
func TestPersonasAreNotLinked(t *testing.T) {
	name := func(tb *table, p *player, platform int) url.Values {
		return url.Values{"pen_name": {string(p.names[platform])}, "sure": {"yes"}, "alias": {fmt.Sprint("mine, the other one ", platform)}}
	}
	two := func(tb *table, same bool) {
		tb.twoPenNames(same)
		tb.everybody()
		tb.before, tb.counted = tb.rows(), len(tb.order)
	}
	play(t,
		event{name: "two pen names", everybody: true, first: true, observers: []string{"pen names", "handles", "addresses", "tokens"}, happens: func(tb *table, _ *player) {
			two(tb, true)
			tb.everybody()
		}},
		event{name: "called by two names", first: true, observers: copies, happens: func(tb *table, k *player) {
			two(tb, false)
			for platform := range tb.platforms {
				tb.press(k, "/me/rename", name(tb, k, platform))
			}
			tb.day()
			tb.everybody()
		}},
		event{name: "one is banned", first: true, observers: copies, happens: func(tb *table, k *player) {
			two(tb, false)
			tb.press(nil, "/bans", tb.client(0, "sub", string(k.names[0]), "state", "banned"))
			tb.day()
			tb.everybody()
		}},
		event{name: "one is retired", first: true, observers: slices.Concat([]string{"status list", "public log"}, copies), happens: func(tb *table, k *player) {
			two(tb, false)
			tb.press(k, "/me/retire", name(tb, k, 0))
			if tb.leak {
				tb.press(k, "/me/retire", name(tb, k, 1))
			}
			tb.day()
		}},
	)
}

// TestClaimsLinkNobody: two platforms compare what they were told of people of whom a
// hundred share age and country, and nobody the school. One may ask for the school too,
// and so is told nothing. Later it may not, and asks again.
func TestClaimsLinkNobody(t *testing.T) {
	play(t, event{name: "claims", everybody: true, first: true, claims: true, observers: slices.Concat([]string{"claims", "tokens"}, copies[:3], line), happens: func(tb *table, _ *player) {
		for _, asks := range []string{"age_over_18 organisation", "age_over_18 country"} {
			tb.ask("age_over_18 country", asks)
			tb.everybody()
			tb.now = tb.now.Add(time.Minute)
			if got := tb.players[0].newest(1).verified(tb.T); strings.HasSuffix(got, " true 2") != strings.HasSuffix(asks, "country") {
				tb.Errorf("%s: told %s", asks, got)
			}
		}
	}})
}

// ask registers what each platform may ask for.
func (tb *table) ask(claims ...string) {
	tb.Helper()
	for i := range tb.platforms {
		tb.platforms[i].Claims = strings.Fields(claims[i])
	}
	tb.check(tb.live.SetPlatforms(tb.platforms[:]))
}

// claimsTold: platforms compare what they were told at the newest sign-in, when that was
// true, and how often it changed. The leak is something of the record.
func (v *view) claimsTold() *features {
	return v.each(func(p *player, platform int) float64 {
		distinct, newest := map[string]bool{}, ""
		for _, s := range p.signIns[platform] {
			if newest = s.verified(v.T); v.leak {
				newest = s.label
			}
			distinct[newest] = true
		}
		sum := sha256.Sum256([]byte(newest))
		return float64(len(distinct)) + float64(binary.BigEndian.Uint32(sum[:]))/math.MaxUint32
	})
}

// play plays events before all their observers, without and with the leaks.
func play(t *testing.T, events ...event) {
	t.Parallel()
	tb := newTable(t)
	for _, e := range events {
		for name, leak := range map[string]bool{"honest": false, "control": true} {
			t.Run(e.name+"/"+name, func(now *testing.T) {
				tb.T, tb.leak = now, leak
				tb = e.play(t, tb)
			})
		}
	}
}

// crowded is how many people may have been at a table: copies stay small.
const crowded = 25 * seated

// play plays at a table, or at the next ones, and returns the last.
func (e event) play(house *testing.T, tb *table) *table {
	right, lots, played := map[string]int{}, map[string]int{}, 0
	for played < games(tb.T, tb.leak) {
		if tb.come >= crowded {
			tb.close()
			next := newTable(house)
			next.T, next.leak = tb.T, tb.leak
			tb = next
		}
		v := e.round(tb)
		for _, name := range e.observers {
			seen := observers[name](v)
			for _, i := range v.shown {
				if closest(seen[1], seen[0][i]) == i {
					right[name]++
				}
				if slices.Min(seen[1]) == slices.Max(seen[1]) {
					lots[name]++
				}
			}
		}
		played += len(v.shown)
	}
	for _, name := range e.observers {
		tb.Run(name, func(t *testing.T) {
			t.Logf("%d of %d guesses by lot, because nothing tells people apart", lots[name], played)
			verdict(t, right[name], played, tb.leak)
		})
	}
	return tb
}

// verdict compares the guesses that were right with chance, by a 95 % interval
// (Wald's).
func verdict(t *testing.T, right, played int, leak bool) {
	t.Helper()
	rate, chance := float64(right)/float64(played), 1.0/seated
	margin := 1.96 * math.Sqrt(max(rate*(1-rate), chance*(1-chance))/float64(played))
	advantage := rate - chance
	t.Logf("%d games, %d right: advantage %+.3f ± %.3f", played, right, advantage, margin)
	if !leak && advantage > 3*margin { // of all games together by chance once in 5,000 runs
		t.Errorf("the observer links pen names")
	}
	if leak && advantage < 0.8*(1-chance) {
		t.Errorf("the observer misses the leak: it would miss others")
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

// features are a number for each person at each platform.
type features [2][]float64

// each fills in features.
func (tb *table) each(of func(p *player, platform int) float64) *features {
	var f features
	for platform := range f {
		for _, p := range tb.players {
			f[platform] = append(f[platform], of(p, platform))
		}
	}
	return &f
}

// view is a round as it can be seen in the end.
type view struct {
	*table
	shown  []int // whose pen names at the first platform the observers are asked about
	after  copied
	leaves string // that are new
	salts  [][32]byte
}

func (e event) round(tb *table) *view {
	if tb.claims = e.claims; e.claims && tb.come == 0 {
		tb.crowd()
	}
	tb.begin()
	for _, p := range tb.players {
		tb.prove(p)
	}
	if !e.first {
		tb.everybody()
		tb.before, tb.counted = tb.rows(), len(tb.order)
	}
	k := mrand.IntN(seated)
	e.happens(tb, tb.players[k])
	v := &view{table: tb, shown: []int{k}}
	if e.everybody {
		v.shown = []int{0, 1, 2, 3, 4, 5, 6, 7}
	}
	if tb.leak {
		for _, i := range v.shown {
			tb.named(tb.players[i])
		}
	}
	v.read()
	v.after = tb.copy()
	return v
}

// read reads the new leaves of the public log, as its tiles have them.
func (v *view) read() {
	leaves, err := v.disclosing.Log.Leaves(v.Context(), v.firstLeaf, v.size())
	v.check(err)
	v.leaves = string(bytes.Join(leaves, []byte("\n")))
	for _, b := range leaves {
		l, err := proof.ParseLeaf(b)
		v.check(err)
		if salt, err := hex.DecodeString(l.Salt); err == nil && len(salt) == 32 {
			v.salts = append(v.salts, [32]byte(salt))
		}
	}
}

// leaked is text that names those who are shown, in a line for each.
func (v *view) leaked() string {
	var b strings.Builder
	for _, i := range v.shown {
		if p := v.players[i]; v.leak {
			b.WriteString("\n" + string(p.names[0]) + " " + string(p.names[1]) + strings.Repeat(" ", 99))
		}
	}
	return b.String()
}

// tokens: platforms compare what tokens committed to: how often it changed, and whether
// it is the same. The leak is a commitment to the record alone.
func (v *view) tokens() *features {
	return v.each(func(p *player, platform int) float64 {
		distinct, newest := map[string]bool{}, ""
		for _, s := range p.signIns[platform] {
			if newest = s.claims(v.T).Commitment; v.leak {
				newest = s.label
			}
			distinct[newest] = true
		}
		sum := sha256.Sum256([]byte(newest))
		return float64(len(distinct)) + float64(binary.BigEndian.Uint32(sum[:]))/math.MaxUint32
	})
}

// penNames: platforms compare the beginnings of pen names. There is no leak but theirs.
func (v *view) penNames() *features {
	return v.each(func(p *player, platform int) float64 {
		return float64(binary.BigEndian.Uint32([]byte(strings.TrimPrefix(string(p.names[platform]), "pen1"))))
	})
}

// handles: platforms compare what they call people by: how they begin, how long they are
// and how often they changed. The leak is a handle made of the person.
func (v *view) handles() *features {
	return v.words(func(s signIn) string { handle, _ := s.called(v.T); return handle })
}

// addresses: likewise of e-mail addresses.
func (v *view) addresses() *features {
	return v.words(func(s signIn) string { _, local := s.called(v.T); return strings.TrimPrefix(local, "pen1") })
}

// words is a number for a word of each newest sign-in: near each other if words begin alike.
func (v *view) words(of func(signIn) string) *features {
	return v.each(func(p *player, platform int) float64 {
		distinct, newest := map[string]bool{}, ""
		for _, s := range p.signIns[platform] {
			if newest = of(s); v.leak {
				newest = s.label
			}
			distinct[newest] = true
		}
		return float64(len(distinct)+len(newest)) + float64(binary.BigEndian.Uint32([]byte(newest)))/math.MaxUint32
	})
}

// polled is at which look each thing was first seen, 1000 if never.
type polled struct {
	looks               float64
	withdrawn, inactive features
	leaf                float64
}

// note notes at which look something was seen of each newest sign-in.
func (p *polled) note(tb *table, seen *features, gone func(s signIn, platform int) bool) {
	if p.looks++; seen[0] == nil {
		*seen = *tb.each(func(*player, int) float64 { return 1000 })
	}
	for platform := range seen {
		for i, p := range tb.players {
			if at := &seen[platform][i]; *at == 1000 && gone(p.newest(platform), platform) {
				*at = tb.polled.looks
			}
		}
	}
}

// day polls the status list and the public log for a day. Erasures are carried out in
// it, when their hour has come.
func (tb *table) day() {
	tb.Helper()
	tb.polled.leaf = 1000
	for look, after := range []time.Duration{time.Minute, 9 * time.Minute, 50 * time.Minute, 3 * time.Hour, 8 * time.Hour, 12 * time.Hour} {
		tb.now = tb.now.Add(after)
		if tb.leak || look >= 2 {
			tb.erase()
		}
		raw := tb.call(nil, http.MethodGet, "/status/0", nil).Body.String()
		keys, err := token.ParseKeySet(tb.call(nil, http.MethodGet, "/jwks", nil).Body.Bytes())
		tb.check(err)
		list, err := token.VerifyStatusList(tb.Context(), raw, "https://penname.example/status/0", keys, tb.now)
		tb.check(err)
		tb.polled.note(tb, &tb.polled.withdrawn, func(s signIn, _ int) bool {
			withdrawn, _ := list.Withdrawn(s.claims(tb.T).Status.List.Index)
			return withdrawn
		})
		if tb.size() > tb.firstLeaf {
			tb.polled.leaf = min(tb.polled.leaf, tb.polled.looks)
		}
	}
}

// introspect asks about every sign-in, as platforms may.
func (tb *table) introspect() {
	tb.Helper()
	tb.polled.note(tb, &tb.polled.inactive, func(s signIn, platform int) bool {
		w := tb.call(nil, http.MethodPost, "/introspect", tb.client(platform, "token", s.Refresh))
		if w.Code != http.StatusOK {
			tb.Fatal(w.Code, w.Body)
		}
		return strings.Contains(w.Body.String(), `"active":false`)
	})
}

// nowhere is far from every place.
const nowhere = -1e12

// places is where something of each pen name lies in a text, or nowhere.
func (v *view) places(text []byte) *features {
	type of struct{ i, platform, value int }
	whose := map[[8]byte][]of{}
	var begins [1 << 16]bool
	known := map[of][]byte{}
	for platform := range 2 {
		for i, p := range v.players {
			for n, value := range v.known(p, platform, v.salts) {
				if len(value) >= 16 {
					whose[[8]byte(value)] = append(whose[[8]byte(value)], of{i, platform, n})
					known[of{i, platform, n}] = value
					begins[binary.BigEndian.Uint16(value)] = true
				}
			}
		}
	}
	first := map[of]int{}
	for at := range max(0, len(text)-8) {
		if !begins[binary.BigEndian.Uint16(text[at:])] {
			continue
		}
		for _, o := range whose[[8]byte(text[at:])] {
			if _, seen := first[o]; !seen && bytes.HasPrefix(text[at:], known[o]) {
				first[o] = at
			}
		}
	}
	found := v.each(func(*player, int) float64 { return nowhere })
	best := map[[2]int]int{}
	for o, at := range first {
		if n, seen := best[[2]int{o.platform, o.i}]; !seen || o.value < n {
			best[[2]int{o.platform, o.i}] = o.value
			found[o.platform][o.i] = float64(at)
		}
	}
	return found
}

// inRows is the transaction that wrote something of each pen name.
func (v *view) inRows(rows []row) *features {
	var text []byte
	var ends []int
	for _, r := range rows {
		text = append(text, r.text+"\n"...)
		ends = append(ends, len(text))
	}
	found := v.places(text)
	for platform := range found {
		for i, at := range found[platform] {
			if at >= 0 {
				found[platform][i] = rows[sort.SearchInts(ends, int(at)+1)].xmin
			}
		}
	}
	return found
}

// twoCopies compares one from before with one from after. Platforms know in which order
// people signed in, and so which row of a sign-in is whose, as long as rows have the
// order of their making, which is until the hourly shuffle. What happened to these
// rows since, and what else was written at a sign-in, may tell.
func (v *view) twoCopies() *features {
	found := v.inRows(v.after.rows)
	if slices.Max(found[0]) >= 0 {
		return found
	}
	before, grants := map[string]string{}, []row{}
	for _, r := range v.before {
		before[r.table+r.key] = r.text
		if r.grant() {
			grants = append(grants, r)
		}
	}
	grants = grants[len(grants)-v.counted:]
	now, made, others := map[string]string{}, []row{}, []row{}
	for _, r := range v.after.rows {
		now[r.table+r.key] = r.text
		switch _, old := before[r.table+r.key]; {
		case old:
		case r.grant():
			made = append(made, r)
		case r.table != "openid_rows":
			others = append(others, r)
		}
	}
	of := map[seat]float64{}
	for n, r := range grants {
		if now[r.table+r.key] != r.text {
			of[v.order[n]]++
		}
	}
	last := grants[len(grants)-1].xmin
	for n, r := range made {
		for _, other := range others {
			if other.xmin > last && other.xmin < r.xmin {
				of[v.order[v.counted+n]] += 10
			}
		}
		last = r.xmin
	}
	return v.each(func(p *player, platform int) float64 { return of[seat{p, platform}] })
}

func (r row) grant() bool { return r.table == "openid_rows" && strings.HasPrefix(r.text, "(grant,") }

// publicLog: what of a pen name is in the leaves, or how long after the first of them
// its sign-in was seen to end.
func (v *view) publicLog() *features {
	found := v.places([]byte(v.leaves + v.leaked()))
	if slices.Max(found[0]) >= 0 || v.polled.withdrawn[0] == nil {
		return found
	}
	return v.each(func(p *player, platform int) float64 {
		return math.Abs(v.polled.withdrawn[platform][slices.Index(v.players, p)] - v.polled.leaf)
	})
}

// accessLog: what of a pen name is in the service's log, or how many lines its last
// sign-in left there.
func (v *view) accessLog() *features {
	found := v.places([]byte(v.log.String() + v.leaked()))
	if slices.Max(found[0]) >= 0 {
		return found
	}
	return v.each(func(p *player, platform int) float64 { return float64(p.newest(platform).lines) })
}

// sizes: how much went over the line at the last sign-in, over what is the least at
// that platform. The leak is a cookie that is longer for one than for another.
func (v *view) sizes() *features {
	of := v.each(func(p *player, platform int) float64 {
		if v.leak {
			return float64(p.newest(platform).size + 100*slices.Index(v.players, p))
		}
		return float64(p.newest(platform).size)
	})
	for platform := range of {
		least := slices.Min(of[platform])
		for i := range of[platform] {
			of[platform][i] -= least
		}
	}
	return of
}

// TestRenewalTellsPlatformsThatRenew is the figure of what remains: two platforms that
// both renew a sign-in every ten minutes learn in one of them that it cannot be
// renewed. It cannot be less, because a thief must not renew.
func TestRenewalTellsPlatformsThatRenew(t *testing.T) {
	t.Parallel()
	tb := newTable(t)
	right, played := 0, 0
	for range min(games(t, false)/2, 100) {
		tb.begin()
		tb.everybody()
		k := mrand.IntN(seated)
		tb.press(tb.players[k], "/me/sign-out-everywhere", nil)
		tb.now = tb.now.Add(10 * time.Minute)
		refused := tb.each(func(p *player, platform int) float64 {
			w := tb.call(nil, http.MethodPost, "/token", tb.client(platform, "grant_type", "refresh_token", "refresh_token", p.newest(platform).Refresh))
			return float64(w.Code)
		})
		if closest(refused[1], refused[0][k]) == k {
			right++
		}
		played++
	}
	verdict(t, right, played, true)
	if right != played {
		t.Errorf("%d of %d: a refresh token outlives the end", right, played)
	}
}

// N07: who has a copy of the database, and an account and a name in mind, cannot find
// out whether that person is enrolled: nothing in it is computed of them without a key
// of the key service.
func TestN07CopyTellsNotWhoIsEnrolled(t *testing.T) {
	t.Parallel()
	tb := newTable(t)
	tb.begin()
	id := tb.players[0].id
	tb.prove(tb.players[0])
	iss, sub, name, born := id.Issuer.Reveal(), id.Subject.Reveal(), id.Name.Reveal(), id.Birthdate.Reveal()
	var guesses [][]byte
	for _, text := range []string{name, strings.ToLower(name), iss + sub, iss + " " + sub, sub, name + born, born} {
		sum := sha256.Sum256([]byte(text))
		guesses = append(guesses, sum[:], []byte(hex.EncodeToString(sum[:])))
	}
	guesses = append(guesses, []byte(name), []byte(born), []byte(iss))
	who, _, err := tb.issuer.Enrol(t.Context(), id)
	tb.check(err)
	c := tb.copy()
	var logical []byte
	for _, r := range c.rows {
		logical = append(logical, r.text...)
	}
	for what, copied := range map[string][]byte{"logical": logical, "physical": c.physical, "write-ahead log": c.wal} {
		for i, guess := range guesses {
			if bytes.Contains(copied, guess) {
				t.Errorf("%s: guess %d is in the copy", what, i)
			}
		}
		if !bytes.Contains(copied, who.ID[:]) && !bytes.Contains(copied, []byte(hex.EncodeToString(who.ID[:]))) {
			t.Errorf("%s: the person is not in the copy, so this saw nothing", what)
		}
	}
}
