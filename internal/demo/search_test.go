package demo

import (
	"net"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/syncrepl"
)

// What answers a search in another way than with entries and success.
func TestSearchErrors(t *testing.T) {
	tests := []struct {
		name, answer, words string
	}{
		{"closed", "", "EOF"},
		{"no LDAP", "HTTP/1.1 400 Bad Request\r\n", ""},
		{"too long", "\x30\x84\x7f\xff\xff\xff", ""},
		{"no search result", "\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00", "tag 61"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := search(t.Context(), "ldap://"+answering(t, test.answer), baseDN)
			if err == nil || !strings.Contains(err.Error(), test.words) {
				t.Errorf("error %v, want %q", err, test.words)
			}
		})
	}
}

// answering is the address of a server that reads one request, sends the
// answer and closes.
func answering(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := c.Read(make([]byte, 4096)); err == nil {
			c.Write([]byte(answer))
		}
	}()
	return l.Addr().String()
}

// Entries larger than one read arrive whole; a base that is not there is an error.
func TestSearch(t *testing.T) {
	s, err := ldaptest.Start(ldaptest.Options{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	long := strings.Repeat("x", 20_000)
	if err := s.Modify(ldaptest.SuSeSuffix, "description", long); err != nil {
		t.Fatal(err)
	}
	records, err := search(t.Context(), s.URL(), ldaptest.SuSeSuffix)
	if err != nil || len(records) != 3 {
		t.Fatalf("%d entries, %v", len(records), err)
	}
	found := false
	for _, a := range records[0].Attrs {
		found = found || a.Name == "description" && string(a.Value) == long
	}
	if !found {
		t.Errorf("the long value is not in %v", records[0])
	}
	if _, err := search(t.Context(), s.URL(), "o=nowhere"); err == nil || !strings.Contains(err.Error(), "result 32") {
		t.Errorf("error %v", err)
	}
}

// A server that falls silent ends the search with its connection.
func TestSearchIsCut(t *testing.T) {
	s, err := ldaptest.Start(ldaptest.Options{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.SetScript(func(ldaptest.Search, *syncrepl.Provider) (bool, error) { return false, net.ErrClosed })
	if _, err := search(t.Context(), s.URL(), ldaptest.SuSeSuffix); err == nil {
		t.Error("no error")
	}
}
