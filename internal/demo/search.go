package demo

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/ldif"
	"shaft/pkg/syncrepl"
)

// maxMessage bounds one message of the answer; the story's entries are small.
const maxMessage = 1 << 20

// search reads a subtree over LDAP as any client would: one search of
// everything below base, all user attributes (RFC 4511 section 4.5).
func search(ctx context.Context, url, base string) ([]ldif.Record, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(url, "ldap://"))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(request(base)); err != nil {
		return nil, err
	}
	var records []ldif.Record
	var in []byte
	for chunk := make([]byte, 4096); ; {
		size, err := ber.FrameLen(in, maxMessage)
		if err != nil {
			return nil, err
		}
		if size == 0 || size > len(in) {
			n, err := conn.Read(chunk)
			if err != nil {
				return nil, err
			}
			in = append(in, chunk[:n]...)
			continue
		}
		var m syncrepl.Message
		if err := syncrepl.Decode(in[:size], &m); err != nil {
			return nil, err
		}
		in = in[size:]
		switch {
		case m.Kind == syncrepl.KindEntry:
			records = append(records, record(m))
		case m.Kind == syncrepl.KindDone && m.Code == syncrepl.ResultSuccess:
			return records, nil
		case m.Kind == syncrepl.KindDone:
			return nil, fmt.Errorf("result %d: %s", m.Code, m.Diagnostic)
		}
	}
}

// request is a search of scope sub with the filter (objectClass=*).
func request(base string) []byte {
	msg, mark := ber.Begin(nil, ber.Sequence)
	msg = ber.AppendInt(msg, ber.Integer, 1)
	msg, op := ber.Begin(msg, ber.Application(3))
	msg = ber.AppendString(msg, ber.OctetString, base)
	msg = ber.AppendInt(msg, ber.Enumerated, 2) // scope
	msg = ber.AppendInt(msg, ber.Enumerated, 0) // derefAliases
	msg = ber.AppendInt(msg, ber.Integer, 0)    // size limit
	msg = ber.AppendInt(msg, ber.Integer, 0)    // time limit
	msg = ber.AppendBool(msg, ber.Boolean, false)
	msg = ber.AppendString(msg, ber.ContextPrimitive(7), "objectClass")
	msg = ber.AppendBytes(msg, ber.Sequence, nil)
	return ber.End(ber.End(msg, op), mark)
}

func record(m syncrepl.Message) ldif.Record {
	r := ldif.Record{DN: string(m.DN)}
	for run := dit.Run(m.Attrs); ; {
		name, values, rest, ok := run.Next()
		if !ok {
			return r
		}
		run = rest
		for len(values) > 0 {
			_, value, more, err := ber.Next(values)
			if err != nil {
				return r
			}
			r.Attrs = append(r.Attrs, ldif.Attr{Name: string(name), Value: value})
			values = more
		}
	}
}
