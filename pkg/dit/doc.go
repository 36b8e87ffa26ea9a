// Package dit holds the directory's vocabulary: DNs and RDNs, UUIDs and CSNs,
// encoded entries, filters, attribute selections. It parses, normalises,
// compares, prints and evaluates; it knows nothing of sources, queues or
// sockets. It is pure.
//
// Two DNs name the same entry exactly when their normal forms are the same
// string, whatever the spelling:
//
//	a, _ := dit.ParseDN(s, "CN=SuSe, OU=Package  Listers")
//	b, _ := dit.ParseDN(s, "2.5.4.3=suse,organizationalUnitName=package listers")
//	a.Equal(b)  // true
//	a.String()  // "CN=SuSe,OU=Package  Listers"
//
// An entry's attributes stay encoded as they travel in a SearchResultEntry
// (Run); a compiled filter (Matcher) and a compiled attribute list (Selection)
// work on that encoding and unpack nothing.
//
// RFC 4514 (DNs), RFC 4515 (filters as text), RFC 4511 section 4.5.1 (filters
// and selections), RFC 4512 section 2.5 (options and subtypes), RFC 4530
// (UUIDs), draft-chu-ldap-csn (CSNs).
package dit
