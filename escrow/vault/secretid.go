package vault

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/verifier/refusal"
)

// A secret id lives in a file that says how far it is:
//
//	hvs.…             a wrapping token, as a person puts it there
//	unwrapping hvs.…  a process is about to spend it
//	…                 the secret id, by which every later start logs in
//
// So a crash needs no hand, except at the very moment of unwrapping; and a token
// that is spent without the file saying so was spent by somebody else.
//
// When half of its life is over the renewer mints another one, which takes its
// place in the file; the old one is destroyed once the new one has logged in. The
// renewer's own goes the same way. Processes of one machine share the file.
const unwrapping = "unwrapping "

// SecretID is how long what a role logs in with lives, by Vault's word.
type SecretID struct {
	Role         Side
	Begins, Ends time.Time
	Renewed      bool // by a renewer, while the process runs
}

// due tells whether half of its life is over.
func (i SecretID) due(now time.Time) bool { return now.Sub(i.Begins) >= i.Ends.Sub(i.Begins)/2 }

// never is the end of a secret id that Vault gave none.
var never = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// readSecret returns the secret id of the role's file, and puts it there if the file
// holds a wrapping token.
func (s *session) readSecret(ctx context.Context) (secret string, err error) {
	err = s.locked(func(file string) error {
		text, err := secretfile.ReadText(file)
		if err != nil {
			return ErrSecretFile.Because(err)
		}
		token, interrupted := strings.CutPrefix(text, unwrapping)
		if secret = token; secret == "" || strings.ContainsAny(secret, " \t\r\n") {
			return ErrSecretFile
		}
		if !strings.HasPrefix(token, "hvs.") {
			return nil
		}
		secret, err = s.unwrap(ctx, file, token)
		if interrupted && errors.Is(err, ErrWrapUsed) {
			return ErrWrapBroken
		}
		return err
	})
	return secret, err
}

// unwrap spends a wrapping token, which can be done once, and puts the secret id in
// its place. That it was made for our role is checked before, so nobody can hand us
// a secret of theirs.
func (s *session) unwrap(ctx context.Context, file, token string) (string, error) {
	var lookup struct {
		Data struct {
			CreationPath string `json:"creation_path"`
		}
	}
	err := s.do(ctx, "", http.MethodPost, "sys/wrapping/lookup", 0, map[string]any{"token": token}, &lookup)
	if err == nil && lookup.Data.CreationPath != rolePath(s.side)+"/secret-id" {
		return "", ErrWrapUsed
	}
	if err == nil {
		if err := replace(file, unwrapping+token); err != nil {
			return "", err // before anything is spent
		}
	}
	var unwrapped struct {
		Data struct {
			SecretID string `json:"secret_id"`
		}
	}
	if err == nil {
		err = s.do(ctx, token, http.MethodPost, "sys/wrapping/unwrap", 0, nil, &unwrapped)
	}
	var status *statusError
	if errors.As(err, &status) && status.status < http.StatusTooManyRequests && !errors.Is(err, ErrRedirect) {
		return "", ErrWrapUsed.Because(status)
	}
	if err == nil && unwrapped.Data.SecretID == "" {
		err = keep.ErrUnavailable
	}
	if err != nil {
		return "", err
	}
	return unwrapped.Data.SecretID, replace(file, unwrapped.Data.SecretID)
}

// locked calls do, with the file's name behind all symbolic links, while no other
// process does the same. The lock is on the folder: the file is replaced meanwhile.
func (s *session) locked(do func(file string) error) error {
	file, err := filepath.EvalSymlinks(s.config.SecretIDFile)
	if err != nil {
		return ErrSecretFile.Because(err)
	}
	folder, err := os.Open(filepath.Dir(file))
	if err != nil {
		return ErrSecretFile.Because(err)
	}
	defer folder.Close() // and the lock ends
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		return ErrSecretFile.Because(err)
	}
	return do(file)
}

// replace puts a secret into a file that is there: after a power cut it holds one or
// the other, and its owner stays, also if root does it.
func replace(file, secret string) (err error) {
	before, err := os.Stat(file)
	if err != nil {
		return ErrSecretFile.Because(err)
	}
	folder, err := os.Open(filepath.Dir(file))
	if err != nil {
		return ErrSecretFile.Because(err)
	}
	defer folder.Close()
	next, err := os.CreateTemp(folder.Name(), ".secret-id-") // mode 0600
	if err != nil {
		return ErrSecretFile.Because(err)
	}
	defer os.Remove(next.Name())
	_, err = next.WriteString(secret + "\n")
	if owner, ok := before.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		err = errors.Join(err, next.Chown(int(owner.Uid), int(owner.Gid)))
	}
	if err = errors.Join(err, next.Sync(), next.Close()); err == nil {
		err = errors.Join(os.Rename(next.Name(), file), folder.Sync())
	}
	if err != nil {
		return ErrSecretFile.Because(err)
	}
	return nil
}

// reload takes the secret id that the file holds now. One that does not log in is
// refused, and the one before stays in use.
func (s *session) reload(ctx context.Context) error {
	secret, err := s.readSecret(ctx)
	if err != nil {
		return err
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	if secret != s.secretID {
		err = s.loginWith(ctx, secret)
	}
	release()
	if err != nil {
		return err
	}
	return s.lookUp(ctx)
}

// lookUp asks Vault for how long the secret id lives.
func (s *session) lookUp(ctx context.Context) error {
	secret, _ := s.current()
	var found struct {
		Data struct {
			Begins time.Time `json:"creation_time"`
			Ends   time.Time `json:"expiration_time"`
		}
	}
	err := s.call(ctx, http.MethodPost, rolePath(s.side)+"/secret-id/lookup", map[string]any{"secret_id": secret}, &found)
	var status *statusError
	if errors.As(err, &status) && status.status == http.StatusNoContent {
		return ErrLogin.Because(errors.New("the secret id is gone"))
	}
	if err != nil && refusal.Of(err) == nil {
		err = s.must(err)
	}
	if err != nil {
		return err
	}
	life := SecretID{Role: s.side, Begins: found.Data.Begins, Ends: found.Data.Ends, Renewed: s.renewed()}
	if life.Ends.IsZero() {
		life.Ends = never
	}
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.life = life
	return nil
}

// current is the secret id in use, and how long it lives.
func (s *session) current() (string, SecretID) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	return s.secretID, s.life
}

func (s *session) renewed() bool {
	return s.config.RenewerRoleID != "" || strings.HasSuffix(string(s.side), renewer)
}

// renew has r, a renewer, mint a secret id of its side, or of itself, if one is due.
func (r *session) renew(ctx context.Context, of *session) error {
	if err := of.reload(ctx); err != nil {
		return err
	}
	before, life := of.current()
	token, err := r.bearer(ctx, "")
	if err != nil {
		return err
	}
	minted := ""
	err = of.locked(func(file string) error {
		if text, err := secretfile.ReadText(file); err != nil || text != before {
			return err // another process was faster
		}
		if !life.due(r.now()) {
			return replace(file, before) // that it can be is known long before it must be
		}
		if minted, err = r.mint(ctx, token, of.side); err != nil {
			return err
		}
		return replace(file, minted)
	})
	if err != nil || !life.due(r.now()) {
		return err
	}
	// What the file holds logs in before the one before is destroyed.
	if err := of.reload(ctx); err != nil || minted == "" {
		return err
	}
	return r.must(r.do(ctx, token, http.MethodPost, rolePath(of.side)+"/secret-id/destroy", 0, map[string]any{"secret_id": before}, nil))
}

func (r *session) mint(ctx context.Context, token string, side Side) (string, error) {
	var out struct {
		Data struct {
			SecretID string `json:"secret_id"`
		}
	}
	err := r.must(r.do(ctx, token, http.MethodPost, rolePath(side)+"/secret-id", 0, map[string]any{}, &out))
	if err == nil && out.Data.SecretID == "" {
		err = errBadResponse
	}
	return out.Data.SecretID, err
}

// Login is a side's log-in, which ends with its secret id. It is safe for concurrent
// use.
type Login struct{ s *session }

// Login is how the side logs in.
func (s *session) Login() *Login { return &Login{s} }

// Reload takes the secret id that the side's file holds now. One that does not log in is
// refused, and the one before stays in use.
func (l *Login) Reload(ctx context.Context) error { return l.s.named(l.s.reload(ctx)) }

// SecretIDs says when the side's secret id ends, and its renewer's if it has one, as
// of the last call of Renew.
func (l *Login) SecretIDs() []SecretID {
	_, own := l.s.current()
	if renewer := l.s.renewer.Load(); renewer != nil {
		return []SecretID{own, *renewer}
	}
	return []SecretID{own}
}

// Renew asks Vault when the secret ids of the side and of its renewer end, and mints
// new ones if half of their lives is over. The renewer is logged in meanwhile only.
func (l *Login) Renew(ctx context.Context) error {
	s := l.s
	if s.config.RenewerRoleID == "" {
		return l.Reload(ctx)
	}
	r, err := newSession(ctx, s.config.renewer(), s.side.Renewer())
	if err != nil {
		return err
	}
	defer r.Close(ctx) // else its token ends by itself
	if err := r.Verify(ctx); err != nil {
		return r.named(err)
	}
	err = errors.Join(s.named(r.renew(ctx, s)), r.named(r.renew(ctx, r)))
	if _, life := r.current(); !life.Ends.IsZero() {
		s.renewer.Store(&life)
	}
	return err
}
