package ldapd

import (
	"net"
	"net/url"
)

// URLOf is the LDAP URL of a listener that Listen opened, with the port it got.
func URLOf(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "ldapi://" + url.PathEscape(l.Addr().String())
	}
	return "ldap://" + l.Addr().String()
}
