package ldaptest

// StorySchema has the attributes and classes of the package listers, in
// slapd.conf's form. Its OIDs lie below the example arc of RFC 5612.
const StorySchema = `# Distributions and the packages in them.
attributetype ( 1.3.6.1.4.1.32473.1.1.1 NAME 'distro'
	DESC 'a distribution, by its full name'
	EQUALITY caseIgnoreMatch
	ORDERING caseIgnoreOrderingMatch
	SUBSTR caseIgnoreSubstringsMatch
	SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )

attributetype ( 1.3.6.1.4.1.32473.1.1.2 NAME 'pkgName'
	DESC 'the name that a package is installed by'
	EQUALITY caseIgnoreMatch
	ORDERING caseIgnoreOrderingMatch
	SUBSTR caseIgnoreSubstringsMatch
	SYNTAX 1.3.6.1.4.1.1466.115.121.1.15
	SINGLE-VALUE )

attributetype ( 1.3.6.1.4.1.32473.1.1.3 NAME 'pkgVersion'
	DESC 'a version of a package, as its packager writes it'
	EQUALITY caseExactMatch
	ORDERING caseExactOrderingMatch
	SUBSTR caseExactSubstringsMatch
	SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )

objectclass ( 1.3.6.1.4.1.32473.1.2.1 NAME 'LinuxDistribution'
	DESC 'one release of a distribution'
	SUP top STRUCTURAL
	MUST cn
	MAY ( distro $ description $ seeAlso $ o $ labeledURI ) )

objectclass ( 1.3.6.1.4.1.32473.1.2.2 NAME 'LinuxPackage'
	DESC 'a package of a distribution'
	SUP top STRUCTURAL
	MUST pkgName
	MAY ( cn $ pkgVersion $ distro $ description $ seeAlso ) )
`

// The suffixes of the story's sources.
const (
	RedHatSuffix = "o=RedHat,c=US"
	SuSeSuffix   = "o=SuSe,c=DE"
	DebianSuffix = "dc=debian,dc=org"
	DpkgSuffix   = "dc=all,dc=dpkg,dc=org"
)

// RedHatLDIF lists two distributions below RedHatSuffix.
const RedHatLDIF = `dn: o=RedHat,c=US
objectClass: organization
o: RedHat
description: Packages of RHEL and Fedora

dn: distro=RHEL,o=RedHat,c=US
objectClass: LinuxDistribution
cn: Red Hat Enterprise Linux
distro: RHEL

dn: pkgName=openldap,distro=RHEL,o=RedHat,c=US
objectClass: LinuxPackage
pkgName: openldap
pkgVersion: 2.4.46-18.el8

dn: pkgName=389-ds-base,distro=RHEL,o=RedHat,c=US
objectClass: LinuxPackage
pkgName: 389-ds-base
pkgVersion: 1.4.3.28-6.module
seeAlso: pkgName=openldap,distro=RHEL,o=RedHat,c=US

dn: distro=Fedora,o=RedHat,c=US
objectClass: LinuxDistribution
cn: Fedora Linux
distro: Fedora

dn: pkgName=openldap,distro=Fedora,o=RedHat,c=US
objectClass: LinuxPackage
pkgName: openldap
pkgVersion: 2.6.8-3.fc40
`

// SuSeLDIF lists one distribution below SuSeSuffix.
const SuSeLDIF = `dn: o=SuSe,c=DE
objectClass: organization
o: SuSe
description: Pakete für openSUSE

dn: distro=openSUSE,o=SuSe,c=DE
objectClass: LinuxDistribution
cn: openSUSE Leap
distro: openSUSE

dn: pkgName=openldap2,distro=openSUSE,o=SuSe,c=DE
objectClass: LinuxPackage
pkgName: openldap2
pkgVersion: 2.4.46-150200.14
`

// DebianLDIF lists two releases below DebianSuffix; each is a base of its own.
const DebianLDIF = `dn: dc=debian,dc=org
objectClass: organization
objectClass: dcObject
o: Debian
dc: debian

dn: cn=Wheezy,dc=debian,dc=org
objectClass: LinuxDistribution
cn: Wheezy
distro: Debian Wheezy

dn: pkgName=slapd,cn=Wheezy,dc=debian,dc=org
objectClass: LinuxPackage
pkgName: slapd
pkgVersion: 2.4.31-2+deb7u3
seeAlso: pkgName=ldap-utils,cn=Wheezy,dc=debian,dc=org

dn: pkgName=ldap-utils,cn=Wheezy,dc=debian,dc=org
objectClass: LinuxPackage
pkgName: ldap-utils
pkgVersion: 2.4.31-2+deb7u3

dn: pkgName=snmpd,cn=Wheezy,dc=debian,dc=org
objectClass: LinuxPackage
pkgName: snmpd
pkgVersion: 5.4.3~dfsg-2.8

dn: cn=Jessie,dc=debian,dc=org
objectClass: LinuxDistribution
cn: Jessie
distro: Debian Jessie

dn: pkgName=slapd,cn=Jessie,dc=debian,dc=org
objectClass: LinuxPackage
pkgName: slapd
pkgVersion: 2.4.40+dfsg-1+deb8u5
`

// DpkgLDIF lists the distributions that use dpkg, below DpkgSuffix: releases in
// a container for each distribution. The containers have a cn too and are of
// another class, so that ((objectClass=LinuxDistribution)(cn=*)) finds the
// releases alone.
const DpkgLDIF = `dn: dc=all,dc=dpkg,dc=org
objectClass: organization
objectClass: dcObject
o: dpkg
dc: all
description: Distributions that use dpkg

dn: cn=Debian,dc=all,dc=dpkg,dc=org
objectClass: applicationProcess
cn: Debian

dn: cn=Wheezy,cn=Debian,dc=all,dc=dpkg,dc=org
objectClass: LinuxDistribution
cn: Wheezy
distro: Debian Wheezy

dn: pkgName=slapd,cn=Wheezy,cn=Debian,dc=all,dc=dpkg,dc=org
objectClass: LinuxPackage
pkgName: slapd
pkgVersion: 2.4.31-2

dn: cn=Squeeze,cn=Debian,dc=all,dc=dpkg,dc=org
objectClass: LinuxDistribution
cn: Squeeze
distro: Debian Squeeze

dn: pkgName=slapd,cn=Squeeze,cn=Debian,dc=all,dc=dpkg,dc=org
objectClass: LinuxPackage
pkgName: slapd
pkgVersion: 2.4.23-7.3

dn: pkgName=ldap-utils,cn=Squeeze,cn=Debian,dc=all,dc=dpkg,dc=org
objectClass: LinuxPackage
pkgName: ldap-utils
pkgVersion: 2.4.23-7.3
seeAlso: pkgName=slapd,cn=Squeeze,cn=Debian,dc=all,dc=dpkg,dc=org

dn: cn=Ubuntu,dc=all,dc=dpkg,dc=org
objectClass: applicationProcess
cn: Ubuntu

dn: cn=Kylin,cn=Ubuntu,dc=all,dc=dpkg,dc=org
objectClass: LinuxDistribution
cn: Kylin
distro: Ubuntu Kylin

dn: pkgName=slapd,cn=Kylin,cn=Ubuntu,dc=all,dc=dpkg,dc=org
objectClass: LinuxPackage
pkgName: slapd
pkgVersion: 2.4.31-1+nmu2ubuntu8
`
