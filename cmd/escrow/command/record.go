package command

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/witness"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/languages"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/record"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/rules"
)

// publicRecord is `escrow record`: the pages by which anybody reads the public log.
func publicRecord(p *program) *cobra.Command {
	return group("record", "Make the public record's pages from a mirror, and check an entry with its proof", recordBuild(p), recordCheck(p))
}

func recordBuild(p *program) *cobra.Command {
	var f trustFlags
	var mirror string
	var every bool
	var tags []string
	c := leaf("build DIR", "Make the pages of the public record from a mirror of the log, as its service shows them, for any web server",
		"escrow record build site --mirror mirror --bundle bundle.json", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			bundles, err := f.load(p)
			if err == nil {
				err = require([2]string{"mirror", mirror})
			}
			if err != nil {
				return err
			}
			further, err := spoken(tags)
			if err != nil {
				return err
			}
			built, r, err := p.buildRecord(ctx, bundles[0], mirror, args[0], every, further)
			if err != nil {
				return err
			}
			report, _ := r.Audit() // its verdict is on the pages
			text := fmt.Sprintf("%d entries in %d files, %.1f MB, %d files written, %d removed\nof the log of %v", built.Entries, built.Files, float64(built.Bytes)/1e6, built.Written, built.Removed, report.Seen())
			wrong, unjudged := r.Wrong()
			if wrong > 0 {
				text += fmt.Sprintf("\nan audit finds %d things that are wrong or late: findings.html names them", wrong)
			}
			if unjudged > 0 {
				text += fmt.Sprintf("\nthings that this program could not judge: %d, which findings.html names, too", unjudged)
			}
			return p.print(built, text)
		})
	c.Long = "Makes every page of the public record in a folder, from a mirror that escrow log mirror\n" +
		"keeps, and from nothing else. The pages are those that the service shows at /record/ at\n" +
		"the same checkpoint, byte for byte. Addresses are relative: serve the folder anywhere, or\n" +
		"open index.html; as /record/ if it is to answer wrong addresses, since the links of its\n" +
		"404.html begin there. DIR is a new or empty folder, or one that this command made of the\n" +
		"same log, as its file " + siteFile + " says; nothing else is written over.\n\n" +
		"Run it again after escrow log mirror. The pages of an entry stay as they are: its proof\n" +
		"is completed by a file that 256 entries have in common, in proofs/, and those are written\n" +
		"at each new checkpoint, beside lists and what is counted. A file that stays the same keeps\n" +
		"its date, for caches and rsync. Pages of entries that this program wrote before are only\n" +
		"looked for, with their sizes; --every reads and compares them all. Files that a build\n" +
		"before wrote, and to which nothing leads any more, are removed; other files are left alone.\n\n" +
		"The pages are in English, which is what counts, and in each further language below its\n" +
		"tag, cy/. With --language they are in English and in those alone: the service shows all,\n" +
		"with a link from each page to the same in the others.\n\n" +
		"A million entries are 3.6 million files of 10 GB together; in English alone 2.3 million of\n" +
		"5 GB, in 8 minutes on a busy machine with 2 cores, and 2 after a thousand more, which change\n" +
		"7,000 files. Each further language takes as long again. Let caches keep the\n" +
		"pages of entries/ and cy/entries/ for an hour and ask anew each time for what ends in .txt,\n" +
		"whose halves belong together; everything else a minute."
	f.add(c)
	c.Flags().StringVar(&mirror, "mirror", "", "folder of the mirror")
	c.MarkFlagDirname("mirror") //nolint:errcheck // it exists
	c.Flags().BoolVar(&every, "every", false, "read and compare every file, also those of entries that were written before")
	c.Flags().StringSliceVar(&tags, "language", speakable(), "language of the pages, beside English; can be given more than once")
	return c
}

var errLanguage = refusal.New(refusal.Invalid, "record.unknown_language",
	"the pages can be had in no such language: escrow help record build names those that there are")

// speakable are the tags of the languages that there are, English first.
func speakable() (tags []string) {
	for _, l := range languages.Ours.Each() {
		tags = append(tags, l.Tag)
	}
	return tags
}

// spoken are the languages with those tags.
func spoken(tags []string) (all []*languages.Language, err error) {
	for _, tag := range tags {
		l := languages.Ours.Tagged(tag)
		if l == nil {
			return nil, errLanguage
		}
		all = append(all, l)
	}
	return all, nil
}

// thisProgram is a hash of the program that runs: another one can make other pages. It is "" if
// the system does not give it out.
func thisProgram() string {
	at, err := os.Executable()
	if err != nil {
		return ""
	}
	f, err := os.Open(at)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// buildRecord makes the record of a mirror that holds the rules that are trusted.
func (p *program) buildRecord(ctx context.Context, trusted *policy.Bundle, mirror, dir string, every bool, further []*languages.Language) (record.Built, *record.Record, error) {
	var built record.Built
	source, err := tiles(p, mirror)
	if err != nil {
		return built, nil, err
	}
	log, err := p.logOf(ctx, trusted, mirror, 0)
	if err != nil {
		return built, nil, err
	}
	bundles := func(context.Context, string) ([]byte, []string, error) { return nil, nil, errNotInMirror }
	records := func(context.Context, string) (string, []string, error) {
		return "", nil, rules.ErrUnavailable.Because(errNotInMirror)
	}
	r := record.New(source, rules.FromMirror(mirror, bundles), rules.RecordsFromMirror(mirror, records))
	r.Speak(further...)
	if err := r.Follow(ctx, log, p.leaves); err != nil {
		return built, nil, err
	}
	if !r.Holds(trusted.Hash()) {
		return built, nil, rules.ErrNotInLog
	}
	unlock, err := claimSite(dir, mirror, trusted.Log.Origin)
	if err != nil {
		return built, nil, err
	}
	defer unlock()
	built, err = r.Build(ctx, dir, record.Building{Program: thisProgram(), Every: every, Progress: func(files int64) { p.progress("%d files\n", files) }})
	if err != nil {
		return built, nil, err
	}
	return built, r, nil
}

// siteFile marks the folder of a record: it holds the origin of its log, and whoever builds there
// has its lock.
const siteFile = ".penname-record"

var (
	errSite = refusal.New(refusal.Conflict, "record.foreign_folder",
		"the folder is not a record of this log that escrow record build made, or holds the mirror: nothing was written; name a new or empty one")
	errSiteBuilt = refusal.New(refusal.Conflict, "record.build_runs",
		"another escrow record build writes into this folder: let it end, or give each its own")
)

// claimSite takes a folder for this process, which is empty or has the record of that log. It is
// errSite, errSiteBuilt or [record.ErrFolder].
func claimSite(dir, mirror, origin string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, record.ErrFolder.Because(err)
	}
	if err := holdsMirror(dir, mirror); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, record.ErrFolder.Because(err)
	}
	defer root.Close()
	others, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, record.ErrFolder.Because(err)
	}
	marked := slices.ContainsFunc(others, func(e fs.DirEntry) bool { return e.Name() == siteFile })
	if len(others) > 0 && !marked {
		return nil, errSite.Because(errors.New("it is not empty, and has no " + siteFile))
	}
	f, err := root.OpenFile(siteFile, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, record.ErrFolder.Because(err)
	}
	if err := witness.LockFile(f); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		f.Close()
		return nil, errSiteBuilt
	}
	of, err := io.ReadAll(f)
	if err == nil && len(of) == 0 && len(others) <= 1 {
		of = []byte(origin + "\n")
		_, err = f.Write(of)
	}
	switch {
	case err != nil:
		err = record.ErrFolder.Because(err)
	case string(of) != origin+"\n":
		err = errSite.Because(fmt.Errorf("its %s names %q", siteFile, bytes.TrimSpace(of)))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// holdsMirror is errSite if a folder is that of the mirror, or above it.
func holdsMirror(dir, mirror string) error {
	site, err := os.Stat(dir)
	if err != nil {
		return record.ErrFolder.Because(err)
	}
	at, err := filepath.EvalSymlinks(mirror)
	if err == nil {
		at, err = filepath.Abs(at)
	}
	if err != nil {
		return proof.ErrMirror.Because(err)
	}
	for {
		if here, err := os.Stat(at); err == nil && os.SameFile(site, here) {
			return errSite.Because(errors.New("the mirror is in it"))
		}
		above := filepath.Dir(at)
		if above == at {
			return nil
		}
		at = above
	}
}

// errNotInMirror is of what the mirror lacks: nobody else is asked.
var errNotInMirror = errors.New("the mirror lacks it: run escrow log mirror again")

// checkedEntry is what --json prints of an entry that was checked.
type checkedEntry struct {
	Entry    int64        `json:"entry"`
	Day      string       `json:"day,omitempty"`
	Words    string       `json:"words"`
	Facts    []proof.Fact `json:"facts"`
	Size     int64        `json:"size"` // of the tree that holds it
	Root     string       `json:"root"`
	Cosigned time.Time    `json:"cosigned"`
}

func recordCheck(p *program) *cobra.Command {
	var f trustFlags
	c := leaf("check FILE [REST]", "Check an entry of the public record with its proof, without asking anybody",
		"escrow record check 17.proof.txt --bundle bundle.json", cobra.RangeArgs(1, 2),
		func(_ context.Context, args []string) error {
			bundles, err := f.load(p)
			if err != nil {
				return err
			}
			var text []byte
			for _, name := range args {
				part, err := p.readFile(name)
				if err != nil {
					return err
				}
				text = append(text, part...)
			}
			e, err := checkEntry(bundles, text)
			if err != nil {
				return shell.InFile(args[0], 0, err)
			}
			said := fmt.Sprintf("entry %d, %s\n%s\n", e.Entry, e.Day, e.Words)
			for _, fact := range e.Facts {
				said += "  " + fact.Name + ": " + fact.Text + "\n"
			}
			return p.print(e, said+fmt.Sprintf("It is in the log of %d entries with the root %s,\nwhich enough witnesses had cosigned at %s", e.Size, e.Root, e.Cosigned.Format(time.RFC3339)))
		})
	c.Long = "Checks the text of an entry that the public record gives out: that its proof leads to the\n" +
		"checkpoint in it, and that the log and enough witnesses of the rules that you trust have\n" +
		"signed that one. With several --bundle it is enough if one names them.\n\n" +
		"The text has two parts, one behind the other in FILE, or in a file each: the entry and the\n" +
		"beginning of its proof (/record/entries/17.txt), and its end, which 256 entries have in\n" +
		"common (/record/proofs/0.txt). Of the newest 256 entries get both at once: the next entry\n" +
		"changes both.\n\n" +
		"Whether what the entry says went by the rules is for escrow log audit."
	f.add(c)
	return c
}

// unreadEntry is said of an entry that is no leaf of this version.
const unreadEntry = "This program cannot read this entry: a newer one may have written it."

func checkEntry(bundles []*policy.Bundle, text []byte) (e checkedEntry, err error) {
	p, err := record.ParseEntryText(text)
	if err != nil {
		return e, err
	}
	var refused error
	for _, b := range bundles {
		log, err := b.TrustedLog()
		if err != nil {
			return e, err
		}
		index, c, err := log.VerifyProof(p.Leaf, p.Proof)
		if err != nil {
			refused = errors.Join(refused, err)
			continue
		}
		e = checkedEntry{Entry: index, Words: unreadEntry, Facts: []proof.Fact{}, Size: c.N, Root: c.Hash.String()}
		if l, err := proof.ParseLeaf(p.Leaf); err == nil {
			e.Day, e.Words, e.Facts = l.Day, l.Words(), append(e.Facts, l.Facts()...)
		}
		_, signed, _ := strings.Cut(string(p.Proof), "\n\n")
		e.Cosigned, err = log.QuorumAt([]byte(signed))
		e.Cosigned = e.Cosigned.UTC()
		return e, err
	}
	return e, refused
}
