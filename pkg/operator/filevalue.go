package operator

import (
	"encoding"
	"errors"
	"reflect"
	"strconv"

	"gopkg.in/yaml.v3"
)

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
	case reflect.Pointer: // one that may be missing
		v.Set(reflect.New(v.Type().Elem()))
		f.value(n, v.Elem())
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
		name, _ := jsonName(field)
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
		name, _ := jsonName(field)
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
