package identity

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Private is a piece of personal data. Whatever prints, logs, encodes or stores
// it gets "[redacted]" or an error; [Private.Reveal] is the only way out, so
// that every place where personal data is in clear can be found by that name.
//
// What is not covered: package fmt cannot call methods on a Private in an
// unexported struct field, and encoding/json does not call them on the key of a
// map; both give it in clear. Keep it in exported fields and values.
type Private string

const redacted = "[redacted]"

var errPrivateValue = errors.New("identity: personal data cannot be stored in clear; seal it")

// Reveal returns the clear value.
func (p Private) Reveal() string { return string(p) }

// String returns "[redacted]".
func (p Private) String() string { return redacted }

// GoString returns "[redacted]", for %#v.
func (p Private) GoString() string { return redacted }

// Format writes "[redacted]" for every verb and flag.
func (p Private) Format(s fmt.State, _ rune) { io.WriteString(s, redacted) } //nolint:errcheck // a formatter cannot fail

// LogValue returns "[redacted]" to log/slog.
func (p Private) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (p Private) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns the JSON string "[redacted]".
func (p Private) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalBinary returns "[redacted]", for encoding/gob.
func (p Private) MarshalBinary() ([]byte, error) { return []byte(redacted), nil }

// Value refuses: a Private is never an argument of a database statement.
func (p Private) Value() (driver.Value, error) { return nil, errPrivateValue }
