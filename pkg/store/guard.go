package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// lockName is held for as long as the store is open. Badger locks the
// directory too, but only after files were looked at. It says what the store is about, so that
// files that are missing at the next start are noticed.
const lockName = "shaft.lock"

// What lockName says, in its first line: the state, and behind it redoMark where the file redo may hold
// acknowledged commits that badger has not. The mark is there in any state: a start that fails, or badger that takes no more,
// leaves such commits behind too.
const (
	stateOpen    = "open"               // there is a log
	stateBetween = "opening or closing" // there may be none
	stateClosed  = "closed"
	redoMark     = ", redo"
)

// saying is how the step begins that says a state.
const saying = "say "

// say writes what the store is about.
func (s *Store) say(state string) error {
	if s.redoHolds {
		state += redoMark
	}
	if err := s.opts.disk.step(saying+state+" in", lockName); err != nil {
		return err
	}
	return say(s.lock, state)
}

// say has the new state there before the old one goes: a kill leaves one of them in the first line.
func say(lock *os.File, state string) error {
	state += "\n"
	if _, err := lock.WriteAt([]byte(state), 0); err != nil {
		return err
	}
	if err := lock.Truncate(int64(len(state))); err != nil {
		return err
	}
	return lock.Sync()
}

// readState gives what was said last; nothing of a file that is new.
func readState(text string) (state string, redoHolds bool) {
	line, _, _ := strings.Cut(text, "\n")
	return strings.CutSuffix(line, redoMark)
}

// ballastName is a file whose room is given back when the disk is full.
const ballastName = "ballast"

// lockDir creates dir if need be and takes its lock.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrLocked
	} else if err != nil {
		err = fmt.Errorf("lock %s: %w", lockName, err)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// removeEmptyLogs takes away logs of 0 bytes, which a kill between creating
// and sizing a file leaves and badger refuses to open. Nothing was in them.
func removeEmptyLogs(dir string) (removed []string, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if ext := filepath.Ext(f.Name()); ext != ".mem" && ext != ".vlog" {
			continue
		}
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return removed, err
		}
		if !info.Mode().IsRegular() || info.Size() != 0 {
			continue
		}
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
			return removed, err
		}
		removed = append(removed, f.Name())
	}
	return removed, nil
}

// badgerLog passes badger's messages to slog. What badger calls information is
// its inner life, so debug here; its debug messages are not formatted at all.
type badgerLog struct{ s *Store }

func (l badgerLog) text(format string, args []any) string {
	return strings.TrimSpace(fmt.Sprintf(format, args...))
}

func (l badgerLog) Errorf(format string, args ...any) {
	switch {
	case strings.HasPrefix(format, syncFailed): // which badger does not tell to whom it commits for
		l.s.fail(fmt.Errorf("sync value log: %v", args...))
	case strings.HasPrefix(format, "Unable to read: Key"), strings.HasPrefix(format, "Key: %v, Version"):
		l.s.log.Debug("badger", "text", l.text(format, args)) // for each value that a damaged file has lost; whoever reads it tells
		return
	}
	l.s.log.Error("badger", "text", l.text(format, args))
}

// syncFailed begins badger's message when what it has just written to the value log may not be on disk. It is made on the
// goroutine that writes, before the commit is told to be done.
const syncFailed = "Error while curlf sync"

func (l badgerLog) Warningf(format string, args ...any) {
	l.s.log.Warn("badger", "text", l.text(format, args))
}

func (l badgerLog) Infof(format string, args ...any) {
	if format == rewriting {
		l.s.beforeRewrite(args)
	}
	l.s.log.Debug("badger", "text", l.text(format, args))
}

func (l badgerLog) Debugf(string, ...any) {}
