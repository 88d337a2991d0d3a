package court

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
)

// The registry is served to anybody, page by page, to be kept for a minute; the settings
// of a client are in none of it.
func TestTheRegistryIsServed(t *testing.T) {
	key, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	sign := func(r policy.PlatformRecord) (string, error) { return policy.SignPlatform(key, r) }
	m := new(disclosetest.Memory)
	registry := m.Registry()
	last := int64(-1)
	for i := range recordsAtOnce + 1 {
		e := disclosetest.NewPlatform(t, sign, fmt.Sprintf("platform-%d", i))
		l, err := registry.Append(t.Context(), e, proof.PlatformLeaf(disclosetest.Day, e.Signed, e.Countersigned), last)
		if err != nil {
			t.Fatal(err)
		}
		last = l.Leaf
	}
	edge, err := web.New(web.Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	Mount(edge, Config{Registrar: &disclose.Registrar{Registry: &registry}, Board: &disclose.Board{}, LogTiles: http.NotFoundHandler()})
	get := func(path, etag string) *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "https://penname.example"+path, nil)
		r.Header.Set("If-None-Match", etag)
		edge.ServeHTTP(w, r)
		return w
	}
	for path, c := range map[string]struct {
		status, records int
		more            bool
	}{
		"/v1/platforms": {http.StatusOK, recordsAtOnce, true},
		fmt.Sprintf("/v1/platforms?after=%d", last-1): {http.StatusOK, 1, false},
		fmt.Sprintf("/v1/platforms?after=%d", last):   {http.StatusOK, 0, false},
		"/v1/platforms?after=yesterday":               {http.StatusBadRequest, 0, false},
		"/v1/platforms/platform-7":                    {http.StatusOK, 1, false},
		"/v1/platforms/none":                          {http.StatusNotFound, 0, false},
	} {
		w := get(path, "")
		var p registrar.Platforms
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != c.status || len(p.Records) != c.records || p.More != c.more {
			t.Errorf("%s: %d, %d records, more %v, %v", path, w.Code, len(p.Records), p.More, err)
		}
		if c.status != http.StatusOK {
			continue
		}
		if w.Header().Get("Cache-Control") != "public, max-age=60" || get(path, w.Header().Get("ETag")).Code != http.StatusNotModified {
			t.Errorf("%s is not kept by a cache: %v", path, w.Header())
		}
	}
}
