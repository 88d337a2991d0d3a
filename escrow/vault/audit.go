package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/verifier/refusal"
)

// ErrAuditFile is returned for what is not what an audit device of Vault writes.
var ErrAuditFile = refusal.New(refusal.Invalid, "vault.audit_file", "Give the whole file of one audit device of Vault, from its first line on, as JSON and without log_raw.")

// Opened is a first half that Vault opened for somebody.
type Opened struct {
	At       time.Time // by Vault's clock
	Record   string    // Vault's hash of the record label: the same in all of one device's file
	Stranger bool      // with another token than the disclosing side's
}

// auditEntry is what matters of a line. Vault hashes every string that a client
// sent: what stays readable is who, when, where, and how many.
type auditEntry struct {
	Type  string
	Time  time.Time
	Error string
	Auth  struct{ Policies []string }
	// Path is taken in any mount: a mount can be moved, and be moved back.
	Request struct {
		ID, Path string
		Data     struct {
			Context string
			Batch   []struct{ Context string } `json:"batch_input"`
		}
	}
}

// ReadAudit returns every first half that was opened according to the file of
// an audit device, in order, and how often the record key itself was exported
// or backed up. What Vault logged before it did it, and did not log as failed
// afterwards, counts as done; so does each item of a batch of which a part
// failed, since Vault hashes that answer as a whole.
func ReadAudit(r io.Reader) (opened []Opened, exported int, err error) {
	done := make(map[string][]Opened) // by request
	exports := make(map[string]bool)
	for d := json.NewDecoder(r); ; {
		var e auditEntry
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil || e.Time.IsZero() {
			return nil, 0, ErrAuditFile.Because(errors.New("a line is not an entry"))
		}
		id, path := e.Request.ID, e.Request.Path
		switch {
		case !strings.HasSuffix(path, "/"+keyRecord) && !strings.Contains(path, "/"+keyRecord+"/"):
		case strings.Contains(path, "/export/"), strings.Contains(path, "/backup/"):
			exports[id] = e.Error == ""
		case !strings.HasSuffix(path, "/decrypt/"+keyRecord):
		case e.Error != "":
			delete(done, id)
		case e.Type == "request":
			contexts := []string{e.Request.Data.Context}
			if b := e.Request.Data.Batch; b != nil {
				contexts = nil
				for _, item := range b {
					contexts = append(contexts, item.Context)
				}
			}
			for _, c := range contexts {
				if !strings.HasPrefix(c, "hmac-sha256:") {
					return nil, 0, ErrAuditFile.Because(fmt.Errorf("the device writes values in clear, halves among them (log_raw, or audit_non_hmac_request_keys of the mount)"))
				}
				done[id] = append(done[id], Opened{e.Time, c, !slices.Equal(e.Auth.Policies, []string{string(SideDisclosing)})})
			}
		}
	}
	for _, all := range done {
		opened = append(opened, all...)
	}
	slices.SortStableFunc(opened, func(a, b Opened) int { return a.At.Compare(b.At) })
	for done := range maps.Values(exports) {
		if done {
			exported++
		}
	}
	return opened, exported, nil
}
