package main

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestReport(t *testing.T) {
	dir := fstest.MapFS{
		"pkg/a/a.go": {Data: []byte("package a\n// TestNothing is about R9.\nfunc TestNothing() {}\n")},
		"pkg/a/a_test.go": {Data: []byte(`package a

// R3, R4: what it says. PR56 and R560 are something else.
func TestBoth(t *testing.T) {}

func TestR5R12Names(t *testing.T) {}

func TestR100(t *testing.T) {}

func TestInside(t *testing.T) {
	// R6 is in a comment
	for _, name := range []string{"in a text (R7)"} {
	}
}

// R8 is named by no test here.
func helper() {}
`)},
		"pkg/a/testdata/story.txt":       {Data: []byte("# as R24 says\n")},
		"pkg/a/testdata/fuzz/F/seed.txt": {Data: []byte("R25")},
		"internal/arch/x/x_test.go":      {Data: []byte("package x\n\nfunc TestR26(t *testing.T) {}\n")},
		"test/interop.sh":                {Data: []byte("# R40\n")},
		".git/x_test.go":                 {Data: []byte("no Go")},
	}
	found, err := collect(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	report(&out, found)
	want := `R3
    pkg/a/a_test.go:TestBoth
R4
    pkg/a/a_test.go:TestBoth
R5
    pkg/a/a_test.go:TestR5R12Names
R6
    pkg/a/a_test.go:TestInside
R7
    pkg/a/a_test.go:TestInside
R12
    pkg/a/a_test.go:TestR5R12Names
R24
    pkg/a/testdata/story.txt
R40
    test/interop.sh
8 of 56 requirements are named by a test.
`
	if got := out.String(); !strings.HasPrefix(got, want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if !strings.Contains(out.String(), "Without one: R1 R2 R8 R9 R10 R11 R13 ") {
		t.Errorf("the missing ones are not listed:\n%s", &out)
	}
}

func TestBrokenFileIsAnError(t *testing.T) {
	dir := fstest.MapFS{"pkg/a/a_test.go": {Data: []byte("no Go")}}
	if _, err := collect(dir); err == nil || !strings.Contains(err.Error(), "pkg/a/a_test.go:1") {
		t.Errorf("got %v", err)
	}
}
