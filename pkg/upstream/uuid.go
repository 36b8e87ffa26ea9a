package upstream

import (
	"bytes"
	"encoding/hex"
	"fmt"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// dnSpace is the namespace of UUIDs that are made of a DN. It never changes:
// published UUIDs come of it.
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

// Attributes that say which entry it is, whatever its name, in this order: a 389-ds
// that has entryUUIDs too names entries by nsUniqueId in its sync searches.
const (
	attrUniqueID   = "nsUniqueId" // of 389-ds and its relatives
	attrEntryUUID  = "entryUUID"  // RFC 4530
	attrObjectGUID = "objectGUID" // of Active Directory: 16 octets
)

// uuidOf finds the UUID of an entry that a plain search found.
func (s *Source) uuidOf(m *syncrepl.Message) (u dit.UUID, err error) {
	for _, a := range []struct {
		name  string
		parse func([]byte) (dit.UUID, error)
	}{
		{attrUniqueID, parseUniqueID},
		{attrEntryUUID, func(v []byte) (dit.UUID, error) { return dit.ParseUUID(string(v)) }},
		{attrObjectGUID, parseGUID},
	} {
		v, there := firstValue(m.Attrs, a.name)
		if !there {
			continue
		}
		if u, err = a.parse(v); err != nil {
			return u, fmt.Errorf("entry %.100q: %s: %w", m.DN, a.name, err)
		}
		if !u.IsZero() {
			return u, nil
		}
	}
	if !s.UUIDFromDN {
		return u, fmt.Errorf("entry %.100q has no entryUUID; where uuid_from_dn is set, one is made of its DN", m.DN)
	}
	if u, err = uuidOfDN(m.DN); err != nil {
		return u, fmt.Errorf("entry %.100q has no entryUUID, and none is made up for it: %w", m.DN, err)
	}
	return u, nil
}

// parseUniqueID reads four groups of eight hex digits, with a dash between them.
func parseUniqueID(v []byte) (u dit.UUID, err error) {
	groups := bytes.Split(v, []byte{'-'})
	if len(v) != 35 || len(groups) != 4 {
		return u, fmt.Errorf("%.40q is not of the form 01234567-01234567-01234567-01234567", v)
	}
	if _, err := hex.Decode(u[:], bytes.Join(groups, nil)); err != nil {
		return u, fmt.Errorf("%.40q is not of the form 01234567-01234567-01234567-01234567", v)
	}
	return u, nil
}

func parseGUID(v []byte) (u dit.UUID, err error) {
	if len(v) != len(u) {
		return u, fmt.Errorf("%d octets where 16 are wanted", len(v))
	}
	return dit.UUID(v), nil
}

// firstValue finds an attribute by its name, without options, and gives its first
// value. What is malformed is not found here, and refused where it is taken apart.
func firstValue(attrs []byte, name string) (value []byte, ok bool) {
	for r := ber.NewReader(attrs); r.More(); {
		attr, err := r.Enter(ber.Sequence)
		if err != nil {
			return nil, false
		}
		desc, err := attr.Read(ber.OctetString)
		if err != nil {
			return nil, false
		}
		if len(desc) != len(name) || !bytes.EqualFold(desc, []byte(name)) {
			continue
		}
		set, err := attr.Enter(ber.Set)
		if err != nil {
			return nil, false
		}
		value, err = set.Read(ber.OctetString)
		return value, err == nil
	}
	return nil, false
}
