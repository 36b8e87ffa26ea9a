package store

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4/table"
	"golang.org/x/sys/unix"
)

// Rest lets go of the pages of tables and of the value log that a start or a refresh has read or written: they stay in the kernel's
// cache, and are mapped again as somebody reads them, but count no longer as memory of the process. It may be
// called at any time.
func (s *Store) Rest() error { return s.rest(false) }

// restBesides is Rest for whoever writes to the store, and has nothing on its way. If nobody else has, pages
// of the file of values go too that is being written: some 60 MiB at the end of it. Badger maps it elsewhere only as it writes.
func (s *Store) restBesides() error {
	if !s.writeMu.TryLock() {
		return s.rest(false)
	}
	defer s.writeMu.Unlock()
	if !s.staging.TryLock() {
		return s.rest(false)
	}
	defer s.staging.Unlock()
	return s.rest(true)
}

// rest lets go of pages; idle: nobody writes meanwhile.
func (s *Store) rest(idle bool) error {
	v, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release(v)
	before := s.tableNames()
	it := newIterator(v.txn, nil)
	defer it.Close() // until then it keeps the tables and files of values that are there mapped
	held := map[string]bool{}
	for name := range s.tableNames() {
		held[name] = before[name] // one that is there before and after was there as it began
	}
	if err := s.holdValues(held, idle); err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer maps.Close()
	dir, err := filepath.EvalSymlinks(s.dir)
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		m, ok := parseMapping(lines.Text())
		if !ok || filepath.Dir(m.path) != dir || !held[filepath.Base(m.path)] {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("let go of %s: %w", m.path, errno)
		}
	}
	return lines.Err()
}

// holdValues adds the files of values that are not written to any more, or not now, nor were about to be removed as an iterator began.
func (s *Store) holdValues(held map[string]bool, idle bool) error {
	names, err := (&mender{dir: s.dir}).files("", ".vlog")
	if err != nil || len(names) == 0 {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !idle {
		names = names[:len(names)-1]
	}
	for _, name := range names {
		held[name] = !s.rewritten[name]
	}
	return nil
}

// tableNames are those of the files of all tables in use.
func (s *Store) tableNames() map[string]bool {
	names := map[string]bool{}
	for _, t := range s.db.Tables() {
		names[table.IDToFilename(t.ID)] = true
	}
	return names
}

// mapping is a file's in this process.
type mapping struct {
	from, to uintptr
	path     string
}

// parseMapping reads a line of /proc/self/maps (proc_pid_maps(5)); false for what is no file's, or shared
// with no file.
func parseMapping(line string) (m mapping, ok bool) {
	// 7f1c-7f2c rw-s 00000000 fe:00 123   /var/lib/shaft/000001.sst
	const columns = 5
	rest := line
	var fields [columns]string
	for i := range fields {
		fields[i], rest, ok = strings.Cut(strings.TrimLeft(rest, " "), " ")
		if !ok {
			return m, false
		}
	}
	m.path = strings.TrimLeft(rest, " ")
	from, to, ok := strings.Cut(fields[0], "-")
	if !ok || !strings.HasPrefix(m.path, "/") || !strings.HasSuffix(fields[1], "s") {
		return m, false
	}
	a, err := strconv.ParseUint(from, 16, 64)
	if err != nil {
		return m, false
	}
	b, err := strconv.ParseUint(to, 16, 64)
	if err != nil || b <= a {
		return m, false
	}
	m.from, m.to = uintptr(a), uintptr(b)
	return m, true
}
