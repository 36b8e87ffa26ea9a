package test

import (
	"testing"

	"shaft/internal/ldaptest"
)

// pythonSearches uses python-ldap's classes for large results, and its schema class
// on what was learned from the source's server.
const pythonSearches = `
import io, sys
import ldap, ldap.resiter, ldap.schema, ldif
from ldap import asyncsearch
from ldap.ldapobject import LDAPObject
url, base = sys.argv[1:]
below = "distro=openSUSE,cn=SuSe," + base
class Client(LDAPObject, ldap.resiter.ResultProcessor): pass
c = Client(url)
c.timeout = 20
wanted = ["pkgName=p%03d,%s" % (i, below) for i in range(200)]

def begin(): return c.search(below, ldap.SCOPE_ONELEVEL, "(pkgName=p*)", ["*", "entryUUID"])
assert sorted(dn for _, entries, _, _ in c.allresults(begin(), timeout=20) for dn, _ in entries) == wanted
m = begin()
assert next(c.allresults(m, timeout=20))[1][0][0] in wanted
c.abandon(m) # and the connection goes on

def search(kind, *args, **more):
    s = kind(c, *args)
    s.startSearch(below, ldap.SCOPE_ONELEVEL, "(pkgName=p*)", ["*", "entryUUID"], **more)
    return s, s.processResults(timeout=20)
s, partial = search(asyncsearch.List)
assert not partial and sorted(e[0] for _, e in s.allResults) == wanted, s.allResults
s, _ = search(asyncsearch.Dict)
assert sorted(s.allEntries) == wanted, s.allEntries
s, _ = search(asyncsearch.IndexedDict, ["pkgVersion"])
assert list(s.index["pkgVersion"][b"17"]) == [wanted[17]], s.index
out = io.StringIO()
search(asyncsearch.LDIFWriter, ldif.LDIFWriter(out))
read = ldif.LDIFRecordList(io.StringIO(out.getvalue()))
read.parse()
assert sorted(dn for dn, _ in read.all_records) == wanted
try:
    s = asyncsearch.List(c)
    s.startSearch(below, ldap.SCOPE_ONELEVEL, "(pkgName=p*)", sizelimit=50)
    s.processResults(timeout=20)
    assert False, "a size limit is passed over"
except ldap.SIZELIMIT_EXCEEDED:
    assert len(s.allResults) == 50, s.allResults

dn, schema = ldap.schema.urlfetch(url + "/" + base.replace(" ", "%20"))
assert dn == "cn=Subschema", dn
package = schema.get_obj(ldap.schema.ObjectClass, "LinuxPackage")
assert package is not None and "pkgName" in package.must, package
for dn, attributes in read.all_records:
    entry = ldap.schema.models.Entry(schema, dn, attributes)
    must, may = schema.attribute_types([v.decode() for v in entry["objectClass"]], raise_keyerror=1)
    assert all(entry.get(a.names[0]) for a in must.values()), entry
    assert schema.get_structural_oc(["top", "LinuxPackage"]) == package.oid
print("all well")
`

// R38, R39: python-ldap's iterator and asynchronous searches give every entry, and its schema
// class knows what the source's server defines.
func TestPythonSearches(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: suse(200)})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "suse", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe", "--wait")
	if out, code := tool(t, pythonSearches, "/usr/bin/python3", "-", "ldap://"+s.address, base); code != 0 || out != "all well\n" {
		t.Errorf("exit %d\n%s", code, out)
	}
}
