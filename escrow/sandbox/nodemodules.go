package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNodeJS is returned by [NodeModules] on a machine without a Node.js that will do.
var ErrNodeJS = errors.New("install npm and Node.js 22: make setup does")

// NodeModules returns a node_modules folder with what package.json and
// package-lock.json in files pin. It is installed once into the user's cache, where
// others use it too, without running the packages' scripts.
func NodeModules(ctx context.Context, files fs.FS) (string, error) {
	if exec.CommandContext(ctx, "node", "-e", "process.exit(typeof URL.parse === 'function' ? 0 : 1)").Run() != nil {
		return "", ErrNodeJS
	}
	lock, err := fs.ReadFile(files, "package-lock.json")
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(lock)
	home := filepath.Join(cache, "penname", "npm-"+hex.EncodeToString(sum[:8]))
	if exists(home) {
		return filepath.Join(home, "node_modules"), nil
	}
	if err := os.MkdirAll(filepath.Dir(home), 0o700); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(home), "installing-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	pinned, err := fs.ReadFile(files, "package.json")
	if err := errors.Join(err, os.WriteFile(filepath.Join(fresh, "package.json"), pinned, 0o600), os.WriteFile(filepath.Join(fresh, "package-lock.json"), lock, 0o600)); err != nil {
		return "", err
	}
	// The lock file says what comes along: no peer that a package only may have.
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund")
	npm.Dir = fresh
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w: %s", err, lastLine(out))
	}
	// Another run may have been quicker: then its copy is as good.
	if err := os.Rename(fresh, home); err != nil && !exists(home) {
		return "", err
	}
	return filepath.Join(home, "node_modules"), nil
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
