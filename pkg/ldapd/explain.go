package ldapd

import (
	"fmt"

	"shaft/pkg/access"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// ExplainAccess says what somebody may do with an entry, and which rules say so
// (R45). A DN that is not under the base is taken to be relative to it. Who is
// said as access.ParseWho reads it. An error is about what was asked.
func (s *Server) ExplainAccess(dn string, as []string) (_ *access.Explanation, err error) {
	defer func() {
		if lost := tree.AsReadError(recover()); lost != nil {
			err = lost
		}
	}()
	ver := s.opt.Backend.Version()
	sch := ver.Schema()
	name, err := dit.ParseDN(sch, dn)
	if err != nil {
		return nil, err
	}
	who, err := access.ParseWho(sch, as)
	if err != nil {
		return nil, fmt.Errorf("as: %w", err)
	}
	root := ver.Entry(ver.Root())
	if base, err := dit.ParseDN(sch, string(root.DN())); err == nil && !base.IsEmpty() && !name.Under(base) {
		name = name.Join(base)
	}
	e := &access.Explanation{DN: name.String(), As: as}
	var v view
	if id, _ := ver.Find(name.Norm()); id != 0 {
		var x scratch
		v = x.view(ver.Entry(id), true)
		e.DN, e.There = string(v.dn), true
	}
	s.rules(sch).Explain(e, who, name.Norm(), e.DN, v.user, v.oper)
	return e, nil
}
