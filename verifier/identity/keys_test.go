package identity

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// S3: while one token of an unknown key makes a slow provider be asked, one of a
// known key is verified. It used to wait for the answer, eight seconds long.
func TestFoundS3ASlowKeySetHoldsUpNoGoodToken(t *testing.T) {
	key, unknown := ecKey(t), ecKey(t)
	asked, answer := make(chan struct{}, 2), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-answer
		json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1"}}}) //nolint:errcheck // the client sees it
	}))
	defer srv.Close()
	now := time.Unix(1_800_000_000, 0)
	keys := &keySet{url: srv.URL, parse: parseKeys, algs: allowedAlgs, client: &http.Client{Timeout: time.Minute}, now: func() time.Time { return now }, fetched: now,
		keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1"}}}
	good, bad := jws(t, jose.ES256, key, "k1", nil, []byte(`{}`)), jws(t, jose.ES256, unknown, "k2", nil, []byte(`{}`))
	refused := make(chan error, 1)
	go func() { _, _, err := keys.verify(t.Context(), bad); refused <- err }()
	<-asked
	if _, _, err := keys.verify(t.Context(), good); err != nil || len(refused) != 0 {
		t.Errorf("beside a slow answer: %v, after it: %v", err, len(refused) != 0)
	}
	close(answer)
	if err := <-refused; err == nil {
		t.Error("an unknown key is accepted")
	}
	if len(asked) != 0 {
		t.Error("the provider was asked twice")
	}
}
