package issue

import (
	"crypto/rand"
	"time"
)

// MaxWord is the longest word for a device, in bytes of UTF-8.
const MaxWord = 64

// Session is a person being signed in here, in one browser. Who it is, and when it
// ends, is in a sealed cookie of that browser; a store has of it only what lets the
// person end it elsewhere, in rows that say neither whose they are nor when they
// were written.
type Session struct {
	ID         [16]byte  `json:"i"` // random
	Generation int64     `json:"g"` // see Store.EndSessions
	Word       string    `json:"w"` // for the device, as the person chose it: at most MaxWord bytes
	Day        time.Time `json:"d"` // UTC midnight before it began
}

// NewSession is a session that begins now.
func NewSession(word string, now time.Time) Session {
	s := Session{Word: word, Day: day(now)}
	rand.Read(s.ID[:]) // never fails (crypto/rand)
	return s
}
