package record

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"filippo.io/torchwood"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// unreadable is the kind of an entry that this program cannot read.
const unreadable = "unreadable"

// row is what lists say of an entry. Words are numbers of index.words.
type row struct {
	day, kind, warrant, jurisdiction, class, code, custodian uint32
	of                                                       int64 // case, or -1
	targets, which                                           uint16
	validated                                                bool
}

// index is what is known of the log's entries. It only grows.
type index struct {
	state
	ranges proof.Ranges // what proves the entries under its checkpoint
	tiles  torchwood.TileReader
	speaks []*spoken
	to     *spoken // that of the pages that are made

	words []string
	ids   map[string]uint32

	rows                                          []row
	days, kinds, warrants, jurisdictions, classes map[string][]uint32 // entries, rising
	cases                                         map[int64][]uint32  // entries of a case, with the first
	bundles                                       []logged
	platforms                                     []*platform
	newest                                        map[string]*platform // by id
}

// logged is a bundle in the log.
type logged struct {
	*policy.Bundle
	leaf          int64
	day           string
	says, changed map[string][][]part // by language; see saying
}

func newIndex(speaks []*spoken) *index {
	return &index{speaks: speaks, to: speaks[0], words: []string{""}, ids: map[string]uint32{"": 0}, days: map[string][]uint32{}, kinds: map[string][]uint32{}, warrants: map[string][]uint32{},
		jurisdictions: map[string][]uint32{}, classes: map[string][]uint32{}, cases: map[int64][]uint32{}, newest: map[string]*platform{}}
}

func (x *index) word(s string) uint32 {
	if id, ok := x.ids[s]; ok {
		return id
	}
	id := uint32(len(x.words))
	x.words, x.ids[strings.Clone(s)] = append(x.words, strings.Clone(s)), id
	return id
}

func (x *index) add(a added) {
	n := uint32(len(x.rows))
	l := a.Leaf
	if a.Err != nil {
		l = proof.Leaf{Kind: unreadable}
	}
	e := row{day: x.word(l.Day), kind: x.word(string(l.Kind)), warrant: x.word(l.WarrantKind), jurisdiction: x.word(l.Jurisdiction), class: x.word(l.OffenceClass),
		code: x.word(l.Code), custodian: x.word(l.Custodian), of: -1, targets: uint16(l.Targets), which: uint16(l.Which.Count()), validated: l.Validated}
	for _, in := range []struct {
		lists map[string][]uint32
		word  uint32
	}{{x.days, e.day}, {x.kinds, e.kind}, {x.warrants, e.warrant}, {x.jurisdictions, e.jurisdiction}, {x.classes, e.class}} {
		if name := x.words[in.word]; name != "" {
			in.lists[name] = append(in.lists[name], n)
		}
	}
	if l.Kind == proof.KindRecorded {
		x.cases[int64(n)] = append(x.cases[int64(n)], n)
	}
	if l.Case != nil {
		e.of = *l.Case
		if of, ok := x.cases[*l.Case]; ok { // else an audit finds it
			x.cases[*l.Case] = append(of, n)
		}
	}
	if a.bundle != nil {
		b := logged{a.bundle, int64(n), l.Day, map[string][][]part{}, map[string][][]part{}}
		for _, s := range x.speaks {
			b.says[s.Tag], b.changed[s.Tag] = x.in(s).saying(a.bundle, x.inForce())
		}
		x.bundles = append(x.bundles, b)
	}
	if p := a.platform; p != nil {
		if before := x.newest[p.ID]; before != nil {
			p.before = before.PlatformRecord
		}
		x.platforms, x.newest[p.ID] = append(x.platforms, p), p
	}
	x.rows = append(x.rows, e)
}

// said is the leaf of a row, as far as its words need it.
func (x *index) said(n int64) proof.Leaf {
	e := x.rows[n]
	l := proof.Leaf{Kind: proof.Kind(x.words[e.kind]), Day: x.words[e.day], WarrantKind: x.words[e.warrant], Jurisdiction: x.words[e.jurisdiction],
		OffenceClass: x.words[e.class], Code: x.words[e.code], Custodian: x.words[e.custodian], Targets: int(e.targets), Validated: e.validated}
	if e.which > 0 {
		l.Which = proof.AllMarks(int(e.which))
	}
	if e.of >= 0 {
		l.Case = &e.of
	}
	return l
}

// inForce is the newest bundle, or nil.
func (x *index) inForce() *policy.Bundle {
	if len(x.bundles) == 0 {
		return nil
	}
	return x.bundles[len(x.bundles)-1].Bundle
}

// registrar is the origin of the service, by the rules in force.
func (x *index) registrar() string {
	if b := x.inForce(); b != nil {
		return b.Registrar
	}
	return ""
}

// bundle is the number, from 1 on, of the bundle with that hash among those in the log, or 0.
func (x *index) bundle(hash string) int {
	return 1 + slices.IndexFunc(x.bundles, func(l logged) bool { return l.Hash() == hash })
}

// platform reports whether an entry is a record of a platform, which has a page.
func (x *index) platform(n int64) (at int, ok bool) {
	return slices.BinarySearchFunc(x.platforms, n, func(p *platform, n int64) int { return cmp.Compare(p.leaf, n) })
}

// under are the names of lists that begin with a prefix, sorted.
func under(lists map[string][]uint32, prefix string) (names []string) {
	for name := range maps.Keys(lists) {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
