package daemon

import (
	"net"
	"slices"
	"strconv"

	"gopkg.in/yaml.v3"

	"shaft/pkg/ldapd"
)

// This file reads what shaft.yaml says of the LDAP door's transport.

// listen reads the listeners; tls has been read before it.
func (r *reader) listen(cfg *Config, n *yaml.Node) {
	cfg.Listen = []string{}
	r.list(n, func(c *yaml.Node) {
		url, ok := r.text(c)
		if !ok {
			return
		}
		needsTLS, err := ldapd.CheckURL(url)
		switch {
		case err != nil:
			r.fail(c, "%v", err)
		case slices.Contains(cfg.Listen, url):
			r.fail(c, "%q stands here twice", url)
		case needsTLS && cfg.TLS == (ldapd.TLSFiles{}):
			r.fail(c, "%q needs a certificate and its key, under the key tls", url)
		}
		cfg.Listen = append(cfg.Listen, url)
	})
}

// tls reads the files' names, and the files, so that a pair that does not fit
// is found here.
func (r *reader) tls(out *ldapd.TLSFiles) func(*yaml.Node) {
	return func(n *yaml.Node) {
		found := len(r.errs)
		r.mapping(n, "tls", map[string]func(*yaml.Node){
			"certificate": r.path(&out.Certificate),
			"key":         r.path(&out.Key),
			"client_ca":   r.path(&out.ClientCA),
		})
		if len(r.errs) > found || *out == (ldapd.TLSFiles{}) {
			return
		}
		if _, err := ldapd.LoadTLS(*out); err != nil {
			r.fail(n, "%v", err)
		}
	}
}

func (r *reader) limits(out *Limits) func(*yaml.Node) {
	return func(n *yaml.Node) {
		r.mapping(n, "limits", map[string]func(*yaml.Node){
			"connections": r.number(&out.Connections, 1, 1<<20),
			"per_address": r.number(&out.PerAddress, 1, 1<<20),
			"idle":        r.span(&out.Idle),
			"request":     r.span(&out.Request),
		})
	}
}

// metrics reads where metrics are told; a door without a place would be none.
func (r *reader) metrics(out *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		found := len(r.errs)
		r.mapping(n, "metrics", map[string]func(*yaml.Node){"listen": func(v *yaml.Node) {
			text, ok := r.text(v)
			if !ok {
				return
			}
			_, port, err := net.SplitHostPort(text)
			if err == nil {
				_, err = strconv.ParseUint(port, 10, 16)
			}
			if err != nil {
				r.fail(v, "%q is not of the form host:port, such as 127.0.0.1:9389", text)
			}
			*out = text
		}})
		if *out == "" && len(r.errs) == found {
			r.fail(n, "metrics needs a place: { listen: 127.0.0.1:9389 }")
		}
	}
}
