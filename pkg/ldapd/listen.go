package ldapd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// DefaultPort is LDAP's, for a URL without one.
const DefaultPort = "389"

// socketMode lets every local user connect, as slapd does: what a client may
// see is decided by bind and access rules, not by the socket's permissions.
const socketMode = 0o666

// maxSocketPath is how many bytes Linux takes for a unix socket's path: its
// sockaddr_un has 108 with a NUL.
const maxSocketPath = 107

// Listen opens what an LDAP URL names: ldap://host:port (an empty host is
// every address, the default port 389) or ldapi://%2Fpath%2Fto%2Fsocket, where
// a socket that a dead process left behind is replaced.
func Listen(rawURL string) (net.Listener, error) {
	network, address, err := parseListen(rawURL)
	if err != nil {
		return nil, err
	}
	if network == "unix" {
		return listenUnix(rawURL, address)
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", rawURL, err)
	}
	return l, nil
}

// URLOf is the LDAP URL of a listener that Listen opened, with the port it got.
func URLOf(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "ldapi://" + url.PathEscape(l.Addr().String())
	}
	return "ldap://" + l.Addr().String()
}

// CheckURL tells what is wrong with a URL for Listen, without opening it.
func CheckURL(rawURL string) error {
	_, _, err := parseListen(rawURL)
	return err
}

func parseListen(rawURL string) (network, address string, err error) {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return "", "", fmt.Errorf("listen on %q: not a URL like ldap://127.0.0.1:389 or ldapi://%%2Frun%%2Fldapi", rawURL)
	}
	rest = strings.TrimSuffix(rest, "/")
	switch strings.ToLower(scheme) {
	case "ldap":
		return parseTCP(rawURL, rest)
	case "ldapi":
		path, err := url.PathUnescape(rest)
		if err != nil {
			return "", "", fmt.Errorf("listen on %q: %w", rawURL, err)
		}
		if !strings.HasPrefix(path, "/") {
			return "", "", fmt.Errorf("listen on %q: the socket's path must be absolute, with each / written as %%2F", rawURL)
		}
		if len(path) > maxSocketPath {
			return "", "", fmt.Errorf("listen on %q: the socket's path has %d bytes; the system takes %d at most", rawURL, len(path), maxSocketPath)
		}
		return "unix", path, nil
	case "ldaps":
		return "", "", fmt.Errorf("listen on %q: ldaps is not served by this version; use ldap:// or ldapi://", rawURL)
	default:
		return "", "", fmt.Errorf("listen on %q: unknown scheme %q; ldap:// and ldapi:// are served", rawURL, scheme)
	}
}

func parseTCP(rawURL, hostport string) (network, address string, err error) {
	if strings.ContainsAny(hostport, "/?") {
		return "", "", fmt.Errorf("listen on %q: nothing may follow host and port", rawURL)
	}
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		var missing *net.AddrError
		if !errors.As(err, &missing) || missing.Err != "missing port in address" {
			return "", "", fmt.Errorf("listen on %q: %w", rawURL, err)
		}
		host, port = strings.Trim(hostport, "[]"), DefaultPort
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

func listenUnix(rawURL, path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && isStale(path) {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("listen on %q: remove stale socket: %w", rawURL, err)
		}
		l, err = net.Listen("unix", path)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", rawURL, err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		l.Close()
		return nil, fmt.Errorf("listen on %q: %w", rawURL, err)
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
