package registrar

import (
	"encoding/binary"
	"slices"
)

// JoinExhibits makes one body of several encrypted exhibits: of each the digest, 32 bytes, how
// many bytes follow, 4 bytes, the highest first, and those.
func JoinExhibits(sealed map[[32]byte][]byte) []byte {
	var b []byte
	for digest, s := range sealed {
		b = binary.BigEndian.AppendUint32(append(b, digest[:]...), uint32(len(s)))
		b = append(b, s...)
	}
	return b
}

// SplitExhibits undoes JoinExhibits. It is false for any other body, and for one that has an
// exhibit twice.
func SplitExhibits(b []byte) (sealed map[[32]byte][]byte, ok bool) {
	sealed = make(map[[32]byte][]byte)
	for len(b) > 0 {
		if len(b) < 36 {
			return nil, false
		}
		digest, length := [32]byte(b), binary.BigEndian.Uint32(b[32:])
		if b = b[36:]; uint64(length) > uint64(len(b)) {
			return nil, false
		}
		if _, twice := sealed[digest]; twice {
			return nil, false
		}
		sealed[digest], b = slices.Clip(b[:length]), b[length:]
	}
	return sealed, true
}
