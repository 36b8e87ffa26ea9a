package operator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// nodeReader reads JSON as the nodes that YAML has, with their places, so that
// both are read by the same code. (YAML takes most of JSON itself, but not
// characters escaped as two halves.)
type nodeReader struct {
	text   []byte
	dec    *json.Decoder
	pos    int // up to which line and column are counted
	line   int // from 1
	column int // from 1, in characters
}

// jsonNode reads one JSON value; text is valid JSON.
func jsonNode(text []byte) (*yaml.Node, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return (&nodeReader{text: text, dec: dec, line: 1, column: 1}).value(0)
}

// maxDepth is deeper than any document is.
const maxDepth = 32

func (r *nodeReader) value(depth int) (*yaml.Node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("line %d: nested deeper than %d", r.line, maxDepth)
	}
	r.advance()
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: r.line, Column: r.column}
	token, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		if t == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		for r.dec.More() {
			one, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, one)
		}
		_, err = r.dec.Token()
	case string:
		n.Tag, n.Value = "!!str", t
		if bytes.ContainsFunc([]byte(t), func(c rune) bool { return !unicode.IsPrint(c) }) {
			n.Style = yaml.DoubleQuotedStyle
		}
	case json.Number:
		n.Tag, n.Value = "!!int", t.String()
		if _, err := t.Int64(); err != nil {
			n.Tag = "!!float"
		}
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(t)
	case nil:
		n.Tag, n.Value = "!!null", "null"
	}
	return n, err
}

// advance counts lines and columns up to the next token.
func (r *nodeReader) advance() {
	end := int(r.dec.InputOffset())
	for end < len(r.text) && bytes.IndexByte([]byte(" \t\r\n,:"), r.text[end]) >= 0 {
		end++
	}
	for r.pos < end {
		c, size := utf8.DecodeRune(r.text[r.pos:])
		r.pos, r.column = r.pos+size, r.column+1
		if c == '\n' {
			r.line, r.column = r.line+1, 1
		}
	}
}
