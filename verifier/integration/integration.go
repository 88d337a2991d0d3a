package integration

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// ErrWrong is the refusal of an integration in which something is wrong.
var ErrWrong = refusal.New(refusal.Invalid, "integration.wrong",
	"The sign-in of this platform is not as it has to be; mend what is marked wrong, and examine it again.")

// ErrAddress is the refusal of addresses that cannot be examined.
var ErrAddress = refusal.New(refusal.Invalid, "integration.bad_address",
	"An address to examine is an absolute one with https, or with http on this machine, and an origin has no path.")

// Subject is what is examined. Only Start is needed.
type Subject struct {
	Start  string // address at the platform that begins a sign-in, or a page with a button that does
	Button string // the button's text, if the page has several
	// Callback is where the answer comes back to, if the request is pushed and so does not show it.
	Callback string
	// Logout is where the platform logs people out, BackChannelLogout where the issuer
	// tells it to (OpenID Connect Back-Channel Logout 1.0), Origin that of scripts that
	// call the issuer. What is "" is not examined.
	Logout, BackChannelLogout, Origin string

	// HTTP sends the requests. Its redirects and cookies are not used. Nil: the default transport.
	HTTP *http.Client
	Now  func() time.Time
}

// Grade is how grave a finding is.
type Grade string

// The grades. Wrong: people cannot sign in, or others can sign in as them. Unexamined:
// it may be right or wrong, which cannot be seen from outside.
const (
	OK         Grade = "ok"
	Warning    Grade = "warning"
	Wrong      Grade = "wrong"
	Unexamined Grade = "unexamined"
)

// Finding is the outcome of one check.
type Finding struct {
	Grade  Grade  `json:"grade"`
	Check  string `json:"check"`          // stable, such as "request.state"
	Means  string `json:"means"`          // what was seen and what follows
	Mend   string `json:"mend,omitempty"` // one sentence; "" if nothing is to be mended
	Source string `json:"source"`         // where a standard says so
}

// Report is what was found, in the order in which a sign-in meets it.
type Report struct {
	Start       string    `json:"start"`
	Issuer      string    `json:"issuer,omitempty"`
	ClientID    string    `json:"client_id,omitempty"`
	RedirectURI string    `json:"redirect_uri,omitempty"`
	Findings    []Finding `json:"findings"`
}

// Wrong reports whether anything is.
func (r *Report) Wrong() bool {
	for _, f := range r.Findings {
		if f.Grade == Wrong {
			return true
		}
	}
	return false
}

// String is the report for a person.
func (r *Report) String() string {
	var s strings.Builder
	count := map[Grade]int{}
	for _, f := range r.Findings {
		count[f.Grade]++
		fmt.Fprintf(&s, "%-10s  %s: %s\n", f.Grade, f.Check, f.Means)
		if f.Mend != "" {
			fmt.Fprintf(&s, "            mend: %s (%s)\n", f.Mend, f.Source)
		}
	}
	fmt.Fprintf(&s, "%d ok, %d to look at, %d wrong, %d not examined", count[OK], count[Warning], count[Wrong], count[Unexamined])
	return s.String()
}

// check is one question, with where a standard asks it.
type check struct{ name, source string }

// examination is one run of Examine.
type examination struct {
	Subject
	report Report
	issuer issuer
}

func (e *examination) find(g Grade, c check, means, mend string) {
	e.report.Findings = append(e.report.Findings, Finding{g, c.name, document.Printable(means), document.Printable(mend), c.source})
}

func (e *examination) ok(c check, means string)          { e.find(OK, c, means, "") }
func (e *examination) unexamined(c check, means string)  { e.find(Unexamined, c, means, "") }
func (e *examination) warn(c check, means, mend string)  { e.find(Warning, c, means, mend) }
func (e *examination) wrong(c check, means, mend string) { e.find(Wrong, c, means, mend) }

// Examine examines a platform. The error is [ErrAddress], or that of ctx; everything
// that is wrong with the platform is in the report.
func Examine(ctx context.Context, s Subject) (*Report, error) {
	for _, address := range []string{s.Start, s.Callback, s.Logout, s.BackChannelLogout} {
		if u, err := url.Parse(address); address != "" && (err != nil || !document.Secure(u, document.Localhost)) {
			return nil, ErrAddress
		}
	}
	if s.Start == "" || s.Origin != "" && !document.Origin(s.Origin, false, document.Localhost) {
		return nil, ErrAddress
	}
	e := &examination{Subject: s, report: Report{Start: s.Start}}
	within, cancel := context.WithTimeout(ctx, maxExamination)
	defer cancel()
	e.run(within)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &e.report, nil
}

func (e *examination) run(ctx context.Context) {
	first := e.begin(ctx)
	if !e.judgeStart(first) {
		return
	}
	e.report.ClientID, e.report.RedirectURI = first.params.Get("client_id"), cmp.Or(first.params.Get("redirect_uri"), e.Callback)
	e.judgeIssuer(ctx, first)
	e.judgeRegistry(ctx)
	e.judgeClock(first.last)
	e.judgeRequest(first)
	second := e.begin(ctx)
	e.judgeFresh(first, second)
	e.judgeAnswer(ctx, second)
	e.judgeCookies(first)
	e.judgeCallback(ctx, first)
	e.judgeLogout(ctx)
	e.judgeOrigin(ctx)
}
