package document

import (
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
		end := stringEnd(v, i)
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
			i = stringEnd(v, i) - 1
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
