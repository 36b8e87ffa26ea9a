package upstream

import (
	"fmt"
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
	Port         int      `json:"port,omitempty"`    // 0: none was given, so that SRV records count, and 389 or 636 without them
	Socket       string   `json:"socket,omitempty"`  // path of an ldapi socket
	Servers      []Server `json:"servers,omitempty"` // further servers of the same content, in order (R13)
	Base         string   `json:"base"`
	Attributes   []string `json:"attributes,omitempty"` // empty: all
	Filter       string   `json:"filter"`               // AllEntries when none was given
	Scope        string   `json:"scope"`                // base, one, sub, subordinate
	StartTLS     bool     `json:"starttls,omitempty"`   // of all servers whose protocol is ldap
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

// scopeDefault is the scope of a source that gives none; RFC 4516 would say base.
const scopeDefault = "sub"

// Bounds on what a source holds: far more than any has, and little enough for
// one record of the store.
const (
	maxText       = 16 << 10 // base, filter, bind DN, all attributes together
	maxFileName   = 4 << 10  // PATH_MAX of Linux
	minPoll       = time.Second
	maxAttributes = 1000
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
	if err := s.checkServers(); err != nil {
		return warnings, err
	}
	if err := s.checkCredentials(); err != nil {
		return warnings, err
	}
	if s.Poll != 0 && time.Duration(s.Poll) < minPoll {
		return warnings, fmt.Errorf("poll: %v is less than %v", time.Duration(s.Poll), minPoll)
	}
	return append(warnings, s.oddities()...), nil
}

// fill sets what was not given, and brings what was into the one form that
// equal sources share.
func (s *Source) fill() {
	s.Scope = strings.ToLower(s.Scope)
	first := s.first()
	first.fill(protocolLDAP)
	s.Protocol, s.Host, s.Port = first.Protocol, first.Host, first.Port
	further := s.Servers
	s.Servers = nil
	for _, at := range further {
		at.fill(s.Protocol)
		s.Servers = append(s.Servers, at)
	}
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

// oddities are warnings of what is obeyed although it is hardly meant.
func (s *Source) oddities() (warnings []string) {
	encrypted := false
	for _, at := range s.servers() {
		encrypted = encrypted || s.encrypted(at)
		if at.Protocol == protocolLDAPS && at.Port == portLDAP {
			warnings = append(warnings, "ldaps on port 389, which is the port of ldap: obeyed, TLS is spoken from the first byte")
		}
	}
	if s.Base == "" {
		warnings = append(warnings, "no base was given: the search begins at the root of the server, where few have entries")
	}
	if s.CAFile != "" && !encrypted {
		warnings = append(warnings, "ca_file has no effect without ldaps or starttls")
	}
	if s.CertFile != "" && !encrypted {
		warnings = append(warnings, "certificate and key have no effect without ldaps or starttls")
	}
	return warnings
}

// checkSearch looks at the fields of the search, and repairs the filter.
func (s *Source) checkSearch() (warnings []string, err error) {
	if err := checkDN(s.Base); err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	if err := checkAttributes(s.Attributes); err != nil {
		return nil, fmt.Errorf("attributes: %w", err)
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
	if len(text) >= maxText {
		return "", "", errTooLong
	}
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

var errTooLong = fmt.Errorf("longer than %d bytes", maxText)

func checkDN(text string) error {
	if len(text) > maxText {
		return errTooLong
	}
	_, err := dit.ParseDN(standard(), text)
	return err
}

func checkAttributes(list []string) error {
	if len(list) > maxAttributes {
		return fmt.Errorf("more than %d", maxAttributes)
	}
	size := 0
	for _, a := range list {
		if err := checkAttribute(a); err != nil {
			return err
		}
		if size += len(a); size > maxText {
			return errTooLong
		}
	}
	return nil
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
