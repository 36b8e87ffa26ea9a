package store

import (
	"strconv"
	"strings"
	"testing"
)

// A refresh of some entries takes kilobytes; one that grows takes more by and by, never more than a
// transaction, and what it staged in each of its buffers is there in the end.
func TestStageBuffersGrow(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	puts := map[int]string{}
	for i := range 10 {
		puts[i] = strings.Repeat("x", 600)
	}
	st := begin(t, s, 1, puts)
	if n := cap(st.fill.buf); n != firstBuffer {
		t.Errorf("10 entries of 600 bytes took a buffer of %d", n)
	}
	if err := s.CommitStage(st, []byte("c"), "ldap://a", 100, &Batch{}); err != nil {
		t.Fatal(err)
	}
	st, err := s.Stage(1)
	if err != nil {
		t.Fatal(err)
	}
	want, buffers := map[int]string{}, map[int]int{}
	for i := range 700 { // four transactions
		v := strings.Repeat(strconv.Itoa(i)+".", 200+i%600)
		if err := st.Put(scattered(i), uint32(i), []byte(v)); err != nil {
			t.Fatal(err)
		}
		want[i] = "2/" + strconv.Itoa(200+i) + "/" + v[:40] // as many as wantEntries looks at
		buffers[cap(st.fill.buf)]++
	}
	if err := s.CommitStage(st, []byte("d"), "ldap://a", 200, &Batch{}); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, s, 1, want)
	for size := range buffers {
		if size > stageBytes {
			t.Errorf("a buffer of %d bytes", size)
		}
	}
	if len(buffers) < 5 || buffers[firstBuffer] > 100 {
		t.Errorf("entries by the size of the buffer: %v", buffers)
	}
}
