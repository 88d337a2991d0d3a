package service

import (
	"errors"
	"strings"
	"testing"

	"github.com/penname/penname/verifier/refusal"
)

// A setting is found however TOML lets one write it.
func TestLinesOfSettings(t *testing.T) {
	s := &source{file: "escrowd.toml", lines: linesOf([]byte(strings.Join([]string{
		"# 1",
		`origin = "https://penname.example"`,
		"[issue] # 3",
		`"database_file" = "d"`,
		"token_keys = [ # 5",
		`  {file = "a"},`,
		`  {file = "b", not_after = 2027-01-01},`,
		"]",
		"vault.address = 9",
		"[[issue.identity_providers]] # 10",
		`id = "one"`,
		"[[issue.identity_providers]] # 12",
		"scopes = [",
		`  "profile",`,
		"]",
		`Issuer = "x" # 16`,
		"[Disclose . Vault] # 17",
		`role_id = "r"`,
		"[keep.vault]\r",
		"address = 20\r", "",
	}, "\n")))}
	for setting, want := range map[string]int{
		"origin": 2, "issue": 3, "issue.database_file": 4, "issue.token_keys": 5, "issue.token_keys[0].file": 6, "issue.token_keys[1].not_after": 7,
		"issue.vault.address": 9, "issue.identity_providers": 10, "issue.identity_providers[0]": 10, "issue.identity_providers[0].id": 11,
		"issue.identity_providers[1].issuer": 16, "disclose.vault.role_id": 18, "disclose": 17, "keep.vault.address": 20,
		// What is missing is missing in its section.
		"listen": 1, "issue.cookie_key_file": 3, "issue.identity_providers[1].id": 12, "issue.platforms[0].id": 3, "disclose.vault.address": 17,
	} {
		if got := s.line(setting); got != want {
			t.Errorf("%s: line %d, want %d", setting, got, want)
		}
	}
}

// Who reads a section names what is in it; the line is that of the whole name.
func TestRefusalsSayTheLine(t *testing.T) {
	refused := refusal.New(refusal.Invalid, "test.refused", "mend it")
	s := &source{file: "escrowd.toml", lines: map[string]int{"issue.vault": 3, "issue.vault.ca_file": 5, "issue.vault.secret_id_file": 6}}
	for _, c := range []struct {
		err  error
		want string
	}{
		{of("issue", of("vault", of("ca_file", refused.Because(errors.New("it is empty"))))), "escrowd.toml:5: issue.vault.ca_file: it is empty"},
		{of("issue.vault", of("role_id", refused)), "escrowd.toml:3: issue.vault.role_id"},
		{of("issue.vault", either("role_id", "secret_id_file", refused)), "escrowd.toml:3: issue.vault.role_id, or line 6: issue.vault.secret_id_file"},
		{of("issue.vault", of("", refused.Because(errors.New("of the environment")))), "escrowd.toml:3: issue.vault: of the environment"},
		{of("", refused), "escrowd.toml:1"},
	} {
		placed := s.placed(s.placed(c.err))
		if !errors.Is(placed, refused) || refusal.Of(placed).Unwrap().Error() != c.want {
			t.Errorf("%v, want %s", refusal.Of(placed).Unwrap(), c.want)
		}
	}
	plain := errors.New("no refusal")
	if of("issue", nil) != nil || s.placed(nil) != nil || s.placed(of("issue", plain)) != plain {
		t.Error("what is no refusal is changed")
	}
}
