// Package vault is every call that Penname makes to HashiCorp Vault.
//
// Vault holds four keys in a Transit mount of their own, a record key for each group of
// people in a second one, and three roles that share no right in them:
//
//	key                  type                    issuing   disclosing   keeping
//	penname-record       aes256-gcm96, derived   encrypt   decrypt      rotate, rewrap, trim         first halves, context = record label
//	penname-record-N     aes256-gcm96, derived   encrypt   decrypt      make, rotate, rewrap, trim   likewise, of group N (see package keep)
//	penname-link         aes256-gcm96, derived   encrypt   decrypt      –                            pseudonym → record, context = pseudonym
//	penname-fingerprint  hmac, never rotated     hmac      –            –                            one person enrols once
//	penname-pseudonym    hmac, never rotated     hmac      –            –                            pen names
//
// The second mount is there so that a right to the keys of all groups is one to nothing
// else: in a policy, + is one part of a path and * is all that follows.
//
// [Issuing] implements the port of escrow/issue, [Disclosing] that of
// escrow/disclose and [Keeping] that of escrow/keep. Each logs in with its own
// AppRole; a process that holds one cannot do what another does, and Vault
// enforces it. [OpenIssuing], [OpenDisclosing] and [OpenKeeping] refuse to
// return a side whose token can do anything more than deploy/vault-policies
// grants, or whose keys could be exported, backed up in clear or deleted; or
// whose secret id ends within a day. The key of a group is looked at when the side first
// uses it: there are thousands.
//
// Each side has a renewer besides, a role that can do nothing but mint and destroy
// secret ids of that side and of itself, from the side's addresses: secretid.go.
//
// Trusted: Vault's storage and its administrators hold one of two halves; with
// the database they open nothing. Not checked here: that Vault's audit device
// is on (its role would need sudo to see it). [ReadAudit] reads its file, to be
// compared with the log's leaves.
//
// Whatever goes wrong between here and Vault is a refusal, and a refusal never
// carries a label, a value or Vault's own text.
package vault

import (
	"errors"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// Refusals of a call, besides those of every key service: keep.ErrUnavailable
// when Vault is in standby, overloaded, slow, gone, or answered something
// that is not an answer; keep.ErrInput, keep.ErrDecryptFailed and keep.ErrArchived.
var (
	// ErrRedirect: Vault, or something in its place, pointed to another host.
	ErrRedirect = refusal.New(refusal.Unavailable, "keys.redirect_refused", "The key service redirected the call, which is never followed: configure the address of the active Vault node.")
	// ErrSealed: as Vault is after each of its starts. [errors.Is] finds
	// keep.ErrUnavailable in it, which is what the calls that serve people return for it.
	ErrSealed = refusal.New(refusal.Unavailable, "keys.sealed", "Vault is sealed, as after each of its starts: nothing was disclosed; have it unsealed by those who hold its keys (vault operator unseal), or initialised if it is new.")
	// ErrDenied: the role may not do this, even with a fresh token.
	ErrDenied = refusal.New(refusal.Denied, "keys.denied", "Vault refused the call: give the role the policy of deploy/vault-policies, no more and no less.")
)

// Refusals to start.
var (
	ErrAddress     = refusal.New(refusal.Invalid, "vault.address", "Give Vault's address as https://host:port; plain http is for a loopback address only.")
	ErrCA          = refusal.New(refusal.Invalid, "vault.ca_file", "Give a readable PEM file with the certificate authority of Vault.")
	ErrSkipVerify  = refusal.New(refusal.Invalid, "vault.skip_verify", "Unset VAULT_SKIP_VERIFY: the certificate of Vault is always verified.")
	ErrEnvToken    = refusal.New(refusal.Invalid, "vault.token_in_environment", "Unset VAULT_TOKEN: a service logs in by AppRole and holds no other token.")
	ErrEnvironment = refusal.New(refusal.Invalid, "vault.environment", "Unset the VAULT_ variables of the environment: one of them cannot be read, and none is used.")
	ErrSecretFile  = refusal.New(refusal.Invalid, "vault.secret_id_file", "Give a file, readable by its owner only (mode 0600), that holds one secret id or one wrapping token; a wrapping token, and an id that is renewed, in a folder that the service may write to.")
	ErrWrapUsed    = refusal.New(refusal.Denied, "vault.wrap_used", "The wrapping token is spent, expired or of another role, and Vault does not say which. This service did not spend it: it would have put the secret id in its place. Make a new secret id and revoke the old one; if the token had not expired, and no copy of the file was used elsewhere, somebody else has had it: investigate.")
	ErrWrapBroken  = refusal.New(refusal.Denied, "vault.wrap_interrupted", "A start was interrupted at the very moment when it spent the wrapping token, and the secret id is lost: make a new one and revoke the old one. It need not be anybody's doing.")
	ErrLogin       = refusal.New(refusal.Unauthenticated, "vault.login", "Vault did not accept the role id and secret id, which may have ended: make a new secret id for this role.")
	ErrEndsSoon    = refusal.New(refusal.Invalid, "vault.secret_id_ends", "The secret id ends within a day: make a new one, and name a renewer, so that this needs no hand again.")
	ErrRootToken   = refusal.New(refusal.Invalid, "vault.root_token", "The role's token has the policy root: run escrowd vault bootstrap and use its role.")
	ErrTooBroad    = refusal.New(refusal.Invalid, "vault.too_broad", "The role may do more than its side needs, or for longer: run escrowd vault bootstrap, and attach no other policy.")
	ErrTooNarrow   = refusal.New(refusal.Invalid, "vault.too_narrow", "The role may do less than its side needs: run escrowd vault bootstrap.")
	ErrUnsafeKey   = refusal.New(refusal.Invalid, "vault.unsafe_key", "A Transit key is missing, or its type or flags are not those that bootstrap gives: no person may be sealed with it.")
	ErrBootstrap   = refusal.New(refusal.Unavailable, "vault.bootstrap", "Vault did not carry out a step of the bootstrap: check the token's rights and run it again, it continues where it stopped.")
)

var errBadResponse = keep.ErrUnavailable.Because(errors.New("the answer does not fit the question"))

// Side is one of the three roles.
type Side string

// The sides; their names are those of the AppRoles and policies, too.
const (
	SideIssuing    Side = "penname-issuing"
	SideDisclosing Side = "penname-disclosing"
	SideKeeping    Side = "penname-keeping"
)

// Renewer is the role that mints the secret ids of a side, and its own.
func (s Side) Renewer() Side { return s + renewer }

const renewer = "-renewer"

// Names inside Vault. They are constants because the policies are files.
const (
	mount          = "penname-transit"
	groupMount     = "penname-groups"
	keyRecord      = "penname-record"
	keyLink        = "penname-link"
	keyFingerprint = "penname-fingerprint"
	keyPseudonym   = "penname-pseudonym"
)

// recordKey is the path of an operation with the record key of a group, or of what is below
// the key.
func recordKey(operation string, group int) string {
	if group == 0 {
		return mount + "/" + operation + "/" + keyRecord
	}
	return groupMount + "/" + operation + "/" + keyRecord + "-" + strconv.Itoa(group)
}

// Limits of what one call may carry, in bytes.
const (
	maxLabel    = 512
	maxValue    = 64 << 10
	maxResponse = 64 << 20
)

// DefaultTimeout bounds one call to Vault, log-in included: a request that needs it is
// answered within five seconds.
const DefaultTimeout = 4 * time.Second

// Config says where Vault is and how one side logs in. Everything comes from
// here: the VAULT_ variables of the environment have no effect, except that
// VAULT_SKIP_VERIFY, VAULT_TOKEN and one that cannot be read stop the start.
type Config struct {
	Address      string        // https://host:port, or http:// on a loopback address
	CAFile       string        // PEM; empty for the system's authorities
	RoleID       string        // of the side's AppRole; not secret
	SecretIDFile string        // mode 0600; holds the secret id, or a wrapping token ("hvs.…") whose place it takes
	Timeout      time.Duration // of one call; zero means DefaultTimeout
	Now          func() time.Time

	// The side's renewer, with a secret id file of its own. Without one the secret id
	// ends some day, and a hand has to make another.
	RenewerRoleID       string
	RenewerSecretIDFile string

	MinLeft time.Duration // a side whose secret id ends sooner does not open; zero means a day
}

// renewer is how the side's renewer logs in.
func (c Config) renewer() Config {
	c.RoleID, c.SecretIDFile, c.RenewerRoleID, c.RenewerSecretIDFile = c.RenewerRoleID, c.RenewerSecretIDFile, "", ""
	return c
}

func (c *Config) check() error {
	if os.Getenv("VAULT_SKIP_VERIFY") != "" {
		return ErrSkipVerify
	}
	if os.Getenv("VAULT_TOKEN") != "" {
		return ErrEnvToken
	}
	return checkAddress(c.Address)
}

func checkAddress(address string) error {
	u, err := url.Parse(address)
	if err != nil || !document.Secure(u, document.Loopback) || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Path != "" && u.Path != "/") {
		return ErrAddress
	}
	return nil
}
