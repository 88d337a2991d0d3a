package web

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

const mediaTypeJSON = "application/json"

// ReadJSON reads a strict JSON object into v: no unknown and no repeated field,
// nothing after it (ATTACKS H04). It decodes while it reads, within the bounds of
// the route.
func ReadJSON(r *http.Request, v any) error {
	if !IsMediaType(r.Header.Get("Content-Type"), mediaTypeJSON) {
		return errMediaType
	}
	err := jsonv2.UnmarshalRead(r.Body, v, jsonv2.RejectUnknownMembers(true))
	var meaning *jsonv2.SemanticError
	var form *jsontext.SyntacticError
	e := refusal.Of(err)
	switch {
	case err == nil:
		return nil
	case e != nil:
		return e
	case errors.Is(err, document.TooLarge):
		return errTooLarge
	case errors.As(err, &meaning), errors.As(err, &form), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errBody
	}
	return err // the connection's
}

// IsMediaType reports whether a header names a media type: in any case of letters and
// with any parameters (RFC 9110, 8.3.1).
func IsMediaType(header, want string) bool {
	got, _, err := mime.ParseMediaType(header)
	return (err == nil || errors.Is(err, mime.ErrInvalidMediaParameter)) && got == want
}

// Accepts reports whether an Accept header takes a media type: it names it, and not
// with the weight 0 (RFC 9110, 12.5.1).
func Accepts(header, want string) bool {
	for _, one := range strings.Split(header, ",") {
		got, parameters, err := mime.ParseMediaType(one)
		weight, bad := strconv.ParseFloat(cmp.Or(parameters["q"], "1"), 64)
		if err == nil && got == want && bad == nil && weight > 0 {
			return true
		}
	}
	return false
}

// WriteJSON answers with a document, whole or not at all.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	return writeJSON(w, status, mediaTypeJSON, v)
}

func writeJSON(w http.ResponseWriter, status int, mediaType string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return write(w, status, mediaType, append(b, '\n'))
}

func write(w http.ResponseWriter, status int, mediaType string, b []byte) error {
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	_, err := w.Write(b)
	return err
}
