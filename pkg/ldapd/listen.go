package ldapd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// scheme is how a listener's connections begin.
type scheme struct {
	name  string
	port  string // for a URL without one; "": a unix socket
	proxy bool   // with a PROXY protocol header, version 2
	tls   bool   // with TLS, behind that
}

// schemes are those of slapd, the ones for the PROXY protocol too.
var schemes = []scheme{
	{name: "ldap", port: "389"},
	{name: "ldaps", port: "636", tls: true},
	{name: "ldapi"},
	{name: "pldap", port: "389", proxy: true},
	{name: "pldaps", port: "636", proxy: true, tls: true},
}

// listener is what Listen opens.
type listener struct {
	net.Listener
	scheme scheme
}

// schemeOf is that of ldap for a listener that Listen did not open.
func schemeOf(l net.Listener) scheme {
	if l, ok := l.(*listener); ok {
		return l.scheme
	}
	return schemes[0]
}

// socketMode lets every local user connect, as slapd does: what a client may
// see is decided by bind and access rules, not by the socket's permissions.
const socketMode = 0o666

// maxSocketPath is how many bytes Linux takes for a unix socket's path: its
// sockaddr_un has 108 with a NUL.
const maxSocketPath = 107

// Listen opens what an LDAP URL names:
//
//   - ldap://host:port (an empty host is every address, the default port 389),
//     and ldaps:// (636), where TLS comes before anything else;
//   - pldap:// and pldaps://, the same behind a balancer that says in a header
//     of the PROXY protocol, version 2, for whom it connects. Whoever can reach
//     such a listener can say so of any address;
//   - ldapi://%2Fpath%2Fto%2Fsocket, where a socket that a dead process left
//     behind is replaced.
func Listen(rawURL string) (net.Listener, error) {
	u, err := parseListen(rawURL)
	if err != nil {
		return nil, err
	}
	var l net.Listener
	if u.network == "unix" {
		l, err = listenUnix(u.address)
	} else {
		l, err = net.Listen(u.network, u.address)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", rawURL, err)
	}
	return &listener{l, u.scheme}, nil
}

// URLOf is the LDAP URL of a listener that Listen opened, with the port it got.
func URLOf(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "ldapi://" + url.PathEscape(l.Addr().String())
	}
	return schemeOf(l).name + "://" + l.Addr().String()
}

// CheckURL tells what is wrong with a URL for Listen, without opening it, and
// whether its listener needs a certificate.
func CheckURL(rawURL string) (needsTLS bool, err error) {
	u, err := parseListen(rawURL)
	return u.scheme.tls, err
}

// listenURL is a URL taken apart.
type listenURL struct {
	scheme           scheme
	network, address string
}

func parseListen(rawURL string) (u listenURL, err error) {
	name, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return u, fmt.Errorf("listen on %q: not a URL like ldap://127.0.0.1:389 or ldapi://%%2Frun%%2Fldapi", rawURL)
	}
	rest = strings.TrimSuffix(rest, "/")
	i := slices.IndexFunc(schemes, func(s scheme) bool { return strings.EqualFold(s.name, name) })
	if i < 0 {
		return u, fmt.Errorf("listen on %q: unknown scheme %q; ldap, ldaps, ldapi, pldap and pldaps are served", rawURL, name)
	}
	u.scheme = schemes[i]
	if u.scheme.port != "" {
		u.network, u.address, err = parseTCP(rawURL, rest, u.scheme.port)
		return u, err
	}
	path, err := url.PathUnescape(rest)
	if err != nil {
		return u, fmt.Errorf("listen on %q: %w", rawURL, err)
	}
	if !strings.HasPrefix(path, "/") {
		return u, fmt.Errorf("listen on %q: the socket's path must be absolute, with each / written as %%2F", rawURL)
	}
	if len(path) > maxSocketPath {
		return u, fmt.Errorf("listen on %q: the socket's path has %d bytes; the system takes %d at most", rawURL, len(path), maxSocketPath)
	}
	u.network, u.address = "unix", path
	return u, nil
}

func parseTCP(rawURL, hostport, defaultPort string) (network, address string, err error) {
	if strings.ContainsAny(hostport, "/?") {
		return "", "", fmt.Errorf("listen on %q: nothing may follow host and port", rawURL)
	}
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		var missing *net.AddrError
		if !errors.As(err, &missing) || missing.Err != "missing port in address" {
			return "", "", fmt.Errorf("listen on %q: %w", rawURL, err)
		}
		host, port = strings.Trim(hostport, "[]"), defaultPort
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", fmt.Errorf("listen on %q: port %q is not a number from 0 to 65535", rawURL, port)
	}
	network = "tcp"
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		network = "tcp4" // 0.0.0.0 is not to listen on IPv6 as well
	}
	return network, net.JoinHostPort(host, port), nil
}

func listenUnix(path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && isStale(path) {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove stale socket: %w", err)
		}
		l, err = net.Listen("unix", path)
	}
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, socketMode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// isStale tells a socket that nobody listens on from one in use and from any other file.
func isStale(path string) bool {
	fi, err := os.Lstat(path)
	if err != nil || fi.Mode()&os.ModeSocket == 0 {
		return false
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
