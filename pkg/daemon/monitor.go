package daemon

import "shaft/pkg/ldapd"

// standing is what the LDAP door tells on the top entry of a name.
func (d *Daemon) standing(norm string) (ldapd.Standing, bool) {
	s, there := d.engine.Standing(norm)
	return ldapd.Standing(s), there
}
