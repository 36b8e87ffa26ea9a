package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// mirror is a feed that keeps content as an engine does.
type mirror struct {
	statuses chan Status
	loads    chan int // entries after each refresh

	mu      sync.Mutex
	cookie  []byte
	content map[dit.UUID]string
	staged  map[dit.UUID]string // nil: no refresh
	begins  []string            // the cookies that were given
	attrs   map[string][]byte
	asked   int
}

func newMirror() *mirror {
	return &mirror{statuses: make(chan Status, 1000), loads: make(chan int, 1000), content: map[dit.UUID]string{}, attrs: map[string][]byte{}}
}

func (m *mirror) Begin(context.Context, string) ([]byte, syncrepl.Sink, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.staged = map[dit.UUID]string{}
	m.begins = append(m.begins, string(m.cookie))
	return m.cookie, m, nil
}

func (m *mirror) Forget(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cookie = nil
	return nil
}

func (m *mirror) End(error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.staged = nil
}

func (m *mirror) Report(s Status) { m.statuses <- s }

func (m *mirror) Put(e syncrepl.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attrs[string(e.DN)] = bytes.Clone(e.Attrs)
	if m.staged != nil {
		m.staged[e.UUID] = string(e.DN)
	} else {
		m.content[e.UUID] = string(e.DN)
	}
	return nil
}

func (m *mirror) Present(ids []dit.UUID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if dn, ok := m.content[id]; ok && m.staged != nil {
			m.staged[id] = dn
		}
	}
	return nil
}

func (m *mirror) Delete(ids []dit.UUID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		delete(m.content, id)
	}
	return nil
}

func (m *mirror) RefreshDone(end syncrepl.End) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if end.Complete {
		m.content = map[dit.UUID]string{}
	}
	maps.Copy(m.content, m.staged)
	m.staged, m.cookie = nil, bytes.Clone(end.Cookie)
	select {
	case m.loads <- len(m.content):
	default: // nobody counts them any more
	}
	return nil
}

func (m *mirror) Cookie(c []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cookie = bytes.Clone(c)
	return nil
}

func (m *mirror) Flush() error { return nil }

func (m *mirror) Knows(id dit.UUID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	_, staged := m.staged[id]
	_, known := m.content[id]
	return staged || known
}

// dns lists the content.
func (m *mirror) dns() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Values(m.content)), "; ")
}

func (m *mirror) await(t *testing.T, want State) Status {
	t.Helper()
	return (&recorder{statuses: m.statuses}).await(t, want)
}

// has waits for a refresh that ends with n entries.
func (m *mirror) has(t *testing.T, n int) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case got := <-m.loads:
			if got == n {
				return
			}
		case <-deadline:
			t.Fatalf("no refresh with %d entries; there are %s", n, m.dns())
		}
	}
}

func tea(t *testing.T, o ldaptest.Options) (*ldaptest.Server, Source) {
	t.Helper()
	o.Suffix = "dc=tea"
	if o.LDIF == "" {
		o.LDIF = "dn: dc=tea\nobjectClass: domain\ndc: tea\n\ndn: ou=green,dc=tea\nobjectClass: organizationalUnit\nou: green\n\n" +
			"dn: cn=sencha,ou=green,dc=tea\nobjectClass: device\ncn: sencha\n"
	}
	s, err := ldaptest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	u, _ := url.Parse(s.URL())
	src, _, err := ParseURL(s.URL() + "/dc=tea")
	if err != nil {
		t.Fatal(err, u)
	}
	src.Poll = Interval(10 * time.Millisecond)
	return s, src
}

// R12: a server that has no SyncRepl is read at intervals, in pages where it has
// these; what it refuses changes nothing, and the state says how it stands.
func TestR12Polling(t *testing.T) {
	for name, o := range map[string]ldaptest.Options{
		"refreshOnly": {NoPersist: true},
		"pages":       {NoSync: true, PageLimit: 2},
		"no pages":    {NoSync: true, NoPaging: true},
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			s, src := tea(t, o)
			m := newMirror()
			l := follow(t, src, m, quick())
			m.await(t, Polling)
			m.has(t, 3)
			if err := s.Add("dn: cn=matcha,dc=tea\nobjectClass: device\ncn: matcha\n"); err != nil {
				t.Fatal(err)
			}
			m.has(t, 4)
			if err := s.Delete("cn=sencha,ou=green,dc=tea"); err != nil {
				t.Fatal(err)
			}
			m.has(t, 3)
			if got := m.dns(); got != "cn=matcha,dc=tea; dc=tea; ou=green,dc=tea" {
				t.Error(got)
			}
			if st := l.Status(); st.Server != s.Addr() || !st.Online() {
				t.Errorf("%+v", st)
			}
			s.Down()
			m.await(t, Down)
			if got := m.dns(); strings.Count(got, ";") != 2 {
				t.Error("content left with the server: " + got)
			}
			if err := s.Up(); err != nil {
				t.Fatal(err)
			}
			m.await(t, Polling)
			if st := s.Stats(); name == "pages" && st.Paged < 4 || name != "pages" && name != "no pages" && st.Searches > 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// R12, R35: a poll that brings only a part is no refresh.
func TestR35PartOfAPoll(t *testing.T) {
	noLeak(t)
	_, src := tea(t, ldaptest.Options{NoSync: true, NoPaging: true, SizeLimit: 2})
	m := newMirror()
	follow(t, src, m, quick())
	wantReason(t, m.await(t, Down).Reason, "only a part", "size limit exceeded (4)")
	if got := m.dns(); got != "" || len(m.loads) > 0 {
		t.Error(got)
	}
}

// A server that gains SyncRepl is followed.
func TestPollingEndsWithSyncRepl(t *testing.T) {
	noLeak(t)
	s, src := tea(t, ldaptest.Options{})
	var mu sync.Mutex
	refused := 2
	s.SetScript(func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		if q.Sync == nil || refused == 0 {
			return false, nil
		}
		if q.Sync.Mode == syncrepl.RefreshAndPersist {
			refused--
		}
		return true, p.Fail(12, "")
	})
	m := newMirror()
	follow(t, src, m, quick())
	m.await(t, Polling)
	m.await(t, Live)
	if n := s.Stats().Searches; n < syncEvery {
		t.Errorf("%d plain searches before it", n)
	}
}

// A cookie that 389-ds would misunderstand is not sent in a poll; OpenLDAP's is.
func TestCookiesOfPolls(t *testing.T) {
	noLeak(t)
	s, src := tea(t, ldaptest.Options{NoPersist: true})
	l := newLink(src, quick(), func(Status) {})
	m := newMirror()
	m.cookie = []byte("ldap://h:389#x#1")
	for range 2 {
		if err := l.readOnce(context.Background(), m, false); err != nil {
			t.Fatal(err)
		}
	}
	sent := s.Stats().Cookies
	if len(m.begins) != 3 || len(sent) != 2 || sent[0] != "" || !strings.HasPrefix(sent[1], "rid=") {
		t.Errorf("%q given, %q sent", m.begins, sent)
	}
	if got := m.dns(); strings.Count(got, ";") != 2 {
		t.Error(got)
	}
}

// R22: one load, whatever the server can, without a cookie; nothing else.
func TestR22Collect(t *testing.T) {
	noLeak(t)
	for name, o := range map[string]ldaptest.Options{
		"sync": {}, "refreshOnly": {NoPersist: true}, "pages": {NoSync: true, PageLimit: 1}, "no pages": {NoSync: true, NoPaging: true},
	} {
		s, src := tea(t, o)
		m := newMirror()
		m.cookie = []byte("rid=001,csn=20990102030405.000001Z#000000#000#000000")
		opts, _ := pooled()
		if err := Collect(context.Background(), src, m, opts); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := m.dns(); got != "cn=sencha,ou=green,dc=tea; dc=tea; ou=green,dc=tea" || len(m.loads) != 1 || opts.Pool.size() != 0 {
			t.Errorf("%s: %s", name, got)
		}
		if st := s.Stats(); slices.ContainsFunc(st.Cookies, func(c string) bool { return c != "" }) {
			t.Errorf("%s: %+v", name, st)
		}
	}
	s, src := tea(t, ldaptest.Options{})
	s.Stall()
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("that is enough")
	time.AfterFunc(20*time.Millisecond, func() { cancel(stop) })
	if err := Collect(ctx, src, newMirror(), quick()); !errors.Is(err, stop) {
		t.Errorf("a server that says nothing: %v", err)
	}
	s.Down()
	if err := Collect(context.Background(), src, newMirror(), quick()); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a server that is down: %v", err)
	}
}

// The UUIDs of entries that a plain search finds.
func TestUUIDsOfPlainEntries(t *testing.T) {
	attr := func(name string, value []byte) []byte { return dit.AppendAttrBytes(nil, []byte(name), value) }
	id := "01020304-0506-0708-090a-0b0c0d0e0f10"
	octets := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	guid := "100f0e0d-0c0b-0a09-0807-060504030201"
	slices.Reverse(octets)
	made, err := uuidOfDN([]byte("cn=x,dc=tea"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		attrs   []byte
		dn      string
		fromDN  bool
		want    string
		refused string
	}{
		{"entryUUID", append(attr("cn", []byte("x")), attr("ENTRYUUID", []byte(id))...), "cn=x,dc=tea", false, id, ""},
		{"nsUniqueId", attr("nsuniqueid", []byte("01020304-05060708-090a0b0c-0d0e0f10")), "cn=x,dc=tea", false, id, ""},
		{"objectGUID", attr("objectGUID", octets), "cn=x,dc=tea", false, guid, ""},
		{"as 389-ds syncs", slices.Concat(attr("entryUUID", []byte(made.String())), attr("nsUniqueId", []byte("01020304-05060708-090a0b0c-0d0e0f10"))), "cn=x,dc=tea", false, id, ""},
		{"the first of them", slices.Concat(attr("objectGUID", octets), attr("entryUUID", []byte(id))), "cn=x,dc=tea", true, id, ""},
		{"its DN", nil, "CN=X, DC=tea", true, made.String(), ""},
		{"none", nil, "cn=x,dc=tea", false, "", `entry "cn=x,dc=tea" has no entryUUID; where uuid_from_dn`},
		{"zero", attr("entryUUID", []byte(dit.UUID{}.String())), "cn=x,dc=tea", false, "", "uuid_from_dn"},
		{"no UUID", attr("entryUUID", []byte("x")), "cn=x,dc=tea", true, "", "entryUUID: UUID"},
		{"no unique ID", attr("nsUniqueId", []byte(id)), "cn=x,dc=tea", true, "", "nsUniqueId"},
		{"bad digits", attr("nsUniqueId", []byte("0102030x-05060708-090a0b0c-0d0e0f10")), "cn=x,dc=tea", true, "", "nsUniqueId"},
		{"no GUID", attr("objectGUID", octets[1:]), "cn=x,dc=tea", true, "", "objectGUID: 15 octets"},
		{"no DN", nil, "x", true, "", "none is made up"},
	} {
		src := Source{UUIDFromDN: test.fromDN}
		got, err := src.uuidOf(&syncrepl.Message{DN: []byte(test.dn), Attrs: test.attrs})
		if test.refused == "" && (err != nil || got.String() != test.want) || test.refused != "" && !strings.Contains(fmt.Sprint(err), test.refused) {
			t.Errorf("%s: %v, %v", test.name, got, err)
		}
	}
	if _, ok := firstValue([]byte{0x30, 5, 4}, "cn"); ok {
		t.Error("a malformed list has a value")
	}
}
