package arch

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// namedTest is a test as documents name it: with its package, or alone.
var namedTest = regexp.MustCompile("`(?:([a-z]+)\\.)?(Test[A-Z0-9]\\w*)`")

// testFunc is how a test begins.
var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// checkDocument says which tests a document names that there are not, and which
// rows of its checklist name none.
func checkDocument(name, text string, tests map[string]bool) (wrong []string) {
	checklist := false
	for i, line := range strings.Split(text, "\n") {
		place := fmt.Sprintf("%s:%d", name, i+1)
		named := namedTest.FindAllStringSubmatch(line, -1)
		for _, m := range named {
			if full := strings.TrimPrefix(m[1]+"."+m[2], "."); !tests[full] {
				wrong = append(wrong, place+": there is no test "+full)
			}
		}
		if strings.HasPrefix(line, "#") {
			checklist = strings.Contains(line, "hecklist")
		}
		row := strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "|---") && !strings.HasPrefix(line, "| What")
		if checklist && row && len(named) == 0 {
			wrong = append(wrong, place+": a line of the checklist without a test")
		}
	}
	return wrong
}

// The tests that documents name exist, and each line of a checklist names one.
func TestDocumentsNameTests(t *testing.T) {
	tests := map[string]bool{}
	for _, name := range goFiles(t) {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			tests[string(m[1])] = true
			tests[path.Base(path.Dir(name))+"."+string(m[1])] = true
		}
	}
	documents, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(documents) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	for _, file := range append(documents, filepath.Join(root, "ARCHITECTURE.md")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range checkDocument(filepath.Base(file), string(text), tests) {
			t.Error(wrong)
		}
	}
}

// The check itself finds what it is for.
func TestDocumentsAreChecked(t *testing.T) {
	tests := map[string]bool{"TestA": true, "x.TestA": true}
	for _, test := range []struct{ text, words string }{
		{"`TestA`, `x.TestA`", ""},
		{"TestB, `y.Tester`", ""},
		{"`TestB`", "d.md:1: there is no test TestB"},
		{"`y.TestA`", "no test y.TestA"},
		{"## A checklist\n\n| What | Test |\n|---|---|\n| a | `x.TestA` |", ""},
		{"## A checklist\n| a | b |", "d.md:2: a line of the checklist without a test"},
		{"## A checklist\n## A table\n| a | b |", ""},
	} {
		wrong := strings.Join(checkDocument("d.md", test.text, tests), "; ")
		if (wrong == "") != (test.words == "") || !strings.Contains(wrong, test.words) {
			t.Errorf("%q: got %q, want %q", test.text, wrong, test.words)
		}
	}
}
