package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Usage is how much room the store takes, and how much there is.
type Usage struct {
	Space
	Size    int64 // of its files in bytes, as the disk has them: holes take nothing, the ballast does
	Reserve int64 // bytes that are kept free: below it content is refused
	Full    bool  // it is
	Changes int64 // in the change log
}

// Usage looks at the disk; anyone may ask.
func (s *Store) Usage() (u Usage, err error) {
	s.mu.Lock()
	s.catchUp()
	u.Changes = int64(s.meta.logCount)
	s.mu.Unlock()
	if u.Space, err = s.opts.Space(); err != nil {
		return u, err
	}
	u.Reserve, u.Full = s.reserve(u.Total), s.judge(u.Space) != nil
	u.Size, err = sizeOf(s.dir, func(string) bool { return true })
	return u, err
}

// sizeOf sums the files of a store as the disk has them.
func sizeOf(dir string, counts func(name string) bool) (size int64, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("size of store %s: %w", dir, err)
	}
	for _, f := range files {
		if !counts(f.Name()) {
			continue
		}
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // swept meanwhile
		}
		if err != nil {
			return 0, fmt.Errorf("size of store %s: %w", dir, err)
		}
		size += onDisk(info)
	}
	return size, nil
}

// onDisk is what a file takes: holes take nothing.
func onDisk(info fs.FileInfo) int64 {
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		return sys.Blocks * 512 // what stat counts in, whatever the file system's own blocks are
	}
	return info.Size()
}
