package store

import (
	"errors"
	"os"
	"path/filepath"
)

// disk is the way by which a store changes the files redo and records, and says in shaft.lock what it is about.
type disk struct {
	// failing is asked before each step, which is named after the file; its error is taken for the file system's. For
	// tests; nil: the file system has the word alone.
	failing func(step string) error
}

func (d disk) step(what, path string) error {
	if d.failing == nil {
		return nil
	}
	return d.failing(what + " " + filepath.Base(path))
}

// write appends; where it fails in a test half of it is written.
func (d disk) write(f *os.File, b []byte) error {
	err := d.step("write", f.Name())
	if err != nil {
		b = b[:len(b)/2]
	}
	if _, failed := f.Write(b); failed != nil {
		return failed
	}
	return err
}

// writeWhole makes a file.
func (d disk) writeWhole(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(d.write(f, content), d.sync(f), f.Close())
}

// writeAt is write at a place; it tells how much is written.
func (d disk) writeAt(f *os.File, b []byte, at int64) (int, error) {
	err := d.step("write", f.Name())
	if err != nil {
		b = b[:len(b)/2]
	}
	n, failed := f.WriteAt(b, at)
	if failed != nil {
		return n, failed
	}
	return n, err
}

func (d disk) truncate(f *os.File, size int64) error {
	if err := d.step("truncate", f.Name()); err != nil {
		return err
	}
	return f.Truncate(size)
}

func (d disk) sync(f *os.File) error {
	if err := d.step("sync", f.Name()); err != nil {
		return err
	}
	return f.Sync()
}

func (d disk) rename(from, to string) error {
	if err := d.step("rename to", to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

func (d disk) remove(path string) error {
	if err := d.step("remove", path); err != nil {
		return err
	}
	return os.Remove(path)
}

// syncDir makes what was created, renamed and removed in a directory durable.
func (d disk) syncDir(dir string) error {
	if err := d.step("sync directory of", dir); err != nil {
		return err
	}
	return syncDir(dir)
}
