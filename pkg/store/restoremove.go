package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Directories below a store's, while a restored one takes its place, in this order.
const (
	restoreTemp  = "restore.part"    // being built: means nothing
	restoreWhole = "restore.whole"   // from here on the restore is decided; the old files go aside
	restoreIn    = "restore.in"      // they are aside; the new ones move in
	asidePart    = "replaced.part"   // what was there, until all is done
	asidePrefix  = "before-restore-" // and then, with the time (UTC)
)

// mover puts a restored store into its place. Each step can be done again, so that
// it may be interrupted anywhere.
type mover struct {
	dir    string
	lock   *os.File // of dir, held
	now    func() time.Time
	rename func(from, to string) error
}

// finish does what is left to do; aside is where a store that was there is now, ""
// if there was none or nothing was left.
func (m *mover) finish() (aside string, err error) {
	if err := os.RemoveAll(m.path(restoreTemp)); err != nil {
		return "", err
	}
	whole, err := there(m.path(restoreWhole))
	if err != nil {
		return "", err
	}
	if whole {
		if err := syncFile(m.dir); err != nil { // before anything that was there moves, it is decided for good
			return "", err
		}
		if err := m.putAside(); err != nil {
			return "", err
		}
	}
	in, err := there(m.path(restoreIn))
	if err != nil {
		return "", err
	}
	if in {
		if err := m.moveIn(); err != nil {
			return "", err
		}
	}
	old, err := there(m.path(asidePart))
	if err != nil || !old {
		return "", err
	}
	aside = m.path(asidePrefix + m.now().UTC().Format("20060102T150405.000000Z"))
	return aside, m.move(m.path(asidePart), aside, m.dir)
}

func (m *mover) path(name string) string { return filepath.Join(m.dir, name) }

func there(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// putAside moves the files of a store that is there aside.
func (m *mover) putAside() error {
	old, err := storeFiles(m.dir)
	if err != nil {
		return err
	}
	if len(old) > 0 {
		if err := os.Mkdir(m.path(asidePart), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for _, name := range old {
		if err := m.rename(m.path(name), filepath.Join(m.path(asidePart), name)); err != nil {
			return err
		}
	}
	if len(old) > 0 {
		if err := syncFile(m.path(asidePart)); err != nil {
			return err
		}
	}
	return m.move(m.path(restoreWhole), m.path(restoreIn), m.dir)
}

// moveIn moves the restored files in, which were closed as they should be, whatever was
// there before was not.
func (m *mover) moveIn() error {
	if err := say(m.lock, stateClosed); err != nil {
		return err
	}
	files, err := os.ReadDir(m.path(restoreIn))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := m.rename(filepath.Join(m.path(restoreIn), f.Name()), m.path(f.Name())); err != nil {
			return err
		}
	}
	if err := syncFile(m.dir); err != nil {
		return err
	}
	return os.Remove(m.path(restoreIn))
}

// move renames and has that on disk.
func (m *mover) move(from, to, parent string) error {
	if err := m.rename(from, to); err != nil {
		return err
	}
	return syncFile(parent)
}

// storeFiles names the files in a directory that are a store's: badger's, and what says
// that some of them are damaged.
func storeFiles(dir string) ([]string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		name := f.Name()
		switch {
		case slices.Contains([]string{".sst", ".vlog", ".mem"}, filepath.Ext(name)),
			slices.Contains([]string{"MANIFEST", "MANIFEST-REWRITE", "KEYREGISTRY", "REWRITE-KEYREGISTRY", "DISCARD", "LOCK", mendingName, redoName, secondName, hiddenName}, name):
			names = append(names, name)
		}
	}
	return names, nil
}

// finishRestore ends at Open what a restore that was killed has left.
func (s *Store) finishRestore() error {
	m := mover{dir: s.dir, lock: s.lock, now: s.opts.Now, rename: os.Rename}
	aside, err := m.finish()
	if err != nil {
		return fmt.Errorf("finish the restore: %w", err)
	}
	if aside == "" {
		return nil
	}
	if in, err := storeFiles(s.dir); err != nil {
		return fmt.Errorf("finish the restore: %w", err)
	} else if len(in) == 0 {
		s.damaged("a restore was cut off, and what it restored is gone; the store that was there before is in "+aside+": restore again, or stop Shaft and move its files back", "dir", aside)
		return nil
	}
	s.log.Warn("a restore that was cut off is finished", "dir", s.dir, "replaced", aside)
	return nil
}
