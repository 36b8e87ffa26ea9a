package schema

import (
	"bytes"
	"errors"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// spaces says what becomes of spaces in one of RFC 4518's forms.
type spaces struct {
	strip     bool // remove them all, hyphens too if hyphens is set
	hyphens   bool
	lead      edge
	inner     int // what an inner run becomes
	trail     edge
	blankForm string // of a value without a non-space character
}

// edge says what a run of spaces at an end becomes.
type edge int

const (
	dropped edge = iota
	kept         // one space if there was any
	forced       // one space, always
)

var (
	// wholeValue is the form for equality and order. RFC 4518 doubles inner
	// spaces and puts one at each end, which only substrings need.
	wholeValue = spaces{inner: 1, blankForm: " "}

	substrValue   = spaces{lead: forced, inner: 2, trail: forced, blankForm: "  "}
	substrInitial = spaces{lead: forced, inner: 2, trail: kept, blankForm: " "}
	substrAny     = spaces{lead: kept, inner: 2, trail: kept, blankForm: " "}
	substrFinal   = spaces{lead: kept, inner: 2, trail: forced, blankForm: " "}

	numericForm   = spaces{strip: true}
	telephoneForm = spaces{strip: true, hyphens: true}
)

// pieceForm is the form of one piece of a substring assertion.
func pieceForm(initial, final bool) *spaces {
	switch {
	case initial && final:
		return &substrValue
	case initial:
		return &substrInitial
	case final:
		return &substrFinal
	}
	return &substrAny
}

var (
	errUTF8       = errors.New("value is not UTF-8")
	errProhibited = errors.New("value holds a character that RFC 4518 section 2.4 prohibits")
)

// prepare appends v as RFC 4518 prepares it. Printable ASCII takes one pass
// without garbage.
func prepare(dst, v []byte, fold bool, sp *spaces) ([]byte, error) {
	for _, c := range v {
		if c < 0x20 || c >= 0x7f {
			return prepareUnicode(dst, v, fold, sp)
		}
	}
	return appendSpaced(dst, v, fold, sp), nil
}

// appendSpaced appends v with its ASCII letters folded and its spaces as sp says.
func appendSpaced(dst, v []byte, fold bool, sp *spaces) []byte {
	start := len(dst)
	if sp.strip {
		dst = appendStripped(dst, v, sp.hyphens)
	} else {
		dst = appendWords(dst, v, sp)
	}
	if fold {
		for i, c := range dst[start:] {
			dst[start+i] = lower(c)
		}
	}
	return dst
}

// appendStripped appends v without spaces, and without hyphens if they go too.
func appendStripped(dst, v []byte, hyphens bool) []byte {
	for _, c := range v {
		if c != ' ' && (c != '-' || !hyphens) {
			dst = append(dst, c)
		}
	}
	return dst
}

// appendWords appends v word by word, with gaps as sp says.
func appendWords(dst, v []byte, sp *spaces) []byte {
	start, spaced := len(dst), false
	for len(v) > 0 {
		if v[0] == ' ' {
			v, spaced = v[1:], true
			continue
		}
		end := bytes.IndexByte(v, ' ')
		if end < 0 {
			end = len(v)
		}
		dst = append(appendGap(dst, start, spaced, sp), v[:end]...)
		v, spaced = v[end:], false
	}
	switch {
	case len(dst) == start:
		return append(dst, sp.blankForm...)
	case sp.trail == forced || sp.trail == kept && spaced:
		return append(dst, ' ')
	}
	return dst
}

// appendGap appends what stands before a non-space character that is the first
// of its word.
func appendGap(dst []byte, start int, spaced bool, sp *spaces) []byte {
	if len(dst) > start {
		return append(dst, "  "[:sp.inner]...)
	}
	if sp.lead == forced || sp.lead == kept && spaced {
		return append(dst, ' ')
	}
	return dst
}

// markedSpace stands for a space that carries a combining mark, which is no
// space to RFC 4518 section 2.6; markedHyphen likewise. Mapping has removed
// all controls before, so neither can be there of itself.
const (
	markedSpace  = 0x01
	markedHyphen = 0x02
)

// maxPasses bounds the repetition of folding and normalising; two passes are
// what table B.2 of RFC 3454 comes to, later ones only confirm.
const maxPasses = 4

// prepareUnicode does the steps of RFC 4518 section 2 one after the other.
// Case is folded by the tables of today's Unicode rather than those of 3.2,
// and code points assigned since are let through.
func prepareUnicode(dst, v []byte, fold bool, sp *spaces) ([]byte, error) {
	if form, ok := prepareSingles(dst, v, fold, sp); ok {
		return form, nil
	}
	text, err := preparedText(v, fold)
	if err == nil {
		text, err = marked(text, sp)
	}
	if err != nil {
		return dst, err
	}
	start := len(dst)
	dst = appendSpaced(dst, text, fold, sp)
	for i, c := range dst[start:] {
		switch c {
		case markedSpace:
			dst[start+i] = ' '
		case markedHyphen:
			dst[start+i] = '-'
		}
	}
	return dst, nil
}

// preparedText maps, folds and normalises (sections 2.2 and 2.3).
func preparedText(v []byte, fold bool) ([]byte, error) {
	text, err := mapped(v)
	if err != nil {
		return nil, err
	}
	for range maxPasses {
		next := text
		if fold {
			next = cases.Fold().Bytes(next)
		}
		if next, err = mapped(norm.NFKC.Bytes(next)); err != nil {
			return nil, err
		}
		if bytes.Equal(next, text) {
			break
		}
		text = next
	}
	return text, nil
}

// mapped does RFC 4518 section 2.2 but for the folding of case.
func mapped(v []byte) ([]byte, error) {
	out := make([]byte, 0, len(v)+8)
	for i := 0; i < len(v); {
		r, n := utf8.DecodeRune(v[i:])
		if r == utf8.RuneError && n <= 1 {
			return nil, errUTF8
		}
		switch {
		case mapsToSpace(r):
			out = append(out, ' ')
		case !unicode.Is(mappedToNothing, r):
			out = append(out, v[i:i+n]...)
		}
		i += n
	}
	return out, nil
}

func mapsToSpace(r rune) bool {
	return 0x09 <= r && r <= 0x0d || r == 0x85 || r == ' ' || r > 0x7f && unicode.In(r, unicode.Z)
}

// marked refuses prohibited characters (section 2.4), hides spaces and hyphens
// that carry combining marks from what follows, and brings hyphens to one form
// where they are to go.
func marked(v []byte, sp *spaces) ([]byte, error) {
	out := make([]byte, 0, len(v))
	for i := 0; i < len(v); {
		r, n := utf8.DecodeRune(v[i:])
		if unicode.Is(prohibited, r) || r&0xfffe == 0xfffe {
			return nil, errProhibited
		}
		isHyphen := sp.hyphens && isTelephoneHyphen(r)
		if next, _ := utf8.DecodeRune(v[i+n:]); unicode.In(next, unicode.M) {
			if r == ' ' {
				out = append(out, markedSpace)
				i += n
				continue
			}
			if r == '-' && isHyphen {
				out = append(out, markedHyphen)
				i += n
				continue
			}
			isHyphen = false
		}
		if isHyphen {
			out = append(out, '-')
		} else {
			out = append(out, v[i:i+n]...)
		}
		i += n
	}
	return out, nil
}

// isTelephoneHyphen lists the hyphens of RFC 4518 section 2.6.3.
func isTelephoneHyphen(r rune) bool {
	switch r {
	case '-', 0x058a, 0x2010, 0x2011, 0x2212, 0xfe63, 0xff0d:
		return true
	}
	return false
}

// mappedToNothing is the list of RFC 4518 section 2.2; its "FF00-FE0F" is read
// as the variation selectors FE00-FE0F.
var mappedToNothing = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x0000, Hi: 0x0008, Stride: 1}, {Lo: 0x000e, Hi: 0x001f, Stride: 1},
		{Lo: 0x007f, Hi: 0x0084, Stride: 1}, {Lo: 0x0086, Hi: 0x009f, Stride: 1},
		{Lo: 0x00ad, Hi: 0x00ad, Stride: 1}, {Lo: 0x034f, Hi: 0x034f, Stride: 1},
		{Lo: 0x06dd, Hi: 0x06dd, Stride: 1}, {Lo: 0x070f, Hi: 0x070f, Stride: 1},
		{Lo: 0x1806, Hi: 0x1806, Stride: 1}, {Lo: 0x180b, Hi: 0x180e, Stride: 1},
		{Lo: 0x200b, Hi: 0x200f, Stride: 1}, {Lo: 0x202a, Hi: 0x202e, Stride: 1},
		{Lo: 0x2060, Hi: 0x2063, Stride: 1}, {Lo: 0x206a, Hi: 0x206f, Stride: 1},
		{Lo: 0xfe00, Hi: 0xfe0f, Stride: 1}, {Lo: 0xfeff, Hi: 0xfeff, Stride: 1},
		{Lo: 0xfff9, Hi: 0xfffc, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x1d173, Hi: 0x1d17a, Stride: 1}, {Lo: 0xe0001, Hi: 0xe0001, Stride: 1},
		{Lo: 0xe0020, Hi: 0xe007f, Stride: 1},
	},
	LatinOffset: 5,
}

// prohibited lists RFC 3454's tables C.3, C.8 (what mapping leaves of it) and
// the noncharacters of C.4 that do not end a plane, and U+FFFD.
var prohibited = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x0340, Hi: 0x0341, Stride: 1}, {Lo: 0xe000, Hi: 0xf8ff, Stride: 1},
		{Lo: 0xfdd0, Hi: 0xfdef, Stride: 1}, {Lo: 0xfffd, Hi: 0xfffd, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0xf0000, Hi: 0xffffd, Stride: 1}, {Lo: 0x100000, Hi: 0x10fffd, Stride: 1},
	},
}
