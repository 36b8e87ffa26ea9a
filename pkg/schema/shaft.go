package schema

// Arc is the root of all object identifiers that are Shaft's own. It lies in
// the part of net-snmp's arc that is left for experiments.
const Arc = "1.3.6.1.4.1.8072.9999.9999.389"

// shaftText defines what Shaft adds to LDAP, attributes below Arc.4: what its
// root DSE tells of itself, by which loops of Shafts are found, what the top
// entry of a name tells of its source, and what cn=Monitor tells beyond slapd's.
const shaftText = `objectidentifier ShaftAttribute ` + Arc + `.4

attributetype ( ShaftAttribute:1 NAME 'shaftInstance' DESC 'identity of this store of Shaft'
	EQUALITY caseIgnoreMatch SYNTAX Syn:15{64} SINGLE-VALUE NO-USER-MODIFICATION USAGE dSAOperation )
attributetype ( ShaftAttribute:2 NAME 'shaftUpstream' DESC 'identities of the Shafts that are followed, and of those that they follow'
	EQUALITY caseIgnoreMatch SYNTAX Syn:15{64} NO-USER-MODIFICATION USAGE dSAOperation )
attributetype ( ShaftAttribute:3 NAME 'shaftSubscription' DESC 'subscription that the subtree comes by'
	EQUALITY caseExactMatch SYNTAX Syn:15{128} SINGLE-VALUE NO-USER-MODIFICATION USAGE dSAOperation )
attributetype ( ShaftAttribute:4 NAME 'shaftSourceURL' DESC 'where the subtree comes from'
	EQUALITY caseExactMatch SYNTAX Syn:15 SINGLE-VALUE NO-USER-MODIFICATION USAGE dSAOperation )
attributetype ( ShaftAttribute:5 NAME 'shaftLastContact' DESC 'when the source was last heard of'
	EQUALITY generalizedTimeMatch ORDERING generalizedTimeOrderingMatch SYNTAX Syn:24 SINGLE-VALUE NO-USER-MODIFICATION USAGE dSAOperation )
attributetype ( ShaftAttribute:6 NAME 'shaftLastChange' DESC 'when the newest change of the subtree arrived'
	EQUALITY generalizedTimeMatch ORDERING generalizedTimeOrderingMatch SYNTAX Syn:24 SINGLE-VALUE NO-USER-MODIFICATION USAGE dSAOperation )
attributetype ( ShaftAttribute:7 NAME 'shaftStale' DESC 'TRUE while the source is down'
	EQUALITY booleanMatch SYNTAX Syn:7 SINGLE-VALUE NO-USER-MODIFICATION USAGE dSAOperation )
attributetype ( ShaftAttribute:8 NAME 'shaftEntries' DESC 'number of entries'
	EQUALITY integerMatch ORDERING integerOrderingMatch SYNTAX Syn:27 SINGLE-VALUE NO-USER-MODIFICATION USAGE dSAOperation )
attributetype ( ShaftAttribute:9 NAME 'shaftCookieTime' DESC 'how far a source has been followed, by its own clock'
	EQUALITY generalizedTimeMatch ORDERING generalizedTimeOrderingMatch SYNTAX Syn:24 SINGLE-VALUE NO-USER-MODIFICATION USAGE dSAOperation )
`
