package policy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// Why a record of a platform is refused.
var (
	ErrPlatform = refusal.New(refusal.Invalid, "platform.malformed",
		"The record of the platform is not a signed statement of the published form: make it with `escrowd platform add` or `escrowd platform edit`.")
	ErrPlatformTooLarge = refusal.New(refusal.Invalid, "platform.too_large",
		"The record of the platform is larger than 256 KiB: name fewer origins and keys.")
	ErrPlatformSignature = refusal.New(refusal.Unauthenticated, "platform.bad_signature",
		"The record of the platform is not signed with a registry key of the bundle in force: sign it with that key.")
	ErrCountersignature = refusal.New(refusal.Unauthenticated, "platform.bad_countersignature",
		"The countersignature is not over this record by one of the platform keys that may, and a key that still waits may let nobody into a sector: make it with `escrow platform countersign` from the record that the operator sent.")
	ErrPlatformNotNext = refusal.New(refusal.Conflict, "platform.not_next",
		"The record does not follow the one that the registry holds: it must count up by one and name the SHA-256 of the signed record before; make it again from what is there now.")
	ErrPlatformFixed = refusal.New(refusal.Conflict, "platform.fixed",
		"The record changes what is fixed at registration: an id, a sector and whom it takes over from stay, a reported key stays reported, a kid names one key for ever, and who has retired does not come back; register another platform instead.")
	ErrSectorTaken = refusal.New(refusal.Denied, "platform.sector_taken",
		"Other platforms have this sector, and who shares it sees the same pen names: one of them must countersign the record with its evidence key.")
	ErrSucceeds = refusal.New(refusal.Denied, "platform.succeeds",
		"Who takes over from a platform is countersigned by that platform, with an evidence key that need not wait any more, while it is neither retired nor stopped, and has its sector: make the record with `escrowd platform add --succeeds`, and have it countersigned with `escrow platform countersign`.")
	ErrPlatformListed = refusal.New(refusal.Denied, "platform.listed",
		"The rules list this platform, or did: its first record must have the evidence keys that they name and are in force, or be countersigned with one of them, and its sector is its id.")
	ErrNoRegistry = refusal.New(refusal.Denied, "bundle.no_registry",
		"The bundle in force names no registry key, so no platform can be registered: let the custodians endorse a bundle with a registry.")
)

// PlatformRecord is one version of a platform's entry in the registry. It is signed
// with a registry key of the bundle in force, and a leaf of the public log has the digest
// of the compact JWS and its countersignatures (proof.PlatformDigest). Each version names the one before, so that the newest
// vouches for all.
type PlatformRecord struct {
	Version  int    `json:"version"`  // of this format: 1
	ID       string `json:"id"`       // client id, the aud of its tokens, for ever: at most 64 characters
	Number   int    `json:"number"`   // of this record among those of the platform, from 1 on
	Previous string `json:"previous"` // hex SHA-256 of the signed record before; "" for number 1

	Name      string   `json:"name"`
	Origins   []string `json:"origins"`    // "https://example.org"; may be empty for an app
	Sector    string   `json:"sector"`     // who shares it sees the same pen names; "": the id. Fixed
	SectorURI string   `json:"sector_uri"` // sector_identifier_uri (OpenID Connect Core, 8.1), or "". Fixed

	// Succeeds is the platform that this one takes over from, whose sector it has though its
	// addresses are others, or "". Fixed.
	Succeeds string `json:"succeeds,omitempty"`
	// Personas is how many pen names one person may have there, from 2 to [MaxPersonas]; 0 is
	// one. Of the platforms of a sector, the least counts.
	Personas int `json:"personas,omitempty"`

	Keys    json.RawMessage `json:"keys"`   // JWKS of its evidence keys; none: it can give no evidence
	Stolen  []string        `json:"stolen"` // kids reported stolen, of this record or of earlier ones; only grows
	Retired bool            `json:"retired"`
	Client  string          `json:"client"` // ClientHash of the settings of its OpenID client, which are not public

	keys   document.KeySet
	digest string
}

// MaxPersonas is the most pen names that a platform may allow one person: with more, one
// person could be a crowd.
const MaxPersonas = 5

// maxPlatformID is that of a client id.
const maxPlatformID = 64

// SignPlatform returns the compact JWS of a record, typ "penname-platform+jwt". key is
// a registry key. It refuses what [ParsePlatform] could not read.
func SignPlatform(key jose.JSONWebKey, r PlatformRecord) (string, error) {
	payload, err := r.payload()
	if err != nil {
		return "", err
	}
	return platformFormat.Sign(key, payload)
}

func (r PlatformRecord) payload() ([]byte, error) {
	r.normalise()
	if err := r.compile(); err != nil {
		return nil, ErrPlatform.Because(err)
	}
	payload, err := marshal(r)
	if err != nil {
		return nil, ErrPlatform.Because(errors.New("cannot be encoded"))
	}
	return payload, nil
}

// ParsePlatform reads a signed record and checks its form. It does NOT check the
// signature: that is for [Bundle.VerifyPlatform], and for [NewPlatforms].
func ParsePlatform(signed string) (*PlatformRecord, error) {
	_, r, err := openPlatform(platformFormat, signed)
	return r, err
}

func openPlatform(f *document.Format, signed string) (*document.Signed, *PlatformRecord, error) {
	d, r, err := open[PlatformRecord](f, signed)
	if err != nil {
		return nil, nil, err
	}
	if err := r.compile(); err != nil {
		return nil, nil, ErrPlatform.Because(err)
	}
	sum := Hash(signed)
	r.digest = hex.EncodeToString(sum[:])
	return d, r, nil
}

// CountersignPlatform returns the JWS of a platform, typ
// "penname-platform-countersignature+jwt", over the payload of a signed record. key is
// an evidence key: of the record before, so that a new key need not wait, or of a
// platform whose sector the record wants to share.
func CountersignPlatform(key jose.JSONWebKey, signed string) (string, error) {
	_, r, err := openPlatform(platformFormat, signed)
	if err != nil {
		return "", err
	}
	payload, err := r.payload()
	if err != nil {
		return "", err
	}
	return countersignatureFormat.Sign(key, payload)
}

// countersigner returns the one of keys that countersigned the record signed.
func countersigner(countersigned, signed string, keys document.KeySet) (*document.Key, error) {
	record, err := platformFormat.Open(signed)
	if err != nil {
		return nil, err
	}
	d, _, err := openPlatform(countersignatureFormat, countersigned)
	if err != nil {
		return nil, err
	}
	key, err := keys.Find(d)
	if err != nil || !bytes.Equal(d.Payload, record.Payload) {
		return nil, ErrCountersignature
	}
	return key, d.Verify(key.Public)
}

// Digest is the hex SHA-256 of the signed record that was parsed, as the one after it
// names it.
func (r *PlatformRecord) Digest() string { return r.digest }

// SectorID is what pen names at the platform depend on.
func (r *PlatformRecord) SectorID() string {
	if r.Sector == "" {
		return r.ID
	}
	return r.Sector
}

// ClientHash is Client of a record whose OpenID client has these settings.
func ClientHash(settings []byte) string {
	sum := sha256.Sum256(settings)
	return hex.EncodeToString(sum[:])
}

// Successor returns a draft of the version after r, which was parsed: change it and
// sign it.
func (r *PlatformRecord) Successor() PlatformRecord {
	next := *r
	next.Number, next.Previous = r.Number+1, r.digest
	next.Origins, next.Stolen = slices.Clone(r.Origins), slices.Clone(r.Stolen)
	next.keys, next.digest = nil, ""
	return next
}

// Lines shows a record to who shall countersign it: one line for each thing it says.
func (r *PlatformRecord) Lines() []string { return r.LinesIn(fmt.Sprintf) }

// LinesIn is Lines in the language of say.
func (r *PlatformRecord) LinesIn(say proof.Say) []string {
	or := func(s string) string { return cmp.Or(s, say("none")) }
	lines := []string{
		say("platform %s: %s, record %s, after %s", r.ID, r.Name, strconv.Itoa(r.Number), or(r.Previous)),
		say("sector %s, checked at %s", r.SectorID(), or(r.SectorURI)),
		say("origins %s", or(strings.Join(r.Origins, ", "))),
	}
	if r.Succeeds != "" {
		lines = append(lines, say("takes over from %s: people who say yes are known to it by the pen names that they have there", r.Succeeds))
	}
	if r.Personas > 0 {
		lines = append(lines, say("one person may have %s pen names", strconv.Itoa(r.Personas)))
	}
	for i := range r.keys {
		print, _ := r.keys[i].Thumbprint() // it was read as a key
		lines = append(lines, say("evidence key %s, thumbprint %s", r.keys[i].KeyID, print))
	}
	for _, kid := range r.Stolen {
		lines = append(lines, say("key %s is reported stolen", kid))
	}
	if r.Retired {
		lines = append(lines, say("the platform has retired"))
	}
	return append(lines, say("settings of the client %s", r.Client))
}

// Changes are the lines that r has no longer, after "- ", and those that are new in it,
// after "+ ".
func (r *PlatformRecord) Changes(before *PlatformRecord) []string {
	return r.ChangesIn(fmt.Sprintf, before)
}

// ChangesIn is Changes in the language of say.
func (r *PlatformRecord) ChangesIn(say proof.Say, before *PlatformRecord) []string {
	return changes(before.LinesIn(say), r.LinesIn(say))
}

// noKeys is an empty JWKS.
var noKeys = json.RawMessage(`{"keys":[]}`)

func (r *PlatformRecord) normalise() {
	r.Origins, r.Stolen = list(r.Origins), list(r.Stolen)
	if r.Keys == nil {
		r.Keys = noKeys
	}
}

// compile checks what holds for every record, whatever came before.
func (r *PlatformRecord) compile() error {
	switch {
	case r.Version != 1:
		return errors.New("unknown version")
	case len(r.ID) > maxPlatformID || !idPattern.MatchString(r.ID):
		return errors.New("the id is at most 64 lower case letters, digits, dots and dashes, the first and the last a letter or a digit")
	case !named(r.ID, r.Name):
		return errors.New("the name is one line of text, at most 200 letters, of which none is invisible")
	case r.Number < 1, (r.Number == 1) != (r.Previous == ""), r.Previous != "" && !hashPattern.MatchString(r.Previous):
		return errors.New("a record has a number from 1 on, and each but number 1 the hash of the record before")
	case r.Sector != "" && !idPattern.MatchString(r.Sector):
		return errors.New("the sector is not an id or a domain")
	case r.SectorURI != "" && !origin(r.SectorURI, true):
		return errors.New("the sector's address is not https")
	case r.Succeeds != "" && (!idPattern.MatchString(r.Succeeds) || r.Succeeds == r.ID || r.Sector == "" || r.SectorURI != ""):
		return errors.New("who takes over from another platform names its id, and has its sector")
	case r.Personas != 0 && (r.Personas < 2 || r.Personas > MaxPersonas):
		return fmt.Errorf("one person may have 2 to %d pen names; who allows one says nothing", MaxPersonas)
	case !hashPattern.MatchString(r.Client):
		return errors.New("client is not a hash")
	}
	for i, o := range r.Origins {
		if !origin(o, false) || slices.Contains(r.Origins[:i], o) {
			return errors.New("origins are https, without a path or a wildcard, each once")
		}
	}
	for i, kid := range r.Stolen {
		if document.Blank(kid) || !document.Displayable(kid, 200) || strings.Contains(kid, "\n") || slices.Contains(r.Stolen[:i], kid) {
			return errors.New("a stolen key is named by its kid, once")
		}
	}
	return r.compileKeys()
}

func (r *PlatformRecord) compileKeys() error {
	if bytes.Equal(r.Keys, noKeys) {
		r.keys = nil
		return nil
	}
	keys, err := document.ParseKeySet(r.Keys)
	if err != nil {
		return err
	}
	for i := range keys {
		if !slices.Contains(document.SignatureAlgorithms, keys[i].Algorithm) || !keys[i].HasKeyID {
			return errors.New("evidence keys are Ed25519 or P-256, each with a kid")
		}
	}
	r.keys = keys
	return nil
}
