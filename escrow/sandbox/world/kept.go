package world

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/verifier/document"
)

// kept is what a world has to remember, beside the files of its folder, to be the same
// one after a restart: Dir/world.json.
type kept struct {
	Format    int               `json:"format"`
	Vault     bool              `json:"vault"`
	Addresses map[string]string `json:"addresses"` // host:port of whoever serves, by name
	Secrets   map[string]string `json:"secrets"`   // random, by name
	Clients   []Client          `json:"clients"`
	Case      string            `json:"case"` // that waits for a custodian; empty: none
}

const (
	keptFile   = "world.json"
	keptFormat = 1
)

// Client is a platform of whoever tries the sandbox.
type Client struct {
	ID           string   `json:"client_id"`
	Name         string   `json:"name"`
	Secret       string   `json:"client_secret,omitempty"` // made by the world; none if Native or with Keys
	RedirectURIs []string `json:"redirect_uris"`
	Native       bool     `json:"native"` // an app, which can keep no secret

	// PostLogoutRedirectURIs are where people may be led back to after a logout.
	PostLogoutRedirectURIs []string `json:"post_logout_redirect_uris,omitempty"`

	// BackchannelLogoutURI is where it is told who signed out, and whether of each sign-in:
	// see openid.Platform.
	BackchannelLogoutURI             string `json:"backchannel_logout_uri,omitempty"`
	BackchannelLogoutSessionRequired bool   `json:"backchannel_logout_session_required,omitempty"`

	// IDTokenAlg is EdDSA or RS256, those of the world's keys; empty is RS256.
	IDTokenAlg string `json:"id_token_alg,omitempty"`

	// Username and Email let it ask for a handle and for an e-mail address.
	Username bool `json:"username,omitempty"`
	Email    bool `json:"email,omitempty"`

	// Keys, its public ones, are for a client that signs instead of having a secret.
	Keys []jose.JSONWebKey `json:"keys,omitempty"`
}

// Registrable reports whether c may have a redirect URI, in a sandbox.
func (c Client) Registrable(uri string) bool {
	return openid.Platform{Native: c.Native, Localhost: true}.Registrable(uri)
}

// openDir takes the folder that o names, or a temporary one, and reads what is kept there.
func (w *World) openDir(o Options) error {
	w.kept = kept{Format: keptFormat, Vault: o.Vault, Addresses: map[string]string{}, Secrets: map[string]string{}}
	var dir *sandbox.Dir
	var err error
	if o.Keep == "" {
		dir, err = sandbox.TemporaryDir("penname-sandbox-")
	} else {
		dir, err = sandbox.KeptDir(o.Keep, keptFile)
	}
	if err != nil {
		return err
	}
	w.Dir, w.keeps = dir.Path, o.Keep != ""
	w.onClose(dir.Close)
	raw, err := os.ReadFile(w.Path(keptFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	w.Resumed = true
	var format struct{ Format int }
	if err == nil {
		err = json.Unmarshal(raw, &format)
	}
	if err != nil || format.Format != keptFormat {
		return sandbox.ErrOtherVersion
	}
	if err := json.Unmarshal(raw, &w.kept); err != nil {
		return sandbox.ErrOtherVersion
	}
	if w.kept.Vault != o.Vault {
		return sandbox.ErrOtherSettings.Because(errors.New("--vault"))
	}
	return nil
}

// save writes what is kept, in one step.
func (w *World) save() error {
	if !w.keeps {
		return nil
	}
	raw, err := json.MarshalIndent(w.kept, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(w.Path(keptFile+".new"), raw, 0o600); err != nil {
		return err
	}
	return os.Rename(w.Path(keptFile+".new"), w.Path(keptFile))
}

// listen opens the address that name was served at before, else the one that is asked for,
// and returns its origin.
func (w *World) listen(name, address string) (net.Listener, string, error) {
	before, known := w.kept.Addresses[name]
	if known {
		if _, port, err := net.SplitHostPort(address); err == nil && port != "0" && address != before {
			return nil, "", sandbox.ErrOtherSettings.Because(errors.New("--listen: it is at " + before))
		}
		address = before
	}
	ln, origin, err := w.listenAt(address)
	if err != nil && known {
		return nil, "", sandbox.ErrAddressTaken.Because(errors.Unwrap(err))
	}
	if err == nil {
		_, w.kept.Addresses[name], _ = strings.Cut(origin, "://")
	}
	return ln, origin, err
}

// serveAs is serve for somebody whose address is kept.
func (w *World) serveAs(name string, h func(origin string) (http.Handler, error)) (string, error) {
	ln, origin, err := w.listen(name, w.here())
	if err != nil {
		return "", err
	}
	return origin, w.serveOn(ln, origin, h)
}

// secret is that of a name: the one before, or a new one.
func (w *World) secret(name string) string {
	if _, ok := w.kept.Secrets[name]; !ok {
		w.kept.Secrets[name] = rand.Text()
	}
	return w.kept.Secrets[name]
}

// key is the Ed25519 signing key in Dir/name.jwk, which is made if there is none.
func (w *World) key(name string) (jose.JSONWebKey, error) { return w.keyFor(name, jose.EdDSA) }

// keyFor is key for another algorithm.
func (w *World) keyFor(name string, alg jose.SignatureAlgorithm) (k jose.JSONWebKey, err error) {
	file := w.Path(name + ".jwk")
	b, err := os.ReadFile(file)
	if err == nil {
		return k, json.Unmarshal(b, &k)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return k, err
	}
	if k, err = document.NewKeyFor(alg); err != nil {
		return k, err
	}
	if b, err = k.MarshalJSON(); err != nil {
		return k, err
	}
	return k, os.WriteFile(file, b, 0o600)
}

// KeepCase remembers the case that waits for a custodian.
func (w *World) KeepCase(id string) error {
	w.kept.Case = id
	return w.save()
}

// Case is the case that waits for a custodian; empty if there is none.
func (w *World) Case() string { return w.kept.Case }

// Clients are the platforms of whoever tries the sandbox.
func (w *World) Clients() []Client { return w.kept.Clients }

// Edited reports whether a client is registered in another way than was asked for when
// the world started: with the operator's program.
func (w *World) Edited(id string) bool { return w.edited[id] }

// addClients adds what is new, replaces what is asked for in another way than before, and
// returns the ids of both.
func (w *World) addClients(asked []Client) map[string]bool {
	other := map[string]bool{}
	for _, c := range asked {
		if !c.Native && c.Keys == nil {
			c.Secret = w.secret(c.ID)
		}
		i := slices.IndexFunc(w.kept.Clients, func(before Client) bool { return before.ID == c.ID })
		if i < 0 {
			w.kept.Clients, other[c.ID] = append(w.kept.Clients, c), true
			continue
		}
		if !reflect.DeepEqual(w.kept.Clients[i], c) {
			w.kept.Clients[i], other[c.ID] = c, true
		}
	}
	return other
}
