package command

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/opening"
)

// following plays a registrar that answers with these, one after the other, and then with the
// last one: a state, "away" for a proxy's page, or a code.
func following(t *testing.T, answers []string, args ...string) (out, errs string, code, asked int) {
	t.Helper()
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer := answers[min(int(n.Add(1)), len(answers))-1]
		switch {
		case answer == "away":
			http.Error(w, "Bad gateway", http.StatusBadGateway)
		case strings.Contains(answer, "."):
			w.WriteHeader(http.StatusNotFound)
			json.NewEncoder(w).Encode(registrar.Problem{Code: answer, Title: "no", Status: http.StatusNotFound}) //nolint:errcheck // the program says so
		default:
			json.NewEncoder(w).Encode(registrar.CaseStatus{Case: "case", State: answer, Quorum: 2, //nolint:errcheck // likewise
				Deadlines: []opening.Deadline{{What: opening.DeadlineExpiry, At: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}}})
		}
	}))
	defer server.Close()
	var o, e bytes.Buffer
	code = Run(t.Context(), append([]string{"warrant", "status", "case", "--server", server.URL, "--watch", "--every", "1ms"}, args...),
		Env{Stdout: &o, Stderr: &e, HTTP: server.Client(), Now: time.Now})
	return o.String(), e.String(), code, int(n.Load())
}

// A line for each change, also when the registrar was away in between, until the case ends.
func TestStatusIsWatched(t *testing.T) {
	for name, c := range map[string]struct {
		answers []string
		args    []string
		code    int
		lines   []string
		says    string
	}{
		"to its end":               {[]string{"recorded", "recorded", "authorised", "away", "away", "released", "released", "noticed"}, nil, 0, []string{"recorded", "authorised", "released", "noticed"}, ""},
		"until it is released":     {[]string{"away", "recorded", "released"}, []string{"--until", "released"}, 0, []string{"recorded", "released"}, ""},
		"it ends otherwise":        {[]string{"recorded", "declined"}, []string{"--until", "released"}, 1, []string{"recorded", "declined"}, "warrant.ended_otherwise"},
		"there is none":            {[]string{"case.unknown"}, nil, 1, nil, "case.unknown"},
		"a state that is none":     {[]string{"recorded"}, []string{"--until", "open"}, 2, nil, "--until takes a state: recorded, "},
		"an interval that is none": {[]string{"recorded"}, []string{"--every", "0s"}, 2, nil, "--every"},
	} {
		for _, asJSON := range []bool{false, true} {
			args := c.args
			if asJSON {
				args = append([]string{"--json"}, args...)
			}
			out, errs, code, _ := following(t, c.answers, args...)
			lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
			if out == "" {
				lines = nil
			}
			if code != c.code || !strings.Contains(errs, c.says) || len(lines) != len(c.lines) || c.says == "" && errs != "" {
				t.Errorf("%s: %d %s%s", name, code, out, errs)
				continue
			}
			for i, want := range c.lines {
				st := registrar.CaseStatus{}
				if asJSON && (json.Unmarshal([]byte(lines[i]), &st) != nil || st.State != want) ||
					!asJSON && !strings.Contains(lines[i], " UTC  "+want+": 0 of 2 custodians approved; next, ") {
					t.Errorf("%s: %s, not %s", name, lines[i], want)
				}
			}
		}
	}
}

// Ctrl-C ends it, with the code of what was interrupted.
func TestAWatchIsInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		stop()
		http.Error(w, "Bad gateway", http.StatusBadGateway)
	}))
	defer server.Close()
	var o, e bytes.Buffer
	if code := Run(ctx, []string{"warrant", "status", "case", "--server", server.URL, "--watch"}, Env{Stdout: &o, Stderr: &e, HTTP: server.Client(), Now: time.Now}); code != 130 || o.Len() > 0 {
		t.Error(code, o.String(), e.String())
	}
}
