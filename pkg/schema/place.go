package schema

import (
	"bytes"
	"fmt"
)

// source is a text that holds definitions: a whole .schema file, or one value
// of an LDIF file.
type source struct {
	name string
	text []byte
	// at gives line and column in the file, both from 1, of a byte of text.
	at func(off int) (line, column int)
}

// place is a byte of a source.
type place struct {
	src *source
	off int
}

func (p place) String() string {
	line, column := p.src.at(p.off)
	return fmt.Sprintf("%s:%d:%d", p.src.name, line, column)
}

// errorf makes an error that begins with the place.
func (p place) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: "+format, append([]any{p}, args...)...)
}

// fileSource is a file whose text is parsed as it stands.
func fileSource(name string, text []byte) *source {
	return &source{name: name, text: text, at: func(off int) (int, int) {
		before := text[:min(off, len(text))]
		return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
	}}
}

// ldifSource is one value of an LDIF file, whose line began at line. Columns
// are exact for values written in clear, folded or not; within a base64 value
// they are those of its beginning.
func ldifSource(f File, line int, value []byte) *source {
	return &source{name: f.Name, text: value, at: func(off int) (int, int) {
		return ldifPosition(f.Text, line, off)
	}}
}

func ldifPosition(text []byte, line, off int) (int, int) {
	start := 0
	for range line - 1 {
		start += bytes.IndexByte(text[start:], '\n') + 1
	}
	i := start + bytes.IndexByte(text[start:], ':') + 1
	if i < len(text) && text[i] == ':' {
		return line, i + 1 - start + 1
	}
	for i < len(text) && text[i] == ' ' {
		i++
	}
	for {
		if i < len(text) && text[i] == '\r' {
			i++
		}
		if i+1 < len(text) && text[i] == '\n' && text[i+1] == ' ' {
			line, start = line+1, i+1
			i += 2
			continue
		}
		if off == 0 || i >= len(text) {
			return line, i - start + 1
		}
		off--
		i++
	}
}
