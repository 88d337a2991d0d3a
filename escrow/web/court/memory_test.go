package court

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/web"
)

// newSide serves the disclosing side without rules: a filing is refused once its
// body is decoded.
func newSide(t *testing.T) (*web.Server, *httptest.Server) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	edge, err := web.New(web.Config{Origin: "http://" + srv.Listener.Addr().String(), Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	store := new(disclosetest.Memory)
	Mount(edge, Config{Registrar: &disclose.Registrar{Cases: store, Rules: &disclose.Rules{Bundles: store}, Now: time.Now}, Board: &disclose.Board{}})
	srv.Config.Handler = edge
	srv.Start()
	t.Cleanup(srv.Close)
	return edge, srv
}

// Every route of the disclosing side says what it takes of a body.
func TestFoundR1EveryRouteHasALimit(t *testing.T) {
	edge, _ := newSide(t)
	mega := map[string]int64{"POST " + registrar.PathWarrants: 16 << 20, "POST " + registrar.PathDecisions: 5 << 20, "POST " + registrar.PathMessages: 64 << 10, "POST " + registrar.PathDeletion: 64 << 10, "POST " + registrar.PathNotices: 1 << 10, "POST " + registrar.PathObject: 180 << 10, "POST " + registrar.PathMine: 4 << 20,
		"POST " + registrar.PathStatements: 64 << 10, "POST " + registrar.PathSaid: 4 << 20, "POST " + registrar.PathAbsences: 64 << 10,
		"PUT " + registrar.PathExhibit: 21 << 20, "PUT " + registrar.PathCopy: 21 << 20, "PUT " + registrar.PathShort: 9 << 20}
	for route, limit := range edge.Limits() {
		most, takes := mega[route]
		if takes != (limit.Bytes > 0) || limit.Bytes > most || takes && (limit.Values == 0 || int64(limit.Text) > most) {
			t.Errorf("%s takes %+v", route, limit)
		}
		delete(mega, route)
	}
	if len(mega) > 0 {
		t.Errorf("not served: %v", mega)
	}
}

// H1: what stores something holds each sender to a rate.
func TestFoundH1EveryRouteThatStoresHasARate(t *testing.T) {
	edge, _ := newSide(t)
	for route, rated := range edge.Rated() {
		if stores := strings.HasPrefix(route, "POST ") || strings.HasPrefix(route, "PUT "); stores && !rated {
			t.Errorf("%s has no rate", route)
		}
	}
}

const serveForR1 = "PENNAME_TEST_R1"

// TestServeForR1 is the server of the next test, in a process of its own.
func TestServeForR1(t *testing.T) {
	if os.Getenv(serveForR1) == "" {
		return
	}
	_, srv := newSide(t)
	fmt.Println("listens on", srv.Listener.Addr())
	io.Copy(io.Discard, os.Stdin) //nolint:errcheck // until the other end is closed
}

// stream is the body of a filing with n elements as evidence, made while it is
// sent. Behind the first few it calls stalled and waits for goOn.
func stream(element string, n, first int, stalled func(), goOn <-chan struct{}) io.Reader {
	r, w := io.Pipe()
	go func() {
		b := bufio.NewWriterSize(w, 32<<10)
		b.WriteString(`{"warrant":"","evidence":[`) //nolint:errcheck // Flush says it
		for i := range n {
			if i == first {
				b.Flush() //nolint:errcheck // likewise
				stalled()
				<-goOn
			}
			if _, err := b.WriteString(element); err != nil {
				break // the service has heard enough
			}
		}
		b.WriteString(`""]}`) //nolint:errcheck // likewise
		w.CloseWithError(b.Flush())
	}()
	return r
}

// Forty filings of 15 MB cost less than 200 MiB together, and beside them the
// service says that it is well. One used to cost 354 MiB, and forty 9.9 GB.
func TestFoundR1FortyLargeFilingsAtOnce(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the kernel's count of a process's memory is read as Linux shows it")
	}
	for name, element := range map[string]string{
		"five million empty strings":         `"",`,
		"as many and as long as they may be": `"` + strings.Repeat("a", 1600) + `",`,
	} {
		t.Run(name, func(t *testing.T) {
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServeForR1$", "-test.v")
			child.Env = append(os.Environ(), serveForR1+"=1")
			stop, err := child.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			said, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { stop.Close(); child.Wait() }() //nolint:errcheck // it ends with its input
			answers, took := fortyFilings(t, "http://"+address(t, said), element)
			peak := peakMemory(t, child.Process.Pid)
			t.Logf("%d MiB at most; the health check took %v; answers: %v", peak>>20, took, answers)
			if peak > 200<<20 {
				t.Errorf("%d MiB", peak>>20)
			}
			if answers[http.StatusRequestEntityTooLarge]+answers[http.StatusServiceUnavailable] == 0 {
				t.Errorf("answers: %v", answers)
			}
		})
	}
}

func address(t *testing.T, said io.Reader) string {
	t.Helper()
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if _, addr, ok := strings.Cut(lines.Text(), "listens on "); ok {
			return addr
		}
	}
	t.Fatal("the server did not start")
	return ""
}

// fortyFilings posts until all are under way, asks for the health of the service,
// and lets them go on. It returns how many got which status; 0 is a connection
// that the service closed while we were sending.
func fortyFilings(t *testing.T, origin, element string) (map[int]int, time.Duration) {
	t.Helper()
	const n = 40
	var sending, all sync.WaitGroup
	sending.Add(n)
	goOn, statuses := make(chan struct{}), make(chan int, n)
	for range n {
		all.Go(func() {
			var status int
			r, err := http.NewRequest(http.MethodPost, origin+registrar.PathWarrants, stream(element, 15_000_000/len(element), 20_000/len(element), sending.Done, goOn)) //nolint:noctx // ends with the test
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set("Content-Type", "application/json")
			if res, err := http.DefaultClient.Do(r); err == nil {
				res.Body.Close()
				if status = res.StatusCode; status == http.StatusServiceUnavailable && res.Header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
			}
			statuses <- status
		})
	}
	sending.Wait()
	began := time.Now()
	res, err := http.Get(origin + "/healthz") //nolint:noctx // likewise
	took := time.Since(began)
	if err != nil || res.StatusCode != http.StatusNoContent || len(statuses) != 0 {
		t.Errorf("beside forty filings: %v, %v, %d of them over", res, err, len(statuses))
	}
	close(goOn)
	all.Wait()
	close(statuses)
	answers := map[int]int{}
	for s := range statuses {
		answers[s]++
	}
	return answers, took
}

// peakMemory is the most that a process had of the machine's memory, in bytes.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "VmHWM:")
	kb, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	n, err := strconv.Atoi(kb)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// A filing that finds no room is told to come again, and what it had taken is
// given back; small requests have room of their own.
func TestFoundR1ABusyServiceSaysSo(t *testing.T) {
	_, srv := newSide(t)
	goOn, stalled := make(chan struct{}), make(chan struct{}, 8)
	var all sync.WaitGroup
	post := func(path, body string) (int, error) {
		res, err := http.Post(srv.URL+path, "application/json", strings.NewReader(body)) //nolint:noctx // ends with the test
		if err != nil {
			return 0, err
		}
		return res.StatusCode, res.Body.Close()
	}
	element := `"` + strings.Repeat("a", 1<<20) + `",`
	for range 4 {
		all.Go(func() {
			body := stream(element, 15, 14, func() { stalled <- struct{}{} }, goOn)
			res, err := http.Post(srv.URL+registrar.PathWarrants, "application/json", body) //nolint:noctx // likewise
			if err == nil {
				res.Body.Close()
			}
		})
	}
	for range 4 {
		<-stalled
	}
	large := `{"evidence":["` + strings.Repeat("a", 1<<20) + `"` + strings.Repeat(`,"`+strings.Repeat("a", 1<<20)+`"`, 9) + `]}`
	if status, err := post(registrar.PathWarrants, large); err == nil && status != http.StatusServiceUnavailable {
		t.Errorf("without room: %d", status)
	}
	if status, err := post(registrar.Fill(registrar.PathMessages, "x"), `{}x`); err != nil || status != http.StatusBadRequest {
		t.Errorf("a small body beside it: %d, %v", status, err)
	}
	close(goOn)
	all.Wait()
	if status, err := post(registrar.PathWarrants, large); err != nil || status != http.StatusNotFound && status != http.StatusServiceUnavailable {
		t.Errorf("with room again: %d, %v", status, err)
	}
}
