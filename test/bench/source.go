package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

const (
	// sourceDir in the environment makes this program a source that costs little: a provider
	// of made-up people that says, when told to, that busyChanges of them change each
	// second. The directory is for its address.
	sourceDir    = "SHAFT_BENCH_SOURCE"
	sourcePeople = "SHAFT_BENCH_SOURCE_PEOPLE" // how many
	sourceSeed   = "SHAFT_BENCH_SOURCE_SEED"
	addressFile  = "address"
	// sourceForms is how many people change, again and again: their messages are made beforehand.
	sourceForms = 16384
	// stepCSN is from one change's CSN to the next one's, in CSN units.
	stepCSN = 1000
	// pacingLead is how long changes come before anything is measured: a server may need a second or
	// two to see that they do not end.
	pacingLead = 2500 * time.Millisecond
)

// startSource starts one, of the benchmark's content, and gives it as a provider.
func (b *bench) startSource() (*slapd, error) {
	dir, err := b.tempDir("source")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &slapd{dir: dir, content: content{seed: b.content.seed, people: b.content.people}}
	s.process, err = startProcess(dir, []string{sourceDir + "=" + dir, sourcePeople + "=" + strconv.Itoa(s.content.people),
		sourceSeed + "=" + strconv.FormatUint(s.content.seed, 10)}, self)
	if err != nil {
		return nil, err
	}
	return s, s.await("it listens", patience, func() (bool, error) {
		text, err := os.ReadFile(filepath.Join(dir, addressFile))
		s.address = string(text)
		return err == nil, err
	})
}

// runSource is the source's process, as the environment says, until ctx is done. SIGUSR1 begins
// the changes, SIGUSR2 ends them.
func runSource(ctx context.Context) error {
	people, err := strconv.Atoi(os.Getenv(sourcePeople))
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(os.Getenv(sourceSeed), 10, 64)
	if err != nil {
		return err
	}
	told := make(chan os.Signal, 8)
	signal.Notify(told, syscall.SIGUSR1, syscall.SIGUSR2)
	s := &source{content: content{seed: seed, people: people}, csn: dit.CSNAt(time.Now()), told: told}
	up, err := ldaptest.Start(ldaptest.Options{Suffix: suffix, LDIF: fmt.Sprintf("dn: %s\nobjectClass: dcObject\nobjectClass: organization\ndc: bench\no: Bench\n", suffix)})
	if err != nil {
		return err
	}
	defer up.Close()
	up.SetScript(s.answer)
	path := filepath.Join(os.Getenv(sourceDir), addressFile)
	if err := errors.Join(os.WriteFile(path+".part", []byte(up.Addr()), 0o600), os.Rename(path+".part", path)); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// source is what answers the one follower.
type source struct {
	content content
	csn     dit.CSN // of the latest change
	told    <-chan os.Signal
}

func (s *source) answer(q ldaptest.Search, p *syncrepl.Provider) (handled bool, err error) {
	if q.Sync == nil || q.Sync.Mode != syncrepl.RefreshAndPersist {
		return false, nil
	}
	if len(q.Sync.Cookie) == 0 {
		for i := range s.content.total() {
			m := s.message(i, syncrepl.StateAdd, s.csn)
			if err := p.Send(m); err != nil {
				return true, err
			}
		}
	}
	if err := p.EndDelete(sourceCookie(s.csn), true); err != nil {
		return true, err
	}
	return true, s.persist(q, p)
}

// persist sends changes while it is told to. Those that are due by the clock go in one write.
func (s *source) persist(q ldaptest.Search, p *syncrepl.Provider) error {
	forms := s.forms(p.ID)
	random := rand.New(rand.NewPCG(s.content.seed, 1))
	var began time.Time
	sent := 0
	tick := time.NewTimer(time.Hour)
	tick.Stop()
	var out []byte
	for {
		select {
		case <-q.Done:
			return nil
		case sig := <-s.told:
			began, sent = time.Now(), 0
			tick.Stop()
			if sig == syscall.SIGUSR1 {
				tick.Reset(0)
			}
			continue
		case <-tick.C:
		}
		out = out[:0]
		for due := int(time.Since(began) * busyChanges / time.Second); sent < due && len(out) < maxReply; sent++ {
			s.csn += stepCSN
			out = append(out, forms[random.IntN(len(forms))].fill(s.csn)...)
		}
		if len(out) > 0 {
			if err := p.Write(out); err != nil {
				return err
			}
		}
		tick.Reset(time.Until(began.Add(time.Duration(sent+1) * time.Second / busyChanges)))
	}
}

// changeForm is the message of a change whose CSNs are filled in.
type changeForm struct {
	frame []byte
	at    []int // where its CSN stands
}

func (f *changeForm) fill(csn dit.CSN) []byte {
	var buf [64]byte
	text := csn.Append(buf[:0], 0)
	for _, at := range f.at {
		copy(f.frame[at:], text)
	}
	return f.frame
}

// forms picks people by the seed, evenly.
func (s *source) forms(id int64) []changeForm {
	r := rand.New(rand.NewPCG(s.content.seed, 0))
	blank := dit.CSN(0).Append(nil, 0)
	out := make([]changeForm, min(sourceForms, s.content.people))
	for i := range out {
		m := s.message(1+s.content.units()+r.IntN(s.content.people), syncrepl.StateModify, 0)
		m.MessageID = id
		m.Cookie, m.HasCookie = sourceCookie(0), true
		f := &out[i]
		f.frame = m.Append(nil)
		for at := 0; ; at += len(blank) {
			next := bytes.Index(f.frame[at:], blank)
			if next < 0 {
				break
			}
			at += next
			f.at = append(f.at, at)
		}
	}
	return out
}

func sourceCookie(csn dit.CSN) []byte { return append([]byte("rid=001,csn="), csn.Append(nil, 0)...) }

// message is an entry, in the order of the LDIF: the top, the ous, the people. A person who
// changes has another description, by the CSN.
func (s *source) message(i int, state syncrepl.State, csn dit.CSN) syncrepl.Message {
	c := s.content
	m := syncrepl.Message{Kind: syncrepl.KindEntry, HasState: true, State: state}
	m.UUID[0], m.UUID[6], m.UUID[8] = 0xbe, 0x40, 0x80
	binary.BigEndian.PutUint64(m.UUID[8:], uint64(i)|1<<63)
	var attrs []attribute
	switch person := i - 1 - c.units(); {
	case i == 0:
		m.DN = []byte(suffix)
		attrs = []attribute{{"objectClass", "dcObject"}, {"objectClass", "organization"}, {"structuralObjectClass", "organization"}, {"dc", "bench"}, {"o", "Bench"}}
	case person < 0:
		m.DN = []byte(c.unit(i-1) + "," + suffix)
		attrs = []attribute{{"objectClass", "organizationalUnit"}, {"structuralObjectClass", "organizationalUnit"}, {"ou", c.unit(i - 1)[len("ou="):]}}
	default:
		m.DN = []byte(c.rdns(person) + "," + suffix)
		attrs = append(c.attributes(person), attribute{"structuralObjectClass", "inetOrgPerson"})
		if state == syncrepl.StateModify {
			at := len(attrs) - 2
			attrs[at] = attribute{attrs[at].name, "changed at " + string(csn.Append(nil, 0)) + ", " + attrs[at].value}
		}
	}
	attrs = append(attrs, attribute{"entryUUID", m.UUID.String()}, attribute{"creatorsName", "cn=admin," + suffix},
		attribute{"createTimestamp", "20200101000000Z"}, attribute{"entryCSN", string(csn.Append(nil, 0))},
		attribute{"modifiersName", "cn=admin," + suffix}, attribute{"modifyTimestamp", "20200101000000Z"})
	m.Attrs = encodeAttributes(attrs)
	return m
}

// encodeAttributes makes a PartialAttributeList's content; values of one name stand together.
func encodeAttributes(list []attribute) (out []byte) {
	for len(list) > 0 {
		var values []byte
		name := list[0].name
		for len(list) > 0 && list[0].name == name {
			values = ber.AppendString(values, ber.OctetString, list[0].value)
			list = list[1:]
		}
		attr := ber.AppendString(nil, ber.OctetString, name)
		out = ber.AppendBytes(out, ber.Sequence, ber.AppendBytes(attr, ber.Set, values))
	}
	return out
}

// copiedOfSource gives the Shaft that copies the source, idle.
func copiedOfSource(ctx context.Context, b *bench, _ side) (t target, err error) {
	if b.source == nil {
		if b.source, err = b.startSource(); err != nil {
			return t, err
		}
	}
	if b.following == nil {
		if b.following, err = b.startShaftOn(ctx, "load from the source", "", b.source); err != nil {
			return t, err
		}
	}
	return b.following.target(), b.following.idle()
}

// pacing has the source change for our side; what the changes cost is measured before.
func pacing(ctx context.Context, b *bench, s side) (c changing, err error) {
	c = changing{source: b.source.process, count: b.arrived, stop: func() error { return nil }}
	if s == theirs {
		return c, nil
	}
	c.stop = func() error { b.source.signal(syscall.SIGUSR2); return nil }
	defer func() {
		if err != nil {
			c.stop() //nolint:errcheck // it gives none
		}
	}()
	b.source.signal(syscall.SIGUSR1)
	if err := sleep(ctx, b.lead); err != nil {
		return c, err
	}
	t := b.following
	if err := t.profiles.mark(t.process, "before changes"); err != nil {
		return c, err
	}
	m, err := c.measure(ctx, t.process, b.window, func() counted { return counted{} })
	if err != nil {
		return c, err
	}
	if m.changes == 0 {
		return c, fmt.Errorf("no change came within %v", b.window)
	}
	c.alone = m.cpu / m.changes
	return c, t.profiles.mark(t.process, b.profileName()+"-alone")
}

// arrived is how many changes of the source are on Shaft's disk, but for a constant: by the
// cookie that cn=Monitor shows.
func (b *bench) arrived() (n int64, err error) {
	q := query{base: "cn=Monitor", scope: scopeSub, attr: "olmSRLastCookieRcvd", want: []string{"olmSRLastCookieRcvd"}}
	err = ask(b.following.address, q, func(entry ber.Reader) error {
		text, err := oneValue(entry)
		if err != nil {
			return err
		}
		cookie, ok := syncrepl.ParseCookie([]byte(text))
		if !ok || len(cookie.CSNs) != 1 {
			return fmt.Errorf("cookie %q is not the source's", text)
		}
		csn, _, _, _, err := dit.ParseCSN([]byte(cookie.CSNs[0]))
		n = int64(csn / stepCSN)
		return err
	})
	if err == nil && n == 0 {
		err = errors.New("cn=Monitor shows no cookie")
	}
	return n, err
}
