package upstream

import (
	"errors"
	"fmt"
)

// checkCredentials looks at the identity and at the files, which must be
// readable now; they are read again at each connect.
func (s *Source) checkCredentials() error {
	if err := s.checkIdentity(); err != nil {
		return err
	}
	for _, f := range []struct{ field, name string }{
		{"password_file", s.PasswordFile}, {"ca_file", s.CAFile}, {"certificate", s.CertFile}, {"key", s.KeyFile},
	} {
		if len(f.name) > maxFileName {
			return fmt.Errorf("%s: longer than %d bytes", f.field, maxFileName)
		}
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
	if s.CertFile != "" {
		if _, err := readPair(s.CertFile, s.KeyFile); err != nil {
			return err
		}
	}
	return nil
}

// checkIdentity looks at what belongs together and what does not.
func (s *Source) checkIdentity() error {
	if err := checkDN(s.BindDN); err != nil {
		return fmt.Errorf("bind_dn: %w", err)
	}
	switch {
	case s.SASLExternal && s.BindDN != "":
		return errors.New("sasl_external: not together with a bind_dn: the certificate or the socket says who we are")
	case s.BindDN != "" && s.PasswordFile == "":
		return errors.New("bind_dn: given without a password_file")
	case s.BindDN == "" && s.PasswordFile != "":
		return errors.New("password_file: given without a bind_dn")
	case s.CertFile != "" && s.KeyFile == "":
		return errors.New("certificate: given without a key")
	case s.CertFile == "" && s.KeyFile != "":
		return errors.New("key: given without a certificate")
	case !s.SASLExternal:
		return nil
	}
	for _, at := range s.servers() {
		if at.Protocol != protocolLDAPI && (!s.encrypted(at) || s.CertFile == "") {
			return fmt.Errorf("sasl_external: %s would not know who we are: it takes ldapi, or a certificate and key with ldaps or starttls", at.url())
		}
	}
	return nil
}
