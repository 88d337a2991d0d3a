package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/penname/penname/verifier/proof"
)

const (
	// builtFile says what a build wrote, for the next.
	builtFile = ".penname-built"
	// buildingFile says what one writes that has not come to its end: a line of JSON, how far it goes,
	// and then a line for each file but those of each entry that no build before wrote.
	buildingFile = ".penname-building"
	// unfinished is the folder of files that are being written.
	unfinished = ".unfinished"
)

// written is what a build leaves for the next: by it, pages that stay are not made again, and files
// to which nothing leads any more are removed.
type written struct {
	Version   int                `json:"version"`   // 1
	Program   string             `json:"program"`   // whose the pages are
	Registrar string             `json:"registrar"` // whose addresses they name
	Languages []string           `json:"languages"` // of the pages, by their folders: "" or "cy/"
	Entries   int64              `json:"entries"`
	Ranges    []writtenRange     `json:"ranges"` // that are full
	Found     map[int64][]string `json:"found"`  // what the pages say that an audit finds, by entry
	Files     []string           `json:"files"`  // all but those of each entry
}

// writtenRange are the files of the entries of a range.
type writtenRange struct {
	Root  string `json:"root"`
	Bytes int64  `json:"bytes"`
}

// builder writes the pages of an index into a folder.
type builder struct {
	x       *index
	root    *os.Root
	folders sync.Map // those in it, *os.Root by their paths

	before  written
	left    []written      // of builds that did not come to their end: how far they went, and files
	journal *os.File       // buildingFile
	same    int64          // so many ranges have the entries that they had
	changed map[int64]bool // ranges of which something else is found

	mu    sync.Mutex
	now   written
	first Page // index.html

	files, bytes, wrote atomic.Int64
	progress            func(files int64)
}

// Building says how [Record.Build] works.
type Building struct {
	Program  string            // its name and version: pages of another are all made again; "" is none
	Every    bool              // every file is read and compared, also one that is believed to stay
	Progress func(files int64) // is told how many files were looked at; may be nil
}

// Build writes every page into the folder dir, where any web server can serve it as /record/, and
// a browser can open index.html. What is there already is left alone, with its date; what changed
// is replaced in one step, and the first page last. The caller sees to it that nobody else builds
// there meanwhile.
//
// The pages of entries stay as they are. Those that a build of the same program wrote before are
// not made again if their files have the sizes that they had. In the end, files that a build
// before wrote, also one that was interrupted, and this one did not are removed, and no others.
//
// It fails with [ErrFolder], or as [Record.Page] does.
func (r *Record) Build(ctx context.Context, dir string, how Building) (Built, error) {
	r.following.Lock()
	defer r.following.Unlock()
	if r.index == nil {
		return Built{}, ErrNotYet
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Built{}, ErrFolder.Because(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Built{}, ErrFolder.Because(err)
	}
	defer root.Close()
	if err := errors.Join(root.RemoveAll(unfinished), root.Mkdir(unfinished, 0o755)); err != nil {
		return Built{}, ErrFolder.Because(err)
	}
	defer root.RemoveAll(unfinished) //nolint:errcheck // the next build removes it
	b := &builder{x: r.index, root: root, progress: how.Progress}
	defer b.close()
	b.begin(how)
	built := Built{Entries: b.x.N}
	if err := b.claim(); err != nil {
		return built, err
	}
	if err = b.x.each(ctx, func(number int64) error { return b.entries(ctx, number) }, b.page); err == nil {
		err = b.write("index.html", b.first.Body)
	}
	if err == nil {
		built.Removed, err = b.remove()
	}
	if err == nil {
		err = b.end()
	}
	built.Files, built.Written, built.Bytes = b.files.Load(), b.wrote.Load(), b.bytes.Load()
	return built, err
}

// begin compares what is to be written with what was.
func (b *builder) begin(how Building) {
	x := b.x
	b.now = written{Version: 1, Program: how.Program, Registrar: x.registrar(), Languages: x.dirs(), Entries: x.N, Ranges: make([]writtenRange, x.ranges.Full()), Found: x.found}
	raw, err := b.root.ReadFile(builtFile)
	if err != nil || json.Unmarshal(raw, &b.before) != nil || b.before.Version != 1 {
		b.before = written{} // all is compared, and nothing removed
		return
	}
	if how.Every || how.Program == "" || b.before.Program != how.Program || b.before.Registrar != b.now.Registrar || !slices.Equal(b.before.Languages, b.now.Languages) {
		return
	}
	// Of the last entry of all the page changes when there is a next.
	most := min(x.ranges.Full(), int64(len(b.before.Ranges)), (min(x.N, b.before.Entries)-1)/proof.RangeWidth)
	for b.same < most && b.before.Ranges[b.same].Root == x.ranges.Root(b.same).String() {
		b.same++
	}
	b.changed = map[int64]bool{}
	for n := range maps.Keys(x.found) {
		if !slices.Equal(x.found[n], b.before.Found[n]) {
			b.changed[n/proof.RangeWidth] = true
		}
	}
	for n := range maps.Keys(b.before.Found) {
		if x.found[n] == nil {
			b.changed[n/proof.RangeWidth] = true
		}
	}
}

// claim writes how far this build goes, behind what builds left that did not come to their end.
func (b *builder) claim() error {
	raw, err := b.root.ReadFile(buildingFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return ErrFolder.Because(err)
	}
	raw = raw[:bytes.LastIndexByte(raw, '\n')+1] // a line that was cut off is of no file yet
	for line := range bytes.Lines(raw) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		var w written
		if json.Unmarshal(line, &w) != nil {
			w = written{Files: []string{string(line)}}
		}
		b.left = append(b.left, w)
	}
	goes, err := json.Marshal(written{Entries: b.now.Entries, Languages: b.now.Languages})
	if err != nil {
		return err
	}
	if err := b.replace(buildingFile, unfinished+"/building", slices.Concat(raw, goes, []byte("\n"))); err != nil {
		return err
	}
	if b.journal, err = b.root.OpenFile(buildingFile, os.O_WRONLY|os.O_APPEND, 0); err != nil {
		return ErrFolder.Because(err)
	}
	return nil
}

// note writes a line of the journal.
func (b *builder) note(line string) error {
	if _, err := b.journal.WriteString(line + "\n"); err != nil {
		return ErrFolder.Because(err)
	}
	return nil
}

// entries writes the pages of the entries of a range, if they are not there.
func (b *builder) entries(ctx context.Context, number int64) error {
	if b.there(number) {
		b.now.Ranges[number] = b.before.Ranges[number]
		b.bytes.Add(b.before.Ranges[number].Bytes)
		b.count(proof.RangeWidth * int64(1+len(b.x.speaks)))
		return nil
	}
	size := int64(0)
	err := b.x.eachOfRange(ctx, number, func(name string, p Page) error {
		size += int64(len(p.Body))
		b.count(1)
		return b.write(name, p.Body)
	})
	b.bytes.Add(size)
	if err == nil && number < b.x.ranges.Full() {
		b.now.Ranges[number] = writtenRange{b.x.ranges.Root(number).String(), size}
	}
	return err
}

// there reports whether the pages of a range stay as they were, and their files have the sizes
// that they had: a machine that lost its power can leave some that are cut off.
func (b *builder) there(number int64) bool {
	if number >= b.same || b.changed[number] {
		return false
	}
	size := int64(0)
	for _, dir := range b.now.Languages {
		folder, err := b.folder(dir + "entries")
		if err != nil {
			return false
		}
		for n := number * proof.RangeWidth; n < (number+1)*proof.RangeWidth; n++ {
			for _, name := range entryNames(dir, n) {
				is, err := folder.Lstat(path.Base(name))
				if err != nil || !is.Mode().IsRegular() {
					return false
				}
				size += is.Size()
			}
		}
	}
	return size == b.before.Ranges[number].Bytes
}

// entryNames are the files of an entry in the folder of a language.
func entryNames(dir string, n int64) []string {
	if dir == "" {
		return []string{entryName(n, ".html"), entryName(n, ".txt")}
	}
	return []string{dir + entryName(n, ".html")}
}

// dirs are the folders of the languages, within the record.
func (x *index) dirs() (all []string) {
	for _, s := range x.speaks {
		all = append(all, s.dir)
	}
	return all
}

// page writes any other page.
func (b *builder) page(name string, p Page) error {
	b.bytes.Add(int64(len(p.Body)))
	b.count(1)
	b.mu.Lock()
	b.now.Files = append(b.now.Files, name)
	if name == "index.html" {
		b.first = p
	}
	b.mu.Unlock()
	if name == "index.html" {
		return nil
	}
	if _, known := slices.BinarySearch(b.before.Files, name); !known {
		if err := b.note(name); err != nil {
			return err
		}
	}
	return b.write(name, p.Body)
}

func (b *builder) count(files int64) {
	const step = 10_000
	if n := b.files.Add(files); b.progress != nil && n/step > (n-files)/step {
		b.progress(n)
	}
}

// folder opens one, and makes it if it is not there.
func (b *builder) folder(name string) (*os.Root, error) {
	if f, ok := b.folders.Load(name); ok {
		return f.(*os.Root), nil
	}
	if err := b.root.MkdirAll(name, 0o755); err != nil {
		return nil, ErrFolder.Because(err)
	}
	f, err := b.root.OpenRoot(name)
	if err != nil {
		return nil, ErrFolder.Because(err)
	}
	if other, loaded := b.folders.LoadOrStore(name, f); loaded {
		f.Close()
		f = other.(*os.Root)
	}
	return f, nil
}

func (b *builder) close() {
	b.folders.Range(func(_, f any) bool { f.(*os.Root).Close(); return true })
	if b.journal != nil {
		b.journal.Close()
	}
}

// write makes a file, or replaces it in one step if it has other bytes.
func (b *builder) write(name string, body []byte) error {
	folder, err := b.folder(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	f, err := folder.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err == nil { // nothing leads to it yet
		_, err = f.Write(body)
		if err = errors.Join(err, f.Close()); err != nil {
			return ErrFolder.Because(err)
		}
		b.wrote.Add(1)
		return nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return ErrFolder.Because(err)
	}
	if have, err := folder.ReadFile(base); err == nil && bytes.Equal(have, body) {
		return nil
	}
	return b.replace(name, fmt.Sprintf("%s/%d", unfinished, b.wrote.Add(1)), body)
}

func (b *builder) replace(name, temporary string, body []byte) error {
	err := b.root.WriteFile(temporary, body, 0o644)
	if err == nil {
		err = b.root.Rename(temporary, name)
	}
	if err != nil {
		return ErrFolder.Because(err)
	}
	return nil
}

// remove removes what a build before wrote, and this one did not.
func (b *builder) remove() (removed int64, err error) {
	slices.Sort(b.now.Files)
	var old []string
	for _, before := range append(b.left, b.before) {
		for _, name := range before.Files {
			if _, here := slices.BinarySearch(b.now.Files, name); !here {
				old = append(old, name)
			}
		}
		for _, dir := range before.Languages {
			from := b.x.N
			if !slices.Contains(b.now.Languages, dir) {
				from = 0
			}
			for n := from; n < before.Entries; n++ {
				old = append(old, entryNames(dir, n)...)
			}
		}
	}
	folders := map[string]bool{}
	for _, name := range old {
		if !fs.ValidPath(name) || strings.HasPrefix(path.Base(name), ".") {
			continue // no page has that name
		}
		is, err := b.root.Lstat(name)
		if err != nil || !is.Mode().IsRegular() {
			continue // somebody else removed it, or put something else there
		}
		if err := b.root.Remove(name); err != nil {
			return removed, ErrFolder.Because(err)
		}
		folders[path.Dir(name)] = true
		removed++
	}
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(folders))) { // those within first
		if name != "." {
			b.root.Remove(name) //nolint:errcheck // it stays if it is not empty
		}
	}
	return removed, nil
}

// end leaves what the next build wants to know.
func (b *builder) end() error {
	raw, err := json.Marshal(b.now)
	if err != nil {
		return err
	}
	if err := b.replace(builtFile, unfinished+"/built", raw); err != nil {
		return err
	}
	if err := b.root.Remove(buildingFile); err != nil {
		return ErrFolder.Because(err)
	}
	return nil
}
