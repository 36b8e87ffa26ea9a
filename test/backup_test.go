package test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/syncrepl"
)

// restore makes the daemon's store anew from a backup, in the place of what is there.
func (s *shaft) restore(file string) string {
	s.t.Helper()
	out, err := finish(s.t, exec.Command(binary, "restore", file, "--force", "--config", s.path("shaft.yaml")))
	if err != nil {
		s.t.Fatalf("restore: %v\n%s", err, out)
	}
	return out
}

// followed is a Shaft with two sources, and those who follow it.
type followed struct {
	t             *testing.T
	s             *shaft
	one, two      *traffic
	persist, poll *ldaptest.Slapd
	second        *shaft // follows s
	script        string
}

func newFollowed(t *testing.T) *followed {
	t.Helper()
	f := &followed{t: t, one: source(t, "one", 11), two: source(t, "two", 12), script: filepath.Join(t.TempDir(), "consumer.py")}
	if err := os.WriteFile(f.script, []byte(consumer), 0o600); err != nil {
		t.Fatal(err)
	}
	f.s = newShaft(t, "base_dn: "+base+"\naccess: [ { who: anonymous, allow: sync } ]")
	f.s.run("subscription", "add", "one", "--url", f.one.slapd.URL()+"/"+f.one.suffix, "--name", "cn=One", "--no-guard")
	f.s.run("subscription", "add", "two", "--url", f.two.slapd.URL()+"/"+f.two.suffix, "--name", "cn=Two", "--no-guard")
	f.s.live("cn=One")
	f.s.live("cn=Two")
	url := "ldap://" + f.s.address
	f.persist = mirror(t, url, base, "type=refreshAndPersist", "schemachecking=on")
	f.poll = mirror(t, url, base, "type=refreshOnly", "interval=00:00:00:01", "schemachecking=off")
	f.second = newShaft(t, "base_dn: o=Second\nserver_id: 2")
	f.second.run("subscription", "add", "first", "--url", url+"/"+strings.ReplaceAll(base, " ", "%20"), "--name", "ou=First", "--no-guard")
	return f
}

func (f *followed) change(n int) {
	for range n {
		f.one.change()
		f.two.change()
	}
}

// python polls with the cookie and the entries of an earlier time; state names them.
func (f *followed) python(state string) {
	f.t.Helper()
	out, code := tool(f.t, "", "timeout", "60", "/usr/bin/python3", f.script, "ldap://"+f.s.address, base, "refreshOnly", "(objectClass=*)", f.s.path(state), "")
	if code != 0 {
		f.t.Fatalf("python, %s: exit %d\n%s", state, code, out)
	}
	var list []string
	for _, block := range strings.Split(f.s.dump(base), "\n\n") {
		if dn := line(block, "dn"); dn != "" {
			list = append(list, dn+" "+line(block, "description"))
		}
	}
	if want := strings.Join(sorted(list), "\n") + "\n"; out != want {
		f.t.Errorf("python, %s, has\n%swants\n%s", state, out, want)
	}
}

// arrived waits until all sources are shown, and all who follow have what is shown,
// entry by entry.
func (f *followed) arrived(names ...string) {
	f.t.Helper()
	for i, tr := range []*traffic{f.one, f.two} {
		at := names[i] + "," + base
		eventually(f.t, 30*time.Second, at+" is what its source has", func() bool {
			out, _ := f.s.trySearch("-b", at)
			return maps.Equal(entries(tr.slapd.Search("-LLL", "-o", "ldif-wrap=no", "-b", tr.suffix), tr.suffix), entries(out, at))
		})
	}
	f.s.mirrors(f.t, f.persist, base)
	f.s.mirrors(f.t, f.poll, base)
	eventually(f.t, 30*time.Second, "the second Shaft has what the first has", func() bool {
		out, _ := f.s.trySearch("-b", base, "*", "entryUUID")
		there := entries(out, base)
		out, _ = f.second.trySearch("-b", "ou=First,o=Second", "*", "entryUUID")
		return len(there) > 0 && maps.Equal(there, entries(out, "ou=First,o=Second"))
	})
}

// R17, R40, invariants 10 and 13: a backup is taken while sources change and followers
// follow; more changes, an operator's among them, are lost with the store; it is
// restored, twice. Whoever followed, up to before the backup, up to what is lost, or
// midway, ends with what is served, entry by entry.
func TestRestoreFollowed(t *testing.T) {
	f := newFollowed(t)
	s, file := f.s, f.s.path("backup")
	f.change(8)
	f.arrived("cn=One", "cn=Two")
	f.python("before")
	f.persist.Stop()
	f.change(2)
	s.run("backup", file)
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Fatal(info, err)
	}

	f.change(3) // the time that will be lost
	s.run("name", "rename", "cn=One,"+base, "cn=Lost")
	f.persist.Start()
	f.change(3)
	f.arrived("cn=Lost", "cn=Two")
	f.python("lost")
	stream := s.feed(base, syncrepl.RefreshOnly, nil)
	stream.refresh()

	seen := map[string]bool{}
	last := s.contextCSN()
	for round := range 2 {
		id, _ := instance(s)
		if seen[id] {
			t.Errorf("round %d: instance %s again", round, id)
		}
		seen[id] = true
		s.kill()
		f.change(3)
		if round == 1 { // the disk is gone, with all that is kept beside the store
			if err := os.RemoveAll(s.path("data")); err != nil {
				t.Fatal(err)
			}
		}
		out := s.restore(file)
		if !strings.Contains(out, s.path("data")+" restored: "+base+" as of ") || strings.Contains(out, "not whole") || strings.Contains(out, "missing") ||
			strings.Contains(out, "what was there is in "+s.path("data/before-restore-")) != (round == 0) {
			t.Errorf("round %d: restore says\n%s", round, out)
		}
		s.start()
		if now := s.contextCSN(); now <= last {
			t.Errorf("round %d: contextCSN %s after %s", round, now, last)
		}
		f.python("before")
		f.python("lost")
		f.change(3)
		f.arrived("cn=One", "cn=Two")
		f.python("before")
		f.python("lost")
		f.change(3)
		f.arrived("cn=One", "cn=Two")
		adds := 0 // with a cookie of the time that is lost each entry comes once
		for _, what := range s.feed(base, syncrepl.RefreshOnly, stream.cookie).refresh() {
			if strings.HasPrefix(what, "add ") {
				adds++
			}
		}
		if n := len(s.dns(base)); adds != n || n < 5 {
			t.Errorf("round %d: %d of %d entries", round, adds, n)
		}
		last = s.contextCSN()
	}
}

// What restore refuses, and says: the daemon runs; there is a store; a cut file, a
// flipped bit with its place; another base DN; no file. All of it stays as it was.
func TestRestoreRefused(t *testing.T) {
	src := source(t, "src", 13)
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "src", "--url", src.slapd.URL()+"/"+src.suffix, "--name", "cn=Src")
	s.live("cn=Src")
	file := s.path("backup")
	s.run("backup", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, text []byte) string {
		t.Helper()
		if err := os.WriteFile(s.path(name), text, 0o600); err != nil {
			t.Fatal(err)
		}
		return s.path(name)
	}
	flipped := append([]byte(nil), text...)
	flipped[len(flipped)/2] ^= 8
	other := write("other.yaml", []byte("base_dn: o=other\ndata_dir: other\n"))
	refused := func(words string, args ...string) {
		t.Helper()
		out, err := finish(t, exec.Command(binary, append([]string{"restore"}, args...)...))
		if err == nil || !strings.Contains(out, words) {
			t.Errorf("shaft restore %q: %v, wants %q\n%s", args, err, words, out)
		}
	}
	config := s.path("shaft.yaml")
	refused("store is in use by another process", file, "--config", config, "--force")
	changed := func() string {
		return line(s.search("-s", "base", "-b", "cn=Src,"+base, "shaftLastChange"), "shaftLastChange")
	}
	was, users, last := s.tree(), s.search("-b", base, "*", "entryUUID"), changed()
	s.stop()
	refused("there is a store already", file, "--config", config)
	refused("it ends at byte", write("cut", text[:len(text)-7]), "--config", config, "--force")
	refused("piece 2, from byte ", write("flipped", flipped), "--force", "--config", config)
	refused(`the backup is of the base DN "`+base+`", the configuration says "o=other"`, "--config", other, file)
	refused("no such file", s.path("none"), "--config", config)
	refused("wrong usage: shaft restore FILE", "--config", config)
	s.start()
	s.live("cn=Src")
	if now := s.tree(); now != was {
		t.Errorf("served now:\n%s\nbefore:\n%s", now, was)
	}
	if aside, _ := filepath.Glob(s.path("data/*restore*")); len(aside) > 0 {
		t.Error(aside)
	}
	s.stop()
	if err := os.RemoveAll(s.path("data")); err != nil { // the disk is gone
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "restore", "-", "--config", config)
	cmd.Stdin, err = os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := finish(t, cmd); err != nil || strings.Contains(out, "what was there") {
		t.Fatalf("%v\n%s", err, out)
	}
	s.start()
	s.live("cn=Src")
	if now := s.search("-b", base, "*", "entryUUID"); now != users {
		t.Errorf("restored:\n%s\nbefore:\n%s", now, users)
	}
	// CSNs are ahead of the clock now; what is told of the last change is not.
	if now := changed(); now != last {
		t.Errorf("last change %s, before it was %s", now, last)
	}
	src.slapd.Apply("dn: " + src.suffix + "\nchangetype: modify\nreplace: description\ndescription: new\n")
	eventually(t, 30*time.Second, "the change arrives", func() bool { return strings.Contains(s.search("-b", base), "description: new") })
	if now := changed(); now < last || now > time.Now().UTC().Format("20060102150405Z") {
		t.Errorf("last change %s", now)
	}
}
