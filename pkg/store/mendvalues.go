package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fillerKind begins the key of an entry that is none: it stands where entries of a log of values were lost.
const fillerKind = 'x'

// allValues looks at the entries of the logs of values at a start, and tells of damage. Names are in order.
func (m *mender) allValues(names []string) error {
	lost, turned := make([]int, len(names)), make([]int, len(names))
	err := share(len(names), func(_, i int) (err error) {
		lost[i], turned[i], err = m.values(names[i], i == len(names)-1)
		return err
	})
	for i, name := range names {
		if turned[i] > 0 {
			m.s.damaged("a bit had turned in "+name+", and is right again: have the disk and the memory checked", "file", name, "bits", turned[i])
		}
		if lost[i] > 0 {
			m.s.damaged(fmt.Sprintf("%s is damaged in %d places: what stood there cannot be read, what is behind it can", name, lost[i]), "file", name)
		}
	}
	return err
}

// values makes the entries of a log of values sound for whoever reads them from end to end, as badger does with the newest
// when it is opened, which it cuts at the first one that is damaged, and with another before it removes it.
// A bit that turned is put right. What else is damaged, with a sound entry behind it, is given the checksum of
// what it is, or becomes an entry that means nothing: a value has a checksum of its own
// by which it is found as it is read. What is damaged at the end of the newest is what a crash left there.
func (m *mender) values(name string, newest bool) (lost, turned int, err error) {
	f, err := os.OpenFile(m.path(name), os.O_RDWR, 0)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	for range maxUnreadable {
		lost, turned, err = m.valuesOf(f, name, newest)
		var bad *unreadable
		if !errors.As(err, &bad) {
			return lost, turned, err
		}
		if _, err := m.clear(f, name, bad.at); err != nil {
			return 0, 0, err
		}
	}
	return 0, 0, fmt.Errorf("read %s: more than %d places cannot be read: %w", name, maxUnreadable, err)
}

// maxUnreadable is how many pages of a file of values the disk may fail to read before it is no use to go on.
const maxUnreadable = 64

// unreadable is a place in a file that is mapped which the disk gives no content for: whoever looks there gets a signal.
type unreadable struct{ at int64 }

func (u *unreadable) Error() string { return fmt.Sprintf("input/output error at byte %d", u.at) }

// clear reads the page with a place once more, since an error may be gone then, and writes zeros where it is not: a whole page,
// of a part the kernel would read the rest. It can be read then, and is found to be damage: badger would end the process
// there. Most disks take another sector for one that is written. lost tells that it was written over.
func (m *mender) clear(f *os.File, name string, at int64) (lost bool, err error) {
	page := make([]byte, os.Getpagesize())
	begin := at &^ int64(len(page)-1)
	_, cause := m.reader(f)(page, begin)
	if cause == nil || errors.Is(cause, io.EOF) {
		m.s.log.Warn("a place in a file of the store could not be read, and was when it was tried again: have the disk checked", "file", name, "byte", at)
		return false, nil
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, len(page)), begin)
	}
	if err == nil {
		err = f.Truncate(info.Size()) // where it ends within the page
	}
	if err != nil {
		return false, fmt.Errorf("read %s at byte %d: %w, and it cannot be written: %w", name, begin, cause, err)
	}
	m.s.log.Error("store file is damaged: the disk does not give a place in it; it is written over", "file", name, "byte", begin, "bytes", len(page), "error", cause)
	return true, f.Sync()
}

// noticed makes an error of the signal, for the goroutine that defers it and has asked for panics.
func noticed(data []byte, asked bool, err *error) {
	debug.SetPanicOnFault(asked)
	r := recover()
	if r == nil {
		return
	}
	if fault, ok := r.(interface{ Addr() uintptr }); ok {
		if at := fault.Addr() - uintptr(unsafe.Pointer(&data[0])); at < uintptr(len(data)) {
			*err = &unreadable{int64(at)}
			return
		}
	}
	panic(r)
}

func (m *mender) valuesOf(f *os.File, name string, newest bool) (lost, turned int, err error) {
	info, err := f.Stat()
	if err != nil || info.Size() <= logHead {
		return 0, 0, err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		return 0, 0, fmt.Errorf("map %s: %w", name, err)
	}
	defer unix.Munmap(data)
	if m.mapped != nil {
		m.mapped(data)
	}
	defer noticed(data, debug.SetPanicOnFault(true), &err)
	log := &logFile{data: data}
	if newest { // badger makes it larger than what is in it
		hole, err := f.Seek(logHead, unix.SEEK_HOLE)
		if err != nil {
			return 0, 0, fmt.Errorf("find the end of %s: %w", name, err)
		}
		log.data = data[:hole]
	}
	gaps := log.values(newest)
	for _, bit := range log.turned {
		if _, err := f.WriteAt(data[bit/8:bit/8+1], int64(bit/8)); err != nil {
			return 0, 0, err
		}
	}
	for _, g := range gaps {
		if g.to == len(log.data) {
			continue // nothing is behind it
		}
		log.fill(g)
		if _, err := f.WriteAt(data[g.from:min(g.from+maxEntryHead, g.to)], int64(g.from)); err != nil {
			return 0, 0, err
		}
		if _, err := f.WriteAt(data[g.to-crcLen:g.to], int64(g.to-crcLen)); err != nil {
			return 0, 0, err
		}
	}
	if m.each != nil {
		log.keys(m.each)
	}
	if len(gaps)+len(log.turned) == 0 {
		return 0, 0, nil
	}
	return len(gaps), len(log.turned), f.Sync()
}

// values reads the entries, puts bits right, and gives what is lost.
func (f *logFile) values(newest bool) (gaps []span) {
	for at := logHead; at < len(f.data) && !(newest && f.over(at)); {
		end, _, ok := f.sound(at)
		if !ok {
			end, ok = f.rightBefore(at)
		}
		if !ok {
			end = f.nextValue(at + leastValue)
			if end < 0 && newest {
				break
			} else if end < 0 {
				end = len(f.data)
			}
			gaps = append(gaps, span{at, end})
		}
		at = end
	}
	return gaps
}

// keys gives those of the entries of a log of values that is sound, or becomes so where it was filled.
func (f *logFile) keys(fn func(key []byte)) {
	for at := logHead; at < len(f.data); {
		end, _, ok := f.entryAt(at)
		if !ok {
			return
		}
		size, n := binary.Uvarint(f.data[at+2:])
		pos := at + 2 + n
		for range 2 { // the value's length, a time
			_, n := binary.Uvarint(f.data[pos:])
			pos += n
		}
		fn(f.data[pos : pos+int(size)])
		at = end
	}
}

// rightBefore puts a single bit right in the entry at a place if what follows it then is an entry too, or nothing:
// in a long one some bit or other would fit.
func (f *logFile) rightBefore(at int) (end int, ok bool) {
	n := len(f.turned)
	if !f.right(at) {
		return 0, false
	}
	end, _, _ = f.sound(at)
	if end < len(f.data) && !f.over(end) {
		_, _, ok = f.sound(end)
	} else {
		ok = true
	}
	if !ok {
		turn(f.data, f.turned[n])
		f.turned = f.turned[:n]
	}
	return end, ok
}

// nextValue gives the place of the first sound entry of a log of values from a place on; -1: there is none. It has no flags, and
// its key is one of the store's with badger's time behind it.
func (f *logFile) nextValue(at int) int {
	for ; at+leastValue <= len(f.data); at++ {
		if f.data[at] != 0 || f.data[at+1] != 0 {
			continue
		}
		klen, n := binary.Uvarint(f.data[at+2 : at+2+binary.MaxVarintLen16])
		if n <= 0 || klen <= 8 || klen > maxLogKey {
			continue
		}
		if _, _, ok := f.sound(at); ok {
			return at
		}
	}
	return -1
}

// leastValue is the least that an entry takes: flags, lengths, time, a key of a byte with badger's time, checksum.
const leastValue = 2 + 3 + 9 + crcLen

// fill makes one entry of a gap: the one that has its length, or one that means nothing.
func (f *logFile) fill(g span) {
	if end, _, ok := f.entryAt(g.from); !ok || end != g.to {
		f.head(g)
	} else {
		f.data[g.from] &^= txnPart | txnEnd // which a log of values has none of
	}
	binary.BigEndian.PutUint32(f.data[g.to-crcLen:], crcOf(f.data[g.from:g.to-crcLen]))
}

// head begins an entry that fills a gap. The length of a value takes a byte more from some lengths on, so that
// there are gaps which fit with a key of one or the other length only.
func (f *logFile) head(g span) {
	for klen := 9; ; klen++ {
		for size := 1; size <= binary.MaxVarintLen32; size++ {
			value := g.to - g.from - 2 - 1 - size - 1 - klen - crcLen
			if value < 0 || len(binary.AppendUvarint(nil, uint64(value))) != size {
				continue
			}
			b := append(f.data[g.from:g.from:g.to], 0, 0, byte(klen))
			b = append(binary.AppendUvarint(b, uint64(value)), 0, fillerKind)
			clear(f.data[g.from+len(b):][:klen-1])
			return
		}
	}
}
