package ldapd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// proxySignature begins a header of the PROXY protocol, version 2.
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// maxProxy bounds what follows the fixed part: addresses and fields of other
// kinds, certificates at most.
const maxProxy = 16 << 10

// readProxy reads the header, and not an octet more. ok: it names the client's
// address; it does not where the balancer speaks for itself (LOCAL), or for
// what is no TCP connection. Its fields behind the addresses are left aside.
func readProxy(r io.Reader) (client netip.AddrPort, ok bool, err error) {
	var fixed [16]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return client, false, fmt.Errorf("PROXY header: %w", err)
	}
	if string(fixed[:12]) != proxySignature {
		return client, false, errors.New("PROXY header: it does not begin as one of version 2")
	}
	version, command := fixed[12]>>4, fixed[12]&0x0f
	n := int(binary.BigEndian.Uint16(fixed[14:]))
	switch {
	case version != 2:
		return client, false, fmt.Errorf("PROXY header: version %d instead of 2", version)
	case command > 1:
		return client, false, fmt.Errorf("PROXY header: unknown command %d", command)
	case n > maxProxy:
		return client, false, fmt.Errorf("PROXY header: %d octets; %d at most are taken", n, maxProxy)
	}
	rest := make([]byte, n)
	if _, err := io.ReadFull(r, rest); err != nil {
		return client, false, fmt.Errorf("PROXY header: %w", err)
	}
	if command == 0 { // LOCAL
		return client, false, nil
	}
	switch fixed[13] {
	case 0x11: // TCP over IPv4
		return proxyAddress(rest, 4)
	case 0x21: // TCP over IPv6
		return proxyAddress(rest, 16)
	case 0x00, 0x31: // unspecified; a unix stream
		return client, false, nil
	}
	return client, false, fmt.Errorf("PROXY header: 0x%02x is no stream that LDAP comes over", fixed[13])
}

// proxyAddress takes the source from source, destination and two ports.
func proxyAddress(b []byte, size int) (client netip.AddrPort, ok bool, err error) {
	if len(b) < 2*size+4 {
		return client, false, fmt.Errorf("PROXY header: %d octets are too few for its addresses", len(b))
	}
	ip, _ := netip.AddrFromSlice(b[:size])
	return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(b[2*size:])), true, nil
}
