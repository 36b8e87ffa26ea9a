package ldapd

import (
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

// subjectDN is the DN that a certificate's subject (DER) stands for: its RDNs
// from the last to the first (RFC 4514 section 2.1), under the schema's names;
// a type that the schema lacks stays an OID. "" is the empty subject.
func subjectDN(s *schema.Schema, der []byte) (string, error) {
	var rdns []asn1.RawValue
	if err := unmarshal(der, &rdns, ""); err != nil {
		return "", err
	}
	parts := make([]string, len(rdns))
	for i, raw := range rdns {
		var set []struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}
		if err := unmarshal(raw.FullBytes, &set, "set"); err != nil {
			return "", err
		}
		avas := make([]string, len(set))
		for j, ava := range set {
			name := ava.Type.String()
			if a := s.Attribute(name); !a.Unknown && len(a.Names) > 0 {
				name = a.Names[0]
			}
			var value any
			if unmarshal(ava.Value.FullBytes, &value, "") != nil {
				value = nil
			}
			if text, ok := value.(string); ok {
				avas[j] = name + "=" + dit.EscapeValue(text)
			} else {
				avas[j] = name + "=#" + hex.EncodeToString(ava.Value.FullBytes)
			}
		}
		parts[len(rdns)-1-i] = strings.Join(avas, "+")
	}
	text := strings.Join(parts, ",")
	if _, err := dit.ParseDN(s, text); err != nil {
		return "", fmt.Errorf("subject of the certificate: %w", err)
	}
	return text, nil
}

func unmarshal(der []byte, to any, params string) error {
	rest, err := asn1.UnmarshalWithParams(der, to, params)
	if err == nil && len(rest) > 0 {
		err = errors.New("trailing data")
	}
	if err != nil {
		return fmt.Errorf("subject of the certificate: %w", err)
	}
	return nil
}

// peerDN is the DN of a local user, as slapd has it.
func peerDN(cred *syscall.Ucred) string {
	return fmt.Sprintf("gidNumber=%d+uidNumber=%d,cn=peercred,cn=external,cn=auth", cred.Gid, cred.Uid)
}
