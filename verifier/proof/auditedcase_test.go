package proof

import (
	"slices"
	"testing"
	"time"
)

// Targets are authorised one by one: each by two custodians, who count once, with
// what they decided last.
func TestAuditCountsEachTarget(t *testing.T) {
	for name, tc := range map[string]struct {
		tell func(h *history, c int64)
		want []string
	}{
		"all at once": {func(h *history, c int64) { h.opened(c, 0b111) }, nil},
		"in two rounds": {func(h *history, c int64) {
			h.vote(c, "bar", 0b101)
			h.vote(c, "press", 0b100, "press_freedom")
			h.decide(c, 0b100)
			h.release(c, 0b100)
			h.vote(c, "ombudsman", 0b001, "disproportionate")
			h.decide(c, 0b001)
			h.release(c, 0b001)
		}, nil},
		"a target that one agreed to": {func(h *history, c int64) {
			h.vote(c, "bar", 0b101)
			h.vote(c, "press", 0b100)
			h.decide(c, 0b101)
		}, []string{FindingQuorum}},
		"one custodian twice": {func(h *history, c int64) {
			h.vote(c, "bar", 0b001)
			h.vote(c, "bar", 0b001)
			h.decide(c, 0b001)
		}, []string{FindingQuorum}},
		"one who changed their mind": {func(h *history, c int64) {
			h.vote(c, "bar", 0b001)
			h.vote(c, "press", 0b001)
			h.vote(c, "bar", 0b000, "recused")
			h.decide(c, 0b001)
		}, []string{FindingQuorum}},
		"a stranger": {func(h *history, c int64) {
			h.vote(c, "bar", 0b001)
			h.vote(c, "ghost", 0b001)
			h.decide(c, 0b001)
		}, []string{FindingWord, FindingQuorum}},
		"one target twice": {func(h *history, c int64) {
			h.opened(c, 0b001)
			h.vote(c, "ombudsman", 0b011)
			h.decide(c, 0b001)
		}, []string{FindingReopened}},
		"after none could be reached": {func(h *history, c int64) {
			h.vote(c, "bar", 0b000, "recused")
			h.vote(c, "press", 0b000, "recused")
			h.decide(c, 0b000)
			h.vote(c, "bar", 0b001)
			h.vote(c, "press", 0b001)
			h.decide(c, 0b001)
		}, []string{FindingReopened}},
		"released what nobody authorised": {func(h *history, c int64) {
			h.vote(c, "bar", 0b001)
			h.vote(c, "press", 0b001)
			h.decide(c, 0b001)
			h.release(c, 0b011)
		}, []string{FindingOrder}},
		"released twice": {func(h *history, c int64) {
			h.opened(c, 0b001)
			h.release(c, 0b001)
		}, []string{FindingOrder}},
		"targets that the case does not have": {func(h *history, c int64) {
			h.vote(c, "bar", 0b111)
			h.vote(c, "press", 0b111)
			h.decide(c, 0b1000)
		}, []string{FindingMarks}},
		"released to the second": {func(h *history, c int64) {
			h.vote(c, "bar", 0b111)
			h.vote(c, "press", 0b111)
			h.decide(c, 0b111)
			h.add(ReleasedLeaf(h.now, c, [32]byte{1}, Marks{0b111}).On(Second(h.now)))
		}, []string{FindingTime}},
		"the leaves of before": {func(h *history, c int64) {
			h.add(ApprovalLeaf(h.now, c, "bar", "", caseSalt, []byte("x")))
			h.add(ApprovalLeaf(h.now, c, "press", "declined.recused", caseSalt, []byte("x")))
			h.add(AuthorisedLeaf(h.now, c))
			h.add(ReleasedLeaf(h.now, c, [32]byte{1}, nil))
		}, []string{FindingFormat, FindingFormat, FindingFormat, FindingFormat}},
		"what still waited expires": {func(h *history, c int64) {
			h.opened(c, 0b001)
			h.add(ExpiredLeaf(h.now, c))
		}, nil},
		"what was all released expires": {func(h *history, c int64) {
			h.opened(c, 0b111)
			h.add(ExpiredLeaf(h.now, c))
		}, []string{FindingOrder}},
		"deleted": {func(h *history, c int64) {
			h.opened(c, 0b111)
			h.add(DeletedLeaf(h.now, c))
		}, nil},
		"deleted twice": {func(h *history, c int64) {
			h.opened(c, 0b111)
			h.add(DeletedLeaf(h.now, c))
			h.add(DeletedLeaf(h.now, c))
		}, []string{FindingOrder}},
		"deleted before it was delivered": {func(h *history, c int64) { h.add(DeletedLeaf(h.now, c)) }, []string{FindingOrder}},
	} {
		h := newHistory(t)
		tc.tell(h, h.warrant(Production, 3))
		h.want(name, tc.want...)
	}
}

// A decision is opened once, as it was closed, and none is left out: a registrar who
// opened only those that agree would open every name.
func TestAuditOpensEachDecisionOnce(t *testing.T) {
	first := func(change func(*Opened)) func(*Leaf) {
		return func(l *Leaf) {
			l.Opened = slices.Clone(l.Opened)
			change(&l.Opened[0])
		}
	}
	for name, tc := range map[string]struct {
		change func(*Leaf)
		want   []string
	}{
		"as they were":        {func(*Leaf) {}, nil},
		"other votes":         {first(func(o *Opened) { o.Votes = Marks{0b111} }), []string{FindingOpening}},
		"votes of no target":  {first(func(o *Opened) { o.Votes = Marks{0b1001} }), []string{FindingOpening}},
		"another custodian":   {first(func(o *Opened) { o.Custodian = "ombudsman" }), []string{FindingOpening}},
		"another ground":      {first(func(o *Opened) { o.Grounds = []string{"recused"} }), []string{FindingOpening}},
		"no ground":           {first(func(o *Opened) { o.Grounds = nil }), []string{FindingOpening}},
		"another document":    {first(func(o *Opened) { o.Signed = bundle5 }), []string{FindingOpening}},
		"another salt":        {first(func(o *Opened) { o.Salt = bundle5 }), []string{FindingOpening}},
		"of a leaf that none": {first(func(o *Opened) { o.Leaf = 0 }), []string{FindingOpening, FindingClosed}},
		"without the refusal": {func(l *Leaf) { l.Opened = l.Opened[1:] }, []string{FindingClosed}},
		"none":                {func(l *Leaf) { l.Opened = nil }, []string{FindingClosed, FindingQuorum}},
	} {
		h := newHistory(t)
		c := h.warrant(Production, 3)
		h.vote(c, "bar", 0b000, "press_freedom")
		h.vote(c, "press", 0b001)
		h.vote(c, "ombudsman", 0b001)
		h.decide(c, 0b001, tc.change)
		h.want(name, tc.want...)
	}
	h := newHistory(t)
	c, other := h.warrant(Production, 3), h.warrant(Production, 3)
	h.vote(c, "bar", 0b001)
	h.vote(c, "press", 0b001)
	once := h.made[c]
	h.decide(c, 0b001)
	h.made[c] = once
	h.decide(c, 0b010)
	h.want("opened again", FindingOpening, FindingOpening, FindingQuorum)
	h.made[other] = once
	h.decide(other, 0b001)
	h.want("of another case", FindingOpening, FindingOpening, FindingQuorum, FindingOpening, FindingOpening, FindingQuorum)
}

// A case lives under the bundle of its day, and its shares under the key of theirs.
func TestAuditOfRoundsAcrossRules(t *testing.T) {
	old := rules5()
	old.Rounds = false
	h := newHistory(t, old, rules5())
	before := h.warrant(Production, 1)
	h.add(BundleLeaf(h.now, bundle6))
	h.add(ApprovalLeaf(h.now, before, "bar", "", caseSalt, []byte("x")))
	h.add(ApprovalLeaf(h.now, before, "press", "", caseSalt, []byte("x")))
	h.add(AuthorisedLeaf(h.now, before))
	h.add(ReleasedLeaf(h.now, before, [32]byte{1}, nil))
	h.want("a case of before")
	h.vote(before, "ombudsman", 1)
	h.want("a new leaf in a case of before", FindingFormat)

	moved := rules5()
	moved.Key, moved.Custodians = "k2", []string{"press", "ombudsman", "union"}
	h = newHistory(t, rules5(), moved)
	c := h.warrant(Production, 1)
	h.vote(c, "bar", 1)
	h.vote(c, "press", 1)
	h.add(BundleLeaf(h.now, bundle6))
	h.vote(c, "union", 1)
	h.decide(c, 1)
	h.want("shares of a key that was moved", FindingQuorum)

	stopped := rules5()
	stopped.Stops = []int64{1}
	h = newHistory(t, rules5(), stopped)
	c = h.warrant(Production, 1)
	h.add(BundleLeaf(h.now, bundle6))
	h.opened(c, 1)
	h.want("a case that newer rules stop", FindingStopped, FindingStopped)
}

// A court takes back some targets, and a superior one annuls: the others go on.
func TestAuditOfWithdrawalAndAnnulment(t *testing.T) {
	for name, tc := range map[string]struct {
		kind     string
		which    []byte
		released byte
		want     []string
	}{
		"another target than withdrawn": {Withdrawal, []byte{0b001}, 0b110, nil},
		"a withdrawn target":            {Withdrawal, []byte{0b001}, 0b011, []string{FindingWithdrawn}},
		"all are withdrawn":             {Withdrawal, nil, 0b010, []string{FindingWithdrawn}},
		"another target than annulled":  {Annulment, []byte{0b001}, 0b110, nil},
		"an annulled target":            {Annulment, []byte{0b001}, 0b011, []string{FindingAnnulled}},
		"all are annulled":              {Annulment, nil, 0b010, []string{FindingAnnulled}},
		"what is none of the case":      {Withdrawal, []byte{0b1000}, 0b010, []string{FindingMarks}},
	} {
		h := newHistory(t)
		c := h.warrant(Production, 3)
		h.vote(c, "bar", 0b111)
		h.vote(c, "press", 0b111)
		h.decide(c, 0b111)
		h.warrant(tc.kind, 0, about(c, tc.which...))
		h.release(c, tc.released)
		h.want(name, tc.want...)
	}
}

// An emergency is validated within its hours, to the second, or it lapses in public.
func TestAuditOfAnEmergency(t *testing.T) {
	const hours = 48 * time.Hour
	validate := func(h *history, c int64) { h.warrant(Validation, 0, about(c)) }
	more := func(h *history, c int64) {
		h.vote(c, "ombudsman", 0b100)
		h.decide(c, 0b100)
		h.release(c, 0b100)
	}
	lapse := func(h *history, c int64) { h.add(LapsedLeaf(h.now, c, []string{"name"}, 2)) }
	for name, tc := range map[string]struct {
		tell func(h *history, c int64)
		want []string
	}{
		"validated in the last second": {func(h *history, c int64) { validate(h.later(hours), c) }, nil},
		"validated a second late":      {func(h *history, c int64) { validate(h.later(hours+time.Second), c) }, []string{FindingLate}},
		"lapsed":                       {func(h *history, c int64) { lapse(h.later(hours), c) }, nil},
		"lapsed a second early":        {func(h *history, c int64) { lapse(h.later(hours-time.Second), c) }, []string{FindingOrder}},
		"lapsed twice":                 {func(h *history, c int64) { lapse(h.later(hours), c); lapse(h, c) }, []string{FindingOrder}},
		"validated and lapsed":         {func(h *history, c int64) { validate(h, c); lapse(h.later(hours), c) }, []string{FindingOrder}},
		"validated after it lapsed":    {func(h *history, c int64) { lapse(h.later(hours), c); validate(h, c) }, []string{FindingLapsed}},
		"told too few": {func(h *history, c int64) {
			h.add(LapsedLeaf(h.later(hours).now, c, []string{"name"}, 1))
		}, []string{FindingLapseTold}},
		"told nothing": {func(h *history, c int64) { h.add(LapsedLeaf(h.later(hours).now, c, nil, 0)) }, []string{FindingLapseTold}},
		"a field of no record": {func(h *history, c int64) {
			h.add(LapsedLeaf(h.later(hours).now, c, []string{"blood_group"}, 2))
		}, []string{FindingWord}},
		"authorised and released after it lapsed": {func(h *history, c int64) {
			lapse(h.later(hours), c)
			more(h, c)
		}, []string{FindingLapsed, FindingLapsed}},
		"released when its hours were over": {func(h *history, c int64) {
			h.later(hours + time.Second)
			h.vote(c, "ombudsman", 0b100)
			h.decide(c, 0b100)
		}, []string{FindingLapsed}},
		"released by the day": {func(h *history, c int64) {
			h.vote(c, "ombudsman", 0b100)
			h.decide(c, 0b100)
			h.add(ReleasedLeaf(h.now, c, [32]byte{1}, Marks{0b100}))
		}, []string{FindingTime}},
		"another clock, that is behind":          {func(h *history, c int64) { validate(h.later(-MaxSkew), c) }, nil},
		"the clock goes back":                    {func(h *history, c int64) { validate(h.later(-MaxSkew-time.Second), c) }, []string{FindingDay}},
		"released by a clock that is behind":     {func(h *history, c int64) { more(h.later(-MaxSkew), c) }, nil},
		"released by a clock that goes back":     {func(h *history, c int64) { more(h.later(-MaxSkew-time.Second), c) }, []string{FindingDay, FindingDay}},
		"released by clocks that go on and back": {func(h *history, c int64) { more(h.later(time.Minute), c); validate(h.later(-MaxSkew-time.Second), c) }, []string{FindingDay}},
	} {
		h := newHistory(t)
		c := h.warrant(Emergency, 3)
		h.vote(c, "bar", 0b111)
		h.vote(c, "press", 0b011)
		h.decide(c, 0b011)
		h.release(c, 0b011)
		tc.tell(h, c)
		h.want(name, tc.want...)
	}
	h := newHistory(t)
	c := h.warrant(Production, 1)
	h.later(hours)
	h.add(LapsedLeaf(h.now, c, nil, 0))
	h.want("what is no emergency does not lapse", FindingOrder)
}

// An emergency that was validated before it was filed says so, and does not lapse.
func TestAuditOfAnEmergencyValidatedBeforeFiling(t *testing.T) {
	h := newHistory(t)
	c := h.warrant(Emergency, 2, func(l *Leaf) { l.Validated = true })
	h.opened(c, 0b01)
	h.later(72 * time.Hour)
	h.opened(c, 0b10)
	h.want("after its hours")
	if r := h.audit(h.now); slices.ContainsFunc(r.Deadlines, func(d Deadline) bool { return d.What == DeadlineValidation }) {
		t.Error(r.Deadlines)
	}
	h.add(LapsedLeaf(h.now, c, []string{"name"}, 2))
	h.want("a lapse", FindingOrder)
}

// Secrecy can be moved, but not for ever; a preservation extended, by the days of the
// rules.
func TestAuditOfMovedEnds(t *testing.T) {
	until := func(day string) func(*Leaf) { return func(l *Leaf) { l.SecrecyEnds = day } }
	held := func(day string) func(*Leaf) { return func(l *Leaf) { l.HoldEnds = day } }
	for name, tc := range map[string]struct {
		tell func(h *history)
		want []string
	}{
		"secrecy of the longest":    {func(h *history) { h.warrant(Production, 1, until("2026-05-30")) }, nil},
		"secrecy of a day too long": {func(h *history) { h.warrant(Production, 1, until("2026-05-31")) }, []string{FindingSecrecy}},
		"moved to the longest": {func(h *history) {
			c := h.warrant(Production, 1, until("2026-04-01"))
			h.later(20*24*time.Hour).warrant(SecrecyChange, 0, about(c), until("2026-05-30"))
		}, nil},
		"moved from the first issue too far": {func(h *history) {
			c := h.warrant(Production, 1, until("2026-04-01"))
			h.later(20*24*time.Hour).warrant(SecrecyChange, 0, about(c), until("2026-05-30"))
			h.later(20*24*time.Hour).warrant(SecrecyChange, 0, about(c), until("2026-05-31"))
		}, []string{FindingSecrecy}},
		"held as long as can be":  {func(h *history) { h.warrant(Preservation, 1, held("2026-04-30")) }, nil},
		"held for a day too long": {func(h *history) { h.warrant(Preservation, 1, held("2026-05-01")) }, []string{FindingHold}},
		"held for ever":           {func(h *history) { h.warrant(Preservation, 1, held("")) }, []string{FindingHold}},
		"extended by 30 days": {func(h *history) {
			c := h.warrant(Preservation, 1, held("2026-04-30"))
			h.later(50*24*time.Hour).warrant(Extension, 1, about(c), held("2026-05-30"))
		}, nil},
		"extended by 31 days": {func(h *history) {
			c := h.warrant(Preservation, 1, held("2026-04-30"))
			h.later(50*24*time.Hour).warrant(Extension, 1, about(c), held("2026-05-31"))
		}, []string{FindingHold}},
		"extended when it was over": {func(h *history) {
			c := h.warrant(Preservation, 1, held("2026-04-30"))
			h.later(61*24*time.Hour).warrant(Extension, 1, about(c), held("2026-05-30"))
		}, []string{FindingHold}},
		"the offence, where the bundle does not let": {func(h *history) {
			h.warrant(Production, 1, func(l *Leaf) { l.Offence = "stalking-s2a" })
		}, []string{FindingFacet}},
		"an offence that is not in the catalogue": {func(h *history) {
			h.warrant(Production, 1, func(l *Leaf) { l.Offence = "criticism" })
		}, []string{FindingWord, FindingFacet}},
	} {
		h := newHistory(t)
		tc.tell(h)
		h.want(name, tc.want...)
	}
}

// What passed and was not done is told, each by its own clock.
func TestAuditTellsWhatIsOverdue(t *testing.T) {
	h := newHistory(t)
	secret := h.warrant(Production, 1, func(l *Leaf) { l.SecrecyEnds = "2026-03-20" })
	h.opened(secret, 1)
	urgent := h.warrant(Emergency, 1, func(l *Leaf) { l.SecrecyEnds = "2026-03-20" })
	held := h.warrant(Preservation, 1, func(l *Leaf) { l.HoldEnds = "2026-03-15" })
	issued := h.now
	overdue := func(at time.Time, want ...Deadline) {
		t.Helper()
		if r := h.audit(at); !slices.Equal(r.Deadlines, want) || len(r.Findings) > 0 {
			t.Errorf("%v: %v %v, want %v", at, r.Deadlines, r.Findings, want)
		}
	}
	notice, validation := Deadline{secret, DeadlineNotice, "2026-03-20"}, Deadline{urgent, DeadlineValidation, "2026-03-03T10:00:00Z"}
	expiry := Deadline{held, DeadlineExpiry, "2026-03-15"}
	overdue(issued.Add(48 * time.Hour))
	overdue(issued.Add(48*time.Hour+time.Second), validation)
	overdue(time.Date(2026, 3, 15, 23, 59, 59, 0, time.UTC), validation)
	overdue(time.Date(2026, 3, 21, 0, 0, 0, 0, time.UTC), notice, validation, expiry)
	h.later(48 * time.Hour)
	h.add(LapsedLeaf(h.now, urgent, nil, 0))
	h.warrant(Extension, 1, about(held), func(l *Leaf) { l.HoldEnds = "2026-04-14" })
	h.warrant(SecrecyChange, 0, about(secret), func(l *Leaf) { l.SecrecyEnds = "2026-05-01" })
	overdue(time.Date(2026, 3, 21, 0, 0, 0, 0, time.UTC))
	h.warrant(SecrecyChange, 0, about(secret)) // lifted
	notice.Due, expiry.Due = "2026-03-03", "2026-04-14"
	overdue(time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC), notice)
	overdue(time.Date(2026, 4, 15, 0, 0, 0, 0, time.UTC), notice, expiry)
	h.add(NoticedLeaf(h.now, secret, caseSalt))
	h.add(ExpiredLeaf(h.now, held))
	overdue(time.Date(2027, 4, 15, 0, 0, 0, 0, time.UTC))
}

// Where persons are told first, nothing is authorised before their whole days are over, nor
// while an objection has no answer.
func TestAuditOfNoticeFirst(t *testing.T) {
	first := func(l *Leaf) { l.NoticeDays = 10 }
	const aDay = 24 * time.Hour
	told := func(h *history, reached bool) int64 {
		c := h.warrant(Production, 1, first)
		h.add(ToldLeaf(h.now, c, reached))
		return c
	}
	for name, tc := range map[string]struct {
		tell func(h *history)
		want []string
	}{
		"on the first day that may be":    {func(h *history) { c := told(h, true); h.later(11*aDay).opened(c, 1) }, nil},
		"on the last day to object":       {func(h *history) { c := told(h, true); h.later(10*aDay).opened(c, 1) }, []string{FindingNotice}},
		"not reached, and after the days": {func(h *history) { c := told(h, false); h.later(11*aDay).opened(c, 1) }, nil},
		"nobody was told":                 {func(h *history) { c := h.warrant(Production, 1, first); h.later(30*aDay).opened(c, 1) }, []string{FindingNotice}},
		"told twice":                      {func(h *history) { c := told(h, true); h.add(ToldLeaf(h.now, c, true)) }, []string{FindingNotice}},
		"told where nobody is told first": {func(h *history) { h.add(ToldLeaf(h.now, h.warrant(Production, 1), true)) }, []string{FindingNotice}},
		"no days in a class that has them": {func(h *history) {
			rules := rules5()
			rules.NoticeDays, rules.NoticeClasses = 10, []string{"stalking"}
			h.rules[bundle5] = rules
			h.warrant(Production, 1)
			h.warrant(Production, 1, first)
			h.warrant(Preservation, 1)
		}, []string{FindingNotice}},
		"under an objection": {func(h *history) {
			c := told(h, true)
			h.add(ObjectedLeaf(h.now, c))
			h.later(11*aDay).opened(c, 1)
		}, []string{FindingObjection, FindingObjection}},
		"an objection before anybody was told": {func(h *history) { h.add(ObjectedLeaf(h.now, h.warrant(Production, 1, first))) }, []string{FindingOrder}},
	} {
		h := newHistory(t)
		tc.tell(h)
		h.want(name, tc.want...)
	}
	h := newHistory(t)
	c := h.warrant(Production, 1, first)
	if r := h.audit(h.now.Add(6 * aDay)); !slices.Contains(r.Deadlines, Deadline{c, DeadlineTold, "2026-03-05"}) {
		t.Errorf("nobody was told: %+v", r.Deadlines)
	}
	h.add(ToldLeaf(h.now, c, false))
	if r := h.audit(h.now.Add(6 * aDay)); len(r.Deadlines) > 0 || r.Statistics.NotReached != 1 {
		t.Errorf("not reached: %+v, %d", r.Deadlines, r.Statistics.NotReached)
	}
}
