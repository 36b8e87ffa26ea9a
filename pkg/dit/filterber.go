package dit

import (
	"errors"
	"fmt"
	"strings"

	"shaft/pkg/ber"
)

// Tags within a SubstringFilter and a MatchingRuleAssertion.
const (
	tagInitial = 0
	tagAny     = 1
	tagFinal   = 2

	tagRule    = 1
	tagType    = 2
	tagValue   = 3
	tagDNAttrs = 4
)

// DecodeFilter reads the BER form: an element's tag and content. It never
// recurses deeper than MaxFilterDepth, and copies what it keeps.
func DecodeFilter(tag byte, content []byte) (Filter, error) {
	d := filterDecoder{}
	f, err := d.filter(ber.Tag(tag), content, 1)
	if err != nil {
		return Filter{}, fmt.Errorf("filter: %w", err)
	}
	return f, nil
}

type filterDecoder struct{ nodes int }

var errFilterSize = fmt.Errorf("more than %d parts", MaxFilterNodes)

func (d *filterDecoder) count() error {
	if d.nodes++; d.nodes > MaxFilterNodes {
		return errFilterSize
	}
	return nil
}

func (d *filterDecoder) filter(tag ber.Tag, content []byte, depth int) (Filter, error) {
	if depth > MaxFilterDepth {
		return Filter{}, fmt.Errorf("nested more than %d deep", MaxFilterDepth)
	}
	if err := d.count(); err != nil {
		return Filter{}, err
	}
	f := Filter{Op: FilterOp(tag & 0x1f)}
	var err error
	switch tag {
	case ber.Context(byte(FilterAnd)), ber.Context(byte(FilterOr)):
		err = d.list(&f, content, depth)
	case ber.Context(byte(FilterNot)):
		err = d.list(&f, content, depth)
		if err == nil && len(f.Subs) != 1 {
			err = fmt.Errorf("a not of %d filters", len(f.Subs))
		}
	case ber.Context(byte(FilterSubstring)):
		err = d.substring(&f, content)
	case ber.ContextPrimitive(byte(FilterPresent)):
		f.Attr, err = attrText(content)
	case ber.Context(byte(FilterExtensible)):
		err = f.extensible(content)
	case ber.Context(byte(FilterEquality)), ber.Context(byte(FilterGreaterOrEqual)),
		ber.Context(byte(FilterLessOrEqual)), ber.Context(byte(FilterApprox)):
		err = f.assertion(content)
	default:
		err = fmt.Errorf("unknown kind of filter, tag 0x%02x", byte(tag))
	}
	return f, err
}

func (d *filterDecoder) list(f *Filter, content []byte, depth int) error {
	for r := ber.NewReader(content); r.More(); {
		tag, sub, err := r.Any()
		if err != nil {
			return err
		}
		parsed, err := d.filter(tag, sub, depth+1)
		if err != nil {
			return err
		}
		f.Subs = append(f.Subs, parsed)
	}
	return nil
}

// attrText checks and copies an attribute description or the name of a rule.
func attrText(b []byte) (string, error) {
	desc := string(b)
	if desc == "" {
		return "", errors.New("empty attribute description")
	}
	if i := badAttr(desc); i >= 0 {
		return "", fmt.Errorf("attribute description %q: bad character %q", shorten(desc), desc[i])
	}
	return desc, nil
}

// assertion reads an AttributeValueAssertion.
func (f *Filter) assertion(content []byte) error {
	r := ber.NewReader(content)
	desc, err := r.Read(ber.OctetString)
	if err != nil {
		return err
	}
	if f.Attr, err = attrText(desc); err != nil {
		return err
	}
	value, err := r.Read(ber.OctetString)
	if err != nil {
		return err
	}
	f.Value = clone(value)
	return atEnd(&r)
}

// clone copies b; unlike bytes.Clone it never gives nil.
func clone(b []byte) []byte { return append([]byte{}, b...) }

func atEnd(r *ber.Reader) error {
	if r.More() {
		return errors.New("bytes behind its last part")
	}
	return nil
}

// substring reads a SubstringFilter.
func (d *filterDecoder) substring(f *Filter, content []byte) error {
	r := ber.NewReader(content)
	desc, err := r.Read(ber.OctetString)
	if err != nil {
		return err
	}
	if f.Attr, err = attrText(desc); err != nil {
		return err
	}
	pieces, err := r.Enter(ber.Sequence)
	if err != nil {
		return err
	}
	for first := true; pieces.More(); first = false {
		tag, piece, err := pieces.Any()
		if err != nil {
			return err
		}
		if err := d.count(); err != nil {
			return err
		}
		if len(piece) == 0 {
			return fmt.Errorf("substrings of %q: an empty piece", f.Attr)
		}
		switch {
		case tag == ber.ContextPrimitive(tagInitial) && first:
			f.Initial = clone(piece)
		case tag == ber.ContextPrimitive(tagAny) && f.Final == nil:
			f.Any = append(f.Any, clone(piece))
		case tag == ber.ContextPrimitive(tagFinal) && f.Final == nil:
			f.Final = clone(piece)
		default:
			return fmt.Errorf("substrings of %q: tag 0x%02x out of place", f.Attr, byte(tag))
		}
	}
	if f.Initial == nil && f.Any == nil && f.Final == nil {
		return fmt.Errorf("substrings of %q: none", f.Attr)
	}
	return atEnd(&r)
}

// extensible reads a MatchingRuleAssertion.
func (f *Filter) extensible(content []byte) error {
	r := ber.NewReader(content)
	rule, ok, err := r.Optional(ber.ContextPrimitive(tagRule))
	if err == nil && ok {
		f.Rule, err = attrText(rule)
	}
	if strings.EqualFold(f.Rule, "dn") {
		err = errors.New("\"dn\" is no matching rule")
	}
	if err != nil {
		return err
	}
	desc, ok, err := r.Optional(ber.ContextPrimitive(tagType))
	if err == nil && ok && len(desc) > 0 {
		f.Attr, err = attrText(desc)
	}
	if err != nil {
		return err
	}
	if f.Rule == "" && f.Attr == "" {
		return errors.New("extensible match without attribute and rule")
	}
	value, err := r.Read(ber.ContextPrimitive(tagValue))
	if err != nil {
		return err
	}
	f.Value = clone(value)
	if r.Peek() == ber.ContextPrimitive(tagDNAttrs) {
		if f.DNAttrs, err = r.Bool(ber.ContextPrimitive(tagDNAttrs)); err != nil {
			return err
		}
	}
	return atEnd(&r)
}

// Append encodes the BER form, its own header included.
func (f Filter) Append(dst []byte) []byte {
	if f.Op == FilterPresent {
		return ber.AppendString(dst, ber.ContextPrimitive(byte(f.Op)), f.Attr)
	}
	dst, mark := ber.Begin(dst, ber.Context(byte(f.Op)))
	switch f.Op {
	case FilterAnd, FilterOr, FilterNot:
		for _, sub := range f.Subs {
			dst = sub.Append(dst)
		}
	case FilterSubstring:
		dst = f.appendSubstring(dst)
	case FilterExtensible:
		dst = f.appendExtensible(dst)
	default:
		dst = ber.AppendString(dst, ber.OctetString, f.Attr)
		dst = ber.AppendBytes(dst, ber.OctetString, f.Value)
	}
	return ber.End(dst, mark)
}

func (f Filter) appendSubstring(dst []byte) []byte {
	dst = ber.AppendString(dst, ber.OctetString, f.Attr)
	dst, mark := ber.Begin(dst, ber.Sequence)
	if f.Initial != nil {
		dst = ber.AppendBytes(dst, ber.ContextPrimitive(tagInitial), f.Initial)
	}
	for _, piece := range f.Any {
		dst = ber.AppendBytes(dst, ber.ContextPrimitive(tagAny), piece)
	}
	if f.Final != nil {
		dst = ber.AppendBytes(dst, ber.ContextPrimitive(tagFinal), f.Final)
	}
	return ber.End(dst, mark)
}

func (f Filter) appendExtensible(dst []byte) []byte {
	if f.Rule != "" {
		dst = ber.AppendString(dst, ber.ContextPrimitive(tagRule), f.Rule)
	}
	if f.Attr != "" {
		dst = ber.AppendString(dst, ber.ContextPrimitive(tagType), f.Attr)
	}
	dst = ber.AppendBytes(dst, ber.ContextPrimitive(tagValue), f.Value)
	if f.DNAttrs {
		dst = ber.AppendBool(dst, ber.ContextPrimitive(tagDNAttrs), true)
	}
	return dst
}
