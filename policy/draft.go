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
// 0 if the field's name stands in several.
func ParseBundleDraft(b, text []byte) (bundle *Bundle, line int, err error) {
	bundle = &Bundle{}
	if err := jsonv2.Unmarshal(b, bundle, jsonv2.RejectUnknownMembers(true)); err != nil {
		line, err := draftFault(text, err)
		return nil, line, err
	}
	return bundle, 0, nil
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
	name := at.JSONPointer.LastToken()
	found := regexp.MustCompile(`(?m)^[\s{,]*"?`+regexp.QuoteMeta(name)+`"?\s*[=:]`).FindAllIndex(text, 2)
	if len(found) == 1 {
		line = document.Line(text, int64(found[0][1]))
	}
	place := strings.ReplaceAll(strings.TrimPrefix(string(at.JSONPointer), "/"), "/", ".")
	if errors.Is(err, jsonv2.ErrUnknownName) {
		return line, fmt.Errorf("a bundle has no field %s", place)
	}
	return line, fmt.Errorf("the value of %s has the wrong form: escrowd bundle draft shows the right one", place)
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
		days := 30
		if b != nil && KindOf(w.Kind).Clock == ClockHold && b.HoldDays > 0 {
			days = b.HoldDays
		}
		w.Expiry = w.IssuedAt.AddDate(0, 0, days)
	}
	if b != nil {
		w.Bundle = b.Hash()
	}
}
