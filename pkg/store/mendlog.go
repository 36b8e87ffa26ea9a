package store

import (
	"bytes"
	"encoding/binary"
)

// A log of badger's, of a memtable or of large values, is a head of 20 bytes, the first 8 of which
// name an encryption key (0), and entries: two bytes of flags, the lengths of key and
// value and a time as varints, key, value, and a CRC-32C of all of it. Zeros follow. In a memtable's log a
// transaction ends with an entry of a key of its own.
const (
	logHead      = 20
	maxEntryHead = 2 + 2*binary.MaxVarintLen32 + binary.MaxVarintLen64
	maxLogKey    = 1 << 16
	txnEnd       = 1 << 7 // flag of that entry
	txnPart      = 1 << 6 // flag of the entries before it
)

var txnKey = []byte("!badger!txn")

// logFile is one that nobody vouches for.
type logFile struct {
	data   []byte
	full   int    // its size as badger makes it, before it is cut to what is in it
	turned []int  // bits that were wrong, and are right now
	lost   []span // of a memtable's log: transactions that are damaged, with sound ones behind them
	cut    bool   // it ends in the midst of something, which badger does not do to its logs
}

// entryAt reads the entry at a place as far as its lengths make sense.
func (f *logFile) entryAt(at int) (end int, flags byte, ok bool) {
	rest := f.data[at:]
	if len(rest) < 2+3+4 {
		return 0, 0, false
	}
	pos := 2
	var n [3]uint64
	for i := range n {
		v, size := binary.Uvarint(rest[pos:min(len(rest), maxEntryHead)])
		if size <= 0 {
			return 0, 0, false
		}
		n[i] = v
		pos += size
	}
	if n[0] == 0 || n[0] > maxLogKey || n[1] > uint64(len(rest)) || uint64(pos)+n[0]+n[1]+4 > uint64(len(rest)) {
		return 0, 0, false
	}
	return at + pos + int(n[0]+n[1]) + 4, rest[0], true
}

// sound reads the entry at a place if its checksum is right.
func (f *logFile) sound(at int) (end int, flags byte, ok bool) {
	end, flags, ok = f.entryAt(at)
	if ok {
		ok = crcOf(f.data[at:end-4]) == binary.BigEndian.Uint32(f.data[end-4:])
	}
	return end, flags, ok
}

// right puts a single bit right in the entry at a place; false if that is not what is wrong.
func (f *logFile) right(at int) bool {
	if end, _, ok := f.entryAt(at); ok {
		want := binary.BigEndian.Uint32(f.data[end-4:])
		if bit, ok := flipped(f.data[at:end-4], want); ok {
			turn(f.data, 8*at+bit)
			if _, _, ok := f.sound(at); ok {
				f.turned = append(f.turned, 8*at+bit)
				return true
			}
			turn(f.data, 8*at+bit)
		}
		is := crcOf(f.data[at : end-4])
		if wrong := is ^ want; wrong&(wrong-1) == 0 {
			for bit := range 32 {
				if wrong == 1<<bit {
					bit = 8*(end-1-bit/8) + bit%8
					turn(f.data, bit)
					f.turned = append(f.turned, bit)
					return true
				}
			}
		}
	}
	for bit := 8 * at; bit < 8*min(at+maxEntryHead, len(f.data)); bit++ { // of the lengths
		turn(f.data, bit)
		if _, _, ok := f.sound(at); ok {
			f.turned = append(f.turned, bit)
			return true
		}
		turn(f.data, bit)
	}
	return false
}

// check walks the entries. Behind one that cannot be put right it goes on after the next end of a
// transaction; where there is none, what is there is what a crash left, and no loss.
func (f *logFile) check() {
	if len(f.data) < logHead {
		f.cut = true
		return
	}
	for bit := range 64 {
		if f.data[bit/8]>>(bit%8)&1 != 0 {
			turn(f.data, bit)
			f.turned = append(f.turned, bit)
		}
	}
	at, begun := logHead, logHead
	for at < len(f.data) {
		end, flags, ok := f.sound(at)
		if !ok && !f.over(at) && f.right(at) {
			continue
		}
		if !ok {
			if end = f.nextTxn(at); end == 0 {
				f.cut = len(f.data) < f.full
				return
			}
			f.lost = append(f.lost, span{begun, end})
			begun = end
		}
		if at = end; flags&txnPart == 0 {
			begun = at
		}
	}
	f.cut = begun < at
}

// over tells whether nothing was ever written at a place.
func (f *logFile) over(at int) bool {
	next := f.data[at:min(at+maxEntryHead, len(f.data))]
	return len(bytes.Trim(next, "\x00")) == 0
}

// nextTxn gives the end of the first sound end of a transaction behind a place; 0: there is none.
func (f *logFile) nextTxn(at int) int {
	const head = 2 + 3 // its lengths take a byte each
	for from := at; ; {
		i := bytes.Index(f.data[from:], txnKey)
		if i < 0 {
			return 0
		}
		from += i
		if start := from - head; start > at {
			if end, flags, ok := f.sound(start); ok && flags&txnEnd != 0 {
				return end
			}
		}
		from++
	}
}

// without is the file with what is lost left out, in its full size.
func (f *logFile) without() []byte {
	out, from := []byte(nil), 0
	for _, l := range f.lost {
		out = append(out, f.data[from:l.from]...)
		from = l.to
	}
	out = append(out, f.data[from:]...)
	return append(out, make([]byte, max(f.full-len(out), 0))...)
}
