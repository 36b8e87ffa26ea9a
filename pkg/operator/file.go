package operator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"shaft/pkg/engine"
)

// file is a document as an operator keeps it: YAML, or JSON. It takes the plain
// part of YAML: no anchors, aliases and tags, and one document.
type file struct {
	name   string // for messages
	doc    Document
	places []place // of the subscriptions
	faults []fileFault
	in     string // the subscription that is being read, for messages
}

type place struct{ line, column int }

// fileFault is one thing that is wrong, with its place. Line 0 is the file as a whole.
type fileFault struct {
	place
	text string
}

// readDocument reads a file's text. What is wrong is in faults, all of it, and
// what is sound in doc; paths in it are made absolute, relative to dir.
func readDocument(name, dir string, text []byte) *file {
	f := &file{name: name}
	root := f.root(text)
	if root == nil {
		return f
	}
	f.value(root, reflect.ValueOf(&f.doc).Elem())
	for i := range f.doc.Subscriptions {
		for _, path := range files(&f.doc.Subscriptions[i].Source) {
			var err error
			if *path, err = absolute(dir, *path); err != nil {
				f.fail(f.places[i], "%v", err)
			}
		}
	}
	return f
}

func (f *file) fail(at place, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if f.in != "" {
		text = fmt.Sprintf("subscription %.200q: %s", f.in, text)
	}
	f.faults = append(f.faults, fileFault{at, text})
}

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

// add takes over what the daemon says is wrong, with the places that it cannot
// know.
func (f *file) add(faults engine.Faults) {
	for _, fault := range faults {
		var where place
		for i, r := range f.doc.Subscriptions {
			if fault.Subscription != "" && r.ID == fault.Subscription {
				where = f.places[i]
			}
		}
		f.faults = append(f.faults, fileFault{where, fault.String()})
	}
}

// err gives all faults, one a line, in the file's order.
func (f *file) err() error {
	if len(f.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(f.faults, func(a, b fileFault) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	lines := []string{plural(len(f.faults), "fault", "faults") + ", nothing has changed"}
	for _, fault := range f.faults {
		if fault.line == 0 {
			lines = append(lines, fmt.Sprintf("%s: %s", f.name, fault.text))
		} else {
			lines = append(lines, fmt.Sprintf("%s:%d:%d: %s", f.name, fault.line, fault.column, fault.text))
		}
	}
	return errors.New(strings.Join(lines, "\n"))
}

var (
	yamlLine = regexp.MustCompile(`^yaml: line ([0-9]+): `)
	// parserWords is what yaml.v3 says when its parser, not its scanner, fails: the
	// line is one too low then.
	parserWords = regexp.MustCompile(`^did not find expected (<document start>|node content|key|'-' indicator|',' or )`)
)

// root gives the one value in the text; nil, and a fault, when there is none.
func (f *file) root(text []byte) *yaml.Node {
	switch {
	case len(text) > maxDocument:
		f.fail(place{}, "longer than %d MiB", maxDocument>>20)
		return nil
	case !utf8.Valid(text):
		f.fail(place{}, "not UTF-8 text")
		return nil
	case json.Valid(text):
		n, err := jsonNode(text)
		if err != nil {
			f.fail(place{}, "%v", err)
		}
		return n
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if err == nil {
		err = dec.Decode(&more)
		if err == nil {
			f.fail(placeOf(&more), "a second document begins here; one is read")
			return nil
		}
	}
	if !errors.Is(err, io.EOF) {
		f.syntax(err)
		return nil
	}
	if len(doc.Content) == 0 {
		f.fail(place{}, "it is empty; \"subscriptions: []\" says that there are to be none")
		return nil
	}
	return doc.Content[0]
}

// syntax is what the YAML reader found wrong; it tells a line at most.
func (f *file) syntax(err error) {
	msg, where := err.Error(), place{1, 1}
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		where.line, _ = strconv.Atoi(m[1])
		msg = msg[len(m[0]):]
		if parserWords.MatchString(msg) {
			where.line++
		}
	}
	f.fail(where, "%s", strings.TrimPrefix(msg, "yaml: "))
}

// printDocument writes a document as YAML. The same document always gives the
// same bytes, and readDocument reads it back.
func printDocument(w io.Writer, d Document) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(d); err != nil {
		return err
	}
	n, err := jsonNode(text.Bytes())
	if err != nil {
		return err
	}
	out := yaml.NewEncoder(w)
	out.SetIndent(2)
	if err := out.Encode(n); err != nil {
		return err
	}
	return out.Close()
}
