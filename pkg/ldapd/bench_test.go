package ldapd

import (
	"bytes"
	"fmt"
	"testing"

	"shaft/pkg/access"
	"shaft/pkg/ber"
	"shaft/pkg/tree"
)

// benchBase does base searches over loopback, depth requests at a time in one write.
func benchBase(b *testing.B, depth int, q query) {
	_, addr := serve(b, Options{Backend: newBackend(listers(b, 1000))})
	c := dial(b, addr)
	one := msg(1, tagSearch, q.body(b))
	requests := bytes.Repeat(one, depth)
	c.write(one)
	size := 0
	for _, r := range c.until(1) {
		_ = r
	}
	// The size of one answer: ask again and read until it is all there.
	c.write(one)
	buf := make([]byte, 1<<20)
	for size == 0 || !whole(buf[:size]) {
		n, err := c.r.Read(buf[size:])
		if err != nil {
			b.Fatal(err)
		}
		size += n
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += depth {
		if _, err := c.nc.Write(requests); err != nil {
			b.Fatal(err)
		}
		for left := size * depth; left > 0; {
			n, err := c.r.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			left -= n
		}
	}
}

// whole tells whether b ends with a SearchResultDone.
func whole(b []byte) bool {
	for len(b) > 0 {
		n, err := ber.FrameLen(b, 1<<20)
		if err != nil || n == 0 || n > len(b) {
			return false
		}
		if r, err := decodeReply(b[:n]); err == nil && r.op == tagSearchDone {
			return true
		}
		b = b[n:]
	}
	return false
}

var oneUser = query{base: "cn=User 500,cn=Debian," + base}

func BenchmarkBaseSearchDepth1(b *testing.B)  { benchBase(b, 1, oneUser) }
func BenchmarkBaseSearchDepth16(b *testing.B) { benchBase(b, 16, oneUser) }

func BenchmarkEqualitySearchDepth16(b *testing.B) {
	benchBase(b, 16, query{base: base, scope: tree.Sub, filter: "(uid=u500)"})
}

// BenchmarkHandleBase is the server's share of a base search, without sockets.
func BenchmarkHandleBase(b *testing.B) {
	s, err := New(Options{Backend: newBackend(listers(b, 1000))})
	if err != nil {
		b.Fatal(err)
	}
	c := newConn(s, &sink{}, schemes[0])
	frame := msg(1, tagSearch, oneUser.body(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.handle(frame); err != nil {
			b.Fatal(err)
		}
	}
}

func benchSearch(b *testing.B, n int, rules []access.Rule, attrs ...string) {
	_, addr := serve(b, Options{Backend: newBackend(listers(b, n)), Access: rules})
	c := dial(b, addr)
	request := msg(1, tagSearch, query{base: base, scope: tree.Sub, attrs: attrs}.body(b))
	tail := appendReply(nil, 1, tagSearchDone, result{}, nil, nil)
	buf := make([]byte, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		c.write(request)
		var end []byte
		for !bytes.HasSuffix(end, tail) {
			m, err := c.r.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			end = append(end[max(0, len(end)-len(tail)):], buf[max(0, m-len(tail)):m]...)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n+2), "ns/entry")
}

func BenchmarkSearch10000(b *testing.B)         { benchSearch(b, 10_000, nil) }
func BenchmarkSearch10000Rules(b *testing.B)    { benchSearch(b, 10_000, tenRules()) }
func BenchmarkSearch10000Computed(b *testing.B) { benchSearch(b, 10_000, nil, "*", "+") }

// tenRules are what a site may have: most for others, a subtree elsewhere, an
// attribute hidden, and everything else to be read.
func tenRules() []access.Rule {
	return []access.Rule{
		{Who: "subject:cn=pulley,o=acme", Subtree: "cn=Debian," + base, Allow: access.Sync},
		{Who: "dn:cn=mirror," + base, Allow: access.Sync},
		{Who: "peer:192.0.2.0/24", Subtree: "cn=internal," + base, Allow: access.Read},
		{Who: "anonymous", Subtree: "cn=internal," + base, Allow: access.None},
		{Who: "anonymous", Subtree: "cn=User 3,cn=Debian," + base, Allow: access.None},
		{Who: "users", Attributes: []string{"userPassword", "authPassword"}, Allow: access.Compare},
		{Who: "anonymous", Attributes: []string{"userPassword", "authPassword", "sambaNTPassword"}, Allow: access.None},
		{Who: "users", Allow: access.Read},
		{Who: "anonymous", Subtree: base, Allow: access.Read},
		{Who: "peer:0.0.0.0/0", Allow: access.None},
	}
}

// BenchmarkRules: what ten access rules cost a base search and a large search, without sockets.
func BenchmarkRules(b *testing.B) {
	for name, q := range map[string]query{
		"base":     oneUser,
		"equality": {base: base, scope: tree.Sub, filter: "(uid=u500)"},
		"all":      {base: base, scope: tree.Sub},
		"computed": {base: base, scope: tree.Sub, attrs: []string{"*", "+"}},
	} {
		for _, rules := range [][]access.Rule{nil, tenRules()} {
			b.Run(fmt.Sprintf("%s/%d", name, len(rules)), func(b *testing.B) {
				s, err := New(Options{Backend: newBackend(listers(b, 1000)), Access: rules})
				if err != nil {
					b.Fatal(err)
				}
				c := newConn(s, &sink{}, schemes[0])
				frame := msg(1, tagSearch, q.body(b))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := c.handle(frame); err != nil {
						b.Fatal(err)
					}
					c.running.Wait()
				}
			})
		}
	}
}
