package policy

import (
	"embed"
	"errors"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	cedar "github.com/cedar-policy/cedar-go"
	cedarast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/penname/penname/verifier/document"
)

//go:embed rules/*.cedar
var defaultRules embed.FS

//go:embed rules/vocabulary.cedarschema
var vocabulary []byte

// DefaultRules returns the rules of this release, file name to Cedar text, to
// put into a new bundle. [Decide] never reads them.
func DefaultRules() map[string]string {
	rules := make(map[string]string)
	entries, err := defaultRules.ReadDir("rules")
	for _, e := range entries {
		var b []byte
		b, err = defaultRules.ReadFile("rules/" + e.Name())
		rules[e.Name()] = string(b)
	}
	if err != nil {
		panic("policy: embedded rules: " + err.Error()) // cannot happen: go:embed checked at build time
	}
	return rules
}

// SparesOpinions reports whether b has, word for word, this release's rule that no name is opened
// for criticism.
func (b *Bundle) SparesOpinions() bool {
	_, rule, _ := strings.Cut(ours()["10-speech.cedar"].text, `@id("criticism-is-not-a-crime")`)
	rule, _, _ = strings.Cut(rule, "};")
	for _, text := range b.Policies {
		if strings.Contains(text, rule) {
			return true
		}
	}
	return false
}

// ours are the rules of this release, read once: a test holds them against the vocabulary, so
// that a bundle that has them word for word need not be.
var ours = sync.OnceValue(func() map[string]ruleFile {
	files := make(map[string]ruleFile)
	for name, text := range DefaultRules() {
		policies, err := readRules(name, text)
		files[name] = ruleFile{text, policies, err}
	}
	return files
})

// ruleFile is a file of rules, and what it reads as. That is not to be changed.
type ruleFile struct {
	text     string
	policies cedar.PolicyList
	err      error
}

// rule is one compiled policy with its annotations.
type rule struct {
	Ground        // @title, and @field, @article and @cure, which only a rule that forbids can have
	id     string // @id
	quorum int    // @quorum, permits only
	notice int    // @notice_days, permits only
	policy *cedar.Policy
}

// ruleSet keeps the order of the files, and within each of the text, so that a
// decision names its rules in an order that does not depend on a map.
type ruleSet []rule

// All implements cedar.PolicyIterator.
func (rs ruleSet) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, r := range rs {
			if !yield(cedar.PolicyID(r.id), r.policy) {
				return
			}
		}
	}
}

func (rs ruleSet) named(id cedar.PolicyID) rule {
	return rs[slices.IndexFunc(rs, func(r rule) bool { return r.id == string(id) })]
}

const (
	maxRuleFiles = 64
	maxRuleBytes = 16 << 10 // a file; bounds the parser's recursion too
	maxNotice    = 365      // days
)

var (
	ruleFilePattern = regexp.MustCompile(`^[0-9a-z][0-9a-z-]{0,63}\.cedar$`)
	ruleIDPattern   = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
)

// compileRules reads the rules of a bundle with n custodians, threshold of whom open
// together.
func compileRules(files map[string]string, threshold, n int) (ruleSet, error) {
	if len(files) == 0 || len(files) > maxRuleFiles {
		return nil, errors.New("no rule files, or too many")
	}
	var rs ruleSet
	seen := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		own, known := ours()[name]
		policies, err := own.policies, own.err
		if !known || files[name] != own.text {
			policies, err = checkedRules(name, files[name])
		}
		if err != nil {
			return nil, err
		}
		for _, p := range policies {
			r, err := newRule(p, threshold, n)
			if err == nil && seen[r.id] {
				err = errors.New("two rules have the same @id")
			}
			if err != nil {
				return nil, atRule(name, p, err)
			}
			seen[r.id] = true
			rs = append(rs, r)
		}
	}
	return rs, nil
}

func atRule(name string, p *cedar.Policy, err error) error {
	return fmt.Errorf("%s, line %d: %w", name, p.Position().Line, err)
}

func readRules(name, text string) (cedar.PolicyList, error) {
	policies, err := cedar.NewPolicyListFromBytes(name, []byte(text))
	if err != nil {
		return nil, fmt.Errorf("the rule file %s does not parse: %w", name, err)
	}
	return policies, nil
}

// checkedRules are those of a file that can be shown, in the words of the vocabulary.
func checkedRules(name, text string) (cedar.PolicyList, error) {
	if !ruleFilePattern.MatchString(name) || len(text) > maxRuleBytes || !displayableFile(text) {
		return nil, fmt.Errorf("the rule file %q has a bad name, is too long or is not plain text", name)
	}
	policies, err := readRules(name, text)
	if err != nil {
		return nil, err
	}
	validator := validate.New(words())
	for _, p := range policies {
		if validator.Policy(string(p.Annotations()["id"]), (*cedarast.Policy)(p.AST())) != nil {
			return nil, atRule(name, p, errors.New("a rule uses words that are not in the vocabulary"))
		}
	}
	return policies, nil
}

// displayableFile is document.Displayable for a whole file, tabs included.
func displayableFile(text string) bool {
	return document.Displayable(strings.ReplaceAll(text, "\t", " "), maxRuleBytes)
}

// words is the vocabulary, read once.
var words = sync.OnceValue(func() *resolved.Schema {
	var s schema.Schema
	err := s.UnmarshalCedar(vocabulary)
	if err == nil {
		var read *resolved.Schema
		if read, err = s.Resolve(); err == nil {
			return read
		}
	}
	panic("policy: embedded vocabulary: " + err.Error()) // cannot happen: every test of a bundle reads it
})

func newRule(p *cedar.Policy, threshold, n int) (rule, error) {
	r := rule{policy: p}
	annotations := p.Annotations()
	r.id = string(annotations["id"])
	r.Ground = Ground{string(annotations["title"]), string(annotations["field"]), string(annotations["article"]), string(annotations["cure"])}
	if !ruleIDPattern.MatchString(r.id) || len(r.id) > 64 || document.Blank(r.Title) {
		return r, errors.New("a rule has no usable @id or no @title")
	}
	want := 2
	for _, optional := range []string{r.Field, r.Article, r.Cure} {
		if optional != "" && p.Effect() == cedar.Forbid {
			want++
		}
	}
	if p.Effect() == cedar.Permit {
		want = 4
		var err error
		if r.quorum, err = quorum(string(annotations["quorum"]), threshold, n); err != nil {
			return r, errors.New("a permit's @quorum is neither a number from 1 to the number of custodians nor more nor all")
		}
		if r.notice, err = number(string(annotations["notice_days"]), 0, maxNotice); err != nil {
			return r, errors.New("a permit's @notice_days is not a number from 0 to 365")
		}
	}
	if len(annotations) != want {
		return r, errors.New("a rule has an annotation that means nothing here")
	}
	return r, nil
}

// quorum reads a number of custodians: "more" is one more than the threshold, where there
// is one, and "all" is every custodian.
func quorum(s string, threshold, n int) (int, error) {
	switch s {
	case "more":
		return more(threshold, n), nil
	case "all":
		return n, nil
	}
	return number(s, 1, n)
}

func more(threshold, n int) int { return min(threshold+1, n) }

// number reads a plain decimal from low to high.
func number(s string, low, high int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(n) != s || n < low || n > high {
		return 0, errors.New("out of range")
	}
	return n, nil
}
