package upstream

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Types of DNS records (RFC 1035 section 3.2.2, RFC 2782).
const (
	typeA   = 1
	typeSRV = 33
)

// dnsAnswer is what a name server says to one question.
type dnsAnswer struct {
	code      byte     // RCODE
	data      [][]byte // RDATA of records of the type that was asked for
	truncated bool     // over UDP: come again by TCP
	silent    bool
	raw       []byte // behind the message ID, instead of an answer
	hangUp    bool   // over TCP
}

// nameServer is a DNS server on loopback, for UDP and TCP.
type nameServer struct {
	udp net.PacketConn
	tcp net.Listener

	mu      sync.Mutex
	answers map[string]dnsAnswer // by type and name, as in "SRV _ldap._tcp.dir.test"; others do not exist
	running sync.WaitGroup
}

// dnsServer starts a name server that knows the hosts as 127.0.0.1.
func dnsServer(t *testing.T, hosts ...string) *nameServer {
	t.Helper()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &nameServer{udp: udp, tcp: tcp, answers: map[string]dnsAnswer{}}
	for _, h := range hosts {
		d.answers["A "+h] = dnsAnswer{data: [][]byte{{127, 0, 0, 1}}}
		d.answers["? "+h] = dnsAnswer{}
	}
	d.running.Go(d.serveUDP)
	d.running.Go(d.serveTCP)
	t.Cleanup(func() {
		udp.Close()
		tcp.Close()
		d.running.Wait()
	})
	return d
}

func (d *nameServer) set(question string, a dnsAnswer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers[question] = a
}

// options are those of a machine that asks this server alone.
func (d *nameServer) options(o Options) Options {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		if strings.HasPrefix(network, "udp") {
			return new(net.Dialer).DialContext(ctx, "udp", d.udp.LocalAddr().String())
		}
		return new(net.Dialer).DialContext(ctx, "tcp", d.tcp.Addr().String())
	}}
	o.Dial = (&net.Dialer{Resolver: r}).DialContext
	o.Resolve = r.LookupHost
	o.LookupSRV = func(ctx context.Context, service, proto, name string) ([]*net.SRV, error) {
		_, records, err := r.LookupSRV(ctx, service, proto, name)
		return records, err
	}
	return o
}

func (d *nameServer) serveUDP() {
	buf := make([]byte, 2048)
	for {
		n, from, err := d.udp.ReadFrom(buf)
		if err != nil {
			return
		}
		if reply, _ := d.reply(buf[:n], 1200); reply != nil {
			d.udp.WriteTo(reply, from)
		}
	}
}

func (d *nameServer) serveTCP() {
	for {
		c, err := d.tcp.Accept()
		if err != nil {
			return
		}
		size := make([]byte, 2)
		if _, err := io.ReadFull(c, size); err == nil {
			question := make([]byte, binary.BigEndian.Uint16(size))
			if _, err := io.ReadFull(c, question); err == nil {
				if reply, a := d.reply(question, 65535); !a.hangUp {
					c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
				}
			}
		}
		c.Close()
	}
}

// reply answers a query; what is longer than limit is truncated.
func (d *nameServer) reply(query []byte, limit int) ([]byte, dnsAnswer) {
	var labels []string
	at := 12
	for at < len(query) && query[at] != 0 {
		labels = append(labels, string(query[at+1:at+1+int(query[at])]))
		at += 1 + int(query[at])
	}
	kind := binary.BigEndian.Uint16(query[at+1:])
	question := map[uint16]string{typeA: "A ", typeSRV: "SRV "}[kind]
	if question == "" {
		question = "? "
	}
	question += strings.ToLower(strings.Join(labels, "."))
	d.mu.Lock()
	a, known := d.answers[question]
	d.mu.Unlock()
	if !known {
		a.code = 3
	}
	switch {
	case a.silent:
		return nil, a
	case a.raw != nil:
		return append(query[:2:2], a.raw...), a
	}
	full := message(query, at+5, kind, a, false)
	if len(full) > limit || a.truncated && limit < 65535 {
		full = message(query, at+5, kind, dnsAnswer{code: a.code}, true)
	}
	return full, a
}

// message makes an answer with the question of the query, which ends at end.
func message(query []byte, end int, kind uint16, a dnsAnswer, truncated bool) []byte {
	flags := byte(0x84)
	if truncated {
		flags |= 0x02
	}
	m := append(query[:2:2], flags, 0x80|a.code, 0, 1)
	m = binary.BigEndian.AppendUint16(m, uint16(len(a.data)))
	m = append(m, 0, 0, 0, 0)
	m = append(m, query[12:end]...)
	for _, data := range a.data {
		m = append(m, 0xc0, 12)
		m = binary.BigEndian.AppendUint16(m, kind)
		m = append(m, 0, 1, 0, 0, 0, 60)
		m = binary.BigEndian.AppendUint16(m, uint16(len(data)))
		m = append(m, data...)
	}
	return m
}

// srv is the RDATA of an SRV record.
func srv(priority, weight uint16, port int, target string) []byte {
	m := binary.BigEndian.AppendUint16(nil, priority)
	m = binary.BigEndian.AppendUint16(m, weight)
	m = binary.BigEndian.AppendUint16(m, uint16(port))
	if target != "" {
		for label := range strings.SplitSeq(target, ".") {
			m = append(append(m, byte(len(label))), label...)
		}
	}
	return append(m, 0)
}
