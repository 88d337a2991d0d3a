package policy

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	cedar "github.com/cedar-policy/cedar-go"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Bundle is everything that a decision depends on but the case itself: who may
// sign, who must agree, which rules hold. Its address is the SHA-256 of its
// bytes, which warrants and approvals name. Those bytes say where it stands
// among the bundles of its log, so that who endorses the hash endorses it for
// that place and for no other: see [Bundle.Follows].
//
// Build one as a literal, [Bundle.Marshal] it, and read it back with
// [ParseBundle]: only a parsed bundle decides anything. Do not change a parsed
// one.
type Bundle struct {
	Version int `json:"version"` // of this format: see versions

	// Since version 2: the place in the log, and what the bundle ends.
	Number      int    `json:"number,omitempty"`      // 1 for the first bundle of a log, then counting up
	Predecessor string `json:"predecessor,omitempty"` // hex SHA-256 of the bundle before; none for number 1
	Stops       []Stop `json:"stops,omitempty"`       // cases under earlier bundles that go no further

	Registrar string `json:"registrar"` // origin, "https://penname.example": the audience of every warrant
	Log       Log    `json:"log"`

	Issuer     string          `json:"issuer"`      // iss of the tokens
	IssuerKeys json.RawMessage `json:"issuer_keys"` // JWKS, with every key whose tokens evidence may still hold
	Platforms  []Platform      `json:"platforms"`   // since version 3: those that are carried over, see Registry

	// Since version 3, and optional: who registers platforms in the public log.
	Registry *Registry `json:"registry,omitempty"`

	Authorities    []Authority    `json:"authorities"`
	OffenceClasses []OffenceClass `json:"offence_classes"`        // closed list
	Fields         []string       `json:"fields"`                 // closed list of what a record holds
	Compartments   []Compartment  `json:"compartments,omitempty"` // of Fields; none: one of all, as in version 1

	Custodians   []Custodian       `json:"custodians"`
	Threshold    int               `json:"threshold"`          // t: custodians needed to open, at least 2
	ThresholdKey string            `json:"threshold_key"`      // base64url of the custodians' public key
	Ceremony     string            `json:"ceremony,omitempty"` // hex SHA-256 of the transcript of the ceremony that made ThresholdKey
	Policies     map[string]string `json:"policies"`           // file name to Cedar text

	// Since version 2, and optional: who decides about enrolments that are held, two of
	// them together. None: such enrolments stay held.
	Reviewers []Reviewer `json:"reviewers,omitempty"`

	MaxTargets      int `json:"max_targets"`       // per warrant, 1 to 900 (what a leaf of the log holds)
	MaxSecrecyDays  int `json:"max_secrecy_days"`  // from issue, 1 to 1096
	MaxValidityDays int `json:"max_validity_days"` // from issue to expiry, 1 to 90

	// Since version 4: evidence names the content of its post, which custodians read.
	PostSpanHours int `json:"post_span_hours,omitempty"` // how long after the sign-in a post is still evidence, 1 to 168
	AppealDays    int `json:"appeal_days,omitempty"`     // how long exhibits are kept after their case ended, 1 to 1096

	// Since version 5: who is who is an identifier, what the law threatens is in the catalogue
	// and not in the court's words, and each clock has its length here.
	Organisations   []Organisation `json:"organisations,omitempty"`    // of authorities, custodians and requesters
	Offences        []Offence      `json:"offences,omitempty"`         // the catalogue: none else is a reason for an order
	MinSecrecyDays  int            `json:"min_secrecy_days,omitempty"` // shorter secrecy is none, 1 to MaxSecrecyDays
	HoldDays        int            `json:"hold_days,omitempty"`        // how long a preservation lasts at most, from issue, 1 to 90
	ExtensionDays   int            `json:"extension_days,omitempty"`   // by how much an extension prolongs it at most, 1 to 90
	ValidationHours int            `json:"validation_hours,omitempty"` // an emergency that is not validated by then lapses, 1 to 96

	// Since version 5, and optional: how much the public log and its statistics say.
	LeafFacets []string `json:"leaf_facets,omitempty"` // what the leaf of a warrant says beside its class: proof.FacetOffence, proof.FacetData
	SmallCount int      `json:"small_count,omitempty"` // the statistics of a year tell no smaller count, 2 to 100; 0: proof.SmallCount

	// Since version 5, and optional: what whoever is told of an order can do against it.
	Remedies []Remedy `json:"remedies,omitempty"`
	// Since version 5, and optional: whose certificates authorities may sign with.
	CertificateAuthorities []CertificateAuthority `json:"certificate_authorities,omitempty"`
	// Since version 5, and optional: who must be among those who approve, and which programs
	// are the released ones.
	Required []Required `json:"required,omitempty"`
	Programs []Program  `json:"programs,omitempty"`

	raw         []byte
	hash        string
	owners      keyOwners
	rules       ruleSet
	issuerKeys  *token.KeySet
	platforms   map[string]*token.KeySet
	registry    document.KeySet
	authorities map[string]signers
	custodians  map[string]*document.Key
	alternates  map[string]seated // by their ids
	reviewers   map[string]*document.Key
	recipients  map[string]bool // custodians' recipients, as delivery keys
	entities    cedar.EntityMap // authorities, classes of offences and kinds of warrants, as rules see them
	bodies      cedar.Set       // see allBodies
	names       []string        // custodians' names and organisations, folded

	log           *trustedLog     // nil of one that was not parsed
	organisations map[string]bool // ids
	anchors       []*x509.Certificate
}

// Log is the public log and who watches it. The keys are note verifier keys
// (C2SP signed-note); they are checked fully by verifier/proof.
type Log struct {
	Origin    string    `json:"origin"`
	VKey      string    `json:"vkey"`
	Witnesses []Witness `json:"witnesses"`
	Quorum    int       `json:"quorum"` // cosignatures of distinct operators that a checkpoint needs
}

// Witness cosigns checkpoints of the log.
type Witness struct {
	Name     string `json:"name"`
	Operator string `json:"operator"`
	VKey     string `json:"vkey"`
	URL      string `json:"url"` // may be empty for a witness that pulls
}

// Platform accepts tokens and signs evidence.
type Platform struct {
	ID   string          `json:"id"` // client id, the aud of its tokens
	Name string          `json:"name"`
	Keys json.RawMessage `json:"keys"` // JWKS
}

// Authority may sign warrants.
type Authority struct {
	ID             string   `json:"id"`
	Name           string   `json:"name"`
	Kind           string   `json:"kind"`         // "court", "judge", "investigating_judge", "public_prosecutor"
	Jurisdiction   string   `json:"jurisdiction"` // ISO 3166
	Keys           []Key    `json:"keys"`
	OffenceClasses []string `json:"offence_classes"` // what it is competent for

	// Since version 2: how many of its warrants are recorded in a day (UTC), 1 to
	// 10,000; withdrawals do not count. An authority whose key is stolen, or who
	// is in haste, is stopped there and not by the custodians' patience.
	DailyWarrants int `json:"daily_warrants,omitempty"`

	// Since version 5.
	OrganisationID string   `json:"organisation_id,omitempty"` // of which it is a part
	Over           []string `json:"over,omitempty"`            // ids of authorities whose orders it may annul
	ValidatedBy    []string `json:"validated_by,omitempty"`    // ids of which one must have signed its orders with it; none: it needs nobody

	// Since version 5, and optional, both or none: which certificates it signs with, beside or
	// instead of Keys.
	OrganisationIdentifier string   `json:"organisation_identifier,omitempty"` // in their subject (ETSI EN 319 412-1, OID 2.5.4.97)
	CertificateKeys        []string `json:"certificate_keys,omitempty"`        // hex SHA-256 of their SubjectPublicKeyInfo
}

// Organisation is a court, a police force, a body of custodians: whoever asks, orders or
// decides for another is told apart by these ids and never by how a name is written.
type Organisation struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Key is an authority's public key and when it may sign. A revoked key is left
// out of the next bundle, or its Until is brought forward.
type Key struct {
	JWK   json.RawMessage `json:"jwk"`
	From  time.Time       `json:"from"`
	Until time.Time       `json:"until"`
}

// OffenceClass is one entry of the closed list.
type OffenceClass struct {
	ID               string   `json:"id"`
	Title            string   `json:"title"`
	MinPenaltyMonths int      `json:"min_penalty_months"` // least maximum penalty; 0 only for speech
	Fields           []string `json:"fields"`             // what may be asked for
	Speech           bool     `json:"speech"`             // lawful speech: never a reason to open a name
	Emergency        bool     `json:"emergency"`          // an imminent threat to life or limb

	// Since version 4: its evidence carries a description that the court signed, and
	// never the content itself, of which nobody may make a copy (abuse of children).
	NoCopy bool `json:"no_copy,omitempty"`

	// Since version 5: an offence of speech, or a wrong of civil law, that a law knows (§ 185
	// StGB, defamation). The person is told first and can object, one custodian more than the
	// threshold must approve, and it is never secret. Lawful speech is never of such a class.
	NoticeFirst bool `json:"notice_first,omitempty"`

	// Since version 5: the law lets the person read the order of such a case.
	ShowOrder bool `json:"show_order,omitempty"`
}

// Custodian holds one share of the threshold key.
type Custodian struct {
	ID           string          `json:"id"`
	Name         string          `json:"name"`
	Organisation string          `json:"organisation"`
	Index        int             `json:"index"` // of the key share, 1 to n
	Key          json.RawMessage `json:"key"`   // public JWK that signs approvals and endorsements

	// Since version 4: the age recipient that exhibits are encrypted to, "age1pq1…"
	// (age-encryption.org/v1, hybrid of ML-KEM-768 and X25519); no two have the same.
	Recipient string `json:"recipient,omitempty"`

	// Since version 5: the id of Organisation.
	OrganisationID string `json:"organisation_id,omitempty"`

	// Since version 5, and optional: what they are ("judge", "bar", "ombudsman"), see
	// [Required], and who steps in for them.
	Role       string      `json:"role,omitempty"`
	Alternates []Alternate `json:"alternates,omitempty"`
}

// signers are an authority's keys by kid.
type signers struct {
	*Authority
	keys map[string]signer
}

type signer struct {
	*document.Key
	from, until time.Time
}

const maxBundleBytes = 4 << 20

// ParseBundle reads and checks a bundle. It keeps a copy of b.
func ParseBundle(b []byte) (*Bundle, error) {
	if len(b) > maxBundleBytes {
		return nil, ErrBundleTooLarge
	}
	bundle, err := parse[Bundle](b)
	if err != nil && later(b) {
		return nil, ErrBundleVersion
	} else if err != nil {
		return nil, ErrBundleMalformed.Because(err)
	}
	if bundle.Version > CurrentVersion {
		return nil, ErrBundleVersion
	}
	if err := bundle.compile(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	bundle.raw, bundle.hash, bundle.log = bytes.Clone(b), hex.EncodeToString(sum[:]), &trustedLog{}
	return bundle, nil
}

// later reports whether bytes that are no bundle of a version that this program knows say
// that they are of a later one.
func later(b []byte) bool {
	var says struct {
		Version int `json:"version"`
	}
	return json.Unmarshal(b, &says) == nil && says.Version > CurrentVersion
}

// Marshal returns the canonical bytes of a bundle that would be accepted.
func (b *Bundle) Marshal() ([]byte, error) {
	if b.raw != nil {
		return bytes.Clone(b.raw), nil
	}
	raw, err := marshal(*b)
	if err != nil {
		return nil, ErrBundleMalformed.Because(errors.New("cannot be encoded"))
	}
	if _, err := ParseBundle(raw); err != nil {
		return nil, err
	}
	return raw, nil
}

// Hash returns the hex SHA-256 of the bytes that were parsed.
func (b *Bundle) Hash() string { return b.hash }

// VerifyReceipt is [token.VerifyReceipt] by the issuer and its keys in the bundle.
func (b *Bundle) VerifyReceipt(raw string) (token.Receipt, error) {
	return token.VerifyReceipt(raw, b.Issuer, b.issuerKeys)
}

// Authority returns the authority with this id, or nil.
func (b *Bundle) Authority(id string) *Authority {
	return find(b.Authorities, func(a *Authority) bool { return a.ID == id })
}

// Custodian returns the custodian with this id, or nil.
func (b *Bundle) Custodian(id string) *Custodian {
	return find(b.Custodians, func(c *Custodian) bool { return c.ID == id })
}

// Platform returns the platform with this id, or nil.
func (b *Bundle) Platform(id string) *Platform {
	return find(b.Platforms, func(p *Platform) bool { return p.ID == id })
}

// OffenceClass returns the class with this id, or nil.
func (b *Bundle) OffenceClass(id string) *OffenceClass {
	return find(b.OffenceClasses, func(c *OffenceClass) bool { return c.ID == id })
}

func find[T any](all []T, is func(*T) bool) *T {
	for i := range all {
		if is(&all[i]) {
			return &all[i]
		}
	}
	return nil
}

func (b *Bundle) normalise() {
	b.Fields, b.Log.Witnesses, b.Platforms = list(b.Fields), some(b.Log.Witnesses), some(b.Platforms)
	b.Custodians = some(b.Custodians)
	b.Authorities, b.OffenceClasses = some(slices.Clone(b.Authorities)), some(slices.Clone(b.OffenceClasses))
	for i := range b.Authorities {
		a := &b.Authorities[i]
		a.OffenceClasses, a.Keys = list(a.OffenceClasses), some(slices.Clone(a.Keys))
		for j := range a.Keys {
			a.Keys[j].From, a.Keys[j].Until = seconds(a.Keys[j].From), seconds(a.Keys[j].Until)
		}
	}
	for i := range b.OffenceClasses {
		b.OffenceClasses[i].Fields = list(b.OffenceClasses[i].Fields)
	}
	b.Offences = slices.Clone(b.Offences)
	for i := range b.Offences {
		o := &b.Offences[i]
		o.Authorities, o.Fields = list(o.Authorities), list(o.Fields)
	}
	if b.Policies == nil {
		b.Policies = map[string]string{}
	}
}

func some[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

// compile checks the whole bundle and prepares what Decide looks up.
func (b *Bundle) compile() error {
	owners := make(keyOwners)
	b.owners = owners
	for _, step := range []func() error{
		b.checkPlace, b.checkOrigins, b.checkLimits, b.checkOffences, b.checkCompartments, b.checkWitnesses, b.checkOrganisations, b.checkCatalogue,
		b.compileCertificates, func() error { return b.compilePlatforms(owners) },
		func() error { return b.compileRegistry(owners) },
		func() error { return b.compileAuthorities(owners) }, b.checkPowers, b.checkRemedies,
		func() error { return b.compileCustodians(owners) }, b.checkRecipients,
		func() error { return b.compileAlternates(owners) }, b.checkRequired, b.checkPrograms,
		func() error { return b.compileReviewers(owners) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	rules, err := compileRules(b.Policies, b.Threshold, len(b.Custodians))
	if err != nil {
		return ErrBundleRules.Because(err)
	}
	b.rules, b.entities, b.bodies = rules, b.allEntities(), set(b.allBodies())
	return nil
}

func (b *Bundle) checkOrigins() error {
	key, err := base64.RawURLEncoding.Strict().DecodeString(b.ThresholdKey)
	switch {
	case b.Ceremony != "" && !hashPattern.MatchString(b.Ceremony):
		return ErrBundleMalformed.Because(errors.New("ceremony is not a hash"))
	case !origin(b.Registrar, false), !origin(b.Issuer, true):
		return ErrBundleOrigin
	case err != nil || len(key) < 32:
		return ErrBundleKey.Because(errors.New("threshold key is not base64url of a public key"))
	}
	return nil
}

// origin: plain http is for a sandbox on this machine.
func origin(s string, path bool) bool { return document.Origin(s, path, document.Localhost) }

func (b *Bundle) checkLimits() error {
	between := func(n, low, high int) bool { return low <= n && n <= high }
	if !between(b.MaxTargets, 1, 900) || !between(b.MaxSecrecyDays, 1, 1096) || !between(b.MaxValidityDays, 1, 90) {
		return ErrBundleLimits
	}
	return nil
}

func (b *Bundle) checkOffences() error {
	if len(b.Fields) == 0 || !distinctWords(b.Fields) || len(b.OffenceClasses) == 0 {
		return ErrBundleOffences
	}
	seen, fields := make(map[string]bool), among(b.Fields)
	for _, c := range b.OffenceClasses {
		if seen[c.ID] || !word(c.ID) || document.Blank(c.Title) || !document.Displayable(c.Title, 200) {
			return ErrBundleOffences
		}
		seen[c.ID] = true
		if c.MinPenaltyMonths < 0 || c.MinPenaltyMonths > 1200 || c.MinPenaltyMonths == 0 && !c.Speech && !c.NoticeFirst || c.Speech && c.Emergency || c.NoticeFirst && (c.Speech || c.Emergency) {
			return ErrBundleOffences
		}
		if !distinctWords(c.Fields) || !subset(c.Fields, fields) {
			return ErrBundleOffences
		}
	}
	return nil
}

func distinctWords(words []string) bool {
	return len(among(words)) == len(words) && !slices.ContainsFunc(words, func(w string) bool { return !word(w) })
}

// among is made once for what is looked up often: a bundle can hold a hundred thousand words.
func among(words []string) map[string]bool {
	has := make(map[string]bool, len(words))
	for _, w := range words {
		has[w] = true
	}
	return has
}

func subset(part []string, whole map[string]bool) bool {
	return !slices.ContainsFunc(part, func(s string) bool { return !whole[s] })
}

// checkWitnesses counts operators and keys, not entries: "two vkeys wrapping
// the same public key are duplicates" (C2SP tlog-policy).
func (b *Bundle) checkWitnesses() error {
	logKey, ok := vkey(b.Log.VKey)
	if !ok || document.Blank(b.Log.Origin) || !document.Displayable(b.Log.Origin, 200) {
		return ErrBundleOrigin
	}
	keys := map[string]bool{logKey: true}
	operators := make(map[string]bool)
	for _, w := range b.Log.Witnesses {
		key, ok := vkey(w.VKey)
		if !ok || keys[key] || operators[document.Fold(w.Operator)] || document.Blank(w.Name, w.Operator) || !document.Displayable(w.Name, 200) || !document.Displayable(w.Operator, 200) {
			return ErrBundleWitnesses
		}
		if w.URL != "" && !origin(w.URL, true) {
			return ErrBundleWitnesses
		}
		keys[key], operators[document.Fold(w.Operator)] = true, true
	}
	if b.Log.Quorum < 1 || b.Log.Quorum > len(operators) {
		return ErrBundleWitnesses
	}
	return nil
}

// vkey returns the key material of "name+hash+base64(algorithm ‖ key)".
func vkey(s string) (string, bool) {
	parts := strings.SplitN(s, "+", 3)
	if len(parts) != 3 || parts[0] == "" || len(parts[1]) != 8 {
		return "", false
	}
	key, err := base64.StdEncoding.Strict().DecodeString(parts[2])
	if err != nil || len(key) < 33 {
		return "", false
	}
	return string(key[1:]), true
}

// keyOwners refuses a key that two parties hold: one human with two roles could
// approve their own request. It has the id of the platform that holds a key, by the
// key's thumbprint and by its SubjectPublicKeyInfo; "" for another party.
type keyOwners map[string]string

func (o keyOwners) add(key *document.Key, platform string) error {
	print, err := key.Thumbprint()
	if err != nil {
		return ErrBundleKey.Because(err)
	}
	info := infoOf(key, print)
	for _, name := range []string{print, info} {
		if _, taken := o[name]; taken {
			return ErrBundleSharedKey
		}
	}
	o[print], o[info] = platform, platform
	return nil
}

func (o keyOwners) addSet(jwks json.RawMessage, platform string) (*token.KeySet, error) {
	set, err := token.ParseKeySet(jwks)
	if err != nil {
		return nil, ErrBundleKey.Because(err)
	}
	for i := range set.Keys {
		if err := o.add(&set.Keys[i], platform); err != nil {
			return nil, err
		}
	}
	return set, nil
}

func (b *Bundle) compilePlatforms(owners keyOwners) (err error) {
	if b.issuerKeys, err = owners.addSet(b.IssuerKeys, ""); err != nil {
		return about("issuer", b.Issuer, err)
	}
	b.platforms = make(map[string]*token.KeySet)
	for _, p := range b.Platforms {
		if _, dup := b.platforms[p.ID]; dup || !named(p.ID, p.Name) {
			return about("platform", p.ID, ErrBundleNames)
		}
		if b.platforms[p.ID], err = owners.addSet(p.Keys, p.ID); err != nil {
			return about("platform", p.ID, err)
		}
	}
	return nil
}

func named(id string, names ...string) bool {
	return idPattern.MatchString(id) && !document.Blank(names...) &&
		!slices.ContainsFunc(names, func(s string) bool { return !document.Displayable(s, 200) || strings.Contains(s, "\n") })
}

func (b *Bundle) compileAuthorities(owners keyOwners) error {
	b.authorities = make(map[string]signers)
	var classes []string
	for _, c := range b.OffenceClasses {
		classes = append(classes, c.ID)
	}
	known := among(classes)
	for i := range b.Authorities {
		a := &b.Authorities[i]
		if err := b.compileAuthority(a, known, owners); err != nil {
			return about("authority", a.ID, err)
		}
	}
	return nil
}

func (b *Bundle) compileAuthority(a *Authority, classes map[string]bool, owners keyOwners) error {
	if _, dup := b.authorities[a.ID]; dup || !named(a.ID, a.Name) {
		return ErrBundleNames
	}
	if !word(a.Kind) || !jurisdictionPattern.MatchString(a.Jurisdiction) || !distinctWords(a.OffenceClasses) {
		return ErrBundleAuthority
	}
	for _, class := range a.OffenceClasses {
		if !classes[class] {
			return ErrBundleAuthority.Because(fmt.Errorf("there is no offence class %q", class))
		}
	}
	s := signers{a, make(map[string]signer)}
	for _, k := range a.Keys {
		key, err := document.ParseSigner(k.JWK)
		if err != nil {
			return ErrBundleKey.Because(err)
		}
		if _, dup := s.keys[key.KeyID]; dup {
			return ErrBundleKey.Because(fmt.Errorf("two of its keys have the kid %q", key.KeyID))
		}
		if !plausible(k.From) || !k.From.Before(k.Until) {
			return ErrBundleKey.Because(fmt.Errorf("the key %q must have from and until, and until must be later", key.KeyID))
		}
		if err := owners.add(key, ""); err != nil {
			return err
		}
		s.keys[key.KeyID] = signer{key, k.From, k.Until}
	}
	if err := b.compileCertified(a, owners); err != nil {
		return err
	}
	if len(s.keys)+len(a.CertificateKeys) == 0 {
		return ErrBundleKey.Because(errors.New("it has no key"))
	}
	b.authorities[a.ID] = s
	return nil
}

func (b *Bundle) compileCustodians(owners keyOwners) error {
	n := len(b.Custodians)
	// A threshold of 1 lets one body open a name, one above n lets nobody.
	if b.Threshold < 2 || b.Threshold > n || n > 255 {
		return ErrBundleThreshold
	}
	b.custodians = make(map[string]*document.Key)
	indices, organisations := make(map[int]bool), make(map[string]bool)
	for _, c := range b.Custodians {
		if _, dup := b.custodians[c.ID]; dup || !word(c.ID) || !named(c.ID, c.Name, c.Organisation) {
			return about("custodian", c.ID, ErrBundleNames)
		}
		// x = 0 would hand over the key itself; one organisation twice would
		// count as two.
		body := b.bodyOf(c)
		if c.Index < 1 || c.Index > n || indices[c.Index] || organisations[body] {
			return about("custodian", c.ID, ErrBundleCustodians)
		}
		// I3: nobody approves what they signed themselves.
		if slices.ContainsFunc(b.Authorities, func(a Authority) bool {
			return b.organisationOf(a) == body || b.Version < 5 && document.Fold(a.Name) == document.Fold(c.Name)
		}) {
			return about("custodian", c.ID, ErrBundleCustodians)
		}
		indices[c.Index], organisations[body] = true, true
		key, err := document.ParseSigner(c.Key)
		if err != nil {
			return about("custodian", c.ID, ErrBundleKey.Because(err))
		}
		if err := owners.add(key, ""); err != nil {
			return about("custodian", c.ID, err)
		}
		b.custodians[c.ID] = key
		b.names = append(b.names, document.Fold(c.Name), document.Fold(c.Organisation))
	}
	return nil
}

// PostSpan is how long after the sign-in a post is evidence; 0 before version 4, where the
// life of the token decides.
func (b *Bundle) PostSpan() time.Duration { return time.Duration(b.PostSpanHours) * time.Hour }

// Recipients are those that exhibits are encrypted to besides the requester: the
// custodians' and their alternates' in the bundle's order, none before version 4.
func (b *Bundle) Recipients() (all []string) {
	for _, c := range b.Custodians {
		if c.Recipient != "" {
			all = append(all, c.Recipient)
		}
		for _, a := range c.Alternates {
			all = append(all, a.Recipient)
		}
	}
	return all
}

// ExhibitsTo are those that the exhibits of a warrant are encrypted to: [Bundle.Recipients]
// and the requester, if an answer goes to them.
func (b *Bundle) ExhibitsTo(w *Warrant) []string {
	to := b.Recipients()
	if w.Requester.DeliveryKey != "" {
		to = append(to, w.Requester.DeliveryKey)
	}
	return to
}

// checkRecipients wants a recipient of each custodian since version 4, which no other
// has: an exhibit that somebody cannot open is one that nobody has judged.
func (b *Bundle) checkRecipients() error {
	if b.Version < 4 {
		return nil // checkContentless wants none
	}
	b.recipients = make(map[string]bool)
	for _, c := range b.Custodians {
		key, err := document.ParseRecipient(c.Recipient)
		if err != nil || b.recipients[key] {
			return about("custodian", c.ID, ErrBundleRecipient)
		}
		b.recipients[key] = true
	}
	return nil
}

// VerifyCustodian checks that a document is signed by the custodian with this id;
// if there is none with that id and key, it is unknown.
func (b *Bundle) VerifyCustodian(signed *document.Signed, id string, unknown *refusal.Error) error {
	key, ok := b.custodians[id]
	if !ok || key.KeyID != signed.KeyID {
		return unknown
	}
	return signed.Verify(key.Public)
}
