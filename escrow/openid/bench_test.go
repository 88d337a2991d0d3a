package openid_test

import (
	"net/http"
	"testing"
)

// A sign-in is four requests: authorize, the person's answer, token, and the
// platform's reading of the ID token, which is not measured here.
func BenchmarkSignIn(b *testing.B) {
	for name, build := range map[string]func(testing.TB, ...func(*rig)) *rig{"in process": newLocalRig, "over loopback": newRig} {
		b.Run(name, func(b *testing.B) {
			r := build(b)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if a := r.post("/token", r.redemption(r.square, r.code(r.square))); a.status != http.StatusOK {
						b.Error(a.body)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sign-ins/s")
		})
	}
}
