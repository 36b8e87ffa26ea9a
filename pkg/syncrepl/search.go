package syncrepl

import (
	"fmt"

	"shaft/pkg/ber"
)

const (
	opSearch    = ber.Tag(0x63)
	tagControls = ber.Tag(0xa0)
)

// AppendSearch encodes the SearchRequest message with the Sync (critical) and
// ManageDsaIT (critical) controls. Aliases are never dereferenced (RFC 4533
// section 3.5.2), there is no size and no time limit.
func AppendSearch(dst []byte, messageID int32, r Request) []byte {
	dst, msg := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendInt(dst, ber.Integer, int64(messageID))
	dst, op := ber.Begin(dst, opSearch)
	dst = ber.AppendString(dst, ber.OctetString, r.Base)
	dst = ber.AppendInt(dst, ber.Enumerated, int64(r.Scope))
	dst = ber.AppendInt(dst, ber.Enumerated, 0)   // derefAliases: never
	dst = ber.AppendInt(dst, ber.Integer, 0)      // sizeLimit
	dst = ber.AppendInt(dst, ber.Integer, 0)      // timeLimit
	dst = ber.AppendBool(dst, ber.Boolean, false) // typesOnly
	dst = r.Filter.Append(dst)
	dst, attrs := ber.Begin(dst, ber.Sequence)
	for _, a := range r.Attributes {
		dst = ber.AppendString(dst, ber.OctetString, a)
	}
	dst = ber.End(dst, attrs)
	dst = ber.End(dst, op)
	dst, controls := ber.Begin(dst, tagControls)
	dst, control := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendString(dst, ber.OctetString, OIDSyncRequest)
	dst = ber.AppendBool(dst, ber.Boolean, true)
	dst, value := ber.Begin(dst, ber.OctetString)
	dst = appendRequestValue(dst, r)
	dst = ber.End(dst, value)
	dst = ber.End(dst, control)
	dst, control = ber.Begin(dst, ber.Sequence)
	dst = ber.AppendString(dst, ber.OctetString, OIDManageDsaIT)
	dst = ber.AppendBool(dst, ber.Boolean, true)
	dst = ber.End(dst, control)
	dst = ber.End(dst, controls)
	return ber.End(dst, msg)
}

func appendRequestValue(dst []byte, r Request) []byte {
	dst, seq := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendInt(dst, ber.Enumerated, int64(r.Mode))
	if r.Cookie != nil {
		dst = ber.AppendBytes(dst, ber.OctetString, r.Cookie)
	}
	if r.ReloadHint {
		dst = ber.AppendBool(dst, ber.Boolean, true)
	}
	return ber.End(dst, seq)
}

// ParseRequest reads the value of a Sync Request control into r's Mode, Cookie
// (which aliases value) and ReloadHint. A mode that does not exist is an error.
func ParseRequest(value []byte, r *Request) error {
	outer := ber.NewReader(value)
	seq, err := outer.Enter(ber.Sequence)
	if err != nil {
		return fmt.Errorf("sync request: %w", err)
	}
	if outer.More() {
		return fmt.Errorf("sync request: offset %d: more than one element", outer.Offset())
	}
	mode := int64(0)
	r.Cookie, r.ReloadHint = nil, false
	var seen once
	for seq.More() && err == nil {
		at, tag := seq.Offset(), seq.Peek()
		switch tag {
		case ber.Enumerated:
			mode, err = seq.Int(tag)
		case ber.OctetString:
			r.Cookie, err = seq.Read(tag)
		case ber.Boolean:
			r.ReloadHint, err = seq.Bool(tag)
		default:
			err = fmt.Errorf("offset %d: unexpected tag %02x", at, byte(tag))
		}
		if err == nil {
			err = seen.check(tag, at)
		}
	}
	if err == nil && mode != int64(RefreshOnly) && mode != int64(RefreshAndPersist) {
		err = fmt.Errorf("mode %d does not exist", mode)
	}
	if err != nil {
		return fmt.Errorf("sync request: %w", err)
	}
	r.Mode = Mode(mode)
	return nil
}

// once notes the tags (below 0x40) that a value has held, to refuse a second one.
type once uint64

func (o *once) check(tag ber.Tag, offset int) error {
	bit := once(1) << (tag & 0x3f)
	if *o&bit != 0 {
		return fmt.Errorf("offset %d: tag %02x a second time", offset, byte(tag))
	}
	*o |= bit
	return nil
}
