package command

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/vault"
)

// N1: role ids and secret ids were not findable. The bootstrap prints the sections of the
// configuration, the same again when there is nothing to change, and each side starts with
// what the command made for it, raw or wrapped.
func TestFoundN1BootstrapPrintsTheConfiguration(t *testing.T) {
	v := escrowtest.OwnVault(t)
	dir := t.TempDir()
	token := drafting{t, dir}.file("token", []byte(v.Admin.Token))
	at := []string{"--address", v.Admin.Address, "--token-file", token}
	bootstrap := append([]string{"vault", "bootstrap", "--issuing-from", "127.0.0.1/32", "--disclosing-from", "127.0.0.1/32"}, at...)
	operator(t, 0, bootstrap...) // it binds addresses, and makes two renewers
	text := operator(t, 0, bootstrap...)
	if !strings.HasPrefix(text, "# nothing to change\n\n[issue.vault]\n") || strings.Count(text, "renewer_role_id") != 2 {
		t.Error(text)
	}
	// Run again without addresses, it leaves them; and one alone is a network of one.
	bare, alone := append([]string{"vault", "bootstrap"}, at...), append([]string{"vault", "bootstrap", "--issuing-from", "127.0.0.1"}, at...)
	if operator(t, 0, bare...) != text || operator(t, 0, alone...) != text {
		t.Error(operator(t, 0, bare...), operator(t, 0, alone...))
	}
	v.Must(t, "POST", "auth/approle/role/penname-issuing", map[string]any{"secret_id_bound_cidrs": []string{}})
	if text := operator(t, 0, bare...); !strings.HasPrefix(text, "# wrote the AppRole penname-issuing\n\n") {
		t.Error(text)
	}
	if operator(t, 0, alone...) != text {
		t.Error("the addresses of one of two lists were lost")
	}
	var said struct {
		Changes  []string
		Sections []vaultSection
	}
	if err := json.Unmarshal([]byte(operator(t, 0, append(bootstrap, "--json")...)), &said); err != nil || len(said.Changes) != 0 || len(said.Sections) != 3 {
		t.Fatalf("%+v %v", said, err)
	}
	// Pasted into the example, in the place of its own sections, they are a configuration.
	config := exampleConfig("")
	for _, s := range said.Sections {
		if !strings.Contains(text, s.String()) {
			t.Errorf("not printed: %s", s)
		}
		head, rest, _ := strings.Cut(config, "["+s.Section+"]\n")
		_, tail, _ := strings.Cut(rest, "\n\n")
		config = head + s.String() + "\n\n" + tail
	}
	config = strings.ReplaceAll(config, v.Admin.Address, "https://vault.example:8200") // plain http is for tests
	if text := operator(t, 1, "serve", "--config", drafting{t, dir}.file("escrowd.toml", []byte(config))); !strings.Contains(text, "file.unreadable: ") {
		t.Error(text)
	}

	// What it says to run runs as it stands, but for where the file is to be.
	_, printed, _ := strings.Cut(said.Sections[0].String(), "one of its own: escrowd ")
	printed, _, _ = strings.Cut(printed, "\n")
	operator(t, 0, strings.Fields(strings.Replace(printed, "/var/lib/penname/issuing", t.TempDir(), 1))...)
	section := vaultSection{SecretIDFile: "/x/issuing.secret-id", Address: "https://vault.example", CAFile: "/ca.pem", TokenFile: "token"}
	if text := section.String(); !strings.Contains(text, "--out /x/issuing.secret-id --address https://vault.example --ca-file /ca.pem --token-file token") {
		t.Error(text)
	}
	t.Chdir(dir)
	ca := filepath.Join(dir, "ca.pem")
	other := httptest.NewTLSServer(nil)
	other.Close()
	drafting{t, dir}.file("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw}))
	if text := operator(t, 0, append(bare, "--ca-file", "ca.pem")...); strings.Count(text, fmt.Sprintf("= %q", ca)) != 3 || strings.Count(text, "--ca-file "+ca) != 5 {
		t.Error(text)
	}

	secretID := func(side, wrap string) string {
		file := filepath.Join(dir, side+wrap)
		args := append([]string{"vault", "secret-id", "--side", side, "--out", file, "--wrap", wrap}, at...)
		operator(t, 0, args...)
		if said := operator(t, 1, args...); !strings.Contains(said, "file.exists: ") {
			t.Error(said)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Error(info, err)
		}
		return file
	}
	for _, wrap := range []string{"0s", "5m"} {
		s := said.Sections[0]
		c := vault.Config{Address: s.Address, RoleID: s.RoleID, RenewerRoleID: s.RenewerRoleID,
			SecretIDFile: secretID("issuing", wrap), RenewerSecretIDFile: secretID("issuing-renewer", wrap)}
		if _, err := vault.OpenIssuing(t.Context(), c); err != nil {
			t.Errorf("%s: %v", wrap, err)
		}
	}
	for _, c := range []struct {
		code       int
		args, says string
	}{
		{1, "--side keeping-renewer --out " + dir + "/none", "there is no such AppRole"},
		{2, "--side penname-issuing --out " + dir + "/none", "--side is one of issuing, issuing-renewer, disclosing"},
		{2, "--side issuing --wrap 1ms --out " + dir + "/none", "--wrap is a whole number of seconds"},
		{2, "--side issuing", "--out is needed"},
	} {
		args := append(append([]string{"vault", "secret-id"}, strings.Fields(c.args)...), at...)
		if said := operator(t, c.code, args...); !strings.Contains(said, c.says) {
			t.Errorf("%s: %s", c.args, said)
		}
	}
}
