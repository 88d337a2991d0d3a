package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/verifier/proof"
)

// monitorState is what a monitor remembers between rounds, in a file that is replaced in one
// step.
type monitorState struct {
	Version int               `json:"version"` // 1
	Log     string            `json:"log"`     // its origin
	Since   time.Time         `json:"since"`   // the first round
	Rounds  int64             `json:"rounds"`  // that were whole
	Alarms  []*remembered     `json:"alarms"`  // in the order in which they were found
	Waiting map[string]string `json:"waiting"` // checkpoints of peers that are larger than the copy, by peer
	Record  followedRecord    `json:"record,omitzero"`
	file    string
}

// remembered is an alarm and whom it did not reach yet.
type remembered struct {
	proof.Alarm
	Found  time.Time `json:"found"`
	Untold []string  `json:"untold,omitempty"` // names of [teller]
	Before bool      `json:"before,omitempty"` // it was there at the first round, and is merely old
}

// readMonitorState reads the file, or returns what a first round begins with if there is none.
func readMonitorState(file, origin string, now time.Time) (*monitorState, error) {
	s := &monitorState{Version: 1, Log: origin, Since: now.UTC(), Waiting: map[string]string{}, file: file}
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if kept, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "refused-*")); len(kept) > 0 {
			return nil, errMonitorState.Because(fmt.Errorf("the folder holds evidence, %s, and no monitor.json", filepath.Base(kept[0])))
		}
		return s, nil
	}
	if err != nil {
		return nil, errMonitorState.Because(err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	*s = monitorState{file: file}
	if err := d.Decode(s); err != nil || s.Version != 1 || s.Log != origin || slices.Contains(s.Alarms, nil) {
		return nil, errMonitorState
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) { // something stands behind it
		return nil, errMonitorState
	}
	if s.Waiting == nil {
		s.Waiting = map[string]string{}
	}
	return s, nil
}

// note remembers what was found, and returns what is to be said here: what is new, and what could
// not be said before. What ended is forgotten, so that it
// is said again if it comes back.
func (s *monitorState) note(f *finding, tell []string, now time.Time) (fresh []proof.Alarm) {
	there := func(cause string) bool {
		return slices.ContainsFunc(f.alarms, func(a proof.Alarm) bool { return a.Cause == cause })
	}
	s.Alarms = slices.DeleteFunc(s.Alarms, func(r *remembered) bool {
		ended := r.Kind == proof.AlarmStall && f.fresh || r.Kind == proof.AlarmOverdue && f.audited || r.Cause == proof.AlarmNumbers && f.addsUp ||
			strings.HasPrefix(r.Cause, causeRecord) && f.right || r.Cause == causeUnkept && there(proof.AlarmFork)
		return ended && !there(r.Cause) && len(r.Untold) == 0
	})
	for _, a := range f.alarms {
		if slices.ContainsFunc(s.Alarms, func(r *remembered) bool { return r.Cause == a.Cause }) {
			continue
		}
		r := &remembered{Alarm: a, Found: now.UTC(), Untold: slices.Clone(tell), Before: a.Kind == proof.AlarmLapse && s.Rounds == 0}
		if r.Before {
			r.Untold = nil
		}
		s.Alarms = append(s.Alarms, r)
	}
	for _, r := range s.Alarms {
		if slices.Contains(r.Untold, here) {
			fresh = append(fresh, r.Alarm)
		}
	}
	if f.audited {
		s.Rounds++
	}
	return fresh
}

// said notes that every alarm was said here.
func (s *monitorState) said() {
	for _, r := range s.Alarms {
		r.Untold = slices.DeleteFunc(r.Untold, func(name string) bool { return name == here })
	}
}

// standing are the alarms that were said before this round.
func (s *monitorState) standing(fresh []proof.Alarm) []proof.Alarm {
	all := []proof.Alarm{}
	for _, r := range s.Alarms {
		if !r.Before && !slices.ContainsFunc(fresh, func(a proof.Alarm) bool { return a.Cause == r.Cause }) {
			all = append(all, r.Alarm)
		}
	}
	return all
}

// before is how many emergencies had lapsed before the first round.
func (s *monitorState) before() (n int) {
	for _, r := range s.Alarms {
		if r.Before {
			n++
		}
	}
	return n
}

// forked reports whether the log was convicted, by evidence that is kept: what it shows after that
// counts for nothing.
func (s *monitorState) forked() bool {
	return slices.ContainsFunc(s.Alarms, func(r *remembered) bool { return r.Cause == proof.AlarmFork })
}

// write replaces the file in one step.
func (s *monitorState) write() error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return errMonitorState.Because(err)
	}
	f, err := os.OpenFile(s.file+".unfinished", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return errMonitorState.Because(err)
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.file)
	}
	if err != nil {
		return errMonitorState.Because(err)
	}
	return nil
}
