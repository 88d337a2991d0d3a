package service

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/escrow/web/person"
	"github.com/penname/penname/policy"
)

// Machine is what the machine that a service runs on asks of it and is told.
type Machine struct {
	Hangup <-chan os.Signal         // SIGHUP: read everything again; nil: files are followed alone
	Tell   func(state string) error // the service manager, of a state; nil: there is none
}

// The states that a service manager is told, as sd_notify(3) has them.
const (
	Ready     = "READY=1"
	Reloading = "RELOADING=1"
	Stopping  = "STOPPING=1"
)

// reloadable is something that is read again while a service runs.
type reloadable struct {
	name string
	// reads returns the settings and the files that it comes from.
	reads func(*Config) (settings any, files []string)
	// load puts it in force, or refuses it and changes nothing.
	load func(*Service, context.Context, *Config) error
}

// reloadables is everything that is read again. The rest of the configuration takes
// effect at the next start; a bundle follows the public log.
var reloadables = []reloadable{
	{"certificate", (*Config).certificateFiles, (*Service).loadCertificate},
	{"token keys", (*Config).tokenKeyFiles, (*Service).loadTokenKeys},
	{"secret ids", (*Config).secretIDFiles, (*Service).loadSecretIDs},
	{"trusted proxies", (*Config).proxies, (*Service).loadProxies},
	{"authority of those who read metrics", (*Config).metricsFiles, (*Service).loadMetricsCA},
	{"log level", (*Config).logLevel, (*Service).loadLogLevel},
}

// live is what reloads replace.
type live struct {
	certificate atomic.Pointer[tls.Certificate]
	metricsCA   atomic.Pointer[x509.CertPool]
	registered  atomic.Pointer[registered]
	tokenKeys   atomic.Pointer[[]openid.Key]
	issuing     *person.Live
	rules       func() (*policy.Bundle, error)       // in force, to which token keys and platforms have to fit
	holds       func(leaf int64, digest string) bool // what the public log has of platforms
	until       func(ctx context.Context, leaf int64) ([]*policy.Bundle, error)
	look        func(ctx context.Context) error // into the public log

	mu      sync.Mutex          // one reload at a time
	seen    *Config             // the last that could be read
	digests map[string][32]byte // of what is in force, by name

	following *following // of the registry

	refused sync.Map // refusedChange by name, until the change is used or taken back
}

// refusedChange is what was said of a change that cannot be used.
type refusedChange struct {
	digest [32]byte
	err    error
	text   string
}

// nextStart is the name of the rest among the digests.
const nextStart = "next start"

// atStart is the rest: what takes effect at the next start, and the files of it.
func (c *Config) atStart() (any, []string) {
	rest := *c
	rest.TLSCert, rest.TLSKey, rest.LogLevel, rest.TrustedProxies = "", "", "", nil
	files := []string{c.CAFile}
	if c.Issue != nil {
		issue := *c.Issue
		issue.TokenKeys = nil
		rest.Issue = &issue
		files = append(files, c.Issue.Database, c.Issue.CookieKey)
		for _, p := range c.Issue.IdentityProviders {
			files = append(files, p.ClientSecret, p.ClientKey, p.DecryptionKey)
		}
	}
	if c.Disclose != nil {
		files = append(files, c.Disclose.Database, c.Disclose.LogKey)
	}
	if c.Keep != nil {
		files = append(files, c.Keep.Database)
	}
	for _, v := range c.vaults() {
		files = append(files, v.CAFile)
	}
	return rest, slices.DeleteFunc(files, func(name string) bool { return name == "" })
}

func (c *Config) certificateFiles() (any, []string) { return nil, []string{c.TLSCert, c.TLSKey} }

func (s *Service) loadCertificate(_ context.Context, c *Config) error {
	certificate, err := c.certificate()
	if err == nil {
		s.live.certificate.Store(certificate)
	}
	return err
}

func (c *Config) tokenKeyFiles() (any, []string) {
	if c.Issue == nil {
		return nil, nil
	}
	var files []string
	for _, k := range c.Issue.TokenKeys {
		files = append(files, k.File)
	}
	return c.Issue.TokenKeys, files
}

func (s *Service) loadTokenKeys(_ context.Context, c *Config) error {
	if s.Issuing == nil || c.Issue == nil {
		return nil
	}
	b, err := s.live.rules()
	if err != nil {
		return err
	}
	all, err := readTokenKeys(c.Issue.TokenKeys, b)
	err = of("issue", err)
	if err == nil {
		err = s.live.issuing.SetTokenKeys(all)
	}
	if err == nil {
		s.live.tokenKeys.Store(&all)
	}
	return err
}

func (c *Config) secretIDFiles() (any, []string) {
	var files []string
	for _, v := range c.vaults() {
		files = append(files, v.SecretIDFile, v.RenewerSecretIDFile)
	}
	return nil, slices.DeleteFunc(files, func(name string) bool { return name == "" })
}

// vaults are the sides' log-ins.
func (c *Config) vaults() (all []vaultConfig) {
	if c.Issue != nil {
		all = append(all, c.Issue.Vault)
	}
	if c.Disclose != nil {
		all = append(all, c.Disclose.Vault)
	}
	if c.Keep != nil {
		all = append(all, c.Keep.Vault)
	}
	return all
}

func (s *Service) loadSecretIDs(ctx context.Context, _ *Config) (err error) {
	for _, l := range s.logins() {
		err = errors.Join(err, l.Reload(ctx))
	}
	return err
}

// logins are those at Vault.
func (p *Parts) logins() []*vault.Login {
	var all []*vault.Login
	if p.Issuing != nil {
		all = append(all, p.Issuing.Login)
	}
	if p.Disclosing != nil {
		all = append(all, p.Disclosing.Login)
	}
	if p.Keeping != nil {
		all = append(all, p.Keeping.Login)
	}
	return slices.DeleteFunc(all, func(l *vault.Login) bool { return l == nil })
}

// digests tells whether something is another than before.
func (c *Config) digests() map[string][32]byte {
	digests := make(map[string][32]byte)
	digests[nextStart], _ = digest(c.atStart()) // the start says which file cannot be read
	for _, r := range reloadables {
		if sum, err := digest(r.reads(c)); err == nil { // else it is tried each time
			digests[r.name] = sum
		}
	}
	return digests
}

// digest is of settings and of what is in files. A file that cannot be read is an
// error, and counts as empty.
func digest(settings any, files []string) (sum [32]byte, err error) {
	h := sha256.New()
	err = json.NewEncoder(h).Encode(settings)
	for _, name := range files {
		b, rerr := os.ReadFile(name)
		one := sha256.Sum256(b)
		clear(b)
		h.Write(one[:])
		err = errors.Join(err, rerr)
	}
	return [32]byte(h.Sum(nil)), err
}

// reload reads again what changed, or, asked by a person, everything, and returns the
// configuration that names it. What cannot be used is refused, once in the log and in the
// status for as long as it lasts, what was there before stays in force, and it is tried
// again with the next change or the next job.
func (s *Service) reload(ctx context.Context, everything bool) *Config {
	s.live.mu.Lock()
	defer s.live.mu.Unlock()
	c, err := ReadConfig(s.config.file)
	if err != nil {
		whole, _ := digest(nil, []string{s.config.file})
		s.refusedReload("configuration", whole, err)
		c = s.live.seen // what it names may have changed all the same
	} else {
		s.live.refused.Delete("configuration")
	}
	s.live.seen = c
	digests := c.digests()
	if rest := digests[nextStart]; rest != s.live.digests[nextStart] {
		s.live.digests[nextStart] = rest
		s.Log.Warn("the configuration has changes that take effect at the next start")
	}
	for _, r := range reloadables {
		digest, read := digests[r.name]
		if read && digest == s.live.digests[r.name] && !everything {
			s.live.refused.Delete(r.name)
			continue
		}
		if err := r.load(s, ctx, c); err != nil {
			s.refusedReload(r.name, digest, c.placed(err))
			continue
		}
		s.live.refused.Delete(r.name)
		s.live.digests[r.name] = digest
		s.Log.Info("read again", slog.String("what", r.name))
	}
	return c
}

// refusedReload says it once for a change.
func (s *Service) refusedReload(what string, digest [32]byte, err error) {
	change := refusedChange{digest, err, found(what, err).String()}
	before, _ := s.live.refused.Swap(what, change)
	if b, ok := before.(refusedChange); ok && b.digest == digest && b.text == change.text {
		return
	}
	s.Log.Error("a change cannot be used, and what was there before stays in force", append([]any{slog.String("what", what)}, why(err)...)...)
}

// settled is how long files must have been left alone before they are read: who
// replaces a certificate replaces its key a moment later.
const settled = 250 * time.Millisecond

// followFiles reads again what changes, and everything when the machine asks for it,
// until ctx ends.
func (s *Service) followFiles(ctx context.Context, m Machine) {
	var events chan fsnotify.Event
	var lost chan error
	w, err := fsnotify.NewWatcher()
	if err != nil { // the machine has no more of them
		s.Log.Warn("files are not watched: the job named lifetimes looks at them, and SIGHUP has them read", slog.Any("cause", err))
	} else {
		defer w.Close()
		events, lost = w.Events, w.Errors
	}
	c := s.config
	s.watch(w, c)
	quiet := time.NewTimer(0) // what changed since the start
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			quiet.Reset(settled)
			continue
		case <-lost:
			quiet.Reset(settled)
			continue
		case <-quiet.C:
			c = s.reload(ctx, false)
		case <-m.Hangup:
			s.tell(m, Reloading)
			c = s.reload(ctx, true)
			s.tell(m, Ready)
		}
		if s.watch(w, c) {
			quiet.Reset(settled) // what changed before its folder was watched
		}
	}
}

// watch watches the folders in which a change can make a file's name mean something
// else, and tells whether there is a new one. Files are replaced, not written: a file
// that is watched itself would be the old one.
func (s *Service) watch(w *fsnotify.Watcher, c *Config) (more bool) {
	if w == nil {
		return false
	}
	want := folders(c.file)
	_, named := c.atStart()
	for _, r := range reloadables {
		_, files := r.reads(c)
		named = append(named, files...)
	}
	for _, name := range named {
		maps.Copy(want, folders(name))
	}
	have := w.WatchList()
	for folder := range want {
		if slices.Contains(have, folder) {
			continue
		}
		if err := w.Add(folder); err != nil {
			s.Log.Warn("a folder cannot be watched", slog.String("folder", folder), slog.Any("cause", err))
		} else {
			more = true
		}
	}
	for _, folder := range have {
		if !want[folder] {
			w.Remove(folder) //nolint:errcheck // it is gone already
		}
	}
	return more
}

// folders are the folder of a file and those of every symbolic link on the way to it.
func folders(name string) map[string]bool {
	all := make(map[string]bool)
	name, err := filepath.Abs(name)
	for links := 0; err == nil && links < 40; links++ {
		link, target := firstLink(name)
		if link == "" {
			break
		}
		all[filepath.Dir(link)] = true
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(link), target)
		}
		name = target + strings.TrimPrefix(name, link)
	}
	all[filepath.Dir(name)] = true
	return all
}

// firstLink is the first symbolic link of a path, with what it names, or "".
func firstLink(name string) (link, target string) {
	for i := range name {
		if i > 0 && name[i] == filepath.Separator {
			if target, err := os.Readlink(name[:i]); err == nil {
				return name[:i], target
			}
		}
	}
	if target, err := os.Readlink(name); err == nil {
		return name, target
	}
	return "", ""
}

func (s *Service) tell(m Machine, state string) {
	if m.Tell == nil {
		return
	}
	if err := m.Tell(state); err != nil {
		s.Log.Warn("the service manager was not told", slog.String("state", state), slog.Any("cause", err))
	}
}

func (c *Config) proxies() (settings any, files []string) { return c.TrustedProxies, nil }

func (s *Service) loadProxies(_ context.Context, c *Config) error {
	proxies, err := web.ParseProxies(c.TrustedProxies)
	if err == nil {
		s.web.Trust(proxies)
	}
	return err
}
