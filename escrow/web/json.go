package web

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
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
	if mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); mediaType != mediaTypeJSON {
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
