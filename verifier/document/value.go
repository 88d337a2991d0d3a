package document

import (
	"bytes"
	stdjson "encoding/json"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4/json"
)

// Value is one JSON value as it is written, without space around it, in a text that
// [CheckJSON] found good. It reads the same as package json does, without reflection:
// what is verified by the thousand needs it.
type Value string

// Text decodes a string. ok is false for any other value.
func (v Value) Text() (s string, ok bool) {
	if v == "" || v[0] != '"' {
		return "", false
	}
	if strings.IndexByte(string(v), '\\') < 0 {
		return string(v[1 : len(v)-1]), true
	}
	return v.unescaped(), true
}

// unescaped is apart so that the result of Text, mostly a part of v, is not on the heap.
func (v Value) unescaped() (s string) {
	_ = json.Unmarshal([]byte(v), &s) // cannot fail
	return s
}

// Object calls member with the name, decoded, and the value of each member of an
// object, in their order, until it returns false. It reports whether v is an object
// and member always returned true.
func (v Value) Object(member func(name string, v Value) bool) bool {
	if v == "" || v[0] != '{' {
		return false
	}
	for i := v.next(1); v[i] != '}'; {
		end := v.stringEnd(i)
		name, _ := v[i:end].Text()
		begin := v.next(end)
		if end = v.end(begin); !member(name, v[begin:end]) {
			return false
		}
		i = v.next(end)
	}
	return true
}

// Array calls element with each element of an array, in their order, until it returns
// false. It reports whether v is an array and element always returned true.
func (v Value) Array(element func(v Value) bool) bool {
	if v == "" || v[0] != '[' {
		return false
	}
	for i := v.next(1); v[i] != ']'; {
		end := v.end(i)
		if !element(v[i:end]) {
			return false
		}
		i = v.next(end)
	}
	return true
}

// depth is how deep objects and arrays are nested.
func (v Value) depth() (most int) {
	for i, open := 0, 0; i < len(v); i++ {
		switch v[i] {
		case '"':
			i = v.stringEnd(i) - 1
		case '{', '[':
			open++
			most = max(most, open)
		case '}', ']':
			open--
		}
	}
	return most
}

// appendCanonical appends v, which has no white space, as [Canonical] writes it. Of members
// with one name the last counts, as for package json.
func (v Value) appendCanonical(to []byte) []byte {
	switch v[0] {
	case '{':
		type member struct {
			name  string
			value Value
		}
		members := make([]member, 0, 2*fewNames)
		v.Object(func(name string, v Value) bool {
			members = append(members, member{name, v})
			return true
		})
		slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
		to = append(to, '{')
		for i, m := range members {
			if i+1 < len(members) && members[i+1].name == m.name {
				continue
			}
			to = append(appendString(to, m.name), ':')
			to = append(m.value.appendCanonical(to), ',')
		}
		return closed(to, '}')
	case '[':
		to = append(to, '[')
		v.Array(func(v Value) bool {
			to = append(v.appendCanonical(to), ',')
			return true
		})
		return closed(to, ']')
	case '"':
		if v.plain() {
			break
		}
		s, _ := v.Text()
		return appendString(to, s)
	}
	return append(to, v...)
}

// plain reports whether a string has the one spelling that [Canonical] gives it: it is printable
// ASCII, and its escapes are those that have no other form.
func (v Value) plain() bool {
	if !printable(string(v)) {
		return false
	}
	for i := strings.IndexByte(string(v), '\\'); i >= 0 && i < len(v); i++ {
		if v[i] == '\\' {
			if i++; strings.IndexByte(`"\bfnrt`, v[i]) < 0 {
				return false
			}
		}
	}
	return true
}

// closed ends an object or array, after whose last value stands a comma.
func closed(to []byte, with byte) []byte {
	return append(bytes.TrimSuffix(to, []byte(",")), with)
}

// appendString quotes s. Plain ASCII, which is nearly all, has no second spelling.
func appendString(to []byte, s string) []byte {
	if printable(s) && strings.IndexByte(s, '"') < 0 && strings.IndexByte(s, '\\') < 0 {
		return append(append(append(to, '"'), s...), '"')
	}
	var buf bytes.Buffer
	enc := stdjson.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string is always written
	return append(to, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

// printable reports whether s is ASCII without control characters.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// stringEnd is the index after the string that begins at v[i].
func (v Value) stringEnd(i int) int {
	i++
	if n := strings.IndexByte(string(v[i:]), '"'); strings.IndexByte(string(v[i:i+n]), '\\') < 0 {
		return i + n + 1
	}
	for ; v[i] != '"'; i++ {
		if v[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// next is the index of the first byte from i on that is no separator.
func (v Value) next(i int) int {
	for strings.IndexByte(" \t\r\n:,", v[i]) >= 0 {
		i++
	}
	return i
}

// end is the index after the value that begins at i.
func (v Value) end(i int) int {
	for depth := 0; ; {
		switch v[i] {
		case '"':
			i = v.stringEnd(i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		if i++; depth == 0 && strings.IndexByte(" \t\r\n,}]", v[i]) >= 0 {
			return i
		}
	}
}
