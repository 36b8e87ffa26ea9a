package engine

import (
	"errors"
	"io"
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

// copySparse copies the files of a directory, and leaves the holes in them holes: a
// store's logs are allocated ahead and hold little. After an error nothing is left.
func copySparse(from, to string) (err error) {
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
	// What is copied later of a store that is being written has all commits before the one in this file, as
	// after a crash, and the file is not ahead by more than that one.
	if i := slices.IndexFunc(files, func(f os.DirEntry) bool { return f.Name() == "redo" }); i > 0 {
		files = slices.Concat(files[i:i+1], files[:i], files[i+1:])
	}
	for _, f := range files {
		if err := copyFile(filepath.Join(from, f.Name()), filepath.Join(to, f.Name())); err != nil {
			return err
		}
	}
	return nil
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
