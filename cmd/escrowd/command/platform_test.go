package command

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/postgres"
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
	}
}
