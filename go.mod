module shaft

go 1.26.0

require (
	github.com/cespare/xxhash/v2 v2.3.0
	github.com/dgraph-io/badger/v4 v4.9.6
	github.com/go-ldap/ldap/v3 v3.4.15
	github.com/vjeantet/goldap v0.0.0-20260218214109-3dcf54ec83d6
	github.com/vjeantet/ldapserver v1.0.2-0.20260218215457-e117373377c0
	golang.org/x/crypto v0.54.0
	golang.org/x/sys v0.47.0
	golang.org/x/text v0.40.0
	gopkg.in/yaml.v3 v3.0.1
)
