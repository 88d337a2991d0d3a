package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/deploy"
	"github.com/penname/penname/escrow/keep"
)

// Admin is who may set Vault up: a person with a token of their own, once. No
// service holds such a token.
type Admin struct {
	Address string
	CAFile  string
	Token   string        `json:"-"`
	Timeout time.Duration // of one call; zero means DefaultTimeout

	// BoundCIDRs limits from where a side, and its renewer, may log in and their tokens
	// be used, as [ParseAddresses] returns it. A list that is empty is anywhere, and without
	// a renewer. A side that is missing keeps its addresses; one that is new has none.
	BoundCIDRs map[Side][]string

	// SecretIDTTL is how long a secret id lives; zero means ninety days. In whole seconds.
	SecretIDTTL time.Duration
}

// String hides the token.
func (a Admin) String() string { return "administrator of " + a.Address }

// GoString is String.
func (a Admin) GoString() string { return a.String() }

// Limits of the AppRoles that Bootstrap makes, in Vault's notation.
const (
	tokenTTL    = "20m" // a token that leaks is of use this long, unless renewed
	tokenMaxTTL = "24h" // and this long in any case
)

// secretIDTTL is how long a secret id lives. When half of it is over it is renewed, and
// half of it is left to mend what fails.
const secretIDTTL = 90 * 24 * time.Hour

func seconds(d string) int64 {
	life, _ := time.ParseDuration(d)
	return int64(life / time.Second)
}

// ParseAddresses reads networks in CIDR notation, and addresses alone, which are networks
// of one, as [Admin] takes them. "any", alone, is the empty list.
func ParseAddresses(texts []string) ([]string, error) {
	if len(texts) == 1 && texts[0] == "any" {
		return []string{}, nil
	}
	var all []string
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if one, oneErr := netip.ParseAddr(text); oneErr == nil && one.Zone() == "" {
			network, err = one.Prefix(one.BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a network, such as 192.0.2.1/32 or 192.0.2.0/24", text)
		}
		all = append(all, network.String())
	}
	if all == nil {
		return nil, errors.New("no address is named: any is from anywhere")
	}
	return all, nil
}

// Bootstrap makes Vault ready for all sides: the Transit mounts without
// implicit key creation, an end of secret ids that is the one asked for, the four
// keys, the policies of deploy/vault-policies and their AppRoles. It changes only what is missing
// or different, and returns one line for each change; a second run returns none. A key that cannot be made safe again is ErrUnsafeKey, and is left as
// it is.
func Bootstrap(ctx context.Context, a Admin) (changes []string, err error) {
	e, err := newEndpoint(a.Address, a.CAFile, a.Timeout)
	if err != nil {
		return nil, err
	}
	b := bootstrap{endpoint: e, admin: a, ttl: int64(cmp.Or(a.SecretIDTTL, secretIDTTL) / time.Second)}
	for _, step := range []func(context.Context) error{b.mounts, b.keys, b.policies, b.roles} {
		if err := step(ctx); err != nil {
			return b.changes, err
		}
	}
	return b.changes, nil
}

type bootstrap struct {
	*endpoint
	admin   Admin
	ttl     int64 // of a secret id, seconds
	changes []string
}

// read returns found = false for what is not there.
func (b *bootstrap) read(ctx context.Context, path string, out any) (found bool, err error) {
	err = b.do(ctx, b.admin.Token, http.MethodGet, path, 0, nil, out)
	var status *statusError
	// A mount that is not there answers 400 on sys/mounts/…, 404 elsewhere.
	if errors.As(err, &status) && (status.status == http.StatusNotFound || status.status == http.StatusBadRequest) {
		return false, nil
	}
	if err != nil {
		return false, failedStep(err)
	}
	return true, nil
}

func (b *bootstrap) write(ctx context.Context, change, path string, body any) error {
	if err := b.do(ctx, b.admin.Token, http.MethodPost, path, 0, body, nil); err != nil {
		return failedStep(err)
	}
	b.changes = append(b.changes, change)
	return nil
}

// failedStep keeps a refusal that says how to mend it; Vault's 400 says nothing.
func failedStep(err error) error {
	if errors.Is(err, keep.ErrUnavailable) || errors.Is(err, ErrRedirect) || errors.Is(err, ErrAddress) {
		return err
	}
	return ErrBootstrap.Because(err)
}

// mount enables an engine or auth method, of that type and no other, and takes
// back what would write its values in clear into the audit device or hand
// headers through.
func (b *bootstrap) mount(ctx context.Context, path, kind, done string) error {
	var have struct {
		Data struct {
			Type   string
			Config map[string]any
		}
	}
	found, err := b.read(ctx, path, &have)
	switch {
	case err != nil:
		return err
	case !found:
		return b.write(ctx, done, path, map[string]any{"type": kind, "description": "Penname"})
	case have.Data.Type != kind:
		return ErrBootstrap.Because(fmt.Errorf("%s is of the type %s, not %s", path, have.Data.Type, kind))
	}
	for _, list := range []string{"audit_non_hmac_request_keys", "audit_non_hmac_response_keys", "passthrough_request_headers", "allowed_response_headers"} {
		if have.Data.Config[list] == nil {
			continue
		}
		if err := b.write(ctx, "emptied "+list+" of "+path, path+"/tune", map[string]any{list: []string{}}); err != nil {
			return err
		}
	}
	return nil
}

func (b *bootstrap) mounts(ctx context.Context) error {
	for _, path := range []string{mount, groupMount} {
		if err := b.mount(ctx, "sys/mounts/"+path, "transit", "mounted transit at "+path); err != nil {
			return err
		}
	}
	if err := b.mount(ctx, "sys/auth/approle", "approle", "enabled the auth method approle"); err != nil {
		return err
	}
	if err := b.longLives(ctx); err != nil {
		return err
	}
	for _, path := range []string{mount, groupMount} {
		var config struct {
			Data struct {
				DisableUpsert bool `json:"disable_upsert"`
			}
		}
		if _, err := b.read(ctx, path+"/config/keys", &config); err != nil {
			return err
		}
		if config.Data.DisableUpsert {
			continue
		}
		if err := b.write(ctx, "forbade implicit creation of keys in "+path, path+"/config/keys", map[string]any{"disable_upsert": true}); err != nil {
			return err
		}
	}
	return nil
}

// longLives lets the auth method give secret ids the life that is asked for: Vault
// ends each after the mount's maximum, whatever its role says, and by default that is
// 768 hours (FOUND C1).
func (b *bootstrap) longLives(ctx context.Context) error {
	var tuned struct {
		Data struct {
			Max int64 `json:"max_lease_ttl"` // seconds
		}
	}
	if _, err := b.read(ctx, "sys/auth/approle/tune", &tuned); err != nil || tuned.Data.Max >= b.ttl {
		return err
	}
	return b.write(ctx, "let secret ids live as long as is asked", "sys/auth/approle/tune", map[string]any{"max_lease_ttl": b.ttl})
}

func (b *bootstrap) keys(ctx context.Context) error {
	for _, name := range keysOf(SideIssuing) {
		path, want := mount+"/keys/"+name, wantKeys[name]
		var have struct{ Data keyFlags }
		found, err := b.read(ctx, path, &have)
		if err != nil {
			return err
		}
		if !found {
			body := map[string]any{"type": want.Type, "derived": want.Derived, "exportable": false, "allow_plaintext_backup": false}
			if want.Type == "hmac" {
				body["key_size"] = 32
			}
			if err := b.write(ctx, "made the key "+name, path, body); err != nil {
				return err
			}
			continue
		}
		if have.Data.DeletionAllowed { // the one flag that Vault lets us take back
			if err := b.write(ctx, "forbade deletion of the key "+name, path+"/config", map[string]any{"deletion_allowed": false}); err != nil {
				return err
			}
			have.Data.DeletionAllowed = false
		}
		if flag := have.Data.wrong(name); flag != "" {
			return ErrUnsafeKey.Because(fmt.Errorf("%s of %s", flag, name))
		}
	}
	return nil
}

func (b *bootstrap) policies(ctx context.Context) error {
	for _, side := range allRoles() {
		want, err := deploy.VaultPolicies.ReadFile("vault-policies/" + string(side) + ".hcl")
		if err != nil {
			return err
		}
		path := "sys/policies/acl/" + string(side)
		var have struct{ Data struct{ Policy string } }
		if _, err := b.read(ctx, path, &have); err != nil {
			return err
		}
		if strings.TrimSpace(have.Data.Policy) == strings.TrimSpace(string(want)) {
			continue
		}
		if err := b.write(ctx, "wrote the policy "+string(side), path, map[string]any{"policy": string(want)}); err != nil {
			return err
		}
	}
	return nil
}

// role is an AppRole as Vault shows it.
type role struct {
	Policies        []string `json:"token_policies"`
	NoDefaultPolicy bool     `json:"token_no_default_policy"`
	TokenType       string   `json:"token_type"`
	TTL             int64    `json:"token_ttl"`
	MaxTTL          int64    `json:"token_max_ttl"`
	NumUses         int      `json:"token_num_uses"`
	Period          int64    `json:"token_period"`
	ExplicitMaxTTL  int64    `json:"token_explicit_max_ttl"`
	CIDRs           []string `json:"token_bound_cidrs"`
	BindSecretID    bool     `json:"bind_secret_id"`
	SecretIDTTL     int64    `json:"secret_id_ttl"`
	SecretIDUses    int      `json:"secret_id_num_uses"`
	SecretIDCIDRs   []string `json:"secret_id_bound_cidrs"`
}

func (b *bootstrap) roles(ctx context.Context) error {
	bound := make(map[Side][]string)
	for _, side := range allRoles() {
		var have struct{ Data role }
		found, err := b.read(ctx, rolePath(side), &have)
		if err != nil {
			return err
		}
		r, of := have.Data, Side(strings.TrimSuffix(string(side), renewer))
		cidrs := b.admin.BoundCIDRs[of]
		if cidrs == nil { // its own stay, and a renewer without has those of its side
			for _, kept := range [][]string{r.SecretIDCIDRs, r.CIDRs, bound[of]} {
				if len(cidrs) == 0 && len(kept) > 0 {
					cidrs, err = ParseAddresses(kept) // Vault shows one address without the /32, and does not take it
				}
			}
			if err != nil {
				return ErrBootstrap.Because(err)
			}
		}
		bound[side] = cidrs
		if len(cidrs) == 0 && side != of {
			continue // what mints is bound to an address, or is not made
		}
		if found && slices.Equal(r.Policies, []string{string(side)}) && r.NoDefaultPolicy && r.TokenType == "service" &&
			r.TTL == seconds(tokenTTL) && r.MaxTTL == seconds(tokenMaxTTL) && r.NumUses == 0 && r.Period == 0 && r.ExplicitMaxTTL == 0 &&
			r.BindSecretID && r.SecretIDTTL == b.ttl && r.SecretIDUses == 0 &&
			sameAddresses(r.CIDRs, cidrs) && sameAddresses(r.SecretIDCIDRs, cidrs) {
			continue
		}
		if err := b.write(ctx, "wrote the AppRole "+string(side), rolePath(side), map[string]any{
			"token_policies": []string{string(side)}, "token_no_default_policy": true, "token_type": "service",
			"token_ttl": tokenTTL, "token_max_ttl": tokenMaxTTL, "token_num_uses": 0, "token_period": 0, "token_explicit_max_ttl": 0,
			"token_bound_cidrs": append([]string{}, cidrs...), "bind_secret_id": true, "secret_id_ttl": b.ttl, "secret_id_num_uses": 0,
			"secret_id_bound_cidrs": append([]string{}, cidrs...),
		}); err != nil {
			return err
		}
	}
	return nil
}

// sameAddresses compares: Vault leaves the /32 out of one of its two lists.
func sameAddresses(have, want []string) bool {
	return slices.EqualFunc(have, want, func(a, b string) bool {
		short := func(s string) string { return strings.TrimSuffix(strings.TrimSuffix(s, "/32"), "/128") }
		return short(a) == short(b)
	})
}

// RoleIDs returns the role id of each side's AppRole, and of each renewer's that
// [Bootstrap] made. They are not secret, and belong into the configuration.
func RoleIDs(ctx context.Context, a Admin) (map[Side]string, error) {
	e, err := newEndpoint(a.Address, a.CAFile, a.Timeout)
	if err != nil {
		return nil, err
	}
	ids := make(map[Side]string)
	for _, side := range allRoles() {
		id, err := e.roleID(ctx, a.Token, side)
		if errors.Is(err, errNoRole) && strings.HasSuffix(string(side), renewer) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ids[side] = id
	}
	return ids, nil
}

var errNoRole = errors.New("there is no such AppRole: escrowd vault bootstrap makes it, a renewer's only for a side that is bound to addresses")

// roleID is ErrBootstrap because of errNoRole for a role that is not there.
func (e *endpoint) roleID(ctx context.Context, token string, side Side) (string, error) {
	var id struct {
		Data struct {
			RoleID string `json:"role_id"`
		}
	}
	err := e.do(ctx, token, http.MethodGet, rolePath(side)+"/role-id", 0, nil, &id)
	var status *statusError
	switch {
	case errors.As(err, &status) && status.status == http.StatusNotFound:
		return "", ErrBootstrap.Because(errNoRole)
	case err != nil:
		return "", failedStep(err)
	case id.Data.RoleID == "":
		return "", errBadResponse
	}
	return id.Data.RoleID, nil
}

// Credentials are what a side logs in with.
type Credentials struct {
	RoleID string
	Secret string `json:"-"` // the secret id, or the wrapping token that holds it
}

// String hides the secret.
func (c Credentials) String() string { return "role " + c.RoleID + ", secret id [redacted]" }

// GoString is String.
func (c Credentials) GoString() string { return c.String() }

// NewCredentials makes a secret id for a side or a renewer. With a wrapTTL above zero it is
// wrapped: what is returned is a token that gives the secret id once, within
// wrapTTL, so that a copy taken on the way is noticed (ErrWrapUsed).
func NewCredentials(ctx context.Context, a Admin, side Side, wrapTTL time.Duration) (Credentials, error) {
	e, err := newEndpoint(a.Address, a.CAFile, a.Timeout)
	if err != nil {
		return Credentials{}, err
	}
	id, err := e.roleID(ctx, a.Token, side)
	if err != nil {
		return Credentials{}, err
	}
	var secret struct {
		Data struct {
			SecretID string `json:"secret_id"`
		}
		WrapInfo struct{ Token string } `json:"wrap_info"`
	}
	if err := e.do(ctx, a.Token, http.MethodPost, rolePath(side)+"/secret-id", wrapTTL, map[string]any{}, &secret); err != nil {
		return Credentials{}, failedStep(err)
	}
	c := Credentials{RoleID: id, Secret: secret.Data.SecretID}
	if wrapTTL > 0 {
		c.Secret = secret.WrapInfo.Token
	}
	if c.Secret == "" {
		return Credentials{}, errBadResponse
	}
	return c, nil
}
