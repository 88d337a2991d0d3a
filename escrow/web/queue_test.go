package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/document"
)

// Under more requests than can be worked on the others wait; who finds the queue full, or waits
// too long, is told so at once and when to come again. What was begun ends, and when the load
// ends nobody waits any more.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEdge(t, &strings.Builder{})
		s.queue = newQueue(2, 3, 100)
		var done atomic.Int32
		goOn := make(chan struct{})
		s.Handle("POST", "/work", Form, Rate{}, func(w http.ResponseWriter, r *http.Request) error {
			body, err := io.ReadAll(r.Body)
			if <-goOn; err != nil || string(body) != "a=b" {
				t.Errorf("%q, %v", body, err)
			}
			done.Add(1)
			return nil
		})
		s.Handle("GET", "/patient", NoBody, Rate{}, func(http.ResponseWriter, *http.Request) error { <-goOn; return nil })
		s.Handle("GET", "/v1/court", NoBody, Rate{}, func(http.ResponseWriter, *http.Request) error { return nil })
		s.WaitsForOthers("/patient")
		answers := make(chan *httptest.ResponseRecorder, 10)
		work := func() {
			go func() {
				r := httptest.NewRequest("POST", "/work", strings.NewReader("a=b"))
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				answers <- w
			}()
			synctest.Wait()
		}
		refused := func(why string) {
			t.Helper()
			w := <-answers
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), `"server.busy"`) {
				t.Fatalf("%s: %d %s", why, w.Code, w.Body)
			}
		}
		for range 5 { // two are worked on, three wait
			work()
		}
		if len(answers) != 0 {
			t.Fatalf("answered before its turn: %v", <-answers)
		}
		work()
		refused("the sixth")
		body, sends := io.Pipe() // slowly, and takes no place
		go s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/work", body))
		go s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/patient", nil))
		for path, want := range map[string]int{"/healthz": http.StatusNoContent, "/v1/court": http.StatusOK} {
			if got := ask(s, "GET", path, "").Code; got != want {
				t.Errorf("%s under load: %d", path, got)
			}
		}
		time.Sleep(maxWait)
		for range 3 {
			refused("one that waited")
		}
		work() // waits, and gets its turn
		close(goOn)
		for range 3 {
			if w := <-answers; w.Code != http.StatusOK {
				t.Errorf("begun, and then %d", w.Code)
			}
		}
		began := time.Now()
		work()
		if w := <-answers; w.Code != http.StatusOK || time.Since(began) != 0 || done.Load() != 4 || s.queue.waiting.Load() != 0 {
			t.Errorf("after the load: %d, %d done, %d wait", w.Code, done.Load(), s.queue.waiting.Load())
		}
		io.WriteString(sends, "a=b") //nolint:errcheck // see done
		sends.Close()
		if synctest.Wait(); done.Load() != 5 {
			t.Error("who sent slowly was not served")
		}
	})
}

// Courts and the others take turns among themselves: neither they nor people keep the others from
// theirs. What they send is bounded by other means.
func TestCourtsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEdge(t, &strings.Builder{})
		s.queue, s.others = newQueue(1, 0, 9), newQueue(1, 0, 9)
		goOn := make(chan struct{})
		wait := func(http.ResponseWriter, *http.Request) error { <-goOn; return nil }
		s.Handle("GET", "/work", NoBody, Rate{}, wait)
		s.Handle("GET", registrar.PathWarrant, NoBody, Rate{}, wait)
		s.Handle("GET", registrar.PathLog+"/*", NoBody, Rate{}, wait)
		s.Handle("POST", registrar.PathWarrants, document.Bounds{Bytes: 8}, Filing, func(http.ResponseWriter, *http.Request) error { return nil })
		get := func(path string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			go s.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			synctest.Wait()
			return w
		}
		for _, first := range []string{"/v1/warrants/a", "/work"} {
			get(first)
		}
		for _, path := range []string{"/v1/warrants/b", "/log/checkpoint", "/work"} {
			if w := get(path); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" {
				t.Errorf("%s finds no place: %d %s", path, w.Code, w.Body)
			}
		}
		for _, r := range [][2]string{{"GET", "/healthz"}, {"GET", "/readyz"}, {"POST", registrar.PathWarrants}} {
			if w := ask(s, r[0], r[1], ""); w.Code >= 300 {
				t.Errorf("%s needs no place: %d %s", r, w.Code, w.Body)
			}
		}
		close(goOn)
		synctest.Wait()
		for _, path := range []string{"/v1/warrants/b", "/log/checkpoint", "/work"} {
			if w := get(path); w.Code != http.StatusOK {
				t.Errorf("%s afterwards: %d %s", path, w.Code, w.Body)
			}
		}
	})
}

// What is wrong with a body is said as without a queue.
func TestBodiesBeforeTheQueue(t *testing.T) {
	s := newEdge(t, &strings.Builder{})
	s.Handle("POST", "/form", document.Bounds{Bytes: 8}, Rate{}, func(_ http.ResponseWriter, r *http.Request) error { return r.ParseForm() })
	r := httptest.NewRequest("POST", "/form", strings.NewReader("a="+strings.Repeat("b", 10)))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	if s.ServeHTTP(w, r); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Whoever reads their answer slowly keeps nobody from theirs.
func TestSlowReadersKeepNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEdge(t, &strings.Builder{})
		s.queue = newQueue(1, 0, 1)
		read := make(chan struct{})
		s.Handle("GET", "/slow", NoBody, Rate{}, func(w http.ResponseWriter, _ *http.Request) error {
			_, err := w.Write([]byte("x"))
			<-read
			return err
		})
		s.Handle("GET", "/quick", NoBody, Rate{}, func(http.ResponseWriter, *http.Request) error { return nil })
		go s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/slow", nil))
		synctest.Wait()
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, httptest.NewRequest("GET", "/quick", nil)); w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		close(read)
	})
}

// Whoever waits for somebody else's server keeps nobody from their turn, and goes on when it has
// answered, in a turn of their own.
func TestWhoWaitsForAnotherKeepsNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEdge(t, &strings.Builder{})
		s.queue = newQueue(1, 0, 2)
		answers, goOn := make(chan struct{}), make(chan struct{})
		s.Handle("GET", "/slow", NoBody, Rate{}, func(w http.ResponseWriter, r *http.Request) error {
			return s.Aside(r.Context(), func() { <-answers })
		})
		s.Handle("GET", "/quick", NoBody, Rate{}, func(_ http.ResponseWriter, r *http.Request) error {
			return s.Aside(r.Context(), func() {})
		})
		s.Handle("GET", "/work", NoBody, Rate{}, func(http.ResponseWriter, *http.Request) error { <-goOn; return nil })
		get := func(path string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			go s.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			synctest.Wait()
			return w
		}
		slow := get("/slow")
		if w := get("/quick"); w.Code != http.StatusServiceUnavailable {
			t.Errorf("before anybody waits: %d", w.Code)
		}
		time.Sleep(2 * asideAfter)
		if w := get("/quick"); w.Code != http.StatusOK {
			t.Errorf("while another waits: %d %s", w.Code, w.Body)
		}
		answers <- struct{}{}
		if synctest.Wait(); slow.Code != http.StatusOK {
			t.Errorf("who waited: %d", slow.Code)
		}
		slow = get("/slow")
		time.Sleep(2 * asideAfter)
		get("/work")
		answers <- struct{}{}
		if synctest.Wait(); slow.Code != http.StatusServiceUnavailable {
			t.Errorf("who finds no place any more: %d", slow.Code)
		}
		close(goOn)
		synctest.Wait()
		if len(s.queue.of) != 0 || len(s.queue.working) != 0 {
			t.Errorf("%v kept, %d at work", s.queue.of, len(s.queue.working))
		}
	})
}

// One sender has a share of the places, and the others come in beside. What a page is made up
// with waits for nobody.
func TestOneSenderLeavesPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEdge(t, &strings.Builder{})
		s.queue = newQueue(2, 4, 3)
		goOn := make(chan struct{})
		s.Handle("GET", "/work", NoBody, Rate{}, func(http.ResponseWriter, *http.Request) error { <-goOn; return nil })
		get := func(sender, path string) *httptest.ResponseRecorder {
			r, w := httptest.NewRequest("GET", path, nil), httptest.NewRecorder()
			r.RemoteAddr = sender
			go s.ServeHTTP(w, r)
			synctest.Wait()
			return w
		}
		for range 3 {
			get("192.0.2.1:1", "/work")
		}
		if w := get("192.0.2.1:2", "/work"); w.Code != http.StatusTooManyRequests {
			t.Errorf("more than a share: %d", w.Code)
		}
		for range 3 {
			get("192.0.2.2:1", "/work")
		}
		for _, path := range []string{"/style.css", "/icon.svg"} {
			if w := get("192.0.2.3:1", path); w.Code != http.StatusOK || w.Body.Len() == 0 {
				t.Errorf("%s: %d", path, w.Code)
			}
		}
		if w := get("192.0.2.3:1", "/work"); w.Code != http.StatusServiceUnavailable {
			t.Errorf("one too many: %d", w.Code)
		}
		close(goOn)
		synctest.Wait()
		if w := get("192.0.2.1:1", "/work"); w.Code != http.StatusOK || len(s.queue.of) != 0 {
			t.Errorf("afterwards: %d, %v", w.Code, s.queue.of)
		}
	})
}
