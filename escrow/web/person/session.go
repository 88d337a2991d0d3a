package person

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/identity"
)

const (
	sessionLife = 30 * time.Minute
	freshFor    = 2 * time.Minute // a proof of identity this old is still "now"
)

// cookieBlock is what cookies are padded to, in bytes before they are sealed.
const cookieBlock = 512

// sessions keeps who is signed in, and flows under way, in sealed cookies: the
// database then holds no row that ties a person to a time of day.
type sessions struct {
	aead   cipher.AEAD
	secure bool
	now    func() time.Time
}

func newSessions(key [32]byte, origin string, now func() time.Time) (sessions, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return sessions{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return sessions{aead: aead, secure: strings.HasPrefix(origin, "https:"), now: now}, err
}

// session is who is signed in.
type session struct {
	Person  issue.Person `json:"p"`
	ACR     string       `json:"a"`
	Since   time.Time    `json:"s"`
	Expires time.Time    `json:"e"`
}

// flow is a sign-in at the identity provider that is under way in this browser.
type flow struct {
	Flow        identity.Flow `json:"f"`
	Interaction string        `json:"i,omitempty"` // sign-in at a platform to return to
}

func (s sessions) name(kind string) string {
	if s.secure {
		return "__Host-penname-" + kind // RFC 6265bis, 4.1.3.2: Secure, no Domain, Path=/
	}
	return "penname-" + kind // loopback sandbox: no TLS
}

func (s sessions) set(w http.ResponseWriter, kind string, life time.Duration, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	// One length for everybody: who watches the line tells no two visits by it.
	b = append(b, bytes.Repeat([]byte(" "), (cookieBlock-len(b)%cookieBlock)%cookieBlock)...)
	name := s.name(kind)
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever there is TLS
		Name: name, Value: base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, b, []byte(name))),
		Path: "/", MaxAge: int(life.Seconds()), Secure: s.secure, HttpOnly: true,
		// Lax: the identity provider's redirect back is a cross-site navigation.
		SameSite: http.SameSiteLaxMode,
	})
	return nil
}

// get opens a cookie into v; false if it is absent, altered or of another kind.
func (s sessions) get(r *http.Request, kind string, v any) bool {
	name := s.name(kind)
	c, err := r.Cookie(name)
	if err != nil {
		return false
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(c.Value)
	if err != nil {
		return false
	}
	b, err := s.aead.Open(nil, nil, sealed, []byte(name))
	return err == nil && json.Unmarshal(b, v) == nil
}

func (s sessions) clear(w http.ResponseWriter, kind string) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // likewise
		Name: s.name(kind), Path: "/", MaxAge: -1, Secure: s.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// person returns who is signed in.
func (s sessions) person(r *http.Request) (session, bool) {
	var v session
	ok := s.get(r, "session", &v) && s.now().Before(v.Expires)
	return v, ok
}
