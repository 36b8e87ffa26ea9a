package operator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"unicode/utf8"

	"shaft/pkg/queue"
)

// Bounds of a request's JSON: of one subscription, which holds 64 KiB of
// fields at most, and of a document of many, of which 1,000 take 0.5 MiB.
const (
	maxBody     = 1 << 20
	maxDocument = 8 << 20
	// maxObjects bounds the objects in it: an empty one takes two bytes there,
	// and hundreds once it is read.
	maxObjects = 100_000
)

func bodyLimit(v any) int64 {
	if _, many := v.(Document); many {
		return maxDocument
	}
	return maxBody
}

// decode reads one JSON object strictly: fields that v lacks, values of other
// types and anything behind it are refused, with line and column or, where the
// place is not known, the field.
func decode(r io.Reader, v any) error {
	text, err := io.ReadAll(r)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return &queue.Refusal{Kind: kindTooLarge, Reason: fmt.Sprintf("request body: longer than %d bytes", large.Limit)}
	}
	if err != nil {
		return invalid("request body: %v", err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return invalid("request body: it is empty")
	}
	if bytes.Count(text, []byte("{")) > maxObjects {
		return invalid("request body: it has more than %d objects", maxObjects)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return decodeError(text, err)
	}
	end := dec.InputOffset()
	if rest := bytes.TrimLeft(text[end:], " \t\r\n"); len(rest) > 0 {
		return at(text, int64(len(text)-len(rest)), "something follows the JSON value")
	}
	return nil
}

func decodeError(text []byte, err error) error {
	var refusal *queue.Refusal
	if errors.As(err, &refusal) {
		return refusal // of a type that reads itself
	}
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return at(text, syntax.Offset-1, syntax.Error())
	case errors.Is(err, io.ErrUnexpectedEOF):
		return at(text, int64(len(text)), "the JSON ends too early")
	case errors.As(err, &typ):
		what := "the value"
		if typ.Field != "" {
			what = fmt.Sprintf("field %q", typ.Field)
		}
		return at(text, typ.Offset, fmt.Sprintf("%s is to be %s, not %s", what, inJSON(typ.Type), typ.Value))
	}
	msg := strings.TrimPrefix(err.Error(), "json: ")
	if field, ok := strings.CutPrefix(msg, "unknown field "); ok && bytes.Count(text, []byte(field)) == 1 {
		return at(text, int64(bytes.Index(text, []byte(field))), msg)
	}
	return invalid("request body: %s", msg)
}

// inJSON names a Go type as JSON does.
func inJSON(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "an array"
	}
	return "an object"
}

// at is a mistake behind offset bytes of text.
func at(text []byte, offset int64, msg string) error {
	before := text[:max(0, min(int(offset), len(text)))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return invalid("request body, line %d, column %d: %s", line, column, msg)
}
