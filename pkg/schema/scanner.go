package schema

import (
	"strconv"
	"strings"
)

type tokenKind int

const (
	tokenEnd    tokenKind = iota
	tokenPunct            // ( ) $
	tokenQuoted           // 'text'
	tokenWord
)

type token struct {
	kind tokenKind
	text string
	at   place
}

func (t token) is(punct string) bool { return t.kind == tokenPunct && t.text == punct }

func (t token) String() string {
	switch t.kind {
	case tokenEnd:
		return "the end"
	case tokenQuoted:
		return "'" + t.text + "'"
	}
	return strconv.Quote(t.text)
}

// scanner cuts the definition language into tokens. Any white space separates.
type scanner struct {
	src *source
	off int
	end int
}

func (s *scanner) place() place { return place{s.src, s.off} }

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func (s *scanner) skipSpace() {
	for s.off < s.end && isSpace(s.src.text[s.off]) {
		s.off++
	}
}

func (s *scanner) next() (token, error) {
	s.skipSpace()
	t := token{at: s.place()}
	if s.off >= s.end {
		return t, nil
	}
	text := s.src.text[:s.end]
	start := s.off
	switch text[start] {
	case '(', ')', '$':
		s.off++
		t.kind, t.text = tokenPunct, string(text[start:s.off])
	case '\'':
		for s.off++; s.off < s.end && text[s.off] != '\''; s.off++ {
		}
		if s.off >= s.end {
			return t, t.at.errorf("quote without an end")
		}
		t.kind, t.text = tokenQuoted, string(text[start+1:s.off])
		s.off++
	default:
		for s.off < s.end && !isSpace(text[s.off]) && strings.IndexByte("()$'", text[s.off]) < 0 {
			s.off++
		}
		t.kind, t.text = tokenWord, string(text[start:s.off])
	}
	return t, nil
}

// peek looks at the next token without taking it.
func (s *scanner) peek() (token, error) {
	off := s.off
	t, err := s.next()
	s.off = off
	return t, err
}

func (s *scanner) expect(punct string) error {
	t, err := s.next()
	if err == nil && !t.is(punct) {
		err = t.at.errorf("%q expected, found %s", punct, t)
	}
	return err
}

// finish refuses anything but white space behind the definition.
func (s *scanner) finish() error {
	t, err := s.next()
	if err == nil && t.kind != tokenEnd {
		err = t.at.errorf("the definition has ended; found %s", t)
	}
	return err
}

// word takes a bare or quoted word.
func (s *scanner) word(what string) (word, error) {
	t, err := s.next()
	if err != nil {
		return word{}, err
	}
	plain := !strings.ContainsFunc(t.text, func(r rune) bool { return r <= ' ' || strings.ContainsRune("()$'", r) })
	if t.kind != tokenWord && t.kind != tokenQuoted || t.text == "" || !plain {
		return word{}, t.at.errorf("%s expected, found %s", what, t)
	}
	return word{t.text, t.at}, nil
}

// words takes one word, or some between parentheses with $ between them.
func (s *scanner) words(what string) ([]word, error) {
	open, err := s.peek()
	if err != nil {
		return nil, err
	}
	if !open.is("(") {
		w, err := s.word(what)
		return []word{w}, err
	}
	s.off = open.at.off + 1
	var all []word
	for {
		w, err := s.word(what)
		if err != nil {
			return nil, err
		}
		all = append(all, w)
		t, err := s.next()
		if err != nil {
			return nil, err
		}
		if t.is(")") {
			return all, nil
		}
		if !t.is("$") {
			return nil, t.at.errorf(`"$" or ")" expected, found %s`, t)
		}
	}
}

// text takes a quoted string (RFC 4512's qdstring) and undoes its escapes. A
// text over several lines becomes one, with single spaces.
func (s *scanner) text() (string, error) {
	t, err := s.next()
	if err != nil {
		return "", err
	}
	if t.kind != tokenQuoted && t.kind != tokenWord {
		return "", t.at.errorf("a quoted text expected, found %s", t)
	}
	text := t.text
	if strings.ContainsAny(text, "\r\n\t") {
		text = strings.Join(strings.Fields(text), " ")
	}
	return unescapeText.Replace(text), nil
}

var (
	unescapeText = strings.NewReplacer(`\27`, "'", `\5c`, `\`, `\5C`, `\`)
	escapeText   = strings.NewReplacer("'", `\27`, `\`, `\5C`)
)

// texts takes one quoted string or some between parentheses.
func (s *scanner) texts() ([]string, error) {
	open, err := s.peek()
	if err != nil {
		return nil, err
	}
	if !open.is("(") {
		v, err := s.text()
		return []string{v}, err
	}
	s.off = open.at.off + 1
	var all []string
	for {
		t, err := s.peek()
		if err != nil {
			return nil, err
		}
		if t.is(")") {
			s.off = t.at.off + 1
			return all, nil
		}
		v, err := s.text()
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
}

// names takes the short names of a definition.
func (s *scanner) names() ([]string, error) {
	at, err := s.peek()
	if err != nil {
		return nil, err
	}
	names, err := s.texts()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !isName(name) {
			return nil, at.at.errorf("%q is not a name (letters, digits, hyphens)", name)
		}
	}
	return names, nil
}

// isName checks a descriptor (RFC 4512 section 1.4), underscores let through.
func isName(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || !isDigit(c) && c != '-' && c != '_') {
			return false
		}
	}
	return name != ""
}
