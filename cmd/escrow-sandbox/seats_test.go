package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/penname/penname/policy"
)

// seatsWord writes a bundle to follow the one in force, which gives custodians a role or an
// alternate, requires a role, or names the program that runs as a release.
func seatsWord(s *scene, ts *testscript.TestScript, args []string) error {
	raw, err := os.ReadFile(s.Path("bundle.json"))
	if err != nil {
		return err
	}
	var b policy.Bundle
	if err := json.Unmarshal(raw, &b); err != nil {
		return err
	}
	for _, change := range args[1:] {
		what, value, _ := strings.Cut(change, "=")
		what, id, _ := strings.Cut(what, ":")
		c := b.Custodian(id)
		switch what {
		case "role":
			c.Role = value
		case "alternate":
			var card policy.Seat
			if err := json.Unmarshal([]byte(ts.ReadFile(value)), &card); err != nil {
				return err
			}
			c.Alternates = append(c.Alternates, policy.Alternate{ID: card.ID, Name: card.Name, Organisation: card.Organisation,
				Key: card.Key, Recipient: card.Recipient, OrganisationID: c.OrganisationID})
		case "required":
			b.Required = append(b.Required, policy.Required{Role: value})
		case "program":
			digest, err := ownDigest()
			if err != nil {
				return err
			}
			if value == "other" {
				digest = strings.Repeat("0", 64)
			}
			b.Programs = append(b.Programs, policy.Program{Name: "escrow", Version: "v1.4.0", Platform: runtime.GOOS + "/" + runtime.GOARCH, Digest: digest})
		default:
			return fmt.Errorf("unknown change %q", change)
		}
	}
	b.Succeed(s.Service.Bundle)
	if raw, err = b.Marshal(); err != nil {
		return err
	}
	return os.WriteFile(ts.MkAbs(args[0]), raw, 0o600)
}

// ownDigest is that of the program that runs.
func ownDigest() (string, error) {
	name, err := os.Executable()
	if err != nil {
		return "", err
	}
	program, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(program)
	return hex.EncodeToString(sum[:]), nil
}
