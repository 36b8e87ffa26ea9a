package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// consumer is python-ldap's SyncreplConsumer with a copy in memory: it prints the copy
// as it is after a refresh (mode refreshOnly), or once it has what it waits for.
const consumer = `
import ldap, sys, json
from ldap.ldapobject import SimpleLDAPObject
from ldap.syncrepl import SyncreplConsumer
url, base, mode, filter, state, wait = sys.argv[1:]
class Copy(SimpleLDAPObject, SyncreplConsumer):
    def __init__(self, *a, **k):
        super().__init__(*a, **k)
        self.present, self.done = set(), False
        try:
            self.cookie, self.entries = json.load(open(state))
        except FileNotFoundError:
            self.cookie, self.entries = None, {}
    def syncrepl_get_cookie(self): return self.cookie
    def syncrepl_set_cookie(self, c): self.cookie = c
    def syncrepl_entry(self, dn, attrs, uuid):
        assert attrs["entryUUID"][0].decode() == uuid, (attrs, uuid)
        self.entries[uuid] = dn + " " + attrs.get("description", [b""])[0].decode()
    def syncrepl_delete(self, uuids):
        for u in uuids: self.entries.pop(u, None)
    def syncrepl_present(self, uuids, refreshDeletes=False):
        if uuids is not None: self.present.update(uuids)
        else:
            if not refreshDeletes:
                self.entries = {u: e for u, e in self.entries.items() if u in self.present}
            self.present = set()
    def syncrepl_refreshdone(self): self.done = True
c = Copy(url)
c.simple_bind_s()
m = c.syncrepl_search(base, ldap.SCOPE_SUBTREE, mode=mode, filterstr=filter, attrlist=["*", "+"])
while c.syncrepl_poll(msgid=m, all=0, timeout=30):
    if c.done and any(e.endswith(wait) for e in c.entries.values()): break
json.dump([c.cookie, c.entries], open(state, "w"))
for e in sorted(c.entries.values()): print(e)
`

// R40: python-ldap's consumer by polling and persisting, with the cookies that it keeps.
func TestPythonFollows(t *testing.T) {
	src := source(t, "src", 5)
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "src", "--url", src.slapd.URL()+"/"+src.suffix, "--name", "cn=Src")
	s.live("cn=Src")
	script := filepath.Join(t.TempDir(), "consumer.py")
	if err := os.WriteFile(script, []byte(consumer), 0o600); err != nil {
		t.Fatal(err)
	}
	follow := func(mode, filter, state, wait string) string {
		t.Helper()
		out, code := tool(t, "", "timeout", "60", "/usr/bin/python3", script, "ldap://"+s.address, base, mode, filter, s.path(state), wait)
		if code != 0 {
			t.Fatalf("consumer: exit %d\n%s", code, out)
		}
		return out
	}
	want := func(what, got string, filter string) {
		t.Helper()
		var list []string
		for _, block := range strings.Split(s.dump(base, filter), "\n\n") {
			if dn := line(block, "dn"); dn != "" {
				list = append(list, dn+" "+line(block, "description"))
			}
		}
		if all := strings.Join(sorted(list), "\n") + "\n"; got != all {
			t.Errorf("%s: the consumer has\n%swants\n%s", what, got, all)
		}
	}
	const all, devices = "(objectClass=*)", "(objectClass=device)"
	want("first", follow("refreshOnly", all, "poll", ""), all)
	for round := range 4 {
		for range 6 {
			src.change()
		}
		mark := fmt.Sprintf("mark %d", round)
		src.slapd.Apply(fmt.Sprintf("dn: cn=%[1]s,%[2]s\nchangetype: add\nobjectClass: device\ncn: %[1]s\ndescription: %[1]s\n", mark, src.suffix))
		want("persisting", follow("refreshAndPersist", all, "persist", mark), all)
		want("polling", follow("refreshOnly", all, "poll", ""), all)
		want("a filter", follow("refreshOnly", devices, "devices", ""), devices)
		if round == 1 {
			s.kill()
			s.start()
			s.live("cn=Src")
		}
	}
}

// R40: ldapsearch follows, by both modes and with cookies.
func TestLdapsearchFollows(t *testing.T) {
	src := source(t, "src", 6)
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "src", "--url", src.slapd.URL()+"/"+src.suffix, "--name", "cn=Src")
	s.live("cn=Src")
	search := func(control string) string {
		t.Helper()
		out, code := tool(t, "", "timeout", "60", "ldapsearch", "-x", "-o", "ldif-wrap=no", "-H", "ldap://"+s.address, "-b", base, "-E", control, "(objectClass=*)", "cn")
		if code != 0 {
			t.Fatalf("ldapsearch -E %s: exit %d\n%s", control, code, out)
		}
		return out
	}
	first := search("!sync=ro")
	if !strings.Contains(first, "dn: cn=Src,"+base) || !strings.Contains(first, "rid=000,csn=") {
		t.Fatalf("first:\n%s", first)
	}
	at := strings.Index(first, "rid=000,csn=")
	cookie := first[at : at+len("rid=000,csn=")+40]
	src.slapd.Apply("dn: cn=new," + src.suffix + "\nchangetype: add\nobjectClass: device\ncn: new\n")
	eventually(t, soon, "the change is served", func() bool { return strings.Contains(s.dump(base), "dn: cn=new,") })
	second := search("!sync=ro/" + cookie)
	if !strings.Contains(second, "dn: cn=new,cn=Src,"+base) || strings.Contains(second, "dn: cn=Src,"+base+"\n") {
		t.Errorf("from %s on:\n%s", cookie, second)
	}
	cmd := exec.Command("ldapsearch", "-x", "-o", "ldif-wrap=no", "-H", "ldap://"+s.address, "-b", base, "-E", "!sync=rp/"+cookie, "(objectClass=*)", "cn")
	out, err := os.Create(s.path("rp"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	has := func(text string) {
		t.Helper()
		eventually(t, 20*time.Second, "ldapsearch prints "+text, func() bool {
			b, err := os.ReadFile(out.Name())
			return err == nil && strings.Contains(string(b), text)
		})
	}
	has("dn: cn=new,cn=Src," + base)
	src.slapd.Apply("dn: cn=newer," + src.suffix + "\nchangetype: add\nobjectClass: device\ncn: newer\n")
	has("dn: cn=newer,cn=Src," + base)
	src.slapd.Apply("dn: cn=new," + src.suffix + "\nchangetype: delete\n")
	has("delete")
}

// pulley does what a program on libldap's ldap_sync does: root DSE with a time limit, then
// ldap_sync_init in refreshAndPersist mode without a cookie, then ldap_sync_poll. It
// prints what its callbacks are told.
const pulley = `
import ctypes as C, sys, time
l = C.CDLL("libldap-2.5.so.0")
url, base, want = sys.argv[1].encode(), sys.argv[2].encode(), int(sys.argv[3])
class berval(C.Structure): _fields_ = [("len", C.c_ulong), ("val", C.c_char_p)]
P, I = C.c_void_p, C.c_int
ENTRY = C.CFUNCTYPE(I, P, P, P, I)
REF = C.CFUNCTYPE(I, P, P)
INTER = C.CFUNCTYPE(I, P, P, P, I)
RESULT = C.CFUNCTYPE(I, P, P, I)
class sync(C.Structure):
    _fields_ = [("base", C.c_char_p), ("scope", I), ("filter", C.c_char_p), ("attrs", P), ("timelimit", I), ("sizelimit", I), ("timeout", I),
        ("entry", ENTRY), ("ref", REF), ("inter", INTER), ("result", RESULT), ("private", P), ("ld", P),
        ("cookie", berval), ("mode", I), ("hint", I), ("phase", I), ("msgid", I)]
for f in ("ldap_initialize", "ldap_set_option", "ldap_search_ext_s", "ldap_sync_init", "ldap_sync_poll"):
    getattr(l, f).restype = I
l.ldap_get_dn.restype = C.c_void_p
l.ldap_first_entry.restype = P
l.ldap_get_values_len.restype = C.POINTER(P)
l.ldap_get_values_len.argtypes = [P, P, C.c_char_p]
ld = P()
assert l.ldap_initialize(C.byref(ld), url) == 0
assert l.ldap_set_option(ld, 0x11, C.byref(I(3))) == 0
class timeval(C.Structure): _fields_ = [("s", C.c_long), ("u", C.c_long)]
res = P()
assert l.ldap_search_ext_s(ld, b"", 0, b"(objectclass=*)", (C.c_char_p * 2)(b"+", None), 0, None, None, C.byref(timeval(2, 0)), 0, C.byref(res)) == 0
values = l.ldap_get_values_len(ld, l.ldap_first_entry(ld, res), b"supportedControl")
found = []
i = 0
while values[i]:
    found.append(C.cast(values[i], C.POINTER(berval)).contents.val)
    i += 1
assert len(found) > 1 and b"1.3.6.1.4.1.4203.1.9.1.1" in found, found
held, seen = {}, 0
def entry(ls, msg, uuid, phase):
    global seen
    l.ldap_get_dn.argtypes = [P, P]
    p = l.ldap_get_dn(ld, msg)
    dn = C.string_at(p).decode()
    u = C.cast(uuid, C.POINTER(berval)).contents
    u = C.string_at(C.cast(uuid, C.POINTER(P))[1], 16).hex()
    if phase == 3:
        assert u in held, "a delete of what is not held"
        del held[u]
    else:
        assert phase == (2 if u in held else 1), ("phase", phase, dn)
        assert phase == 2 or dn not in held.values(), ("taken", dn)
        held[u] = dn
    seen += 1
    return 0
s = sync()
s.base, s.scope, s.filter, s.timelimit, s.sizelimit, s.timeout = base, 2, b"(objectclass=*)", 0, 0, 0
s.entry, s.ref, s.inter = ENTRY(entry), REF(lambda *a: 0), INTER(lambda *a: 0)
s.result = RESULT(lambda *a: 0)
s.ld = ld
rc = l.ldap_sync_init(C.byref(s), 3)
assert rc == 0, rc
print("refreshed", len(held), flush=True)
until = time.time() + 30
while not any(str(want) in dn for dn in held.values()):
    assert time.time() < until, held
    rc = l.ldap_sync_poll(C.byref(s))
    assert rc == 0, rc
    time.sleep(0.01)
for dn in sorted(held.values()): print(dn)
`

// R40: a program on libldap's ldap_sync, as the story's Pulley is one, follows: no bind,
// no cookie, one delete for each entry that goes.
func TestLibldapFollows(t *testing.T) {
	src := source(t, "src", 8)
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "src", "--url", src.slapd.URL()+"/"+src.suffix, "--name", "cn=Src")
	s.live("cn=Src")
	for range 8 {
		src.change()
	}
	src.slapd.Apply("dn: cn=ready," + src.suffix + "\nchangetype: add\nobjectClass: device\ncn: ready\n")
	eventually(t, 10*time.Second, "all is served", func() bool { return strings.Contains(s.dump(base), "dn: cn=ready,") })
	script := s.path("pulley.py")
	if err := os.WriteFile(script, []byte(pulley), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("timeout", "60", "/usr/bin/python3", script, "ldap://"+s.address, base, "424242")
	out, err := os.Create(s.path("pulley.out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill() })
	printed := func() string { b, _ := os.ReadFile(out.Name()); return string(b) }
	eventually(t, 30*time.Second, "the refresh", func() bool {
		if len(ended) > 0 {
			t.Fatalf("it ended:\n%s", printed())
		}
		return strings.Contains(printed(), "refreshed")
	})
	for range 30 {
		src.change()
	}
	src.slapd.Apply("dn: cn=424242," + src.suffix + "\nchangetype: add\nobjectClass: device\ncn: 424242\n")
	if err := <-ended; err != nil {
		t.Fatalf("%v:\n%s", err, printed())
	}
	_, got, _ := strings.Cut(printed(), "\n")
	if want := strings.Join(sorted(s.dns(base)), "\n") + "\n"; got != want {
		t.Errorf("it has\n%s\nwants\n%s", got, want)
	}
}
