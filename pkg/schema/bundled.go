package schema

import _ "embed"

// The bundled definitions, in the language of RFC 4512 with OpenLDAP's
// directives around them.
var (
	//go:embed standard/system.schema
	systemText []byte
	//go:embed standard/core.schema
	coreText []byte
	//go:embed standard/cosine.schema
	cosineText []byte
	//go:embed standard/inetorgperson.schema
	inetOrgPersonText []byte
	//go:embed standard/nis.schema
	nisText []byte
	//go:embed standard/monitor.schema
	monitorText []byte
)

// Bundled is the standard schema: RFC 4512, 4517, 4519, 2798, 4524 (with the
// pilot types of RFC 1274 that it left out), 2307, 4523's types, 2079
// (labeledURI), 2247 (dcObject), 3296 (ref), 4530 (entryUUID), 5020 (entryDN),
// 3672 (subentries), 3045 (vendorName), and the operational types that OpenLDAP
// serves (entryCSN, contextCSN, …, and those of cn=Monitor); and Shaft's own. It parses the definitions at each call
// (some milliseconds): call it once.
func Bundled() *Schema {
	s, err := (&Schema{}).Extend(bundledFiles()...)
	if err != nil {
		panic("bundled schema: " + err.Error())
	}
	return s
}

func bundledFiles() []File {
	return []File{
		{"bundled/system.schema", systemText},
		{"bundled/core.schema", coreText},
		{"bundled/cosine.schema", cosineText},
		{"bundled/inetorgperson.schema", inetOrgPersonText},
		{"bundled/nis.schema", nisText},
		{"bundled/monitor.schema", monitorText},
		{"bundled/shaft.schema", []byte(shaftText)},
	}
}
