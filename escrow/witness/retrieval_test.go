package witness_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/penname/penname/escrow/witness"
)

// C2SP tlog-witness, "Monitor Retrieval Mechanism": "The response body MUST be a checkpoint for
// the log identified by the origin, and it MUST include the cosignature(s) from the witness's
// key(s) that were returned from add-checkpoint and the cosignature from the log key(s) that
// the witness verified."; "If the witness has never cosigned a checkpoint for that log, it MUST
// respond with a 404".
func TestC2SPWitnessServesItsNewestCheckpoint(t *testing.T) {
	w := newWorld(t).grow(9)
	sum := sha256.Sum256([]byte(origin))
	path := "/" + hex.EncodeToString(sum[:]) + "/checkpoint"
	get := func(h http.Handler, method, path string) *httptest.ResponseRecorder {
		r := httptest.NewRecorder()
		h.ServeHTTP(r, httptest.NewRequest(method, path, nil))
		return r
	}
	s := &store{}
	alba := newWitness(t, w, s)
	if r := get(alba, "GET", path); r.Code != http.StatusNotFound {
		t.Errorf("before it cosigned: %d", r.Code)
	}
	// What comes with the checkpoint is not shown: a stranger's line, and one that claims to be
	// the witness's own (M14).
	forged := "— " + w.names[0] + " " + strings.Repeat("A", 104) + "\n"
	stranger := "— someone.example AAAAAAAA\n"
	added := post(alba, w.request(0, 5)+stranger+forged)
	if added.Code != http.StatusOK {
		t.Fatal(added.Code, added.Body)
	}
	policy := torchwood.ThresholdPolicy(3, torchwood.OriginPolicy(origin), torchwood.SingleVerifierPolicy(must(note.NewVerifier(w.vkey))(t)),
		torchwood.SingleVerifierPolicy(must(torchwood.NewCosignatureVerifier(alba.VKey()))(t)))
	shown := func(h *witness.Witness) string {
		r := get(h, "GET", path)
		c, n, err := torchwood.VerifyCheckpoint(r.Body.Bytes(), policy)
		if r.Code != http.StatusOK || err != nil || c.N != 5 || c.Tree != w.checkpoint(5).Tree || len(n.Sigs) != 2 || len(n.UnverifiedSigs) != 0 {
			t.Errorf("%d %s: %v", r.Code, r.Body, err)
		}
		if r.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Error(r.Header())
		}
		return r.Body.String()
	}
	if body := shown(alba); !strings.HasSuffix(body, "\n"+added.Body.String()) {
		t.Errorf("another cosignature than the one that was returned: %s", body)
	}
	shown(newWitness(t, w, s)) // after a restart
	other := sha256.Sum256([]byte("log.example/elsewhere"))
	for _, c := range [][2]string{{"GET", "/" + hex.EncodeToString(other[:]) + "/checkpoint"}, {"GET", strings.ToUpper(path)}, {"GET", "/checkpoint"}, {"POST", path}} {
		if r := get(alba, c[0], c[1]); r.Code != http.StatusNotFound {
			t.Errorf("%v: %d", c, r.Code)
		}
	}
	s.fault = "cannot be read"
	alarms := 0
	alba.Alarm = func(error) { alarms++ }
	if r := get(alba, "GET", path); r.Code != http.StatusServiceUnavailable || alarms != 1 {
		t.Errorf("a state that cannot be read: %d, %d alarms", r.Code, alarms)
	}
}
