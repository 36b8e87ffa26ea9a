package store

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"strconv"
	"time"
)

// A backup is a line that names the form and its version, and pieces:
//
//	kind (1) length (4) payload CRC-32C (4), of the piece's number, kind, length and payload
//
// The first is the header, as JSON; the last is the trailer. Those between hold
// records as they are stored: uvarint and key, uvarint and sealed value.
const (
	backupForm    = "shaft backup "
	backupVersion = 1

	pieceHeader  = 'h'
	pieceRecords = 'r'
	pieceTrailer = 't'

	// pieceSize is what a piece gathers: little to hold, and little to read twice.
	pieceSize = 256 << 10
	// maxPiece is a piece with one record of the largest value.
	maxPiece = pieceSize + MaxValue + 1<<10
	// maxHeader is plenty for texts that are short, and a base DN that is not.
	maxHeader = 1 << 20
)

// ErrBackup marks a backup that is damaged, cut off, or none. The error says where.
var ErrBackup = errors.New("the backup is not whole")

// BackupHeader is what a backup says of itself at its begin.
type BackupHeader struct {
	Version    string    `json:"version"` // of the Shaft that made it
	Time       time.Time `json:"time"`
	Instance   string    `json:"instance"`
	BaseDN     string    `json:"base_dn"`
	ContextCSN string    `json:"context_csn"` // "" before the first change
}

// backupEnd is what the trailer says.
type backupEnd struct {
	records uint64
	leftOut uint64
	sum     [sha256.Size]byte // SHA-256 of all that is before the trailer
}

func (e *backupEnd) encode() []byte {
	dst := binary.BigEndian.AppendUint64(nil, e.records)
	dst = binary.BigEndian.AppendUint64(dst, e.leftOut)
	return append(dst, e.sum[:]...)
}

// pieceWriter writes a backup. Each write of its own is one piece.
type pieceWriter struct {
	w       io.Writer
	sum     hash.Hash
	number  uint64
	written int64
	buf     []byte // records that wait
	end     backupEnd
}

func newPieceWriter(w io.Writer, h BackupHeader) (*pieceWriter, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	p := &pieceWriter{w: w, sum: sha256.New()}
	if err := p.write([]byte(backupForm + strconv.Itoa(backupVersion) + "\n")); err != nil {
		return nil, err
	}
	return p, p.piece(pieceHeader, text)
}

func (p *pieceWriter) write(b []byte) error {
	n, err := p.w.Write(b)
	p.sum.Write(b)
	p.written += int64(n)
	return err
}

func (p *pieceWriter) piece(kind byte, payload []byte) error {
	b := make([]byte, 0, 1+4+len(payload)+crcLen)
	b = binary.BigEndian.AppendUint32(append(b, kind), uint32(len(payload)))
	b = append(b, payload...)
	b = binary.BigEndian.AppendUint32(b, pieceSum(p.number, b))
	p.number++
	return p.write(b)
}

// pieceSum is a piece's checksum: of its number, too, so that none can be missing.
func pieceSum(number uint64, b []byte) uint32 {
	at := binary.BigEndian.AppendUint64(nil, number)
	return crc32.Update(crc32.Update(0, castagnoli, at), castagnoli, b)
}

// record adds a record; key and stored are copied.
func (p *pieceWriter) record(key, stored []byte) error {
	if len(p.buf) > 0 && len(p.buf)+len(key)+len(stored) > pieceSize {
		if err := p.flush(); err != nil {
			return err
		}
	}
	p.buf = append(binary.AppendUvarint(p.buf, uint64(len(key))), key...)
	p.buf = append(binary.AppendUvarint(p.buf, uint64(len(stored))), stored...)
	p.end.records++
	return nil
}

func (p *pieceWriter) flush() error {
	if len(p.buf) == 0 {
		return nil
	}
	err := p.piece(pieceRecords, p.buf)
	p.buf = p.buf[:0]
	if cap(p.buf) > 2*pieceSize {
		p.buf = nil
	}
	return err
}

func (p *pieceWriter) finish() error {
	if err := p.flush(); err != nil {
		return err
	}
	p.sum.Sum(p.end.sum[:0])
	return p.piece(pieceTrailer, p.end.encode())
}

// pieceReader reads a backup and refuses whatever is not as it was written.
type pieceReader struct {
	r      *bufio.Reader
	sum    hash.Hash
	number uint64
	at     int64 // bytes read
	end    backupEnd
}

func newPieceReader(r io.Reader) *pieceReader {
	return &pieceReader{r: bufio.NewReader(r), sum: sha256.New()}
}

// readBackup gives the header, then each record, in the order of the backup;
// key and stored are good until record returns. Only where it ends without an error
// was everything as it was written.
func readBackup(r io.Reader, header func(BackupHeader) error, record func(key, stored []byte) error) (backupEnd, error) {
	p := newPieceReader(r)
	if err := p.form(); err != nil {
		return p.end, err
	}
	for {
		begin, before := p.at, p.sum.Sum(nil)
		kind, payload, err := p.piece()
		if err == nil {
			switch {
			case p.number == 1 && kind == pieceHeader:
				var h BackupHeader
				if err = json.Unmarshal(payload, &h); err == nil {
					err = header(h)
				}
			case p.number > 1 && kind == pieceRecords:
				err = p.records(payload, record)
			case p.number > 1 && kind == pieceTrailer:
				return p.end, placed(p.trailer(payload, before), p.number, begin)
			default:
				err = fmt.Errorf("a piece of kind %q is not expected: %w", kind, ErrBackup)
			}
		}
		if err != nil {
			return p.end, placed(err, p.number, begin)
		}
	}
}

// placed says where a backup is not whole; other errors stay as they are.
func placed(err error, number uint64, begin int64) error {
	if errors.Is(err, ErrBackup) {
		return fmt.Errorf("piece %d, from byte %d on: %w", number, begin, err)
	}
	return err
}

// form reads the first line.
func (p *pieceReader) form() error {
	const longest = len(backupForm) + 10
	var line []byte
	for len(line) < longest && !bytes.HasSuffix(line, []byte("\n")) {
		b, err := p.r.ReadByte()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		line = append(line, b)
	}
	p.sum.Write(line)
	p.at = int64(len(line))
	rest, ok := bytes.CutPrefix(line, []byte(backupForm))
	text, whole := bytes.CutSuffix(rest, []byte("\n"))
	version, err := strconv.ParseUint(string(text), 10, 32)
	switch {
	case !ok || !whole || err != nil || version == 0 || text[0] < '1':
		return fmt.Errorf("it does not begin with %q and a number: %w", backupForm, ErrBackup)
	case version > backupVersion:
		return fmt.Errorf("a backup of form %d, this Shaft knows %d: %w", version, backupVersion, ErrNewer)
	}
	return nil
}

// piece reads the next one and checks it.
func (p *pieceReader) piece() (kind byte, payload []byte, err error) {
	number := p.number
	p.number++
	head, err := p.read(nil, 1+4)
	if err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > maxPiece || head[0] == pieceHeader && size > maxHeader {
		return 0, nil, fmt.Errorf("a piece of %d bytes: %w", size, ErrBackup)
	}
	b, err := p.read(head, int64(size)+crcLen)
	if err != nil {
		return 0, nil, err
	}
	end := len(b) - crcLen
	if binary.BigEndian.Uint32(b[end:]) != pieceSum(number, b[:end]) {
		return 0, nil, fmt.Errorf("its checksum is wrong: %w", ErrBackup)
	}
	p.sum.Write(b)
	return b[0], b[1+4 : end], nil
}

// read appends n bytes; no more is allocated than there is to read.
func (p *pieceReader) read(dst []byte, n int64) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	got, err := io.CopyN(buf, p.r, n)
	p.at += got
	if err == io.EOF {
		err = fmt.Errorf("it ends at byte %d: %w", p.at, ErrBackup)
	}
	return buf.Bytes(), err
}

func (p *pieceReader) records(payload []byte, record func(key, stored []byte) error) error {
	field := func() ([]byte, bool) {
		n, used := binary.Uvarint(payload)
		if used <= 0 || n > uint64(len(payload)-used) {
			return nil, false
		}
		out := payload[used : used+int(n)]
		payload = payload[used+int(n):]
		return out, true
	}
	for len(payload) > 0 {
		key, ok := field()
		stored, whole := field()
		if !ok || !whole {
			return fmt.Errorf("a record is cut off: %w", ErrBackup)
		}
		p.end.records++
		if err := record(key, stored); err != nil {
			return err
		}
	}
	return nil
}

func (p *pieceReader) trailer(payload, before []byte) error {
	p.end.sum = [sha256.Size]byte(before)
	if len(payload) == len(p.end.encode()) {
		p.end.leftOut = binary.BigEndian.Uint64(payload[8:])
	}
	if !bytes.Equal(payload, p.end.encode()) {
		return fmt.Errorf("the trailer speaks of other records: %w", ErrBackup)
	}
	if _, err := p.r.ReadByte(); err == nil {
		return fmt.Errorf("something follows the trailer: %w", ErrBackup)
	} else if err != io.EOF {
		return err
	}
	return nil
}
