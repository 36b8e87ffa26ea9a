package operator

import (
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// object is a JSON object of the OpenAPI document.
type object = map[string]any

// openAPI makes the OpenAPI 3.1 document of the routes. Schemas come from the
// Go types that are read and written.
func openAPI(version string) object {
	s := &schemas{components: object{}}
	paths := object{}
	for i := range routes {
		r := &routes[i]
		path := prefix + r.path
		if paths[path] == nil {
			paths[path] = object{}
		}
		paths[path].(object)[strings.ToLower(r.method)] = s.operation(r)
	}
	return object{
		"openapi": "3.1.0",
		"info": object{"title": "Shaft", "version": version,
			"description": "What operators ask of a Shaft. Spoken on the control socket."},
		"servers":    []object{{"url": "/"}},
		"paths":      paths,
		"components": object{"schemas": s.components},
	}
}

// operation describes one route.
func (s *schemas) operation(r *route) object {
	op := object{"operationId": operationID(r), "summary": r.summary, "responses": s.responses(r)}
	if params := parameters(r); len(params) > 0 {
		op["parameters"] = params
	}
	if r.takes != nil {
		op["requestBody"] = object{"required": true, "content": content("application/json", s.of(reflect.TypeOf(r.takes), true))}
	}
	return op
}

func (s *schemas) responses(r *route) object {
	answer := func(description string) object {
		if r.file != nil {
			return object{"description": description, "content": object{fileType: object{}}}
		}
		out := object{"description": description, "content": content("application/json", s.of(reflect.TypeOf(r.gives), false))}
		if _, ok := revisionOf(r.gives); ok {
			out["headers"] = object{"ETag": object{"description": "revision of the queue, for If-Match", "schema": object{"type": "string"}}}
		}
		return out
	}
	out := object{"200": answer("done"), "default": object{"description": "refused or failed",
		"content": content("application/problem+json", s.of(reflect.TypeFor[Problem](), false))}}
	if r.created {
		out["200"], out["201"] = answer("what would happen, of a dry run"), answer("done")
	}
	return out
}

func content(kind string, schema object) object { return object{kind: object{"schema": schema}} }

var pathParam = regexp.MustCompile(`\{(\w+)\}`)

var pathParams = map[string]string{
	"id":     "id of a subscription, or number of a task",
	"dn":     "DN of a name, percent-encoded; relative to the base DN or absolute",
	"claim":  "id of a claim, percent-encoded: dpkg%2F1",
	"source": "id of a claim, percent-encoded, or of a list",
	"alarm":  "id of an alarm, percent-encoded",
}

func parameters(r *route) []object {
	var out []object
	for _, m := range pathParam.FindAllStringSubmatch(r.path, -1) {
		out = append(out, object{"name": m[1], "in": "path", "required": true, "description": pathParams[m[1]],
			"schema": object{"type": "string"}})
	}
	for _, p := range r.query {
		out = append(out, object{"name": p.name, "in": "query", "description": p.help, "schema": p.schema})
	}
	if r.revised {
		out = append(out, object{"name": "If-Match", "in": "header", "description": "the ETag that the queue was given with: refused with 412 if it is another by now",
			"schema": object{"type": "string"}})
	}
	if r.method != "GET" {
		out = append(out, object{"name": ReasonHeader, "in": "header", "description": "why, for the record: one line",
			"schema": object{"type": "string", "maxLength": maxReason}})
	}
	return out
}

// operationID is "get /names/{dn}/history" as one word.
func operationID(r *route) string {
	id := strings.ToLower(r.method)
	for part := range strings.SplitSeq(r.path, "/") {
		word := strings.Trim(part, "{}")
		if word == "" {
			continue
		}
		if word != part {
			word = "by " + word
		}
		for piece := range strings.FieldsFuncSeq(word, func(c rune) bool { return c == ' ' || c == '.' }) {
			id += strings.ToUpper(piece[:1]) + piece[1:]
		}
	}
	return id
}

// schemer is a type that writes its own schema, since it reads itself.
type schemer interface{ jsonSchema() map[string]any }

// schemas gathers the component schemas that are referred to.
type schemas struct{ components object }

// of gives the schema of a type as encoding/json has it. What is taken needs
// the fields marked api:"required"; what is given has all but those that may be
// omitted.
func (s *schemas) of(t reflect.Type, taken bool) object {
	if v, ok := reflect.Zero(t).Interface().(schemer); ok {
		return v.jsonSchema()
	}
	switch {
	case t.Kind() == reflect.Pointer:
		return s.of(t.Elem(), taken)
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Struct:
		return s.component(t, taken)
	case reflect.Slice:
		return object{"type": "array", "items": s.of(t.Elem(), taken)}
	case reflect.Array:
		return object{"type": "array", "items": s.of(t.Elem(), taken), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem(), taken)}
	case reflect.Interface:
		return object{}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Uint64, reflect.Uint32:
		return object{"type": "integer", "minimum": 0}
	}
	panic(fmt.Sprintf("openapi: no schema for %v", t))
}

// component refers to a struct's schema among the components. Both forms of a type
// that is taken and given are there.
func (s *schemas) component(t reflect.Type, taken bool) object {
	name := t.Name()
	if taken {
		name += "Input"
	}
	ref := object{"$ref": "#/components/schemas/" + name}
	if s.components[name] != nil {
		return ref
	}
	properties, required := object{}, []string{}
	schema := object{"type": "object", "additionalProperties": false, "properties": properties}
	s.components[name] = schema // before the fields, which may lead back here
	for f := range t.Fields() {
		field, omitted := jsonName(f)
		properties[field] = s.of(f.Type, taken)
		if taken && f.Tag.Get("api") == "required" || !taken && !omitted {
			required = append(required, field)
		}
	}
	if len(required) > 0 {
		schema["required"] = required
	}
	return ref
}

// jsonName is a field's name in JSON, and whether it may be omitted there.
func jsonName(f reflect.StructField) (name string, omitted bool) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name, strings.Contains(options, "omit")
}
