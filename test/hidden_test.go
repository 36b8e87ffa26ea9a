package test

import (
	"fmt"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
)

// R40, R45: a Shaft that follows another keeps what shows below an entry that a rule hides there, whether it is there when that is hidden or comes back, and
// gets the entry again when it shows again.
func TestHiddenParentInARow(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: "o=src", SID: 3, LDIF: "dn: o=src\nobjectClass: organization\no: src\n\n" +
		"dn: cn=a,o=src\nobjectClass: device\ncn: a\ndescription: x\n\ndn: cn=b,cn=a,o=src\nobjectClass: device\ncn: b\n\ndn: cn=c,cn=b,cn=a,o=src\nobjectClass: device\ncn: c\n"})
	first := newShaft(t, "base_dn: "+base+"\naccess: [ { who: anonymous, filter: '(description=hidden)', allow: none }, { who: anonymous, allow: sync } ]")
	first.run("subscription", "add", "src", "--url", up.URL()+"/o=src", "--name", "cn=Src", "--wait")
	second := newShaft(t, "base_dn: o=Second\nserver_id: 2")
	second.run("subscription", "add", "first", "--url", "ldap://"+first.address+"/"+strings.ReplaceAll(base, " ", "%20"), "--name", "ou=First", "--wait")
	describe := func(text string) {
		up.Apply(fmt.Sprintf("dn: cn=a,o=src\nchangetype: modify\nreplace: description\ndescription: %s\n", text))
	}
	shows := func(when string, want bool) {
		t.Helper()
		eventually(t, limit, when, func() bool {
			a, _ := second.trySearch("-b", "cn=Src,ou=First,o=Second", "(description=*)", "description")
			rest, _ := second.trySearch("-b", "cn=Src,ou=First,o=Second", "(|(cn=b)(cn=c))", "1.1")
			return strings.Contains(a, "description") == want && strings.Count(rest, "dn: ") == 2
		})
	}
	shows("all is there", true)
	describe("hidden")
	shows("it is hidden, and the rest is there", false)
	describe("y")
	shows("it is there again", true)
	second.stop()
	describe("hidden")
	eventually(t, limit, "it is hidden at the first", func() bool {
		out, _ := first.trySearch("-b", base, "(cn=a)", "1.1")
		return !strings.Contains(out, "dn: ")
	})
	second.start()
	shows("it comes back: hidden, and the rest is there", false)
	describe("z")
	shows("it is there again, after a return", true)
}
