package arch

// row is one package of the map: it imports only rows above it, and of those
// none that it must not know.
type row struct {
	path    string   // below the module
	mustNot []string // rows above that it does not import
	pure    bool     // see impureImports
}

// table is the map of packages in ARCHITECTURE.md, lowest first.
var table = []row{
	{path: "pkg/ber", pure: true},
	{path: "pkg/ldif", mustNot: []string{"pkg/ber"}, pure: true},
	{path: "pkg/schema", mustNot: []string{"pkg/ber"}, pure: true},
	{path: "pkg/dit", mustNot: []string{"pkg/ldif"}, pure: true},
	{path: "pkg/access", mustNot: []string{"pkg/ber", "pkg/ldif"}, pure: true},
	{path: "pkg/rewrite", mustNot: []string{"pkg/ldif", "pkg/access"}, pure: true},
	{path: "pkg/queue", mustNot: []string{"pkg/ber", "pkg/ldif", "pkg/schema", "pkg/rewrite", "pkg/access"}, pure: true},
	{path: "pkg/alarm", mustNot: []string{"pkg/ber", "pkg/ldif", "pkg/schema", "pkg/rewrite", "pkg/dit", "pkg/access", "pkg/queue"}, pure: true},
	{path: "pkg/syncrepl", mustNot: []string{"pkg/ldif", "pkg/access", "pkg/rewrite", "pkg/queue"}},
	{path: "pkg/upstream", mustNot: []string{"pkg/ldif", "pkg/access", "pkg/rewrite", "pkg/queue"}},
	{path: "pkg/store", mustNot: []string{"pkg/ldif", "pkg/access", "pkg/schema", "pkg/rewrite", "pkg/queue", "pkg/syncrepl", "pkg/upstream"}},
	{path: "pkg/tree", mustNot: []string{"pkg/ldif", "pkg/access", "pkg/rewrite", "pkg/queue", "pkg/syncrepl", "pkg/upstream", "pkg/store"}},
	{path: "pkg/engine", mustNot: []string{"pkg/access"}},
	{path: "pkg/ldapd", mustNot: []string{"pkg/rewrite", "pkg/queue", "pkg/upstream", "pkg/store", "pkg/engine"}},
	{path: "pkg/operator", mustNot: []string{"pkg/ber", "pkg/rewrite", "pkg/syncrepl", "pkg/store", "pkg/tree", "pkg/ldapd"}},
	{path: "pkg/agentx", mustNot: []string{"pkg/ber", "pkg/ldif", "pkg/dit", "pkg/access", "pkg/rewrite", "pkg/queue", "pkg/syncrepl", "pkg/store", "pkg/tree", "pkg/ldapd", "pkg/operator"}},
	{path: "pkg/metrics", mustNot: []string{"pkg/ber", "pkg/ldif", "pkg/schema", "pkg/dit", "pkg/access", "pkg/rewrite", "pkg/queue", "pkg/syncrepl", "pkg/upstream", "pkg/tree", "pkg/operator"}},
	{path: "internal/ldaptest", mustNot: []string{"pkg/rewrite", "pkg/queue", "pkg/store", "pkg/tree", "pkg/engine", "pkg/ldapd", "pkg/operator"}},
	{path: "pkg/daemon"},
	{path: "internal/demo", mustNot: []string{"pkg/rewrite", "pkg/queue", "pkg/upstream", "pkg/store", "pkg/tree", "pkg/ldapd"}},
	{path: "cmd/shaft", mustNot: []string{"pkg/rewrite", "pkg/queue", "pkg/syncrepl", "pkg/store", "pkg/tree", "pkg/engine"}},
}

// outside lists what is no part of the program: nothing imports it, and it
// may import what it likes.
var outside = []string{"internal/arch", "test"}

// libraries says which packages may import a library outside their tests: each
// stands behind one package, or a few. What is not listed is not imported.
var libraries = map[string][]string{
	"github.com/dgraph-io/badger":    {"pkg/store"},
	"github.com/go-ldap/ldap":        {"pkg/upstream"},
	"github.com/posteo/go-agentx":    {"pkg/agentx"},
	"github.com/prometheus":          {"pkg/metrics"},
	"github.com/vjeantet/goldap":     {"pkg/ldapd"},
	"github.com/vjeantet/ldapserver": {"pkg/ldapd"},
	"github.com/cespare/xxhash":      {"pkg/store", "pkg/engine"},
	"golang.org/x/crypto/argon2":     {"pkg/ldapd"},
	"golang.org/x/sys/unix":          {"pkg/store", "pkg/upstream", "pkg/daemon", "cmd/shaft"},
	"golang.org/x/text":              {"pkg/schema"},
	"gopkg.in/yaml.v3":               {"pkg/daemon", "pkg/operator"},
}

// mustNotUse lists names of a package that an importer of it keeps away from:
// operator and monitor know what a source looks like, and open no connection to one.
var mustNotUse = map[string]map[string][]string{
	"pkg/operator": {"pkg/upstream": {"Check", "Follow", "Probe"}},
	"pkg/agentx":   {"pkg/upstream": {"Check", "Follow", "Probe"}},
}

// impureImports are what pure packages do without; a package below one of
// them counts too, so "net" stands for "net/url".
var impureImports = []string{"os", "net", "sync", "log"}

// pureImports are below one of those and pure all the same: addresses as values.
var pureImports = []string{"net/netip"}

// clock lists the names of package time that tell or wait for the time of day.
var clock = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTicker", "NewTimer"}

// Lengths that keep files and functions readable, in lines.
const (
	maxFile     = 600
	maxFunction = 80
	maxCommand  = 300 // all of cmd/shaft
)
