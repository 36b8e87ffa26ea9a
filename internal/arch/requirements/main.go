// Command requirements lists, for each requirement R1 to R56, the tests that
// name it, and then those that no test names.
//
//	go run ./internal/arch/requirements
//
// A Go test names a requirement by its own name (TestR19Templates), by a
// comment on it or in it, or by a text in it (the name of a case). A story in
// testdata and a file under test/ names one by its text. Tests below
// internal/arch are about the project's form, and count for none.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// last is the highest requirement.
const last = 56

func main() {
	found, err := collect(os.DirFS("."))
	if err != nil {
		fmt.Fprintln(os.Stderr, "requirements:", err)
		os.Exit(1)
	}
	report(os.Stdout, found)
}

// index holds the places that name each requirement.
type index map[int]map[string]bool

func (x index) add(numbers []int, place string) {
	for _, n := range numbers {
		if x[n] == nil {
			x[n] = map[string]bool{}
		}
		x[n][place] = true
	}
}

var (
	inText = regexp.MustCompile(`\bR([1-9][0-9]?)\b`)
	inName = regexp.MustCompile(`R([1-9][0-9]*)`)
	isTest = regexp.MustCompile(`^(Test|Fuzz|Benchmark|Example)`)
	// ofName are the requirements at the beginning of a test's name, after the prefix.
	ofName = regexp.MustCompile(`^(?:Test|Fuzz|Benchmark|Example)_?((?:R[1-9][0-9]*_?)+)`)
)

// numbers reads what a pattern finds.
func numbers(pattern *regexp.Regexp, text string) []int {
	var out []int
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		if n, err := strconv.Atoi(m[1]); err == nil && n <= last {
			out = append(out, n)
		}
	}
	return out
}

// collect reads every test below dir.
func collect(dir fs.FS) (index, error) {
	x := index{}
	err := fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := path.Base(name); name != "." && (strings.HasPrefix(base, ".") || base == "fuzz" || name == "internal/arch") {
				return fs.SkipDir
			}
			return nil
		}
		goTest := strings.HasSuffix(name, "_test.go")
		story := strings.Contains(name, "/testdata/") && strings.HasSuffix(name, ".txt")
		if !goTest && !story && !strings.HasPrefix(name, "test/") {
			return nil
		}
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			return err
		}
		if goTest {
			return x.goFile(name, text)
		}
		x.add(numbers(inText, string(text)), name)
		return nil
	})
	return x, err
}

// goFile notes which requirements each test function of a file names.
func (x index) goFile(name string, text []byte) error {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || !isTest.MatchString(f.Name.Name) {
			continue
		}
		place := name + ":" + f.Name.Name
		if m := ofName.FindStringSubmatch(f.Name.Name); m != nil {
			x.add(numbers(inName, m[1]), place)
		}
		x.add(numbers(inText, f.Doc.Text()), place)
		x.add(numbers(inText, literals(f)), place)
		for _, group := range file.Comments {
			if f.Pos() < group.Pos() && group.End() < f.End() {
				x.add(numbers(inText, group.Text()), place)
			}
		}
	}
	return nil
}

// literals joins the strings in a function.
func literals(f *ast.FuncDecl) string {
	var b strings.Builder
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			b.WriteString(lit.Value + "\n")
		}
		return true
	})
	return b.String()
}

// report prints the list.
func report(w io.Writer, x index) {
	var missing []string
	for n := 1; n <= last; n++ {
		if len(x[n]) == 0 {
			missing = append(missing, fmt.Sprint("R", n))
			continue
		}
		fmt.Fprintf(w, "R%d\n", n)
		for _, place := range slices.Sorted(maps.Keys(x[n])) {
			fmt.Fprintf(w, "    %s\n", place)
		}
	}
	fmt.Fprintf(w, "%d of %d requirements are named by a test.\n", last-len(missing), last)
	if len(missing) > 0 {
		fmt.Fprintf(w, "Without one: %s\n", strings.Join(missing, " "))
	}
}
