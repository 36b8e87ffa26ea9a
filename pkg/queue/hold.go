package queue

// Hold says that a completed refresh of a claim, or of a list's search, was not
// taken, since it would remove too much (R36). What would go, and what else the
// refresh brought, is kept elsewhere; here is what an operator is told and asked.
type Hold struct {
	Print    string `json:"print"`              // fingerprint of the set that would go; "" for no hold
	Cause    string `json:"cause"`              // in words, with counts
	Rejected bool   `json:"rejected,omitempty"` // by an operator: the same set is no news
}

// Is tells whether something is held.
func (h Hold) Is() bool { return h.Print != "" }

// RefreshHeld: a completed refresh is held. Of is a claim's id or a list's. The same set
// as before stays what it was, rejected too; another one takes its place. Refused where
// there is no content yet, of which nothing can go.
type RefreshHeld struct {
	Of    string `json:"of"`
	Print string `json:"print"`
	Cause string `json:"cause"`
}

// HoldRejected: the operator does not want what is held: the set of that fingerprint is to
// be no news any more. Refused where another set is held, none, or one that is rejected.
type HoldRejected struct {
	Of    string `json:"of"`
	Print string `json:"print"`
}

// HoldEnded: what was held is void: a later refresh is within the bounds, or the source
// is another. Refreshed and ListRefreshed say the same of theirs.
type HoldEnded struct {
	Of string `json:"of"`
}

func (RefreshHeld) event() string  { return "refresh-held" }
func (HoldRejected) event() string { return "hold-rejected" }
func (HoldEnded) event() string    { return "hold-ended" }

// KindNotHeld: nothing is held there, or it is rejected already.
const KindNotHeld = "not-held"

// maxHoldCause bounds a hold's cause, in bytes.
const maxHoldCause = 2 << 10

// HoldOf gives what is held of a claim or of a list.
func (s *State) HoldOf(of string) Hold {
	if c := s.Claims[ClaimID(of)]; c != nil {
		return c.Held
	}
	if l := s.Lists[of]; l != nil {
		return l.Held
	}
	return Hold{}
}

// setHold changes what is held.
func (s *State) setHold(of string, h Hold) {
	if s.Claims[ClaimID(of)] != nil {
		s.update(ClaimID(of), func(c *Claim) { c.Held = h })
		return
	}
	s.updateList(of, func(l *List) { l.Held = h })
}

// good tells whether there is content, and refuses what is neither a claim nor a list.
func (s *State) good(of string) (bool, error) {
	if c := s.Claims[ClaimID(of)]; c != nil {
		return c.Good, nil
	}
	if l := s.Lists[of]; l != nil {
		return l.Good, nil
	}
	return false, refuse(KindNotFound, "there is no claim and no list %q", of)
}

func (s *State) checkHeld(e RefreshHeld) error {
	good, err := s.good(e.Of)
	if err != nil {
		return err
	}
	if err := checkFields("what is held of "+quote(e.Of), field{"fingerprint", e.Print}, field{"cause", e.Cause}); err != nil {
		return err
	}
	switch {
	case len(e.Cause) > maxHoldCause:
		return refuse(KindInvalid, "the cause of what is held of %q has %d bytes; at most %d are taken", e.Of, len(e.Cause), maxHoldCause)
	case !good:
		return refuse(KindInvalid, "%q has no content yet, of which a refresh could remove anything", e.Of)
	}
	return nil
}

func (s *State) checkReject(e HoldRejected) error {
	if err := s.checkHold(e.Of); err != nil {
		return err
	}
	switch h := s.HoldOf(e.Of); {
	case h.Print != e.Print:
		return refuse(KindStale, "what is held of %q is another set by now: look again with `shaft guard list`", e.Of)
	case h.Rejected:
		return refuse(KindNotHeld, "what is held of %q is rejected already", e.Of)
	}
	return nil
}

// checkHold refuses where nothing is held.
func (s *State) checkHold(of string) error {
	if _, err := s.good(of); err != nil {
		return err
	}
	if !s.HoldOf(of).Is() {
		return refuse(KindNotHeld, "no refresh of %q is held: it was taken, or a later one was", of)
	}
	return nil
}

// hold takes the events of holds.
func (s *State) hold(e Event) {
	switch e := e.(type) {
	case RefreshHeld:
		old := s.HoldOf(e.Of)
		s.setHold(e.Of, Hold{Print: e.Print, Cause: e.Cause, Rejected: old.Rejected && old.Print == e.Print})
	case HoldRejected:
		h := s.HoldOf(e.Of)
		h.Rejected = true
		s.setHold(e.Of, h)
	case HoldEnded:
		s.setHold(e.Of, Hold{})
	}
}

// check tells whether a hold can be: what is held is of something with content.
func (h Hold) check(good bool) bool {
	switch {
	case h == Hold{}:
		return true
	case !h.Is() || h.Cause == "" || !good:
		return false
	}
	return valid(h.Print, h.Cause)
}
