package ldaptest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
)

// Ports that are given lie below those that the system picks for whoever asks for any (from 32768 on), who may else
// get one between the moment in which it is given and that in which its server listens, or while that is stopped.
const (
	firstPort = 10000
	portRange = 22000
	portBlock = 128 // where the next process begins
)

var portsGiven atomic.Int64

// FreePort gives a port of loopback, of TCP and UDP, that nothing listens on at the moment; this process is given it once.
func FreePort() (int, error) {
	for range portRange {
		port := firstPort + (int64(os.Getpid())*portBlock+portsGiven.Add(1))%portRange
		if address := fmt.Sprintf("127.0.0.1:%d", port); free(address) {
			return int(port), nil
		}
	}
	return 0, errors.New("no port is free")
}

func free(address string) bool {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer l.Close()
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// FreeAddress is host:port with such a port.
func FreeAddress(t TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", freePort(t))
}

func freePort(t TB) int {
	t.Helper()
	port, err := FreePort()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return port
}
