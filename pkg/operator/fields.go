package operator

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Fields are new values for fields of a subscription, by the fields' names in
// JSON. A value is given as text, as it is on the command line, or as JSON
// has it: a number, true or false, an array of texts (url takes several too); ""
// or null takes the field back to its default.
type Fields map[string]string

// UnmarshalJSON implements json.Unmarshaler.
func (f *Fields) UnmarshalJSON(text []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		return invalid("request body: the value is to be an object of fields")
	}
	*f = Fields{}
	for name, value := range raw {
		between := ","
		if name == fieldURL {
			between = " "
		}
		plain, ok := plainValue(value, between)
		if !ok {
			return invalid("request body: field %q is to be a string, a whole number, true or false, an array of strings, or null", name)
		}
		(*f)[name] = plain
	}
	return nil
}

// fieldURL is the field whose several values are separated by blanks.
const fieldURL = "url"

func plainValue(raw json.RawMessage, between string) (string, bool) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return "", false
	}
	switch v := v.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		if n := int64(v); float64(n) == v {
			return strconv.FormatInt(n, 10), true
		}
	case []any:
		texts := make([]string, len(v))
		for i, one := range v {
			text, ok := one.(string)
			if !ok || strings.Contains(text, between) {
				return "", false
			}
			texts[i] = text
		}
		return strings.Join(texts, between), true
	}
	return "", false
}

// jsonSchema implements schemer.
func (Fields) jsonSchema() map[string]any {
	return map[string]any{"type": "object", "minProperties": 1, "additionalProperties": map[string]any{
		"type": []string{"string", "integer", "boolean", "array", "null"}, "items": map[string]any{"type": "string"}}}
}
