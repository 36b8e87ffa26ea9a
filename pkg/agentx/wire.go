package agentx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/posteo/go-agentx/pdu"
)

const (
	// maxPayload bounds a message from the SNMP agent, in bytes: some thousand
	// OIDs, far beyond what fits into an SNMP packet.
	maxPayload = 256 << 10
	// maxRanges bounds how many OIDs one message may ask for.
	maxRanges = 4096
	// maxReply bounds the values of a reply to a bulk request, in bytes: what is beyond
	// is asked for again. A request bounds those of others itself, by maxRanges.
	maxReply = 512 << 10
)

var (
	errShort   = errors.New("a message ends before its content does")
	errTooMany = fmt.Errorf("a message asks for more than %d OIDs", maxRanges)
)

// message is one from the SNMP agent, whose structure has been checked. The codec reads
// little-endian only and takes lengths as they come: so numbers are put into that
// order, and lengths are compared with what there is, before it sees them.
type message struct {
	pdu.Header
	bulk   [2]uint16  // of GetBulk: non-repeaters, repetitions
	ranges pdu.Ranges // of Get, GetNext, GetBulk
	code   pdu.Error  // of Response
	reason pdu.Reason // of Close
	fault  error      // what is wrong with the content; the frame was sound
}

// readMessage reads one. An error ends the connection; what is in fault does not.
func readMessage(r io.Reader) (*message, error) {
	head := make([]byte, pdu.HeaderSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	swap := pdu.Flags(head[2])&pdu.FlagNetworkByteOrder != 0
	if swap {
		for at := 4; at < len(head); at += 4 {
			reverse(head[at : at+4])
		}
	}
	m := &message{}
	if err := m.Header.UnmarshalBinary(head); err != nil {
		return nil, err
	}
	switch {
	case m.Version != 1:
		return nil, fmt.Errorf("what comes is not AgentX: version %d", m.Version)
	case m.PayloadLength > maxPayload:
		return nil, fmt.Errorf("a message has %d bytes; at most %d are taken", m.PayloadLength, maxPayload)
	}
	body := make([]byte, m.PayloadLength)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, noEOF(err)
	}
	m.fault = m.decode(body, swap)
	return m, nil
}

// noEOF makes an end within a message an error.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func reverse(b []byte) { b[0], b[1], b[2], b[3] = b[3], b[2], b[1], b[0] }

// decode checks the content and has the codec read it.
func (m *message) decode(body []byte, swap bool) error {
	w := &walker{b: body, swap: swap}
	if m.Flags&pdu.FlagNonDefaultContext != 0 {
		w.octets() // ours: nothing else is registered
	}
	switch m.Type {
	case pdu.TypeGetBulk:
		m.bulk[0], m.bulk[1] = w.short(), w.short()
		return m.decodeRanges(w)
	case pdu.TypeGet, pdu.TypeGetNext:
		return m.decodeRanges(w)
	case pdu.TypeResponse:
		w.long() // the time, which is not ours
		m.code = pdu.Error(w.short())
		w.skip(2)
	case pdu.TypeClose:
		if b := w.skip(4); b != nil {
			m.reason = pdu.Reason(b[0])
		}
	}
	return w.err
}

func (m *message) decodeRanges(w *walker) error {
	from := w.at
	for n := 0; w.err == nil && w.at < len(w.b); n++ {
		if n == maxRanges {
			return errTooMany
		}
		w.oid()
		w.oid()
	}
	if w.err != nil {
		return w.err
	}
	return m.ranges.UnmarshalBinary(w.b[from:])
}

// walker goes through a content, checks lengths and turns numbers round.
type walker struct {
	b    []byte
	at   int
	swap bool
	err  error
}

// skip takes n bytes; nil where there are fewer.
func (w *walker) skip(n int) []byte {
	if w.err != nil || n > len(w.b)-w.at {
		w.err = errShort
		return nil
	}
	w.at += n
	return w.b[w.at-n : w.at]
}

func (w *walker) long() uint32 {
	b := w.skip(4)
	if b == nil {
		return 0
	}
	if w.swap {
		reverse(b)
	}
	return binary.LittleEndian.Uint32(b)
}

func (w *walker) short() uint16 {
	b := w.skip(2)
	if b == nil {
		return 0
	}
	if w.swap {
		b[0], b[1] = b[1], b[0]
	}
	return binary.LittleEndian.Uint16(b)
}

// oid takes an object identifier (RFC 2741, 5.1).
func (w *walker) oid() {
	head := w.skip(4)
	if head == nil {
		return
	}
	for range head[0] {
		w.long()
	}
}

// octets takes a string (RFC 2741, 5.3), padded to four bytes.
func (w *walker) octets() {
	n := w.long()
	if n > maxPayload {
		w.err = errShort
		return
	}
	w.skip(int(n+3) &^ 3)
}

// frame makes a message: header, our context where there is one and the type has one, content.
func frame(h pdu.Header, context string, content []byte) ([]byte, error) {
	var lead []byte
	if context != "" && inContext[h.Type] {
		h.Flags |= pdu.FlagNonDefaultContext
		var err error
		if lead, err = (&pdu.OctetString{Text: context}).MarshalBinary(); err != nil {
			return nil, err
		}
	}
	h.Version, h.PayloadLength = 1, uint32(len(lead)+len(content))
	b, err := h.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return append(append(b, lead...), content...), nil
}

// inContext are the types of ours that say which context they are about.
var inContext = map[pdu.Type]bool{pdu.TypeRegister: true, pdu.TypeNotify: true, pdu.TypePing: true}
