package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/openid/openidtest"
	"github.com/penname/penname/verifier/token"
)

// Pen names that were stored before rows were hidden are hidden at the next start,
// more than one page of them, and two of one pen name; they are found as before.
func TestNamedRowsAreHiddenAtTheStart(t *testing.T) {
	admin, ctx := database(t), t.Context()
	issuing(t, admin, Options{}).Close()
	twice := assignment(t)
	for i := range namedAtOnce + 5 {
		a := assignment(t)
		if i < 2 {
			a.Pseudonym = twice.Pseudonym
		}
		sql(t, admin, fmt.Sprintf(`INSERT INTO pseudonyms_named (pseudonym, platform, link, commitment, day) VALUES ('%s', '%s', 'link %d', sha256('%d'), '2026-11-21')`,
			a.Pseudonym, a.Platform, i, i))
	}
	s, d := issuing(t, admin, Options{}), disclosing(t, admin, Options{})
	if n := value[int](t, admin, `SELECT (SELECT count(*) FROM pseudonyms_named) * 10000 + (SELECT count(*) FROM pseudonyms)`); n != namedAtOnce+5 {
		t.Fatalf("named and hidden: %d", n)
	}
	names, err := s.Assigned(ctx, []token.Pseudonym{twice.Pseudonym})
	if err != nil || len(names) != 2 || names[0].Platform != twice.Platform || !names[0].Since.Equal(day) || names[0].Commitment == names[1].Commitment {
		t.Errorf("%+v, %v", names, err)
	}
	links, err := d.Records.Links(ctx, []disclose.Target{{Pseudonym: twice.Pseudonym, Platform: twice.Platform}})
	if err != nil {
		t.Fatal(err)
	}
	if slices.Sort(links[0].Value); !slices.Equal(links[0].Value, []string{"link 0", "link 1"}) {
		t.Errorf("%q, %v", links, err)
	}
}

// TestFoundP1RowsOfAPenName: who deleted themself and came back has two rows, which
// nothing shows to be of one pen name, and all rows have one length.
func TestFoundP1RowsOfAPenName(t *testing.T) {
	admin, ctx := database(t), t.Context()
	s := issuing(t, admin, Options{})
	a := assignment(t)
	back := a
	back.Commitment = [32]byte(random(32))
	other := assignment(t)
	other.Platform = "a"
	for _, one := range []struct{ c [32]byte }{{a.Commitment}, {back.Commitment}} {
		a.Commitment = one.c
		if _, err := s.Assign(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Assign(ctx, other); err != nil {
		t.Fatal(err)
	}
	for what, query := range map[string]string{
		"handles of three rows": `SELECT count(DISTINCT handle) * 10 + count(DISTINCT octet_length(hidden)) FROM pseudonyms`,
		"hidden in three rows":  `SELECT count(DISTINCT hidden) * 10 + count(DISTINCT octet_length(handle)) FROM pseudonyms`,
	} {
		if n := value[int](t, admin, query); n != 31 {
			t.Errorf("%s: %d", what, n)
		}
	}
}

// Rows of sign-ins hold nothing that a platform has, and have the same length
// whatever the platform asked for.
func TestFoundP3RowsOfSignInsNameNobody(t *testing.T) {
	admin, ctx := database(t), t.Context()
	s := issuing(t, admin, Options{})
	holder := pseudonym(t)
	for _, body := range []string{`{"platform":"town-square"}`, `{"platform":"school-forum","state":"` + strings.Repeat("x", 500) + `"}`} {
		row := openid.Row{Kind: openid.KindGrant, ID: [32]byte(random(32)), Holder: holder, Body: []byte(body), Expires: day}
		if err := s.Put(ctx, row); err != nil {
			t.Fatal(err)
		}
		if _, err := openidtest.Allocate(ctx, s, 0, 777, row.ID, day); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Use(ctx, row.ID, day); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"openid_rows", "openid_entries", "openid_used"} {
			for _, stored := range value[[]string](t, admin, `SELECT array_agg(t::text) FROM `+table+` t`) {
				for _, secret := range []string{string(holder), "platform", fmt.Sprintf("%x", row.ID), fmt.Sprintf("%x", `"platform"`), ",777,"} {
					if strings.Contains(stored, secret) {
						t.Errorf("%s holds %q", table, secret)
					}
				}
			}
		}
	}
	if n := value[int](t, admin, `SELECT count(DISTINCT octet_length(body)) FROM openid_rows`); n != 1 {
		t.Errorf("%d lengths", n)
	}
}

// Without the key nothing starts, and nothing is read.
func TestRowKeyIsNeeded(t *testing.T) {
	admin, ctx := database(t), t.Context()
	dsn, down := as(t, admin, "penname_issuing"), errors.New("down")
	for what, source := range map[string]RowKey{
		"none": nil,
		"zero": func(context.Context, string, string) (key [32]byte, leave string, err error) { return key, "x", nil },
		"down": func(context.Context, string, string) (key [32]byte, leave string, err error) { return key, "", down },
	} {
		_, err := OpenIssuing(ctx, dsn, Options{RowKey: source})
		wantErr(t, what, err, ErrRowKey)
	}
	issuing(t, admin, Options{}).Close()
	d, err := OpenDisclosing(ctx, as(t, admin, "penname_disclosing"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	_, err = oneLink(ctx, d, pseudonym(t), "town-square")
	wantErr(t, "a look-up", err, ErrRowKey)
	k := newRowKey([32]byte{1})
	locked := k.lock([]byte("a"), []byte("text"), 16)
	if text, err := k.unlock([]byte("a"), locked); err != nil || !bytes.Equal(text, []byte("text")) || len(locked) != 16+28 {
		t.Errorf("%q, %v, %d bytes", text, err, len(locked))
	}
	_, err = k.unlock([]byte("b"), locked)
	wantErr(t, "another row", err, ErrDamaged)
	_, err = k.unlock([]byte("a"), locked[:20])
	wantErr(t, "cut", err, ErrDamaged)
}
