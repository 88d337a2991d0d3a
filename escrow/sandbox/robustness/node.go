//go:build linux

package robustness

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file or a folder of a [Disk].
type node struct {
	fusefs.LoopbackNode
	disk *Disk
}

// WrapChild implements fs.NodeWrapChilder.
func (n *node) WrapChild(context.Context, fusefs.InodeEmbedder) fusefs.InodeEmbedder {
	return &node{LoopbackNode: fusefs.LoopbackNode{RootData: n.RootData}, disk: n.disk}
}

func (n *node) path(name ...string) string {
	return filepath.Join(append([]string{n.disk.folder, n.Path(n.Root())}, name...)...)
}

// changed notes a change of this folder. It is called with the disk's lock.
func (n *node) changed(file uint64, done string, undo func() error) {
	info, err := os.Lstat(n.path())
	if err != nil {
		return // it is gone, with all that is in it
	}
	n.disk.journal = append(n.disk.journal, change{folder: inode(info), file: file, undo: undo, done: done})
}

// locked does something while the disk has power, and space if it needs any.
func (n *node) locked(needs bool, do func() syscall.Errno) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	n.disk.counted()
	switch {
	case n.disk.dead:
		return syscall.EIO
	case needs && n.disk.full:
		return syscall.ENOSPC
	}
	return do()
}

// named notes the new name of a file.
func (n *node) named(name string, remove func(string) error) {
	p := n.path(name)
	if info, err := os.Lstat(p); err == nil {
		n.changed(inode(info), "", func() error { return remove(p) })
	}
}

// Create implements fs.NodeCreater.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (child *fusefs.Inode, fh fusefs.FileHandle, _ uint32, errno syscall.Errno) {
	errno = n.locked(true, func() syscall.Errno {
		_, err := os.Lstat(n.path(name))
		isNew := errors.Is(err, fs.ErrNotExist)
		var f fusefs.FileHandle
		if child, f, _, errno = n.LoopbackNode.Create(ctx, name, flags&^syscall.O_TRUNC, mode, out); errno != 0 {
			return errno
		}
		f.(fusefs.FileReleaser).Release(ctx) //nolint:errcheck // ours is opened in its place
		if isNew {
			n.named(name, os.Remove)
		}
		fh, errno = n.disk.handle(n.path(name), flags)
		return errno
	})
	return child, fh, 0, errno
}

// Open implements fs.NodeOpener.
func (n *node) Open(_ context.Context, flags uint32) (fh fusefs.FileHandle, _ uint32, errno syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if n.disk.dead {
		return nil, 0, syscall.EIO
	}
	fh, errno = n.disk.handle(n.path(), flags)
	return fh, 0, errno
}

func (d *Disk) handle(path string, flags uint32) (fusefs.FileHandle, syscall.Errno) {
	c, id, err := d.open(path)
	if err == nil && flags&syscall.O_TRUNC != 0 {
		err = c.truncate(0)
	}
	if err != nil {
		return nil, fusefs.ToErrno(err)
	}
	return &handle{disk: d, content: c, id: id, path: path}, 0
}

// Mkdir implements fs.NodeMkdirer.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (child *fusefs.Inode, errno syscall.Errno) {
	errno = n.locked(true, func() syscall.Errno {
		if child, errno = n.LoopbackNode.Mkdir(ctx, name, mode, out); errno == 0 {
			n.named(name, os.RemoveAll)
		}
		return errno
	})
	return child, errno
}

// Symlink implements fs.NodeSymlinker.
func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (child *fusefs.Inode, errno syscall.Errno) {
	errno = n.locked(true, func() syscall.Errno {
		if child, errno = n.LoopbackNode.Symlink(ctx, target, name, out); errno == 0 {
			n.named(name, os.Remove)
		}
		return errno
	})
	return child, errno
}

// Link implements fs.NodeLinker.
func (n *node) Link(ctx context.Context, target fusefs.InodeEmbedder, name string, out *fuse.EntryOut) (child *fusefs.Inode, errno syscall.Errno) {
	errno = n.locked(true, func() syscall.Errno {
		if child, errno = n.LoopbackNode.Link(ctx, target, name, out); errno == 0 {
			n.named(name, os.Remove)
		}
		return errno
	})
	return child, errno
}

// Unlink implements fs.NodeUnlinker.
func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	return n.locked(false, func() syscall.Errno {
		p := n.path(name)
		buried, err := n.disk.bury(p, os.Rename)
		if err != nil {
			return fusefs.ToErrno(err)
		}
		n.changed(0, buried, func() error { return os.Rename(buried, p) })
		return 0
	})
}

// Rmdir implements fs.NodeRmdirer.
func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	return n.locked(false, func() syscall.Errno {
		p := n.path(name)
		info, err := os.Lstat(p)
		if err == nil {
			err = syscall.Rmdir(p)
		}
		if err != nil {
			return fusefs.ToErrno(err)
		}
		n.changed(0, "", func() error {
			st := info.Sys().(*syscall.Stat_t)
			return errors.Join(os.Mkdir(p, info.Mode().Perm()), os.Chown(p, int(st.Uid), int(st.Gid)))
		})
		return 0
	})
}

// Rename implements fs.NodeRenamer.
func (n *node) Rename(_ context.Context, name string, newParent fusefs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	return n.locked(false, func() syscall.Errno {
		to, ok := newParent.(*node)
		if !ok || flags != 0 {
			return syscall.EINVAL
		}
		from, into, buried := n.path(name), to.path(newName), ""
		if info, err := os.Lstat(into); err == nil {
			if info.IsDir() {
				return syscall.EINVAL // no server here does that
			}
			if buried, err = n.disk.bury(into, os.Link); err != nil {
				return fusefs.ToErrno(err)
			}
		}
		info, err := os.Lstat(from)
		if err == nil {
			err = os.Rename(from, into)
		}
		if err != nil {
			return fusefs.ToErrno(err)
		}
		to.changed(inode(info), buried, func() error {
			err := os.Rename(into, from)
			if buried != "" {
				err = errors.Join(err, os.Rename(buried, into))
			}
			return err
		})
		return 0
	})
}

// Setattr implements fs.NodeSetattrer: a size is content, the rest is not a matter here.
func (n *node) Setattr(ctx context.Context, f fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		errno := n.locked(false, func() syscall.Errno {
			if h, ok := f.(*handle); ok {
				return fusefs.ToErrno(h.content.truncate(int64(size)))
			}
			c, id, err := n.disk.open(n.path())
			if err == nil {
				err = c.truncate(int64(size))
				n.disk.release(c, id)
			}
			return fusefs.ToErrno(err)
		})
		if errno != 0 {
			return errno
		}
		in.Valid &^= fuse.FATTR_SIZE
	}
	if h, ok := f.(*handle); ok && in.Valid&(fuse.FATTR_MODE|fuse.FATTR_UID|fuse.FATTR_GID) == 0 {
		return h.Getattr(ctx, out) // it may have no name any more
	}
	return n.LoopbackNode.Setattr(ctx, nil, in, out)
}

// CopyFileRange implements fs.NodeCopyFileRanger: callers read and write instead.
func (n *node) CopyFileRange(context.Context, fusefs.FileHandle, uint64, *fusefs.Inode, fusefs.FileHandle, uint64, uint64, uint64) (uint32, syscall.Errno) {
	return 0, syscall.ENOSYS
}

// folder is one that is open.
type folder struct {
	fusefs.FileReaddirenter
	fusefs.FileSeekdirer
	fusefs.FileReleasedirer
	node *node
}

// OpendirHandle implements fs.NodeOpendirHandler.
func (n *node) OpendirHandle(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	list, errno := fusefs.NewLoopbackDirStream(n.path())
	if errno != 0 {
		return nil, 0, errno
	}
	return &folder{list.(fusefs.FileReaddirenter), list.(fusefs.FileSeekdirer), list.(fusefs.FileReleasedirer), n}, 0, 0
}

// Fsyncdir implements fs.FileFsyncdirer.
func (f *folder) Fsyncdir(context.Context, uint32) syscall.Errno {
	return f.node.locked(false, func() syscall.Errno {
		info, err := os.Lstat(f.node.path())
		if err == nil && !f.node.disk.lies {
			f.node.disk.commit(func(ch change) bool { return ch.folder == inode(info) })
		}
		return fusefs.ToErrno(err)
	})
}

// handle is a file that is open.
type handle struct {
	disk    *Disk
	content *content
	id      uint64
	path    string // it had when it was opened
}

// Read implements fs.FileReader.
func (h *handle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	h.disk.mu.Lock()
	dead := h.disk.dead
	h.disk.mu.Unlock()
	if dead {
		return nil, syscall.EIO
	}
	n, err := h.content.file.ReadAt(dest, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fusefs.ToErrno(err)
	}
	return fuse.ReadResultData(dest[:n]), 0
}

// Write implements fs.FileWriter.
func (h *handle) Write(_ context.Context, b []byte, off int64) (uint32, syscall.Errno) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	h.disk.counted()
	switch {
	case h.disk.dead:
		return 0, syscall.EIO
	case h.disk.full:
		return 0, syscall.ENOSPC
	}
	if err := h.content.touch(off, off+int64(len(b))); err != nil {
		return 0, fusefs.ToErrno(err)
	}
	n, err := h.content.file.WriteAt(b, off)
	return uint32(n), fusefs.ToErrno(err)
}

// Fsync implements fs.FileFsyncer.
func (h *handle) Fsync(context.Context, uint32) syscall.Errno {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	return h.disk.synced(h.content, h.id, h.path)
}

// Getattr implements fs.FileGetattrer.
func (h *handle) Getattr(_ context.Context, out *fuse.AttrOut) syscall.Errno {
	info, err := h.content.file.Stat()
	if err == nil {
		out.FromStat(info.Sys().(*syscall.Stat_t))
	}
	return fusefs.ToErrno(err)
}

// Flush implements fs.FileFlusher: closing a file syncs nothing.
func (h *handle) Flush(context.Context) syscall.Errno { return 0 }

// Release implements fs.FileReleaser.
func (h *handle) Release(context.Context) syscall.Errno {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if !h.disk.dead {
		h.disk.release(h.content, h.id)
	}
	return 0
}
