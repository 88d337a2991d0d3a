package witness_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/witness"
)

// A witness cosigns what only adds to what it has seen, and remembers it across a
// restart.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "witness")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	log := newWorld(new(testing.T)).grow(9) // somebody's log, of nine leaves
	state := filepath.Join(dir, "state")
	if err := witness.InitFiles(state); err != nil { // once in its life
		fmt.Println(err)
		return
	}
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", ed25519.SeedSize)))
	for _, step := range [][2]int64{{0, 5}, {5, 9}, {0, 3}} {
		files, err := witness.OpenFiles(state)
		if err != nil {
			fmt.Println(err)
			return
		}
		w, err := witness.New(context.Background(), "witness.example/alder", key, origin, log.vkey, files, func() time.Time { return noon })
		if err != nil {
			fmt.Println(err)
			return
		}
		answer := httptest.NewRecorder() // witness.Serve does it on a listener
		w.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/add-checkpoint", strings.NewReader(log.request(step[0], step[1]))))
		fmt.Printf("from %d to %d: %d\n", step[0], step[1], answer.Code)
		if err := files.Close(); err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// from 0 to 5: 200
	// from 5 to 9: 200
	// from 0 to 3: 409
}
