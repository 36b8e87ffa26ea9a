package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
)

// Badger panics where a table's index or block is damaged, forgets what is behind a damaged
// entry of a log, and deletes all tables when its manifest is missing. So its files are looked at before it
// sees them. A single bit that turned is put right: every part has a CRC-32C, which says which one it is.
// Where more is damaged, what is sound is kept, and the file as it was is put aside.

// mendingName is a file that is there from before the first file is replaced by what is sound of it
// until the store knows that content was lost.
const mendingName = "mending"

// mender looks at the files of a store that is not open.
type mender struct {
	s    *Store
	dir  string
	kept string // where the files go that are replaced; "": not made yet
	buf  []byte // of the file that is looked at
	// each is told the key of each entry of a log of values, with badger's time behind it, good until it returns; nil: nobody is.
	each func(key []byte)
	// readAt reads a log of values at a place. For tests; nil: its ReadAt.
	readAt func(b []byte, at int64) (int, error)
	// mapped is shown a log of values before it is looked at. For tests.
	mapped func(data []byte)
}

// mend makes the directory fit for badger. s.lossy is set when anything is gone.
func (s *Store) mend() error {
	m := &mender{s: s, dir: s.dir}
	if _, err := os.Stat(m.path(mendingName)); err == nil {
		s.lossy = true
	}
	if err := m.inUse(); err != nil {
		return err
	}
	left, err := m.files(mendingName+"-", "")
	if err != nil {
		return err
	}
	for _, name := range left { // of a start that was cut off
		if err := os.RemoveAll(m.path(name)); err != nil {
			return err
		}
	}
	if err := m.registry(); err != nil {
		return err
	}
	if err := m.tables(); err != nil {
		return err
	}
	logs, err := m.files("", ".mem")
	if err != nil {
		return err
	}
	for _, name := range logs {
		if err := m.log(name); err != nil {
			return err
		}
	}
	if logs, err = m.files("", ".vlog"); err != nil {
		return err
	}
	for _, name := range logs {
		if err := m.valueLog(name); err != nil {
			return err
		}
	}
	return m.allValues(logs)
}

func (m *mender) path(name string) string { return filepath.Join(m.dir, name) }

// files names what is in the directory, in order, by how the name begins and ends.
func (m *mender) files(prefix, suffix string) (names []string, err error) {
	there, err := os.ReadDir(m.dir)
	for _, f := range there {
		if name := f.Name(); strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix) {
			names = append(names, name)
		}
	}
	return names, err
}

// read gives a file, until the next is read.
func (m *mender) read(name string) ([]byte, error) {
	f, err := os.Open(m.path(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m.buf = slices.Grow(m.buf[:0], int(info.Size()))[:info.Size()]
	_, err = io.ReadFull(f, m.buf)
	return m.buf, err
}

// readSmall gives a file; nil where there is none.
func (m *mender) readSmall(name string) ([]byte, error) {
	data, err := os.ReadFile(m.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// correct writes the bits that were wrong in a file.
func (m *mender) correct(name string, data []byte, turned []int) error {
	if len(turned) == 0 {
		return nil
	}
	f, err := os.OpenFile(m.path(name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, bit := range turned {
		if _, err := f.WriteAt(data[bit/8:bit/8+1], int64(bit/8)); err != nil {
			return err
		}
	}
	m.s.damaged("a bit had turned in "+name+", and is right again: have the disk and the memory checked", "file", name, "byte", turned[0]/8, "bits", len(turned))
	return f.Sync()
}

// damaged tells of damage that was met at the start, for the log and for operators.
func (s *Store) damaged(words string, args ...any) {
	s.mended = append(s.mended, words)
	s.log.Error("store file is damaged: "+words, args...)
}

// losing notes that content goes, and puts the file aside that is to be replaced or removed.
func (m *mender) losing(name, words string) error {
	m.s.lossy = true
	if err := writeDurably(m.path(mendingName), nil); err != nil {
		return err
	}
	return m.aside(name, words)
}

// aside keeps the file as it is before it is replaced or removed, and tells.
func (m *mender) aside(name, words string) error {
	if m.kept == "" {
		m.kept = m.path("damaged-" + m.s.opts.Now().UTC().Format("20060102T150405Z"))
		if err := os.MkdirAll(m.kept, 0o700); err != nil {
			return err
		}
	}
	err := os.Link(m.path(name), filepath.Join(m.kept, name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		m.s.damaged(name+" "+words, "file", name)
	case err == nil || errors.Is(err, fs.ErrExist):
		m.s.damaged(name+" "+words+"; as it was it is in "+m.kept, "file", name)
	default:
		return err
	}
	return nil
}

// writeDurably puts a file in the place of what is there.
func writeDurably(path string, data []byte) error {
	if err := (disk{}).writeWhole(path+".new", data); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// registry removes the list of keys where it is damaged: nothing is encrypted, so that there are none.
func (m *mender) registry() error {
	const name, sanity, size = "KEYREGISTRY", "Hello Badger", 28
	data, err := m.readSmall(name)
	if data == nil || err != nil || len(data) == size && strings.HasSuffix(string(data), sanity) {
		return err
	}
	m.s.damaged("KEYREGISTRY says nothing that can be read; it is made again", "file", name)
	return os.Remove(m.path(name))
}

// tables looks at the manifest and at the tables that it names.
func (m *mender) tables() error {
	there := map[uint64]bool{}
	names, err := m.files("", ".sst")
	if err != nil {
		return err
	}
	for _, name := range names {
		if id, ok := table.ParseFileID(name); ok {
			there[id] = true
		}
	}
	data, err := m.readSmall(badgerManifest)
	if err != nil {
		return err
	}
	if data == nil && len(there) == 0 {
		return nil
	}
	is := &manifest{data: data}
	is.check()
	if is.newer {
		return fmt.Errorf("%w: the version in its %s is %d, this one knows %d", ErrNewer, badgerManifest, binary.BigEndian.Uint16(data[6:]), manifestVersion)
	}
	if is.broken {
		if err := m.losing(badgerManifest, "is missing or cannot be read: it is made again of the tables that are there"); err != nil {
			return err
		}
		is.tables = there
		data := slices.Concat(manifestMagic, manifestSet(slices.Collect(maps.Keys(there)), false))
		if err := writeDurably(m.path(badgerManifest), data); err != nil {
			return err
		}
		is.data, is.end, is.turned = data, len(data), nil
	}
	if err := m.correct(badgerManifest, is.data, is.turned); err != nil {
		return err
	}
	if err := m.tail(is, there); err != nil {
		return err
	}
	var gone []uint64
	named := slices.Sorted(maps.Keys(is.tables))
	sound := m.soundTables(named)
	for i, id := range named {
		if sound[i] {
			continue
		}
		kept, err := m.table(id, there[id])
		if err != nil {
			return err
		}
		if !kept {
			gone = append(gone, id)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return writeDurably(m.path(badgerManifest), slices.Concat(is.data[:is.end], manifestSet(gone, true)))
}

const badgerManifest = "MANIFEST"

// tail deals with a manifest that ends in the midst of a set, which badger drops, and then the
// tables that nobody names any more.
func (m *mender) tail(is *manifest, there map[uint64]bool) error {
	if is.end == len(is.data) {
		return nil
	}
	data := is.data[:is.end]
	var unnamed []uint64
	for id := range there {
		if !is.tables[id] {
			is.tables[id] = true
			unnamed = append(unnamed, id)
		}
	}
	if len(unnamed) > 0 {
		if err := m.losing(badgerManifest, "is cut off: the tables that it does not name are taken as they are"); err != nil {
			return err
		}
		data = slices.Concat(data, manifestSet(unnamed, false))
	}
	is.data, is.end = data, len(data)
	return writeDurably(m.path(badgerManifest), data)
}

// soundTables tells of each table whether it is there and nothing in it is wrong. It changes nothing, so
// that several are looked at at the same time.
func (m *mender) soundTables(ids []uint64) []bool {
	sound := make([]bool, len(ids))
	readers := make([]mender, Workers())
	share(len(ids), func(worker, i int) error { //nolint:errcheck // what cannot be read is looked at once more
		r := &readers[worker]
		r.dir = m.dir
		data, err := r.read(table.IDToFilename(ids[i]))
		if err == nil {
			f := &tableFile{data: data}
			f.check()
			sound[i] = f.lost == 0 && len(f.turned) == 0
		}
		return nil
	})
	return sound
}

// table looks at one; false when nothing is left of it.
func (m *mender) table(id uint64, there bool) (kept bool, err error) {
	name := table.IDToFilename(id)
	if !there {
		return false, m.losing(name, "is missing")
	}
	data, err := m.read(name)
	if err != nil {
		return false, err
	}
	f := &tableFile{data: data}
	f.check()
	if f.lost == 0 {
		return true, m.correct(name, f.data, f.turned)
	}
	if err := m.s.roomToOpen(int64(len(data))); err != nil {
		return false, err
	}
	records := f.records()
	words := fmt.Sprintf("is damaged: %d records of it can be read and are kept", len(records))
	if err := m.losing(name, words); err != nil || len(records) == 0 {
		return false, err
	}
	return true, m.rebuild(id, records)
}

// rebuild writes a table anew.
func (m *mender) rebuild(id uint64, records []record) error {
	dir, err := os.MkdirTemp(m.dir, mendingName+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o := m.s.badgerOptions()
	b := table.NewTableBuilder(table.Options{
		TableSize: uint64(o.BaseTableSize), BlockSize: o.BlockSize, BloomFalsePositive: o.BloomFalsePositive,
		ChkMode: o.ChecksumVerificationMode, Compression: options.None,
	})
	defer b.Close()
	for _, r := range records {
		if len(r.value) < 3 {
			continue
		}
		var v y.ValueStruct
		v.Decode(r.value)
		b.Add(r.key, v, 0)
	}
	path := table.NewFilename(id, dir)
	t, err := table.CreateTable(path, b)
	if err != nil {
		return err
	}
	if err := errors.Join(t.Close(-1), syncDir(dir)); err != nil {
		return err
	}
	if err := os.Rename(path, table.NewFilename(id, m.dir)); err != nil {
		return err
	}
	return syncDir(m.dir)
}

// log looks at the log of a memtable, which is replayed.
func (m *mender) log(name string) error {
	data, err := m.read(name)
	if err != nil {
		return err
	}
	f := &logFile{data: data, full: 2 * int(m.s.badgerOptions().MemTableSize)}
	f.check()
	if f.cut || len(f.lost) > 0 {
		if err := m.s.roomToOpen(int64(f.full)); err != nil {
			return err
		}
	}
	switch {
	case f.cut:
		if err := m.losing(name, "is cut off: changes that were acknowledged may be lost"); err != nil {
			return err
		}
	case len(f.lost) == 0:
		return m.correct(name, f.data, f.turned)
	default:
		if err := m.losing(name, fmt.Sprintf("is damaged: %d commits in it are lost", len(f.lost))); err != nil {
			return err
		}
	}
	return writeDurably(m.path(name), f.without())
}

// valueLog looks at the head of a log of large values. What is damaged behind it is found as it is read.
func (m *mender) valueLog(name string) error {
	f, err := os.OpenFile(m.path(name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var key [8]byte
	_, err = m.reader(f)(key[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		if lost, err := m.clearHead(f, name, err); err != nil || lost {
			return err
		}
		_, err = m.reader(f)(key[:], 0)
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil // cut to less than its head, which badger makes again
	case err != nil:
		return err
	case key == [8]byte{}:
		return nil
	}
	m.s.damaged(name+" named a key of encryption, which there is none of; it is right again", "file", name)
	if _, err := f.WriteAt(make([]byte, 8), 0); err != nil {
		return err
	}
	return f.Sync()
}

// reader reads a file, or what a test has it be.
func (m *mender) reader(f *os.File) func(b []byte, at int64) (int, error) {
	if m.readAt != nil {
		return m.readAt
	}
	return f.ReadAt
}

// clearHead makes the first page of a log of values, which the disk does not give, one that can be read. No zero is left where
// entries begin: it would be the end of the newest.
func (m *mender) clearHead(f *os.File, name string, cause error) (lost bool, err error) {
	if lost, err = m.clear(f, name, 0); err != nil || !lost {
		return lost, err
	}
	m.s.damaged(name+" cannot be read where it begins: what stood there is lost", "file", name, "error", cause)
	if _, err := f.WriteAt([]byte{0xff}, logHead); err != nil {
		return true, err
	}
	return true, f.Sync()
}

// logsThere tells of a store that was open when it ended, and has no log of a memtable with anything in it:
// badger makes one before the first write.
func (m *mender) logsThere() error {
	logs, err := m.files("", ".mem")
	if err != nil || len(logs) > 0 {
		return err
	}
	return m.losing("the newest log (.mem)", "is missing, or empty: changes that were acknowledged may be lost")
}

// inUse looks whether what the store was about when it ended left all the files there that it needs.
func (m *mender) inUse() error {
	text, err := m.readSmall(lockName)
	if err != nil {
		return err
	}
	state, holds := readState(string(text))
	if state == "" { // it is new, or lost: nobody knows of a file redo that is there
		_, err := os.Stat(m.path(redoName))
		holds = err == nil
	}
	if m.s.redoHolds = holds; holds {
		err = m.redoThere()
	}
	if err == nil && state == stateOpen {
		err = m.logsThere()
	}
	return err
}

// redoThere tells of a file redo that may hold what badger has not, and is not there as a whole.
func (m *mender) redoThere() error {
	info, err := os.Stat(m.path(redoName))
	if err == nil && info.Size() == redoSize {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil // whoever reads it says what is wrong
	}
	return m.losing(redoName, "is missing, or cut off: changes that were acknowledged may be lost")
}
