package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is one parsed file.
type source struct {
	name string // below root, with slashes
	set  *token.FileSet
	file *ast.File
}

func parse(name string, text []byte) (source, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
	return source{name, set, file}, err
}

func (s source) isTest() bool { return strings.HasSuffix(s.name, "_test.go") }

func (s source) place(p token.Pos) string {
	return fmt.Sprintf("%s:%d", s.name, s.set.Position(p).Line)
}

// imports gives the name under which the file knows a package; "" if it does not.
func (s source) imports(importPath string) string {
	for _, i := range s.file.Imports {
		if p, err := strconv.Unquote(i.Path.Value); err == nil && p == importPath {
			if i.Name != nil {
				return i.Name.Name
			}
			return path.Base(importPath)
		}
	}
	return ""
}

// uses lists the places where the file takes one of the names from a package.
func (s source) uses(importPath string, names []string) []string {
	local := s.imports(importPath)
	if local == "" {
		return nil
	}
	var out []string
	if local == "." {
		out = append(out, s.name+": imports "+importPath+" with a dot")
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == local && slices.Contains(names, sel.Sel.Name) {
				out = append(out, fmt.Sprintf("%s: %s.%s", s.place(sel.Pos()), importPath, sel.Sel.Name))
			}
		}
		return true
	})
	return out
}

// checkSource says what is wrong with one file.
func checkSource(s source) []string {
	var wrong []string
	dir := path.Dir(s.name)
	if s.isTest() {
		for _, use := range s.uses("time", []string{"Sleep"}) {
			wrong = append(wrong, use+" in a test: wait for what is to happen")
		}
		return append(wrong, s.skips()...)
	}
	if lines := s.set.File(s.file.FileStart).LineCount(); lines > maxFile {
		wrong = append(wrong, fmt.Sprintf("%s has %d lines, more than %d", s.name, lines, maxFile))
	}
	for _, decl := range s.file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok {
			lines := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1
			if lines > maxFunction {
				wrong = append(wrong, fmt.Sprintf("%s: %s has %d lines, more than %d", s.place(f.Pos()), f.Name.Name, lines, maxFunction))
			}
		}
	}
	if i := rowOf(dir); i >= 0 && table[i].pure {
		for _, use := range s.uses("time", clock) {
			wrong = append(wrong, use+" in a pure package: time comes in as a value")
		}
	}
	for other, names := range mustNotUse[dir] {
		for _, use := range s.uses(module+"/"+other, names) {
			wrong = append(wrong, use+", which "+dir+" must not use")
		}
	}
	return wrong
}

// skips lists the places where a test skips itself.
func (s source) skips() []string {
	var out []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && strings.HasPrefix(sel.Sel.Name, "Skip") {
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "f", "tb"}, x.Name) {
				out = append(out, s.place(sel.Pos())+": a test that is skipped: it runs everywhere or fails")
			}
		}
		return true
	})
	return out
}

// Files and functions stay short, pure packages have no clock, tests neither
// sleep nor skip.
func TestSources(t *testing.T) {
	command := 0
	for _, name := range goFiles(t) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		s, err := parse(name, text)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, wrong := range checkSource(s) {
			t.Error(wrong)
		}
		if path.Dir(name) == "cmd/shaft" && !s.isTest() {
			command += s.set.File(s.file.FileStart).LineCount()
		}
	}
	if command > maxCommand {
		t.Errorf("cmd/shaft has %d lines, more than %d: it is flags and signals", command, maxCommand)
	}
}

// The check itself finds what it is for.
func TestSourcesAreChecked(t *testing.T) {
	long := strings.Repeat("\n", maxFunction)
	tests := []struct{ name, text, words string }{
		{"pkg/queue/x.go", "package queue\nimport \"time\"\nvar d = time.Second", ""},
		{"pkg/queue/x.go", "package queue\nimport \"time\"\nvar f = time.Now", "pkg/queue/x.go:3: time.Now in a pure package"},
		{"pkg/queue/x.go", "package queue\nimport c \"time\"\nvar f = c.Now()", "in a pure package"},
		{"pkg/queue/x.go", "package queue\nimport . \"time\"\nvar f = Now()", "with a dot"},
		{"pkg/store/x.go", "package store\nimport \"time\"\nvar f = time.Now", ""},
		{"pkg/queue/x_test.go", "package queue\nimport \"time\"\nvar f = time.Now", ""},
		{"pkg/store/x.go", "package store\nfunc f() {" + long + "}", "f has 81 lines"},
		{"pkg/store/x.go", "package store\nfunc f() {" + long[1:] + "}", ""},
		{"pkg/store/x.go", "package store" + strings.Repeat("\n", maxFile), ""},
		{"pkg/store/x.go", "package store" + strings.Repeat("\n", maxFile+1), "has 601 lines"},
		{"pkg/store/x_test.go", "package store\nimport \"time\"\nfunc f() { time.Sleep(1) }", "time.Sleep in a test"},
		{"pkg/store/x_test.go", "package store\nfunc TestX(t *testing.T) { t.Skipf(`no`) }", "skipped"},
		{"pkg/store/x_test.go", "package store\nfunc f(r reader) { r.Skip() }", ""},
		{"pkg/operator/x.go", "package operator\nimport \"shaft/pkg/upstream\"\nvar f = upstream.Follow", "must not use"},
		{"pkg/operator/x.go", "package operator\nimport \"shaft/pkg/upstream\"\nvar f = upstream.ParseURL", ""},
	}
	for _, test := range tests {
		s, err := parse(test.name, []byte(test.text))
		if err != nil {
			t.Fatal(err)
		}
		wrong := strings.Join(checkSource(s), "; ")
		if (wrong == "") != (test.words == "") || !strings.Contains(wrong, test.words) {
			t.Errorf("%s: %.60q: got %q, want %q", test.name, test.text, wrong, test.words)
		}
	}
}
