package mailtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/mail"
)

// Memory is an outbox in memory.
type Memory struct {
	mu    sync.Mutex
	rows  []*row
	Ended map[mail.Outcome]int
}

type row struct {
	mail.Letter
	due, since time.Time
}

// Put adds a duty that is due at once, with an id if it has none.
func (m *Memory) Put(l mail.Letter, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.ID == [16]byte{} {
		rand.Read(l.ID[:]) // never fails (crypto/rand)
	}
	m.rows = append(m.rows, &row{l, now, now.UTC().Truncate(time.Hour)})
}

// Outbox is what a [mail.Sender] works on.
func (m *Memory) Outbox() mail.Outbox {
	return mail.Outbox{Take: m.take, Postpone: m.postpone, Done: m.done, Waiting: m.waiting}
}

func (m *Memory) take(_ context.Context, now, until time.Time) (mail.Letter, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.SortStableFunc(m.rows, func(a, b *row) int { return a.due.Compare(b.due) })
	if len(m.rows) == 0 || m.rows[0].due.After(now) {
		return mail.Letter{}, false, nil
	}
	r := m.rows[0]
	r.Tries, r.Held, r.due = r.Tries+1, until, until
	return r.Letter, true, nil
}

// held is the row that is still as it was taken; nil: there is none.
func (m *Memory) held(l mail.Letter) *row {
	i := slices.IndexFunc(m.rows, func(r *row) bool { return bytes.Equal(r.ID[:], l.ID[:]) && r.due.Equal(l.Held) })
	if i < 0 {
		return nil
	}
	return m.rows[i]
}

func (m *Memory) postpone(_ context.Context, l mail.Letter, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.held(l); r != nil {
		r.due = until
	}
	return nil
}

func (m *Memory) done(_ context.Context, l mail.Letter, o mail.Outcome, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.held(l); r != nil {
		m.rows = slices.DeleteFunc(m.rows, func(x *row) bool { return x == r })
		if m.Ended == nil {
			m.Ended = map[mail.Outcome]int{}
		}
		m.Ended[o]++
	}
	return nil
}

func (m *Memory) waiting(_ context.Context, now time.Time) (w mail.Waiting, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.rows {
		if r.since.Before(now.UTC().Truncate(time.Hour)) {
			if w.Mails++; w.Oldest.IsZero() || r.since.Before(w.Oldest) {
				w.Oldest = r.since
			}
		}
	}
	return w, nil
}

// Opened is an empty outbox, and how a duty is put into it at a time.
type Opened struct {
	mail.Outbox
	Put func(t *testing.T, now time.Time)
}

// Noon is when the suite of outboxes begins.
var Noon = time.Date(2026, 11, 21, 12, 5, 0, 0, time.UTC)

// TestOutbox is the suite of outboxes.
func TestOutbox(t *testing.T, open func(*testing.T) Opened) {
	for name, test := range map[string]func(*testing.T, Opened){"Taken once": takenOnce, "Left for later": leftForLater, "Taken again": takenAgain, "At the same moment": atOnce, "What waits": whatWaits} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func take(t *testing.T, o Opened, now time.Time) (mail.Letter, bool) {
	t.Helper()
	l, ok, err := o.Take(t.Context(), now, now.Add(10*time.Minute))
	must(t, err)
	return l, ok
}

func takenOnce(t *testing.T, o Opened) {
	if _, ok := take(t, o, Noon); ok {
		t.Error("something is due in an empty outbox")
	}
	o.Put(t, Noon)
	l, ok := take(t, o, Noon)
	if !ok || l.Tries != 1 || l.ID == [16]byte{} || l.Damaged {
		t.Fatalf("%v %+v", ok, l)
	}
	if _, again := take(t, o, Noon.Add(9*time.Minute)); again {
		t.Error("two senders have it")
	}
	must(t, o.Done(t.Context(), l, mail.Accepted, Noon))
	if _, again := take(t, o, Noon.Add(24*time.Hour)); again {
		t.Error("what is done is due again")
	}
	must(t, o.Done(t.Context(), l, mail.Accepted, Noon)) // nothing
}

func leftForLater(t *testing.T, o Opened) {
	o.Put(t, Noon)
	l, _ := take(t, o, Noon)
	must(t, o.Postpone(t.Context(), l, Noon.Add(time.Hour)))
	if _, ok := take(t, o, Noon.Add(59*time.Minute)); ok {
		t.Error("due before its time")
	}
	l, ok := take(t, o, Noon.Add(time.Hour))
	if !ok || l.Tries != 2 {
		t.Errorf("%v %+v", ok, l)
	}
}

// A sender that died leaves its duty; if it lives after all, it ends nothing that another has.
func takenAgain(t *testing.T, o Opened) {
	o.Put(t, Noon)
	dead, _ := take(t, o, Noon)
	alive, ok := take(t, o, Noon.Add(10*time.Minute))
	if !ok || alive.ID != dead.ID || alive.Tries != 2 {
		t.Fatalf("%v %+v", ok, alive)
	}
	must(t, o.Done(t.Context(), dead, mail.Refused, Noon.Add(11*time.Minute)))
	must(t, o.Postpone(t.Context(), dead, Noon))
	if _, ok := take(t, o, Noon.Add(12*time.Minute)); ok {
		t.Error("the first sender gave away what the second has")
	}
	must(t, o.Done(t.Context(), alive, mail.Accepted, Noon.Add(12*time.Minute)))
	if _, ok := take(t, o, Noon.Add(48*time.Hour)); ok {
		t.Error("it is not done")
	}
}

func atOnce(t *testing.T, o Opened) {
	const duties, senders = 6, 4
	for range duties {
		o.Put(t, Noon)
	}
	var mu sync.Mutex
	seen := map[[16]byte]int{}
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			for {
				l, ok, err := o.Take(t.Context(), Noon, Noon.Add(10*time.Minute))
				if err != nil {
					t.Error(err)
				}
				if err != nil || !ok {
					return
				}
				mu.Lock()
				seen[l.ID]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%x was taken %d times", id, n)
		}
	}
	// Who looks while another takes finds nothing, and looks again: none is forgotten.
	for {
		l, ok := take(t, o, Noon)
		if !ok {
			break
		}
		seen[l.ID]++
	}
	if len(seen) != duties {
		t.Errorf("%d of %d were taken", len(seen), duties)
	}
}

func whatWaits(t *testing.T, o Opened) {
	waits := func(now time.Time, n int64, oldest time.Time) {
		t.Helper()
		w, err := o.Waiting(t.Context(), now)
		if must(t, err); w.Mails != n || !w.Oldest.Equal(oldest) {
			t.Errorf("at %v: %+v", now, w)
		}
	}
	o.Put(t, Noon)
	waits(Noon.Add(30*time.Minute), 0, time.Time{}) // of this hour nothing shows
	hour := Noon.Truncate(time.Hour)
	waits(Noon.Add(time.Hour), 1, hour)
	o.Put(t, Noon.Add(time.Hour))
	waits(Noon.Add(2*time.Hour), 2, hour)
	for range 2 {
		l, ok := take(t, o, Noon.Add(2*time.Hour))
		if !ok {
			t.Fatal("nothing is due")
		}
		waits(Noon.Add(2*time.Hour), 2, hour) // it is not done yet
		must(t, o.Postpone(t.Context(), l, Noon.Add(3*time.Hour)))
	}
	for range 2 {
		l, _ := take(t, o, Noon.Add(4*time.Hour))
		must(t, o.Done(t.Context(), l, mail.Accepted, Noon.Add(4*time.Hour)))
	}
	waits(Noon.Add(24*time.Hour), 0, time.Time{})
}
