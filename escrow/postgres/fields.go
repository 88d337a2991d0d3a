package postgres

import (
	"encoding/binary"
	"maps"
	"slices"
)

// PackFields joins sealed fields into the one value that is stored: by name, in
// order, the length of the name, the name, the length of what is sealed, and it.
// A length is a uvarint of encoding/binary.
func PackFields(fields map[string][]byte) (b []byte) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
		b = append(binary.AppendUvarint(b, uint64(len(fields[name]))), fields[name]...)
	}
	return b
}

// UnpackFields is the inverse of PackFields. It reports whether b is whole.
func UnpackFields(b []byte) (map[string][]byte, bool) {
	fields := make(map[string][]byte)
	for len(b) > 0 {
		var parts [2][]byte // name, sealed
		for i := range parts {
			n, used := binary.Uvarint(b)
			if used <= 0 || n > uint64(len(b)-used) {
				return nil, false
			}
			parts[i], b = b[used:][:n], b[used:][n:]
		}
		fields[string(parts[0])] = parts[1]
	}
	return fields, true
}
