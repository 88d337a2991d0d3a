package command

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/penname/penname/escrow/desk"
)

// A desk removes what it put into the folder for what is temporary, which is what was published, of
// the cases that are open on it, and the file of its link. What one leaves that was killed, the start
// of another one removes, and the next review.

// deskExhibits begins the name of the folders that a desk of this home saves exhibits of a case
// in. of is seat.exhibitsOf, by which an answer removes them.
func (h *home) deskExhibits(of string) string {
	return of + "desk" + h.mark() + "-"
}

// mark names the custodian's folder, of which one desk is open at a time.
func (h *home) mark() string {
	dir, err := filepath.Abs(h.dir)
	if err == nil {
		if whole, err := filepath.EvalSymlinks(dir); err == nil {
			dir = whole
		}
	}
	sum := sha256.Sum256([]byte(dir))
	return fmt.Sprintf("%x", sum[:8])
}

var (
	deskFolder = regexp.MustCompile(`^exhibits-[0-9a-f]{16}-desk([0-9a-f]{16})-[0-9]+$`)
	linkFolder = regexp.MustCompile(`^escrow-desk-[0-9]+$`)
)

// How old what a desk left is, at least, when nobody uses it any more: a desk without use removes
// exhibits when it locks itself, and a link works for a minute.
const (
	oldExhibits = 24 * time.Hour
	oldLink     = time.Hour
)

// sweep removes what desks left that ended without removing it: what is old, and of the desks of
// this home all, if alone says that no other one is open.
func (h *home) sweep(alone bool) {
	removeOurs(os.TempDir(), deskFolder, func(name []string, age time.Duration) bool {
		return alone && name[1] == h.mark() || age > oldExhibits
	})
}

// sweepLinks removes the files of links that work no more.
func sweepLinks() {
	for _, dir := range []string{desk.LinksIn(), os.TempDir()} {
		removeOurs(dir, linkFolder, func(_ []string, age time.Duration) bool { return age > oldLink })
	}
}

// removeOurs removes the folders of such a name in one, if they are this user's and nobody else
// could put anything there; no link is followed.
func removeOurs(dir string, called *regexp.Regexp, which func(name []string, age time.Duration) bool) (removed int) {
	all, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, entry := range all {
		name := called.FindStringSubmatch(entry.Name())
		if name == nil {
			continue
		}
		info, err := entry.Info() // of the entry itself
		if err != nil || info.Mode() != fs.ModeDir|0o700 || !ours(info) || !which(name, time.Since(info.ModTime())) {
			continue
		}
		if os.RemoveAll(filepath.Join(dir, entry.Name())) == nil {
			removed++
		}
	}
	return removed
}
