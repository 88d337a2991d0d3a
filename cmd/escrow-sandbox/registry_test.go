package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
)

// registryWord is what the operator does with the registry:
//
//	registry sign PLATFORM FILE KEY.jwk [stolen]   signs the next record of a platform, with
//	                                               that evidence key; stolen: the key before is
//	registry record FILE [COUNTERSIGNATURE]        puts it into the registry
//	registry insert FILE                           writes it into the database, past everything
func registryWord(s *scene, ts *testscript.TestScript, args []string) error {
	store := s.Service.Registrar.Registry
	switch args[0] {
	case "record", "insert":
		signed := strings.TrimSpace(ts.ReadFile(args[1]))
		var countersigned []string
		if len(args) > 2 {
			countersigned = strings.Fields(ts.ReadFile(args[2]))
		}
		r, err := policy.ParsePlatform(signed)
		if err != nil {
			return err
		}
		if args[0] == "record" {
			settings, err := s.settings(r.ID)
			if err != nil {
				return err
			}
			_, err = store.Record(context.Background(), signed, countersigned, settings)
			return err
		}
		_, err = s.psql(fmt.Sprintf(`INSERT INTO platform_records (id, number, signed, countersigned, client, leaf, day)
			SELECT '%s', %d, '%s', '{}', '{}', max(index), '2026-11-21' FROM log_leaves`, r.ID, r.Number, signed))
		return err
	}
	settings, err := s.settings(args[1])
	if err != nil {
		return err
	}
	r := policy.PlatformRecord{Version: 1, ID: args[1], Number: 1, Name: "The " + args[1], Client: policy.ClientHash(settings)}
	have, err := store.Of(context.Background(), args[1])
	if err != nil {
		return err
	}
	if n := len(have); n > 0 {
		before, err := policy.ParsePlatform(have[n-1].Signed)
		if err != nil {
			return err
		}
		r = before.Successor()
	}
	key, err := secretfile.ReadKey(ts.MkAbs(args[3]))
	if err != nil {
		return err
	}
	if len(args) > 4 {
		r.Stolen = []string{s.platformOf(args[1]).EvidenceKey.KeyID}
	}
	if r.Keys, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}}); err != nil {
		return err
	}
	registry, err := secretfile.ReadKey(s.Path("registry.jwk"))
	if err != nil {
		return err
	}
	if strings.Contains(args[2], "forged") {
		if registry, err = document.NewKey(); err != nil {
			return err
		}
	}
	signed, err := policy.SignPlatform(registry, r)
	if err != nil {
		return err
	}
	return os.WriteFile(ts.MkAbs(args[2]), []byte(signed+"\n"), 0o600)
}

// settings are those of a platform's client, which stay; "{}" of one that is not registered.
func (s *scene) settings(platform string) ([]byte, error) {
	newest, err := s.Service.Disclosing.Store.Platforms.Newest(context.Background())
	for _, n := range newest {
		if r, err := policy.ParsePlatform(n.Signed); err == nil && r.ID == platform {
			return n.Client, nil
		}
	}
	return []byte("{}"), err
}
