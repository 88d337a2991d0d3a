package vault

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/verifier/refusal"
)

// endpoint is one Vault address. It follows no redirect, uses no proxy, reads
// nothing from the environment and retries nothing: that is for the caller.
type endpoint struct {
	client  *api.Client
	http    *http.Client // client's
	timeout time.Duration
}

func newEndpoint(address, caFile string, timeout time.Duration) (*endpoint, error) {
	if err := checkAddress(address); err != nil {
		return nil, err
	}
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	var roots *x509.CertPool // nil: the system's
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, ErrCA.Because(err)
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
			return nil, ErrCA.Because(errors.New(caFile + " holds no certificate in PEM"))
		}
	}
	wire := &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: timeout}).DialContext,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout: timeout,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 16,
			// No IdleConnTimeout: its timer, stopped, keeps a closed connection and its
			// buffer alive. Whoever runs a side calls CloseIdle now and then.
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	client, err := api.NewClient(&api.Config{Address: address, DisableRedirects: true, Timeout: timeout, HttpClient: wire})
	if err != nil {
		return nil, ErrEnvironment // the address is good; the cause could quote a header
	}
	// NewClient has read these three from the environment, and would read
	// VAULT_WRAP_TTL at every request.
	client.ClearToken()
	client.ClearNamespace()
	client.SetWrappingLookupFunc(func(string, string) string { return "" })
	client.SetHeaders(http.Header{api.RequestHeaderName: {"true"}})
	return &endpoint{client, wire, timeout}, nil
}

// statusError is an answer of Vault that is not a success. It keeps neither
// Vault's text nor the request: both can hold what was to be kept secret.
type statusError struct {
	status int
	method string
	path   string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("vault answered %d to %s %s", e.status, e.method, e.path)
}

// Is makes [ErrSealed], whose cause it is, a keep.ErrUnavailable too.
func (e *statusError) Is(target error) bool {
	return e.status == http.StatusServiceUnavailable && target == error(keep.ErrUnavailable)
}

// says tells whether an answer that is no success begins with a text, of which nothing
// is kept.
func says(resp *api.Response, text string) bool {
	body := bufio.NewReader(resp.Body)
	resp.Body = io.NopCloser(body)
	head, _ := body.Peek(body.Size())
	return bytes.Contains(head, []byte(text))
}

// do sends one request and decodes the answer into out, which may be nil.
// Status 400 and 404 are returned as a bare statusError, for the caller to give
// a meaning; a 400 is decoded besides: that is how Transit reports a batch in
// which some item failed.
func (e *endpoint) do(ctx context.Context, token, method, path string, wrapTTL time.Duration, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	req := e.client.NewRequest(method, "/v1/"+path)
	req.ClientToken = token
	if wrapTTL > 0 {
		req.WrapTTL = fmt.Sprint(int(wrapTTL.Seconds()), "s")
	}
	if query, ok := body.(url.Values); ok {
		req.Params = query
	} else if body != nil {
		if err := req.SetJSONBody(body); err != nil {
			return keep.ErrInput
		}
	}
	//nolint:staticcheck // the methods above it drop the body of a 400, which says which item of a batch failed
	resp, err := e.client.RawRequestWithContext(ctx, req)
	if resp == nil || resp.Response == nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return keep.ErrUnavailable.Because(transportError(err))
	}
	defer resp.Body.Close()
	failed := &statusError{resp.StatusCode, method, path}
	switch code := resp.StatusCode; {
	case code == http.StatusNoContent && out == nil:
		return nil
	case code == http.StatusServiceUnavailable && says(resp, "Vault is sealed"):
		return ErrSealed.Because(failed)
	case code == http.StatusBadRequest && says(resp, "an HTTP request to an HTTPS server"): // as net/http says it
		return ErrAddress.Because(errors.New("it speaks TLS there: use https"))
	case code == http.StatusOK || code == http.StatusBadRequest:
		if out != nil {
			if err := json.NewDecoder(io.LimitReader(resp.Body, maxResponse)).Decode(out); err != nil {
				return keep.ErrUnavailable.Because(errors.New("the answer was cut off or is not JSON"))
			}
		}
		if code == http.StatusOK {
			return nil
		}
		return failed
	case code == http.StatusNotFound:
		return failed
	case code >= 300 && code < 400:
		return ErrRedirect.Because(failed)
	case code == http.StatusForbidden:
		return ErrDenied.Because(failed)
	}
	// 429 standby or over quota, 472 and 473 standby of a cluster, 500 and above
	// broken.
	return keep.ErrUnavailable.Because(failed)
}

// ErrCertificate is the cause of keep.ErrUnavailable when no authority that is trusted
// has signed the certificate of Vault, or it is for another host.
var ErrCertificate = errors.New("the certificate of Vault does not verify")

// transportError keeps the kind of a network error and drops its text.
func transportError(err error) error {
	var cert *tls.CertificateVerificationError
	var net net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &net) && net.Timeout():
		return context.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &cert):
		return ErrCertificate
	}
	return errors.New("no connection to Vault")
}

// session is the log-in of one role at Vault.
type session struct {
	*endpoint
	config Config
	side   Side
	now    func() time.Time

	renewer atomic.Pointer[SecretID] // its renewer's, as of Renew; nil: none
	called  atomic.Pointer[Called]   // is told of each call; nil: nobody is
	known   sync.Map                 // groups whose key is as it must be

	// turn guards what follows; a channel, so that waiting ends with the context.
	turn     chan struct{}
	secretID string
	life     SecretID // as of lookUp
	token    string
	renewAt  time.Time // when two thirds of the token's life are over
	ends     time.Time
	ttl      time.Duration
}

func newSession(ctx context.Context, c Config, side Side) (*session, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	e, err := newEndpoint(c.Address, c.CAFile, c.Timeout)
	if err != nil {
		return nil, err
	}
	s := &session{endpoint: e, config: c, side: side, now: c.Now, turn: make(chan struct{}, 1)}
	if s.now == nil {
		s.now = time.Now
	}
	if s.secretID, err = s.readSecret(ctx); err == nil {
		_, err = s.bearer(ctx, "")
	}
	return s, s.named(err)
}

// open logs in as a side, verifies that its rights and keys are exactly those of
// bootstrap, renews what is due, and refuses a secret id that ends soon.
func open(ctx context.Context, c Config, side Side) (*session, error) {
	s, err := newSession(ctx, c, side)
	if err != nil {
		return nil, err
	}
	if err := s.Verify(ctx); err != nil {
		return nil, s.named(err)
	}
	l := s.Login()
	if err := l.Renew(ctx); err != nil {
		return nil, err
	}
	for _, id := range l.SecretIDs() {
		if left := id.Ends.Sub(s.now()); left < cmp.Or(c.MinLeft, 24*time.Hour) {
			return nil, ErrEndsSoon.Because(fmt.Errorf("%s: on %s", id.Role, id.Ends.UTC().Format(time.RFC3339)))
		}
	}
	return s, nil
}

// named says in a refusal's cause which role it is about.
func (s *session) named(err error) error {
	e := refusal.Of(err)
	if e == nil {
		return err
	}
	return e.Because(&roleError{s.side, e.Unwrap()})
}

// roleError is the cause of a refusal that is about one role.
type roleError struct {
	role  Side
	cause error // may be nil
}

func (e *roleError) Error() string {
	if e.cause == nil {
		return string(e.role)
	}
	return fmt.Sprintf("%s: %v", e.role, e.cause)
}

func (e *roleError) Unwrap() error { return e.cause }

// OfRenewer tells whether a refusal to open a side is about its renewer.
func OfRenewer(err error) bool {
	var of *roleError
	return errors.As(err, &of) && strings.HasSuffix(string(of.role), renewer)
}

// bearer returns a token that is good for now. It renews the token when two
// thirds of its life are over and logs in when it has ended, or when Vault has
// just refused it.
func (s *session) bearer(ctx context.Context, refused string) (string, error) {
	release, err := s.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	now := s.now()
	switch {
	case s.token == "" || s.token == refused || !now.Before(s.ends):
		err := s.login(ctx)
		return s.token, err
	case now.Before(s.renewAt):
		return s.token, nil
	}
	var renewed authAnswer
	err = s.do(ctx, s.token, http.MethodPost, "auth/token/renew-self", 0, map[string]any{}, &renewed)
	if err == nil && renewed.life() > s.ttl/2 { // else it nears its maximum
		s.setToken(s.token, renewed.life())
		return s.token, nil
	}
	if err = s.login(ctx); err != nil {
		s.renewAt = now.Add(time.Second) // ask again soon, use it until it ends
	}
	return s.token, nil
}

// acquire waits for its turn with the log-in, to be released.
func (s *session) acquire(ctx context.Context) (release func(), err error) {
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, keep.ErrUnavailable.Because(ctx.Err())
	}
}

type authAnswer struct {
	Auth struct {
		ClientToken   string `json:"client_token"`
		LeaseDuration int64  `json:"lease_duration"` // seconds
	}
}

func (a *authAnswer) life() time.Duration { return time.Duration(a.Auth.LeaseDuration) * time.Second }

func (s *session) setToken(token string, life time.Duration) {
	s.token, s.renewAt, s.ends = token, s.now().Add(life*2/3), s.now().Add(life)
}

// login logs in. A secret id that is refused may have been replaced in its file
// since, by another process that renewed it, or by hand.
func (s *session) login(ctx context.Context) error {
	err := s.loginWith(ctx, s.secretID)
	if errors.Is(err, ErrLogin) {
		if other, rerr := s.readSecret(ctx); rerr == nil && other != s.secretID {
			return s.loginWith(ctx, other)
		}
	}
	return err
}

func (s *session) loginWith(ctx context.Context, secretID string) error {
	var in authAnswer
	err := s.do(ctx, "", http.MethodPost, "auth/approle/login", 0, map[string]any{"role_id": s.config.RoleID, "secret_id": secretID}, &in)
	var status *statusError
	switch {
	case errors.As(err, &status) && (status.status == http.StatusBadRequest || status.status == http.StatusForbidden):
		return ErrLogin.Because(status)
	case errors.As(err, &status) && status.status == http.StatusNotFound:
		return keep.ErrUnavailable.Because(status)
	case err != nil:
		return err
	case in.Auth.ClientToken == "" || in.life() <= 0: // a token without an end is not one of bootstrap's
		return ErrLogin
	}
	s.secretID, s.ttl = secretID, in.life()
	s.setToken(in.Auth.ClientToken, in.life())
	return nil
}

// Called is told of a call to Vault when it is over: which of Operations it was, how long it
// took, the log-in included if there had to be one, and whether Vault did not do it. The
// context is the caller's, or nobody's if several share the call.
type Called func(ctx context.Context, operation string, took time.Duration, failed bool)

// Operations are what [Called] tells apart: those of Transit, and all else.
var Operations = []string{"decrypt", "encrypt", "hmac", "keys", "rewrap", "other"}

// OnCall has f told of each call from now on.
func (s *session) OnCall(f Called) { s.called.Store(&f) }

func operation(path string) string {
	at, rest, _ := strings.Cut(path, "/")
	name, _, _ := strings.Cut(rest, "/")
	if (at == mount || at == groupMount) && slices.Contains(Operations, name) {
		return name
	}
	return "other"
}

// call is an answer of Vault, of which is told who wants to know.
func (s *session) call(ctx context.Context, method, path string, body, out any) error {
	began := time.Now()
	err := s.authorised(ctx, method, path, body, out)
	if told := s.called.Load(); told != nil {
		(*told)(ctx, operation(path), time.Since(began), refusal.Of(err) != nil)
	}
	return err
}

// authorised is do with this side's token, all within one timeout. A refusal of the
// token is answered once with a new log-in: it may have been revoked, or have
// ended early.
func (s *session) authorised(ctx context.Context, method, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	token, err := s.bearer(ctx, "")
	if err != nil {
		return err
	}
	err = s.do(ctx, token, method, path, 0, body, out)
	if errors.Is(err, ErrDenied) {
		if token, err = s.bearer(ctx, token); err != nil {
			return err
		}
		err = s.do(ctx, token, method, path, 0, body, out)
	}
	return err
}

// Close revokes the token. The session logs in again if it is used again.
func (s *session) Close(ctx context.Context) error {
	release, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	token := s.token
	s.token = ""
	if token == "" {
		return nil
	}
	return s.do(ctx, token, http.MethodPost, "auth/token/revoke-self", 0, map[string]any{}, nil)
}

func rolePath(side Side) string { return "auth/approle/role/" + string(side) }
