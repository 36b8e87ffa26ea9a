package tree

import (
	"strconv"

	"shaft/pkg/dit"
)

// Entry is a view of one entry of a version, for one goroutine; its slices are not to be changed.
type Entry struct {
	v  *Version
	id ID
	dn []byte // nil: not made yet
	w  *window
}

// Entry views an entry of this version. Of one that is not there ID is 0 and
// everything else empty.
func (v *Version) Entry(id ID) Entry {
	if !v.has(id) {
		id = 0
	}
	e := Entry{v: v, id: id}
	if id != 0 && v.values.blocks[v.row(id).block].mem.Load() == nil {
		e.w = &window{} // it is read once for both runs
	}
	return e
}

// ID is the entry's number in its version.
func (e Entry) ID() ID { return e.id }

// Row is Version.Row.
func (e Entry) Row() Row { return e.v.Row(e.id) }

// DN is the text of the entry's name. Of a Cursor's entry it is good until the
// cursor moves.
func (e Entry) DN() []byte {
	if e.dn == nil && e.id != 0 {
		return e.v.appendDN(nil, e.id)
	}
	return e.dn
}

// User is the run of user attributes.
func (e Entry) User() dit.Run { return e.value().user() }

// Oper is the run of operational attributes that are stored; AppendComputed
// makes the others.
func (e Entry) Oper() dit.Run { return e.value().oper() }

var noValue = make(value, headSize)

func (e Entry) value() value {
	if e.id == 0 {
		return noValue
	}
	if e.w != nil {
		return e.v.valueBy(e.w, e.id)
	}
	return e.v.value(e.id)
}

// Names of the attributes that are made when read, and their keys.
var (
	descUUID      = []byte("entryUUID")
	descCSN       = []byte("entryCSN")
	descDN        = []byte("entryDN")
	descHasSub    = []byte("hasSubordinates")
	descNumSub    = []byte("numSubordinates")
	descSubschema = []byte("subschemaSubentry")
	descContext   = []byte("contextCSN")

	yes = []byte("TRUE")
	no  = []byte("FALSE")
)

const (
	keyUUID = "entryuuid"
	keyDN   = "entrydn"
)

// computed are the keys of attributes that no stored run holds, so that an
// index over them would be empty.
var computed = map[string]bool{
	keyUUID: true, keyDN: true, "entrycsn": true, "hassubordinates": true,
	"numsubordinates": true, "subschemasubentry": true, "contextcsn": true,
}

// AppendComputed appends the operational attributes that are made when read:
// those of AppendKept, hasSubordinates (X.501) and numSubordinates.
func (e Entry) AppendComputed(dst dit.Run) dit.Run {
	if e.id == 0 {
		return dst
	}
	dst = e.AppendKept(dst)
	kids := e.v.row(e.id).kids
	has := no
	if kids > 0 {
		has = yes
	}
	var buf [20]byte
	dst = dit.AppendAttrBytes(dst, descHasSub, has)
	return dit.AppendAttrBytes(dst, descNumSub, strconv.AppendUint(buf[:0], uint64(kids), 10))
}

// AppendKept appends the attributes made when read that change with the entry's
// CSN alone, so that a follower can keep them: entryUUID (RFC 4530), entryCSN,
// entryDN (RFC 5020), subschemaSubentry (RFC 4512 section 4.2); and, on the
// base entry, contextCSN, which every change moves.
func (e Entry) AppendKept(dst dit.Run) dit.Run { return e.AppendDated(dst, nil) }

// AppendDated is AppendKept with another entryCSN; nil: the entry's own.
func (e Entry) AppendDated(dst dit.Run, csn []byte) dit.Run {
	if e.id == 0 {
		return dst
	}
	v, r := e.v, e.v.row(e.id)
	var buf [64]byte
	dst = dit.AppendAttrBytes(dst, descUUID, r.uuid.Append(buf[:0]))
	if csn == nil {
		csn = r.csn.Append(buf[:0], v.opt.SID)
	}
	dst = dit.AppendAttrBytes(dst, descCSN, csn)
	dst = dit.AppendAttrBytes(dst, descDN, e.DN())
	if v.opt.Subschema != "" {
		dst = dit.AppendAttrBytes(dst, descSubschema, append(buf[:0], v.opt.Subschema...))
	}
	if e.id == v.root {
		dst = dit.AppendAttrBytes(dst, descContext, v.csn.Append(buf[:0], v.opt.SID))
	}
	return dst
}
