package registrar

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/policy"
)

// G1: a client gave up an upload after 30 seconds, however well it moved.
func TestFoundG1AClientWaitsWhileBytesMove(t *testing.T) {
	const quiet = 300 * time.Millisecond
	small := func(c net.Conn) { // or the kernel takes it all at once
		c.(*net.TCPConn).SetReadBuffer(64 << 10)  //nolint:errcheck // the test says it
		c.(*net.TCPConn).SetWriteBuffer(64 << 10) //nolint:errcheck // likewise
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 64<<10)
		for tick := time.NewTicker(quiet / 30); ; { // a slow line
			if _, err := r.Body.Read(b); err != nil {
				break
			}
			<-tick.C
		}
		json.NewEncoder(w).Encode(CaseStatus{}) //nolint:errcheck // the client sees it
	}))
	srv.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { small(c); return ctx }
	srv.Start()
	defer srv.Close()
	client := NewHTTP(nil)
	if client.Timeout != 0 {
		t.Fatal("a transfer has a total time")
	}
	client.Transport.(*http.Transport).DialContext = nil
	client.Transport.(*http.Transport).Dial = func(network, address string) (net.Conn, error) { //nolint:staticcheck // the shorter of two
		conn, err := net.Dial(network, address)
		if err != nil {
			return nil, err
		}
		small(conn)
		return line{conn, quiet}, nil
	}
	var told []int64
	c := &Client{Server: srv.URL, HTTP: client, Now: time.Now, Progress: func(sent, total int64) {
		if told = append(told, sent); sent > total {
			t.Errorf("%d of %d", sent, total)
		}
	}}
	began := time.Now()
	_, err := c.FileWarrant(t.Context(), policy.Submission{Warrant: strings.Repeat("a", 8<<20)})
	if !errors.Is(err, ErrOtherAnswer) || time.Since(began) < quiet || len(told) < 10 {
		t.Errorf("%v after %v, told %d times", err, time.Since(began), len(told))
	}
}

func TestFoundG1ASilentLineIsGivenUp(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.ReadAll(line{conn, 50 * time.Millisecond}); err == nil {
		t.Error("a silent line is waited for")
	}
}
