package daemon

import (
	"gopkg.in/yaml.v3"

	"shaft/pkg/agentx"
)

// AgentX says under which SNMP agent Shaft is; the zero value is under none.
type AgentX struct {
	Network, Address string // see agentx.ParseAddress
	Context          string // SNMP context; "" is the default one
	Arc              string // root of the MIB; "" is schema.Arc
}

func (r *reader) agentx(a *AgentX) func(*yaml.Node) {
	return func(n *yaml.Node) {
		found := len(r.errs)
		r.mapping(n, "agentx", map[string]func(*yaml.Node){
			"address": func(v *yaml.Node) {
				if text, ok := r.text(v); ok {
					var err error
					if a.Network, a.Address, err = agentx.ParseAddress(text); err != nil {
						r.fail(v, "%v", err)
					}
				}
			},
			"context": func(v *yaml.Node) {
				if text, ok := r.text(v); ok && len(text) > agentx.MaxContext {
					r.fail(v, "the name of an SNMP context has at most %d bytes", agentx.MaxContext)
				} else {
					a.Context = text
				}
			},
			"arc": func(v *yaml.Node) {
				if text, ok := r.text(v); ok {
					if err := agentx.CheckArc(text); err != nil {
						r.fail(v, "%v", err)
					}
					a.Arc = text
				}
			},
		})
		if a.Address == "" && len(r.errs) == found {
			r.fail(n, "agentx needs an address, such as unix:/var/agentx/master or tcp:127.0.0.1:705")
		}
	}
}

// snmp starts the SNMP door, if there is to be one.
func (d *Daemon) snmp(cfg *Config, o Options) error {
	if cfg.AgentX.Address == "" {
		return nil
	}
	door, err := agentx.New(agentx.Options{
		Network: cfg.AgentX.Network, Address: cfg.AgentX.Address, Context: cfg.AgentX.Context, Arc: cfg.AgentX.Arc,
		Source: d.engine, Followers: d.ldapd.Followers, Version: o.Version, Log: o.Log,
	})
	if err != nil {
		return err
	}
	d.onClose(door.Close)
	return nil
}
