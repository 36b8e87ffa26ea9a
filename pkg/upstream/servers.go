package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"
)

// Server is one more place where a source's content is to be had. The search,
// the credentials and the CA file are the source's; TLS verifies this host.
type Server struct {
	Protocol string `json:"protocol"` // the source's when none was given
	Host     string `json:"host,omitempty"`
	Port     int    `json:"port,omitempty"`
	Socket   string `json:"socket,omitempty"`
}

const (
	protocolLDAP  = "ldap"
	protocolLDAPS = "ldaps"
	protocolLDAPI = "ldapi"
	portLDAP      = 389
	portLDAPS     = 636
)

const (
	// maxServers is how many servers a source has, the first included: more
	// are hardly copies of one content, and each is waited for in turn.
	maxServers = 16

	// maxSocket is the longest path that sockaddr_un of Linux can hold.
	maxSocket = 107
)

// first is where the source's own fields say that the content is.
func (s *Source) first() Server { return Server{s.Protocol, s.Host, s.Port, s.Socket} }

// servers are all of them, in the order in which they are tried.
func (s *Source) servers() []Server { return append([]Server{s.first()}, s.Servers...) }

// encrypted tells whether TLS is spoken with that server before anything else.
func (s *Source) encrypted(at Server) bool {
	return at.Protocol == protocolLDAPS || at.Protocol == protocolLDAP && s.StartTLS
}

// fill is Source.fill for one server; protocol is that of the source.
func (at *Server) fill(protocol string) {
	at.Protocol = strings.ToLower(at.Protocol)
	switch {
	case at.Protocol != "":
	case at.Socket != "":
		at.Protocol = protocolLDAPI
	case protocol == protocolLDAPI:
		at.Protocol = protocolLDAP
	default:
		at.Protocol = protocol
	}
	at.Host = canonicalHost(at.Host)
	if !at.named() && at.Port == defaultPort(at.Protocol) {
		at.Port = 0 // means the same: an address has no SRV records
	}
}

func defaultPort(protocol string) int {
	if protocol == protocolLDAPS {
		return portLDAPS
	}
	return portLDAP
}

// named tells whether the host is a name of DNS: not an address, and not this
// machine itself (RFC 6761 section 6.3).
func (at *Server) named() bool {
	_, err := netip.ParseAddr(at.Host)
	return at.Host != "" && err != nil && at.Host != "localhost" && !strings.HasSuffix(at.Host, ".localhost")
}

// address is "host:port", or the path of the socket.
func (at *Server) address() string {
	if at.Protocol == protocolLDAPI {
		return at.Socket
	}
	port := at.Port
	if port == 0 {
		port = defaultPort(at.Protocol)
	}
	return net.JoinHostPort(at.Host, strconv.Itoa(port))
}

// url is the server's part of an LDAP URL.
func (at *Server) url() string {
	host := at.Host
	switch {
	case at.Protocol == protocolLDAPI:
		host = encode(at.Socket, "")
	case strings.Contains(host, ":"):
		host = "[" + encode(host, reserved) + "]"
	}
	if at.Port != 0 {
		host += ":" + strconv.Itoa(at.Port)
	}
	return at.Protocol + "://" + host
}

// checkServers looks at the fields that say where the servers are.
func (s *Source) checkServers() error {
	first := s.first()
	if err := first.check(); err != nil {
		return err
	}
	if len(s.Servers) >= maxServers {
		return fmt.Errorf("servers: more than %d in all", maxServers)
	}
	seen := map[string]bool{first.address(): true}
	clear := first.Protocol == protocolLDAP
	for i, at := range s.Servers {
		if err := at.check(); err != nil {
			return fmt.Errorf("servers: number %d: %w", i+1, err)
		}
		if seen[at.address()] {
			return fmt.Errorf("servers: %s is there twice", at.url())
		}
		seen[at.address()] = true
		clear = clear || at.Protocol == protocolLDAP
	}
	return s.checkStartTLS(clear)
}

// checkStartTLS sees to it that no server is spoken to with less protection
// than another: whoever breaks the way to the first would get the password from
// what is sent to the second. clear tells whether a server's protocol is ldap.
func (s *Source) checkStartTLS(clear bool) error {
	switch {
	case s.StartTLS && !clear && s.Protocol == protocolLDAPI:
		return errors.New("starttls: not together with ldapi, which no network carries")
	case s.StartTLS && !clear:
		return errors.New("starttls: not together with ldaps, which is encrypted from the start")
	case s.StartTLS || !clear:
		return nil
	}
	first := s.first()
	for _, at := range s.Servers {
		if (at.Protocol == protocolLDAP) != (first.Protocol == protocolLDAP) {
			return fmt.Errorf("servers: of %s and %s only one is protected: take ldaps, or ldap with starttls, for all", first.url(), at.url())
		}
	}
	return nil
}

func (at *Server) check() error {
	if err := checkProtocol(at.Protocol); err != nil {
		return fmt.Errorf("protocol: %w", err)
	}
	if at.Protocol == protocolLDAPI {
		return at.checkSocket()
	}
	if at.Socket != "" {
		return fmt.Errorf("socket: only together with the protocol ldapi")
	}
	if err := checkHost(at.Host); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	if at.Port < 0 || at.Port > 65535 {
		return fmt.Errorf("port: %d is not between 1 and 65535", at.Port)
	}
	return nil
}

func (at *Server) checkSocket() error {
	switch {
	case at.Host != "":
		return errors.New("host: not together with ldapi, which has a socket")
	case at.Port != 0:
		return errors.New("port: not together with ldapi, which has a socket")
	}
	if err := checkSocketPath(at.Socket); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	return nil
}

func checkSocketPath(socket string) error {
	switch {
	case socket == "":
		return errors.New("missing: name the path of the socket, in a URL as ldapi://%2Frun%2Fldapi")
	case !path.IsAbs(socket):
		return fmt.Errorf("%.200q does not begin with /", socket)
	case len(socket) > maxSocket:
		return fmt.Errorf("longer than %d bytes", maxSocket)
	case strings.ContainsRune(socket, 0):
		return errors.New("zero byte")
	}
	return nil
}

func checkProtocol(p string) error {
	switch p {
	case protocolLDAP, protocolLDAPS, protocolLDAPI:
		return nil
	}
	return fmt.Errorf("%.200q is none of ldap, ldaps and ldapi", p)
}

// canonicalHost takes the brackets off an address and prints it in its one form; a
// name is put in lower case.
func canonicalHost(host string) string {
	bare := host
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		bare = host[1 : len(host)-1]
	}
	if a, err := netip.ParseAddr(bare); err == nil {
		return a.String()
	}
	return strings.ToLower(host)
}

// maxHost is the longest name that DNS can hold (RFC 1035 section 2.3.4).
const maxHost = 255

func checkHost(host string) error {
	if host == "" {
		return errors.New("missing: name the server, it is not looked up from the base")
	}
	if len(host) > maxHost {
		return fmt.Errorf("longer than %d bytes", maxHost)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		host = a.Zone()
	}
	for i := range len(host) {
		if !hostByte(host[i]) {
			return fmt.Errorf("character %q does not belong in a host name", host[i])
		}
	}
	return nil
}

func hostByte(c byte) bool {
	return letterOrDigit(c) || c == '-' || c == '.' || c == '_'
}

func letterOrDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
