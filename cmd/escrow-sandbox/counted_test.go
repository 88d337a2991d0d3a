package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox/world"
)

// calls counts, by name, what a side asks of others: SQL statements and COMMITs as they are on
// the wire, cosignatures of witnesses, and calls of the key service.
type calls struct {
	mu sync.Mutex
	by map[string]int
}

func (c *calls) add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[string]int{}
	}
	c.by[name]++
}

// take returns what was counted since it was asked last.
func (c *calls) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := c.by
	c.by = nil
	return by
}

// total counts those whose names begin so.
func total(by map[string]int, prefix string) (n int) {
	for name, times := range by {
		if strings.HasPrefix(name, prefix) {
			n += times
		}
	}
	return n
}

// stores are the options by which a world's sides open their databases, so that each statement of
// a side is told to c, by a name if it is to have another.
func (c *calls) stores(side string, name func(sql string) string) postgres.Options {
	return postgres.Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &countedConn{Conn: conn, side: side, name: name, calls: c, prepared: map[string]string{}}, err
	}}
}

// of counts the calls of a world that runs, but for those of its database.
func (c *calls) of(w *world.World) {
	for _, witness := range w.Witnesses {
		serves := witness.Handler
		witness.Handler = http.HandlerFunc(func(res http.ResponseWriter, r *http.Request) {
			c.add("witness " + r.Method + " " + r.URL.Path)
			serves.ServeHTTP(res, r)
		})
	}
	w.Service.Registrar.Keys = countedKeys{w.Service.Registrar.Keys, c}
}

type countedKeys struct {
	disclose.Keys
	*calls
}

func (k countedKeys) UnwrapHalves(ctx context.Context, halves []disclose.Wrapped) ([][]byte, error) {
	k.add("keys UnwrapHalves")
	return k.Keys.UnwrapHalves(ctx, halves)
}

func (k countedKeys) OpenLinks(ctx context.Context, links []disclose.Wrapped) ([][]byte, error) {
	k.add("keys OpenLinks")
	return k.Keys.OpenLinks(ctx, links)
}

// countedConn reads what is sent to PostgreSQL (its protocol, version 3.0): a statement is named by
// its words, and each Bind is one execution of it.
type countedConn struct {
	net.Conn
	*calls
	side     string
	name     func(sql string) string // nil: its words
	ours     bool                    // it is of that side
	started  bool
	within   bool // a transaction
	rest     []byte
	prepared map[string]string
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.rest = append(c.rest, b...)
	for c.next() {
	}
	return c.Conn.Write(b)
}

func (c *countedConn) next() bool {
	at := 1
	if !c.started { // the first message has no kind
		at = 0
	}
	if len(c.rest) < at+4 {
		return false
	}
	end := at + int(binary.BigEndian.Uint32(c.rest[at:]))
	if len(c.rest) < end {
		return false
	}
	kind, body := byte(0), c.rest[at+4:end]
	if c.started {
		kind = c.rest[0]
	}
	c.message(kind, body)
	c.started = true
	c.rest = c.rest[end:]
	return true
}

func (c *countedConn) message(kind byte, body []byte) {
	text := func() string {
		s, rest, _ := bytes.Cut(body, []byte{0})
		body = rest
		return string(s)
	}
	switch {
	case !c.started:
		c.ours = bytes.Contains(body, []byte("penname_"+c.side+"\x00"))
	case !c.ours:
	case kind == 'Q':
		c.statement(text())
	case kind == 'P':
		name := text()
		c.prepared[name] = text()
	case kind == 'B':
		text()
		c.statement(c.prepared[text()])
	}
}

func (c *countedConn) statement(sql string) {
	if c.name != nil {
		c.add(c.name(sql))
		return
	}
	words := strings.Join(strings.Fields(sql), " ")
	if len(words) > 150 {
		words = words[:100] + " … " + words[len(words)-50:]
	}
	first, _, _ := strings.Cut(strings.ToLower(words), " ")
	switch {
	case first == "begin":
		c.within = true
	case first == "commit" || first == "rollback":
		c.within = false
		c.add(first)
	case !c.within && (first == "insert" || first == "update" || first == "delete"):
		c.add("commit") // of a statement that is a transaction of its own
		fallthrough
	default:
		c.add("sql " + words)
	}
}

// lines are what was counted, one name a line.
func lines(by map[string]int) string {
	var s strings.Builder
	for _, name := range slices.Sorted(maps.Keys(by)) {
		fmt.Fprintf(&s, "%4d %s\n", by[name], name)
	}
	return s.String()
}

var disclosureCalls = filepath.Join("testdata", "disclosure.calls")

// TestDisclosureCalls names whatever the disclosing side asks of its database, of witnesses and
// of the key service while a case is filed, decided and opened: what is added is named in
// testdata/disclosure.calls (go test -run TestDisclosureCalls -update). Jobs do the same now
// and then: so the count that most cases have counts.
func TestDisclosureCalls(t *testing.T) {
	const cases = 7
	var c calls
	w, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Log: io.Discard, Progress: io.Discard, People: crowd(), Stores: c.stores("disclosing", nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	c.of(w)
	var steps []string
	seen := map[string]map[string][]int{} // by step and name
	for n := range cases {
		s := &world.Case{World: w}
		threatened(t, s)
		for _, step := range stepsOf(s) {
			c.take()
			if err := step.do(t.Context()); err != nil {
				t.Fatal(step.name, err)
			}
			if n == 0 {
				steps = append(steps, step.name)
				seen[step.name] = map[string][]int{}
			}
			for name, times := range c.take() {
				seen[step.name][name] = append(seen[step.name][name], times)
			}
		}
	}
	var got strings.Builder
	for _, step := range steps {
		usual := map[string]int{}
		for name, times := range seen[step] {
			times = append(times, make([]int, cases-len(times))...)
			slices.Sort(times)
			n := times[cases/2]
			if strings.Contains(name, "JOIN log_hashes") {
				n = times[0] // an append at an odd size reads some, and one at an even size none
			}
			if n > 0 {
				usual[name] = n
			}
		}
		fmt.Fprintf(&got, "%s: %d statements, %d commits, %d cosignatures, %d calls of the key service\n%s\n",
			step, total(usual, "sql "), usual["commit"], total(usual, "witness "), total(usual, "keys "), lines(usual))
	}
	if *update {
		if err := os.WriteFile(disclosureCalls, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(disclosureCalls)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("a step does something else than %s names:\n%s", disclosureCalls, got.String())
	}
}

type step struct {
	name string
	do   func(context.Context) error
}

// stepsOf are the steps from a warrant that is drafted to a name that is read.
func stepsOf(s *world.Case) []step {
	return []step{{"file", s.File}, {"decide", approveBy(s, 0)}, {"decide, with the quorum", approveBy(s, 1)}, {"open", s.Open}}
}
