package registrar

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/penname/penname/policy"
)

// Fault is one of the reasons for which a warrant would be refused, found before it is filed,
// and where it is.
type Fault struct {
	Code      string  `json:"code"`
	Title     string  `json:"title"`
	Field     string  `json:"field,omitempty"` // of the warrant, a JSON pointer
	Line      int     `json:"line,omitempty"`  // of the file, from 1, and in it
	Character int     `json:"character,omitempty"`
	Rule      string  `json:"rule,omitempty"`   // id of the policy that refuses
	Ground    *Ground `json:"ground,omitempty"` // what is known beside the code
	Cause     string  `json:"cause,omitempty"`
}

// FaultsOf are those that a check found.
func FaultsOf(found []policy.Fault) []Fault {
	all := make([]Fault, len(found))
	for i, f := range found {
		all[i] = Fault{Code: f.Code, Title: f.Mend, Field: f.At, Line: f.Line, Character: f.Character, Rule: f.Rule}
		switch {
		case f.Ground != nil:
			all[i].Ground = &Ground{Rule: f.Rule, Title: f.Ground.Title, Field: f.Ground.Field, Article: f.Ground.Article, Cure: f.Ground.Cure}
		case f.Unwrap() != nil:
			all[i].Cause = f.Unwrap().Error()
		}
	}
	return all
}

var targetPattern = regexp.MustCompile(`^/targets/([0-9]+)`)

// Place is where a fault is, for a person.
func (f Fault) Place() string {
	var parts []string
	if f.Line > 0 {
		parts = append(parts, fmt.Sprintf("line %d, character %d", f.Line, f.Character))
	}
	field := f.Field
	if m := targetPattern.FindStringSubmatch(field); m != nil {
		n, _ := strconv.Atoi(m[1]) // digits; a number that is too large is none of a target
		parts, field = append(parts, fmt.Sprintf("target %d", n+1)), field[len(m[0]):]
	}
	if field = strings.ReplaceAll(strings.TrimPrefix(field, "/"), "/", "."); field != "" {
		parts = append(parts, field)
	}
	return strings.Join(parts, ", ")
}

// String is for a person at a terminal.
func (f Fault) String() string {
	s := f.Code + ": " + f.Title
	if f.Rule != "" {
		s += " (rule " + f.Rule + ")"
	}
	if f.Ground != nil {
		s += fmt.Sprintf(" [%s]", f.Ground)
	}
	if f.Cause != "" {
		s += " (" + f.Cause + ")"
	}
	return s
}
