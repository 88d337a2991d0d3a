package custodian

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/seal/ceremony"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
)

var three = []string{"alba", "bruno", "chidi"}

func TestCustodiansMakeAKeyWithoutADealer(t *testing.T) {
	v := newCircle(t, three...)
	file, hash := v.plan(2, nil, nil, three...)
	// Nobody takes part by accident, or in another plan than they compared.
	v.refused("custodian.plan_not_agreed", "alba", file, "")
	v.refused("custodian.agreed_other_plan", "alba", file, strings.Repeat("0", 64))
	if len(v.board.said[hash]) != 0 {
		t.Fatal("something was said")
	}
	v.turn("alba", file, hash)
	// Alone she waits, and once agreed she is not asked again.
	if said := v.turn("alba", file, "").String(); !strings.Contains(said, "waiting for bruno, chidi (agree)") {
		t.Fatal(said)
	}
	s := v.hold(file, hash, three...)
	transcripts := map[string]bool{}
	for _, id := range three {
		names, err := filepath.Glob(v.path(id, "transcript-*.json"))
		if err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		transcripts[string(v.read(names[0]))] = true
		if exists(v.path(id, ceremonyFile)) {
			t.Error("the ceremony's key outlives its share")
		}
	}
	if len(transcripts) != 1 {
		t.Fatal("the participants have different transcripts")
	}
	if _, key, err := ceremony.Result(v.read(s.File)); err != nil || key != s.ThresholdKey || ceremony.Hash(v.read(s.File)) != s.Transcript {
		t.Fatal(key, err)
	}
	// Again, it says the same, and nothing is made or said twice.
	before, said := v.files("chidi"), len(v.board.said[hash])
	if v.turn("chidi", file, "").State != "complete" || said != 12 || len(v.board.said[hash]) != said || !maps.Equal(before, v.files("chidi")) {
		t.Fatal("running it again changed something")
	}
	bundle, b := v.bundle(v.read(s.File))
	ct, m := v.seal(b)
	if err := v.opens(b, ct, m, "chidi", "alba"); err != nil {
		t.Fatal(err)
	}
	if err := v.opens(b, ct, m, "chidi"); !errors.Is(err, threshold.ErrTooFewShares) {
		t.Fatal(err)
	}
	v.endorse("alba", bundle, "")
	// A custodian who guards a key does not make another one beside it: what is sealed would
	// stay closed.
	again, hash := v.plan(2, nil, nil, three...)
	v.refused("custodian.plan_of_another_key", "alba", again, hash)
}

// Messages come in any order, again and again; what is not from this ceremony is
// refused with a code and changes nothing.
func TestCeremonyOverABadBoard(t *testing.T) {
	v := newCircle(t, three...)
	v.board.edit = func(m []string) []string {
		m = slices.Concat(m, m)
		rand.Shuffle(len(m), func(i, j int) { m[i], m[j] = m[j], m[i] })
		return m
	}
	old, oldHash := v.plan(2, nil, nil, three...)
	v.turn("alba", old, oldHash) // never finished
	file, hash := v.plan(2, nil, nil, three...)
	v.hold(file, hash, three...)

	v = newCircle(t, three...)
	first, firstHash := v.plan(2, nil, nil, three...)
	v.turn("alba", first, firstHash)
	file, hash = v.plan(2, nil, nil, three...)
	v.turn("alba", file, hash)
	good := v.board.said[hash][0]
	for name, c := range map[string]struct {
		show []string
		code string
	}{
		"replayed from another ceremony": {[]string{v.board.said[firstHash][0]}, "ceremony.other_plan"},
		"truncated":                      {[]string{good[:len(good)-5]}, "ceremony.bad_message"},
		"not a message":                  {[]string{"hello"}, "ceremony.bad_message"},
		"a stranger's":                   {[]string{sayAs(t, *v.party("court"), policy.CeremonyMessage{Plan: hash, Round: policy.RoundAgree, Sender: "alba"})}, "ceremony.not_a_participant"},
	} {
		t.Run(name, func(t *testing.T) {
			before := v.files("alba")
			v.board.edit = func(m []string) []string { return append(m, c.show...) }
			v.refused(c.code, "alba", file, "")
			if !maps.Equal(before, v.files("alba")) {
				t.Error("something changed")
			}
		})
	}
	// A board that hides what was said only holds things up: nobody forgets.
	v.board.edit = nil
	v.turn("bruno", file, hash)
	v.turn("alba", file, "")
	v.board.edit = func([]string) []string { return nil }
	if said := v.turn("alba", file, "").String(); !strings.Contains(said, "agree   alba ✓ bruno ✓ chidi …") {
		t.Fatal(said)
	}
	v.board.edit = nil
	v.hold(file, hash, three...)
}

func sayAs(t testing.TB, key jose.JSONWebKey, m policy.CeremonyMessage) string {
	t.Helper()
	raw, err := policy.SignCeremonyMessage(key, m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// cheater is a participant with a changed program: all that is in their folder.
func (v *circle) cheater(id, file string) (jose.JSONWebKey, threshold.CeremonyKey, *ceremony.View) {
	v.t.Helper()
	c := v.open(id)
	key, err := c.folder.ceremonyKey()
	if err != nil {
		v.t.Fatal(err)
	}
	plan, err := policy.ParseCeremonyPlan(v.read(file))
	if err != nil {
		v.t.Fatal(err)
	}
	t, err := ceremony.NewView(plan)
	if err != nil {
		v.t.Fatal(err)
	}
	if err := t.AddAll(v.board.said[plan.Hash()]); err != nil {
		v.t.Fatal(err)
	}
	return c.key, key, t
}

// post puts a message on the board, whatever it is.
func (v *circle) post(hash, raw string) { v.board.said[hash] = append(v.board.said[hash], raw) }

// Bruno sends Chidi a share that does not fit. Chidi's program finds it, proves
// it, and everybody who reads the transcript names Bruno.
func TestC23DealerOfAWrongShareIsNamed(t *testing.T) {
	v := newCircle(t, three...)
	file, hash := v.plan(2, nil, nil, three...)
	for _, id := range three {
		v.turn(id, file, hash)
	}
	for _, id := range []string{"alba", "chidi"} { // both commit
		v.turn(id, file, "")
	}
	sign, key, tb := v.cheater("bruno", file)
	cheat, err := escrowtest.NewCheatingDealer(key, tb.Scheme(), 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	say := func(round string, body []byte) {
		v.post(hash, sayAs(t, sign, policy.CeremonyMessage{Plan: hash, Round: round, Sender: "bruno", Body: body}))
	}
	say(policy.RoundCommit, cheat.Commit)
	for _, id := range []string{"alba", "chidi"} { // both deal
		v.turn(id, file, "")
	}
	_, _, tb = v.cheater("bruno", file)
	other, err := tb.Verify(tb.Message(policy.RoundDeal, "alba"))
	if err != nil {
		t.Fatal(err)
	}
	say(policy.RoundDeal, cheat.Deal(other.Body))
	// Alba's own share is right: she does not know yet.
	v.turn("alba", file, "")
	_, err = v.try("chidi", nil, file, "")
	var failure *ceremony.Failure
	if !errors.As(err, &failure) || codeOf(err) != "custodian.bad_dealt_share" || !slices.Equal(ceremony.IDs(failure.Culprits), []string{"bruno"}) {
		t.Fatal(err)
	}
	// The complaint is on the board, and convinces Alba.
	if errs := v.refused("custodian.bad_dealt_share", "alba", file, ""); !strings.Contains(errs, "bruno (O bruno)") {
		t.Fatal(errs)
	}
	for _, id := range []string{"alba", "chidi"} {
		if exists(v.path(id, shareFile)) {
			t.Error("a failed ceremony left a share")
		}
		if all, err := v.open(id).Ceremonies(); err != nil || len(all) > 0 {
			t.Error("a failed ceremony goes on: ", all, err)
		}
		evidence, err := filepath.Glob(v.path(id, "transcript-*.json"))
		if err != nil || len(evidence) != 1 {
			t.Fatal(evidence, err)
		}
		if errs := v.refusedTranscript("custodian.bad_dealt_share", evidence[0]); !strings.Contains(errs, "bruno (O bruno)") {
			t.Fatal(errs)
		}
		// Nobody can turn the evidence against somebody else.
		raw := v.read(evidence[0])
		for range 50 {
			forged := slices.Clone(raw)
			forged[rand.IntN(len(forged))] ^= 1 << rand.IntN(7)
			tb, err := ceremony.VerifyTranscript(forged)
			if err == nil && errors.As(tb.Failure(), &failure) && len(failure.Culprits) == 1 && failure.Culprits[0].ID != "bruno" {
				t.Fatal("a changed transcript blames", failure.Culprits[0].ID)
			}
		}
	}
	// The others go on without him.
	again, hash2 := v.plan(2, nil, nil, "alba", "chidi")
	v.hold(again, hash2, "alba", "chidi")
}

// I22: each failed ceremony names the bad party by a message that they signed.
func TestI22CulpritIsNamedBySomethingTheySigned(t *testing.T) {
	for name, c := range map[string]struct {
		round string
		body  func(t *testing.T, honest string, v *circle, hash string) []byte
		code  string
		after bool // the honest message stands as well
	}{
		"says nothing that is a message": {policy.RoundCommit, func(*testing.T, string, *circle, string) []byte { return []byte("rubbish") }, "custodian.bad_message", false},
		"takes another's message for their own": {policy.RoundCommit, func(t *testing.T, _ string, v *circle, hash string) []byte {
			_, _, tb := v.cheater("alba", v.path("plan-"+hash[:8]+".json"))
			m, err := tb.Verify(tb.Message(policy.RoundCommit, "alba"))
			if err != nil {
				t.Fatal(err)
			}
			return m.Body
		}, "custodian.bad_message", false},
		"says two things": {policy.RoundCommit, func(*testing.T, string, *circle, string) []byte { return []byte("something else") }, "custodian.equivocation", true},
	} {
		t.Run(name, func(t *testing.T) {
			v := newCircle(t, three...)
			file, hash := v.plan(2, nil, nil, three...)
			for _, id := range three {
				v.turn(id, file, hash)
			}
			v.turn("alba", file, "")
			if c.after {
				v.turn("bruno", file, "")
			}
			sign, _, _ := v.cheater("bruno", file)
			v.post(hash, sayAs(t, sign, policy.CeremonyMessage{Plan: hash, Round: c.round, Sender: "bruno", Body: c.body(t, "", v, hash)}))
			if errs := v.refused(c.code, "alba", file, ""); !strings.Contains(errs, "At fault: bruno (O bruno)") {
				t.Fatal(errs)
			}
			if !c.after {
				return
			}
			// Bruno's own program sees that somebody else speaks with his key.
			v.refused("custodian.spoke_elsewhere", "bruno", file, "")
		})
	}
}

// A registrar who works with Bruno shows Alba and Chidi two commitments of his.
// Each alone cannot know; their transcripts together name him.
func TestI22TwoTranscriptsNameWhoSaidTwoThings(t *testing.T) {
	v := newCircle(t, three...)
	file, hash := v.plan(2, nil, nil, three...)
	for _, id := range three {
		v.turn(id, file, hash)
	}
	v.turn("bruno", file, "")
	sign, key, _ := v.cheater("bruno", file)
	honest := v.board.said[hash][len(v.board.said[hash])-1]
	// His second commitment is well formed, too: his key signs any 32 bytes.
	_, _, tb := v.cheater("alba", file)
	m, err := tb.Verify(honest)
	if err != nil {
		t.Fatal(err)
	}
	second := sayAs(t, sign, policy.CeremonyMessage{Plan: hash, Round: policy.RoundCommit, Sender: "bruno", Body: escrowtest.OtherCommitment(key, m.Body)})
	v.turn("alba", file, "")
	v.board.edit = func(messages []string) []string { // what Chidi is shown
		for i, s := range messages {
			if s == honest {
				messages[i] = second
			}
		}
		return messages
	}
	// Alba has dealt on top of another commitment than Chidi sees.
	errs := v.refused("custodian.ceremony_forked", "chidi", file, "")
	v.board.edit = nil
	if strings.Contains(errs, "At fault") {
		t.Fatal("blames before it knows:", errs)
	}
	var files []string
	for _, id := range []string{"alba", "chidi"} {
		c := v.open(id)
		names, err := filepath.Glob(v.path(id, "ceremony-*.state"))
		if err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		raw, err := c.folder.read(filepath.Base(names[0]))
		if err != nil {
			t.Fatal(err)
		}
		var st participationState
		if err := json.Unmarshal(raw, &st); err != nil {
			t.Fatal(err)
		}
		plan, err := policy.ParseCeremonyPlan(st.Plan)
		if err != nil {
			t.Fatal(err)
		}
		tb, err := ceremony.NewView(plan)
		if err != nil {
			t.Fatal(err)
		}
		if err := tb.AddAll(st.Messages); err != nil {
			t.Fatal(err)
		}
		transcript, err := tb.Transcript()
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, v.path(id+".json"))
		if err := os.WriteFile(files[len(files)-1], transcript, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if errs := v.refusedTranscript("custodian.equivocation", files[0], files[1]); !strings.Contains(errs, "At fault: bruno (O bruno)") {
		t.Fatal(errs)
	}
}

// A resharing to another set and threshold: what was sealed before opens with
// the new shares, and the old ones are worth nothing together with them.
func TestC07OldShareAfterResharing(t *testing.T) {
	v, b := settled(t, 2, three, "dora", "emil")
	ct, m := v.seal(b)
	old := map[string]threshold.KeyShare{}
	for _, id := range three {
		ks, err := v.share(id, b)
		if err != nil {
			t.Fatal(err)
		}
		old[id] = ks
	}
	// Alba is gone. Bruno and Chidi move the key to 3 of 4.
	file, hash := v.plan(3, b, []string{"bruno", "chidi"}, "bruno", "chidi", "dora", "emil")
	s := v.hold(file, hash, "bruno", "chidi", "dora", "emil")
	bundle, next := v.bundle(v.read(s.File))
	// Until the bundle is endorsed, the old key is in force for them.
	if err := v.opens(b, ct, m, "bruno", "chidi"); err != nil {
		t.Fatal("in between:", err)
	}
	if !exists(v.path("bruno", "share.key.epoch-1")) {
		t.Fatal("the old share is not kept")
	}
	v.endorse("bruno", bundle, "")
	v.endorse("chidi", bundle, "")
	v.endorse("dora", bundle, s.File)
	v.endorse("emil", bundle, "")
	// And until it is in force: a rival could be first, and nothing would open.
	if err := v.opens(b, ct, m, "bruno", "chidi"); err != nil {
		t.Fatal("endorsed, and not in force yet:", err)
	}
	if _, err := v.share("alba", next); !errors.Is(err, threshold.ErrEpoch) {
		t.Fatal(err)
	}
	for _, id := range []string{"alba", "bruno", "chidi", "dora", "emil"} {
		if err := v.comesIntoForce(id, nil, next); err != nil {
			t.Fatal(err)
		}
	}
	// Records are not touched; nobody ever held the key.
	if err := v.opens(next, ct, m, "dora", "chidi", "emil"); err != nil {
		t.Fatal(err)
	}
	if err := v.opens(next, ct, m, "dora", "emil"); !errors.Is(err, threshold.ErrTooFewShares) {
		t.Fatal(err)
	}
	if ct, m := v.seal(next); v.opens(next, ct, m, "bruno", "chidi", "dora") != nil {
		t.Fatal("what is sealed now does not open")
	}
	// C07: the old share is of another epoch.
	pk := v.key(next)
	if _, err := old["alba"].Decrypt(cryptoRand{}, pk, ct); err == nil {
		t.Fatal("it opens")
	}
	for name := range v.files("bruno") {
		if strings.HasPrefix(name, shareFile) && name != shareFile {
			t.Error("an old share is kept:", name)
		}
	}
	// Alba, who is not in the new bundle, keeps no share once it is in force.
	if exists(v.path("alba", shareFile)) {
		t.Error("a replaced custodian keeps a share")
	}
}

// What a custodian does not sign: a bundle whose key comes from nowhere, from
// another ceremony, or sits with others than the ceremony seated.
func TestEndorseChecksWhereTheKeyComesFrom(t *testing.T) {
	v, b := settled(t, 2, three, "dora")
	before := v.files("alba")
	bundleOf := func(base *policy.Bundle, change func(*policy.Bundle)) string {
		file, _ := v.writeBundle(func(n *policy.Bundle) {
			n.Threshold, n.ThresholdKey, n.Ceremony, n.Custodians = base.Threshold, base.ThresholdKey, base.Ceremony, slices.Clone(base.Custodians)
			change(n)
		})
		return file
	}
	dealt, _, err := escrowtest.ThresholdKey(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	text, err := dealt.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	// A key that three others made.
	w := newCircle(t, three...)
	planFile, hash := w.plan(2, nil, nil, three...)
	foreign := w.hold(planFile, hash, three...)
	// The right key, moved to a set with Dora.
	file, hash := v.plan(2, b, []string{"alba", "bruno"}, "alba", "bruno", "dora")
	moved := v.hold(file, hash, "alba", "bruno", "dora")
	before = v.files("alba")
	_, next := v.bundle(v.read(moved.File))
	for name, c := range map[string]struct {
		file, transcript, code string
	}{
		"a key from nowhere":           {bundleOf(b, func(n *policy.Bundle) { n.ThresholdKey, n.Ceremony = string(text), "" }), "", "custodian.key_from_nowhere"},
		"no ceremony for the same key": {bundleOf(b, func(n *policy.Bundle) { n.Ceremony = "" }), "", "custodian.key_from_nowhere"},
		"a transcript we do not have":  {bundleOf(b, func(n *policy.Bundle) { n.Ceremony = strings.Repeat("ab", 32) }), "", "custodian.no_transcript"},
		"another transcript":           {bundleOf(next, func(n *policy.Bundle) {}), foreign.File, "custodian.no_transcript"},
		"a key that others made": {bundleOf(b, func(n *policy.Bundle) {
			plan, key, err := ceremony.Result(v.read(foreign.File))
			if err != nil {
				t.Fatal(err)
			}
			n.ThresholdKey, n.Ceremony = key, foreign.Transcript
			for i, s := range plan.Receivers {
				n.Custodians[i].Key = s.Key
			}
		}), foreign.File, "custodian.other_key"},
		"another in a seat": {bundleOf(next, func(n *policy.Bundle) {
			public, err := v.party("ghost").Public().MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			n.Custodians[2].Key = public
		}), "", "custodian.other_seats"},
		"another threshold": {bundleOf(next, func(n *policy.Bundle) { n.Threshold = 3 }), "", "custodian.other_seats"},
	} {
		t.Run(name, func(t *testing.T) {
			v.expect(c.code, v.tryEndorse("alba", nil, c.file, c.transcript))
			if !maps.Equal(before, v.files("alba")) {
				t.Error("something changed")
			}
		})
	}
	// Other rules with the key in force are endorsed while a new share waits for
	// its bundle; both shares stay.
	v.endorse("alba", bundleOf(b, func(n *policy.Bundle) { n.MaxTargets = 5 }), "")
	for _, n := range []*policy.Bundle{b, next} {
		if _, err := v.share("alba", n); err != nil {
			t.Error(err)
		}
	}
	// And a plan that starts from another key, or seats a stranger as a dealer,
	// is not joined.
	for name, change := range map[string]func(*policy.CeremonyPlan){
		"another key": func(p *policy.CeremonyPlan) {
			_, key, err := ceremony.Result(v.read(foreign.File))
			if err != nil {
				t.Fatal(err)
			}
			p.Previous = key
		},
		"a stranger as dealer": func(p *policy.CeremonyPlan) { p.Dealers[1] = v.card("dora", 2) },
	} {
		p := policy.CeremonyPlan{Version: 1, Nonce: strings.Repeat("0", 64), Threshold: 2, Previous: b.ThresholdKey,
			Receivers: []policy.Seat{v.card("alba", 1), v.card("dora", 2)}, Dealers: []policy.Seat{v.card("alba", 1), v.card("bruno", 2)}}
		change(&p)
		file, hash := v.writePlan(&p)
		t.Run(name, func(t *testing.T) {
			v.refused("custodian.plan_of_another_key", "alba", file, hash)
		})
	}
}

// F37: the power is cut at every single thing that one participant's program
// does to its disk or to the network, during a resharing and the endorsement
// after it, before and after it is done. Whenever that is: the share in force
// opens what was sealed, nobody ever says two things, and running the command
// again finishes with exactly one active share.
func TestF37KillDuringResharing(t *testing.T) {
	t.Parallel()
	v, b := settled(t, 2, three)
	ct, m := v.seal(b)
	file, hash := v.plan(2, b, []string{"alba", "bruno"}, three...)
	others := []string{"alba", "chidi"}
	pristine := v.path("pristine")
	for _, id := range three {
		copyFolder(t, v.path(id), filepath.Join(pristine, id))
	}
	cuts := 0
	for at := 1; ; at++ {
		reached := false
		for _, after := range []bool{false, true} {
			for _, id := range three {
				if err := os.RemoveAll(v.path(id)); err != nil {
					t.Fatal(err)
				}
				copyFolder(t, filepath.Join(pristine, id), v.path(id))
			}
			v.board.said = map[string][]string{}
			if v.killedAt(&faults{at: at, after: after}, b, ct, m, file, hash, others) {
				reached = true
				cuts++
			}
		}
		if !reached {
			break
		}
	}
	if cuts < 60 {
		t.Fatalf("only %d cuts: the program was not cut everywhere", cuts)
	}
	t.Logf("%d power cuts", cuts)
}

// killedAt plays one resharing with one power cut at Bruno's, and reports
// whether it came to that.
func (v *circle) killedAt(f *faults, b *policy.Bundle, ct threshold.Ciphertext, m [32]byte, file, hash string, others []string) bool {
	v.t.Helper()
	where := fmt.Sprintf("cut at %d, after: %v", f.at, f.after)
	var s CeremonyStatus
	takeTurn := func(f *faults) (err error) { s, err = v.try("bruno", f, file, hash); return err }
	bruno := func(act func(*faults) error) {
		v.t.Helper()
		err := act(f)
		if f.off { // the machine comes back
			err = act(nil)
		}
		if err != nil {
			v.t.Fatalf("%s: %v", where, err)
		}
	}
	for turn := 0; turn < 6 && s.State != "complete"; turn++ {
		for _, id := range others {
			v.turn(id, file, hash)
		}
		bruno(func(f *faults) error {
			err := takeTurn(f)
			if f != nil && f.off {
				if err := v.opens(b, ct, m, "bruno", "chidi"); err != nil {
					v.t.Fatalf("%s: what is sealed does not open: %v", where, err)
				}
			}
			return err
		})
	}
	if s.State != "complete" {
		v.t.Fatalf("%s: not finished: %+v", where, s)
	}
	for _, id := range others {
		v.turn(id, file, hash)
	}
	bodies := map[string]string{}
	for _, raw := range v.board.said[hash] {
		payload := strings.Split(raw, ".")[1]
		var said struct{ Round, Sender string }
		decode(v.t, payload, &said)
		if have, ok := bodies[said.Round+said.Sender]; ok && have != payload {
			v.t.Fatalf("%s: %s said two things in round %s", where, said.Sender, said.Round)
		}
		bodies[said.Round+said.Sender] = payload
	}
	bundle, next := v.bundle(v.read(s.File))
	for _, id := range others {
		v.endorse(id, bundle, "")
	}
	bruno(func(f *faults) error { return v.tryEndorse("bruno", f, bundle, "") })
	for _, id := range others {
		if err := v.comesIntoForce(id, nil, next); err != nil {
			v.t.Fatal(err)
		}
	}
	bruno(func(f *faults) error { return v.comesIntoForce("bruno", f, next) })
	c := v.open("bruno")
	shares, err := c.folder.shares()
	if err != nil || len(shares) != 1 || shares[shareFile].Check(v.key(next)) != nil {
		v.t.Fatalf("%s: not exactly one share: %d, %v", where, len(shares), err)
	}
	if err := v.opens(next, ct, m, "bruno", "chidi"); err != nil {
		v.t.Fatalf("%s: what was sealed before does not open: %v", where, err)
	}
	if exists(v.path("bruno", ceremonyFile)) {
		v.t.Fatalf("%s: the ceremony's key is kept", where)
	}
	return f.off
}
