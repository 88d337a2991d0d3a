package main

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/sandbox"
)

// TestF23OneBitFlipped: somebody with the superuser's rights changes one bit
// (of a text, eight letters) of what is stored about a target, past every trigger. Review shows by which code
// it is refused, and approval or the release refuses it; nothing opens, least of all as another person. With
// the bit flipped back the same case opens (I10: the name, and no other field).
func TestF23OneBitFlipped(t *testing.T) {
	tb := startForTest(t)
	st := filedCase(t, tb)
	st.Author = sandbox.People()[1]
	db, err := pgx.Connect(t.Context(), tb.Postgres.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context()) //nolint:errcheck // a test's connection
	const past = `SET search_path = penname; SET session_replication_role = replica`
	if _, err := db.Exec(t.Context(), past); err != nil {
		t.Fatal(err)
	}
	for name, sql := range map[string]string{
		"second half":       `UPDATE records SET second_half = set_byte(second_half, 80, get_byte(second_half, 80) # 1)`,
		"sealed field":      `UPDATE records SET sealed = set_byte(sealed, octet_length(sealed) - 1, get_byte(sealed, octet_length(sealed) - 1) # 1)`,
		"commitment to key": `UPDATE records SET sealed = set_byte(sealed, 20, get_byte(sealed, 20) # 1)`,
		"commitment":        `UPDATE pseudonyms SET hidden = set_byte(hidden, 20, get_byte(hidden, 20) # 1)`,
		"link":              `UPDATE pseudonyms SET link = overlay(link placing reverse(substr(link, 30, 8)) from 30)`,
	} {
		t.Run(name, func(t *testing.T) {
			flip := func() {
				if tag, err := db.Exec(t.Context(), sql); err != nil || tag.RowsAffected() != 1 {
					t.Fatalf("%v, %d rows", err, tag.RowsAffected())
				}
			}
			flip()
			for _, verb := range []string{"review", "approve"} {
				said, code := tb.Escrow(t.Context(), tb.AsCustodian("alba", verb, st.ID)...)
				if code != 1 && verb == "approve" || !strings.Contains(said, "warrant.commitment_mismatch") && !strings.Contains(said, "keys.decrypt_failed") {
					t.Errorf("%s: exit %d: %s", verb, code, said)
				}
			}
			flip()
		})
	}
	// The first half is read at the release only.
	for _, custodian := range []string{"alba", "bruno"} {
		if custodian == "bruno" {
			if _, err := db.Exec(t.Context(), `UPDATE records SET first_half = reverse(first_half)`); err != nil {
				t.Fatal(err)
			}
		}
		tb.Escrow(t.Context(), tb.AsCustodian(custodian, "review", st.ID)...)
		tb.Escrow(t.Context(), tb.AsCustodian(custodian, "approve", st.ID)...)
	}
	if said, code := tb.Escrow(t.Context(), st.OpenArgs()...); code != 1 || !strings.Contains(said, "keys.") {
		t.Errorf("first half: exit %d: %s", code, said)
	}
	if _, err := db.Exec(t.Context(), `UPDATE records SET first_half = reverse(first_half)`); err != nil {
		t.Fatal(err)
	}
	if err := st.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
}
