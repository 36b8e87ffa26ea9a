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
	_, deleted, _ := strings.Cut(s.search("-b", "cn=new,cn=Src,"+base, "-s", "base", "entryUUID"), "entryUUID: ")
	uuid, _, _ := strings.Cut(deleted, "\n")
	src.slapd.Apply("dn: cn=new," + src.suffix + "\nchangetype: delete\n")
	has("SyncState control, UUID " + uuid + " deleted")
}
