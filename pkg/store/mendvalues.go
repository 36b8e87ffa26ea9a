package store

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// newestValues looks at the entries of the newest log of large values, which badger cuts at the first one that
// is damaged. A bit that turned is put right. What else is damaged, with a sound entry behind it, is given
// the checksum of what it is: a value has one of its own by which it is found as it is read, and those
// behind it stay.
func (m *mender) newestValues(name string) error {
	f, err := os.OpenFile(m.path(name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() <= logHead {
		return err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("map %s: %w", name, err)
	}
	defer unix.Munmap(data)
	log := &logFile{data: data}
	lost := log.values()
	if err := m.correct(name, data, log.turned); err != nil || len(lost) == 0 {
		return err
	}
	for _, l := range lost {
		if _, err := f.WriteAt(data[l.from:l.from+1], int64(l.from)); err != nil {
			return err
		}
		if _, err := f.WriteAt(data[l.to-4:l.to], int64(l.to-4)); err != nil {
			return err
		}
	}
	m.s.damaged(fmt.Sprintf("%s is damaged: %d large values in it cannot be read, those behind them can", name, len(lost)), "file", name)
	return f.Sync()
}

// values puts the entries of a log of large values right as far as badger has to read over them, and gives those that are lost.
func (f *logFile) values() (lost []span) {
	var doubt []span
	for at := logHead; at < len(f.data) && !f.over(at); {
		end, _, ok := f.sound(at)
		switch {
		case ok:
			lost, doubt = append(lost, doubt...), nil
		case f.right(at):
			continue
		default:
			if end, _, ok = f.entryAt(at); !ok { // where the next begins nobody knows
				end = len(f.data)
			} else {
				doubt = append(doubt, span{at, end})
			}
		}
		at = end
	}
	for _, l := range lost {
		f.data[l.from] &^= txnPart | txnEnd // which a log of values has none of
		binary.BigEndian.PutUint32(f.data[l.to-4:], crcOf(f.data[l.from:l.to-4]))
	}
	return lost
}
