package translog_test

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/translog/translogtest"
)

// C2SP tlog-tiles, by its own example: "a tree of size 70,000 will be represented by 273 full
// level 0 tiles, one partial level 0 tile of width 112, one full level 1 tile, one partial level
// 1 tile of width 17, and one partial level 2 tile of width 1. Note that a tree of size 256 will
// be represented by a full level 0 tile and a partial level 1 tile of width 1."
func TestC2SPTlogTiles(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	h := w.publisher.Handler()
	get := func(path string) *httptest.ResponseRecorder {
		r := httptest.NewRecorder()
		h.ServeHTTP(r, httptest.NewRequest("GET", path, nil))
		return r
	}
	want := func(hashes int, path string, args ...any) {
		t.Helper()
		path = fmt.Sprintf(path, args...)
		r := get(path)
		if hashes == 0 {
			if r.Code != 404 {
				t.Errorf("%s is there", path)
			}
			return
		}
		if r.Code != 200 || r.Body.Len() != 32*hashes || r.Header().Get("Content-Type") != "application/octet-stream" || r.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" {
			t.Errorf("%s: %d, %d bytes, %v", path, r.Code, r.Body.Len(), r.Header())
		}
	}
	grow := func(from, to int) {
		t.Helper()
		var entries []translog.Entry
		for n := from; n < to; n++ {
			entries = append(entries, must(translog.Prepare(translogtest.Leaf(n)))(t))
		}
		if err := w.mem.Update(ctx, func(tx translog.Tx) error {
			_, err := translog.SequenceAll(ctx, tx, entries)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if c, err := w.publisher.Publish(ctx); err != nil || c.N != int64(to) {
			t.Fatal(c.N, err)
		}
	}
	grow(0, 256)
	want(256, "/tile/0/000")
	want(1, "/tile/1/000.p/1")
	want(0, "/tile/0/001.p/1")
	want(0, "/tile/2/000.p/1")
	grow(256, 70000)
	for n := range 273 {
		want(256, "/tile/0/%03d", n)
	}
	want(112, "/tile/0/273.p/112")
	want(256, "/tile/1/000")
	want(17, "/tile/1/001.p/17")
	want(1, "/tile/2/000.p/1")
	// "Empty tiles MUST NOT be served"; nothing is wider than it is, or has another name.
	for _, path := range []string{"/tile/0/273", "/tile/0/273.p/113", "/tile/0/273.p/0", "/tile/0/274.p/1", "/tile/1/001.p/18", "/tile/1/001", "/tile/2/000.p/2", "/tile/3/000.p/1", "/tile/0/0273", "/tile/0/x273",
		"/tile/0/x000/273.p/112", "/tile/0/273.p/0112", "/tile/00/000", "/tile/64/000", "/tile/entries/274.p/1", "/tile/entries/273"} {
		want(0, "%s", path)
	}
	// "All but the last path element MUST begin with an x": index 1234067 is x001/x234/067.
	want(0, "/tile/0/x001/x234/067")
	// "Logs MUST serve partial tiles corresponding to tree sizes for which a checkpoint was
	// produced": the one of size 256 is still there.
	want(1, "/tile/1/000.p/1")
	// "with Content-Type: text/plain; charset=utf-8"; "its headers SHOULD prevent caching beyond a
	// few seconds"
	if r := get("/checkpoint"); r.Code != 200 || r.Header().Get("Content-Type") != "text/plain; charset=utf-8" || r.Header().Get("Cache-Control") != "no-cache" {
		t.Error(r.Code, r.Header())
	}
	// "sequences of big-endian uint16 length-prefixed log entries"
	data := get("/tile/entries/273.p/112").Body.Bytes()
	for n := range 112 {
		leaf := must(translogtest.Leaf(273*256 + n).Marshal())(t)
		if size := int(data[0])<<8 | int(data[1]); size != len(leaf) || string(data[2:2+size]) != string(leaf) {
			t.Fatalf("entry %d is another", n)
		}
		data = data[2+len(leaf):]
	}
	if len(data) > 0 {
		t.Error("more than its entries")
	}
}

// F19: the log's storage is lost, with everything in it. An empty log under the same name and
// key is not begun: who starts cannot know it, and asks nobody; but no quorum cosigns it, so that
// nothing is published, proven or disclosed, however often it is tried, and the alarm is raised.
func TestF19ALostLogIsNotBegunAnew(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.append(0, 6)
	must(w.publisher.Publish(ctx))(t)
	w.mem = new(translogtest.Memory)
	p := w.open(w.mem)
	for size := range 3 {
		if _, err := p.Publish(ctx); !errors.Is(err, translog.ErrQuorum) || w.saved() != 0 {
			t.Errorf("%d leaves: %v, saved %d", size, err, w.saved())
		}
		translogtest.Append(t, w.mem.Update, size, size+1)
		if err := p.Await(ctx, int64(size)); !errors.Is(err, translog.ErrQuorum) {
			t.Errorf("leaf %d may be disclosed: %v", size, err)
		}
		if _, _, err := p.Prove(ctx, int64(size)); !errors.Is(err, translog.ErrNotYet) {
			t.Errorf("leaf %d is proven: %v", size, err)
		}
	}
	if w.alarmed(translog.ErrRollback) != 3 {
		t.Errorf("alarms: %v", w.alarms)
	}
}

// F22: the log was copied, and both copies go on with a writer each, as on a network file system
// without locks. Whichever publishes first wins; the witnesses cosign the other no more, and it
// says so.
func TestF22OfTwoCopiesOneGoesOn(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.append(0, 5)
	must(w.publisher.Publish(ctx))(t)
	copied := new(translogtest.Memory)
	translogtest.Append(t, copied.Update, 0, 5)
	size, signed, err := w.mem.Checkpoint(ctx)
	if err == nil {
		err = copied.SaveCheckpoint(ctx, size, signed)
	}
	if err != nil {
		t.Fatal(err)
	}
	second := w.open(copied)
	other := func(n int) {
		t.Helper()
		if err := copied.Update(ctx, func(tx translog.Tx) error {
			_, err := translog.Sequence(ctx, tx, translogtest.Leaf(1000+n))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	w.append(5, 7)
	other(5)
	if c, err := w.publisher.Publish(ctx); err != nil || c.N != 7 {
		t.Fatal(c.N, err)
	}
	for n := 6; n < 12; n++ { // smaller, as large, and larger than the one that won
		if _, err := second.Publish(ctx); !errors.Is(err, translog.ErrQuorum) {
			t.Errorf("the copy published %d leaves: %v", n, err)
		}
		other(n)
	}
	if w.alarmed(translog.ErrFork) != 3 {
		t.Errorf("alarms: %v", w.alarms)
	}
	w.append(7, 9)
	if c, err := w.publisher.Publish(ctx); err != nil || c.N != 9 || w.saved() != 9 {
		t.Error(c.N, err)
	}
}
