package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// reader walks the file's nodes and gathers mistakes. It takes the plain part
// of YAML: no anchors, aliases and tags, and one document.
type reader struct {
	file, dir string
	errs      []*ConfigError
}

// attributeForm is a name or an OID (RFC 4512 section 1.4), with the underscores
// that servers have in names.
var attributeForm = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_-]*|[0-9]+(\.[0-9]+)+)$`)

func (r *reader) failAt(line, column int, format string, args ...any) {
	r.errs = append(r.errs, &ConfigError{File: r.file, Line: line, Column: column, Msg: fmt.Sprintf(format, args...)})
}

func (r *reader) fail(n *yaml.Node, format string, args ...any) {
	r.failAt(n.Line, n.Column, format, args...)
}

// document gives the root of the one document in text; nil when it is empty or
// no such document.
func (r *reader) document(text []byte) *yaml.Node {
	if line, column, what := unreadable(text); what != "" {
		r.failAt(line, column, "%s", what)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		err = dec.Decode(&more)
		if err == nil {
			r.fail(&more, "a second document begins here; one is read")
			return nil
		}
	}
	if !errors.Is(err, io.EOF) {
		r.syntax(text, err)
		return nil
	}
	r.plain(&doc)
	if len(r.errs) > 0 || len(doc.Content) == 0 {
		return nil
	}
	return doc.Content[0]
}

// unreadable finds the first place that is no text.
func unreadable(text []byte) (line, column int, what string) {
	line, column = 1, 1
	for len(text) > 0 {
		c, size := utf8.DecodeRune(text)
		switch {
		case c == utf8.RuneError && size == 1:
			return line, column, "this is not UTF-8 text"
		case c < ' ' && c != '\t' && c != '\n' && c != '\r', c >= 0x7f && c < 0xa0 && c != 0x85:
			return line, column, fmt.Sprintf("control character %U", c)
		case c == '\n':
			line, column = line+1, 0
		}
		text, column = text[size:], column+1
	}
	return 0, 0, ""
}

// What yaml.v3 says when its parser, not its scanner, fails: the line is one
// too low then.
var parserWords = []string{
	"did not find expected <document start>", "did not find expected node content", "did not find expected key",
	"did not find expected '-' indicator", "did not find expected ',' or ']'", "did not find expected ',' or '}'",
}

var yamlLine = regexp.MustCompile(`^line ([0-9]+): `)

// syntax reports what yaml.v3 found wrong. It tells a line at most, and none
// for the first; the column is where that line's text begins.
func (r *reader) syntax(text []byte, err error) {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = msg[len(m[0]):]
		if slices.Contains(parserWords, msg) {
			line++
		}
	}
	lines := bytes.Split(text, []byte("\n"))
	line = min(line, len(lines))
	column := indentation(lines[line-1]) + 1
	if strings.Contains(msg, "tab character") || strings.Contains(msg, "cannot start any token") {
		for i, l := range lines[line-1:] {
			if tab := bytes.IndexByte(l[:indentation(l)], '\t'); tab >= 0 {
				line, column, msg = line+i, tab+1, "a tab in the indentation; YAML is indented by spaces"
				break
			}
		}
	}
	r.failAt(line, column, "%s", msg)
}

// indentation is how many bytes of white space a line begins with.
func indentation(line []byte) int { return len(line) - len(bytes.TrimLeft(line, " \t")) }

// plain refuses anchors, aliases and tags anywhere below n. Aliases are not
// followed, so that a few lines cannot stand for millions.
func (r *reader) plain(n *yaml.Node) {
	switch {
	case n.Kind == yaml.AliasNode:
		r.fail(n, "aliases are not read: write out what *%s stands for", n.Value)
		return
	case n.Anchor != "":
		r.fail(n, "anchors are not read: leave out &%s", n.Anchor)
	case n.Style&yaml.TaggedStyle != 0:
		r.fail(n, "tags are not read: leave out %s", n.Tag)
	}
	for _, c := range n.Content {
		r.plain(c)
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// mapping calls the field function of each key that has a value; a key without
// one stands for the default.
func (r *reader) mapping(n *yaml.Node, what string, fields map[string]func(*yaml.Node)) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.fail(n, "%s is to be a mapping of keys to values", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		field := fields[key.Value]
		switch {
		case field == nil:
			r.fail(key, "%s has no key %q", what, key.Value)
		case seen[key.Value]:
			r.fail(key, "key %q stands here twice", key.Value)
		case !isNull(value):
			field(value)
		}
		seen[key.Value] = true
	}
}

// text takes a text; numbers, truth values and dates are not taken for one.
func (r *reader) text(n *yaml.Node) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		r.fail(n, "a text is expected; in quotes, if it looks like something else")
		return "", false
	}
	return n.Value, true
}

// sizeUnits are what sizes are told in.
var sizeUnits = map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

// sizeForm is a whole number and a unit.
var sizeForm = regexp.MustCompile(`^([0-9]{1,9}) ?([KMGT]iB)$`)

// size reads a number of bytes: 4GiB.
func (r *reader) size(out *int64, least int64) func(*yaml.Node) {
	return func(n *yaml.Node) {
		m := sizeForm.FindStringSubmatch(n.Value)
		if n.Kind != yaml.ScalarNode || m == nil {
			r.fail(n, "a size is expected, a whole number and a unit: 512MiB or 4GiB (KiB, MiB, GiB, TiB)")
			return
		}
		number, _ := strconv.ParseInt(m[1], 10, 64) // nine digits
		switch size := number * sizeUnits[m[2]]; {
		case number > math.MaxInt64/sizeUnits[m[2]]:
			r.fail(n, "%s is more than there can be", n.Value)
		case size < least:
			r.fail(n, "%s is too little; it is to be %dMiB at least", n.Value, least>>20)
		default:
			*out = size
		}
	}
}

// resolve takes a path, relative to the file's directory or absolute.
func (r *reader) resolve(n *yaml.Node) (string, bool) {
	path, ok := r.text(n)
	if ok && path == "" {
		r.fail(n, "the path is empty")
		return "", false
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.dir, path)
	}
	return path, ok
}

func (r *reader) path(out *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if path, ok := r.resolve(n); ok {
			*out = path
		}
	}
}

// contents reads the file that a path names.
func (r *reader) contents(n *yaml.Node) (path string, text []byte, ok bool) {
	path, ok = r.resolve(n)
	if !ok {
		return "", nil, false
	}
	text, err := readFile(path, maxFile)
	if err != nil {
		r.fail(n, "%v", err)
		return "", nil, false
	}
	return path, text, true
}

func (r *reader) number(out *int, low, high int) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || n.Decode(out) != nil || *out < low || *out > high {
			r.fail(n, "a number from %d to %d is expected", low, high)
		}
	}
}

// span takes a time span, with its unit: from a second, below which nothing is fetched, to
// a day.
func (r *reader) span(out *time.Duration) func(*yaml.Node) {
	return func(n *yaml.Node) {
		d, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || d < time.Second || d > 24*time.Hour {
			r.fail(n, "a time span from 1s to 24h is expected, such as 30s or 2m")
			return
		}
		*out = d
	}
}

// list calls item for each element of a sequence.
func (r *reader) list(n *yaml.Node, item func(*yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		r.fail(n, "a list is expected, as [ a, b ]")
		return
	}
	for _, c := range n.Content {
		item(c)
	}
}
