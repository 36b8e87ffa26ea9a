//go:build !linux

package upstream

import "net"

// gatherer waits for nothing: the rest is Linux's own.
type gatherer struct{}

func newGatherer(net.Conn) gatherer { return gatherer{} }

func (*gatherer) await() {}
