package openid

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4/json"
	"github.com/luikyv/go-oidc/pkg/goidc"
)

// A client that did not hear the answer to its renewal asks again with the refresh
// token that it has. For ten seconds, once, it gets the same successor again, so that
// a lost answer signs nobody out, and there is never more than one successor (attack
// O11). It has to be a client that authenticates, or holds the key that the token is
// bound to: of any other a token that comes twice is one that somebody has copied
// (RFC 9700, 4.14.2).
//
// The row keeps the successor, and when it was made, encrypted under the token that
// it replaced, of which the row has nothing. So a copy of the database tells neither a
// token nor a time.

// mayComeAgain keeps in b what is answered if the token that was presented comes once
// more. successor is what replaces it.
func (m manager) mayComeAgain(ctx context.Context, b *grantBody, successor string) error {
	x := exchangeOf(ctx)
	if x.presented == "" || x.successor != "" {
		return nil // the first of a family, or it came again already
	}
	pl, err := m.p.platform(ctx, b.Platform)
	if err != nil {
		return err
	}
	if x.mayAgain = !pl.public() || b.JKT != ""; !x.mayAgain {
		return nil
	}
	b.Again, err = sealAgain(refreshPurpose, x.presented, []byte(successor), m.p.now())
	return err
}

// Purposes of a key that follows from a handle.
const (
	refreshPurpose = "penname refresh token, successor"
	answerPurpose  = "penname sign-in, answer"
)

// sealAgain encrypts what is answered once more, and when it was answered first, under
// a handle that nobody has but its holder.
func sealAgain(purpose, handle string, text []byte, now time.Time) ([]byte, error) {
	sealer, err := sealerOf(purpose, handle)
	if err != nil {
		return nil, err
	}
	return sealer.Seal(nil, nil, append(binary.BigEndian.AppendUint64(nil, uint64(now.Unix())), text...), nil), nil
}

// openAgain returns what sealAgain encrypted under this handle within the last seconds,
// or nil.
func openAgain(purpose, handle string, sealed []byte, now time.Time) []byte {
	sealer, err := sealerOf(purpose, handle)
	if err != nil {
		return nil
	}
	text, err := sealer.Open(nil, nil, sealed, nil)
	if err != nil || len(text) < 8 || now.Sub(time.Unix(int64(binary.BigEndian.Uint64(text)), 0)).Abs() > againWithin {
		return nil
	}
	return text[8:]
}

// sealerOf is AES-256-GCM (NIST SP 800-38D) with a key that follows from a handle
// (HKDF, RFC 5869), and a random nonce before each ciphertext.
func sealerOf(purpose, handle string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(handle), nil, purpose, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Whoever presses a button twice sends the form twice, and the browser shows the second
// answer alone. So for ten seconds the same person's second press gets the answer of the
// first: the same code, which works once, or that they refused. The row keeps it encrypted
// under the handle of the sign-in.

// answer is what a platform was told, and about whom.
type answer struct {
	Platform, Scopes, Subject string
	RedirectURI, Code, State  string
	FormPost                  bool
	Denied                    []byte `json:",omitempty"` // by what the person refused; nil: they did not
}

// pressed stands for what a person pressed: a button or a link.
func pressed(r *http.Request) []byte {
	_ = r.ParseForm() // what cannot be read is no button
	sum := sha256.Sum256([]byte(r.Method + " " + r.URL.RawQuery + " " + r.PostForm.Encode()))
	return sum[:]
}

// denied ends a sign-in that the person refused, and reports whether it did: not where the
// row was written meanwhile, or never was.
func (m manager) denied(ctx context.Context, as *goidc.AuthnSession, row Row) (done bool, err error) {
	x := exchangeOf(ctx)
	if x.denied == nil || row.Version == 0 {
		return false, nil
	}
	text, err := json.Marshal(answer{Platform: as.ClientID, RedirectURI: as.RedirectURI, State: as.State, FormPost: x.formPost != "", Denied: x.denied})
	if err != nil {
		return false, err
	}
	sealed, err := sealAgain(answerPurpose, as.ID, text, m.p.now())
	if err != nil {
		return false, err
	}
	if row.Body, err = json.Marshal(sessionBody{Answer: sealed}); err != nil {
		return false, err
	}
	err = m.put(ctx, row)
	if errors.Is(err, ErrStale) {
		return false, nil
	}
	return err == nil, err
}

// answer makes the row of a sign-in that ends in the platform's favour. It is stored with the
// grant, which the library makes next: see saveAnswer.
func (m manager) answer(ctx context.Context, as *goidc.AuthnSession, row Row) error {
	x := exchangeOf(ctx)
	x.code, row.Version = random(), x.version // held is the grant's by now
	text, err := json.Marshal(answer{as.ClientID, as.Scopes, as.Subject, as.RedirectURI, x.code, as.State, x.formPost != "", nil})
	if err != nil {
		return err
	}
	sealed, err := sealAgain(answerPurpose, as.ID, text, m.p.now())
	if err != nil {
		return err
	}
	row.Body, err = json.Marshal(sessionBody{Answer: sealed})
	x.session = row
	return err
}

// saveAnswer ends a sign-in with its grant: of concurrent requests one does.
func (m manager) saveAnswer(ctx context.Context, grant Row) error {
	x := exchangeOf(ctx)
	row := x.session
	for {
		err := m.store(ctx, func() error { return m.p.store.Answer(ctx, row, grant) })
		if !errors.Is(err, ErrStale) {
			return err
		}
		// Another tab looked at the page meanwhile, or answered.
		now, err := m.get(ctx, row.Kind, row.ID)
		var b sessionBody
		if err != nil && !errors.Is(err, goidc.ErrNotFound) {
			return err
		}
		if err != nil || json.Unmarshal(now.Body, &b) != nil || len(b.Answer) > 0 || now.Version == row.Version {
			x.answer = b.Answer
			return goidc.NewError(goidc.ErrorCodeInvalidRequest, "invalid request")
		}
		row.Version = now.Version
	}
}

// renderOrRepeat is renderError, but for a second press of a button.
func (p *Provider) renderOrRepeat(w http.ResponseWriter, r *http.Request, cause error) error {
	a, ok := p.answered(r, exchangeOf(r.Context()).answer)
	if !ok || !p.presses(r, a) {
		return p.renderError(w, r, cause)
	}
	back := url.Values{"code": {a.Code}, "iss": {p.cfg.Issuer}}
	if a.Denied != nil {
		back = url.Values{"error": {string(goidc.ErrorCodeAccessDenied)}, "error_description": {errorTexts[goidc.ErrorCodeAccessDenied]}, "iss": {p.cfg.Issuer}}
	}
	if a.State != "" {
		back.Set("state", a.State)
	}
	to, err := withQuery(a.RedirectURI, back)
	if err != nil {
		return p.renderError(w, r, err)
	}
	if a.FormPost {
		exchangeOf(r.Context()).formPost = a.RedirectURI
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// answered opens the answer to a sign-in, if r is the press of a button that came with
// or soon after the one that was answered.
func (p *Provider) answered(r *http.Request, sealed []byte) (a answer, ok bool) {
	if len(sealed) == 0 {
		return a, false
	}
	text := openAgain(answerPurpose, r.PathValue("callback"), sealed, p.now())
	ok = text != nil && json.Unmarshal(text, &a) == nil
	return a, ok && (r.Method == http.MethodPost || a.Denied != nil)
}

// presses reports whether it is the person of an answer who presses, and the same button, and
// nothing has ended since.
func (p *Provider) presses(r *http.Request, a answer) bool {
	if a.Denied != nil {
		return subtle.ConstantTimeCompare(a.Denied, pressed(r)) == 1
	}
	pl, err := p.platform(r.Context(), a.Platform)
	if err != nil {
		return false
	}
	id := r.PathValue("callback")
	subject, outcome, err := p.authenticate(newBuffer(), r, SignInRequest{
		Platform: pl, SessionID: id, Action: authorizePath + "/" + id, Answer: true, Offline: offline(a.Scopes), Scopes: a.Scopes,
	})
	if err != nil || outcome != Approved || string(subject.Pseudonym) != a.Subject {
		return false
	}
	// The first press may have been stored and not confirmed: its browser left, or the store did.
	return subject.Confirm == nil || subject.Confirm(r.Context()) == nil
}
