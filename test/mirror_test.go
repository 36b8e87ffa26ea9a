package test

import (
	"bufio"
	"crypto/sha256"
	"flag"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// mirrored is how many people the mirrors of TestMirrors have: make test has 100,000
// without the race detector, which would take minutes.
var mirrored = flag.Int("mirrored", 300, "people in the mirrors that are compared entry by entry")

const (
	people      = "dc=bench,dc=example" // the suffix of what test/bench makes
	peopleHere  = "dc=bench," + base
	peopleThere = "dc=bench,o=Second"
	// mirrorPatience bounds the load of a mirror: a slapd takes a minute for 100,000
	// entries on a busy machine.
	mirrorPatience = 5 * time.Minute
)

// sum is of one entry's lines.
type sum struct {
	all    [sha256.Size]byte
	source [sha256.Size]byte // without entryCSN, which each server makes
}

// sums gives a sum for each entry that a server has at a base, by DN; its lines and DNs go
// through words first.
func sums(t *testing.T, url, at string, words *strings.Replacer) map[string]sum {
	t.Helper()
	cmd := exec.Command("ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-H", url, "-b", at, "*", "+")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(mirrorPatience, func() { cmd.Process.Kill() }).Stop()
	all := map[string]sum{}
	var block []string
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if lines.Text() != "" {
			block = append(block, lines.Text())
			continue
		}
		dn, text := copiedEntry(words.Replace(strings.Join(block, "\n")))
		if _, twice := all[dn]; twice {
			t.Errorf("%s has %s twice", url, dn)
		}
		all[dn] = sum{sha256.Sum256([]byte(text)), sha256.Sum256([]byte(entryCSN.ReplaceAllString(text, "")))}
		block = block[:0]
	}
	if err := cmd.Wait(); err != nil || lines.Err() != nil {
		t.Fatalf("ldapsearch at %s: %v, %v", url, err, lines.Err())
	}
	return all
}

var entryCSN = regexp.MustCompile(`(?m)^entryCSN: .*\n`)

// R6, R12, R40: a slapd with people, a Shaft that follows it, and behind that a slapd and a
// Shaft, which load while the source changes, have the same, entry by entry and attribute
// by attribute.
func TestMirrors(t *testing.T) {
	ldif, err := exec.Command("go", "run", "./bench", "-ldif", "-entries", fmt.Sprint(*mirrored)).Output()
	if err != nil {
		t.Fatal(err)
	}
	var dns []string
	for _, m := range regexp.MustCompile(`(?m)^dn: (uid=.*)$`).FindAllSubmatch(ldif, -1) {
		dns = append(dns, string(m[1]))
	}
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: people, SessionLog: 1000, LDIF: string(ldif)})
	first := newShaft(t, "base_dn: "+base)
	first.run("subscription", "add", "people", "--url", up.URL()+"/"+people, "--name", "dc=bench")
	eventually(t, mirrorPatience, "the first Shaft has it", func() bool { return first.names()[peopleHere].LastKnownGood })
	follower := mirror(t, "ldap://"+first.address, base, "type=refreshAndPersist", "schemachecking=on")
	second := newShaft(t, "base_dn: o=Second\nserver_id: 2")
	second.run("subscription", "add", "first", "--url", "ldap://"+first.address+"/dc=bench,ou=Package%20Listers", "--name", "dc=bench")
	last := stir(up, dns)
	awaitMirrors(t, first, second, follower, last)

	here := sums(t, "ldap://"+first.address, base, strings.NewReplacer())
	if least := *mirrored * 9 / 10; len(here) < least {
		t.Errorf("there are %d entries, want %d at least", len(here), least)
	}
	compare := func(who string, got map[string]sum, same func(a, b sum) bool) {
		t.Helper()
		wrong := 0
		for dn := range here {
			if !same(got[dn], here[dn]) {
				if wrong++; wrong <= 3 {
					t.Errorf("%s: other than\n%s", who, first.search("-b", dn, "-s", "base", "*", "+"))
				}
			}
		}
		for dn := range got {
			if _, ok := here[dn]; !ok {
				if wrong++; wrong <= 3 {
					t.Errorf("%s: has %s", who, dn)
				}
			}
		}
		if wrong > 0 {
			t.Errorf("%s: %d of %d entries are other", who, wrong, len(here))
		}
	}
	compare("the slapd that follows", sums(t, follower.URL(), base, strings.NewReplacer()), func(a, b sum) bool { return a.all == b.all })
	delete(here, base) // of the first Shaft alone
	content := func(a, b sum) bool { return a.source == b.source }
	compare("the Shaft that follows", sums(t, "ldap://"+second.address, peopleThere, strings.NewReplacer(peopleThere, peopleHere)), content)
	compare("the source", sums(t, up.URL(), people, strings.NewReplacer(people, peopleHere)), content)
}

// awaitMirrors waits until the last change has come to all.
func awaitMirrors(t *testing.T, first, second *shaft, follower *ldaptest.Slapd, last string) {
	t.Helper()
	shows := func(url, at, attribute string) string {
		out, _ := finish(t, exec.Command("ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-H", url, "-b", at, "-s", "base", attribute))
		return line(out, attribute)
	}
	eventually(t, mirrorPatience, "the last change is in the first Shaft", func() bool { return shows("ldap://"+first.address, last+","+peopleHere, "ou") != "" })
	eventually(t, mirrorPatience, "the last change is in the second Shaft", func() bool { return shows("ldap://"+second.address, last+","+peopleThere, "ou") != "" })
	csn := line(first.search("-b", base, "-s", "base", "contextCSN"), "contextCSN")
	eventually(t, mirrorPatience, "slapd has come to the contextCSN of the first Shaft", func() bool { return shows(follower.URL(), base, "contextCSN") == csn })
}

// stir makes changes of every kind: people who are modified, renamed and deleted, a unit
// that gets another name with all below it, and units that come. It gives the RDN of the last of them.
func stir(up *ldaptest.Slapd, dns []string) (last string) {
	var changes strings.Builder
	for i := range 60 {
		dn := dns[i*len(dns)/60]
		fmt.Fprintf(&changes, "dn: %s\nchangetype: ", dn)
		switch i % 3 {
		case 0:
			fmt.Fprintf(&changes, "modify\nreplace: title\ntitle: number %d\n-\ndelete: mobile\n-\nadd: description\ndescription: ü\n\n", i)
		case 1:
			fmt.Fprintf(&changes, "modrdn\nnewrdn: uid=renamed%d\ndeleteoldrdn: 1\n\n", i)
		default:
			changes.WriteString("delete\n\n")
		}
		if i%10 == 0 {
			last = fmt.Sprintf("ou=new %d", i)
			fmt.Fprintf(&changes, "dn: %s,%s\nchangetype: add\nobjectClass: organizationalUnit\nou: new %d\n\n", last, people, i)
		}
	}
	up.Apply(changes.String())
	last = "ou=last"
	up.Apply("dn: ou=unit 0," + people + "\nchangetype: modrdn\nnewrdn: ou=moved\ndeleteoldrdn: 1\n\n" +
		"dn: " + last + "," + people + "\nchangetype: add\nobjectClass: organizationalUnit\nou: last\n")
	return last
}
