package engine

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// What lseek(2) looks for: the next data, and the next hole.
const (
	seekData = 3
	seekHole = 4
)

// errChanged says that a store got or lost a table while it was copied: what its manifest names is not of that
// moment, which no crash leaves.
var errChanged = errors.New("a table came or went meanwhile")

// copySparse copies the files of a store, and leaves the holes in them holes: its
// logs are allocated ahead and hold little. After an error nothing is left.
func copySparse(from, to string) (err error) {
	for range copyTries {
		if err = copyOnce(from, to); !errors.Is(err, errChanged) {
			break
		}
	}
	return err
}

// copyTries is more than the tables that a small store gets in a row.
const copyTries = 100

// copyOnce is copySparse, or errChanged.
func copyOnce(from, to string) (err error) {
	before, err := os.ReadFile(filepath.Join(from, "MANIFEST"))
	if err != nil {
		return err
	}
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(to))
		}
	}()
	// What is copied later of a store that is being written has all commits before the last in these files, as
	// after a crash, and they are not ahead by more than that one.
	for _, name := range []string{"redo", "records"} {
		if i := slices.IndexFunc(files, func(f os.DirEntry) bool { return f.Name() == name }); i > 0 {
			files = slices.Concat(files[i:i+1], files[:i], files[i+1:])
		}
	}
	files = slices.DeleteFunc(files, func(f os.DirEntry) bool { return filepath.Ext(f.Name()) == ".new" }) // may be renamed at any time
	for _, f := range files {
		err := copyFile(filepath.Join(from, f.Name()), filepath.Join(to, f.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			return errChanged
		}
		if err != nil {
			return err
		}
	}
	after, err := os.ReadFile(filepath.Join(from, "MANIFEST"))
	if err == nil && !bytes.Equal(after, before) {
		err = errChanged
	}
	return err
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	for at := int64(0); ; {
		begin, err := in.Seek(at, seekData)
		if errors.Is(err, syscall.ENXIO) { // a hole to the end
			break
		}
		if err != nil {
			return err
		}
		if at, err = in.Seek(begin, seekHole); err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(out, begin), io.NewSectionReader(in, begin, at-begin)); err != nil {
			return err
		}
	}
	info, err := in.Stat()
	if err != nil {
		return err
	}
	return out.Truncate(info.Size())
}
