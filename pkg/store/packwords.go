package store

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"shaft/pkg/ber"
)

// wordsNumber is that of the words that values are packed with. Words are never changed nor moved: others would get a number of their own,
// and these stay to read what was packed with them.
const wordsNumber = 1

// mostWord is the length of the longest.
const mostWord = 32

// wordList has words by code and codes by word.
type wordList struct {
	first byte // code of the first
	words [][]byte
	table [1 << wordBits]byte // the code, from where the hash is on; 0: none
}

const wordBits = 11

var (
	names  = newWordList(firstName, nameWords)
	values = newWordList(firstValue, valueWords)
)

// frame is what is in an attribute from its name to the tag of its set.
type frame struct {
	size int
	text [mostFrame]byte
}

// frames are those of the names that are words.
var frames = func() []frame {
	out := make([]frame, len(names.words))
	for i, name := range names.words {
		text := append(ber.AppendBytes(nil, ber.OctetString, name), tagSet)
		out[i].size = copy(out[i].text[:], text)
	}
	return out
}()

func newWordList(first byte, words string) *wordList {
	w := &wordList{first: first, words: bytes.Fields([]byte(words))}
	for i, word := range w.words {
		at := wordHash(word)
		for w.table[at] != 0 {
			at = (at + 1) % uint64(len(w.table))
		}
		w.table[at] = first + byte(i)
	}
	return w
}

// code is that of a word; 0: it is none.
func (w *wordList) code(s []byte) byte {
	if len(s) == 0 || len(s) > mostWord {
		return 0
	}
	for at := wordHash(s); ; at = (at + 1) % uint64(len(w.table)) {
		if code := w.table[at]; code == 0 || bytes.Equal(w.words[code-w.first], s) {
			return code
		}
	}
}

// wordHash is one of the first and last bytes of s, which is not empty.
func wordHash(s []byte) uint64 {
	var a, b uint64
	switch n := len(s); {
	case n >= 8:
		a, b = binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[n-8:])
	case n >= 4:
		a, b = uint64(binary.LittleEndian.Uint32(s)), uint64(binary.LittleEndian.Uint32(s[n-4:]))
	default:
		a, b = uint64(s[0]), uint64(s[n/2])<<8|uint64(s[n-1])
	}
	a = (a ^ bits.RotateLeft64(b, 32) ^ uint64(len(s))) * 0x9e3779b97f4a7c15
	return a >> (64 - wordBits)
}

// nameWords are names of attributes.
const nameWords = `
objectClass structuralObjectClass entryUUID entryDN creatorsName createTimestamp modifiersName modifyTimestamp entryTTL
hasSubordinates numSubordinates subschemaSubentry collectiveAttributeSubentries administrativeRole subtreeSpecification
cn sn uid dc ou o l st c co name title description displayName givenName initials generationQualifier
mail telephoneNumber mobile homePhone pager facsimileTelephoneNumber fax otherMailbox preferredLanguage
employeeNumber employeeType departmentNumber department company manager secretary seeAlso owner roleOccupant
businessCategory carLicense roomNumber buildingName street streetAddress postalCode postalAddress postOfficeBox
physicalDeliveryOfficeName homePostalAddress registeredAddress houseIdentifier info url labeledURI jpegPhoto photo audio
userPassword userCertificate userCertificate;binary userSMIMECertificate userPKCS12 cACertificate cACertificate;binary
certificateRevocationList certificateRevocationList;binary authorityRevocationList authorityRevocationList;binary crossCertificatePair crossCertificatePair;binary
x500UniqueIdentifier uniqueIdentifier serialNumber dnQualifier destinationIndicator personalTitle personalSignature
telexNumber teletexTerminalIdentifier internationaliSDNNumber x121Address preferredDeliveryMethod
organizationalStatus userClass host drink favouriteDrink associatedDomain associatedName dITRedirect
member uniqueMember memberOf memberUid memberURL mgrpRFC822MailMember
uidNumber gidNumber gecos homeDirectory loginShell shadowLastChange shadowMin shadowMax shadowWarning
shadowInactive shadowExpire shadowFlag nisMapName nisMapEntry nisNetgroupTriple memberNisNetgroup
ipHostNumber ipNetworkNumber ipNetmaskNumber ipServicePort ipServiceProtocol ipProtocolNumber oncRpcNumber macAddress bootFile
bootParameter automountMapName automountKey automountInformation
aRecord mDRecord mXRecord nSRecord sOARecord cNAMERecord pTRRecord sRVRecord aAAARecord dNSTTL
aliasedObjectName ref documentIdentifier documentTitle documentVersion documentAuthor documentLocation documentPublisher
mailAlternateAddress mailForwardingAddress mailHost mailRoutingAddress mailLocalAddress mailQuota mailMessageStore
sshPublicKey sudoUser sudoHost sudoCommand sudoOption sudoRunAs sudoRunAsUser sudoRunAsGroup sudoOrder
sambaSID sambaNTPassword sambaLMPassword sambaPwdLastSet sambaAcctFlags sambaPrimaryGroupSID sambaDomainName
sambaGroupType sambaHomePath sambaHomeDrive sambaLogonScript sambaProfilePath sambaKickoffTime sambaPasswordHistory
krbPrincipalName krbCanonicalName krbPrincipalKey krbExtraData krbLastPwdChange krbPasswordExpiration krbLoginFailedCount
krbLastFailedAuth krbLastSuccessfulAuth krbTicketFlags ipaUniqueID ipaNTSecurityIdentifier nsUniqueId nsAccountLock nsRoleDN passwordExpirationTime
pwdPolicySubentry pwdChangedTime pwdHistory pwdFailureTime pwdAccountLockedTime pwdGraceUseTime pwdReset pwdLastSuccess
authTimestamp attributeTypes objectClasses matchingRules ldapSyntaxes dITContentRules
sAMAccountName sAMAccountType userPrincipalName servicePrincipalName userAccountControl accountExpires pwdLastSet
lastLogon lastLogonTimestamp logonCount badPwdCount badPasswordTime primaryGroupID objectGUID objectSid objectCategory
distinguishedName instanceType whenCreated whenChanged uSNCreated uSNChanged codePage countryCode proxyAddresses
eduPersonAffiliation eduPersonPrincipalName`

// valueWords are values: object classes mostly.
const valueWords = `
top person organizationalPerson inetOrgPerson organizationalUnit organization dcObject domain
organizationalRole residentialPerson account uidObject simpleSecurityObject posixAccount posixGroup shadowAccount
groupOfNames groupOfUniqueNames groupOfURLs groupOfMembers device ipHost ieee802Device bootableDevice
applicationProcess country locality alias referral subentry extensibleObject room
document domainRelatedObject labeledURIObject pkiUser strongAuthenticationUser dNSDomain nisNetgroup nisObject
automount automountMap inetUser inetLocalMailRecipient mailRecipient ldapPublicKey sudoRole eduPerson
sambaSamAccount sambaGroupMapping krbPrincipalAux krbTicketPolicyAux ipaObject ipaSshUser user group
computer contact TRUE FALSE 0 /bin/bash /bin/sh /sbin/nologin`
