package service

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/escrow/web/person"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// ErrFaults is the outcome of a check, or of a look at a running service, that found
// a fault.
var ErrFaults = refusal.New(refusal.Invalid, "config.faults",
	"not all is well: mend what is marked as a fault, each line says how, and look again")

// A Mark says how it is with a part.
type Mark string

// The marks. Only a fault keeps a service from its work.
const (
	OK       Mark = "ok"
	Warning  Mark = "warning" // it works, and will not for ever
	Fault    Mark = "fault"
	NotTried Mark = "not tried" // because a part that it needs has a fault
)

// A Finding is what is known of one part.
type Finding struct {
	Mark Mark   `json:"mark"`
	Part string `json:"part"` // as /readyz has it, if it is there

	// Of a fault, and of a warning that needs a hand: as registrar.Problem has them.
	Code  string `json:"code,omitempty"`
	Mend  string `json:"mend,omitempty"`
	Cause string `json:"cause,omitempty"`
	// The setting that is to be mended, if it is one, and where it stands.
	Setting string `json:"setting,omitempty"`
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`

	Ends *time.Time `json:"ends,omitempty"` // of what does
}

// String is the finding in one line.
func (f Finding) String() string {
	text := fmt.Sprintf("%-9s  %s", f.Mark, f.Part)
	if f.Code != "" {
		text += ": " + f.Code + ": " + f.Mend
	}
	if f.Ends != nil {
		text += fmt.Sprintf(": until %s, %.0f days", f.Ends.UTC().Format(time.DateOnly), time.Until(*f.Ends).Hours()/24)
	}
	if f.Cause != "" {
		text += " (" + f.Cause + ")"
	}
	return text
}

// Faults fails with [ErrFaults] if a finding is a fault.
func Faults(all []Finding) error {
	faults := 0
	for _, f := range all {
		if f.Mark == Fault {
			faults++
		}
	}
	if faults == 0 {
		return nil
	}
	return ErrFaults.Because(fmt.Errorf("%d of %d", faults, len(all)))
}

// warnings are the refusals of parts that work all the same.
var warnings = []error{errConfigChain, keep.ErrNoSnapshot, errOldCheckpoint, errInUse, errConfigLogout, errConfigKeys, errSomeRefused, errTracesAway}

// found is what an error says of a part; nil: all is well.
func found(part string, err error) Finding {
	f := Finding{Mark: OK, Part: part}
	if err == nil {
		return f
	}
	f.Mark = Fault
	if slices.ContainsFunc(warnings, func(w error) bool { return errors.Is(err, w) }) {
		f.Mark = Warning
	}
	e := refusal.Of(err)
	if e == nil {
		e = &refusal.Error{Code: "failed", Mend: err.Error()}
	}
	f.Code, f.Mend = e.Code, e.Mend
	if cause := e.Unwrap(); cause != nil {
		f.Cause = strings.Join(strings.Fields(cause.Error()), " ")
	}
	var at *fault
	if errors.As(e.Unwrap(), &at) {
		f.Setting, f.File, f.Line = at.setting, at.file, at.line
	}
	return f
}

// ending is what is known of what ends, beside what is known of the parts.
func ending(all []Finding, lifetimes []Lifetime, now time.Time) []Finding {
	for _, l := range lifetimes {
		at := slices.IndexFunc(all, func(f Finding) bool { return f.Part == l.What })
		if at < 0 {
			at, all = len(all), append(all, Finding{Mark: OK, Part: l.What})
		}
		if all[at].Ends = &l.Ends; l.Soon(now) && all[at].Mark == OK {
			all[at].Mark = Warning
		}
	}
	return all
}

// Check tries all that serving by a configuration file will need, one part after the
// other, whatever it finds. It serves nothing, publishes nothing and stores nothing,
// but that it logs in at Vault: a wrapping token gives its place in its file to the secret
// id, and a secret id that is due is renewed, both as a start does.
func Check(ctx context.Context, file string) []Finding {
	c, err := ReadConfig(file)
	if c == nil {
		return each(err)
	}
	o := c.opening(slog.New(slog.DiscardHandler))
	o.checking = true
	defer o.Close()
	if err != nil {
		all := each(err)
		for _, p := range append(c.parts(), o.trials()...) {
			all = append(all, Finding{Mark: NotTried, Part: p.name, Cause: "it needs configuration"})
		}
		return all
	}
	t := trying{opening: o, all: []Finding{{Mark: OK, Part: "configuration"}}}
	t.try(ctx, c.parts())
	t.try(ctx, o.trials())
	t.tryPlatforms(ctx)
	return ending(t.all, o.lifetimes(o.tokenKeys()), o.Now())
}

func (o *opening) tokenKeys() []openid.Key {
	if o.Issuing == nil {
		return nil
	}
	return o.Issuing.TokenKeys
}

// each is a finding for each fault of a configuration that cannot be used.
func each(err error) []Finding {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []Finding{found("configuration", err)}
	}
	var all []Finding
	for _, one := range joined.Unwrap() {
		all = append(all, found("configuration", one))
	}
	return all
}

type trying struct {
	*opening
	all []Finding
}

func (t *trying) try(ctx context.Context, parts []part) {
	for _, p := range parts {
		if lacks := t.lacks(p.needs); lacks != "" {
			t.all = append(t.all, Finding{Mark: NotTried, Part: p.name, Cause: "it needs " + lacks})
			continue
		}
		t.all = append(t.all, found(p.name, p.open(t.opening, ctx)))
	}
}

// lacks is the first of the parts that are needed and not there, or "".
func (t *trying) lacks(needs []string) string {
	for _, name := range needs {
		if slices.ContainsFunc(t.all, func(f Finding) bool { return f.Part == name && (f.Mark == Fault || f.Mark == NotTried) }) {
			return name
		}
	}
	return ""
}

// trials are what is tried beside the parts, which are opened before.
func (o *opening) trials() []part {
	all := []part{{"address", []string{"certificate"}, (*opening).tryAddress}}
	if o.config.MetricsListen != "" {
		all = append(all, part{"metrics", nil, (*opening).tryMetrics})
	}
	if o.config.RecordListen != "" {
		all = append(all, part{"record", []string{"certificate"}, (*opening).tryRecord})
	}
	if i := o.config.Issue; i != nil {
		needs := []string{"issue.cookie_key", "issue.token_keys", "issue.database"}
		for _, p := range i.IdentityProviders {
			needs = append(needs, "issue.identity_provider."+p.ID)
		}
		all = append(all, part{"issue.openid", needs, (*opening).tryOpenID},
			part{"issue.key_versions", []string{"issue.keys", "issue.database"}, func(o *opening, ctx context.Context) error {
				return keep.Current(ctx, o.Issuing.Keys, o.Issuing.Store)
			}})
	}
	if i := o.config.Issue; i != nil && i.EmailDomain != "" && !nobodys(i.EmailDomain) {
		all = append(all, part{"issue.email_domain", nil, (*opening).tryEmailDomain})
	}
	if o.config.Disclose != nil {
		all = append(all, part{"disclose.key_versions", []string{"disclose.keys", "disclose.database"}, func(o *opening, ctx context.Context) error {
			return keep.Current(ctx, o.Disclosing.Keys, o.Disclosing.Store)
		}}, part{"log", []string{"authorities", "bundle", "disclose.log_key", "disclose.database"}, (*opening).tryLog})
		if o.Bundle != nil {
			for _, w := range o.witnesses(o.Bundle) {
				name, _, _ := strings.Cut(w.VKey, "+")
				all = append(all, part{"witness " + name, []string{"log"}, func(o *opening, ctx context.Context) error {
					return of("bundle", o.publisher.Try(ctx, name))
				}})
			}
		}
	}
	if o.config.Keep != nil {
		needs := []string{"keep.keys", "keep.database"}
		all = append(all, part{"keep.key_versions", needs, func(o *opening, ctx context.Context) error {
			return keep.Current(ctx, o.Keeping.Keys, o.Keeping.Store)
		}}, part{"keep.snapshot", needs, func(o *opening, ctx context.Context) error {
			return keep.SnapshotFresh(ctx, o.Keeping.Store.NewestSnapshot, o.Now())
		}})
	}
	for n := range all {
		all[n].open = o.config.place(all[n].open)
	}
	return all
}

// checkCertificate tells what browsers will say of a certificate that can be read.
func (o *opening) checkCertificate() error {
	origin, err := url.Parse(o.Origin)
	if err != nil {
		return errConfigOrigin
	}
	chain, leaf := x509.NewCertPool(), o.Certificate.Leaf
	if len(o.config.TrustedProxies) > 0 {
		return nil // they alone see it
	}
	if leaf.VerifyHostname(origin.Hostname()) != nil {
		return of("tls_cert", errConfigHost.Because(fmt.Errorf("%s is for %s, and should be for %s", o.config.TLSCert, strings.Join(leaf.DNSNames, ", "), origin.Hostname())))
	}
	for _, der := range o.Certificate.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			chain.AddCert(c)
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Intermediates: chain, Roots: o.Authorities}); err != nil {
		return of("tls_cert", errConfigChain.Because(err))
	}
	return nil
}

// tryAddress tries the address to listen on, which may be in use by this service
// itself.
func (o *opening) tryAddress(ctx context.Context) error {
	ln, err := Listen(o.config.Listen)
	if err == nil {
		return ln.Close()
	}
	if servesAlready(ctx, o.config.Listen, o.Certificate.Leaf) {
		status, serr := o.config.Status(ctx)
		err = heldByPenname(serr, status.Config == o.config.path() && status.Listen == o.config.Listen)
	}
	return of("listen", err)
}

func (o *opening) tryMetrics(ctx context.Context) error {
	ln, err := Listen(o.config.MetricsListen)
	if err == nil {
		return ln.Close()
	}
	if status, serr := o.config.Status(ctx); !errors.Is(serr, errStatus) {
		err = heldByPenname(serr, status.Config == o.config.path())
	}
	return of("metrics_listen", err)
}

// tryRecord tries the public record's own address, which may be in use by this service itself.
func (o *opening) tryRecord(ctx context.Context) error {
	ln, err := Listen(o.config.RecordListen)
	if err == nil {
		return ln.Close()
	}
	if servesAlready(ctx, o.config.RecordListen, o.Certificate.Leaf) {
		status, serr := o.config.Status(ctx)
		err = heldByPenname(serr, status.Config == o.config.path() && status.RecordListen == o.config.RecordListen)
	}
	return of("record_listen", err)
}

// heldByPenname is what it means that a Penname listens at an address: nothing if it
// says that it is this one.
func heldByPenname(silent error, thisOne bool) error {
	switch {
	case silent != nil:
		return errInUse
	case !thisOne:
		return ErrListen.Because(errors.New("in use by a Penname that runs with another configuration"))
	}
	return nil
}

// servesAlready reports whether who listens there shows a certificate for one of the
// hosts of ours.
func servesAlready(ctx context.Context, address string, ours *x509.Certificate) bool {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // it is asked who it is, and told nothing
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer conn.Close()
	theirs := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
	return slices.ContainsFunc(ours.DNSNames, func(host string) bool { return theirs.VerifyHostname(host) == nil })
}

// tryOpenID puts the issuing side's pages together.
func (o *opening) tryOpenID(context.Context) error {
	edge, err := web.New(web.Config{Origin: o.Origin, Log: o.Log, Now: o.Now})
	if err != nil {
		return of("origin", err)
	}
	s := &Service{Parts: o.Parts, web: edge}
	return s.wireIssuing(o.Issuing)
}

// tryLogout posts to a platform's logout address what ends nothing: there is no token in it.
func (o *opening) tryLogout(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, http.NoBody)
	if err != nil {
		return errConfigLogout.Because(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := o.Issuing.HTTP.Do(req)
	if err != nil {
		return errConfigLogout.Because(err)
	}
	resp.Body.Close()
	switch s := resp.StatusCode; {
	case s >= 500, s >= 300 && s < 400, s == http.StatusNotFound, s == http.StatusMethodNotAllowed:
		return errConfigLogout.Because(fmt.Errorf("%s answers %d", address, s))
	}
	return nil
}

// tryKeys fetches the keys that a platform publishes, as its first request will.
func (o *opening) tryKeys(ctx context.Context, address string) error {
	if _, err := token.HTTPKeySource(address, o.Issuing.HTTP, o.Now)(ctx); err != nil {
		return errConfigKeys.Because(err)
	}
	return nil
}

// tryLog opens what the database holds of the public log.
func (o *opening) tryLog(ctx context.Context) error {
	log, err := o.Bundle.TrustedLog()
	if err != nil {
		return of("bundle", err)
	}
	o.publisher, err = translog.New(ctx, o.Disclosing.Store.Log, o.Disclosing.Signer, log, o.witnesses(o.Bundle), o.Now)
	if errors.Is(err, translog.ErrConfig) {
		return of("bundle", err)
	}
	return of("disclose.database_file", err)
}

// checkProvider tries, beyond what a start does, that an identity provider answers, knows
// this service and has the levels that are demanded of it.
func checkProvider(ctx context.Context, p person.Provider) error {
	at, err := proving(ctx, p)
	if tried, ok := at.(interface{ Check(context.Context) error }); err == nil && ok {
		err = tried.Check(ctx)
	}
	return err
}
