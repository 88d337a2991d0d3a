package postgrestest

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// row writes the values of the n-th of so many rows.
type row struct {
	*rand.Rand
	o       Options
	n, rows int
	to      *bufio.Writer
	failed  error
}

func (w *row) start(columns string) {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], uint16(1+strings.Count(columns, ",")))
	w.to.Write(b[:]) //nolint:errcheck // Flush says it
}

// put writes what is stored as it is: bytes, text and numbers of the network's order.
func (w *row) put(value []byte) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(len(value)))
	w.to.Write(b[:])  //nolint:errcheck // Flush says it
	w.to.Write(value) //nolint:errcheck // likewise
}

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of PostgreSQL

func (w *row) date(day time.Time) {
	w.put(binary.BigEndian.AppendUint32(nil, uint32(day.Sub(epoch)/(24*time.Hour))))
}

func (w *row) time(at time.Time) {
	w.put(binary.BigEndian.AppendUint64(nil, uint64(at.Sub(epoch)/time.Microsecond)))
}

// day is one on which somebody came, and soon an hour of the next 30 days.
func (w *row) day() time.Time { return w.o.Day.AddDate(0, 0, -w.IntN(w.o.Days)) }

func (w *row) soon() time.Time { return w.o.Day.Add(time.Duration(1+w.IntN(30*24)) * time.Hour) }

func (w *row) bytes(n int) []byte {
	b := make([]byte, n+7)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], w.Uint64())
	}
	return b[:n]
}

// key is a random key that comes after those of the rows before.
func (w *row) key(n int) []byte {
	b := w.bytes(n)
	binary.BigEndian.PutUint64(b, w.place()+w.Uint64N(w.stride()))
	return b
}

// place is where the n-th of the rows begins among all keys of 64 bits, and stride how many it has.
func (w *row) place() uint64 {
	quotient, _ := bits.Div64(uint64(w.n), 0, uint64(w.rows))
	return quotient
}

func (w *row) stride() uint64 {
	quotient, _ := bits.Div64(1, 0, uint64(w.rows)+1) // of one row, too
	return quotient
}

// label is that of the n-th record, whose place among all says nothing of when it came.
func (w *row) label() string {
	const inOrder = "234567abcdefghijklmnopqrstuvwxyz"
	of := rand.New(rand.NewPCG(uint64(w.o.Seed), uint64(w.n))) //nolint:gosec // the same every time
	head, tail := uint64(w.n)*0x9e3779b97f4a7c15, of.Uint64()  // the golden ratio: each once, all over
	b := make([]byte, 26)
	for i := range b {
		if i < 12 {
			b[i] = inOrder[head>>59]
			head <<= 5
		} else {
			b[i] = inOrder[tail>>59]
			tail = tail<<5 | tail>>59
		}
	}
	return string(b)
}

// wrapped is what Vault makes of so many bytes, some more of its own included.
func (w *row) wrapped(n int) []byte {
	return base64.StdEncoding.AppendEncode([]byte("vault:v1:"), w.bytes(n))
}

// half is a first half of a group. Only those of groups that are open open.
func (w *row) half(group int) []byte {
	if w.o.Wrap == nil || group < w.o.groupFrom(w.o.Days-1) {
		return append(fmt.Appendf(nil, "g%d:", group), w.wrapped(60)...)
	}
	half, err := w.o.Wrap(context.Background(), group, w.label(), w.bytes(32))
	w.failed = errors.Join(w.failed, err)
	return []byte(half)
}

// takeClaims stores claims as the issuing side does. Everybody counts in two of many thousand
// combinations.
func (w *row) takeClaims(ctx context.Context, tx pgx.Tx, last int) error {
	var places, sealed [][]byte
	for ; w.n < last; w.n++ {
		places, sealed = append(places, w.key(32)), append(sealed, w.bytes(320))
	}
	_, err := tx.Exec(ctx, `
		SELECT count(take_claims(place, NULL, sealed, $3, ARRAY[sha256(substr(sealed, 1, 2)), sha256(substr(sealed, 3, 3))], '{}', ''))
		FROM unnest($1::bytea[], $2::bytea[]) c (place, sealed)`, places, sealed, w.o.Day.AddDate(0, 0, 1+w.IntN(365)))
	return err
}
