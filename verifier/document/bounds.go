package document

import "io"

// Bounds is how much is read of a JSON text. The limits hold while it is read:
// what goes over them is never decoded.
type Bounds struct {
	Bytes  int64 // the whole text
	Values int   // objects, arrays, and their members and elements
	Text   int   // bytes of one string or number, as it is written
}

// Reader reads a JSON text from r, and fails with [TooLarge] before it hands out
// more than the bounds allow. It counts what opens and separates values and does
// not check the syntax: valid text holds at most twice as many values as it counts.
func (b Bounds) Reader(r io.Reader) io.Reader { return &boundedReader{r: r, left: b, text: b.Text} }

type boundedReader struct {
	r        io.Reader
	left     Bounds
	text     int // Bounds.Text
	inString bool
	escaped  bool // the next byte of the string means itself
}

// Read implements io.Reader.
func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left.Bytes -= int64(n); b.left.Bytes < 0 {
		return 0, TooLarge
	}
	for _, c := range p[:n] {
		b.left.Text--
		switch {
		case b.escaped:
			b.escaped = false
		case b.inString && c == '\\':
			b.escaped = true
		case c == '"':
			b.inString, b.left.Text = !b.inString, b.text
		case b.inString:
		case c == ',' || c == ':' || c == '[' || c == '{':
			b.left.Values--
			b.left.Text = b.text
		case c == ']' || c == '}':
			b.left.Text = b.text
		}
		if b.left.Values < 0 || b.left.Text < 0 {
			return 0, TooLarge
		}
	}
	return n, err
}
