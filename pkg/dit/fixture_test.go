package dit

import (
	"testing"

	"shaft/pkg/schema"
)

var testSchema = schema.Bundled()

// personRun is ten user attributes of one person.
func personRun() Run {
	var r Run
	r = AppendAttr(r, "objectClass", "top", "person", "organizationalPerson", "inetOrgPerson", "posixAccount")
	r = AppendAttr(r, "cn", "Babs Jensen", "Barbara  Jensen")
	r = AppendAttr(r, "cn;lang-de", "Bärbel Jensen")
	r = AppendAttr(r, "sn", "Jensen")
	r = AppendAttr(r, "description", "Chief engineer of the western Tower")
	r = AppendAttr(r, "mail", "babs@example.com")
	r = AppendAttr(r, "manager", "CN=Björn Jensen, ou=People,dc=example,dc=com")
	r = AppendAttr(r, "uidNumber", "1042")
	r = AppendAttr(r, "userPassword", "{x}\x00\xff")
	r = AppendAttr(r, "uid", "babs.jensen")
	return r
}

func operRun() Run {
	var r Run
	r = AppendAttr(r, "entryUUID", "7c0a7e0a-9e3b-4f0a-8b1e-0a0a0a0a0a0a")
	r = AppendAttr(r, "createTimestamp", "20240102030405Z")
	r = AppendAttr(r, "structuralObjectClass", "inetOrgPerson")
	r = AppendAttr(r, "hasSubordinates", "FALSE")
	return r
}

func mustDN(t testing.TB, text string) DN {
	t.Helper()
	d, err := ParseDN(testSchema, text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustFilter(t testing.TB, text string) Filter {
	t.Helper()
	f, err := ParseFilter(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
