package vault

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// maxAuditLine is in bytes. Vault writes a line for each request, and takes none of more
// than 32 MiB (max_request_size, as it is by default). In the line each text stands as a
// hash of 76 characters, which makes what Penname sends shorter; as much again is for who
// and where. Only a request of very many short texts, which is none of Penname's, becomes
// longer, and is named. A line is all that is kept of a file, whatever it unpacks to.
const maxAuditLine = 64 << 20

// ReadAudit reads the files of one audit device: the one that is being written, and those
// that were rotated, compressed or not, in any order. A name may be a pattern, as
// [filepath.Match] has it, of regular files. What was before since is left out; the zero
// time leaves out nothing. Files may overlap. The newest may end in the middle of a line.
//
// It reads each file once and keeps what it returns, and a line of each file, in memory.
// progress is told how many of all bytes were read; nil: nobody is told. It ends
// with ctx.
func ReadAudit(ctx context.Context, names []string, since time.Time, progress func(read, size int64)) (Audit, error) {
	r := newAuditReader(since)
	var read, size int64
	var files []*auditFile
	defer func() {
		for _, f := range files {
			f.file.Close()
		}
	}()
	for _, name := range names {
		found, err := filepath.Glob(name)
		if err != nil || len(found) == 0 {
			return Audit{}, ErrAuditFile.Because(fmt.Errorf("there is no file %s", name))
		}
		for _, name := range found {
			f, n, err := openAudit(ctx, name, since, &read)
			if err != nil {
				return Audit{}, err
			}
			files, size = append(files, f), size+n
		}
	}
	slices.SortStableFunc(files, func(a, b *auditFile) int { return a.next.Time.Compare(b.next.Time) })
	for _, f := range files {
		for !f.next.Time.IsZero() {
			if progress != nil && r.audit.Entries%100_000 == 0 {
				progress(read, size)
			}
			err := r.take(&f.next)
			if err == nil {
				err = f.advance(since)
			}
			if err != nil {
				return Audit{}, f.refuse(err)
			}
		}
		r.before = maxTime(r.before, f.last)
	}
	for _, f := range files {
		if f.cut && f.last.Before(r.audit.To) {
			return Audit{}, f.refuse(errors.New("it ends in the middle of a line, and is not the newest"))
		}
	}
	r.audit.Files = len(files)
	a, err := r.done()
	if err != nil {
		err = ErrAuditFile.Because(err)
	}
	return a, err
}

// auditFile is a file of which the next entry has been read.
type auditFile struct {
	name string
	file *os.File
	text *bufio.Reader
	line int
	next auditEntry // without a time: there is none
	last time.Time
	cut  bool // it ends in the middle of a line
}

func (f *auditFile) refuse(err error) error {
	return ErrAuditFile.Because(fmt.Errorf("%s, line %d: %w", f.name, f.line, err))
}

// openAudit opens a file and returns its size. What is read of it is added to read.
func openAudit(ctx context.Context, name string, since time.Time, read *int64) (*auditFile, int64, error) {
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe that nobody writes to would block
	if err != nil {
		return nil, 0, ErrAuditFile.Because(err)
	}
	f := &auditFile{name: name, file: file}
	f.text = bufio.NewReaderSize(io.TeeReader(file, counted{ctx, read}), 1<<16)
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		file.Close()
		return nil, 0, ErrAuditFile.Because(errors.New(name + " is not a file"))
	}
	if magic, _ := f.text.Peek(2); err == nil && string(magic) == "\x1f\x8b" {
		var unpacked *gzip.Reader
		if unpacked, err = gzip.NewReader(f.text); err == nil {
			f.text = bufio.NewReaderSize(unpacked, 1<<16)
		}
	}
	if err == nil {
		err = f.advance(since)
	}
	if err != nil {
		file.Close()
		return nil, 0, f.refuse(err)
	}
	return f, info.Size(), nil
}

// readLine reads a line, of which the last may lack its end.
func (f *auditFile) readLine() (line []byte, err error) {
	f.line++
	for {
		part, err := f.text.ReadSlice('\n')
		if len(line)+len(part) > maxAuditLine {
			return nil, fmt.Errorf("it is longer than %d MiB, and Vault writes none like that for what Penname asks", maxAuditLine>>20)
		}
		if line = append(line, part...); !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// advance reads the next entry. A line that is none, as a crash or a full disk leaves
// one, is refused unless what follows it does not count either.
func (f *auditFile) advance(since time.Time) error {
	damaged := false
	for {
		line, err := f.readLine()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		f.next = auditEntry{}
		switch bad := json.Unmarshal(line, &f.next); {
		case bad == nil && !f.next.Time.IsZero():
			if damaged && !f.next.Time.Before(since) {
				return errNoEntry
			}
			f.last = maxTime(f.last, f.next.Time)
			return nil
		case err == nil:
			damaged = damaged || len(bytes.TrimSpace(line)) > 0
		case damaged:
			return errNoEntry
		default: // the end
			f.next, f.cut = auditEntry{}, len(line) > 0
			return nil
		}
	}
}

// counted adds up what is written to it, until the context ends.
type counted struct {
	ctx context.Context
	n   *int64
}

func (c counted) Write(p []byte) (int, error) {
	*c.n += int64(len(p))
	return len(p), c.ctx.Err()
}
