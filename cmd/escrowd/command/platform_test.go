package command

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
)

// A platform that has a sector does not move out of it afterwards.
func TestChangedAddressesStayInTheSector(t *testing.T) {
	for name, c := range map[string]struct {
		args    []string
		record  policy.PlatformRecord
		sandbox bool
		want    error
	}{
		"inside":                   {[]string{"--redirect-uri", "https://www.town.example/cb"}, policy.PlatformRecord{Sector: "town.example"}, false, nil},
		"a redirect URI outside":   {[]string{"--redirect-uri", "https://evil.example/cb"}, policy.PlatformRecord{Sector: "town.example"}, false, openid.ErrSectorDomain},
		"an origin outside":        {[]string{"--origin", "https://evil.example"}, policy.PlatformRecord{Sector: "town.example"}, false, openid.ErrSectorDomain},
		"a list that is not there": {[]string{"--redirect-uri", "https://evil.example/cb"}, policy.PlatformRecord{Sector: "127.0.0.1", SectorURI: "https://127.0.0.1:1/list"}, false, openid.ErrSectorURI},
		"another setting":          {[]string{"--name", "Town"}, policy.PlatformRecord{Sector: "127.0.0.1", SectorURI: "https://127.0.0.1:1/list"}, false, nil},
		"no sector":                {[]string{"--redirect-uri", "https://evil.example/cb"}, policy.PlatformRecord{}, false, nil},
		"on one machine":           {[]string{"--redirect-uri", "http://localhost/cb"}, policy.PlatformRecord{Sector: "town.example"}, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var f platformFlags
			cmd := &cobra.Command{}
			f.flags(cmd)
			if err := cmd.ParseFlags(c.args); err != nil {
				t.Fatal(err)
			}
			d := draft{record: c.record, client: openid.Platform{RedirectURIs: []string{"https://town.example/cb"}}}
			if err := f.change(t.Context(), cmd, &d, c.sandbox); !errors.Is(err, c.want) {
				t.Errorf("%v, not %v", err, c.want)
			}
			if d.record.Sector != c.record.Sector && c.want == nil {
				t.Errorf("the sector is %s", d.record.Sector)
			}
		})
	}
}

// The file of a new secret is taken back if the secret was refused, and stays where it may
// count.
func TestSecretInDoubtIsKept(t *testing.T) {
	for _, c := range []struct {
		err  error
		kept bool
	}{{policy.ErrPlatformNotNext, false}, {postgres.ErrUnknown, true}, {errors.New("the line went down"), true}} {
		f := secretFlags{out: filepath.Join(t.TempDir(), "town.secret")}
		secret, err := f.hand(f.secret())
		if err != nil {
			t.Fatal(err)
		}
		if err := secret.takeBack(c.err); !errors.Is(err, c.err) {
			t.Error(err)
		}
		if _, err := os.Stat(f.out); errors.Is(err, fs.ErrNotExist) == c.kept {
			t.Errorf("after %v: %v", c.err, err)
		}
		// What was left over says what to do.
		if _, err := f.hand(f.secret()); c.kept && (!errors.Is(err, secretfile.ErrExists) || !strings.Contains(err.Error(), "escrowd platform show")) {
			t.Error(err)
		}
	}
}

// From when evidence of a platform counts is said of each key, and not of a platform that
// has none.
func TestWhenEvidenceCounts(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 11, d, 0, 0, 0, 0, time.UTC) }
	for name, c := range map[string]struct {
		from   map[string]time.Time
		counts string
		keys   []keyView
	}{
		"no key":                 {counts: ""},
		"one waits":              {map[string]time.Time{"a": day(9)}, "2026-11-09", []keyView{{"a", "2026-11-09"}}},
		"the second waits":       {map[string]time.Time{"a": day(9), "b": day(12)}, "2026-11-09", []keyView{{"a", "2026-11-09"}, {"b", "2026-11-12"}}},
		"the rules list the one": {map[string]time.Time{"a": day(9), "b": {}}, atOnce, []keyView{{"a", "2026-11-09"}, {"b", atOnce}}},
	} {
		var v platformView
		if v.count(c.from); v.Counts != c.counts || !slices.Equal(v.Keys, c.keys) || len(v.lines) != len(c.keys) {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if said := (recorded{Platform: "p", Leaf: new(int64), Counts: atOnce, Namesakes: []string{"other"}}).said("is registered"); !strings.Contains(said, "its evidence counts at once") || !strings.Contains(said, "the same: other") {
		t.Error(said)
	}
}
