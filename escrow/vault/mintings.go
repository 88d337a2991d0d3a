package vault

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// UsedSecretID is a secret id of one of Penname's roles, as the file of an audit device
// shows it. Which id it is the file does not say.
type UsedSecretID struct {
	Role      Side
	At        time.Time     // when it was minted; zero if the file does not say, as of one that came wrapped
	Life      time.Duration // likewise
	ByRenewer bool          // and not by a person's token
	From      []string      // addresses: where it was minted, by a renewer, and where it logged in
	LoggedIn  bool
}

// mintEntry is what matters of a line for that.
type mintEntry struct {
	Type, Error string
	Time        time.Time
	Auth        struct {
		Policies []string
		Metadata struct {
			Role Side `json:"role_name"`
		}
	}
	Request struct {
		ID, Path, Operation string
		Address             string `json:"remote_address"`
		Data                struct {
			SecretID string `json:"secret_id"`
		}
	}
	Response struct {
		Data struct {
			SecretID string `json:"secret_id"`
			TTL      any    `json:"secret_id_ttl"` // seconds; a hash where the answer was unwrapped
		}
	}
}

// ReadSecretIDs returns every secret id that was minted, or logged in, according to the
// file of an audit device, in the order of minting. Vault hashes secret ids, each to the
// same text in all of one device's file.
func ReadSecretIDs(r io.Reader) ([]UsedSecretID, error) {
	found := make(map[string]*UsedSecretID)
	for d := json.NewDecoder(r); ; {
		var e mintEntry
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil || e.Time.IsZero() {
			return nil, ErrAuditFile.Because(errors.New("a line is not an entry"))
		}
		if e.Type != "response" || e.Error != "" || e.Request.Operation != "update" {
			continue
		}
		id, minted := e.Request.Data.SecretID, false
		role := e.Auth.Metadata.Role
		if path, ok := strings.CutPrefix(e.Request.Path, rolePath("")); ok {
			if role, minted = mintedFor(path); minted {
				id = cmp.Or(e.Response.Data.SecretID, e.Request.ID) // of a wrapped one there is no more to see
			}
		}
		if !slices.Contains(allRoles(), role) || !minted && e.Request.Path != "auth/approle/login" {
			continue
		}
		one := found[id]
		if one == nil {
			one = &UsedSecretID{Role: role}
			found[id] = one
		}
		one.add(e, minted)
	}
	var all []UsedSecretID
	for one := range maps.Values(found) {
		all = append(all, *one)
	}
	slices.SortFunc(all, func(a, b UsedSecretID) int { return a.At.Compare(b.At) })
	return all, nil
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
func (u *UsedSecretID) add(e mintEntry, minted bool) {
	if minted {
		ttl, _ := e.Response.Data.TTL.(float64)
		u.At, u.Life = e.Time, time.Duration(ttl)*time.Second
		u.ByRenewer = slices.Equal(e.Auth.Policies, []string{string(u.Role.Renewer())}) || slices.Equal(e.Auth.Policies, []string{string(u.Role)})
	} else {
		u.LoggedIn = true
	}
	if (!minted || u.ByRenewer) && !slices.Contains(u.From, e.Request.Address) {
		u.From = append(u.From, e.Request.Address)
	}
}
