package vault

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// UsedSecretID is a secret id of one of Penname's roles, as the files of an audit device
// show it. Which id it is they do not say.
type UsedSecretID struct {
	Role      Side
	At        time.Time     // when it was minted; zero if the file does not say, as of one that came wrapped
	Life      time.Duration // likewise
	ByRenewer bool          // and not by a person's token
	From      []string      // addresses: where it was minted, by a renewer, and where it logged in
	LoggedIn  bool
}

// takeSecretID notes a secret id that was minted, or logged in. Vault hashes secret ids,
// each to the same text in all that one device writes.
func (r *auditReader) takeSecretID(e *auditEntry) error {
	if e.Type != "response" || e.Error != "" || e.Request.Operation != "update" {
		return nil
	}
	role, minted := e.Auth.Metadata.Role, false
	if path, ok := strings.CutPrefix(e.Request.Path, rolePath("")); ok {
		role, minted = mintedFor(path)
	}
	if !slices.Contains(allRoles(), role) || !minted && e.Request.Path != "auth/approle/login" {
		return nil
	}
	var sent struct {
		SecretID string `json:"secret_id"`
	}
	var answer struct {
		SecretID string `json:"secret_id"`
		TTL      any    `json:"secret_id_ttl"` // seconds; a hash where the answer was unwrapped
	}
	if len(e.Request.Data) > 0 && json.Unmarshal(e.Request.Data, &sent) != nil || len(e.Response.Data) > 0 && json.Unmarshal(e.Response.Data, &answer) != nil {
		return errNoEntry
	}
	id := sent.SecretID
	if minted {
		id = cmp.Or(answer.SecretID, e.Request.ID) // of a wrapped one there is no more to see
	}
	one := r.ids[id]
	if one == nil {
		one = &UsedSecretID{Role: role}
		r.ids[id] = one
	}
	ttl, _ := answer.TTL.(float64)
	one.add(e, minted, time.Duration(ttl)*time.Second)
	return nil
}

// mintedFor returns for which role a path below those of roles mints.
func mintedFor(path string) (role Side, mints bool) {
	name, ok := strings.CutSuffix(path, "/secret-id")
	if !ok {
		name, ok = strings.CutSuffix(path, "/custom-secret-id")
	}
	return Side(name), ok
}

// add puts down what an entry says: that the secret id was minted, or logged in.
func (u *UsedSecretID) add(e *auditEntry, minted bool, life time.Duration) {
	if minted {
		u.At, u.Life = e.Time, life
		u.ByRenewer = slices.Equal(e.Auth.Policies, []string{string(u.Role.Renewer())}) || slices.Equal(e.Auth.Policies, []string{string(u.Role)})
	} else {
		u.LoggedIn = true
	}
	if (!minted || u.ByRenewer) && !slices.Contains(u.From, e.Request.Address) {
		u.From = append(u.From, e.Request.Address)
	}
}
