package daemon

import (
	"errors"

	"gopkg.in/yaml.v3"

	"shaft/pkg/access"
)

// ruleNodes are where the fields of one access rule stand.
type ruleNodes map[string]*yaml.Node

// access reads the rules; what package access finds wrong is told at the field
// that is meant.
func (r *reader) access(cfg *Config, n *yaml.Node) {
	var places []ruleNodes
	found := len(r.errs)
	r.list(n, func(c *yaml.Node) {
		rule, at := r.rule(c)
		cfg.Access, places = append(cfg.Access, rule), append(places, at)
	})
	if len(r.errs) > found {
		return
	}
	_, err := access.Compile(cfg.Schema, cfg.Access)
	for _, mistake := range each(err) {
		bad, ok := errors.AsType[*access.RuleError](mistake)
		switch {
		case mistake == nil:
		case !ok:
			r.fail(n, "%v", mistake)
		default:
			r.fail(places[bad.Rule][bad.Field], "%v", mistake)
		}
	}
}

// rule reads one; who and allow are needed.
func (r *reader) rule(c *yaml.Node) (rule access.Rule, at ruleNodes) {
	at = ruleNodes{}
	text := func(name string, out *string) func(*yaml.Node) {
		return func(v *yaml.Node) {
			at[name] = v
			if *out, _ = r.text(v); v.Value == "" && v.Kind == yaml.ScalarNode {
				r.fail(v, "%s is empty; leave it out where it is not to count", name)
			}
		}
	}
	var allow string
	r.mapping(c, "an access rule", map[string]func(*yaml.Node){
		"who":     text("who", &rule.Who),
		"subtree": text("subtree", &rule.Subtree),
		"filter":  text("filter", &rule.Filter),
		"allow":   text("allow", &allow),
		"attributes": func(v *yaml.Node) {
			at["attributes"] = v
			rule.Attributes = []string{}
			r.list(v, func(v *yaml.Node) {
				name, _ := r.text(v)
				rule.Attributes = append(rule.Attributes, name)
			})
			if v.Kind == yaml.SequenceNode && len(rule.Attributes) == 0 {
				r.fail(v, "no attribute stands here; leave the key out where all are meant")
			}
		},
	})
	if at["who"] == nil {
		r.fail(c, "an access rule needs a who: anonymous, users, dn:DN, subject:DN or peer:NETWORK")
	}
	if at["allow"] == nil {
		r.fail(c, "an access rule needs an allow: none, compare, read or sync")
	} else if level, err := access.ParseLevel(allow); err != nil {
		r.fail(at["allow"], "%v", err)
	} else {
		rule.Allow = level
	}
	return rule, at
}
