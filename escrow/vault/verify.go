package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/penname/penname/verifier/refusal"
)

// right is what one path of a policy grants.
type right struct {
	Capabilities []string            `json:"capabilities"`
	Allowed      map[string][]string `json:"allowed_parameters"`
	Denied       map[string][]string `json:"denied_parameters"`
	Required     []string            `json:"required_parameters"`
}

// keyFlags is what Vault says about a Transit key that matters to us. The key
// itself is never readable.
type keyFlags struct {
	Type                 string `json:"type"`
	Derived              bool   `json:"derived"`
	Exportable           bool   `json:"exportable"`
	AllowPlaintextBackup bool   `json:"allow_plaintext_backup"`
	DeletionAllowed      bool   `json:"deletion_allowed"`
	Convergent           bool   `json:"convergent_encryption"`
	Imported             bool   `json:"imported_key"`
	AutoRotate           int64  `json:"auto_rotate_period"`
	LatestVersion        int    `json:"latest_version"`
	MinDecryption        int    `json:"min_decryption_version"`
	MinEncryption        int    `json:"min_encryption_version"`
	MinAvailable         int    `json:"min_available_version"`
}

// wantKeys are the flags of the four keys. Convergent encryption would let who
// can encrypt confirm a guess; an imported key is known to whoever imported it.
var wantKeys = map[string]keyFlags{
	keyRecord:      {Type: "aes256-gcm96", Derived: true},
	keyLink:        {Type: "aes256-gcm96", Derived: true},
	keyFingerprint: {Type: "hmac"},
	keyPseudonym:   {Type: "hmac"},
}

// wrong names what is wrong with a key, or returns "".
func (have keyFlags) wrong(name string) string {
	want := wantKeys[name]
	switch {
	case have.Type != want.Type:
		return "type"
	case have.Derived != want.Derived:
		return "derived"
	case have.Exportable:
		return "exportable"
	case have.AllowPlaintextBackup:
		return "allow_plaintext_backup"
	case have.DeletionAllowed:
		return "deletion_allowed"
	case have.Convergent:
		return "convergent_encryption"
	case have.Imported:
		return "imported_key"
	case want.Type == "hmac" && have.AutoRotate != 0:
		return "auto_rotate_period"
	case want.Type == "hmac" && (have.LatestVersion != 1 || have.MinDecryption > 1):
		return "latest_version"
	}
	return ""
}

var allSides = []Side{SideIssuing, SideDisclosing, SideKeeping}

// allRoles are the sides and their renewers.
func allRoles() []Side {
	roles := slices.Clone(allSides)
	for _, side := range allSides {
		roles = append(roles, side.Renewer())
	}
	return roles
}

// keysOf returns the keys that a side works with.
func keysOf(side Side) []string {
	switch side {
	case SideIssuing:
		return []string{keyRecord, keyLink, keyFingerprint, keyPseudonym}
	case SideDisclosing:
		return []string{keyRecord, keyLink}
	case SideKeeping:
		return []string{keyRecord}
	}
	return nil // a renewer
}

// ofGroups is where the keys of groups are. In a rule, + is one of them.
const ofGroups = groupMount + "/"

// oneGroup is a path of a rule with a group in the place of +.
func oneGroup(path string) string { return strings.Replace(path, "+", keyRecord+"-1", 1) }

// rightsOf is what deploy/vault-policies grants to a side, written a second
// time on purpose: a change of the files alone does not start.
func rightsOf(side Side) map[string]right {
	batch := func(more map[string][]string) right {
		allowed, required := map[string][]string{"batch_input": {}}, []string{"batch_input"}
		for name, values := range more {
			allowed[name], required = values, append(required, name)
		}
		return right{Capabilities: []string{"update"}, Allowed: allowed, Required: required}
	}
	rights := map[string]right{
		"auth/token/lookup-self":        {Capabilities: []string{"read"}},
		"auth/token/renew-self":         {Capabilities: []string{"update"}},
		"auth/token/revoke-self":        {Capabilities: []string{"update"}},
		"sys/capabilities-self":         {Capabilities: []string{"update"}},
		"sys/internal/ui/resultant-acl": {Capabilities: []string{"read"}},
	}
	for _, key := range keysOf(side) {
		rights[mount+"/keys/"+key] = right{Capabilities: []string{"read"}}
		if key == keyRecord {
			rights[ofGroups+"keys/+"] = right{Capabilities: []string{"read"}}
		}
	}
	secretID := right{Capabilities: []string{"update"}, Allowed: map[string][]string{"secret_id": {}}, Required: []string{"secret_id"}}
	rights[rolePath(side)+"/secret-id/lookup"] = secretID // of an id that one knows already
	if of, ok := strings.CutSuffix(string(side), renewer); ok {
		for _, role := range []Side{Side(of), side} {
			rights[rolePath(role)+"/secret-id"] = right{Capabilities: []string{"update"}, Denied: map[string][]string{"*": {}}}
			rights[rolePath(role)+"/secret-id/destroy"] = secretID
		}
	}
	switch side {
	case SideIssuing:
		rights[mount+"/encrypt/"+keyRecord] = batch(nil)
		rights[ofGroups+"encrypt/+"] = batch(nil)
		rights[mount+"/encrypt/"+keyLink] = batch(nil)
		rights[mount+"/hmac/"+keyFingerprint] = batch(map[string][]string{"key_version": {"1"}})
		rights[mount+"/hmac/"+keyPseudonym] = batch(map[string][]string{"key_version": {"1"}})
	case SideDisclosing:
		rights[mount+"/decrypt/"+keyRecord] = batch(nil)
		rights[ofGroups+"decrypt/+"] = batch(nil)
		rights[mount+"/decrypt/"+keyLink] = batch(nil)
	case SideKeeping:
		made := right{Capabilities: []string{"read", "update"}, Allowed: map[string][]string{}}
		for name, values := range groupKey {
			made.Allowed[name], made.Required = values, append(made.Required, name)
		}
		rights[ofGroups+"keys/+"] = made
		rights[mount+"/rewrap/"+keyRecord] = batch(nil)
		rights[ofGroups+"rewrap/+"] = batch(nil)
		for _, key := range []string{mount + "/keys/" + keyRecord, ofGroups + "keys/+"} {
			rights[key+"/rotate"] = right{Capabilities: []string{"update"}, Denied: map[string][]string{"*": {}}}
			rights[key+"/config"] = right{Capabilities: []string{"update"}, Allowed: map[string][]string{"min_decryption_version": {}, "min_encryption_version": {}},
				Required: []string{"min_decryption_version", "min_encryption_version"}}
			rights[key+"/trim"] = right{Capabilities: []string{"update"}, Allowed: map[string][]string{"min_available_version": {}}, Required: []string{"min_available_version"}}
		}
	}
	return rights
}

// forbidden are paths where one capability would break a promise, asked one by
// one: they find what a list of rules would not, such as a rule with a
// wildcard, or a policy that came by way of an identity or a group.
func forbidden() []string {
	paths := []string{
		"sys/policies/acl/x", "sys/policy/x", "sys/auth/x", "sys/mounts/x", "sys/remount", "sys/raw/x", "sys/seal",
		"sys/audit/x", "sys/rekey/init", "sys/generate-root/attempt", "sys/storage/raft/snapshot", "sys/wrapping/wrap",
		"auth/token/create", "auth/token/create-orphan", "auth/token/lookup", "auth/token/lookup-accessor", "identity/entity",
	}
	for _, role := range allRoles() {
		for _, of := range []string{"", "/secret-id", "/custom-secret-id", "/role-id", "/secret-id/destroy", "/secret-id-accessor/destroy"} {
			paths = append(paths, rolePath(role)+of)
		}
	}
	keys := map[string][]string{groupMount: {keyRecord + "-1"}, mount: slices.Collect(maps.Keys(wantKeys))}
	for at, names := range keys {
		paths = append(paths, at+"/keys", at+"/config/keys", at+"/cache-config", at+"/wrapping_key")
		for _, key := range names {
			for _, op := range []string{"encrypt", "decrypt", "hmac", "rewrap", "sign", "verify", "backup", "restore", "datakey/plaintext"} {
				paths = append(paths, at+"/"+op+"/"+key)
			}
			for _, op := range []string{"config", "rotate", "trim", "soft-delete", "import", "import_version"} {
				paths = append(paths, at+"/keys/"+key+"/"+op)
			}
			paths = append(paths, at+"/export/encryption-key/"+key, at+"/export/hmac-key/"+key)
		}
	}
	return paths
}

// Verify checks that the token can do exactly what this side needs and that
// the keys have the flags that bootstrap gives. The refusal's cause names the
// path or the flag. A service calls it at start and may call it again at any
// time.
func (s *session) Verify(ctx context.Context) error {
	for _, check := range []func(context.Context) error{s.verifyToken, s.verifyRules, s.verifyCapabilities, s.verifyKeys} {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ask is call for the verifying paths: a path that is refused or missing is a
// right too few. Status 400 is a token that somebody revoked meanwhile.
func (s *session) ask(ctx context.Context, method, path string, body, out any) error {
	err := s.call(ctx, method, path, body, out)
	var status *statusError
	if errors.As(err, &status) && (errors.Is(err, ErrDenied) || status.status == http.StatusNotFound) {
		return ErrTooNarrow.Because(err)
	}
	if refusal.Of(err) != nil {
		return err
	}
	return s.must(err)
}

// verifyToken: one policy, ours, and nothing by way of an identity; and a token
// that ends when those of bootstrap do, and can be revoked.
func (s *session) verifyToken(ctx context.Context) error {
	var token struct {
		Data struct {
			Policies         []string
			IdentityPolicies []string `json:"identity_policies"`
			Type             string
			TTL              int64
			CreationTTL      int64 `json:"creation_ttl"`
			Period           int64
			BoundCIDRs       []string `json:"bound_cidrs"`
		}
	}
	if err := s.ask(ctx, http.MethodGet, "auth/token/lookup-self", nil, &token); err != nil {
		return err
	}
	policies := append(token.Data.Policies, token.Data.IdentityPolicies...)
	switch {
	case slices.Contains(policies, "root"):
		return ErrRootToken
	case !slices.Contains(policies, string(s.side)):
		return ErrTooNarrow.Because(errors.New("the policy " + string(s.side) + " is not attached"))
	case len(policies) > 1:
		return ErrTooBroad.Because(fmt.Errorf("policies %s", strings.Join(policies, ", ")))
	case token.Data.TTL <= 0 || token.Data.CreationTTL > seconds(tokenTTL) || token.Data.Period != 0:
		return ErrTooBroad.Because(errors.New("the token ends late, or never"))
	case token.Data.Type != "service":
		return ErrTooBroad.Because(errors.New("the token cannot be revoked"))
	case len(token.Data.BoundCIDRs) == 0 && strings.HasSuffix(string(s.side), renewer):
		return ErrTooBroad.Because(errors.New("a renewer is bound to no address"))
	}
	return nil
}

// verifyRules compares the whole rule set of the token with ours: not one path
// more, not one parameter more.
func (s *session) verifyRules(ctx context.Context) error {
	var have struct {
		Data struct {
			Root  bool             `json:"root"`
			Exact map[string]right `json:"exact_paths"`
			Glob  map[string]right `json:"glob_paths"`
		}
	}
	if err := s.ask(ctx, http.MethodGet, "sys/internal/ui/resultant-acl", nil, &have); err != nil {
		return err
	}
	if have.Data.Root {
		return ErrRootToken
	}
	want := rightsOf(s.side)
	for path := range have.Data.Glob {
		if _, ok := want[path]; !ok {
			return ErrTooBroad.Because(errors.New("rule with a wildcard: " + path))
		}
	}
	for path, r := range have.Data.Exact {
		if _, ok := want[path]; !ok && !slices.Equal(r.Capabilities, []string{"deny"}) {
			return ErrTooBroad.Because(errors.New("rule for " + path))
		}
	}
	for path, w := range want {
		h, ok := have.Data.Exact[path]
		if strings.Contains(path, "+") {
			h, ok = have.Data.Glob[path]
		}
		if !ok {
			return ErrTooNarrow.Because(errors.New("no rule for " + path))
		}
		slices.Sort(h.Required)
		slices.Sort(w.Required)
		if !reflect.DeepEqual(canonical(h), canonical(w)) {
			return ErrTooBroad.Because(errors.New("another rule for " + path))
		}
	}
	return nil
}

// canonical makes empty and absent the same.
func canonical(r right) string {
	for _, parameters := range []map[string][]string{r.Allowed, r.Denied} {
		for name, values := range parameters {
			if len(values) == 0 {
				parameters[name] = nil
			}
		}
	}
	text, _ := json.Marshal(r) // maps are sorted
	return string(text)
}

// verifyCapabilities asks Vault what the token may do on each path it needs,
// and on those that it must not touch.
func (s *session) verifyCapabilities(ctx context.Context) error {
	want := make(map[string]right)
	for path, r := range rightsOf(s.side) {
		want[oneGroup(path)] = r
	}
	paths := slices.Collect(maps.Keys(want))
	for _, path := range forbidden() {
		if _, ok := want[path]; !ok {
			paths = append(paths, path)
		}
	}
	var have struct {
		Data map[string]json.RawMessage
	}
	if err := s.ask(ctx, http.MethodPost, "sys/capabilities-self", map[string]any{"paths": paths}, &have); err != nil {
		return err
	}
	for _, path := range paths {
		var capabilities []string
		if err := json.Unmarshal(have.Data[path], &capabilities); err != nil || len(capabilities) == 0 {
			return errBadResponse
		}
		w, needed := want[path]
		switch {
		case slices.Contains(capabilities, "root"):
			return ErrRootToken
		case !needed && !slices.Equal(capabilities, []string{"deny"}):
			return ErrTooBroad.Because(fmt.Errorf("%s on %s", strings.Join(capabilities, ", "), path))
		case needed && slices.Equal(capabilities, []string{"deny"}):
			return ErrTooNarrow.Because(errors.New("denied on " + path))
		case needed && !slices.Equal(capabilities, w.Capabilities):
			return ErrTooBroad.Because(fmt.Errorf("%s on %s", strings.Join(capabilities, ", "), path))
		}
	}
	return nil
}

// verifyKeys: V04, a key that can leave Vault or vanish must not seal.
func (s *session) verifyKeys(ctx context.Context) error {
	for _, name := range keysOf(s.side) {
		var key struct{ Data keyFlags }
		err := s.call(ctx, http.MethodGet, mount+"/keys/"+name, nil, &key)
		var status *statusError
		if errors.As(err, &status) && status.status == http.StatusNotFound {
			return ErrUnsafeKey.Because(errors.New(name + " is missing"))
		}
		if err != nil {
			return err
		}
		if flag := key.Data.wrong(name); flag != "" {
			return ErrUnsafeKey.Because(fmt.Errorf("%s of %s", flag, name))
		}
	}
	return nil
}
