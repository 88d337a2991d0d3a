package service

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/penname/penname/verifier/refusal"
)

// source is where the settings of a configuration stand.
type source struct {
	file  string
	lines map[string]int // by setting, in lower case: issue.identity_providers[0].issuer
}

// line returns where a setting stands, or the section that lacks it. Lines count from 1.
func (s *source) line(setting string) int {
	for setting = strings.ToLower(setting); setting != ""; setting = setting[:max(strings.LastIndexAny(setting, ".["), 0)] {
		if line, ok := s.lines[setting]; ok {
			return line
		}
	}
	return 1
}

// fault is the cause of a refusal that is about one setting.
type fault struct {
	setting string
	or      string // another setting that it may be about instead, or ""
	cause   error  // what is wrong, or what it should be; nil: the refusal says it
	file    string
	line    int // 0: it is not known yet, see [Config.placed]
	orLine  int // likewise
}

// Error is a line as compilers print it.
func (f *fault) Error() string {
	var parts []string
	if f.line > 0 {
		parts = append(parts, fmt.Sprintf("%s:%d", f.file, f.line))
	}
	if f.setting != "" { // else a line is not TOML, or a section is missing
		parts = append(parts, f.setting)
	}
	if f.or != "" {
		parts[len(parts)-1] += fmt.Sprintf(", or line %d: %s", f.orLine, f.or)
	}
	if f.cause != nil {
		parts = append(parts, f.cause.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns what is wrong.
func (f *fault) Unwrap() error { return f.cause }

// of says in a refusal which setting it is about. Whoever reads a section names what
// is in it, and who reads that section's section goes on: of("issue", of("database_file", err)).
func of(setting string, err error) error {
	e := refusal.Of(err)
	if e == nil {
		return err
	}
	if inner, ok := e.Unwrap().(*fault); ok { //nolint:errorlint // the cause itself, not what is deeper in it
		both := &fault{setting: under(setting, inner.setting), cause: inner.cause}
		if inner.or != "" {
			both.or = under(setting, inner.or)
		}
		return e.Because(both)
	}
	return e.Because(&fault{setting: setting, cause: e.Unwrap()})
}

// either says in a refusal that it is about one setting or another: nobody can tell.
func either(setting, or string, r *refusal.Error) error {
	return r.Because(&fault{setting: setting, or: or, cause: r.Unwrap()})
}

func under(section, setting string) string { return strings.Trim(section+"."+setting, ".") }

// placed says in a refusal, in which [of] named the setting, in which line it stands.
func (s *source) placed(err error) error {
	e := refusal.Of(err)
	if e == nil || s == nil {
		return err
	}
	if f, ok := e.Unwrap().(*fault); ok && f.line == 0 { //nolint:errorlint // likewise
		return e.Because(&fault{setting: f.setting, or: f.or, cause: f.cause, file: s.file, line: s.line(f.setting), orLine: s.line(f.or)})
	}
	return err
}

// notTOML says in plain words where a file stops being TOML.
func (s *source) notTOML(err error) error {
	var at *toml.DecodeError
	if !errors.As(err, &at) {
		return errConfig
	}
	line, _ := at.Position()
	return errConfig.Because(&fault{file: s.file, line: line, cause: errors.New(strings.TrimPrefix(at.Error(), "toml: "))})
}

// inOrder is what is wrong, by lines; nil if nothing is.
func (s *source) inOrder(all []error) error {
	for n := range all {
		all[n] = s.placed(all[n])
	}
	slices.SortStableFunc(all, func(a, b error) int { return lineOf(a) - lineOf(b) })
	return errors.Join(all...)
}

func lineOf(err error) int {
	var f *fault
	if errors.As(err, &f) {
		return f.line
	}
	return 0
}

// placed is [source.placed], of a configuration that there may not be.
func (c *Config) placed(err error) error {
	if c == nil {
		return err
	}
	return c.source.placed(err)
}

// linesOf returns where each setting and each section of a TOML file stands.
func linesOf(raw []byte) map[string]int {
	l := &scan{at: make(map[string]int), tables: make(map[string]int)}
	l.parser.Reset(raw)
	section := ""
	for l.parser.NextExpression() {
		switch e := l.parser.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			section = l.key("", e)
		case unstable.KeyValue:
			l.value(l.key(section, e), e.Value())
		}
	}
	return l.at
}

type scan struct {
	parser unstable.Parser
	at     map[string]int
	tables map[string]int // how many [[tables]] of a name there are so far
}

// key notes the line of each part of a key, and returns the setting.
func (l *scan) key(section string, of *unstable.Node) string {
	setting := section
	for it := of.Key(); it.Next(); {
		setting = under(setting, strings.ToLower(string(it.Node().Data)))
		l.note(setting, it.Node())
		if of.Kind == unstable.ArrayTable && it.IsLast() {
			l.tables[setting]++
		}
		if n := l.tables[setting]; n > 0 {
			setting = fmt.Sprintf("%s[%d]", setting, n-1)
			l.note(setting, it.Node())
		}
	}
	return setting
}

func (l *scan) note(setting string, n *unstable.Node) {
	if _, ok := l.at[setting]; !ok {
		l.at[setting] = l.parser.Shape(n.Raw).Start.Line
	}
}

// value notes what is in an inline table, and in a list of them.
func (l *scan) value(setting string, v *unstable.Node) {
	n := 0
	for it := v.Children(); it.Next(); n++ {
		switch {
		case v.Kind == unstable.InlineTable:
			l.value(l.key(setting, it.Node()), it.Node().Value())
		case v.Kind == unstable.Array:
			l.value(fmt.Sprintf("%s[%d]", setting, n), it.Node())
		}
	}
}

// misfits are the settings that do not exist, and those that hold another kind of
// value than they are for.
func misfits(setting string, have any, want reflect.Type) (all []error) {
	if want.Kind() == reflect.Pointer {
		want = want.Elem()
	}
	fits := false
	switch table, isTable := have.(map[string]any); {
	case want == reflect.TypeFor[time.Time]():
		switch have.(type) {
		case time.Time, toml.LocalDate, toml.LocalDateTime:
			fits = true
		}
	case want.Kind() == reflect.Struct && isTable:
		known := settingsOf(want)
		for _, name := range slices.Sorted(maps.Keys(table)) {
			if kind, ok := known[strings.ToLower(name)]; ok {
				all = append(all, misfits(under(setting, name), table[name], kind)...)
			} else {
				all = append(all, of(under(setting, name), errConfigKey.Because(errors.New("there are "+strings.Join(slices.Sorted(maps.Keys(known)), ", ")))))
			}
		}
		return all
	case want.Kind() == reflect.Slice:
		var list []any
		list, fits = have.([]any)
		for n, one := range list {
			if misfit := misfits(fmt.Sprintf("%s[%d]", setting, n), one, want.Elem()); want.Elem().Kind() == reflect.Struct {
				all = append(all, misfit...)
			} else {
				fits = fits && misfit == nil
			}
		}
	case want.Kind() == reflect.Interface:
		fits = true // whatever it is, it is refused by its name
	case have != nil:
		kind := reflect.TypeOf(have).Kind()
		fits = kind == want.Kind() || kind == reflect.Int64 && want.Kind() == reflect.Int
	}
	if !fits {
		all = append(all, of(setting, errConfig.Because(errors.New("it should be "+inWords(want)))))
	}
	return all
}

// settingsOf are those of a section, with their kinds.
func settingsOf(section reflect.Type) map[string]reflect.Type {
	known := make(map[string]reflect.Type)
	for _, f := range reflect.VisibleFields(section) {
		if name := f.Tag.Get("toml"); name != "" && name != "-" {
			known[name] = f.Type
		}
	}
	return known
}

// inWords is what a setting of a kind holds.
func inWords(kind reflect.Type) string {
	switch {
	case kind == reflect.TypeFor[time.Time]():
		return "a moment such as 2026-01-31T00:00:00Z"
	case kind.Kind() == reflect.Struct:
		return "a section of its own, with its name in brackets"
	case kind.Kind() == reflect.Slice && kind.Elem().Kind() == reflect.Struct:
		return "sections, each with the name in double brackets"
	case kind.Kind() == reflect.Slice:
		return `a list of texts, such as ["one", "two"]`
	case kind.Kind() == reflect.Int:
		return "a whole number, without quotes"
	case kind.Kind() == reflect.Bool:
		return "true or false, without quotes"
	}
	return "a text in quotes"
}
