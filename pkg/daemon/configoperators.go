package daemon

import (
	"regexp"

	"gopkg.in/yaml.v3"

	"shaft/pkg/dit"
	"shaft/pkg/ldapd"
)

// Operator is a person who watches or works Shaft (R47).
type Operator struct {
	Name         string // as operatorForm has it; no two differ by case alone
	Role         Role
	PasswordHash string // as ldapd.HashPassword makes it
}

// Role is what an operator may do; each includes those before it.
type Role string

// The roles.
const (
	RoleViewer   Role = "viewer"   // look at everything
	RoleOperator Role = "operator" // and decide
	RoleAdmin    Role = "admin"    // and change what is subscribed to
)

// operatorsDN is what operators bind below. Nothing is served there, so that they
// are never taken for entries.
const (
	operatorsDN   = "cn=operators"
	operatorsNorm = "cn=operators"
)

var operatorForm = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)

// dn is what the operator binds as over LDAP.
func (o *Operator) dn() string { return "cn=" + o.Name + "," + operatorsDN }

// identities are those of simple bind: the accounts, then the operators.
func (c *Config) identities() []ldapd.Account {
	all := append([]ldapd.Account(nil), c.Accounts...)
	for _, o := range c.Operators {
		all = append(all, ldapd.Account{DN: o.dn(), PasswordHash: o.PasswordHash, Proxy: o.Role != RoleViewer, Operator: true})
	}
	return all
}

// operators reads the list of them; name, role and password_hash are needed.
func (r *reader) operators(cfg *Config, n *yaml.Node) {
	seen := map[string]bool{}
	r.list(n, func(c *yaml.Node) {
		var o Operator
		var name, role, hash *yaml.Node
		r.mapping(c, "an operator", map[string]func(*yaml.Node){
			"name":          func(v *yaml.Node) { name = v },
			"role":          func(v *yaml.Node) { role = v },
			"password_hash": func(v *yaml.Node) { hash = v },
		})
		if name == nil {
			r.fail(c, "an operator needs a name")
		} else if text, ok := r.text(name); ok {
			if !operatorForm.MatchString(text) {
				r.fail(name, "operator %.200q: 1 to 64 letters, digits, '.', '_', '@' and '-' are allowed", text)
			} else if o.Name = text; seen[normOf(cfg, o.dn())] {
				r.fail(name, "the operator %q stands here twice", text)
			}
		}
		seen[normOf(cfg, o.dn())] = true
		o.Role = r.role(c, role)
		if hash == nil {
			r.fail(c, "an operator needs a password_hash, as `shaft passwd` prints it")
		} else {
			o.PasswordHash = r.passwordHash(hash)
		}
		cfg.Operators = append(cfg.Operators, o)
	})
}

// normOf is a DN's normal form; "" for what is none.
func normOf(cfg *Config, text string) string {
	dn, _ := dit.ParseDN(cfg.Schema, text)
	return dn.Norm()
}

func (r *reader) role(c, n *yaml.Node) Role {
	if n == nil {
		r.fail(c, "an operator needs a role: viewer, operator or admin")
		return ""
	}
	switch text, ok := r.text(n); Role(text) {
	case RoleViewer, RoleOperator, RoleAdmin:
		return Role(text)
	default:
		if ok {
			r.fail(n, "role %.200q: viewer, operator and admin are known", text)
		}
	}
	return ""
}

// passwordHash reads an argon2id hash; what is wrong with it is told without it.
func (r *reader) passwordHash(n *yaml.Node) string {
	text, ok := r.text(n)
	if !ok {
		return ""
	}
	if err := ldapd.CheckHash(text); err != nil {
		r.fail(n, "%v", err)
	}
	return text
}
