package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/robustness"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
)

// public are clients of a world who do everything that can be done, at a bounded rate, and
// note what they saw.
type public struct {
	*world.World
	history *robustness.History
	seed    uint64
	people  []sandbox.Person // each of them only in one client's hands
	pace    time.Duration    // between two acts of one client
	pool    *http.Transport
	told    func(format string, args ...any)
	objects bool // people object, too, for which they wait for a minute

	// rotate moves the record keys on and returns the version that each group came to, reshare
	// the custodians' shares.
	rotate, reshare func(context.Context) (map[int]int64, error)

	mu    sync.Mutex
	posts []accused // that no court has asked about
	gone  map[string]bool
	first map[string]bool // whom a court asks about in an order of which they are told first
}

// accused is a post, with who wrote it.
type accused struct {
	post   world.Post
	person sandbox.Person
}

// crowdOf makes so many people of the identity provider.
func crowdOf(n int) (all []sandbox.Person) {
	for i := range n {
		p := sandbox.People()[i%4]
		p.Subject, p.Name = fmt.Sprintf("crowd-%d", i), fmt.Sprintf("Person %s of the Crowd", spelt(i))
		p.Birthdate, p.Email = fmt.Sprintf("19%02d-%02d-%02d", 30+i%60, 1+i%12, 1+i%28), fmt.Sprintf("p%d@crowd.example", i)
		p.Address = fmt.Sprintf("%d Crowd Street\nThornley", i)
		all = append(all, p)
	}
	return all
}

// spelt is a number in letters: names have no digits.
func spelt(n int) string {
	return strings.Map(func(r rune) rune { return 'A' + (r - '0') }, fmt.Sprintf("%04d", n))
}

const quietly = 50 * time.Millisecond // between two tries of one act

// run lets everybody act until ctx ends. Each act that is begun is finished.
func (c *public) run(ctx context.Context) {
	var wg sync.WaitGroup
	clients := 0
	each := func(act func(ctx context.Context, client int, chance *rand.Rand)) {
		clients++
		client := clients
		chance := rand.New(rand.NewPCG(c.seed, uint64(client))) //nolint:gosec // to be repeated
		wg.Go(func() {
			for ctx.Err() == nil {
				act(context.WithoutCancel(ctx), client, chance)
				pause(ctx, c.pace)
			}
		})
	}
	half := len(c.people) / 2
	each(func(ctx context.Context, client int, chance *rand.Rand) {
		c.visit(ctx, client, chance, c.Town, c.people[:half])
	})
	each(func(ctx context.Context, client int, chance *rand.Rand) {
		c.visit(ctx, client, chance, c.School, c.people[half:])
	})
	for range 2 {
		each(func(ctx context.Context, client int, chance *rand.Rand) { c.ask(ctx, client, chance) })
	}
	each(func(ctx context.Context, client int, _ *rand.Rand) { c.look(ctx, client) })
	each(func(ctx context.Context, client int, chance *rand.Rand) { c.leave(ctx, client, chance) })
	each(func(ctx context.Context, client int, _ *rand.Rand) { c.move(ctx, client, robustness.Rotate, c.rotate) })
	each(func(ctx context.Context, client int, _ *rand.Rand) {
		c.move(ctx, client, robustness.Reshare, c.reshare)
	})
	wg.Wait()
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// browser is a new one, which waits no longer than people do.
func (c *public) browser() *world.Browser {
	b := world.NewBrowser()
	b.Client.Timeout = 20 * time.Second
	return b
}

var signedInAs = regexp.MustCompile(`signed in as <code>(pen1[a-z0-9]+)</code>`)

// visit has somebody enrol, or sign in and post.
func (c *public) visit(ctx context.Context, client int, chance *rand.Rand, p *world.Platform, people []sandbox.Person) {
	who := people[chance.IntN(len(people))]
	if c.isGone(who.Name, false) {
		return
	}
	if chance.IntN(4) == 0 {
		c.history.Run(robustness.Operation{Client: client, Act: robustness.Enrol, Person: who.Name}, func(op *robustness.Operation) { c.enrol(ctx, op) })
		return
	}
	b := c.browser()
	op := c.history.Run(robustness.Operation{Client: client, Act: robustness.SignIn, Person: who.Name, Platform: p.ID}, func(op *robustness.Operation) { signIn(ctx, b, p, op) })
	if op.Outcome != robustness.OK || p != c.Town || chance.IntN(3) > 0 {
		return
	}
	if post, err := b.Say(ctx, p, fmt.Sprintf("I will come for you, %d.", chance.Uint64())); err == nil {
		c.mu.Lock()
		c.posts = append(c.posts, accused{post, who})
		c.mu.Unlock()
	}
}

// enrol says whether the person was there before, by Code.
func (c *public) enrol(ctx context.Context, op *robustness.Operation) {
	b := c.browser()
	err := b.Enrol(ctx, c.Origin, op.Person)
	switch {
	case err == nil && b.Shows(http.StatusOK, "Your identity was verified and sealed") == nil:
		op.Outcome, op.Code = robustness.OK, "new"
	case err == nil && b.Shows(http.StatusOK, "You are the same person as before") == nil:
		op.Outcome, op.Code = robustness.OK, "as before"
	default:
		op.Code = saw(b, err)
	}
}

func signIn(ctx context.Context, b *world.Browser, p *world.Platform, op *robustness.Operation) {
	err := b.Visit(ctx, p, op.Person)
	if m := signedInAs.FindStringSubmatch(b.Page.Body); err == nil && m != nil && b.Page.Status == http.StatusOK {
		op.Outcome, op.PenName = robustness.OK, m[1]
		return
	}
	op.Code = saw(b, err)
}

var codes = regexp.MustCompile(`\b[a-z][a-z0-9_]*\.[a-z][a-z0-9_]+\b`)

// codeOf is the first code in a text.
func codeOf(text string) string {
	for _, code := range codes.FindAllString(text, -1) {
		if !slices.Contains([]string{".css", ".js", ".svg"}, filepath.Ext(code)) {
			return code
		}
	}
	return ""
}

// saw is the code on a page, or what else went wrong.
func saw(b *world.Browser, err error) string {
	if code := codeOf(b.Page.Body); code != "" && b.Page.Status >= 400 {
		return code
	}
	return fmt.Sprintf("status %d, %.200v", b.Page.Status, err)
}

// isGone reports whether a person leaves or has left, and has them leave if asked.
func (c *public) isGone(name string, leaves bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.gone[name]
	if leaves {
		c.gone[name] = true
	}
	return was
}

// accuse takes a post that nobody asked about.
func (c *public) accuse() (a accused, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.posts) == 0 {
		return a, false
	}
	a, c.posts = c.posts[0], c.posts[1:]
	return a, true
}

// onlyOrder reports whether an order of which a person is told first is their only one: with
// two, their page has two forms.
func (c *public) onlyOrder(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.first[name]
	c.first[name] = true
	return !was
}

// ask takes one order all its way: filed, decided by custodians, opened; or stopped on the
// way. Whoever gets no answer asks again.
func (c *public) ask(ctx context.Context, client int, chance *rand.Rand) {
	a, ok := c.accuse()
	if !ok {
		return
	}
	name := fmt.Sprintf("order-%d-%d", client, chance.Uint32())
	objected := c.objects && chance.IntN(6) == 0 && c.onlyOrder(a.person.Name)
	st, warrant, err := c.order(ctx, name, a, objected)
	if err != nil {
		c.told("%s: %v", name, err)
		return
	}
	do := func(act robustness.Act, custodian string, args ...string) robustness.Operation {
		var op robustness.Operation
		soon := 0
		for range 200 { // an outage is over by then
			op = c.history.Run(robustness.Operation{Client: client, Act: act, Person: a.person.Name, Warrant: warrant, Case: st.ID, Custodian: custodian},
				func(op *robustness.Operation) { c.command(ctx, op, a.person.Name, args) })
			// A quorum may lack a decision whose answer was lost; new rules come to one custodian
			// after the other.
			if wait := op.Code == "warrant.quorum_not_met" || op.Code == "custodian.wrong_bundle"; op.Outcome == robustness.OK || op.Outcome == robustness.Refused && !(wait && soon < 10) {
				break
			} else if wait {
				soon++
			}
			pause(ctx, 4*quietly)
		}
		return op
	}
	file := func() robustness.Operation {
		return do(robustness.File, "", "warrant", "file", st.Warrant, "--evidence", st.Evidence, "--exhibits", st.Exhibits(), "--server", c.Origin, "--json")
	}
	slow := time.Duration(0) // how long a custodian thinks
	decide := func(custodian string) {
		for range 200 {
			if said, code := c.Escrow(ctx, c.AsCustodian(custodian, "review", st.ID, "--exhibits-to", c.Path("read-"+name+custodian))...); code == 0 || nothingDone.MatchString(codeOf(said)) {
				break
			}
			pause(ctx, 4*quietly)
		}
		pause(ctx, slow)
		do(robustness.Decide, custodian, c.AsCustodian(custodian, "approve", st.ID)...)
	}
	stop := func() {
		stop := strings.TrimSuffix(st.Warrant, ".jws") + "-stop.jws"
		if said, code := c.Escrow(ctx, "warrant", "withdraw", st.Warrant, "--grounds", "Issued in error.", "--key", c.Path("court.jwk"), "--bundle", c.Path("bundle.json"), "--out", stop, "--force"); code != 0 {
			c.told("%s: %s", name, said)
			return
		}
		do(robustness.Withdraw, "", "warrant", "file", stop, "--server", c.Origin)
	}
	var steps [][]func() // those of one step at the same time
	open := func() robustness.Operation { return do(robustness.Open, "", st.OpenArgs()...) }
	switch chance.IntN(8) {
	case 0: // F28: stopped at the moment of the release
		steps = [][]func(){{func() { decide("alba") }}, {func() { decide("bruno") }, stop}}
	case 1: // F27: the last decision from many
		steps = [][]func(){{func() { decide("alba") }, func() { decide("bruno") }, func() { decide("chidi") }}}
	case 2:
		steps = [][]func(){{func() { decide("alba") }}, {stop}, {func() { decide("bruno") }}}
	case 3: // F30: one who thinks for long, while shares and keys move on
		slow = time.Duration(10+chance.IntN(40)) * c.pace
		steps = [][]func(){{func() { decide("alba") }}, {func() { decide("bruno") }}}
	case 4: // F30: one who answers when it is opened
		steps = [][]func(){{func() { decide("alba") }}, {func() { decide("bruno") }}, {func() { open() }}, {func() { decide("chidi") }}}
	default:
		steps = [][]func(){{func() { decide("alba") }}, {func() { decide("bruno") }}}
	}
	var filed [2]robustness.Operation // F26: at two places at once
	together(func() { filed[0] = file() }, func() { filed[1] = file() })
	if filed[0].Outcome != robustness.OK {
		c.told("%s was not filed: %s", name, filed[0].Code)
		return
	}
	st.ID = filed[0].Case
	if objected {
		c.object(ctx, client, st)
		decide("alba") // which is refused
		return
	}
	for _, s := range steps {
		together(s...)
	}
	if open().Code == "warrant.quorum_not_met" { // the shares moved on in between: they answer again
		decide("alba")
		decide("bruno")
		open()
	}
}

// object has the person whom a court asks about object, as soon as they were told.
func (c *public) object(ctx context.Context, client int, st *world.Case) {
	for range 40 {
		pause(ctx, 3*time.Second)
		b := c.browser()
		if c.isGone(st.Author.Name, false) || b.Enrol(ctx, c.Origin, st.Author.Name) != nil || b.Open(ctx, c.Origin+"/me") != nil || b.Follow(ctx, "/me/notice") != nil || !b.Offers("Check it, then send it") {
			continue
		}
		op := c.history.Run(robustness.Operation{Client: client, Act: robustness.Object, Person: st.Author.Name, Case: st.ID}, func(op *robustness.Operation) {
			if err := errors.Join(b.Press(ctx, "Check it, then send it", url.Values{"text": {"It is true."}}), b.Press(ctx, "Send the objection", nil), b.Shows(http.StatusOK, "Your objection is stored")); err != nil {
				op.Code = saw(b, err)
				return
			}
			op.Outcome = robustness.OK
		})
		if op.Outcome == robustness.OK {
			return
		}
	}
}

// together does all of it at the same time.
func together(all ...func()) {
	var wg sync.WaitGroup
	for _, f := range all {
		wg.Go(f)
	}
	wg.Wait()
}

// order drafts and signs an order about a post, and returns its number. By its offence the
// author is told first, or is not.
func (c *public) order(ctx context.Context, name string, a accused, first bool) (*world.Case, string, error) {
	st := &world.Case{World: c.World, Author: a.person, Post: a.post}
	var err error
	if st.Evidence, err = c.SaveEvidence("evidence-"+name+".jws", a.post); err != nil {
		return nil, "", err
	}
	draft, err := c.Draft(name+".json", a.post, st.Evidence, "threats-to-life", "Threats to kill", 120)
	if err != nil {
		return nil, "", err
	}
	if first {
		if draft, err = c.Draft(name+".json", a.post, st.Evidence, "defamation", "Defamation", 0); err == nil {
			err = toldFirst(draft)
		}
		if err != nil {
			return nil, "", err
		}
	}
	if st.Warrant, err = c.Sign(ctx, draft, "court.jwk"); err != nil {
		return nil, "", err
	}
	signed, err := os.ReadFile(st.Warrant)
	if err != nil {
		return nil, "", err
	}
	var claims struct {
		ID string `json:"id"`
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(string(signed), ".")[1])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	return st, claims.ID, err
}

// toldFirst makes a draft one that is no secret.
func toldFirst(draft string) error {
	raw, err := os.ReadFile(draft)
	if err != nil {
		return err
	}
	var w map[string]any
	if err := json.Unmarshal(raw, &w); err != nil {
		return err
	}
	w["offence_id"], w["secrecy"] = "defamation", map[string]any{"ends": time.Now().UTC().Truncate(time.Second), "reason": ""}
	if raw, err = json.Marshal(w); err != nil {
		return err
	}
	return os.WriteFile(draft, raw, 0o600)
}

// nothingDone are the beginnings of codes of refusals after which nothing was done.
var nothingDone = regexp.MustCompile(`^(warrant|custodian)\.`)

// command runs the escrow program, and notes its answer.
func (c *public) command(ctx context.Context, op *robustness.Operation, name string, args []string) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	said, code := c.Escrow(ctx, args...)
	switch {
	case code == 0 && op.Act == robustness.Open && !strings.Contains(said, name):
		op.Code = "it opens to another name"
		c.told("VIOLATION: case %s opens to another name", op.Case)
	case code == 0:
		op.Outcome = robustness.OK
		if op.Act == robustness.File {
			var st struct {
				Case string
				Leaf int64
			}
			if err := json.Unmarshal([]byte(said), &st); err != nil {
				c.told("%s: %v", said, err)
			}
			op.Case, op.Leaf = st.Case, st.Leaf
		}
	default:
		if op.Code = codeOf(said); nothingDone.MatchString(op.Code) && op.Code != "warrant.not_logged" { // which is recorded, and not cosigned yet
			op.Outcome = robustness.Refused
		}
	}
}

// look reads the newest checkpoint of the log.
func (c *public) look(ctx context.Context, client int) {
	c.history.Run(robustness.Operation{Client: client, Act: robustness.Look}, func(op *robustness.Operation) {
		point, err := checkpointOf(ctx, c.Origin)
		if err != nil {
			op.Code = err.Error()
			return
		}
		op.Outcome, op.Checkpoint = robustness.OK, point
	})
}

func checkpointOf(ctx context.Context, origin string) (point robustness.Checkpoint, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+"/log/checkpoint", nil)
	if err != nil {
		return point, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return point, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		return point, errors.Join(err, errors.New(resp.Status))
	}
	lines := bytes.Split(text, []byte("\n"))
	if len(lines) < 3 {
		return point, errors.New("no checkpoint")
	}
	if point.Size, err = strconv.ParseInt(string(lines[1]), 10, 64); err != nil {
		return point, err
	}
	root, err := base64.StdEncoding.DecodeString(string(lines[2]))
	copy(point.Root[:], root)
	return point, err
}

// leave has somebody delete themself, now and then, and never come back.
func (c *public) leave(ctx context.Context, client int, chance *rand.Rand) {
	pause(ctx, 10*c.pace)
	who := c.people[chance.IntN(len(c.people))]
	if c.isGone(who.Name, true) {
		return
	}
	c.history.Run(robustness.Operation{Client: client, Act: robustness.Erase, Person: who.Name}, func(op *robustness.Operation) {
		b := c.browser()
		for _, deed := range []func() error{
			func() error { return b.Enrol(ctx, c.Origin, who.Name) },
			func() error { return b.Open(ctx, c.Origin+"/me/delete") },
			func() error { return b.Press(ctx, "Delete my identity", url.Values{}) },
			func() error { return b.Shows(http.StatusOK, "It will be complete by") },
		} {
			if err := deed(); err != nil {
				op.Code = saw(b, err)
				return
			}
		}
		commitment, err := proof.ParseReceipt([]byte(b.Page.Body))
		if err != nil {
			c.told("%s has no receipt: %v", who.Name, err)
		}
		label, _, _ := strings.Cut(recordOf.FindString(b.Page.Body), ".")
		op.Outcome, op.Receipt, op.Record = robustness.OK, commitment, label
	})
}

// recordOf is the beginning of a receipt's line: its label and salt.
var recordOf = regexp.MustCompile(`\b[a-z2-7]{26}\.[0-9a-f]{64}\.`)

// move rotates or reshares, now and then.
func (c *public) move(ctx context.Context, client int, act robustness.Act, move func(context.Context) (map[int]int64, error)) {
	pause(ctx, 40*c.pace)
	if move == nil {
		return
	}
	c.history.Run(robustness.Operation{Client: client, Act: act}, func(op *robustness.Operation) {
		n, err := move(ctx)
		if err != nil {
			op.Code = err.Error()
			return
		}
		op.Outcome, op.Versions = robustness.OK, n
	})
}

// end reads what is there, by the database's superuser and by all people who sign in once
// more.
func (c *public) end(ctx context.Context, t *testing.T, dsn string) robustness.End {
	t.Helper()
	end := robustness.End{Enrolled: map[string]int{}, PenNames: map[robustness.Holder]string{}, Quorum: world.Quorum}
	known := map[string]map[string]bool{} // person to platforms
	erased := map[string]bool{}
	for _, op := range c.history.Operations() {
		switch {
		case op.Act == robustness.Erase && op.Outcome != robustness.Refused:
			erased[op.Person] = true
		case op.Outcome == robustness.OK && op.Act == robustness.Enrol || op.Outcome == robustness.OK && op.Act == robustness.SignIn:
			if known[op.Person] == nil {
				known[op.Person] = map[string]bool{}
			}
			if op.Platform != "" {
				known[op.Person][op.Platform] = true
			}
		}
	}
	for name, platforms := range known {
		if erased[name] {
			continue
		}
		op := robustness.Operation{Person: name}
		if c.enrol(ctx, &op); op.Outcome != robustness.OK {
			t.Errorf("%s cannot come back: %s", name, op.Code)
		}
		if op.Code == "as before" {
			end.Enrolled[name] = 1
		}
		for _, p := range []*world.Platform{c.Town, c.School} {
			if !platforms[p.ID] {
				continue
			}
			op := robustness.Operation{Person: name}
			if signIn(ctx, c.browser(), p, &op); op.Outcome != robustness.OK {
				t.Errorf("%s cannot sign in: %s", name, op.Code)
			}
			end.PenNames[robustness.Holder{Person: name, Platform: p.ID}] = op.PenName
		}
	}
	c.readCases(ctx, t, dsn, &end)
	return end
}

// readCases reads the cases and the log.
func (c *public) readCases(ctx context.Context, t *testing.T, dsn string, end *robustness.End) {
	t.Helper()
	db, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(ctx) //nolint:errcheck // a test's connection
	rows := func(sql string, into []any, each func() error) {
		t.Helper()
		got, err := db.Query(ctx, sql)
		if err == nil {
			_, err = pgx.ForEachRow(got, into, each)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var kind string
	rows(`SELECT convert_from(leaf, 'UTF8')::json ->> 'kind' FROM penname.log_leaves ORDER BY index`, []any{&kind}, func() error { end.Kinds = append(end.Kinds, kind); return nil })
	hashes := map[int64]tlog.Hash{}
	var id int64
	var hash []byte
	rows(`SELECT id, hash FROM penname.log_hashes`, []any{&id, &hash}, func() error { hashes[id] = tlog.Hash(hash); return nil })
	end.Root = func(size int64) ([sha256.Size]byte, error) {
		root, err := tlog.TreeHash(size, tlog.HashReaderFunc(func(ids []int64) (read []tlog.Hash, err error) {
			for _, id := range ids {
				read = append(read, hashes[id])
			}
			return read, nil
		}))
		return root, err
	}
	end.Cases = map[string]robustness.CaseAtEnd{}
	var name, warrant, state, custodian, rules string
	var recorded, leaf int64
	var authorised, released *int64
	var packed []byte
	rows(`SELECT id, warrant_id, state, recorded_leaf, authorised_leaf, released_leaf, package FROM penname.cases`, []any{&name, &warrant, &state, &recorded, &authorised, &released, &packed}, func() error {
		at := robustness.CaseAtEnd{Warrant: warrant, State: state, Leaf: recorded, Decisions: map[robustness.Vote]int64{}, Opened: map[string]int64{}}
		if authorised != nil {
			at.Decided = append(at.Decided, *authorised)
		}
		err := release(&at, released, packed)
		end.Cases[name] = at
		return err
	})
	rows(`SELECT case_id, custodian, coalesce(a.bundle, c.bundle), leaf FROM penname.approvals a JOIN penname.cases c ON c.id = case_id`, []any{&name, &custodian, &rules, &leaf}, func() error {
		end.Cases[name].Decisions[robustness.Vote{Custodian: custodian, Rules: rules}] = leaf
		return nil
	})
	rows(`SELECT case_id, authorised_leaf, released_leaf, package FROM penname.case_rounds`, []any{&name, &recorded, &released, &packed}, func() error {
		at := end.Cases[name]
		at.Decided = append(at.Decided, recorded)
		err := release(&at, released, packed)
		end.Cases[name] = at
		return err
	})
	rows(`SELECT case_id, coalesce(leaf, -1) FROM penname.objections WHERE suspends AND outcome IS NULL`, []any{&name, &leaf}, func() error {
		at := end.Cases[name]
		at.Objected = append(at.Objected, leaf)
		end.Cases[name] = at
		return nil
	})
	end.Erasures = map[string]robustness.ErasedAtEnd{}
	rows(`SELECT label, coalesce(e.leaf, -1), coalesce(convert_from(l.leaf, 'UTF8')::json ->> 'commitment', '') FROM penname.erasures e LEFT JOIN penname.log_leaves l ON l.index = e.leaf`,
		[]any{&name, &leaf, &state}, func() error {
			end.Erasures[name] = robustness.ErasedAtEnd{Leaf: leaf, Commitment: state}
			return nil
		})
	end.Versions = map[robustness.Act]map[int]int64{robustness.Reshare: {}}
	if end.Versions[robustness.Rotate], err = versionsOf(ctx, dsn, oldest); err != nil {
		t.Fatal(err)
	}
	rows(`SELECT bundle FROM penname.bundles ORDER BY leaf DESC LIMIT 1`, []any{&packed}, func() error {
		b, err := policy.ParseBundle(packed)
		if err == nil {
			end.Versions[robustness.Reshare][0] = int64(b.Number)
		}
		return err
	})
}

// toCome are the versions that a rotation brings the groups to: of one that was interrupted, it
// is that one's.
const toCome = `SELECT key_group, coalesce((SELECT min(version) FROM penname.rotations o WHERE o.key_group = r.key_group AND state <> 'done'), oldest + 1) FROM (` + oldest + `) r`

// oldest are the versions of each group's key that a record of it is under, at least.
const oldest = `SELECT penname.key_group(first_half) AS key_group, min(penname.key_version(first_half)) AS oldest FROM penname.records WHERE erased IS NULL GROUP BY 1`

// versionsOf reads a version of each group.
func versionsOf(ctx context.Context, dsn, sql string) (map[int]int64, error) {
	db, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer db.Close(ctx) //nolint:errcheck // a test's connection
	versions := map[int]int64{}
	var group int
	var version int64
	rows, err := db.Query(ctx, sql)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&group, &version}, func() error { versions[group] = version; return nil })
	}
	return versions, err
}

// release notes a package, and which records it opens.
func release(at *robustness.CaseAtEnd, leaf *int64, packed []byte) error {
	if leaf == nil {
		return nil
	}
	if at.Released = append(at.Released, *leaf); packed == nil { // it was deleted after the notice
		return nil
	}
	var p opening.Package
	if err := json.Unmarshal(packed, &p); err != nil {
		return err
	}
	for _, t := range p.Targets {
		at.Opened[t.Label] = *leaf
	}
	return nil
}
