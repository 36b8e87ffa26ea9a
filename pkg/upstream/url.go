package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"shaft/pkg/dit"
)

// Extensions of a URL that ask for StartTLS: the names that libldap knows,
// and the operation's OID.
var startTLSExtensions = []string{"starttls", "x-starttls", oidStartTLS}

// part is one piece of a URL as it was written, and where it begins in it.
type part struct {
	name string
	raw  string
	at   int
}

// fail is an error at the byte offset off of the part.
func (p part) fail(off int, err error) error {
	return fmt.Errorf("ldap url: %s, column %d: %w", p.name, p.at+off+1, err)
}

// maxURL bounds a URL: one whose parts are as long as they may be, each of their
// bytes percent-encoded, is shorter.
const maxURL = 256 << 10

// ParseURL makes a Source of an LDAP URL (RFC 4516), with the defaults of R8
// filled in; an error names the column and the part. Warnings say what was
// repaired or is ignored (R9); what is odd in the source, Validate tells. The
// extension StartTLS is honoured, critical or not. Credentials in the URL are refused.
func ParseURL(text string) (src Source, warnings []string, err error) {
	if len(text) > maxURL {
		return Source{}, nil, fmt.Errorf("ldap url: longer than %d bytes", maxURL)
	}
	parts, err := splitURL(text)
	if err != nil {
		return Source{}, nil, err
	}
	return parse(parts)
}

func parse(parts []part) (src Source, warnings []string, err error) {
	for i, step := range []func(*Source, part) ([]string, error){
		parseProtocol, parseHost, parseBase, parseAttributes, parseScope, parseFilter, parseExtensions,
	} {
		w, err := step(&src, parts[i])
		if err != nil {
			return Source{}, nil, err
		}
		warnings = append(warnings, w...)
	}
	src.fill()
	return src, warnings, nil
}

// splitURL cuts the text into its seven parts; those that are missing are empty.
func splitURL(text string) ([]part, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return nil, part{name: "protocol"}.fail(0, errors.New(`the URL does not begin with "ldap://", "ldaps://" or "ldapi://"`))
	}
	parts := []part{{name: "protocol", raw: scheme}}
	at := len(text) - len(rest)
	end := len(rest)
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		end = i
	}
	host := part{name: "host", raw: rest[:end], at: at}
	parts = append(parts, host)
	if end < len(rest) && rest[end] == '?' {
		return nil, host.fail(end, errors.New(`"/" wanted before "?"`))
	}
	at += end
	for _, name := range []string{"base", "attributes", "scope", "filter", "extensions"} {
		at = min(at+1, len(text))
		p := part{name: name, raw: text[at:], at: at}
		if i := strings.IndexByte(p.raw, '?'); i >= 0 {
			p.raw = p.raw[:i]
		}
		parts = append(parts, p)
		at += len(p.raw)
	}
	if last := parts[len(parts)-1]; at < len(text) {
		return nil, last.fail(len(last.raw), errors.New(`a "?" too many: within a part it is written %3f`))
	}
	return parts, nil
}

func parseProtocol(src *Source, p part) ([]string, error) {
	src.Protocol = strings.ToLower(p.raw)
	if err := checkProtocol(src.Protocol); err != nil {
		return nil, p.fail(0, err)
	}
	return nil, nil
}

func parseHost(src *Source, p part) ([]string, error) {
	if at := strings.LastIndexByte(p.raw, '@'); at >= 0 {
		return nil, p.fail(0, errors.New("credentials do not belong in a URL: use bind_dn and password_file"))
	}
	if src.Protocol == protocolLDAPI {
		return nil, parseSocket(src, p)
	}
	host, port, off, err := cutPort(p)
	if err != nil {
		return nil, err
	}
	src.Host = canonicalHost(host)
	if err := checkHost(src.Host); err != nil {
		return nil, p.fail(0, err)
	}
	if port == "" {
		return nil, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return nil, p.fail(off, errors.New("the port is not a number between 1 and 65535"))
	}
	src.Port = int(n)
	return nil, nil
}

// parseSocket reads the path that stands in the place of an ldapi URL's host.
func parseSocket(src *Source, p part) (err error) {
	if colon := strings.IndexByte(p.raw, ':'); colon >= 0 {
		return p.fail(colon, errors.New("a socket has no port; within its path : is written %3a"))
	}
	if src.Socket, err = p.decode(); err != nil {
		return err
	}
	if err := checkSocketPath(src.Socket); err != nil {
		return p.fail(0, err)
	}
	return nil
}

// cutPort takes "host:port" and "[address]:port" apart; off is the offset of the port.
func cutPort(p part) (host, port string, off int, err error) {
	if !strings.HasPrefix(p.raw, "[") {
		host, port, _ = strings.Cut(p.raw, ":")
		return host, port, len(host) + 1, nil
	}
	end := strings.IndexByte(p.raw, ']')
	if end < 0 {
		return "", "", 0, p.fail(0, errors.New(`"[" without "]"`))
	}
	host, err = part{name: p.name, raw: p.raw[1:end], at: p.at + 1}.decode()
	if err != nil {
		return "", "", 0, err
	}
	if a, aerr := netip.ParseAddr(host); aerr != nil || !a.Is6() {
		return "", "", 0, p.fail(1, fmt.Errorf("%.200q is not an IPv6 address", host))
	}
	rest := p.raw[end+1:]
	if rest != "" && rest[0] != ':' {
		return "", "", 0, p.fail(end+1, errors.New(`":" and a port wanted after "]"`))
	}
	return host, strings.TrimPrefix(rest, ":"), end + 2, nil
}

func parseBase(src *Source, p part) (_ []string, err error) {
	if src.Base, err = p.decode(); err != nil {
		return nil, err
	}
	if err := checkDN(src.Base); err != nil {
		return nil, p.failSyntax(err)
	}
	return nil, nil
}

func parseAttributes(src *Source, p part) ([]string, error) {
	if p.raw == "" {
		return nil, nil
	}
	at := p.at
	for raw := range strings.SplitSeq(p.raw, ",") {
		one := part{name: p.name, raw: raw, at: at}
		name, err := one.decode()
		if err != nil {
			return nil, err
		}
		name = strings.TrimSpace(name)
		if err := checkAttribute(name); err != nil {
			return nil, one.fail(0, err)
		}
		src.Attributes = append(src.Attributes, name)
		at += len(raw) + 1
	}
	if err := checkAttributes(src.Attributes); err != nil {
		return nil, p.fail(0, err)
	}
	return nil, nil
}

func parseScope(src *Source, p part) ([]string, error) {
	scope, err := p.decode()
	if err != nil {
		return nil, err
	}
	src.Scope = strings.ToLower(scope)
	if src.Scope == "" {
		src.Scope = scopeDefault
	}
	if _, err := scopeNumber(src.Scope); err != nil {
		return nil, p.fail(0, err)
	}
	return nil, nil
}

func parseFilter(src *Source, p part) ([]string, error) {
	text, err := p.decode()
	if err != nil || text == "" {
		return nil, err
	}
	filter, warning, err := repairFilter(text)
	if err != nil {
		return nil, p.failSyntax(err)
	}
	src.Filter = filter
	if warning != "" {
		return []string{warning}, nil
	}
	return nil, nil
}

func parseExtensions(src *Source, p part) (warnings []string, err error) {
	if p.raw == "" {
		return nil, nil
	}
	at := p.at
	for raw := range strings.SplitSeq(p.raw, ",") {
		one := part{name: p.name, raw: raw, at: at}
		text, err := one.decode()
		if err != nil {
			return nil, err
		}
		text, critical := strings.CutPrefix(text, "!")
		name, _, _ := strings.Cut(text, "=")
		switch {
		case slices.Contains(startTLSExtensions, strings.ToLower(name)):
			if src.Protocol != protocolLDAP {
				return nil, one.fail(0, fmt.Errorf("StartTLS not together with %s", src.Protocol))
			}
			src.StartTLS = true
		case !isKeyword(name) && !isOID(name):
			return nil, one.fail(0, fmt.Errorf("%.200q is not the name of an extension", name))
		case critical:
			return nil, one.fail(0, fmt.Errorf("critical extension %.200q is not known", name))
		default:
			warnings = append(warnings, fmt.Sprintf("extension %.200q of the URL is not known: ignored", name))
		}
		at += len(raw) + 1
	}
	return warnings, nil
}

// decode undoes percent-encoding (RFC 3986 section 2.1). What comes out must be
// UTF-8 without a zero byte.
func (p part) decode() (string, error) {
	var b strings.Builder
	for i := 0; i < len(p.raw); i++ {
		c, at := p.raw[i], i
		if c == '%' {
			n, err := strconv.ParseUint(p.raw[i+1:min(i+3, len(p.raw))], 16, 8)
			if err != nil || len(p.raw) < i+3 {
				return "", p.fail(at, errors.New("% without two hexadecimal digits"))
			}
			c = byte(n)
			i += 2
		}
		if c == 0 {
			return "", p.fail(at, errors.New("zero byte"))
		}
		b.WriteByte(c)
	}
	if !utf8.ValidString(b.String()) {
		return "", p.fail(0, errors.New("not UTF-8"))
	}
	return b.String(), nil
}

// failSyntax places an error of the decoded text in the URL as it was written.
func (p part) failSyntax(err error) error {
	var syntax *dit.SyntaxError
	if !errors.As(err, &syntax) {
		return p.fail(0, err)
	}
	off := 0
	for n := 1; n < syntax.Column && off < len(p.raw); n++ {
		if p.raw[off] == '%' {
			off += 2
		}
		off++
	}
	return p.fail(off, errors.New(syntax.Msg))
}
