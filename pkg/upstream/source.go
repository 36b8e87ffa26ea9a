package upstream

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

// Source is where content comes from: the record that an LDAP URL and the
// separate fields both make (R8). Its JSON is what the store keeps.
type Source struct {
	Protocol     string   `json:"protocol"`          // ldap, ldaps or ldapi
	Host         string   `json:"host,omitempty"`    // a name or an address, without brackets; none for ldapi
	Port         int      `json:"port"`              // 389 or 636 when none was given
	Socket       string   `json:"socket,omitempty"`  // path of an ldapi socket
	Servers      []Server `json:"servers,omitempty"` // further servers of the same content, in order (R13)
	Base         string   `json:"base"`
	Attributes   []string `json:"attributes,omitempty"` // empty: all
	Filter       string   `json:"filter"`               // AllEntries when none was given
	Scope        string   `json:"scope"`                // base, one, sub, subordinate
	StartTLS     bool     `json:"starttls,omitempty"`
	BindDN       string   `json:"bind_dn,omitempty"`
	PasswordFile string   `json:"password_file,omitempty"` // its first line is the password
	CAFile       string   `json:"ca_file,omitempty"`       // PEM; the system's roots when empty
	SASLExternal bool     `json:"sasl_external,omitempty"` // SASL EXTERNAL, over TLS with a certificate or ldapi (R10)
	CertFile     string   `json:"certificate,omitempty"`   // PEM, shown to the server
	KeyFile      string   `json:"key,omitempty"`           // PEM
	// Poll is how often a server without SyncRepl is read (R12); 0: never.
	Poll Interval `json:"poll,omitempty"`
	// NewCookieEnds takes a newcookie as the end of a refresh (ApacheDS).
	NewCookieEnds bool `json:"newcookie_ends_refresh,omitempty"`
	// UUIDFromDN makes up a UUID from the DN of an entry that comes without one.
	UUIDFromDN bool `json:"uuid_from_dn,omitempty"`
}

// Server is one more place where a source's content is to be had. The search,
// the credentials and what TLS verifies against are the source's.
type Server struct {
	Protocol string `json:"protocol"`
	Host     string `json:"host,omitempty"`
	Port     int    `json:"port"`
	Socket   string `json:"socket,omitempty"`
}

// Interval is a time span whose JSON is a string as time.ParseDuration reads it.
type Interval time.Duration

// MarshalText implements encoding.TextMarshaler.
func (i Interval) MarshalText() ([]byte, error) { return []byte(time.Duration(i).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *Interval) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%.200q is no time span; 30s, 5m and 1h are", text)
	}
	*i = Interval(d)
	return nil
}

const (
	protocolLDAP  = "ldap"
	protocolLDAPS = "ldaps"
	portLDAP      = 389
	portLDAPS     = 636
	scopeDefault  = "sub"
)

// AllEntries is the filter that every entry matches: the one of a source that
// gives none, and in which Validate writes any other spelling of it.
const AllEntries = "(objectClass=*)"

// scopes in the order of their numbers on the wire (RFC 4511 section 4.5.1.2,
// and draft-sermersheim-ldap-subordinate-scope's 3).
var scopes = []string{"base", "one", "sub", "subordinate"}

// standard is the schema that DNs of a source are parsed with. Only whether
// they parse matters here, so the bundled definitions do.
var standard = sync.OnceValue(schema.Bundled)

// Validate fills in defaults and refuses what can never work, naming the field.
// It may be called again on what it passed. Warnings say what was repaired and
// what is odd (R9).
func (s *Source) Validate() (warnings []string, err error) {
	s.fill()
	warnings, err = s.checkSearch()
	if err != nil {
		return warnings, err
	}
	if err := s.checkServer(); err != nil {
		return warnings, err
	}
	if s.Protocol == protocolLDAPS && s.Port == portLDAP {
		warnings = append(warnings, "ldaps on port 389, which is the port of ldap: obeyed, TLS is spoken from the first byte")
	}
	if s.CAFile != "" && !s.encrypted() {
		warnings = append(warnings, "ca_file has no effect without ldaps or starttls")
	}
	return warnings, s.checkCredentials()
}

// fill sets what was not given, and brings what was into the one form that
// equal sources share.
func (s *Source) fill() {
	s.Protocol = strings.ToLower(s.Protocol)
	s.Scope = strings.ToLower(s.Scope)
	if s.Protocol == "" {
		s.Protocol = protocolLDAP
	}
	if s.Port == 0 {
		s.Port = defaultPort(s.Protocol)
	}
	s.Host = canonicalHost(s.Host)
	if len(s.Attributes) == 0 {
		s.Attributes = nil
	}
	if s.Filter == "" {
		s.Filter = AllEntries
	}
	if s.Scope == "" {
		s.Scope = scopeDefault
	}
}

func defaultPort(protocol string) int {
	if protocol == protocolLDAPS {
		return portLDAPS
	}
	return portLDAP
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

// checkServer looks at the fields that say where the server is.
func (s *Source) checkServer() error {
	if err := checkProtocol(s.Protocol); err != nil {
		return fmt.Errorf("protocol: %w", err)
	}
	if err := checkHost(s.Host); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	if err := checkPort(s.Port); err != nil {
		return fmt.Errorf("port: %w", err)
	}
	if s.StartTLS && s.Protocol == protocolLDAPS {
		return fmt.Errorf("starttls: not together with ldaps, which is encrypted from the start")
	}
	return nil
}

func checkProtocol(p string) error {
	switch p {
	case protocolLDAP, protocolLDAPS:
		return nil
	case "ldapi":
		return fmt.Errorf("ldapi is not supported for sources: use ldap or ldaps")
	}
	return fmt.Errorf("%.200q is neither ldap nor ldaps", p)
}

// maxHost is the longest name that DNS can hold (RFC 1035 section 2.3.4).
const maxHost = 255

func checkHost(host string) error {
	if host == "" {
		return fmt.Errorf("missing")
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

func checkPort(port int) error {
	if port < 1 || port > 65535 {
		return fmt.Errorf("%d is not between 1 and 65535", port)
	}
	return nil
}

// checkSearch looks at the fields of the search, and repairs the filter.
func (s *Source) checkSearch() (warnings []string, err error) {
	if _, err := dit.ParseDN(standard(), s.Base); err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	for _, a := range s.Attributes {
		if err := checkAttribute(a); err != nil {
			return nil, fmt.Errorf("attributes: %w", err)
		}
	}
	if _, err := scopeNumber(s.Scope); err != nil {
		return nil, fmt.Errorf("scope: %w", err)
	}
	repaired, warning, err := repairFilter(s.Filter)
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	s.Filter = repaired
	if warning != "" {
		warnings = append(warnings, warning)
	}
	return warnings, nil
}

// repairFilter gives the filter back as it is when it parses, or AllEntries for
// what means it. A list without its operator, ((a=b)(c=d)), gets an & (R9).
func repairFilter(text string) (repaired, warning string, err error) {
	f, err := dit.ParseFilter(text)
	if err == nil && f.Op == dit.FilterPresent && isObjectClass(f.Attr) {
		return AllEntries, "", nil
	}
	if err == nil {
		return text, "", nil
	}
	if strings.HasPrefix(text, "((") {
		with := "(&" + text[1:]
		if _, err := dit.ParseFilter(with); err == nil {
			return with, fmt.Sprintf("filter %s lacks an operator: taken as %s", text, with), nil
		}
	}
	return "", "", err
}

// isObjectClass knows both names of the attribute that every entry has (RFC
// 4512 section 3.3).
func isObjectClass(attr string) bool {
	return strings.EqualFold(attr, "objectClass") || attr == "2.5.4.0"
}

// checkAttribute accepts what a search may ask for: a description with its
// options (RFC 4512 section 2.5), *, + (RFC 3673), @class (RFC 4529).
func checkAttribute(a string) error {
	if a == "*" || a == "+" {
		return nil
	}
	name := strings.TrimPrefix(a, "@")
	if name == "" {
		return fmt.Errorf("empty name")
	}
	parts := strings.Split(name, ";")
	if !isKeyword(parts[0]) && !isOID(parts[0]) {
		return fmt.Errorf("%.200q is not an attribute name", a)
	}
	for _, option := range parts[1:] {
		if option == "" || strings.ContainsFunc(option, func(r rune) bool { return r > 127 || !letterOrDigit(byte(r)) && r != '-' }) {
			return fmt.Errorf("%.200q is not an option in %.200q", option, a)
		}
	}
	return nil
}

// isKeyword tells whether s is a keystring. Underscores are let pass, as
// some servers do.
func isKeyword(s string) bool {
	for i := range len(s) {
		c := s[i]
		digit := '0' <= c && c <= '9' || c == '-' || c == '_'
		if !letterOrDigit(c) && !digit || i == 0 && digit {
			return false
		}
	}
	return s != ""
}

func isOID(s string) bool {
	for arc := range strings.SplitSeq(s, ".") {
		if _, err := strconv.ParseUint(arc, 10, 64); err != nil {
			return false
		}
	}
	return strings.Contains(s, ".")
}

func scopeNumber(scope string) (int, error) {
	for i, name := range scopes {
		if scope == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%.200q is none of %s", scope, strings.Join(scopes, ", "))
}

// checkCredentials looks at the identity and at the files, which must be
// readable now; they are read again at each connect.
func (s *Source) checkCredentials() error {
	if _, err := dit.ParseDN(standard(), s.BindDN); err != nil {
		return fmt.Errorf("bind_dn: %w", err)
	}
	if s.BindDN != "" && s.PasswordFile == "" {
		return fmt.Errorf("bind_dn: given without a password_file")
	}
	if s.BindDN == "" && s.PasswordFile != "" {
		return fmt.Errorf("password_file: given without a bind_dn")
	}
	if s.PasswordFile != "" {
		if _, err := readPassword(s.PasswordFile); err != nil {
			return fmt.Errorf("password_file: %w", err)
		}
	}
	if s.CAFile != "" {
		if _, err := readRoots(s.CAFile); err != nil {
			return fmt.Errorf("ca_file: %w", err)
		}
	}
	return nil
}

// encrypted tells whether TLS is spoken before anything else.
func (s *Source) encrypted() bool { return s.StartTLS || s.Protocol == protocolLDAPS }

// server is the "host:port" that cookies are kept by.
func (s *Source) server() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }
