package schema

import "strings"

const (
	synPrefix      = "1.3.6.1.4.1.1466.115.121.1."
	synSubstring   = synPrefix + "58"
	synIA5         = synPrefix + "26"
	synInteger     = synPrefix + "27"
	synNumeric     = synPrefix + "36"
	synTime        = synPrefix + "24"
	synPostal      = synPrefix + "41"
	synOID         = synPrefix + "38"
	synCertificate = synPrefix + "8"
	synUUID        = "1.3.6.1.1.16.1"
	synCSN         = "1.3.6.1.4.1.4203.666.11.2.1"
	synCSNSID      = "1.3.6.1.4.1.4203.666.11.2.4"
)

// standardRules are those of RFC 4517 section 4.2, RFC 4530, RFC 2252 (the
// IA5 ones for exact case are OpenLDAP's), draft-chu-ldap-csn, Active
// Directory's two on bits, and some that schema files in use name.
var standardRules = []*MatchingRule{
	{OID: "2.5.13.0", Names: []string{"objectIdentifierMatch"}, Syntax: synOID, Kind: RuleOID},
	{OID: "2.5.13.1", Names: []string{"distinguishedNameMatch"}, Syntax: SyntaxDN, Kind: RuleDN},
	{OID: "2.5.13.2", Names: []string{"caseIgnoreMatch"}, Syntax: SyntaxDirectoryString, Normalize: caseIgnore},
	{OID: "2.5.13.3", Names: []string{"caseIgnoreOrderingMatch"}, Syntax: SyntaxDirectoryString, Normalize: caseIgnore},
	{OID: "2.5.13.4", Names: []string{"caseIgnoreSubstringsMatch"}, Syntax: synSubstring, Normalize: caseIgnoreWhole, NormalizeSubstr: caseIgnorePiece},
	{OID: "2.5.13.5", Names: []string{"caseExactMatch"}, Syntax: SyntaxDirectoryString, Normalize: caseExact},
	{OID: "2.5.13.6", Names: []string{"caseExactOrderingMatch"}, Syntax: SyntaxDirectoryString, Normalize: caseExact},
	{OID: "2.5.13.7", Names: []string{"caseExactSubstringsMatch"}, Syntax: synSubstring, Normalize: caseExactWhole, NormalizeSubstr: caseExactPiece},
	{OID: "2.5.13.8", Names: []string{"numericStringMatch"}, Syntax: synNumeric, Normalize: numericString},
	{OID: "2.5.13.9", Names: []string{"numericStringOrderingMatch"}, Syntax: synNumeric, Normalize: numericString},
	{OID: "2.5.13.10", Names: []string{"numericStringSubstringsMatch"}, Syntax: synSubstring, Normalize: numericString, NormalizeSubstr: anyPiece(numericString)},
	{OID: "2.5.13.11", Names: []string{"caseIgnoreListMatch"}, Syntax: synPostal, Normalize: listForm(caseIgnore)},
	{OID: "2.5.13.12", Names: []string{"caseIgnoreListSubstringsMatch"}, Syntax: synSubstring, Normalize: listForm(caseIgnoreWhole), NormalizeSubstr: caseIgnoreListPiece},
	{OID: "2.5.13.13", Names: []string{"booleanMatch"}, Syntax: synPrefix + "7", Normalize: boolean},
	{OID: "2.5.13.14", Names: []string{"integerMatch"}, Syntax: synInteger, Normalize: integer},
	{OID: "2.5.13.15", Names: []string{"integerOrderingMatch"}, Syntax: synInteger, Normalize: integer},
	{OID: "2.5.13.16", Names: []string{"bitStringMatch"}, Syntax: synPrefix + "6", Normalize: bitString},
	{OID: "2.5.13.17", Names: []string{"octetStringMatch"}, Syntax: SyntaxOctetString, Normalize: octets},
	{OID: "2.5.13.18", Names: []string{"octetStringOrderingMatch"}, Syntax: SyntaxOctetString, Normalize: octets},
	{OID: "2.5.13.19", Names: []string{"octetStringSubstringsMatch"}, Syntax: SyntaxOctetString, Normalize: octets, NormalizeSubstr: anyPiece(octets)},
	{OID: "2.5.13.20", Names: []string{"telephoneNumberMatch"}, Syntax: synPrefix + "50", Normalize: telephoneNumber},
	{OID: "2.5.13.21", Names: []string{"telephoneNumberSubstringsMatch"}, Syntax: synSubstring, Normalize: telephoneNumber, NormalizeSubstr: anyPiece(telephoneNumber)},
	{OID: "2.5.13.22", Names: []string{"presentationAddressMatch"}, Syntax: synPrefix + "43", Normalize: caseIgnore},
	{OID: "2.5.13.23", Names: []string{"uniqueMemberMatch"}, Syntax: SyntaxNameAndUID, Kind: RuleNameAndUID},
	{OID: "2.5.13.24", Names: []string{"protocolInformationMatch"}, Syntax: synPrefix + "42", Normalize: caseIgnore},
	{OID: "2.5.13.27", Names: []string{"generalizedTimeMatch"}, Syntax: synTime, Normalize: generalizedTime},
	{OID: "2.5.13.28", Names: []string{"generalizedTimeOrderingMatch"}, Syntax: synTime, Normalize: generalizedTime},
	{OID: "2.5.13.29", Names: []string{"integerFirstComponentMatch"}, Syntax: synInteger, Kind: RuleComponentwise, Normalize: octets, Match: firstComponentRule(integer)},
	{OID: "2.5.13.30", Names: []string{"objectIdentifierFirstComponentMatch"}, Syntax: synOID, Kind: RuleComponentwise, Normalize: octets, Match: objectIdentifierFirst},
	{OID: "2.5.13.31", Names: []string{"directoryStringFirstComponentMatch"}, Syntax: SyntaxDirectoryString, Kind: RuleComponentwise, Normalize: octets, Match: firstComponentRule(caseIgnore)},
	{OID: "2.5.13.32", Names: []string{"wordMatch"}, Syntax: SyntaxDirectoryString, Kind: RuleComponentwise, Normalize: caseIgnore, Match: wordRule(betweenWords)},
	{OID: "2.5.13.33", Names: []string{"keywordMatch"}, Syntax: SyntaxDirectoryString, Kind: RuleComponentwise, Normalize: caseIgnore, Match: wordRule(betweenKeywords)},
	{OID: "2.5.13.34", Names: []string{"certificateExactMatch"}, Syntax: "1.3.6.1.1.15.1", Normalize: octets},
	{OID: "2.5.13.38", Names: []string{"certificateListExactMatch"}, Syntax: "1.3.6.1.1.15.5", Normalize: octets},
	{OID: "2.5.13.45", Names: []string{"attributeCertificateExactMatch"}, Syntax: "1.3.6.1.4.1.4203.666.11.10.2.2", Normalize: octets},
	{OID: "1.3.6.1.4.1.1466.109.114.1", Names: []string{"caseExactIA5Match"}, Syntax: synIA5, Normalize: ia5(caseExact)},
	{OID: "1.3.6.1.4.1.1466.109.114.2", Names: []string{"caseIgnoreIA5Match"}, Syntax: synIA5, Normalize: ia5(caseIgnore)},
	{OID: "1.3.6.1.4.1.1466.109.114.3", Names: []string{"caseIgnoreIA5SubstringsMatch"}, Syntax: synSubstring, Normalize: ia5(caseIgnoreWhole), NormalizeSubstr: ia5Piece(caseIgnorePiece)},
	{OID: "1.3.6.1.4.1.4203.1.2.1", Names: []string{"caseExactIA5SubstringsMatch"}, Syntax: synSubstring, Normalize: ia5(caseExactWhole), NormalizeSubstr: ia5Piece(caseExactPiece)},
	{OID: "1.3.6.1.1.16.2", Names: []string{"UUIDMatch"}, Syntax: synUUID, Normalize: uuid},
	{OID: "1.3.6.1.1.16.3", Names: []string{"UUIDOrderingMatch"}, Syntax: synUUID, Normalize: uuid},
	{OID: "1.3.6.1.4.1.4203.666.11.2.2", Names: []string{"CSNMatch"}, Syntax: synCSN, Normalize: csn},
	{OID: "1.3.6.1.4.1.4203.666.11.2.3", Names: []string{"CSNOrderingMatch"}, Syntax: synCSN, Normalize: csn},
	{OID: "1.3.6.1.4.1.4203.666.11.2.5", Names: []string{"CSNSIDMatch"}, Syntax: synCSNSID, Normalize: csnSID},
	{OID: "1.3.6.1.4.1.4203.666.4.12", Names: []string{"authzMatch"}, Syntax: "1.3.6.1.4.1.4203.666.2.7", Normalize: caseExact},
	{OID: "1.3.6.1.4.1.4203.666.4.13", Names: []string{"privateKeyMatch"}, Syntax: "1.2.840.113549.1.8.1.1", Normalize: octets},
	{OID: "1.2.840.113556.1.4.803", Names: []string{"integerBitAndMatch", "bitAndMatch"}, Syntax: synInteger, Kind: RuleComponentwise, Normalize: integer, Match: bitRule(allBits)},
	{OID: "1.2.840.113556.1.4.804", Names: []string{"integerBitOrMatch", "bitOrMatch"}, Syntax: synInteger, Kind: RuleComponentwise, Normalize: integer, Match: bitRule(anyBits)},
}

var ruleIndex = indexRules()

func indexRules() map[string]*MatchingRule {
	index := make(map[string]*MatchingRule, 2*len(standardRules))
	for _, r := range standardRules {
		index[r.OID] = r
		for _, name := range r.Names {
			index[strings.ToLower(name)] = r
		}
	}
	return index
}

func findRule(name string) *MatchingRule { return ruleIndex[strings.ToLower(name)] }
