package service

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/verifier/proof"
)

// I2, by the day: what is opened before it is authorised is found, although it
// was authorised later.
func TestI2NoDecryptBeforeItsCase(t *testing.T) {
	at := func(text string) time.Time {
		day, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return day
	}
	index := func(i int64) *int64 { return &i }
	log := []proof.Leaf{
		{Kind: proof.KindBundle, Day: "2026-03-01"},
		{Kind: proof.KindRecorded, Day: "2026-03-02", Targets: 2},
		{Kind: proof.KindAuthorised, Day: "2026-03-03", Case: index(1)},
		{Kind: proof.KindReleased, Day: "2026-03-03", Case: index(1)},
		{Kind: proof.KindRecorded, Day: "2026-03-04", Targets: 1},
		{Kind: proof.KindAuthorised, Day: "2026-03-05", Case: index(4)},
	}
	a, b, c := "hmac-sha256:a", "hmac-sha256:b", "hmac-sha256:c"
	for name, test := range map[string]struct {
		opened   []vault.Opened
		exported int
		since    time.Time
		want     error
	}{
		"each after its case":                  {opened: []vault.Opened{{At: at("2026-03-03T10:00:00Z"), Record: a}, {At: at("2026-03-03T10:00:00Z"), Record: b}, {At: at("2026-03-05T10:00:00Z"), Record: c}}},
		"the last is still to come":            {opened: []vault.Opened{{At: at("2026-03-03T10:00:00Z"), Record: a}, {At: at("2026-03-03T10:00:00Z"), Record: b}}},
		"again and again":                      {opened: []vault.Opened{{At: at("2026-03-03T10:00:00Z"), Record: a}, {At: at("2026-03-03T10:00:00Z"), Record: b}, {At: at("2026-03-04T10:00:00Z"), Record: b}}},
		"Vault's clock is behind":              {opened: []vault.Opened{{At: at("2026-03-02T23:58:00Z"), Record: a}, {At: at("2026-03-02T23:58:00Z"), Record: b}}},
		"before the case":                      {opened: []vault.Opened{{At: at("2026-03-02T10:00:00Z"), Record: a}, {At: at("2026-03-03T10:00:00Z"), Record: b}}, want: ErrUnlogged},
		"a third before its case":              {opened: []vault.Opened{{At: at("2026-03-03T10:00:00Z"), Record: a}, {At: at("2026-03-03T10:00:00Z"), Record: b}, {At: at("2026-03-04T10:00:00Z"), Record: c}}, want: ErrUnlogged},
		"one that was released is missing":     {opened: []vault.Opened{{At: at("2026-03-03T10:00:00Z"), Record: a}}, want: vault.ErrAuditFile},
		"N4 what was over before is left out":  {opened: []vault.Opened{{At: at("2026-03-05T10:00:00Z"), Record: c}}, since: at("2026-03-04T00:00:00Z")},
		"N4 authorised before, released since": {opened: []vault.Opened{{At: at("2026-03-03T10:00:00Z"), Record: a}, {At: at("2026-03-03T10:00:00Z"), Record: b}}, since: at("2026-03-03T00:00:00Z")},
		"N4 one more than since":               {opened: []vault.Opened{{At: at("2026-03-05T10:00:00Z"), Record: c}, {At: at("2026-03-05T10:00:00Z"), Record: a}}, since: at("2026-03-04T00:00:00Z"), want: ErrUnlogged},
		"N4 too early since":                   {opened: []vault.Opened{{At: at("2026-03-04T10:00:00Z"), Record: c}}, since: at("2026-03-04T00:00:00Z"), want: ErrUnlogged},
		"N4 one released since is missing":     {opened: []vault.Opened{{At: at("2026-03-03T10:00:00Z"), Record: a}}, since: at("2026-03-03T00:00:00Z"), want: vault.ErrAuditFile},
		"the key was exported":                 {opened: []vault.Opened{{At: at("2026-03-03T10:00:00Z"), Record: a}, {At: at("2026-03-03T10:00:00Z"), Record: b}}, exported: 1, want: ErrUnlogged},
	} {
		c, audit := casesOf(log, test.since), vault.Audit{Opened: test.opened, Exported: test.exported}
		err := c.exceeded(audit)
		if err == nil {
			err = c.missing(audit)
		}
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v (%v), want %v", name, err, errors.Unwrap(err), test.want)
		}
	}
}

// Since format 5 of the bundle, targets are authorised and released in rounds, and a link
// or a suspension opens no half.
func TestVaultOpensWhatEachRoundAuthorised(t *testing.T) {
	index := func(i int64) *int64 { return &i }
	log := []proof.Leaf{
		{Kind: proof.KindRecorded, WarrantKind: proof.Production, Day: "2026-03-02", Targets: 3},
		{Kind: proof.KindDecided, Day: "2026-03-03", Case: index(0), Which: proof.Marks{0b001}},
		{Kind: proof.KindReleased, Day: "2026-03-03", Case: index(0), Which: proof.Marks{0b001}},
		{Kind: proof.KindDecided, Day: "2026-03-05", Case: index(0), Which: proof.Marks{0b110}},
		{Kind: proof.KindReleased, Day: "2026-03-06", Case: index(0), Which: proof.Marks{0b010}},
		{Kind: proof.KindDecided, Day: "2026-03-07", Case: index(0), Which: proof.Marks{0b000}},
		{Kind: proof.KindRecorded, WarrantKind: proof.Suspension, Day: "2026-03-07", Targets: 3},
		{Kind: proof.KindDecided, Day: "2026-03-07", Case: index(6), Which: proof.Marks{0b111}},
	}
	for since, want := range map[string]cases{
		"":           {map[string]int{"2026-03-03": 1, "2026-03-05": 2}, 2},
		"2026-03-04": {map[string]int{"2026-03-05": 2}, 1},
	} {
		from, _ := time.Parse(time.DateOnly, since)
		if got := casesOf(log, from); !maps.Equal(got.authorised, want.authorised) || got.released != want.released {
			t.Errorf("since %q: %+v, want %+v", since, got, want)
		}
	}
}

// C1: a thief who mints to live on is out of rhythm, or elsewhere; renewals are not, and
// neither is one that crashed and was repeated.
func TestFoundC1MintingsAreInRhythm(t *testing.T) {
	const life = 90 * 24 * time.Hour
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	id := func(role vault.Side, days int, from ...string) vault.UsedSecretID {
		return vault.UsedSecretID{Role: role, At: start.AddDate(0, 0, days), Life: life, ByRenewer: true, LoggedIn: true, From: from}
	}
	side, renewer := vault.SideIssuing, vault.SideIssuing.Renewer()
	hand := vault.UsedSecretID{Role: side, LoggedIn: true, From: []string{"192.0.2.1"}}
	lost := id(side, 45, "192.0.2.1")
	lost.LoggedIn = false
	carried := hand
	carried.From = []string{"192.0.2.1", "192.0.2.9"}
	year := []vault.UsedSecretID{hand, id(side, 45, "192.0.2.1"), id(renewer, 45, "192.0.2.1"), id(side, 90, "192.0.2.1"), id(renewer, 91, "192.0.2.1"), id(side, 136, "192.0.2.1")}
	for name, test := range map[string]struct {
		ids  []vault.UsedSecretID
		want error
	}{
		"renewals":                       {ids: year},
		"on two machines":                {ids: []vault.UsedSecretID{id(side, 45, "192.0.2.1"), id(side, 46, "192.0.2.2"), id(side, 90, "192.0.2.1"), id(side, 91, "192.0.2.2")}},
		"one crashed and was repeated":   {ids: []vault.UsedSecretID{lost, id(side, 45, "192.0.2.1")}},
		"a thief mints for the side":     {ids: []vault.UsedSecretID{id(side, 45, "192.0.2.1"), id(side, 60, "192.0.2.1"), id(side, 90, "192.0.2.1")}, want: ErrMinted},
		"a thief mints for the renewer":  {ids: []vault.UsedSecretID{id(renewer, 45, "192.0.2.1"), id(renewer, 60, "192.0.2.1")}, want: ErrMinted},
		"in the middle of two renewals":  {ids: []vault.UsedSecretID{id(side, 45, "192.0.2.1"), id(side, 67, "192.0.2.1"), id(side, 90, "192.0.2.1")}, want: ErrMinted},
		"just before the service does":   {ids: []vault.UsedSecretID{id(side, 45, "192.0.2.1"), id(side, 89, "192.0.2.1"), id(side, 90, "192.0.2.1")}, want: ErrMinted},
		"minted here and used elsewhere": {ids: []vault.UsedSecretID{id(side, 45, "192.0.2.1", "192.0.2.9")}, want: ErrMinted},
		"made by hand, used elsewhere":   {ids: []vault.UsedSecretID{carried}, want: ErrMinted},
	} {
		if err := inRhythm(test.ids); !errors.Is(err, test.want) {
			t.Errorf("%s: %v (%v), want %v", name, err, errors.Unwrap(err), test.want)
		}
	}
}
