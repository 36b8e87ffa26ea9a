package upstream

import "shaft/pkg/dit"

// dnSpace is the namespace of UUIDs that are made of a DN.
var dnSpace = dit.UUID{0x9c, 0x0e, 0x5d, 0x32, 0x41, 0x7b, 0x4b, 0x6a, 0x8e, 0x21, 0x77, 0xd4, 0x03, 0xb8, 0x5f, 0x10}

// uuidOfDN makes up the UUID of an entry that comes without one: the same for
// each spelling of its DN, another one when it is renamed.
func uuidOfDN(text []byte) (dit.UUID, error) {
	dn, err := dit.ParseDN(standard(), string(text))
	if err != nil {
		return dit.UUID{}, err
	}
	return dit.NewUUIDv5(dnSpace, []byte(dn.Norm())), nil
}
