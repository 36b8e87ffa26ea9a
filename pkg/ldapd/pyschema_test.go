package ldapd

import "testing"

// pythonSchema reads the schema as python-ldap does for any application, and walks
// it.
const pythonSchema = `
import sys, ldap, ldap.schema
dn, s = ldap.schema.urlfetch(sys.argv[1] + "/cn=Subschema")
assert dn == "cn=Subschema", dn
c = ldap.initialize(sys.argv[1])
assert c.search_subschemasubentry_s("") == "cn=Subschema"
types = s.tree(ldap.schema.AttributeType)
for kind in (ldap.schema.AttributeType, ldap.schema.ObjectClass, ldap.schema.LDAPSyntax, ldap.schema.MatchingRule):
    oids = s.listall(kind)
    assert len(oids) > 20, (kind, len(oids))
    for oid in oids:
        assert s.get_obj(kind, oid) is not None, oid
for oid in s.listall(ldap.schema.ObjectClass):
    must, may = s.attribute_types([oid], raise_keyerror=1)
must, may = s.attribute_types(["inetOrgPerson"])
assert "2.5.4.4" in must and "0.9.2342.19200300.100.1.3" in may
stale = s.get_obj(ldap.schema.AttributeType, "shaftStale")
assert stale.single_value and stale.usage == 3 and stale.syntax.endswith(".7"), stale
counter = s.get_inheritedobj(ldap.schema.AttributeType, "monitorOpInitiated", ["equality", "syntax"])
assert counter.equality == "integerMatch", counter
assert "olmSRSyncPhase" in s.get_obj(ldap.schema.ObjectClass, "olmSyncReplInstance").may
print("all well")
`

// R39: python-ldap's schema class reads cn=Subschema, and finds each definition whole.
func TestPythonReadsSchema(t *testing.T) {
	_, addr := serve(t, Options{})
	out, code := tool(t, "python3", "/usr/bin/python3", "-c", pythonSchema, "ldap://"+addr)
	if code != 0 || out != "all well\n" {
		t.Errorf("%d: %s", code, out)
	}
}
