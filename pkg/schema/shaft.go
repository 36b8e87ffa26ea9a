package schema

// Arc is the root of all object identifiers that are Shaft's own. It lies in
// the part of net-snmp's arc that is left for experiments.
const Arc = "1.3.6.1.4.1.8072.9999.9999.389"

// shaftText defines what Shaft adds to LDAP, attributes below Arc.4: what its
// root DSE tells of itself, by which loops of Shafts are found.
const shaftText = `objectidentifier ShaftAttribute ` + Arc + `.4

attributetype ( ShaftAttribute:1 NAME 'shaftInstance' DESC 'identity of this store of Shaft'
	EQUALITY caseIgnoreMatch SYNTAX Syn:15{64} SINGLE-VALUE NO-USER-MODIFICATION USAGE dSAOperation )
attributetype ( ShaftAttribute:2 NAME 'shaftUpstream' DESC 'identities of the Shafts that are followed, and of those that they follow'
	EQUALITY caseIgnoreMatch SYNTAX Syn:15{64} NO-USER-MODIFICATION USAGE dSAOperation )
`
