package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// bout is one attack, from the dial to the end; it says what the server did wrong. It ends
// early when ctx is done.
type bout func(ctx context.Context, s *soaked, r *rand.Rand) error

// hostile is a kind of attack.
type hostile struct {
	name  string
	bout  bout
	times int           // bouts at the same time
	takes time.Duration // a bout, at least, where it is longer than any soak
}

// hostiles are all kinds of attack, one bout of each at a time but for those that last.
var hostiles = []hostile{
	{"corpus", corpusBout, 2, 0},
	{"cookies", cookieBout, 1, 0},
	{"controls", controlBout, 1, 0},
	{"filters", filterBout, 1, 0},
	{"20,000 requests before a read", floodBout, 1, 0},
	{"20,000 requests without a read", muteBout, 3, muteTime},
	{"half-open", halfOpenBout, 40, 0},
	{"a byte a second", slowBout, 10, 0},
	{"stripped StartTLS", strippingBout, 1, 0},
	{"certificates", certificateBout, 1, 0},
	{"guessed passwords", guessBout, 2, 0},
	{"vanished", vanishBout, 1, 0},
	{"good client", goodBout, 1, 0},
}

// corpus is what the fuzz tests keep of messages, and requests to make worse.
func corpus(t *testing.T) (all [][]byte) {
	t.Helper()
	for _, dir := range []string{"../pkg/ldapd/testdata/fuzz/FuzzRequest", "../pkg/ldapd/testdata/fuzz/FuzzCanonical", "../pkg/ber/testdata/fuzz/FuzzCanonical"} {
		files, err := os.ReadDir(dir)
		if err != nil || len(files) == 0 {
			t.Fatalf("the corpus in %s: %d files, %v", dir, len(files), err)
		}
		for _, f := range files {
			b, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			_, text, _ := strings.Cut(string(b), "[]byte(")
			text, _, _ = strings.Cut(text, ")\n")
			in, err := strconv.Unquote(text)
			if err != nil {
				t.Fatalf("%s: %v", f.Name(), err)
			}
			all = append(all, []byte(in))
		}
	}
	ava := ber.AppendString(ber.AppendString(nil, ber.OctetString, "ou"), ber.OctetString, "Package Listers")
	dn := ber.AppendString(nil, ber.OctetString, base)
	return append(all,
		searchMessage(1, base, 2, anything), searchMessage(2, base, 0, mustFilter("(&(cn:dn:2.5.13.2:=x)(!(sn=a*b*c))(uid>=1)(cn~=y))")),
		searchMessage(3, base, 2, anything, controlOf(syncrepl.OIDSyncRequest, true, syncValue(3, "rid=001"))),
		searchMessage(4, "", 0, anything), searchMessage(5, "cn=Subschema", 0, anything), searchMessage(6, "cn=Monitor", 2, anything),
		bindMessage(7, "cn=admin,"+base, ber.ContextPrimitive(0), []byte("secret")),
		bindMessage(8, "", ber.Context(3), ber.AppendString(nil, ber.OctetString, "EXTERNAL")),
		rawMessage(9, ber.Application(14), ber.AppendBytes(slices.Clone(dn), ber.Sequence, ava)),
		rawMessage(10, ber.Tag(0x4a), []byte(base)), rawMessage(11, ber.Application(6), slices.Clone(dn)),
		rawMessage(12, ber.Application(8), slices.Clone(dn)), rawMessage(13, ber.Application(12), slices.Clone(dn)),
		rawMessage(14, opAbandon, []byte{3}), extendedMessage(15, oidWhoAmI), extendedMessage(16, "1.3.6.1.1.8"))
}

// undecodable is what ends a connection with a notice.
var undecodable = [][]byte{
	{0x30, 0x84, 0x80, 0, 0, 0, 2, 1, 1}, {0x30, 0x88, 0, 0, 0, 1, 0, 0, 0, 0}, {0x30, 0x83, 0x20, 0, 0}, {0x30, 0x80, 2, 1, 1}, []byte("GET / HTTP/1.0"),
	{0x30, 5, 2, 1, 1, 0x42, 0x7f}, {0x30, 5, 2, 1, 0, 0x42, 0}, {0x30, 5, 2, 1, 0x80, 0x42, 0}, {0x30, 3, 2, 1, 1}, {0x30, 5, 2, 1, 1, 0x79, 0},
	{0x30, 6, 2, 1, 1, 0x7f, 0x1f, 0},
}

// worse changes some octets, cuts, repeats or swaps.
func worse(r *rand.Rand, in []byte) []byte {
	out := slices.Clone(in)
	for range 1 + r.IntN(4) {
		if len(out) == 0 {
			return out
		}
		at := r.IntN(len(out))
		switch r.IntN(6) {
		case 0:
			out[at] = byte(r.Uint32())
		case 1:
			out[at] ^= 1 << r.IntN(8)
		case 2:
			out = out[:at]
		case 3:
			out = slices.Insert(out, at, out[at:min(len(out), at+1+r.IntN(16))]...)
		case 4:
			out = slices.Delete(out, at, min(len(out), at+1+r.IntN(4)))
		case 5:
			out[at] = []byte{0, 0x7f, 0x80, 0x84, 0xff, 0x30}[r.IntN(6)]
		}
	}
	return out
}

// corpusBout: whatever is sent, LDAP comes back, and the connection ends when the client is done.
func corpusBout(_ context.Context, s *soaked, r *rand.Rand) error {
	c, err := rawDial(s.address)
	if err != nil {
		return err
	}
	defer c.close()
	if r.IntN(8) == 0 {
		return noticed(c, undecodable[r.IntN(len(undecodable))])
	}
	var sent []byte
	for range 1 + r.IntN(5) {
		m := s.corpus[r.IntN(len(s.corpus))]
		if r.IntN(4) > 0 {
			m = worse(r, m)
		}
		sent = append(sent, m...)
	}
	if err := c.send(sent); err != nil {
		return nil // it was cut while it wrote: that is an end, too
	}
	c.nc.(*net.TCPConn).CloseWrite()
	for {
		if _, err := c.next(); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil
			}
			var op *net.OpError
			if errors.As(err, &op) {
				return notLate(err) // a reset, since it had not read all
			}
			return fmt.Errorf("after %x: %w", sent, err)
		}
	}
}

// noticed wants a notice of disconnection with protocolError, and the end.
func noticed(c *rawClient, bad []byte) error {
	if err := c.send(bad); err != nil {
		return err
	}
	r, err := c.next()
	if err != nil || r.id != 0 || r.code != 2 || r.op != opExtendedRe {
		return fmt.Errorf("after %x: %d to %d, %w", bad, r.code, r.id, err)
	}
	return c.ended()
}

func mustFilter(text string) []byte {
	f, err := dit.ParseFilter(text)
	if err != nil {
		panic(err)
	}
	return f.Append(nil)
}

func syncValue(mode int64, cookie string) []byte {
	b := ber.AppendInt(nil, ber.Enumerated, mode)
	if cookie != "" {
		b = ber.AppendString(b, ber.OctetString, cookie)
	}
	return ber.AppendBytes(nil, ber.Sequence, b)
}

// cookies are those of others, of a time to come, and nonsense, which are refused; and what says nothing of the
// content, or is of this server and from before all that it remembers, which is not.
var cookies = []struct {
	text    string
	refused bool
}{
	{"", false}, {"rid=001", false}, {"rid=001,csn=", false},
	{"rid=001,csn=20010101000000.000000Z#000000#001#000000", false},
	{"rid=001,csn=20990101000000.000000Z#000000#001#000000", true},
	{"rid=001,csn=20010101000000.000000Z#000000#000#000000", true},
	{"rid=001,csn=20011301000000.000000Z#000000#001#000000", true},
	{"rid=-1,csn=x", true}, {"rid=99999999999", true}, {"\x00", true}, {"csn=", true},
	{"localhost:389#cn=directory manager:o=x:(objectClass=*)#12", true},
	{strings.Repeat("rid=", 50_000), true},
	{"rid=001,csn=" + strings.Repeat("20010101000000.000000Z#000000#001#000000;", 5000), true},
	{strings.Repeat("\xff", 1000), true}, {"rid=001,sid=\xc3\x28", true},
}

// cookieBout follows with a hostile cookie: 4096, or a whole refresh or a difference where it is none.
func cookieBout(_ context.Context, s *soaked, r *rand.Rand) error {
	c, err := rawDial(s.address)
	if err != nil {
		return err
	}
	defer c.close()
	pick := cookies[r.IntN(len(cookies))]
	cookie, known := pick.text, true
	if r.IntN(2) == 0 {
		cookie, known = string(worse(r, []byte("rid=007,csn=20260101000000.000000Z#000000#001#000000"))), false
	}
	mode := []int64{0, 1, 1, 2, 3, 3, 4, -1}[r.IntN(8)]
	if err := c.send(searchMessage(1, base, 2, anything, controlOf(syncrepl.OIDSyncRequest, true, syncValue(mode, cookie)))); err != nil {
		return err
	}
	for {
		m, err := c.next()
		wrong := func() error { return fmt.Errorf("cookie %.80q, mode %d: result %d %s", cookie, mode, m.code, m.text) }
		switch {
		case err != nil:
			return fmt.Errorf("cookie %.80q, mode %d: %w", cookie, mode, err)
		case m.op == opMore && mode == 3: // the refresh is done, or some of it
			if known && pick.refused {
				return wrong()
			}
			if m.body.Peek() != ber.ContextPrimitive(0) {
				continue
			}
			return c.send(rawMessage(2, opAbandon, []byte{1}), rawMessage(3, opUnbind, nil))
		case m.op == opSearched:
			legal, refused := mode == 1 || mode == 3, m.code == syncrepl.ResultRefreshRequired
			if legal && m.code != 0 && !refused || !legal && m.code != 2 || m.code == 0 && mode == 3 || legal && known && refused != pick.refused {
				return wrong()
			}
			return nil
		}
	}
}

// controlOIDs are those that are understood, and others.
var controlOIDs = []string{"1.2.840.113556.1.4.319", "2.16.840.1.113730.3.4.2", "1.2.840.113556.1.4.473", "1.3.6.1.1.12", "1.2.826.0.1.3344810.2.3",
	"1.3.6.1.4.1.4203.1.10.1", "1.3.6.1.1.22", "2.16.840.1.113730.3.4.18", syncrepl.OIDSyncRequest, "1.2.3.4", "", "not an OID", "2.16.840.1.113730.3.4.9"}

// controlBout sends a search, a compare or a bind with up to three controls of
// garbage: each is answered, and the connection goes on.
func controlBout(_ context.Context, s *soaked, r *rand.Rand) error {
	c, err := rawDial(s.address)
	if err != nil {
		return err
	}
	defer c.close()
	for id := int64(1); id < 20; id += 2 {
		var list [][]byte
		unknown := false
		for range 1 + r.IntN(3) {
			value := make([]byte, r.IntN(40))
			for i := range value {
				value[i] = byte(r.Uint32())
			}
			if r.IntN(2) == 0 {
				value = worse(r, mustFilter("(&(cn=a)(sn=b*))"))
			}
			oid, critical := controlOIDs[r.IntN(len(controlOIDs))], r.IntN(2) == 0
			unknown = unknown || critical && oid == "1.2.3.4"
			list = append(list, controlOf(oid, critical, value))
		}
		var m []byte
		switch r.IntN(3) {
		case 0:
			m = searchMessage(id, base, int64(r.IntN(3)), anything, list...)
		case 1:
			m = bindMessage(id, "", ber.ContextPrimitive(0), nil) // without them
		case 2:
			ava := ber.AppendString(ber.AppendString(nil, ber.OctetString, "ou"), ber.OctetString, "x")
			m = rawMessage(id, ber.Application(14), ber.AppendBytes(ber.AppendString(nil, ber.OctetString, base), ber.Sequence, ava), list...)
		}
		if err := c.send(m); err != nil {
			return err
		}
		got, _, err := c.last(id)
		if err != nil || got.code == 1 || unknown && got.code == 0 && got.op != opBound {
			return fmt.Errorf("controls of %x: %d %s, %w", m, got.code, got.text, err)
		}
		if _, err := c.whoAmI(id + 1); err != nil {
			return fmt.Errorf("after controls of %x: %w", m, err)
		}
	}
	return c.send(rawMessage(100, opUnbind, nil))
}

// nestedFilter has so many levels of and, or and not around a presence.
func nestedFilter(r *rand.Rand, depth int) []byte {
	out := slices.Clone(anything)
	slices.Reverse(out) // headers are added in front: built the wrong way round
	for range depth {
		head := ber.AppendHeader(nil, ber.Context(byte(r.IntN(3))), len(out))
		slices.Reverse(head)
		out = append(out, head...)
	}
	slices.Reverse(out)
	return out
}

// filterBout asks with a filter of any depth: what is too deep is protocolError to that request.
func filterBout(_ context.Context, s *soaked, r *rand.Rand) error {
	c, err := rawDial(s.address)
	if err != nil {
		return err
	}
	defer c.close()
	for id := int64(1); id < 6; id++ {
		depth := []int{r.IntN(dit.MaxFilterDepth - 1), dit.MaxFilterDepth + 1 + r.IntN(100), r.IntN(2000) + 100, 100_000 + r.IntN(100_000)}[r.IntN(4)]
		if err := c.send(searchMessage(id, base, 0, nestedFilter(r, depth))); err != nil {
			return err
		}
		got, _, err := c.last(id)
		if err != nil || (got.code == 0) != (depth < dit.MaxFilterDepth) || got.code != 0 && got.code != 2 {
			return fmt.Errorf("a filter of depth %d: %d %s, %w", depth, got.code, got.text, err)
		}
	}
	c.send(searchMessage(99, base, 0, nestedFilter(r, 600_000))) //nolint:errcheck // it may be cut while it is sent
	if got, _, err := c.last(99); err == nil {
		return fmt.Errorf("a filter of depth 600,000: %d", got.code)
	}
	return nil
}
