package metrics

import (
	"time"

	"shaft/pkg/ldapd"
)

// Of the LDAP door.
var (
	connections    = gauge("ldap_connections", "LDAP connections that are open.")
	maxConnections = gauge("ldap_connections_limit", "How many LDAP connections may be open.")
	accepted       = counter("ldap_connections_total", "LDAP connections that were accepted.")
	waiters        = gauge("ldap_waiters", "LDAP connections that wait for their client: to send (read), to take what is written (write).", "direction")
	begun          = counter("ldap_operations_started_total", "LDAP operations that were begun, by kind.", "operation")
	running        = gauge("ldap_operations_running", "LDAP operations under way, by kind; a search that persists until it ends.", "operation")
	replies        = counter("ldap_operations_total", "LDAP operations that were answered, by kind and result; \"other\" is a code without a name. Unbind and abandon have no answer.", "operation", "result")
	sentBytes      = counter("ldap_sent_bytes_total", "What was sent to LDAP clients, TLS not counted.")
	sentMessages   = counter("ldap_sent_messages_total", "LDAP messages that were sent.")
	sentEntries    = counter("ldap_sent_entries_total", "Entries that were sent to LDAP clients.")
	sentReferrals  = counter("ldap_sent_referrals_total", "Search result references that were sent to LDAP clients.")
	followers      = gauge("followers", "Searches with a Sync Request control, by stage: refresh, persist.", "stage")
	behind         = gauge("followers_behind", "Followers that have not been sent all there is.")
	lag            = gauge("follower_lag_seconds", "How long the follower furthest behind at an address has not had all there is, at most; the 101st address and further ones are \"other\".", "peer")
)

// followerLag is one follower's.
type followerLag struct {
	connection uint64
	peer       string
	lag        time.Duration
}

func (s sink) ldap(f *ldapd.Figures) {
	s.tell(connections, float64(f.Connections))
	s.tell(maxConnections, float64(f.MaxConnections))
	s.tell(accepted, float64(f.Accepted))
	s.tell(waiters, float64(f.Reading), "read")
	s.tell(waiters, float64(f.Writing), "write")
	s.tell(sentBytes, float64(f.BytesSent))
	s.tell(sentMessages, float64(f.MessagesSent))
	s.tell(sentEntries, float64(f.EntriesSent))
	s.tell(sentReferrals, float64(f.ReferralsSent))
	for i := range f.Operations {
		s.operation(&f.Operations[i])
	}
	s.followers(f.Followers)
}

func (s sink) operation(o *ldapd.OperationFigures) {
	s.tell(begun, float64(o.Initiated), o.Operation)
	s.tell(running, float64(o.Initiated-min(o.Completed, o.Initiated)), o.Operation)
	if o.Operation == "unbind" || o.Operation == "abandon" {
		return
	}
	counts := map[string]uint64{"success": 0}
	for code, n := range o.Results {
		counts[resultName(code)] += n
	}
	for name, n := range counts {
		s.tell(replies, float64(n), o.Operation, name)
	}
}

func (s sink) followers(list []ldapd.FollowerFigures) {
	var refreshing, persisting, late int
	all := make([]followerLag, len(list))
	for i, f := range list {
		if f.Persisting {
			persisting++
		} else {
			refreshing++
		}
		if f.Lag > 0 {
			late++
		}
		all[i] = followerLag{f.Connection, f.Peer, f.Lag}
	}
	s.tell(followers, float64(refreshing), "refresh")
	s.tell(followers, float64(persisting), "persist")
	s.tell(behind, float64(late))
	for peer, d := range lags(all) {
		s.tell(lag, d.Seconds(), peer)
	}
}

// resultNames are those of RFC 4511 appendix A, RFC 3909, RFC 4370, RFC 4528 and RFC 4533.
var resultNames = map[int]string{
	0: "success", 1: "operationsError", 2: "protocolError", 3: "timeLimitExceeded", 4: "sizeLimitExceeded", 5: "compareFalse",
	6: "compareTrue", 7: "authMethodNotSupported", 8: "strongerAuthRequired", 10: "referral", 11: "adminLimitExceeded",
	12: "unavailableCriticalExtension", 13: "confidentialityRequired", 14: "saslBindInProgress", 16: "noSuchAttribute",
	17: "undefinedAttributeType", 18: "inappropriateMatching", 19: "constraintViolation", 20: "attributeOrValueExists",
	21: "invalidAttributeSyntax", 32: "noSuchObject", 33: "aliasProblem", 34: "invalidDNSyntax", 36: "aliasDereferencingProblem",
	48: "inappropriateAuthentication", 49: "invalidCredentials", 50: "insufficientAccessRights", 51: "busy", 52: "unavailable",
	53: "unwillingToPerform", 54: "loopDetect", 64: "namingViolation", 65: "objectClassViolation", 66: "notAllowedOnNonLeaf",
	67: "notAllowedOnRDN", 68: "entryAlreadyExists", 69: "objectClassModsProhibited", 71: "affectsMultipleDSAs", 80: "other",
	118: "canceled", 119: "noSuchOperation", 120: "tooLate", 121: "cannotCancel", 122: "assertionFailed",
	123: "authorizationDenied", 4096: "syncRefreshRequired",
}

// resultName keeps to the names that are known, so that no reply adds to them.
func resultName(code int) string {
	if name, known := resultNames[code]; known {
		return name
	}
	return resultNames[80]
}
