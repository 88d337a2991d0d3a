package record

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/penname/penname/verifier/refusal"
)

// ErrFolder is returned when the record cannot be written.
var ErrFolder = refusal.New(refusal.Unavailable, "record.folder",
	"the record cannot be written into that folder: name one that you may write to, on a disk with room")

// Built says what [Record.Build] did.
type Built struct {
	Entries int64 `json:"entries"`
	Files   int64 `json:"files"`
	Written int64 `json:"written"` // the others were there already
	Removed int64 `json:"removed"` // that a build before wrote, and nothing leads to any more
	Bytes   int64 `json:"bytes"`   // of all files
}

// Each hands every page to use, by its address, several at a time, until one fails. Nothing is
// followed meanwhile.
func (r *Record) Each(ctx context.Context, use func(path string, p Page) error) error {
	r.following.Lock()
	defer r.following.Unlock()
	if r.index == nil {
		return ErrNotYet
	}
	return r.index.each(ctx, func(number int64) error { return r.index.eachOfRange(ctx, number, use) }, use)
}

// each makes all pages: those of the entries of a range by ofRange, and hands over the others.
func (x *index) each(ctx context.Context, ofRange func(number int64) error, use func(path string, p Page) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	work := make(chan func() error)
	var wg sync.WaitGroup
	var first error
	var failed sync.Once
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for do := range work {
				if err := do(); err != nil {
					failed.Do(func() { first = err; stop() })
				}
			}
		})
	}
	for do := range x.jobs(ofRange, use) {
		select {
		case work <- do:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(work)
	wg.Wait()
	if first == nil {
		first = ctx.Err()
	}
	return first
}

// jobs make all pages, a few each; the first page is that of the last job.
func (x *index) jobs(ofRange func(number int64) error, use func(path string, p Page) error) iter.Seq[func() error] {
	return func(yield func(func() error) bool) {
		for number := range x.ranges.Count() {
			if !yield(func() error { return ofRange(number) }) {
				return
			}
		}
		for number := range x.ranges.Count() {
			if !yield(func() error { return x.use(fmt.Sprintf("proofs/%d.txt", number), use) }) {
				return
			}
		}
		for base := range x.bases() {
			for _, s := range x.speaks {
				if !yield(func() error { return x.in(s).eachPart(base, use) }) {
					return
				}
			}
		}
		yield(func() error {
			for name := range single {
				for _, s := range x.speaks {
					if s.dir != "" && !strings.HasSuffix(name, ".html") {
						continue // for programs
					}
					if err := x.in(s).use(name, use); err != nil && !errors.Is(err, ErrNoPage) { // rules before the first
						return err
					}
				}
			}
			return nil
		})
	}
}

// use hands one page over.
func (x *index) use(name string, use func(path string, p Page) error) error {
	p, err := x.page(name)
	if err == nil {
		err = use(x.to.dir+name, p)
	}
	return err
}

// eachOfRange makes the pages of each entry of a range, and its text.
func (x *index) eachOfRange(ctx context.Context, number int64, use func(path string, p Page) error) error {
	of, err := x.ranges.Read(ctx, x.tiles, number)
	if err != nil {
		return err
	}
	for n := of.From; n < of.To; n++ {
		p, err := of.Entry(n)
		if err != nil {
			return err
		}
		for _, s := range x.speaks {
			page, err := x.in(s).entryPage(n, p)
			if err == nil {
				err = use(s.dir+entryName(n, ".html"), page)
			}
			if err != nil {
				return err
			}
		}
		text, err := x.entryText(n, p)
		if err == nil {
			err = use(entryName(n, ".txt"), text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func entryName(n int64, ending string) string {
	return "entries/" + strconv.FormatInt(n, 10) + ending
}

// bases are the addresses, without ending, of what can have parts.
func (x *index) bases() iter.Seq[string] {
	return func(yield func(string) bool) {
		all := []string{"entries", "cases", "days", "rules", "custodians", "courts", "platforms", "findings"}
		for dir, of := range facets {
			all = append(all, dir)
			for name := range of.lists(x) {
				all = append(all, dir+"/"+name)
			}
		}
		for day := range x.days {
			all = append(all, "days/"+day, "days/"+day[:len("2026-01")], "days/"+day[:len("2026")])
		}
		for _, p := range x.years {
			if p.Name != "unknown" {
				all = append(all, "statistics/"+p.Name)
			}
		}
		for i := range x.bundles {
			all = append(all, fmt.Sprintf("rules/%d", i+1))
			if i > 0 {
				all = append(all, fmt.Sprintf("rules/%d-changes", i+1))
			}
		}
		for _, p := range x.platforms {
			all = append(all, fmt.Sprintf("platforms/%d", p.leaf))
		}
		slices.Sort(all)
		for _, base := range slices.Compact(all) {
			if !yield(base) {
				return
			}
		}
		for n := range x.cases {
			if !yield(fmt.Sprintf("cases/%d", n)) {
				return
			}
		}
	}
}

// eachPart makes all parts of what has that address.
func (x *index) eachPart(base string, use func(path string, p Page) error) error {
	names := func(yield func(string) bool) {
		if !yield(base+".html") || x.to.dir == "" && !yield(base+".json") {
			return
		}
		for part := 1; yield(fmt.Sprintf("%s~%d.html", base, part)); part++ {
		}
	}
	for name := range names {
		p, err := x.page(name)
		if errors.Is(err, ErrNoPage) {
			if name == base+".json" || name == base+"~1.html" {
				continue // of rules alone; and the first part of some has the address of the whole
			}
			return nil
		}
		if err == nil {
			err = use(x.to.dir+name, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
