package agentx

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/posteo/go-agentx/pdu"
	"github.com/posteo/go-agentx/value"

	"shaft/pkg/schema"
)

// order is a byte order that reads and appends.
type order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// writer makes messages as an SNMP agent does, in either byte order, by code of its own.
type writer struct {
	order   order
	context string
}

func (w writer) flags() (flags byte) {
	if w.order == order(binary.BigEndian) {
		flags |= 0x10
	}
	if w.context != "" {
		flags |= 0x08
	}
	return flags
}

func (w writer) octets(s string) []byte {
	b := append(w.order.AppendUint32(nil, uint32(len(s))), s...)
	for len(b)%4 > 0 {
		b = append(b, 0)
	}
	return b
}

// message makes one: header, context, content.
func (w writer) message(kind byte, session, transaction, packet uint32, content ...[]byte) []byte {
	var body []byte
	if w.context != "" {
		body = w.octets(w.context)
	}
	for _, c := range content {
		body = append(body, c...)
	}
	b := []byte{1, kind, w.flags(), 0}
	for _, n := range []uint32{session, transaction, packet, uint32(len(body))} {
		b = w.order.AppendUint32(b, n)
	}
	return append(b, body...)
}

// oid encodes one, with the prefix where it has that.
func (w writer) oid(include bool, oid ...uint32) []byte {
	head := []byte{0, 0, 0, 0}
	if include {
		head[2] = 1
	}
	if len(oid) > 4 && slices.Equal(oid[:4], []uint32{1, 3, 6, 1}) && oid[4] < 256 {
		head[1], oid = byte(oid[4]), oid[5:]
	}
	head[0] = byte(len(oid))
	for _, n := range oid {
		head = w.order.AppendUint32(head, n)
	}
	return head
}

var bothOrders = []order{binary.LittleEndian, binary.BigEndian}

// R51: the codec decodes one range of a Get, and little-endian alone; here each range is read, in both orders.
func TestFenceRangesAndOrders(t *testing.T) {
	for _, order := range bothOrders {
		for _, context := range []string{"", "ours"} {
			w := writer{order, context}
			var content []byte
			var want []value.OID
			for i := range uint32(100) {
				oid := []uint32{1, 3, 6, 1, 4, 1, 8072, i, 1 << 31}
				want = append(want, oid)
				content = append(content, w.oid(i%2 == 0, oid...)...)
				content = append(content, w.oid(false, 1, 3, 6, 2)...)
			}
			for _, kind := range []byte{5, 6, 7} {
				lead := []byte(nil)
				if kind == 7 {
					lead = append(order.AppendUint16(nil, 2), order.AppendUint16(nil, 50)...)
				}
				m, err := readMessage(bytes.NewReader(w.message(kind, 3, 1<<30, 9, lead, content)))
				if err != nil || m.fault != nil || len(m.ranges) != 100 || m.SessionID != 3 || m.TransactionID != 1<<30 || m.PacketID != 9 {
					t.Fatalf("%v, kind %d: %+v %v", order, kind, m, err)
				}
				for i, r := range m.ranges {
					if !slices.Equal(r.From.GetIdentifier(), want[i]) || r.From.GetInclude() != (i%2 == 0) || !slices.Equal(r.To.GetIdentifier(), value.OID{1, 3, 6, 2}) {
						t.Fatalf("range %d is %v", i, r)
					}
				}
				if kind == 7 && m.bulk != [2]uint16{2, 50} {
					t.Errorf("bulk %v", m.bulk)
				}
			}
		}
	}
}

// R56: the codec panics on lengths that do not fit; here they are faults, and what is no frame is an error.
func TestFenceLengths(t *testing.T) {
	w := writer{order: binary.LittleEndian}
	whole := append(w.oid(false, 1, 3, 6, 1, 4), w.oid(false, 1, 3, 6, 1, 5)...)
	for n := range len(whole) {
		m, err := readMessage(bytes.NewReader(w.message(5, 1, 1, 1, whole[:n])))
		if err != nil || (m.fault != nil) != (n > 0) {
			t.Errorf("%d of %d bytes: %+v %v", n, len(whole), m, err)
		}
	}
	for what, body := range map[string][]byte{
		"255 numbers":   {255, 0, 0, 0},
		"long context":  nil,
		"short bulk":    {1, 0},
		"short close":   {1, 0},
		"short respond": {1, 0, 0, 0, 1},
	} {
		kind, with := map[string]byte{"255 numbers": 6, "long context": 13, "short bulk": 7, "short close": 2, "short respond": 18}[what], w
		raw := with.message(kind, 1, 1, 1, body)
		if what == "long context" {
			raw = with.message(kind, 1, 1, 1, []byte{255, 255, 255, 255})
			raw[2] |= 8
		}
		if m, err := readMessage(bytes.NewReader(raw)); err != nil || !errors.Is(m.fault, errShort) {
			t.Errorf("%s: %+v %v", what, m, err)
		}
	}
	many := bytes.Repeat([]byte{0, 0, 0, 0}, 2*maxRanges+2)
	if m, err := readMessage(bytes.NewReader(w.message(5, 1, 1, 1, many))); err != nil || !errors.Is(m.fault, errTooMany) {
		t.Errorf("many ranges: %+v %v", m, err)
	}
	for what, raw := range map[string][]byte{
		"version 2":      append([]byte{2}, w.message(13, 1, 1, 1)[1:]...),
		"4 GiB":          append(w.message(13, 1, 1, 1)[:16], 255, 255, 255, 255),
		"cut in head":    w.message(13, 1, 1, 1)[:7],
		"cut in content": w.message(5, 1, 1, 1, whole)[:26],
	} {
		if m, err := readMessage(bytes.NewReader(raw)); err == nil {
			t.Errorf("%s is taken: %+v", what, m)
		}
	}
	if _, err := readMessage(bytes.NewReader(nil)); err != io.EOF {
		t.Errorf("an end is %v", err)
	}
}

// R51: what is sent carries the context where that is due, and the codec reads it back.
func TestFrame(t *testing.T) {
	for _, kind := range []pdu.Type{pdu.TypeOpen, pdu.TypeRegister, pdu.TypeNotify, pdu.TypePing, pdu.TypeClose, pdu.TypeResponse} {
		b, err := frame(pdu.Header{Type: kind, SessionID: 7}, "ours", []byte{1, 2, 3, 4})
		must(t, err)
		with := kind == pdu.TypeRegister || kind == pdu.TypeNotify || kind == pdu.TypePing
		m, err := readMessage(bytes.NewReader(b))
		must(t, err)
		if m.Type != kind || m.SessionID != 7 || (m.Flags == pdu.FlagNonDefaultContext) != with || strings.Contains(string(b), "\x04\x00\x00\x00ours") != with {
			t.Errorf("%s: %x", kind, b)
		}
	}
	if b, err := frame(pdu.Header{Type: pdu.TypePing}, "", nil); err != nil || len(b) != pdu.HeaderSize || b[2] != 0 {
		t.Errorf("%x %v", b, err)
	}
}

// answering is a door without goroutines.
func answering(t testing.TB) *Door {
	d := &Door{o: Options{Now: sampleTime}, arc: value.MustParseOID(schema.Arc), outbox: newOutbox()}
	d.objects = append(slices.Clone(d.arc), 1)
	d.view.Store(sample(t))
	return d
}

// R51, R56: whatever comes, reading it and answering it ends, and the answer can be encoded.
func FuzzMessage(f *testing.F) {
	for _, order := range bothOrders {
		w := writer{order, "c"}
		r := append(w.oid(true, 1, 3, 6, 1, 4, 1, 8072, 9999, 9999, 389, 1, 3, 1, 2), w.oid(false)...)
		for _, kind := range []byte{2, 5, 6, 8, 9, 10, 11, 13, 18, 99} {
			f.Add(w.message(kind, 1, 2, 3, r))
		}
		f.Add(w.message(7, 1, 2, 3, order.AppendUint16(nil, 1), order.AppendUint16(nil, 65535), r, r, r))
	}
	f.Add([]byte{1})
	d := answering(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := bytes.NewReader(raw)
		for {
			m, err := readMessage(r)
			if err != nil {
				return
			}
			reply, due := d.answer(m)
			if !due {
				continue
			}
			b, err := reply.MarshalBinary()
			if err != nil || len(b) < 8 {
				t.Fatalf("the reply to %x: %v", raw, err)
			}
			if m.fault == nil && (m.Type == pdu.TypeGet || m.Type == pdu.TypeGetNext) && len(reply.Variables) != len(m.ranges) {
				t.Fatalf("%d values for %d ranges", len(reply.Variables), len(m.ranges))
			}
		}
	})
}

// ask has a door answer one message.
func (d *Door) ask(t *testing.T, raw []byte) pdu.Response {
	t.Helper()
	m, err := readMessage(bytes.NewReader(raw))
	must(t, err)
	reply, due := d.answer(m)
	if !due {
		t.Fatal("no reply")
	}
	return reply
}

// R51: GetNext minds the ends of ranges, and GetBulk gives what as many GetNexts give.
func TestNextAndBulk(t *testing.T) {
	d := answering(t)
	w := writer{order: binary.LittleEndian}
	root := []uint32(d.objects)
	at := func(rel ...uint32) []uint32 { return slices.Concat(root, rel) }
	for _, test := range []struct {
		from    []uint32
		include bool
		to      []uint32
		want    []uint32 // nil: the end
	}{
		{root, false, at(2), at(1, 1, 0)},
		{[]uint32{1, 3, 6, 1}, false, nil, at(1, 1, 0)},
		{nil, false, nil, at(1, 1, 0)},
		{at(1, 1, 0), false, at(1, 2), nil},
		{at(1, 1, 0), true, at(1, 2), at(1, 1, 0)},
		{at(1, 18, 0), false, nil, at(2, 1, 2, 1)},
		{at(1, 18, 0), false, at(2, 1, 2, 1), nil},
		{at(1, 18, 0), false, at(2, 1, 2, 2), at(2, 1, 2, 1)},
		{at(3, 1, 2, 4), false, nil, at(3, 1, 2, 9)},
		{at(3, 1, 2, 70000), false, nil, at(3, 1, 3, 3)},
		{at(8, 1, 11, 70000, 6), false, nil, nil},
		{at(9), true, nil, nil},
		{[]uint32{1, 3, 7}, false, nil, nil},
	} {
		reply := d.ask(t, w.message(6, 1, 1, 1, w.oid(test.include, test.from...), w.oid(false, test.to...)))
		v := reply.Variables[0]
		if got := v.Name.GetIdentifier(); test.want == nil && (v.Type != pdu.VariableTypeEndOfMIBView || !slices.Equal(got, test.from)) || test.want != nil && !slices.Equal(got, test.want) {
			t.Errorf("from %v to %v: %v %v, wanted %v", test.from, test.to, v.Type, got, test.want)
		}
	}
	r := rand.New(rand.NewSource(1))
	places := all(d.view.Load(), noon)
	for range 200 {
		var content []byte
		var from [][]uint32
		once, often := r.Intn(3), r.Intn(40)
		for range 1 + r.Intn(4) {
			p := places[r.Intn(len(places))]
			from = append(from, at(p.at...))
			content = append(append(content, w.oid(false, at(p.at...)...)...), w.oid(false)...)
		}
		lead := append(w.order.AppendUint16(nil, uint16(once)), w.order.AppendUint16(nil, uint16(often))...)
		got := d.ask(t, w.message(7, 1, 1, 1, lead, content)).Variables
		var want [][]uint32
		step := func(i int) bool {
			v := d.ask(t, w.message(6, 1, 1, 1, w.oid(false, from[i]...), w.oid(false))).Variables[0]
			from[i] = v.Name.GetIdentifier()
			want = append(want, from[i])
			return v.Type != pdu.VariableTypeEndOfMIBView
		}
		once = min(once, len(from))
		for i := range once {
			step(i)
		}
		for more := true; more && often > 0 && once < len(from); often-- {
			more = false
			for i := once; i < len(from); i++ {
				more = step(i) || more
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d values, wanted %d", len(got), len(want))
		}
		for i, v := range got {
			if !slices.Equal(v.Name.GetIdentifier(), want[i]) {
				t.Fatalf("value %d is %v, wanted %v", i, v.Name.GetIdentifier(), want[i])
			}
		}
	}
	lead := []byte{0, 0, 255, 255}
	b, err := func() ([]byte, error) {
		reply := d.ask(t, w.message(7, 1, 1, 1, lead, bytes.Repeat(append(w.oid(false, root...), w.oid(false)...), 1000)))
		return reply.MarshalBinary()
	}()
	if err != nil || len(b) > 2*maxReply {
		t.Errorf("a reply without bounds has %d bytes: %v", len(b), err)
	}
}

// R51: writes are refused, whatever stage of a set they are.
func TestSetsAreRefused(t *testing.T) {
	d := answering(t)
	w := writer{order: binary.BigEndian}
	for kind, want := range map[byte]pdu.Error{8: errNotWritable, 9: errCommitFailed, 10: errUndoFailed, 14: errGeneral, 99: errGeneral} {
		if reply := d.ask(t, w.message(kind, 1, 1, 1)); reply.Error != want {
			t.Errorf("kind %d: %+v", kind, reply)
		}
	}
	m, err := readMessage(bytes.NewReader(w.message(11, 1, 1, 1)))
	must(t, err)
	if _, due := d.answer(m); due {
		t.Error("CleanupSet has a reply")
	}
	if reply := d.ask(t, w.message(5, 1, 1, 1, []byte{9, 0, 0, 0})); reply.Error != pdu.ErrorParse {
		t.Errorf("malformed: %+v", reply)
	}
}

// R51: the codec needs the numbers of an OID in words; they come out as they should.
func TestNotificationIsEncoded(t *testing.T) {
	d := answering(t)
	v := sample(t)
	n := v.alarms["clash-4"]
	b, err := func() ([]byte, error) { vars := n.variables(d.arc); return vars.MarshalBinary() }()
	must(t, err)
	w := writer{order: binary.LittleEndian}
	plain := func(oid ...uint32) string { // the codec uses no prefix
		b := []byte{byte(len(oid)), 0, 0, 0}
		for _, n := range oid {
			b = w.order.AppendUint32(b, n)
		}
		return string(b)
	}
	for what, want := range map[string]string{
		"its type":   "\x06\x00\x00\x00" + plain(1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0) + plain(slices.Concat(d.arc, value.OID{0, 9})...),
		"its label":  "\x04\x00\x00\x00" + plain(slices.Concat(d.objects, value.OID{8, 1, 3, 4, 5})...) + string(w.octets("cn=name 4")),
		"its text":   "\x04\x00\x00\x00" + plain(slices.Concat(d.objects, value.OID{8, 1, 8, 4, 5})...) + string(w.octets("#1: two wait")),
		"its serial": "\x42\x00\x00\x00" + plain(slices.Concat(d.objects, value.OID{8, 1, 7, 4, 5})...) + "\x01\x00\x00\x00",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s is not in\n%s", what, hex.Dump(b))
		}
	}
	n.alarm = nil
	vars := n.variables(d.arc)
	if vars[0].Value != schema.Arc+".0.10" || vars[5].Value != "" || vars[4].Value != uint32(0) {
		t.Errorf("its end: %v", vars)
	}
}
