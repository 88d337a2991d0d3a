//go:build linux

package robustness

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Disk is a file system with a power switch. It keeps its files in another folder,
// and remembers for each what of it was not synced: that is lost with the power. As
// ext4 does by default, it keeps the changes of folders in one journal: what was synced
// last decides up to where, so a file that was synced has its name.
//
// It stands for the page cache and what is below.
type Disk struct {
	Dir string // where it is mounted

	folder string // what is on the disk, and what is not synced yet
	grave  string // files that are unlinked, and not synced so
	server *fuse.Server
	reaper io.Closer // unmounts it if we are killed

	mu      sync.Mutex
	dead    bool   // the power is gone
	gone    bool   // it was unmounted
	full    bool   // no space is left
	left    int    // calls that change something until the power goes; 0: no end
	lies    bool   // syncs do nothing, and say that they did
	failing string // the next sync of a file whose path has this in it fails; empty: none
	failed  int    // syncs that did
	files   map[uint64]*content
	journal []change
	graves  int
}

// page is in how large pieces a file is written, as in the kernel.
const page = 4096

// content is a file by its inode.
type content struct {
	file  *os.File
	opens int
	size  int64            // that is on the disk
	dirty map[int64][]byte // by page: what is on the disk, where the file has something else
	lost  map[int64][]byte // likewise, of a sync that failed: the kernel takes these pages for clean
}

// change is one in a folder, with how to take it back.
type change struct {
	folder uint64 // inode
	file   uint64 // inode that got a name
	undo   func() error
	done   string // file in the grave, once it is synced
}

// Mount makes a disk of what is in folder, and shows it at dir, which must be there.
// It needs /dev/fuse.
func Mount(folder, dir string) (*Disk, error) {
	d := &Disk{Dir: dir, folder: folder, grave: folder + ".unlinked", files: map[uint64]*content{}}
	if err := os.MkdirAll(d.grave, 0o700); err != nil {
		return nil, err
	}
	root, err := fusefs.NewLoopbackRoot(folder)
	if err != nil {
		return nil, err
	}
	data := root.(*fusefs.LoopbackNode).RootData
	top := &node{LoopbackNode: fusefs.LoopbackNode{RootData: data}, disk: d}
	data.RootNode = top
	second := time.Second
	d.server, err = fusefs.Mount(dir, top, &fusefs.Options{AttrTimeout: &second, EntryTimeout: &second,
		MountOptions: fuse.MountOptions{AllowOther: os.Geteuid() == 0, DirectMount: os.Geteuid() == 0, FsName: "penname-test", Name: "powerless"}})
	if err != nil {
		return nil, err
	}
	reaper := exec.Command("/bin/sh", "-c", `read -r _; umount -l "$1" || fusermount3 -uz "$1"`, "sh", dir)
	if d.reaper, err = reaper.StdinPipe(); err == nil {
		err = reaper.Start()
	}
	if err != nil {
		return nil, errors.Join(err, d.server.Unmount())
	}
	go reaper.Wait() //nolint:errcheck // it is only reaped
	return d, nil
}

// FailSync lets the next sync of a file whose path has part in it fail with EIO, and
// takes what it was to write for written, as Linux does.
func (d *Disk) FailSync(part string) { d.mu.Lock(); d.failing = part; d.mu.Unlock() }

// Failed is how many syncs did.
func (d *Disk) Failed() int { d.mu.Lock(); defer d.mu.Unlock(); return d.failed }

// Fill takes the space away, or gives it back.
func (d *Disk) Fill(full bool) { d.mu.Lock(); d.full = full; d.mu.Unlock() }

// Lie lets every sync do nothing and say that it did: for controls.
func (d *Disk) Lie() { d.mu.Lock(); d.lies = true; d.mu.Unlock() }

// CutAfter cuts the power after so many more calls that change or sync something, so that
// a test can be cut at each of them.
func (d *Disk) CutAfter(calls int) { d.mu.Lock(); d.left = calls + 1; d.mu.Unlock() }

// IsCut reports whether the power is gone.
func (d *Disk) IsCut() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.dead }

// counted is called with the lock by each call that changes or syncs something.
func (d *Disk) counted() {
	if d.left == 0 {
		return
	}
	if d.left--; d.left == 0 {
		d.dead = true
	}
}

// Sync puts all on the disk that is not, as at an orderly end.
func (d *Disk) Sync() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, c := range d.files {
		d.synced(c, id, "") //nolint:errcheck // it has power
		clear(c.lost)
	}
	d.commit(func(change) bool { return true })
}

// Cut cuts the power: from now on nothing gets to the disk, and every call fails. Whoever
// runs on it has to be ended then, before Lose.
func (d *Disk) Cut() { d.mu.Lock(); d.dead = true; d.mu.Unlock() }

// Lose unmounts the disk and takes back what was not synced when its power was cut: all
// of it, or with a source of chance what chance takes, since pages reach a disk in any
// order. It returns how many pages and changes of folders were lost.
func (d *Disk) Lose(chance *rand.Rand) (pages, changes int, err error) {
	d.Cut()
	d.mu.Lock()
	gone := d.gone
	d.gone = true
	d.mu.Unlock()
	if gone {
		return 0, 0, nil
	}
	if err := d.unmount(); err != nil {
		return 0, 0, err
	}
	d.reaper.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.files {
		n, lerr := c.lose(chance)
		pages += n
		err = errors.Join(err, lerr, c.file.Close())
	}
	keep := 0 // a journal is lost from some place on
	if chance != nil {
		keep = chance.IntN(len(d.journal) + 1)
	}
	for _, ch := range slices.Backward(d.journal[keep:]) {
		err = errors.Join(err, ch.undo())
		changes++
	}
	return pages, changes, errors.Join(err, os.RemoveAll(d.grave))
}

// unmount waits for those that end: a process that was killed closes its files then.
func (d *Disk) unmount() (err error) {
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	for range 100 {
		if err = d.server.Unmount(); err == nil {
			return nil
		}
		<-every.C
	}
	return err
}

// lose puts on the disk what is on the disk, and returns how many pages that changed.
func (c *content) lose(chance *rand.Rand) (n int, err error) {
	now, err := c.file.Stat()
	if err != nil {
		return 0, err
	}
	size := c.size
	if chance != nil && chance.IntN(2) == 0 {
		size = now.Size()
	}
	if err := c.file.Truncate(size); err != nil {
		return 0, err
	}
	put := func(p int64, was []byte) {
		whole := make([]byte, page)
		copy(whole, was)
		if room := size - p*page; room > 0 {
			_, werr := c.file.WriteAt(whole[:min(page, room)], p*page)
			err = errors.Join(err, werr)
			n++
		}
	}
	for p, was := range c.lost {
		put(p, was)
	}
	for p, was := range c.dirty {
		if chance == nil || chance.IntN(2) == 0 {
			put(p, was)
		}
	}
	return n, err
}

// open is the content of an inode that is in use, by a file of our own.
func (d *Disk) open(path string) (*content, uint64, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, 0, err
	}
	id := inode(info)
	if c, ok := d.files[id]; ok {
		c.opens++
		return c, id, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, 0, err
	}
	c := &content{file: f, opens: 1, size: info.Size(), dirty: map[int64][]byte{}, lost: map[int64][]byte{}}
	d.files[id] = c
	return c, id, nil
}

// release forgets what nobody uses and is on the disk.
func (d *Disk) release(c *content, id uint64) {
	info, err := c.file.Stat()
	if c.opens--; c.opens > 0 || len(c.dirty)+len(c.lost) > 0 || err != nil || info.Size() != c.size {
		return
	}
	c.file.Close()
	delete(d.files, id)
}

func inode(info fs.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

// touch remembers what is on the disk of the pages from one place to another.
func (c *content) touch(from, to int64) error {
	for p := from / page; p*page < to; p++ {
		if _, ok := c.dirty[p]; ok {
			continue
		}
		if was, ok := c.lost[p]; ok {
			c.dirty[p] = was
			delete(c.lost, p)
			continue
		}
		was := make([]byte, page)
		n, err := c.file.ReadAt(was, p*page)
		if n < page && err == nil {
			err = errors.New("a short read")
		}
		if err != nil && n == 0 && !errors.Is(err, io.EOF) {
			return err
		}
		c.dirty[p] = was[:n]
	}
	return nil
}

func (c *content) truncate(size int64) error {
	info, err := c.file.Stat()
	if err != nil {
		return err
	}
	if size < info.Size() {
		if err := c.touch(size, info.Size()); err != nil {
			return err
		}
	}
	return c.file.Truncate(size)
}

// synced takes what a file has to be on the disk, and its name with it.
func (d *Disk) synced(c *content, id uint64, path string) syscall.Errno {
	d.counted()
	if d.dead {
		return syscall.EIO
	}
	if d.lies {
		return 0
	}
	if d.failing != "" && strings.Contains(path, d.failing) {
		d.failing = ""
		d.failed++
		for p, was := range c.dirty {
			c.lost[p] = was
		}
		clear(c.dirty)
		return syscall.EIO
	}
	info, err := c.file.Stat()
	if err != nil {
		return fusefs.ToErrno(err)
	}
	c.size = info.Size()
	clear(c.dirty)
	d.commit(func(ch change) bool { return ch.file == id })
	return 0
}

// commit writes the journal up to the last change that is asked for.
func (d *Disk) commit(asked func(change) bool) {
	for i := len(d.journal) - 1; i >= 0; i-- {
		if !asked(d.journal[i]) {
			continue
		}
		for _, ch := range d.journal[:i+1] {
			if ch.done != "" {
				os.Remove(ch.done)
			}
		}
		d.journal = slices.Clone(d.journal[i+1:])
		return
	}
}

// bury gives a file another name, by which its unlinking can be taken back.
func (d *Disk) bury(path string, how func(old, new string) error) (string, error) {
	d.graves++
	to := filepath.Join(d.grave, strconv.Itoa(d.graves))
	return to, how(path, to)
}
