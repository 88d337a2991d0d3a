package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/opening/openingtest"
)

// A clerk sees what is due first, what waits for them and by which file number they know it;
// of the inquiry the registrar can check who asks.
func TestWarrantList(t *testing.T) {
	c := newClerk(t)
	if out, errs, code := c.run(t.Context(), from(c.answers()), newArgs...); code != 0 {
		t.Fatal(code, out, errs)
	}
	if out, errs, code := c.run(t.Context(), nil, "warrant", "sign", "@/draft.json", "--key", "@/court.jwk", "--bundle", "@/bundle.json", "--out", "@/warrant.jws"); code != 0 {
		t.Fatal(code, out, errs)
	}
	signed, err := os.ReadFile(c.path("warrant.jws"))
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := c.world.Bundle.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	due := func(what string, hours int) *opening.Deadline {
		return &opening.Deadline{What: what, At: openingtest.Now.Add(time.Duration(hours) * time.Hour)}
	}
	var asked []*policy.Inquiry
	answer := registrar.Cases{Next: "17.4", Cases: []registrar.CaseStatus{
		{Case: "first", Kind: policy.Emergency, State: "released", Quorum: 2, Approvals: 2, Decided: 2, Next: due(opening.DeadlineValidation, 5), Waits: "validation, question, release", PenNames: 1},
		{Case: "second", Kind: policy.Production, State: "recorded", Quorum: 2, Next: due(opening.DeadlineAnswer, 200), Warrant: fmt.Sprintf("%x", policy.Hash(strings.TrimSpace(string(signed)))), PenNames: 2},
	}}
	var origin string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == registrar.PathBundle {
			json.NewEncoder(w).Encode(registrar.Bundle{Bundle: bundle}) //nolint:errcheck // the program says so
			return
		}
		var in registrar.Inquiry
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.URL.Path != registrar.PathMine || r.Method != http.MethodPost {
			t.Error(r.Method, r.URL, err)
		}
		var q policy.Inquiry
		if !document.ReadUnverified(in.Inquiry, &q) || q.Audience != origin {
			t.Errorf("%+v", q)
		}
		asked = append(asked, &q)
		json.NewEncoder(w).Encode(answer) //nolint:errcheck // likewise
	}))
	defer server.Close()
	origin = server.URL
	args := []string{"warrant", "list", "--key", "@/court.jwk", "--dir", "@/", "--server", server.URL}
	out, errs, code := c.run(t.Context(), nil, args...)
	want := `first
  EMERGENCY, released: 2 of 2 custodians approved
  due: the emergency is validated, or it lapses: ` + openingtest.Now.Add(5*time.Hour).Format("2006-01-02 15:04:05 UTC") + `, 5 hours left
  waits for you: it has to be validated, or it lapses: escrow warrant validate
  waits for you: a custodian has asked something: escrow warrant answer
  waits for you: it is released: whoever asked opens it with escrow warrant open
  pen names: 1
second
  production, recorded: 0 of 2 custodians approved
  due: the custodians answer: ` + openingtest.Now.Add(200*time.Hour).Format("2006-01-02 15:04:05 UTC") + `, 8 days left
  pen names: 2; TC 118 of 2026, in ` + c.path("warrant.jws") + `
there are more: escrow warrant list --from 17.4 …
`
	if code != 0 || out != want {
		t.Errorf("%d %s\n%s\nwant\n%s", code, errs, out, want)
	}
	out, errs, code = c.run(t.Context(), nil, append(args, "--json", "--authority", "court")...)
	if code != 0 || !strings.Contains(out, `"file_number": "TC 118 of 2026"`) || len(asked) != 2 || asked[0].Authority != "court" || asked[1].Authority != "court" || asked[0].ID == asked[1].ID {
		t.Error(code, out, errs)
	}
	answer = registrar.Cases{}
	if out, errs, code := c.run(t.Context(), nil, args...); code != 0 || out != "no case of court has a date to come\n" {
		t.Error(code, out, errs)
	}
	if _, errs, code := c.run(t.Context(), nil, "warrant", "list", "--server", server.URL); code != 2 || !strings.Contains(errs, "--key is needed") {
		t.Error(code, errs)
	}
}
