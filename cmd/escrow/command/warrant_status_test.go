package command

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/registrar"
)

// A registrar that is older than exhibits has no address for them: the status of a case is
// said all the same, and of exhibits that they are unknown.
func TestStatusOfAnOlderRegistrar(t *testing.T) {
	answer := http.StatusNotFound
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/exhibits") {
			w.WriteHeader(answer)
			json.NewEncoder(w).Encode(registrar.Problem{Code: "server.no_such_page", Title: "no", Status: answer}) //nolint:errcheck // the program says so
			return
		}
		json.NewEncoder(w).Encode(registrar.CaseStatus{Case: "case", State: "recorded", Quorum: 2}) //nolint:errcheck // likewise
	}))
	defer server.Close()
	status := func(flags ...string) (string, int) {
		var out, errs bytes.Buffer
		code := Run(t.Context(), append([]string{"warrant", "status", "case", "--server", server.URL}, flags...),
			Env{Stdout: &out, Stderr: &errs, HTTP: server.Client(), Now: time.Now})
		return out.String() + errs.String(), code
	}
	if said, code := status(); code != 0 || !strings.Contains(said, "0 of 2 custodians approved") || !strings.Contains(said, "exhibits: unknown") {
		t.Error(code, said)
	}
	if said, code := status("--json"); code != 0 || !strings.Contains(said, `"exhibits_unknown": true`) {
		t.Error(code, said)
	}
	answer = http.StatusInternalServerError
	if said, code := status(); code != 1 {
		t.Error("a failure is one:", code, said)
	}
}
