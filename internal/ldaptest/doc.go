// Package ldaptest provides upstreams: a scripted LDAP server in this process,
// a real slapd for tests, and the data of the story that both can serve.
//
// A Server holds a DIT loaded from LDIF and answers bind, search, who am I,
// StartTLS and content synchronization (RFC 4533) the way slapd does, so that
// what is built on it meets no surprise elsewhere; any number of searches, sync
// and plain, run on one connection, and plain ones may be paged (RFC 2696). Options
// make it a server that lacks something. It can go down and come back,
// stall, cut a search midway, and have a Script answer in its place:
//
//	s, err := ldaptest.Start(ldaptest.Options{Suffix: ldaptest.RedHatSuffix, LDIF: ldaptest.RedHatLDIF})
//	defer s.Close()
//	err = s.Modify("distro=RHEL,o=RedHat,c=US", "description", "changed")
//
// It listens on loopback only and needs no *testing.T.
package ldaptest
