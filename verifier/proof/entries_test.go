package proof_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/penname/penname/verifier/proof"
)

// slowServer serves files slowly and counts how many it serves at once, and each of them.
type slowServer struct {
	next      http.Handler
	mu        sync.Mutex
	now, most int
	served    map[string]int
}

func (c *slowServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.now++
	c.most, c.served[r.URL.Path] = max(c.most, c.now), c.served[r.URL.Path]+1
	c.mu.Unlock()
	time.Sleep(time.Millisecond)
	c.next.ServeHTTP(w, r)
	c.mu.Lock()
	c.now--
	c.mu.Unlock()
}

// A log of several groups is read with several requests at once, but never many: whoever
// audits is no attack. Each tile is fetched once, but for those that the first groups need
// at the same time.
func TestAuditFetchesInParallelAndBounded(t *testing.T) {
	const size = 20_000
	w := newWorld(t).grow(size)
	files := w.files()
	c := &slowServer{next: http.FileServerFS(files), served: make(map[string]int)}
	srv := httptest.NewServer(c)
	defer srv.Close()
	r, err := w.log.Audit(t.Context(), must(proof.Fetch(srv.URL, nil))(t), options())
	if err != nil || r.Leaves != size {
		t.Fatalf("%v after %d", err, r.Leaves)
	}
	if c.most < 2 || c.most > 8 {
		t.Errorf("%d requests at once", c.most)
	}
	for path := range files {
		shared := path == "checkpoint" || strings.HasPrefix(path, "tile/1/") || strings.Contains(path, ".p/")
		if n := c.served["/"+path]; n == 0 || n > 1 && !shared || n > 3 {
			t.Errorf("%s was fetched %d times", path, n)
		}
	}
}

// What is wrong in a later group is found in its place, and what comes before it counts.
func TestAuditFindsWhatIsWrongInALaterGroup(t *testing.T) {
	const size, wrong = 20_000, 9_000
	w := newWorld(t).grow(size)
	files := w.files()
	tile := "tile/entries/035" // of the leaf 9,000
	b := flip(files[tile].Data, 8*(len(files[tile].Data)*(wrong%256)/256)+8*60)
	files[tile] = &fstest.MapFile{Data: b}
	r, err := w.log.Audit(t.Context(), w.tiles(files), options())
	var at *proof.IndexError
	if !errors.Is(err, proof.ErrTile) || !errors.As(err, &at) || at.Index != wrong || r.Leaves != wrong {
		t.Fatalf("%v, at %+v, after %d", err, at, r.Leaves)
	}
}

// A reader who has seen more than the tree holds is told so, not that there is nothing new.
func TestEachLeafBehindTheTree(t *testing.T) {
	w := newWorld(t).grow(300)
	tree := w.checkpoint(300).Tree
	for _, from := range []int64{0, 17, 256, 299, 300, 301} {
		next := from
		err := proof.EachLeaf(t.Context(), w.tiles(w.files()), tree, from, func(index int64, _ proof.Leaf) {
			if index != next {
				t.Errorf("leaf %d, want %d", index, next)
			}
			next++
		})
		if from > 300 && !errors.Is(err, proof.ErrFetch) || from <= 300 && (err != nil || next != 300) {
			t.Errorf("from %d to %d: %v", from, next, err)
		}
	}
}
