package schema

import (
	"slices"
	"strings"
	"testing"
)

// standardNames are the types that RFC 4512, 4519, 4524, 2798, 2307, 2079,
// 3045, 3296, 3672, 4523, 4530 and 5020 define, and OpenLDAP's, by OID.
var standardNames = map[string]string{
	"2.5.4.0": "objectClass", "2.5.4.1": "aliasedObjectName aliasedEntryName", "2.5.4.3": "cn commonName",
	"2.5.4.4": "sn surname", "2.5.4.5": "serialNumber", "2.5.4.6": "c countryName", "2.5.4.7": "l localityName",
	"2.5.4.8": "st stateOrProvinceName", "2.5.4.9": "street streetAddress", "2.5.4.10": "o organizationName",
	"2.5.4.11": "ou organizationalUnitName", "2.5.4.12": "title", "2.5.4.13": "description", "2.5.4.14": "searchGuide",
	"2.5.4.15": "businessCategory", "2.5.4.16": "postalAddress", "2.5.4.17": "postalCode", "2.5.4.18": "postOfficeBox",
	"2.5.4.19": "physicalDeliveryOfficeName", "2.5.4.20": "telephoneNumber", "2.5.4.21": "telexNumber",
	"2.5.4.22": "teletexTerminalIdentifier", "2.5.4.23": "facsimileTelephoneNumber fax", "2.5.4.24": "x121Address",
	"2.5.4.25": "internationalISDNNumber", "2.5.4.26": "registeredAddress", "2.5.4.27": "destinationIndicator",
	"2.5.4.28": "preferredDeliveryMethod", "2.5.4.31": "member", "2.5.4.32": "owner", "2.5.4.33": "roleOccupant",
	"2.5.4.34": "seeAlso", "2.5.4.35": "userPassword", "2.5.4.36": "userCertificate", "2.5.4.41": "name",
	"2.5.4.42": "givenName gn", "2.5.4.43": "initials", "2.5.4.44": "generationQualifier", "2.5.4.45": "x500UniqueIdentifier",
	"2.5.4.46": "dnQualifier", "2.5.4.47": "enhancedSearchGuide", "2.5.4.49": "distinguishedName", "2.5.4.50": "uniqueMember",
	"2.5.4.51": "houseIdentifier", "0.9.2342.19200300.100.1.1": "uid userid", "0.9.2342.19200300.100.1.25": "dc domainComponent",
	"0.9.2342.19200300.100.1.3": "mail rfc822Mailbox", "0.9.2342.19200300.100.1.7": "photo", "0.9.2342.19200300.100.1.10": "manager",
	"0.9.2342.19200300.100.1.20": "homePhone homeTelephoneNumber", "0.9.2342.19200300.100.1.41": "mobile mobileTelephoneNumber",
	"0.9.2342.19200300.100.1.42": "pager pagerTelephoneNumber", "0.9.2342.19200300.100.1.55": "audio",
	"0.9.2342.19200300.100.1.60": "jpegPhoto", "0.9.2342.19200300.100.1.37": "associatedDomain",
	"2.16.840.1.113730.3.1.40": "userSMIMECertificate", "2.16.840.1.113730.3.1.216": "userPKCS12",
	"2.16.840.1.113730.3.1.241": "displayName", "2.16.840.1.113730.3.1.34": "ref", "1.3.6.1.4.1.250.1.57": "labeledURI",
	"1.3.6.1.1.1.1.0": "uidNumber", "1.3.6.1.1.1.1.1": "gidNumber", "1.3.6.1.1.1.1.12": "memberUid",
	"1.3.6.1.1.1.1.19": "ipHostNumber", "1.3.6.1.1.1.1.27": "nisMapEntry", "1.3.6.1.1.16.4": "entryUUID", "1.3.6.1.1.20": "entryDN",
	"1.3.6.1.1.4": "vendorName", "1.3.6.1.1.5": "vendorVersion", "2.5.18.1": "createTimestamp", "2.5.18.2": "modifyTimestamp",
	"2.5.18.3": "creatorsName", "2.5.18.4": "modifiersName", "2.5.18.5": "administrativeRole", "2.5.18.6": "subtreeSpecification",
	"2.5.18.9": "hasSubordinates", "2.5.18.10": "subschemaSubentry", "2.5.21.9": "structuralObjectClass",
	"2.5.21.10": "governingStructureRule", "1.3.6.1.4.1.1466.101.120.5": "namingContexts", "1.3.6.1.4.1.1466.101.120.6": "altServer",
	"1.3.6.1.4.1.1466.101.120.7": "supportedExtension", "1.3.6.1.4.1.1466.101.120.13": "supportedControl",
	"1.3.6.1.4.1.1466.101.120.14": "supportedSASLMechanisms", "1.3.6.1.4.1.1466.101.120.15": "supportedLDAPVersion",
	"1.3.6.1.4.1.4203.1.3.5": "supportedFeatures", "1.3.6.1.4.1.4203.666.1.7": "entryCSN", "1.3.6.1.4.1.4203.666.1.25": "contextCSN",
	"1.2.840.113556.1.2.102": "memberOf",

	// Shaft's own (R17).
	Arc + ".4.1": "shaftInstance", Arc + ".4.2": "shaftUpstream",
}

// R39: the standard schema is bundled.
func TestR39StandardTypesAreBundled(t *testing.T) {
	s := Bundled()
	for oid, names := range standardNames {
		a := s.Attribute(oid)
		if a.Unknown {
			t.Errorf("no %s %s", oid, names)
			continue
		}
		for _, name := range strings.Fields(names) {
			if s.Attribute(name) != a {
				t.Errorf("%s is not %s", name, oid)
			}
		}
		if !strings.EqualFold(a.Name(), strings.Fields(names)[0]) {
			t.Errorf("%s is called %s", names, a.Name())
		}
	}
}

func TestBundledTypesAreSound(t *testing.T) {
	s := Bundled()
	syntaxes := map[string]bool{}
	for _, d := range s.defs {
		if d.kind == defSyntax {
			syntaxes[d.oid] = true
		}
	}
	for _, d := range s.defs {
		switch d.kind {
		case defAttribute:
			a := s.Attribute(d.oid)
			if a.Unknown || a.Key() != strings.ToLower(a.Name()) || a.Desc == "" && !strings.HasSuffix(a.Name(), "Record") &&
				a.Name() != "shadowFlag" && a.Name() != "janetMailbox" {
				t.Errorf("%s: key %q, description %q", a.Name(), a.Key(), a.Desc)
			}
			if !syntaxes[a.Syntax] {
				t.Errorf("%s: syntax %s is not bundled", a.Name(), a.Syntax)
			}
			if a.Operational() == (a.Usage == UserApplications) {
				t.Errorf("%s: usage %d", a.Name(), a.Usage)
			}
		case defClass:
			c := s.ObjectClass(d.oid)
			top := s.ObjectClass("top")
			if c.Kind == Structural && !c.DerivesFrom(top) {
				t.Errorf("%s does not derive from top", c.Name())
			}
		}
	}
	for _, r := range standardRules {
		if !syntaxes[r.Syntax] {
			t.Errorf("%s: syntax %s is not bundled", r.Name(), r.Syntax)
		}
	}
}

func TestInheritance(t *testing.T) {
	s := Bundled()
	cn, c, owner := s.Attribute("cn"), s.Attribute("c"), s.Attribute("owner")
	if cn.Sup != s.Attribute("name") || cn.Equality.Name() != "caseIgnoreMatch" || cn.Substr.Name() != "caseIgnoreSubstringsMatch" ||
		cn.Ordering != nil || cn.Syntax != SyntaxDirectoryString || cn.SyntaxLen != 32768 || cn.SingleValue {
		t.Errorf("cn: %+v", cn)
	}
	if c.Syntax == SyntaxDirectoryString || c.SyntaxLen != 0 || !c.SingleValue || c.Equality.Name() != "caseIgnoreMatch" {
		t.Errorf("c: %+v", c)
	}
	if !owner.IsDN() || owner.Equality.Kind != RuleDN || !s.Attribute("uniqueMember").IsDN() || cn.IsDN() {
		t.Error("which types hold DNs")
	}
	if uuid := s.Attribute("entryUUID"); !uuid.Operational() || !uuid.NoUserMod || uuid.Usage != DirectoryOperation {
		t.Errorf("entryUUID: %+v", uuid)
	}
	if s.Attribute("contextCSN").Usage != DSAOperation || s.Attribute("ref").Usage != DistributedOperation {
		t.Error("usages")
	}
}

func TestClassMembers(t *testing.T) {
	s := Bundled()
	person := s.ObjectClass("inetOrgPerson")
	names := func(list []*AttributeType) (names []string) {
		for _, a := range list {
			names = append(names, a.Name())
		}
		slices.Sort(names)
		return names
	}
	if got := strings.Join(names(person.AllMust()), " "); got != "cn objectClass sn" {
		t.Errorf("inetOrgPerson must have %s", got)
	}
	may := names(person.AllMay())
	for _, name := range []string{"mail", "ou", "userPassword", "jpegPhoto", "title"} {
		if !slices.Contains(may, name) {
			t.Errorf("inetOrgPerson may not have %s", name)
		}
	}
	if len(slices.Compact(slices.Clone(may))) != len(may) {
		t.Errorf("something is twice in %v", may)
	}
}

func BenchmarkBundled(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Bundled()
	}
}
