package policy

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/penname/penname/verifier/refusal"
)

//go:embed bundles
var profiles embed.FS

// ErrProfile says that a draft names a profile that this release does not have.
var ErrProfile = refusal.New(refusal.Invalid, "bundle.profile", "There is no such profile; name one of "+strings.Join(Profiles(), ", ")+", or none and list everything in the draft.")

// Profile is what the law of a jurisdiction gives to a bundle: a catalogue of offences, their
// classes, and rules beside the base ones. A draft that names it is filled in with it; the
// bundle holds the whole, so that nobody needs the profile to read it. The catalogue says of
// each offence where its statute can be read (source), which no bundle carries.
type Profile struct {
	Name  string `json:"-"`     // of its folder in policy/bundles
	Title string `json:"title"` // of the law
	About string `json:"about"` // whom it is for, and of when

	MinSecrecyDays  int              `json:"min_secrecy_days"`
	HoldDays        int              `json:"hold_days"`
	ExtensionDays   int              `json:"extension_days"`
	ValidationHours int              `json:"validation_hours"`
	OffenceClasses  []OffenceClass   `json:"offence_classes"`
	Offences        []SourcedOffence `json:"offences"`
	Remedies        []Remedy         `json:"remedies,omitempty"`

	// Policies are the base rules with those of the profile: a file of the same name is in
	// the place of the base one.
	Policies map[string]string `json:"-"`
}

// SourcedOffence is an offence with the address at which its statute can be read.
type SourcedOffence struct {
	Offence
	Source string `json:"source"`
}

// Profiles returns the names of the profiles of this release, sorted.
func Profiles() (names []string) {
	folders, err := profiles.ReadDir("bundles")
	if err != nil {
		panic("policy: embedded profiles: " + err.Error()) // cannot happen: go:embed checked at build time
	}
	for _, f := range folders {
		names = append(names, f.Name())
	}
	return names
}

// ProfileNamed returns the profile of that name, or [ErrProfile].
func ProfileNamed(name string) (*Profile, error) {
	if !slices.Contains(Profiles(), name) {
		return nil, ErrProfile
	}
	p, err := parseProfile(name, path.Join("bundles", name))
	if err != nil {
		return nil, ErrProfile.Because(err)
	}
	return p, nil
}

// IsProfile reports whether a file is a profile's, which somebody may take for a bundle.
func IsProfile(raw []byte) bool {
	var p Profile
	return jsonv2.Unmarshal(raw, &p, jsonv2.RejectUnknownMembers(true)) == nil && p.Title != ""
}

func parseProfile(name, dir string) (*Profile, error) {
	raw, err := profiles.ReadFile(path.Join(dir, "profile.json"))
	if err != nil {
		return nil, err
	}
	p := &Profile{Name: name, Policies: DefaultRules()}
	if err := jsonv2.Unmarshal(raw, p, jsonv2.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("profile %s: %w", name, err)
	}
	files, err := fs.Glob(profiles, path.Join(dir, "*.cedar"))
	for _, file := range files {
		text, rerr := profiles.ReadFile(file)
		err = cmp.Or(err, rerr)
		p.Policies[path.Base(file)] = string(text)
	}
	return p, err
}

// Cases are the files of the cases beside the rules: orders with their right decisions,
// in the form that policy/rehearsal reads.
func (p *Profile) Cases() (fs.FS, error) {
	return fs.Sub(profiles, path.Join("bundles", p.Name, "cases"))
}

// Fill gives a draft what it does not say itself of catalogue, classes, rules and clocks.
// Of each that it does say, all is its own: nothing is mixed.
func (p *Profile) Fill(b *Bundle) {
	if len(b.OffenceClasses) == 0 {
		b.OffenceClasses = slices.Clone(p.OffenceClasses)
	}
	if len(b.Offences) == 0 {
		for _, o := range p.Offences {
			b.Offences = append(b.Offences, o.Offence)
		}
	}
	if len(b.Policies) == 0 {
		b.Policies = maps.Clone(p.Policies)
	}
	if len(b.Fields) == 0 && len(b.Compartments) == 0 {
		b.Fields, b.Compartments = DefaultFields(), DefaultCompartments()
	}
	if len(b.Remedies) == 0 {
		b.Remedies = slices.Clone(p.Remedies)
	}
	b.MinSecrecyDays = cmp.Or(b.MinSecrecyDays, p.MinSecrecyDays)
	b.HoldDays = cmp.Or(b.HoldDays, p.HoldDays)
	b.ExtensionDays = cmp.Or(b.ExtensionDays, p.ExtensionDays)
	b.ValidationHours = cmp.Or(b.ValidationHours, p.ValidationHours)
}
