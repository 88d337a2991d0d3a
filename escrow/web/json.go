package web

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
)

const mediaTypeJSON = "application/json"

// ReadJSON reads a strict JSON object into v: no unknown and no repeated field,
// nothing after it (ATTACKS H04).
func ReadJSON(r *http.Request, v any) error {
	if mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); mediaType != mediaTypeJSON {
		return errMediaType
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if err := jsonv2.Unmarshal(b, v, jsonv2.RejectUnknownMembers(true)); err != nil {
		return errBody
	}
	return nil
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
