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
	u.Changes = int64(s.meta.logCount)
	s.mu.Unlock()
	if u.Space, err = s.opts.Space(); err != nil {
		return u, err
	}
	u.Reserve, u.Full = s.reserve(u.Total), s.judge(u.Space) != nil
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
			u.Size += sys.Blocks * 512 // what stat counts in, whatever the file system's own blocks are
		}
	}
	return u, nil
}
