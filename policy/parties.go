package policy

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/token"
)

// DeclineReasons is the closed list of reasons for which a custodian declines.
// They go into the public log. The grounds are those of Regulation (EU)
// 2023/1543, Art. 12(1) and Annex III.
var DeclineReasons = []string{
	"incomplete", "manifest_errors", "insufficient_information", "disproportionate",
	"immunity_or_privilege", "press_freedom", "fundamental_rights", "conflict_of_law", "recused",
}

// trustedLog is made once of a parsed bundle, so that no checkpoint is verified twice by it.
type trustedLog struct {
	once sync.Once
	log  *proof.Log
	err  error
}

// TrustedLog returns the public log that the bundle trusts, with its witnesses
// and their quorum.
func (b *Bundle) TrustedLog() (*proof.Log, error) {
	if b.log == nil {
		return b.newLog()
	}
	b.log.once.Do(func() { b.log.log, b.log.err = b.newLog() })
	return b.log.log, b.log.err
}

func (b *Bundle) newLog() (*proof.Log, error) {
	keys := make([]proof.WitnessKey, len(b.Log.Witnesses))
	for i, w := range b.Log.Witnesses {
		keys[i] = proof.WitnessKey{Name: w.Name, Operator: w.Operator, VKey: w.VKey}
	}
	return proof.NewLog(b.Log.Origin, b.Log.VKey, keys, b.Log.Quorum)
}

// AuditRules returns what an auditor of the log must know of the bundle.
func (b *Bundle) AuditRules() proof.Rules {
	r := proof.Rules{Threshold: b.Threshold, Ceremony: b.Ceremony, Key: b.ThresholdKey, SaysQuorum: b.Version > 1}
	for _, s := range b.Stops {
		if s.Case != nil {
			r.Stops = append(r.Stops, *s.Case)
		}
	}
	for _, c := range b.Custodians {
		r.Custodians = append(r.Custodians, c.ID)
	}
	for _, o := range b.OffenceClasses {
		r.OffenceClasses = append(r.OffenceClasses, o.ID)
	}
	if b.Version < 5 {
		return r
	}
	r.Rounds, r.Fields, r.Facets, r.SmallCount, r.Offences = true, b.Fields, b.RecordedFacets(), b.SmallCount, []string{}
	r.MaxSecrecyDays, r.HoldDays, r.ExtensionDays, r.ValidationHours = b.MaxSecrecyDays, b.HoldDays, b.ExtensionDays, b.ValidationHours
	r.NoticeDays = int(toldFirst / day)
	for _, o := range b.OffenceClasses {
		if o.NoticeFirst {
			r.NoticeClasses = append(r.NoticeClasses, o.ID)
		}
	}
	for _, o := range b.Offences {
		r.Offences = append(r.Offences, o.ID)
	}
	for _, t := range b.Required {
		r.Required = append(r.Required, proof.Required{OffenceClasses: t.OffenceClasses, Offences: t.Offences, Role: t.Role, Organisations: t.Organisations})
	}
	if len(b.Required) > 0 {
		r.Seats = make(map[string]proof.Seat)
		for _, c := range b.Custodians {
			r.Seats[c.ID] = proof.Seat{Role: c.Role, Organisation: c.OrganisationID}
		}
	}
	return r
}

// HasCustodianKey reports whether the RFC 7638 thumbprint (SHA-256, base64url)
// is that of a custodian's signing key, or of an alternate's.
func (b *Bundle) HasCustodianKey(thumbprint string) bool {
	custodian, _ := b.SeatOfKey(thumbprint)
	return custodian != ""
}

// place says where in a draft an error is, and does not repeat what stands there.
func place(b []byte, err error) error {
	var meaning *jsonv2.SemanticError
	if errors.As(err, &meaning) && meaning.JSONPointer != "" {
		return fmt.Errorf("at %s, byte %d, in line %d", meaning.JSONPointer, meaning.ByteOffset, document.Line(b, meaning.ByteOffset))
	}
	var form *jsontext.SyntacticError
	if errors.As(err, &form) {
		return fmt.Errorf("at byte %d, in line %d", form.ByteOffset, document.Line(b, form.ByteOffset))
	}
	return errors.New("not a JSON object")
}

// ParseDraft reads an unsigned warrant as a person writes it: any order and
// spacing, and what the signing program fills in may be left out. A field that
// does not exist is an error.
func ParseDraft(b []byte) (*Warrant, error) {
	if len(b) > warrantFormat.MaxBytes {
		return nil, ErrTooLarge
	}
	b = document.Typed(b)
	var w Warrant
	if err := jsonv2.Unmarshal(b, &w, jsonv2.RejectUnknownMembers(true)); err != nil {
		return nil, ErrDraft.Because(place(b, err))
	}
	w.copied()
	return &w, nil
}

// copied puts what people copy out of other programs, or off a paper, into its one
// spelling: digests and pen names in capitals (BIP-173), and space around a key.
func (w *Warrant) copied() {
	digest := func(s string) string { return strings.ToLower(strings.TrimSpace(s)) }
	for i := range w.Targets {
		t := &w.Targets[i]
		if name, err := token.CopiedPseudonym(string(t.Pseudonym)); err == nil {
			t.Pseudonym = name
		}
		t.Evidence = digest(t.Evidence)
		for j := range t.Further {
			t.Further[j] = digest(t.Further[j])
		}
	}
	w.Earlier, w.Bundle = digest(w.Earlier), digest(w.Bundle)
	w.Requester.DeliveryKey = strings.TrimSpace(w.Requester.DeliveryKey)
}
