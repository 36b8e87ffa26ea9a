package schema

import (
	"sort"
	"strings"
	"testing"
)

// typeRows are the bundled types as another implementation of the standards
// resolves them: rules (equality, ordering, substrings), the syntax's last
// number (or its OID), the length that the type itself gives, other properties.
var typeRows = []struct {
	name, rules, syntax string
	length              int
	flags               string
}{
	{"uid", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 256, ""},
	{"textEncodedORAddress", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 256, ""},
	{"mail", "caseIgnoreIA5Match - caseIgnoreIA5SubstringsMatch", "26", 256, ""},
	{"info", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 2048, ""},
	{"drink", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 256, ""},
	{"roomNumber", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 256, ""},
	{"photo", "- - -", "23", 25000, ""},
	{"userClass", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 256, ""},
	{"host", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 256, ""},
	{"manager", "distinguishedNameMatch - -", "12", 0, ""},
	{"documentIdentifier", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 256, ""},
	{"documentTitle", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 256, ""},
	{"documentVersion", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 256, ""},
	{"documentAuthor", "distinguishedNameMatch - -", "12", 0, ""},
	{"documentLocation", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 256, ""},
	{"homePhone", "telephoneNumberMatch - telephoneNumberSubstringsMatch", "50", 0, ""},
	{"secretary", "distinguishedNameMatch - -", "12", 0, ""},
	{"otherMailbox", "- - -", "39", 0, ""},
	{"dc", "caseIgnoreIA5Match - caseIgnoreIA5SubstringsMatch", "26", 0, "single"},
	{"aRecord", "caseIgnoreIA5Match - -", "26", 0, ""},
	{"mDRecord", "caseIgnoreIA5Match - -", "26", 0, ""},
	{"mXRecord", "caseIgnoreIA5Match - -", "26", 0, ""},
	{"nSRecord", "caseIgnoreIA5Match - -", "26", 0, ""},
	{"sOARecord", "caseIgnoreIA5Match - -", "26", 0, ""},
	{"cNAMERecord", "caseIgnoreIA5Match - -", "26", 0, ""},
	{"associatedDomain", "caseIgnoreIA5Match - caseIgnoreIA5SubstringsMatch", "26", 0, ""},
	{"associatedName", "distinguishedNameMatch - -", "12", 0, ""},
	{"homePostalAddress", "caseIgnoreListMatch - caseIgnoreListSubstringsMatch", "41", 0, ""},
	{"personalTitle", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 256, ""},
	{"mobile", "telephoneNumberMatch - telephoneNumberSubstringsMatch", "50", 0, ""},
	{"pager", "telephoneNumberMatch - telephoneNumberSubstringsMatch", "50", 0, ""},
	{"co", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"uniqueIdentifier", "caseIgnoreMatch - -", "15", 256, ""},
	{"organizationalStatus", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 256, ""},
	{"janetMailbox", "caseIgnoreIA5Match - caseIgnoreIA5SubstringsMatch", "26", 256, ""},
	{"mailPreferenceOption", "- - -", "27", 0, ""},
	{"buildingName", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 256, ""},
	{"dSAQuality", "- - -", "19", 0, "single"},
	{"singleLevelQuality", "- - -", "13", 0, "single"},
	{"subtreeMinimumQuality", "- - -", "13", 0, "single"},
	{"subtreeMaximumQuality", "- - -", "13", 0, "single"},
	{"personalSignature", "- - -", "23", 0, ""},
	{"dITRedirect", "distinguishedNameMatch - -", "12", 0, ""},
	{"audio", "- - -", "4", 25000, ""},
	{"documentPublisher", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"jpegPhoto", "- - -", "28", 0, ""},
	{"email", "caseIgnoreIA5Match - caseIgnoreIA5SubstringsMatch", "26", 128, ""},
	{"uidNumber", "integerMatch integerOrderingMatch -", "27", 0, "single"},
	{"gidNumber", "integerMatch integerOrderingMatch -", "27", 0, "single"},
	{"gecos", "caseIgnoreIA5Match - caseIgnoreIA5SubstringsMatch", "26", 0, "single"},
	{"homeDirectory", "caseExactIA5Match - -", "26", 0, "single"},
	{"loginShell", "caseExactIA5Match - -", "26", 0, "single"},
	{"shadowLastChange", "integerMatch - -", "27", 0, "single"},
	{"shadowMin", "integerMatch - -", "27", 0, "single"},
	{"shadowMax", "integerMatch - -", "27", 0, "single"},
	{"shadowWarning", "integerMatch - -", "27", 0, "single"},
	{"shadowInactive", "integerMatch - -", "27", 0, "single"},
	{"shadowExpire", "integerMatch - -", "27", 0, "single"},
	{"shadowFlag", "integerMatch - -", "27", 0, "single"},
	{"memberUid", "caseExactIA5Match - caseExactIA5SubstringsMatch", "26", 0, ""},
	{"memberNisNetgroup", "caseExactIA5Match - caseExactIA5SubstringsMatch", "26", 0, ""},
	{"nisNetgroupTriple", "- - -", "1.3.6.1.1.1.0.0", 0, ""},
	{"ipServicePort", "integerMatch - -", "27", 0, "single"},
	{"ipServiceProtocol", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"ipProtocolNumber", "integerMatch - -", "27", 0, "single"},
	{"oncRpcNumber", "integerMatch - -", "27", 0, "single"},
	{"ipHostNumber", "caseIgnoreIA5Match - -", "26", 128, ""},
	{"ipNetworkNumber", "caseIgnoreIA5Match - -", "26", 128, "single"},
	{"ipNetmaskNumber", "caseIgnoreIA5Match - -", "26", 128, "single"},
	{"macAddress", "caseIgnoreIA5Match - -", "26", 128, ""},
	{"bootParameter", "- - -", "1.3.6.1.1.1.0.1", 0, ""},
	{"bootFile", "caseExactIA5Match - -", "26", 0, ""},
	{"nisMapName", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"nisMapEntry", "caseExactIA5Match - caseExactIA5SubstringsMatch", "26", 1024, "single"},
	{"vendorName", "caseExactMatch - -", "15", 0, "single nomod dsa"},
	{"vendorVersion", "caseExactMatch - -", "15", 0, "single nomod dsa"},
	{"entryUUID", "UUIDMatch UUIDOrderingMatch -", "1.3.6.1.1.16.1", 0, "single nomod directory"},
	{"entryDN", "distinguishedNameMatch - -", "12", 0, "single nomod directory"},
	{"labeledURI", "caseExactMatch - -", "15", 0, ""},
	{"namingContexts", "distinguishedNameMatch - -", "12", 0, "dsa"},
	{"altServer", "- - -", "26", 0, "dsa"},
	{"supportedExtension", "- - -", "38", 0, "dsa"},
	{"supportedControl", "- - -", "38", 0, "dsa"},
	{"supportedSASLMechanisms", "- - -", "15", 0, "dsa"},
	{"supportedLDAPVersion", "- - -", "27", 0, "dsa"},
	{"ldapSyntaxes", "objectIdentifierFirstComponentMatch - -", "54", 0, "directory"},
	{"supportedFeatures", "objectIdentifierMatch - -", "38", 0, "dsa"},
	{"entryCSN", "CSNMatch CSNOrderingMatch -", "1.3.6.1.4.1.4203.666.11.2.1", 64, "single nomod directory"},
	{"contextCSN", "CSNMatch CSNOrderingMatch -", "1.3.6.1.4.1.4203.666.11.2.1", 64, "nomod dsa"},
	{"objectClass", "objectIdentifierMatch - -", "38", 0, ""},
	{"aliasedObjectName", "distinguishedNameMatch - -", "12", 0, "single"},
	{"knowledgeInformation", "caseIgnoreMatch - -", "15", 32768, ""},
	{"cn", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"sn", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"serialNumber", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "44", 64, ""},
	{"c", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "11", 0, "single"},
	{"l", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"st", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"street", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 128, ""},
	{"o", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"ou", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"title", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"description", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 1024, ""},
	{"searchGuide", "- - -", "25", 0, ""},
	{"businessCategory", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 128, ""},
	{"postalAddress", "caseIgnoreListMatch - caseIgnoreListSubstringsMatch", "41", 0, ""},
	{"postalCode", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 40, ""},
	{"postOfficeBox", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 40, ""},
	{"physicalDeliveryOfficeName", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 128, ""},
	{"telephoneNumber", "telephoneNumberMatch - telephoneNumberSubstringsMatch", "50", 32, ""},
	{"telexNumber", "- - -", "52", 0, ""},
	{"teletexTerminalIdentifier", "- - -", "51", 0, ""},
	{"facsimileTelephoneNumber", "- - -", "22", 0, ""},
	{"x121Address", "numericStringMatch - numericStringSubstringsMatch", "36", 15, ""},
	{"internationaliSDNNumber", "numericStringMatch - numericStringSubstringsMatch", "36", 16, ""},
	{"registeredAddress", "caseIgnoreListMatch - caseIgnoreListSubstringsMatch", "41", 0, ""},
	{"destinationIndicator", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "44", 128, ""},
	{"preferredDeliveryMethod", "- - -", "14", 0, "single"},
	{"presentationAddress", "presentationAddressMatch - -", "43", 0, "single"},
	{"supportedApplicationContext", "objectIdentifierMatch - -", "38", 0, ""},
	{"member", "distinguishedNameMatch - -", "12", 0, ""},
	{"owner", "distinguishedNameMatch - -", "12", 0, ""},
	{"roleOccupant", "distinguishedNameMatch - -", "12", 0, ""},
	{"seeAlso", "distinguishedNameMatch - -", "12", 0, ""},
	{"userPassword", "octetStringMatch - -", "40", 128, ""},
	{"userCertificate", "certificateExactMatch - -", "8", 0, ""},
	{"cACertificate", "certificateExactMatch - -", "8", 0, ""},
	{"authorityRevocationList", "- - -", "9", 0, ""},
	{"certificateRevocationList", "- - -", "9", 0, ""},
	{"crossCertificatePair", "- - -", "10", 0, ""},
	{"name", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 32768, ""},
	{"givenName", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"initials", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"generationQualifier", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"x500UniqueIdentifier", "bitStringMatch - -", "6", 0, ""},
	{"dnQualifier", "caseIgnoreMatch caseIgnoreOrderingMatch caseIgnoreSubstringsMatch", "44", 0, ""},
	{"enhancedSearchGuide", "- - -", "21", 0, ""},
	{"protocolInformation", "protocolInformationMatch - -", "42", 0, ""},
	{"distinguishedName", "distinguishedNameMatch - -", "12", 0, ""},
	{"uniqueMember", "uniqueMemberMatch - -", "34", 0, ""},
	{"houseIdentifier", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 32768, ""},
	{"supportedAlgorithms", "- - -", "49", 0, ""},
	{"deltaRevocationList", "- - -", "9", 0, ""},
	{"dmdName", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"pseudonym", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"createTimestamp", "generalizedTimeMatch generalizedTimeOrderingMatch -", "24", 0, "single nomod directory"},
	{"modifyTimestamp", "generalizedTimeMatch generalizedTimeOrderingMatch -", "24", 0, "single nomod directory"},
	{"creatorsName", "distinguishedNameMatch - -", "12", 0, "single nomod directory"},
	{"modifiersName", "distinguishedNameMatch - -", "12", 0, "single nomod directory"},
	{"hasSubordinates", "booleanMatch - -", "7", 0, "single nomod directory"},
	{"subschemaSubentry", "distinguishedNameMatch - -", "12", 0, "single nomod directory"},
	{"matchingRules", "objectIdentifierFirstComponentMatch - -", "30", 0, "directory"},
	{"attributeTypes", "objectIdentifierFirstComponentMatch - -", "3", 0, "directory"},
	{"objectClasses", "objectIdentifierFirstComponentMatch - -", "37", 0, "directory"},
	{"matchingRuleUse", "objectIdentifierFirstComponentMatch - -", "31", 0, "directory"},
	{"structuralObjectClass", "objectIdentifierMatch - -", "38", 0, "single nomod directory"},
	{"carLicense", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"departmentNumber", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"employeeNumber", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, "single"},
	{"employeeType", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, ""},
	{"ref", "caseExactMatch - -", "15", 0, "distributed"},
	{"preferredLanguage", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, "single"},
	{"userSMIMECertificate", "- - -", "5", 0, ""},
	{"userPKCS12", "- - -", "5", 0, ""},
	{"displayName", "caseIgnoreMatch - caseIgnoreSubstringsMatch", "15", 0, "single"},
}

// classRows are the bundled classes in the same way, with what they inherit.
var classRows = []struct{ name, kind, must, may string }{
	{"pilotPerson", "STRUCTURAL", "cn objectClass sn",
		"businessCategory description drink homePhone homePostalAddress janetMailbox mail mailPreferenceOption mobile organizationalStatus otherMailbox pager personalSignature personalTitle preferredDeliveryMethod roomNumber secretary seeAlso telephoneNumber textEncodedORAddress uid userClass userPassword"},
	{"account", "STRUCTURAL", "objectClass uid",
		"description host l o ou seeAlso"},
	{"document", "STRUCTURAL", "documentIdentifier objectClass",
		"cn description documentAuthor documentLocation documentPublisher documentTitle documentVersion l o ou seeAlso"},
	{"room", "STRUCTURAL", "cn objectClass",
		"description roomNumber seeAlso telephoneNumber"},
	{"documentSeries", "STRUCTURAL", "cn objectClass",
		"description l o ou seeAlso telephoneNumber"},
	{"domain", "STRUCTURAL", "dc objectClass",
		"associatedName businessCategory description destinationIndicator facsimileTelephoneNumber internationaliSDNNumber l o physicalDeliveryOfficeName postOfficeBox postalAddress postalCode preferredDeliveryMethod registeredAddress searchGuide seeAlso st street telephoneNumber teletexTerminalIdentifier telexNumber userPassword x121Address"},
	{"RFC822localPart", "STRUCTURAL", "dc objectClass",
		"associatedName businessCategory cn description destinationIndicator facsimileTelephoneNumber internationaliSDNNumber l o physicalDeliveryOfficeName postOfficeBox postalAddress postalCode preferredDeliveryMethod registeredAddress searchGuide seeAlso sn st street telephoneNumber teletexTerminalIdentifier telexNumber userPassword x121Address"},
	{"dNSDomain", "STRUCTURAL", "dc objectClass",
		"aRecord associatedName businessCategory cNAMERecord description destinationIndicator facsimileTelephoneNumber internationaliSDNNumber l mDRecord mXRecord nSRecord o physicalDeliveryOfficeName postOfficeBox postalAddress postalCode preferredDeliveryMethod registeredAddress sOARecord searchGuide seeAlso st street telephoneNumber teletexTerminalIdentifier telexNumber userPassword x121Address"},
	{"domainRelatedObject", "AUXILIARY", "associatedDomain objectClass",
		""},
	{"friendlyCountry", "STRUCTURAL", "c co objectClass",
		"description searchGuide"},
	{"simpleSecurityObject", "AUXILIARY", "objectClass userPassword",
		""},
	{"pilotOrganization", "STRUCTURAL", "o objectClass ou",
		"buildingName businessCategory description destinationIndicator facsimileTelephoneNumber internationaliSDNNumber l physicalDeliveryOfficeName postOfficeBox postalAddress postalCode preferredDeliveryMethod registeredAddress searchGuide seeAlso st street telephoneNumber teletexTerminalIdentifier telexNumber userPassword x121Address"},
	{"pilotDSA", "STRUCTURAL", "cn objectClass presentationAddress",
		"dSAQuality description knowledgeInformation l o ou seeAlso supportedApplicationContext"},
	{"qualityLabelledData", "AUXILIARY", "dSAQuality objectClass",
		"subtreeMaximumQuality subtreeMinimumQuality"},
	{"posixAccount", "AUXILIARY", "cn gidNumber homeDirectory objectClass uid uidNumber",
		"description gecos loginShell userPassword"},
	{"shadowAccount", "AUXILIARY", "objectClass uid",
		"description shadowExpire shadowFlag shadowInactive shadowLastChange shadowMax shadowMin shadowWarning userPassword"},
	{"posixGroup", "STRUCTURAL", "cn gidNumber objectClass",
		"description memberUid userPassword"},
	{"ipService", "STRUCTURAL", "cn ipServicePort ipServiceProtocol objectClass",
		"description"},
	{"ipProtocol", "STRUCTURAL", "cn description ipProtocolNumber objectClass",
		""},
	{"oncRpc", "STRUCTURAL", "cn description objectClass oncRpcNumber",
		""},
	{"ipHost", "AUXILIARY", "cn ipHostNumber objectClass",
		"description l manager"},
	{"ipNetwork", "STRUCTURAL", "cn ipNetworkNumber objectClass",
		"description ipNetmaskNumber l manager"},
	{"nisNetgroup", "STRUCTURAL", "cn objectClass",
		"description memberNisNetgroup nisNetgroupTriple"},
	{"nisMap", "STRUCTURAL", "nisMapName objectClass",
		"description"},
	{"nisObject", "STRUCTURAL", "cn nisMapEntry nisMapName objectClass",
		"description"},
	{"ieee802Device", "AUXILIARY", "objectClass",
		"macAddress"},
	{"bootableDevice", "AUXILIARY", "objectClass",
		"bootFile bootParameter"},
	{"uidObject", "AUXILIARY", "objectClass uid",
		""},
	{"labeledURIObject", "AUXILIARY", "objectClass",
		"labeledURI"},
	{"extensibleObject", "AUXILIARY", "objectClass",
		""},
	{"dcObject", "AUXILIARY", "dc objectClass",
		""},
	{"OpenLDAProotDSE", "STRUCTURAL", "objectClass",
		"cn"},
	{"top", "ABSTRACT", "objectClass",
		""},
	{"alias", "STRUCTURAL", "aliasedObjectName objectClass",
		""},
	{"country", "STRUCTURAL", "c objectClass",
		"description searchGuide"},
	{"locality", "STRUCTURAL", "objectClass",
		"description l searchGuide seeAlso st street"},
	{"organization", "STRUCTURAL", "o objectClass",
		"businessCategory description destinationIndicator facsimileTelephoneNumber internationaliSDNNumber l physicalDeliveryOfficeName postOfficeBox postalAddress postalCode preferredDeliveryMethod registeredAddress searchGuide seeAlso st street telephoneNumber teletexTerminalIdentifier telexNumber userPassword x121Address"},
	{"organizationalUnit", "STRUCTURAL", "objectClass ou",
		"businessCategory description destinationIndicator facsimileTelephoneNumber internationaliSDNNumber l physicalDeliveryOfficeName postOfficeBox postalAddress postalCode preferredDeliveryMethod registeredAddress searchGuide seeAlso st street telephoneNumber teletexTerminalIdentifier telexNumber userPassword x121Address"},
	{"person", "STRUCTURAL", "cn objectClass sn",
		"description seeAlso telephoneNumber userPassword"},
	{"organizationalPerson", "STRUCTURAL", "cn objectClass sn",
		"description destinationIndicator facsimileTelephoneNumber internationaliSDNNumber l ou physicalDeliveryOfficeName postOfficeBox postalAddress postalCode preferredDeliveryMethod registeredAddress seeAlso st street telephoneNumber teletexTerminalIdentifier telexNumber title userPassword x121Address"},
	{"organizationalRole", "STRUCTURAL", "cn objectClass",
		"description destinationIndicator facsimileTelephoneNumber internationaliSDNNumber l ou physicalDeliveryOfficeName postOfficeBox postalAddress postalCode preferredDeliveryMethod registeredAddress roleOccupant seeAlso st street telephoneNumber teletexTerminalIdentifier telexNumber x121Address"},
	{"groupOfNames", "STRUCTURAL", "cn member objectClass",
		"businessCategory description o ou owner seeAlso"},
	{"residentialPerson", "STRUCTURAL", "cn l objectClass sn",
		"businessCategory description destinationIndicator facsimileTelephoneNumber internationaliSDNNumber physicalDeliveryOfficeName postOfficeBox postalAddress postalCode preferredDeliveryMethod registeredAddress seeAlso st street telephoneNumber teletexTerminalIdentifier telexNumber userPassword x121Address"},
	{"applicationProcess", "STRUCTURAL", "cn objectClass",
		"description l ou seeAlso"},
	{"applicationEntity", "STRUCTURAL", "cn objectClass presentationAddress",
		"description l o ou seeAlso supportedApplicationContext"},
	{"dSA", "STRUCTURAL", "cn objectClass presentationAddress",
		"description knowledgeInformation l o ou seeAlso supportedApplicationContext"},
	{"device", "STRUCTURAL", "cn objectClass",
		"description l o ou owner seeAlso serialNumber"},
	{"strongAuthenticationUser", "AUXILIARY", "objectClass userCertificate",
		""},
	{"certificationAuthority", "AUXILIARY", "authorityRevocationList cACertificate certificateRevocationList objectClass",
		"crossCertificatePair"},
	{"certificationAuthority-V2", "AUXILIARY", "authorityRevocationList cACertificate certificateRevocationList objectClass",
		"crossCertificatePair deltaRevocationList"},
	{"groupOfUniqueNames", "STRUCTURAL", "cn objectClass uniqueMember",
		"businessCategory description o ou owner seeAlso"},
	{"userSecurityInformation", "AUXILIARY", "objectClass",
		"supportedAlgorithms"},
	{"cRLDistributionPoint", "STRUCTURAL", "cn objectClass",
		"authorityRevocationList certificateRevocationList deltaRevocationList"},
	{"dmd", "STRUCTURAL", "dmdName objectClass",
		"businessCategory description destinationIndicator facsimileTelephoneNumber internationaliSDNNumber l physicalDeliveryOfficeName postOfficeBox postalAddress postalCode preferredDeliveryMethod registeredAddress searchGuide seeAlso st street telephoneNumber teletexTerminalIdentifier telexNumber userPassword x121Address"},
	{"pkiUser", "AUXILIARY", "objectClass",
		"userCertificate"},
	{"pkiCA", "AUXILIARY", "objectClass",
		"authorityRevocationList cACertificate certificateRevocationList crossCertificatePair"},
	{"deltaCRL", "AUXILIARY", "objectClass",
		"deltaRevocationList"},
	{"subentry", "STRUCTURAL", "cn objectClass subtreeSpecification",
		""},
	{"subschema", "AUXILIARY", "",
		"attributeTypes dITContentRules dITStructureRules matchingRuleUse matchingRules nameForms objectClasses"},
	{"inetOrgPerson", "STRUCTURAL", "cn objectClass sn",
		"audio businessCategory carLicense departmentNumber description destinationIndicator displayName employeeNumber employeeType facsimileTelephoneNumber givenName homePhone homePostalAddress initials internationaliSDNNumber jpegPhoto l labeledURI mail manager mobile o ou pager photo physicalDeliveryOfficeName postOfficeBox postalAddress postalCode preferredDeliveryMethod preferredLanguage registeredAddress roomNumber secretary seeAlso st street telephoneNumber teletexTerminalIdentifier telexNumber title uid userCertificate userPKCS12 userPassword userSMIMECertificate x121Address x500UniqueIdentifier"},
	{"referral", "STRUCTURAL", "objectClass ref",
		""},
}

func ruleName(r *MatchingRule) string {
	if r == nil {
		return "-"
	}
	return r.Name()
}

// R39: the bundled types have the rules, syntaxes and properties that the
// standards give them.
func TestR39TypesResolve(t *testing.T) {
	s := Bundled()
	for _, row := range typeRows {
		a := s.Attribute(row.name)
		rules := strings.Join([]string{ruleName(a.Equality), ruleName(a.Ordering), ruleName(a.Substr)}, " ")
		if rules != row.rules {
			t.Errorf("%s: rules %s, want %s", row.name, rules, row.rules)
		}
		if strings.TrimPrefix(a.Syntax, synPrefix) != row.syntax {
			t.Errorf("%s: syntax %s, want %s", row.name, a.Syntax, row.syntax)
		}
		if row.length != 0 && a.SyntaxLen != row.length {
			t.Errorf("%s: length %d, want %d", row.name, a.SyntaxLen, row.length)
		}
		var flags []string
		if a.SingleValue {
			flags = append(flags, "single")
		}
		if a.NoUserMod {
			flags = append(flags, "nomod")
		}
		if a.Usage != UserApplications {
			flags = append(flags, []string{"", "directory", "distributed", "dsa"}[a.Usage])
		}
		if got := strings.Join(flags, " "); got != row.flags {
			t.Errorf("%s: %s, want %s", row.name, got, row.flags)
		}
	}
}

// R39: the bundled classes require and allow what the standards say.
func TestR39ClassesResolve(t *testing.T) {
	s := Bundled()
	names := func(list []*AttributeType, without string) string {
		var names []string
		for _, a := range list {
			if !strings.Contains(" "+without+" ", " "+a.Name()+" ") {
				names = append(names, a.Name())
			}
		}
		sort.Strings(names)
		return strings.Join(names, " ")
	}
	for _, row := range classRows {
		c := s.ObjectClass(row.name)
		if c == nil {
			t.Errorf("no %s", row.name)
			continue
		}
		must := names(c.AllMust(), "")
		if kind := classKindNames[c.Kind]; kind != row.kind || must != row.must {
			t.Errorf("%s: %s, must have %s; want %s, %s", row.name, kind, must, row.kind, row.must)
		}
		if may := names(c.AllMay(), must); may != row.may {
			t.Errorf("%s: may have\n%s, want\n%s", row.name, may, row.may)
		}
	}
}
