package arch

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is the module's path, root its directory seen from here.
const (
	module = "shaft"
	root   = "../.."
)

// pkg is what go list says of one package.
type pkg struct {
	ImportPath string
	Dir        string
	Standard   bool
	Imports    []string // outside tests
}

func (p pkg) path() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// list gives the module's packages and whether an import path is one of the
// standard library's.
func list(t *testing.T) (packages []pkg, standard map[string]bool) {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Dir,Standard,Imports", "./...")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	standard = map[string]bool{"C": true}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			return packages, standard
		} else if err != nil {
			t.Fatal(err)
		}
		standard[p.ImportPath] = p.Standard
		if strings.HasPrefix(p.ImportPath, module+"/") {
			packages = append(packages, p)
		}
	}
}

// under tells whether path is dir or lies in it.
func under(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func underAny(path string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return under(path, dir) })
}

func rowOf(path string) int {
	return slices.IndexFunc(table, func(r row) bool { return r.path == path })
}

// checkImports says what is wrong with the imports of the package at path.
func checkImports(path string, imports []string, standard map[string]bool) []string {
	if underAny(path, outside) {
		return nil
	}
	own := rowOf(path)
	if own < 0 {
		return []string{path + " has no row in the table"}
	}
	var wrong []string
	for _, imported := range imports {
		if standard[imported] {
			if table[own].pure && underAny(imported, impureImports) && !slices.Contains(pureImports, imported) {
				wrong = append(wrong, fmt.Sprintf("%s is pure and imports %s", path, imported))
			}
			continue
		}
		if inner, ok := strings.CutPrefix(imported, module+"/"); ok {
			other := rowOf(inner)
			if other < 0 || other >= own {
				wrong = append(wrong, fmt.Sprintf("%s imports %s, which is no row above it", path, inner))
			} else if slices.Contains(table[own].mustNot, inner) {
				wrong = append(wrong, fmt.Sprintf("%s imports %s, which it must not know", path, inner))
			}
			continue
		}
		allowed := false
		for library, users := range libraries {
			allowed = allowed || under(imported, library) && slices.Contains(users, path)
		}
		if !allowed {
			wrong = append(wrong, fmt.Sprintf("%s imports %s, which no fence lets it", path, imported))
		}
	}
	return wrong
}

// Each package imports only what the table lets it.
func TestImports(t *testing.T) {
	packages, standard := list(t)
	found := map[string]bool{}
	for _, p := range packages {
		found[p.path()] = true
		for _, wrong := range checkImports(p.path(), p.Imports, standard) {
			t.Error(wrong)
		}
	}
	for i, r := range table {
		if !found[r.path] {
			t.Errorf("%s has a row and is no package", r.path)
		}
		for _, not := range r.mustNot {
			if other := rowOf(not); other < 0 || other >= i {
				t.Errorf("%s must not know %s, which is no row above it", r.path, not)
			}
		}
	}
	for library, users := range libraries {
		for _, user := range users {
			if rowOf(user) < 0 {
				t.Errorf("%s may import %s and has no row", user, library)
			}
		}
	}
}

// The check itself finds what it is for.
func TestImportsAreChecked(t *testing.T) {
	standard := map[string]bool{"fmt": true, "sync/atomic": true, "os": true}
	tests := []struct{ path, imported, words string }{
		{"pkg/dit", "fmt", ""},
		{"pkg/dit", "shaft/pkg/schema", ""},
		{"internal/arch", "shaft/pkg/store", ""},
		{"test/bench", "github.com/go-ldap/ldap/v3", ""},
		{"pkg/store", "github.com/dgraph-io/badger/v4/options", ""},
		{"pkg/store", "os", ""},
		{"pkg/new", "fmt", "no row in the table"},
		{"pkg/schema", "shaft/pkg/dit", "no row above"},
		{"pkg/schema", "shaft/internal/arch", "no row above"},
		{"pkg/ldapd", "shaft/pkg/engine", "must not know"},
		{"pkg/ldapd", "shaft/pkg/store", "must not know"},
		{"pkg/operator", "shaft/pkg/store", "must not know"},
		{"pkg/engine", "github.com/dgraph-io/badger/v4", "no fence"},
		{"pkg/engine", "github.com/elsewhere/thing", "no fence"},
		{"pkg/queue", "sync/atomic", "is pure"},
		{"pkg/queue", "os", "is pure"},
	}
	for _, test := range tests {
		wrong := strings.Join(checkImports(test.path, []string{test.imported}, standard), "; ")
		if (wrong == "") != (test.words == "") || !strings.Contains(wrong, test.words) {
			t.Errorf("%s importing %s: %q, want %q", test.path, test.imported, wrong, test.words)
		}
	}
}

// goFiles lists the module's Go files by their path below root.
func goFiles(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, top := range []string{"cmd", "internal", "pkg", "test"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && d.Name() == "testdata" {
				return filepath.SkipDir
			}
			if strings.HasSuffix(path, ".go") {
				rel, err := filepath.Rel(root, path)
				out = append(out, filepath.ToSlash(rel))
				return err
			}
			return nil
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if len(out) == 0 {
		t.Fatal("no Go files found")
	}
	return out
}
