package ldaptest

import (
	"net"
	"testing"
)

// No port is given twice, none that somebody has, and none that the system gives to whoever asks for any.
func TestFreePort(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		at := FreeAddress(t)
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if port := l.Addr().(*net.TCPAddr).Port; seen[at] || port < firstPort || port >= firstPort+portRange {
			t.Errorf("%s, given before: %v", at, seen[at])
		}
		seen[at] = true
	}
	portsGiven.Add(-50)
	if at := FreeAddress(t); seen[at] {
		t.Errorf("%s is in use", at)
	}
}
