package queue

import "maps"

// Clone gives a state that goes its own way from here: what is applied to one
// is not seen in the other.
func (s *State) Clone() *State {
	c := *s
	c.changed = nil
	c.Claims, c.Names, c.Lists = maps.Clone(s.Claims), maps.Clone(s.Names), maps.Clone(s.Lists)
	c.Lingers = maps.Clone(s.Lingers)
	c.Members = make(map[string]map[string]*Member, len(s.Members))
	for id, members := range s.Members {
		c.Members[id] = maps.Clone(members)
	}
	c.Wishes = make(map[string]map[string]*Wish, len(s.Wishes))
	for id, wishes := range s.Wishes {
		c.Wishes[id] = maps.Clone(wishes)
	}
	return &c
}
