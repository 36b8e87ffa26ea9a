package dit

import (
	"bytes"
	"slices"

	"shaft/pkg/schema"
)

// maxDNNesting bounds DNs that are values within DNs. Nobody names an entry by
// a DN twice over; beyond it a value is taken as its bytes.
const maxDNNesting = 3

// DNParser parses one DN after the other without garbage; the slices it gives
// are good until the next Parse. Not safe for concurrent use.
type DNParser struct {
	// Siblings has the parser remember the DN above the last one, which pays where siblings follow each other.
	Siblings bool

	s          *schema.Schema
	types      schema.Memo
	sc         scanner
	norms      normalizer
	text, norm []byte
	starts     []cut  // of each RDN, from the beginning
	ends       []int  // of each AVA of one RDN in norm
	tmp        []byte // for what is moved within norm
	room       dnRoom
	above      parsed // what was behind the first RDN, where Siblings says so
	first      int    // where that begins in the text
}

// parsed is what came of a DN: its cuts count from its own beginning.
type parsed struct {
	source, text, norm []byte
	starts             []cut
}

// dnRoom is what the slices of a parser begin with; most DNs fit.
type dnRoom struct {
	text, norm [128]byte
	starts     [8]cut
	ends       [4]int
}

// NewDNParser makes a parser that takes attribute types and rules from s.
func NewDNParser(s *schema.Schema) *DNParser {
	p := &DNParser{s: s, types: *schema.NewMemo(s)}
	p.text, p.norm, p.starts, p.ends = p.room.text[:0], p.room.norm[:0], p.room.starts[:0], p.room.ends[:0]
	return p
}

// Parse takes text apart and normalises it, as ParseDN; after an error the
// parser holds the empty DN.
func (p *DNParser) Parse(text []byte) error {
	p.text, p.norm, p.starts = p.text[:0], p.norm[:0], p.starts[:0]
	p.norms.s = p.s
	p.sc.text, p.sc.pos = text, 0
	p.sc.blanks()
	if p.sc.pos == len(text) {
		return nil
	}
	for more := true; more; {
		var err error
		if more, err = p.rdn(); err != nil {
			p.text, p.norm, p.starts = p.text[:0], p.norm[:0], p.starts[:0]
			return err
		}
		if p.Siblings && more && len(p.starts) == 1 && p.sibling() {
			return nil
		}
	}
	if p.Siblings && len(p.starts) > 1 {
		p.remember()
	}
	return nil
}

// sibling tells whether the rest of the text is what the DN before had behind its first RDN, and takes what came of that.
func (p *DNParser) sibling() bool {
	if a := &p.above; len(a.source) == 0 || !bytes.Equal(a.source, p.sc.text[p.sc.pos:]) {
		p.first = p.sc.pos
		return false
	}
	text, norm := len(p.text), len(p.norm)
	for _, c := range p.above.starts {
		p.starts = append(p.starts, cut{text + c.text, norm + c.norm})
	}
	p.text, p.norm = append(p.text, p.above.text...), append(p.norm, p.above.norm...)
	return true
}

// remember keeps what is behind the first RDN.
func (p *DNParser) remember() {
	a, from := &p.above, p.starts[1]
	if a.source = a.source[:0]; len(p.sc.text) > maxAbove {
		return
	}
	a.source = append(a.source, p.sc.text[p.first:]...)
	a.text, a.norm, a.starts = append(a.text[:0], p.text[from.text:]...), append(a.norm[:0], p.norm[from.norm:]...), a.starts[:0]
	for _, c := range p.starts[1:] {
		a.starts = append(a.starts, cut{c.text - from.text, c.norm - from.norm})
	}
}

// maxAbove is the longest DN of which something is remembered.
const maxAbove = 1024

// rdn reads one RDN and tells whether another one follows.
func (p *DNParser) rdn() (more bool, err error) {
	p.starts = append(p.starts, cut{len(p.text), len(p.norm)})
	start := len(p.norm)
	p.ends = p.ends[:0]
	for {
		a, sep, err := p.sc.next()
		if err != nil {
			return false, err
		}
		p.ava(a)
		p.ends = append(p.ends, len(p.norm))
		if sep == '+' {
			p.text, p.norm = append(p.text, '+'), append(p.norm, '+')
			continue
		}
		if len(p.ends) > 1 {
			p.sort(start)
		}
		if sep == 0 {
			return false, nil
		}
		p.text, p.norm = append(p.text, ','), append(p.norm, ',')
		return true, nil
	}
}

// ava appends one AVA in both forms.
func (p *DNParser) ava(a rawAVA) {
	p.text = append(p.text, a.typ...)
	p.text = append(p.text, '=')
	p.text = append(p.text, a.written...)

	t := p.types.Attribute(a.typ)
	p.norm = append(p.norm, t.Key()...)
	p.norm = append(p.norm, '=')
	start := len(p.norm)
	norm, err := p.norms.append(p.norm, t.Equality, a.value)
	if err != nil {
		norm = append(p.norm, a.value...)
	}
	p.norm = norm
	p.escape(start)
}

// escape escapes what must be in the value that begins at start of p.norm.
func (p *DNParser) escape(start int) {
	v := p.norm[start:]
	n := len(v)
	if n == 0 {
		return
	}
	plain := v[0] != ' ' && v[n-1] != ' '
	for _, c := range v {
		if class[c]&inNorm != 0 {
			plain = false
			break
		}
	}
	if plain {
		return
	}
	p.tmp = append(p.tmp[:0], v...)
	p.norm = p.norm[:start]
	for i, c := range p.tmp {
		if class[c]&inNorm != 0 || c == ' ' && (i == 0 || i == n-1) {
			p.norm = append(p.norm, '\\', hexDigits[c>>4], hexDigits[c&15])
		} else {
			p.norm = append(p.norm, c)
		}
	}
}

// sort puts the AVAs of the RDN that begins at start of p.norm in order.
func (p *DNParser) sort(start int) {
	p.tmp = append(p.tmp[:0], p.norm[start:]...)
	avas := make([][]byte, len(p.ends))
	begin := 0
	for i, end := range p.ends {
		avas[i] = p.tmp[begin : end-start]
		begin = end - start + 1
	}
	slices.SortFunc(avas, bytes.Compare)
	p.norm = p.norm[:start]
	for i, a := range avas {
		if i > 0 {
			p.norm = append(p.norm, '+')
		}
		p.norm = append(p.norm, a...)
	}
}

// Len is the number of RDNs.
func (p *DNParser) Len() int { return len(p.starts) }

func (p *DNParser) end(i int) cut {
	if i+1 < len(p.starts) {
		return p.starts[i+1]
	}
	return cut{len(p.text) + 1, len(p.norm) + 1}
}

// Text gives RDN i as written, 0 being the leftmost.
func (p *DNParser) Text(i int) []byte { return p.text[p.starts[i].text : p.end(i).text-1] }

// Norm gives the normal form of RDN i.
func (p *DNParser) Norm(i int) []byte { return p.norm[p.starts[i].norm : p.end(i).norm-1] }

// NormFirst gives the normal form of the n leftmost RDNs joined.
func (p *DNParser) NormFirst(n int) []byte {
	if n == 0 {
		return nil
	}
	return p.norm[:p.end(n-1).norm-1]
}

// NormFrom gives the normal form of RDNs i… joined, as DN.Norm; it is empty
// when i is Len.
func (p *DNParser) NormFrom(i int) []byte {
	if i == len(p.starts) {
		return nil
	}
	return p.norm[p.starts[i].norm:]
}

// TextFrom gives the text of RDNs i… joined.
func (p *DNParser) TextFrom(i int) []byte {
	if i == len(p.starts) {
		return nil
	}
	return p.text[p.starts[i].text:]
}

// TextFirst gives the text of the n leftmost RDNs joined.
func (p *DNParser) TextFirst(n int) []byte {
	if n == 0 {
		return nil
	}
	return p.text[:p.end(n-1).text-1]
}

// Under tells whether the DN is base or below it.
func (p *DNParser) Under(base DN) bool {
	n := len(p.norm) - len(base.norm)
	return base.norm == "" || n >= 0 && string(p.norm[n:]) == base.norm && (n == 0 || p.norm[n-1] == ',')
}

// DN copies what was parsed into a DN that stays.
func (p *DNParser) DN() DN {
	if len(p.starts) == 0 {
		return DN{}
	}
	d := DN{text: string(p.text), norm: string(p.norm), cuts: make([]cut, len(p.starts))}
	for i, c := range p.starts {
		d.cuts[i] = cut{len(d.text) - c.text, len(d.norm) - c.norm}
	}
	return d
}
