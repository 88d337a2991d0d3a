package policy

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penname/penname/verifier/document"
)

// ParseBundleDraft reads a bundle as JSON in any order and spacing, of which nothing is
// checked but that each field exists. An error says in plain words what is wrong in text,
// which is what a person wrote: b itself, or the TOML of which b was made. line is where,
// 0 if the field's name stands in several. A draft may have one member more, "profile": the
// name of the [Profile] that fills in what it leaves out.
func ParseBundleDraft(b, text []byte) (bundle *Bundle, line int, err error) {
	var draft struct {
		Bundle
		Profile string `json:"profile"`
	}
	if err := jsonv2.Unmarshal(b, &draft, jsonv2.RejectUnknownMembers(true)); err != nil {
		line, err := draftFault(text, err)
		return nil, line, err
	}
	if draft.Profile != "" {
		p, err := ProfileNamed(draft.Profile)
		if err != nil {
			return nil, memberLine(text, "profile"), errors.New(ErrProfile.Mend)
		}
		p.Fill(&draft.Bundle)
	}
	return &draft.Bundle, 0, nil
}

func draftFault(text []byte, err error) (line int, _ error) {
	var form *jsontext.SyntacticError
	if errors.As(err, &form) {
		return document.Line(text, form.ByteOffset), form
	}
	var at *jsonv2.SemanticError
	if !errors.As(err, &at) || at.JSONPointer == "" {
		return 0, errors.New("it is not a bundle")
	}
	line = memberLine(text, at.JSONPointer.LastToken())
	place := strings.ReplaceAll(strings.TrimPrefix(string(at.JSONPointer), "/"), "/", ".")
	if errors.Is(err, jsonv2.ErrUnknownName) {
		return line, fmt.Errorf("a bundle has no field %s", place)
	}
	return line, fmt.Errorf("the value of %s has the wrong form: escrowd bundle draft shows the right one", place)
}

// memberLine is where the only member of that name stands in a draft, or 0.
func memberLine(text []byte, name string) int {
	found := regexp.MustCompile(`(?m)^[\s{,]*"?`+regexp.QuoteMeta(name)+`"?\s*[=:]`).FindAllIndex(text, 2)
	if len(found) != 1 {
		return 0
	}
	return document.Line(text, int64(found[0][1]))
}

// Complete fills in what a draft may leave out: an id, from 16 random bytes, the
// time of issue, which is at, an expiry 30 days later, of what keeps records as many days
// as the bundle lets it, and the hash of the bundle b that it is made under. b may be nil,
// then the draft has to name its bundle itself.
func (w *Warrant) Complete(b *Bundle, id [16]byte, at time.Time) {
	if w.ID == "" {
		w.ID = hex.EncodeToString(id[:])
	}
	if w.IssuedAt.IsZero() {
		w.IssuedAt = at
	}
	if w.Expiry.IsZero() {
		w.Expiry = expiryOf(b, w.Kind, w.IssuedAt)
	}
	if b != nil {
		w.Bundle = b.Hash()
	}
}

// expiryOf is when a warrant of that kind runs out that says nothing else.
func expiryOf(b *Bundle, kind string, issued time.Time) time.Time {
	days := 30
	if b != nil && KindOf(kind).Clock == ClockHold && b.HoldDays > 0 {
		days = b.HoldDays
	}
	return issued.AddDate(0, 0, days)
}

// MarshalDraft returns a warrant as a person can go on writing it: what is filled in when it is
// signed is left out.
func MarshalDraft(w Warrant) ([]byte, error) {
	b, err := jsonv2.Marshal(w, jsonv2.OmitZeroStructFields(true), jsontext.WithIndent("  "))
	return append(b, '\n'), err
}
