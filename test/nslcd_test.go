package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// nslcd is Debian's, in a mount namespace of its own, where it has the only
// configuration that it reads, and where the C library looks users up through it.
type nslcd struct {
	t   *testing.T
	cmd *exec.Cmd
	log bytes.Buffer
}

const nslcdNeeds = "apt-get install nslcd libnss-ldapd util-linux mount"

// startNslcd has it read users and groups at a base of Shaft's.
func startNslcd(t *testing.T, s *shaft, base string) *nslcd {
	t.Helper()
	module, err := filepath.Glob("/usr/lib/*/libnss_ldap.so.2")
	if _, missing := exec.LookPath("/usr/sbin/nslcd"); missing != nil || err != nil || len(module) == 0 {
		t.Fatalf("nslcd or its module of the C library is missing: %s", nslcdNeeds)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"nslcd.conf":    fmt.Sprintf("uri ldap://%s/\nbase %s\npagesize 3\nreconnect_sleeptime 1\nreconnect_retrytime 1\n", s.address, base),
		"nsswitch.conf": "passwd: files ldap\ngroup: files ldap\nshadow: files ldap\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := &nslcd{t: t}
	n.cmd = exec.Command("unshare", append(n.spaces("--map-root-user"), "sh", "-e", "-c",
		`cd "$1"; mount -t tmpfs tmpfs /run; mkdir /run/nslcd
		for file in nslcd.conf nsswitch.conf; do mount --bind $file /etc/$file; done
		exec /usr/sbin/nslcd -d`, "sh", dir)...)
	n.cmd.Stdout, n.cmd.Stderr, n.cmd.WaitDelay = &n.log, &n.log, 5*time.Second
	if err := n.cmd.Start(); err != nil {
		t.Fatalf("%v: %s", err, nslcdNeeds)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); n.cmd.Wait() }()
	t.Cleanup(func() {
		n.cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("the end of nslcd's log:\n%s", n.log.Bytes()[max(0, n.log.Len()-4000):])
		}
	})
	eventually(t, 30*time.Second, "nslcd answers", func() bool {
		select {
		case <-ended:
			t.Fatalf("nslcd has ended (%s):\n%s", nslcdNeeds, &n.log)
		default:
		}
		return n.run("test", "-S", "/run/nslcd/socket") == ""
	})
	return n
}

// spaces are the options for a mount namespace, which those who are not root only get
// in a user namespace.
func (n *nslcd) spaces(forUser string) []string {
	if os.Geteuid() == 0 {
		return []string{"--mount"}
	}
	return []string{"--mount", "--user", forUser}
}

// run runs a program beside nslcd, and gives what it prints, or how it failed.
func (n *nslcd) run(program ...string) string {
	n.t.Helper()
	args := append([]string{"--target", strconv.Itoa(n.cmd.Process.Pid)}, n.spaces("--preserve-credentials")...)
	out, err := finish(n.t, exec.Command("nsenter", append(args, program...)...))
	if err != nil {
		return strings.TrimSpace(fmt.Sprintf("%v %s", err, out))
	}
	return out
}

const users = `dn: o=src
objectClass: organization
o: src

dn: ou=people,o=src
objectClass: organizationalUnit
ou: people

dn: cn=staff,o=src
objectClass: posixGroup
cn: staff
gidNumber: 70100
memberUid: anna

dn: cn=board,o=src
objectClass: posixGroup
objectClass: extensibleObject
cn: board
gidNumber: 70101
member: uid=bela,ou=people,o=src

`

func user(uid string, number int) string {
	return fmt.Sprintf("dn: uid=%[1]s,ou=people,o=src\nobjectClass: account\nobjectClass: posixAccount\nuid: %[1]s\ncn: The %[1]s\n"+
		"uidNumber: %[2]d\ngidNumber: 70100\nhomeDirectory: /home/%[1]s\nloginShell: /bin/sh\n\n", uid, number)
}

// R6, R33, R38: nslcd resolves users and groups from a mirrored subtree, for the C library: they
// appear, change and vanish as the source says, groups that name their members by DN
// find them where they have been moved to; they stay while the source is down, and come
// back with Shaft.
func TestNslcdResolvesUsers(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: "o=src", SessionLog: 100, LDIF: users + user("anna", 70001) + user("bela", 70002)})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "src", "--url", up.URL()+"/o=src", "--name", "cn=Accounts", "--wait")
	n := startNslcd(t, s, "cn=Accounts,"+base)
	sees := func(what, want string, program ...string) {
		t.Helper()
		var got string
		defer func() {
			if t.Failed() {
				t.Logf("%q prints\n%s\nwants\n%s", program, got, want)
			}
		}()
		eventually(t, 30*time.Second, what, func() bool {
			lines := strings.Split(strings.TrimSpace(n.run(program...)), "\n")
			slices.Sort(lines)
			got = strings.Join(lines, "\n")
			return got == want
		})
	}
	const anna, bela = "anna:*:70001:70100:The anna:/home/anna:/bin/sh", "bela:*:70002:70100:The bela:/home/bela:/bin/sh"
	sees("all users", anna+"\n"+bela, "getent", "-s", "ldap", "passwd")
	sees("a user by name", anna, "getent", "passwd", "anna")
	sees("a user by number", bela, "getent", "passwd", "70002")
	sees("groups", "board:*:70101:bela\nstaff:*:70100:anna", "getent", "-s", "ldap", "group")
	sees("a user's groups", "uid=70002(bela) gid=70100(staff) groups=70100(staff),70101(board)", "id", "bela")

	var many strings.Builder
	all := []string{anna, bela}
	for i := range 10 {
		name := fmt.Sprintf("u%d", i)
		many.WriteString(user(name, 70010+i))
		all = append(all, fmt.Sprintf("%[1]s:*:%[2]d:70100:The %[1]s:/home/%[1]s:/bin/sh", name, 70010+i))
	}
	up.Apply(many.String())
	sees("users that came, over several pages", strings.Join(all, "\n"), "getent", "-s", "ldap", "passwd")
	up.Apply("dn: uid=anna,ou=people,o=src\nchangetype: modify\nreplace: loginShell\nloginShell: /bin/bash\n")
	sees("another shell", strings.Replace(anna, "/bin/sh", "/bin/bash", 1), "getent", "passwd", "anna")
	up.Apply("dn: cn=board,o=src\nchangetype: modify\nadd: member\nmember: uid=u3,ou=people,o=src\n")
	sees("another member", "board:*:70101:bela,u3", "getent", "group", "board")
	up.Apply("dn: uid=bela,ou=people,o=src\nchangetype: modrdn\nnewrdn: uid=belinda\ndeleteoldrdn: 1\n")
	sees("another name", strings.Replace(bela, "bela:", "belinda:", 1), "getent", "passwd", "belinda")
	sees("the old name is gone", "exit status 2", "getent", "passwd", "bela")
	up.Apply("dn: uid=u3,ou=people,o=src\nchangetype: delete\n")
	sees("a user who went", "exit status 2", "getent", "passwd", "u3")
	up.Stop()
	s.stop()
	s.start()
	sees("a user while the source is down, after a restart", strings.Replace(anna, "/bin/sh", "/bin/bash", 1), "getent", "passwd", "anna")
}
