package daemon

import (
	"context"

	"shaft/pkg/ldapd"
	"shaft/pkg/upstream"
)

// standing is what the LDAP door tells on the top entry of a name.
func (d *Daemon) standing(norm string) (ldapd.Standing, bool) {
	s, there := d.engine.Standing(norm)
	return ldapd.Standing(s), there
}

// phases are the words of olmSRSyncPhase: slapd's where it has one.
var phases = map[upstream.State]string{
	upstream.Connecting: "Connecting", upstream.Refreshing: "Refresh", upstream.Live: "Persist", upstream.Polling: "Polling",
	upstream.Down: "Down", upstream.Unsupported: "Unsupported",
}

// followed is what cn=Monitor tells of the sources.
func (d *Daemon) followed(ctx context.Context) ([]ldapd.Followed, error) {
	list, err := d.engine.Followed(ctx)
	out := make([]ldapd.Followed, len(list))
	for i, f := range list {
		out[i] = ldapd.Followed{ID: f.ID, URLs: f.URLs, Phase: phases[f.State], Reason: f.Reason, LastContact: f.LastContact,
			LastChange: f.LastChange, Cookie: string(f.Cookie), Entries: f.Entries}
	}
	return out, err
}
