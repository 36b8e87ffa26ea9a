package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"shaft/pkg/upstream"
)

// Subscription is what an operator enters: a tree (one remote subtree at one
// local name) or a list (a search; each entry that it finds becomes a subtree). Its JSON is the store's record and the API's form.
type Subscription struct {
	ID   string `json:"id"`
	Kind string `json:"kind"` // KindTree or KindList
	// Name is the local name as entered, of a list its template; claims hold the absolute one.
	Name   string          `json:"name"`
	URL    string          `json:"url"` // Source in one line, without credentials
	Source upstream.Source `json:"source"`
	// ContentFilter and ContentAttributes are the content's, of a list's claims:
	// everything when they are empty (R18). The Source's belong to the list's own search.
	ContentFilter     string   `json:"content_filter,omitempty"`
	ContentAttributes []string `json:"content_attributes,omitempty"`
	// NoDNRewrite leaves DN values inside the moved subtree as they are (R6).
	NoDNRewrite bool `json:"no_dn_rewrite,omitempty"`
	// KeepWarm follows its claims in full while they wait, so that their content is
	// there when it is their turn (R32); else their server is only probed.
	KeepWarm bool `json:"keep_warm,omitempty"`
	// ForwardBind has its source judge the passwords of those who bind as entries that
	// come from there (R10). The source is Confidential then.
	ForwardBind bool `json:"forward_bind,omitempty"`
	// GuardPercent and GuardMinimum are bounds of its own for what may go at once (R36), see
	// Guard; nil: the configured ones. NoGuard: anything may.
	GuardPercent *int `json:"guard_percent,omitempty"`
	GuardMinimum *int `json:"guard_minimum,omitempty"`
	NoGuard      bool `json:"no_guard,omitempty"`
	// Lost: damage to the store took all of it but its id, and of a tree its name: its content is served as it was
	// last, and nothing is asked for until somebody enters its source again.
	Lost bool `json:"lost,omitempty"`
}

// The kinds of subscriptions.
const (
	KindTree = "tree"
	KindList = "list"
)

// size is about how many bytes the record takes.
func (s *Subscription) size() int {
	src := &s.Source
	n := len(s.ID) + len(s.Name) + len(src.Host) + len(src.Base) + len(src.Filter) + len(src.BindDN) + len(src.PasswordFile) + len(src.CAFile)
	for _, a := range src.Attributes {
		n += len(a) + 4
	}
	n += len(src.Socket) + len(src.CertFile) + len(src.KeyFile)
	for _, at := range src.Servers {
		n += len(at.Protocol) + len(at.Host) + len(at.Socket) + 64
	}
	for _, a := range s.ContentAttributes {
		n += len(a) + 4
	}
	return n + len(s.URL) + len(s.ContentFilter)
}

var idForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// validate fills in defaults and refuses what can never work.
func (s *Subscription) validate() (warnings []string, err error) {
	if !idForm.MatchString(s.ID) {
		return nil, fmt.Errorf("subscription id %.200q: 1 to 64 letters, digits, '.', '_' and '-' are allowed", s.ID)
	}
	if s.Lost = false; s.Kind == "" {
		s.Kind = KindTree
	}
	if s.Kind != KindTree && s.Kind != KindList {
		return nil, fmt.Errorf("subscription kind %.200q: %q and %q are known", s.Kind, KindTree, KindList)
	}
	warnings, err = s.Source.Validate()
	if err != nil {
		return warnings, err
	}
	if err := s.validateGuard(); err != nil {
		return warnings, err
	}
	if s.ForwardBind && !s.Source.Confidential() {
		return warnings, errors.New("forward_bind: passwords are sent over TLS and unix sockets alone: take ldaps, starttls or ldapi for all servers")
	}
	s.URL = s.Source.URL()
	more, err := s.validateContent()
	return append(warnings, more...), err
}

// validateContent checks and repairs what is asked of a list's content, as for a
// source (R9, R18).
func (s *Subscription) validateContent() (warnings []string, err error) {
	if len(s.ContentAttributes) == 0 {
		s.ContentAttributes = nil
	}
	if s.ContentFilter == "" && s.ContentAttributes == nil {
		return nil, nil
	}
	if s.Kind != KindList {
		return nil, errors.New("content_filter and content_attributes are a list's; a tree's filter and attributes are its source's")
	}
	search := upstream.Source{Host: "localhost", Base: "cn=found", Filter: s.ContentFilter, Attributes: s.ContentAttributes}
	warnings, err = search.Validate()
	if err != nil {
		return nil, fmt.Errorf("content of what the list finds: %w", err)
	}
	if s.ContentFilter != "" {
		s.ContentFilter = search.Filter
	}
	return warnings, nil
}

func decodeSubscription(b []byte) (*Subscription, error) {
	var s Subscription
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, err
	}
	return &s, nil
}
