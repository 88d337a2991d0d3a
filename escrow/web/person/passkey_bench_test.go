package person

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/passkey/passkeytest"
)

// pageLimit is within which a page's first byte is to come.
const pageLimit = 20 * time.Millisecond

// BenchmarkPasskeySignIn is what somebody with eight passkeys waits for at Penname to be signed in
// by one: the challenge, and the answer until it leads on; on PostgreSQL, the key service in memory,
// the device's own time not counted. Ratio: to the limit of a page. Beside it: with one passkey, which
// is to be the same, for rows are found by their keys.
func BenchmarkPasskeySignIn(b *testing.B) {
	s := newServiceOn(b, "localhost")
	d := s.in("laptop").adds("1")
	signsIn := func() (took time.Duration) {
		s.pass(24 * time.Hour) // nobody signs in hundreds of times a day
		who := s.browser()
		who.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		began := time.Now()
		asked := who.begun("/passkey/begin")
		took = time.Since(began)
		answer := url.Values{"answer": {d.Get(asked)}}
		began = time.Now()
		res, body := who.do("POST", s.origin+"/passkey", answer)
		if res.StatusCode != http.StatusSeeOther {
			b.Fatal(res.Status, body)
		}
		return took + time.Since(began)
	}
	mean := func(n int) float64 {
		var sum time.Duration
		for range n {
			sum += signsIn()
		}
		return float64(sum.Microseconds()) / 1000 / float64(n)
	}
	mean(50) // warm
	one := mean(200)
	devices := []*passkeytest.Device{d}
	who := s.browser()
	who.shows("POST", s.origin+"/passkey", who.byPasskey(d), http.StatusOK, mine)
	for n := 2; n <= issue.MaxPasskeys; n++ {
		devices = append(devices, who.adds(fmt.Sprint(n)))
	}
	d = devices[len(devices)-1]
	mean(50)
	b.ResetTimer()
	n := 0
	var sum time.Duration
	for b.Loop() {
		sum += signsIn()
		n++
	}
	eight := float64(sum.Microseconds()) / 1000 / float64(n)
	b.ReportMetric(eight, "ms")
	b.ReportMetric(one, "~ms-with-one")
	b.ReportMetric(eight/float64(pageLimit.Milliseconds()), "ratio")
	b.ReportMetric(1, "aim-max")
	b.ReportMetric(0, "ns/op")
}
