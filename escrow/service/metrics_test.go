package service

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/verifier/rules"
)

// What is held back shows when its period is over, all of it at once, and not with the
// next event.
func TestTallyHoldsBack(t *testing.T) {
	tally := newTally[string](24 * time.Hour)
	noon := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	times := func(at time.Time) string {
		var all []string
		shown := tally.show(at)
		for _, k := range slices.Sorted(maps.Keys(shown)) {
			h := shown[k]
			all = append(all, k+" "+strconv.FormatUint(h.times(), 10))
		}
		return strings.Join(all, ", ")
	}
	tally.add(noon, "person", true, 50*time.Millisecond)
	tally.add(noon, "court", false, time.Second)
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{noon, "court 1"},
		{noon.Add(12*time.Hour - time.Nanosecond), "court 1"},
		{noon.Add(-24 * time.Hour), "court 1"}, // a clock that went back
		{noon.Add(12 * time.Hour), "court 1, person 1"},
	} {
		if got := times(c.at); got != c.want {
			t.Errorf("%v: %s, want %s", c.at, got, c.want)
		}
	}
	tally.add(noon.Add(13*time.Hour), "person", true, time.Minute)
	tally.add(noon.Add(35*time.Hour), "person", true, time.Minute)
	if got := times(noon.Add(35 * time.Hour)); got != "court 1, person 1" {
		t.Error(got)
	}
	tally.add(noon.Add(37*time.Hour), "person", true, 0)
	if got := times(noon.Add(37 * time.Hour)); got != "court 1, person 3" {
		t.Error(got)
	}
	if h := tally.show(noon)["person"]; h != (histogram{1, 0, 0, 0, 2}) {
		t.Error("by duration:", h)
	}
}

func (r *reloading) read(body io.Reader) string {
	r.t.Helper()
	all, err := io.ReadAll(body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(all)
}

func (r *reloading) scrape() string {
	w := httptest.NewRecorder()
	r.s.Metrics().ServeHTTP(w, httptest.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://localhost/metrics", nil))
	return r.read(w.Body)
}

// fakeVault is what of keys at a real Vault is used here.
type fakeVault struct{ told vault.Called }

func (f *fakeVault) OnCall(told vault.Called) { f.told = told }

func TestVaultFailuresAreCounted(t *testing.T) {
	r := newReloading(t)
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	r.s.Now = func() time.Time { return now }
	issuing, disclosing := &fakeVault{}, &fakeVault{}
	r.s.countCalls(sideIssue, issuing)
	r.s.countCalls(sideDisclose, disclosing)
	r.s.countCalls(sideKeep, nil) // the sandbox's keyring tells nothing
	issuing.told(t.Context(), "hmac", time.Second, true)
	disclosing.told(t.Context(), "decrypt", time.Second, false)
	for _, c := range []struct {
		later                    time.Duration
		failed, issued, disclose string
	}{{0, "0", "0", "1"}, {time.Minute, "1", "0", "1"}, {12 * time.Hour, "1", "1", "1"}} {
		now = now.Add(c.later)
		said := r.scrape()
		for _, want := range []string{
			`penname_vault_call_failures_total{operation="hmac",side="issue"} ` + c.failed, `penname_vault_call_failures_total{operation="decrypt",side="disclose"} 0`,
			`penname_vault_call_duration_seconds_count{operation="hmac",side="issue"} ` + c.issued, `penname_vault_call_duration_seconds_count{operation="decrypt",side="disclose"} ` + c.disclose,
		} {
			if !strings.Contains(said, want+"\n") {
				t.Errorf("after %v: no %s", c.later, want)
			}
		}
		if strings.Contains(said, `side="keep"`) {
			t.Error("calls of no Vault")
		}
	}
}

// The rules of alarms name the codes that are counted from zero, and no others: of what begins
// with its first event no increase is seen.
func TestAlarmsAreCountedFromZero(t *testing.T) {
	raw, err := os.ReadFile("../../deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, codes := range regexp.MustCompile(`code=~?"([^"]+)"`).FindAllStringSubmatch(string(raw), -1) {
		for code := range strings.SplitSeq(codes[1], "|") {
			named[strings.ReplaceAll(code, `\\.`, ".")] = true
		}
	}
	if is := slices.Sorted(maps.Keys(named)); !slices.Equal(is, slices.Sorted(slices.Values(watched))) || len(is) < 9 {
		t.Errorf("rules name %q, and %q are watched", is, watched)
	}
	r := newReloading(t)
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	r.s.Now = func() time.Time { return now }
	counts := func(want ...string) {
		t.Helper()
		now = now.Add(time.Minute)
		said := r.scrape()
		for _, line := range want {
			if !strings.Contains(said, line+"\n") {
				t.Errorf("no %s", line)
			}
		}
	}
	var zeros []string
	for _, code := range watched {
		zeros = append(zeros, `penname_faults_total{code="`+code+`"} 0`)
	}
	for _, j := range Jobs {
		for _, code := range tampered {
			zeros = append(zeros, `penname_job_failures_total{code="`+code+`",job_name="`+j.Name+`"} 0`)
		}
	}
	counts(zeros...)
	r.s.web.Refused = r.s.refused
	fork := translog.ErrFork.Because(errors.New("another root"))
	r.s.web.NoteRefusal(t.Context(), "POST /v1/warrants", fork.Code, false, fork) // answered 409
	r.s.web.NoteRefusal(t.Context(), "GET /me", "test.unavailable", true, errors.Join(errors.New("no refusal"), rules.ErrUnknown.Because(fork), postgres.ErrDamaged))
	r.s.web.NoteRefusal(t.Context(), "POST /v1/warrants", "test.denied", false, rules.ErrUnknown)
	counts(`penname_faults_total{code="log.fork"} 2`, `penname_faults_total{code="database.damaged"} 1`, `penname_faults_total{code="rules.unknown"} 1`,
		`penname_faults_total{code="test.unavailable"} 1`, `penname_refusals_total{code="test.denied"} 1`)
	r.s.done.ended("cases", errors.Join(translog.ErrQuorum, rules.ErrUnknown.Because(fork), keep.ErrRollback, keep.ErrRollback))
	r.s.done.ended("cases", errors.New("no refusal"))
	counts(`penname_job_failures_total{code="log.fork",job_name="cases"} 1`, `penname_job_failures_total{code="keys.rollback",job_name="cases"} 1`,
		`penname_job_failures_total{code="log.quorum_not_met",job_name="cases"} 1`, `penname_job_failures_total{code="other",job_name="cases"} 1`)
}

// By one witness's word against the log the alarm fires, and the job that publishes it does not
// fail.
func TestWhatAWitnessSaysIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &done{}
		d.doubted(translog.ErrFork) // before the first run
		time.Sleep(time.Hour)
		d.begun("cases")
		for _, said := range []error{translog.ErrWitness.Because(errors.New("refused")), errors.New("timeout"), translog.ErrRollback.Because(errors.New("more")), translog.ErrForgot} {
			d.doubted(said)
		}
		d.ended("cases", nil)
		if o := d.all()["cases"]; time.Since(o.last) != 0 || !maps.Equal(o.failures, map[string]uint64{"log.fork": 1, "log.rollback": 1, "log.witness_forgot": 1}) {
			t.Errorf("%+v", o)
		}
	})
}

// authority issues certificates of clients.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := authority{&x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "those who watch"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, key}
	a.certificate.Raw, err = x509.CreateCertificate(rand.Reader, a.certificate, a.certificate, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}))
}

func (a authority) pool(t *testing.T) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(a.pem())) {
		t.Fatal("not a certificate")
	}
	return pool
}

func (a authority) issue(t *testing.T, use x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{use}}
	der, err := x509.CreateCertificate(rand.Reader, c, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Whoever is not on this machine shows a certificate of the configured authority, or
// learns nothing. Authority and the service's own certificate are read again.
func TestMetricsAskForACertificate(t *testing.T) {
	r := newReloading(t)
	ours, theirs := newAuthority(t), newAuthority(t)
	r.put("metrics-ca.pem", ours.pem())
	r.put("escrowd.toml", `metrics_listen = "0.0.0.0:9464"`+"\nmetrics_client_ca_file = \""+r.folder+"/metrics-ca.pem\"\n"+r.config(`{file = "first.jwk"}`))
	r.log.until(t, readAgain("authority of those who read metrics"))
	ln, err := r.s.listenForMetrics(&Config{MetricsListen: "127.0.0.1:0", MetricsClientCA: "metrics-ca.pem"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, r.s.Metrics()) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	get := func(certificates ...tls.Certificate) (string, *tls.ConnectionState, error) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certificates}}}
		res, err := client.Get("https://" + ln.Addr().String() + "/metrics")
		if err != nil {
			return "", nil, err
		}
		defer res.Body.Close()
		return r.read(res.Body), res.TLS, nil
	}
	good := ours.issue(t, x509.ExtKeyUsageClientAuth)
	if said, _, err := get(good); err != nil || !strings.Contains(said, "penname_build_info") {
		t.Fatal(err, said)
	}
	for name, certificates := range map[string][]tls.Certificate{
		"none": nil, "of another authority": {theirs.issue(t, x509.ExtKeyUsageClientAuth)}, "of a server": {ours.issue(t, x509.ExtKeyUsageServerAuth)},
	} {
		if said, _, err := get(certificates...); err == nil {
			t.Errorf("certificate %s: %s", name, said)
		}
	}
	res, err := http.Get("http://" + ln.Addr().String() + "/metrics")
	if err == nil {
		if said := r.read(res.Body); res.StatusCode == http.StatusOK || strings.Contains(said, "penname_") {
			t.Error("plain HTTP:", said)
		}
		res.Body.Close()
	}

	r.putCertificate(".", 7, time.Now().AddDate(0, 3, 0))
	r.log.until(t, readAgain("certificate"))
	if _, state, err := get(good); err != nil || state.PeerCertificates[0].SerialNumber.Int64() != 7 {
		t.Error("the renewed certificate:", err)
	}
	r.put("metrics-ca.pem", "nothing")
	r.log.until(t, refusedAgain("authority of those who read metrics", "config.bad_metrics_client_ca"))
	if _, _, err := get(good); err != nil {
		t.Error("what was there before stays in force:", err)
	}
	r.put("metrics-ca.pem", theirs.pem())
	r.log.until(t, readAgain("authority of those who read metrics"))
	if said, _, err := get(good); err == nil {
		t.Error("of the authority of before:", said)
	}
	r.put("escrowd.toml", r.config(`{file = "first.jwk"}`)) // at the next start: until then nobody else may
	r.log.until(t, map[string]any{"msg": "the configuration has changes that take effect at the next start"})
	r.log.until(t, readAgain("authority of those who read metrics"))
	if pool := r.s.live.metricsCA.Load(); pool == nil || !pool.Equal(theirs.pool(t)) {
		t.Error("the authority is forgotten while the listener is there")
	}
}

// The level of the log is read again, and nothing has to be started for it.
func TestLogLevelIsReadAgain(t *testing.T) {
	r := newReloading(t)
	whole := r.config(`{file = "first.jwk"}`)
	r.put("escrowd.toml", "log_level = \"debug\"\n"+whole)
	r.log.until(t, readAgain("log level"))
	r.s.Log.Debug("a detail", slog.Duration("took", 1234567*time.Microsecond))
	r.log.until(t, map[string]any{"msg": "a detail", "took": "1.235s"})
	r.put("escrowd.toml", "log_level = \"loud\"\n"+whole)
	r.log.until(t, refusedAgain("configuration", "config.bad_log_level"))
	if !r.s.Log.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("what was there before does not stay in force")
	}
}

// TestOneLineAtTheStartAndOneAtTheStop: which program it is, what it does and where; and
// why it stopped, after how long.
func TestOneLineAtTheStartAndOneAtTheStop(t *testing.T) {
	var logs bytes.Buffer
	s := &Service{Parts: Parts{Log: NewLog(&logs, slog.LevelInfo), Now: time.Now, Origin: "https://penname.example"}, counted: newCounted()}
	var err error
	if s.web, err = web.New(web.Config{Origin: s.Origin, Log: s.Log, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errors.New("terminated"))
	if err := s.Run(ctx, ln, Machine{}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(logs.String()), "\n")
	for _, want := range []string{`"msg":"serving"`, `"version":`, `"origin":"https://penname.example"`, `"sides":`, `"address":"127.0.0.1:`, `"schema":`} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("no %s: %s", want, lines[0])
		}
	}
	for _, want := range []string{`"msg":"stopped"`, `"ran":"0s"`, `"why":"terminated"`} {
		if last := lines[len(lines)-1]; !strings.Contains(last, want) {
			t.Errorf("no %s: %s", want, last)
		}
	}
}

// BenchmarkCounted is what the metrics cost each request.
func BenchmarkCounted(b *testing.B) {
	s := &Service{Parts: Parts{Now: time.Now}, counted: newCounted()}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s.answered("GET /me", time.Millisecond)
		}
	})
}

// TestMetricsAnswerNoOtherSite: a page that a browser on this machine has open reads
// nothing, by whatever name it leads the browser here. Where people come, nothing shows
// of what a process uses; elsewhere it does.
func TestMetricsAnswerNoOtherSite(t *testing.T) {
	r := newReloading(t)
	for _, c := range []struct {
		host, header, value string
		want                int
	}{
		{"localhost:9464", "", "", 200}, {"127.0.0.1", "", "", 200}, {"[::1]:9464", "", "", 200}, {"127.0.0.2:9464", "Sec-Fetch-Site", "none", 200},
		{"evil.example", "", "", 403}, {"evil.example:9464", "", "", 403}, {"localhost.evil.example", "", "", 403}, {"192.0.2.1", "", "", 403}, {"", "", "", 403},
		{"localhost", "Origin", "https://evil.example", 403}, {"localhost", "Sec-Fetch-Site", "cross-site", 403}, {"localhost", "Sec-Fetch-Site", "same-site", 403},
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
		req.Host = c.host
		if c.header != "" {
			req.Header.Set(c.header, c.value)
		}
		w := httptest.NewRecorder()
		r.s.Metrics().ServeHTTP(w, req)
		if said := r.read(w.Body); w.Code != c.want || strings.Contains(said, "penname_") != (c.want == 200) {
			t.Errorf("%+v: %d %.80s", c, w.Code, said)
		}
	}
	if said := r.scrape(); strings.Contains(said, "process_open_fds") || strings.Contains(said, "go_goroutines") || !strings.Contains(said, "process_start_time_seconds") {
		t.Error("of the issuing side:", said)
	}
	r.s.Issuing = nil
	if said := r.scrape(); !strings.Contains(said, "process_open_fds") {
		t.Error("of another side:", said)
	}
}
