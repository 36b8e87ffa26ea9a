package rewrite

import (
	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

// glueClasses is the structural class whose entries are commonly named by an
// attribute (by its Key) and need nothing else.
var glueClasses = map[string]string{
	"ou":     "organizationalUnit",
	"o":      "organization",
	"c":      "country",
	"l":      "locality",
	"st":     "locality",
	"street": "locality",
	"dc":     "domain",
	"cn":     "organizationalRole",
	"uid":    "account",
}

// glueAnything is a structural class that needs no attribute at all: with
// extensibleObject beside it an entry may have any RDN, and nothing is invented.
const glueAnything = "locality"

// Glue makes the user attributes of an entry that exists only to hold a name
// together (R7): a structural class that suits the RDN (organizationalUnit for
// ou, organization for o, domain for dc, organizationalRole for cn and so on,
// else locality), extensibleObject where that class does not allow all of the
// RDN, and the RDN's values.
func Glue(s *schema.Schema, rdn dit.RDN) dit.Run {
	avas := rdn.AVAs()
	structural := glueAnything
	for _, ava := range avas {
		if class, ok := glueClasses[s.Attribute(ava.Type).Key()]; ok {
			structural = class
			break
		}
	}
	classes := []string{"top", structural}
	if !allowsAll(s, classes, avas) {
		classes = append(classes, "extensibleObject")
	}
	return ensure(dit.AppendAttr(nil, "objectClass", classes...), nil, s, avas, false)
}
