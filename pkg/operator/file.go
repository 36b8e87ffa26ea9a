package operator

import (
	"bytes"
	"cmp"
	"encoding"
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

// value reads a node as the type of v asks.
func (f *file) value(n *yaml.Node, v reflect.Value) {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		f.fail(placeOf(n), "anchors and aliases are not taken")
		return
	case n.Style&yaml.TaggedStyle != 0:
		f.fail(placeOf(n), "tags are not taken")
		return
	}
	if t, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if n.Kind != yaml.ScalarNode {
			f.fail(placeOf(n), "a text is needed here")
		} else if err := t.UnmarshalText([]byte(n.Value)); err != nil {
			f.fail(placeOf(n), "%v", err)
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		f.object(n, v)
	case reflect.Slice:
		f.list(n, v)
	default:
		f.scalar(n, v)
	}
}

func (f *file) scalar(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		f.fail(placeOf(n), "%s is needed here", inJSON(v.Type()))
		return
	}
	var err error
	switch v.Kind() {
	case reflect.String:
		if n.Tag == "!!null" {
			err = errors.New("no value")
		}
		v.SetString(n.Value)
	case reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(n.Value)
		if n.Tag != "!!bool" {
			err = errors.New("no truth value")
		}
		v.SetBool(b)
	case reflect.Int:
		var i int
		i, err = strconv.Atoi(n.Value)
		if n.Tag != "!!int" {
			err = errors.New("no number")
		}
		v.SetInt(int64(i))
	}
	if err != nil {
		f.fail(placeOf(n), "%.200q is not %s", n.Value, inJSON(v.Type()))
	}
}

func (f *file) list(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		f.fail(placeOf(n), "a list is needed here")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, 0)) // an empty list is not a missing one
	_, subscriptions := v.Interface().([]Request)
	for _, c := range n.Content {
		before := len(f.faults)
		one := reflect.New(v.Type().Elem()).Elem()
		f.value(c, one)
		f.in = ""
		// A subscription that is not sound is left out: the daemon is asked of the others.
		if !subscriptions || len(f.faults) == before {
			v.Set(reflect.Append(v, one))
			if subscriptions {
				f.places = append(f.places, placeOf(c))
			}
		}
	}
}

// object reads a mapping. Unknown keys, keys that stand twice and required ones
// that are missing are faults.
func (f *file) object(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		f.fail(placeOf(n), "a mapping is needed here")
		return
	}
	fields := map[string]reflect.StructField{}
	for field := range v.Type().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		fields[name] = field
	}
	if v.Type() == reflect.TypeFor[Request]() {
		f.in = idOf(n)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		field, known := fields[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode || !known:
			f.fail(placeOf(key), "unknown key %.200q", key.Value)
		case seen[key.Value]:
			f.fail(placeOf(key), "%s stands here twice", key.Value)
		default:
			seen[key.Value] = true
			f.value(n.Content[i+1], v.FieldByIndex(field.Index))
		}
	}
	for field := range v.Type().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Tag.Get("api") == "required" && !seen[name] {
			f.fail(placeOf(n), "%s is missing", name)
		}
	}
}

// idOf finds a subscription's id, for messages about the lines before it too.
func idOf(n *yaml.Node) string {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "id" && n.Content[i+1].Kind == yaml.ScalarNode {
			return n.Content[i+1].Value
		}
	}
	return ""
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
