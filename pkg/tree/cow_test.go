package tree

import "testing"

// Pages are copied once, when they are first written, and never under others.
func TestCow(t *testing.T) {
	type page [4]int
	var first cow[page]
	for i := range 130 {
		first.push()
		first.own(i)[0] = i
	}
	first.settle()

	second := first
	for range 2 {
		second.own(3)[0] = 33
		second.own(129)[1] = 44
	}
	second.push()
	second.own(130)[0] = 130
	for i := range 130 {
		if got := first.pages[i][0]; got != i || first.pages[i][1] != 0 {
			t.Errorf("page %d of the first version has %d", i, got)
		}
		if same := first.pages[i] == second.pages[i]; same == (i == 3 || i == 129) {
			t.Errorf("page %d is shared: %v", i, same)
		}
	}
	if len(first.pages) != 130 || len(second.pages) != 131 {
		t.Errorf("%d and %d pages", len(first.pages), len(second.pages))
	}
	p := second.own(3)
	if second.own(3) != p || p[0] != 33 {
		t.Error("a page of ours was copied again")
	}
	second.settle()
	third := second
	third.own(3)[0] = 333
	if second.pages[3][0] != 33 {
		t.Error("a settled page was written in place")
	}
}

// Names of a walk: down, along, up again, and beyond the first buffer.
func TestSuffixes(t *testing.T) {
	var s suffixes
	s.init([]byte("dc=b"))
	check := func(want string) {
		t.Helper()
		if got := string(s.dn()); got != want {
			t.Errorf("name is %s, want %s", got, want)
		}
	}
	check("dc=b")
	s.put([]byte("cn=one"))
	check("cn=one,dc=b")
	s.put([]byte("cn=2"))
	check("cn=2,dc=b")
	s.descend()
	s.put([]byte("cn=three"))
	check("cn=three,cn=2,dc=b")
	s.descend()
	long := make([]byte, 5000)
	for i := range long {
		long[i] = 'x'
	}
	s.put(long)
	check(string(long) + ",cn=three,cn=2,dc=b")
	s.put([]byte("cn=4"))
	check("cn=4,cn=three,cn=2,dc=b")
	s.ascend()
	s.put([]byte("cn=5"))
	check("cn=5,cn=2,dc=b")
	s.ascend()
	s.put([]byte("cn=6"))
	check("cn=6,dc=b")
}
