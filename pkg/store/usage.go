package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Usage is how much room the store takes, in bytes, and how much there is.
type Usage struct {
	Size       uint64 // of its files, as the disk has them: holes take nothing
	Free       uint64 // of the file system, for whoever is not root
	FileSystem uint64 // all of it
	Changes    uint64 // in the change log, a number
}

// Usage looks at the directory; anyone may ask.
func (s *Store) Usage() (u Usage, err error) {
	s.mu.Lock()
	u.Changes = s.meta.logCount
	s.mu.Unlock()
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return u, fmt.Errorf("room for store %s: %w", s.dir, err)
	}
	u.Free, u.FileSystem = st.Bavail*uint64(st.Bsize), st.Blocks*uint64(st.Bsize)
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return u, fmt.Errorf("size of store %s: %w", s.dir, err)
	}
	for _, f := range files {
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // swept meanwhile
		}
		if err != nil {
			return u, fmt.Errorf("size of store %s: %w", s.dir, err)
		}
		if sys, ok := info.Sys().(*syscall.Stat_t); ok {
			u.Size += uint64(sys.Blocks) * 512
		}
	}
	return u, nil
}
