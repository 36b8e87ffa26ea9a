package engine

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"shaft/pkg/upstream"
)

// field is one thing that an operator may change of a subscription, by the name
// that it has on the command line.
type field struct {
	set func(s *Subscription, value string) error
	get func(s *Subscription) any
	// what follows from a change, see consequence
	then consequence
}

// consequence is what has to be done after a change; the greatest counts.
type consequence int

const (
	nothing   consequence = iota
	reconnect             // the session begins again, by its cookie
	reload                // content may be another: it is loaded in full
	replace               // names follow
)

// fields are those that set takes, but for url (see setURLs).
var fields = map[string]field{
	"protocol": {
		func(s *Subscription, v string) error {
			if defaultPort(s.Source.Protocol) == s.Source.Port {
				s.Source.Port = 0 // it was never asked for
			}
			if s.Source.Protocol = v; strings.EqualFold(v, "ldapi") {
				s.Source.Host, s.Source.Port = "", 0
			} else {
				s.Source.Socket = ""
			}
			return nil
		},
		func(s *Subscription) any { return s.Source.Protocol }, reload,
	},
	"host": {setText(func(s *Subscription) *string { return &s.Source.Host }), func(s *Subscription) any { return s.Source.Host }, reload},
	"port": {
		func(s *Subscription, v string) (err error) {
			s.Source.Port = 0
			if v != "" {
				s.Source.Port, err = strconv.Atoi(v)
			}
			if err != nil || v != "" && s.Source.Port == 0 {
				return fmt.Errorf("%.200q is no port", v)
			}
			return nil
		},
		func(s *Subscription) any { return s.Source.Port }, reload,
	},
	"socket":     {setText(func(s *Subscription) *string { return &s.Source.Socket }), func(s *Subscription) any { return s.Source.Socket }, reload},
	"base":       {setText(func(s *Subscription) *string { return &s.Source.Base }), func(s *Subscription) any { return s.Source.Base }, reload},
	"attributes": {setNames(func(s *Subscription) *[]string { return &s.Source.Attributes }), func(s *Subscription) any { return s.Source.Attributes }, reload},
	"filter":     {setText(func(s *Subscription) *string { return &s.Source.Filter }), func(s *Subscription) any { return s.Source.Filter }, reload},
	"scope":      {setText(func(s *Subscription) *string { return &s.Source.Scope }), func(s *Subscription) any { return s.Source.Scope }, reload},
	"name":       {setText(func(s *Subscription) *string { return &s.Name }), func(s *Subscription) any { return s.Name }, replace},
	"starttls":   {setBool(func(s *Subscription) *bool { return &s.Source.StartTLS }), func(s *Subscription) any { return s.Source.StartTLS }, reload},
	"bind-dn":    {setText(func(s *Subscription) *string { return &s.Source.BindDN }), func(s *Subscription) any { return s.Source.BindDN }, reload},
	"password-file": {
		setText(func(s *Subscription) *string { return &s.Source.PasswordFile }), func(s *Subscription) any { return s.Source.PasswordFile }, reconnect,
	},
	"sasl-external": {
		setBool(func(s *Subscription) *bool { return &s.Source.SASLExternal }), func(s *Subscription) any { return s.Source.SASLExternal }, reload,
	},
	"ca-file":     {setText(func(s *Subscription) *string { return &s.Source.CAFile }), func(s *Subscription) any { return s.Source.CAFile }, reconnect},
	"certificate": {setText(func(s *Subscription) *string { return &s.Source.CertFile }), func(s *Subscription) any { return s.Source.CertFile }, reload},
	"key":         {setText(func(s *Subscription) *string { return &s.Source.KeyFile }), func(s *Subscription) any { return s.Source.KeyFile }, reconnect},
	"content-filter": {
		setText(func(s *Subscription) *string { return &s.ContentFilter }), func(s *Subscription) any { return s.ContentFilter }, reload,
	},
	"content-attributes": {
		setNames(func(s *Subscription) *[]string { return &s.ContentAttributes }), func(s *Subscription) any { return s.ContentAttributes }, reload,
	},
	"poll": {
		func(s *Subscription, v string) error {
			s.Source.Poll = 0
			if v == "" {
				return nil
			}
			return s.Source.Poll.UnmarshalText([]byte(v))
		},
		func(s *Subscription) any { return time.Duration(s.Source.Poll) }, reconnect,
	},
	"no-dn-rewrite": {setBool(func(s *Subscription) *bool { return &s.NoDNRewrite }), func(s *Subscription) any { return s.NoDNRewrite }, reload},
	"guard-percent": {setBound(func(s *Subscription) **int { return &s.GuardPercent }), func(s *Subscription) any { return s.GuardPercent }, nothing},
	"guard-minimum": {setBound(func(s *Subscription) **int { return &s.GuardMinimum }), func(s *Subscription) any { return s.GuardMinimum }, nothing},
	"no-guard":      {setBool(func(s *Subscription) *bool { return &s.NoGuard }), func(s *Subscription) any { return s.NoGuard }, nothing},
	"keep-warm":     {setBool(func(s *Subscription) *bool { return &s.KeepWarm }), func(s *Subscription) any { return s.KeepWarm }, nothing},
	"forward-bind":  {setBool(func(s *Subscription) *bool { return &s.ForwardBind }), func(s *Subscription) any { return s.ForwardBind }, nothing},
	"uuid-from-dn": {
		setBool(func(s *Subscription) *bool { return &s.Source.UUIDFromDN }), func(s *Subscription) any { return s.Source.UUIDFromDN }, reload,
	},
	"newcookie-ends-refresh": {
		setBool(func(s *Subscription) *bool { return &s.Source.NewCookieEnds }), func(s *Subscription) any { return s.Source.NewCookieEnds }, reconnect,
	},
	"servers": { // by url alone
		nil, func(s *Subscription) any { return s.Source.Servers }, reload,
	},
}

// guardFields are those that bound what may go at once.
var guardFields = []string{"guard-percent", "guard-minimum", "no-guard"}

// ofURL are the fields that a URL says.
var ofURL = []string{"protocol", "host", "port", "socket", "base", "attributes", "filter", "scope"}

func setText(at func(*Subscription) *string) func(*Subscription, string) error {
	return func(s *Subscription, v string) error {
		*at(s) = v
		return nil
	}
}

func setBool(at func(*Subscription) *bool) func(*Subscription, string) error {
	return func(s *Subscription, v string) error {
		if v == "" {
			*at(s) = false
			return nil
		}
		b, err := strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("%.200q is neither true nor false", v)
		}
		*at(s) = b
		return nil
	}
}

func setBound(at func(*Subscription) **int) func(*Subscription, string) error {
	return func(s *Subscription, v string) error {
		*at(s) = nil
		if v == "" {
			return nil
		}
		n, err := strconv.Atoi(v)
		if err != nil {
			return fmt.Errorf("%.200q is no number", v)
		}
		*at(s) = &n
		return nil
	}
}

func setNames(at func(*Subscription) *[]string) func(*Subscription, string) error {
	return func(s *Subscription, v string) error {
		*at(s) = nil
		if v == "" {
			return nil
		}
		for name := range strings.SplitSeq(v, ",") {
			*at(s) = append(*at(s), strings.TrimSpace(name))
		}
		return nil
	}
}

// setFields gives s the new values. Errors name the field; nothing is to be done
// with s then.
func setFields(s *Subscription, values map[string]string) (warnings []string, err error) {
	given := map[string]string{}
	for name, v := range values {
		name = strings.ReplaceAll(name, "_", "-")
		if _, twice := given[name]; twice {
			return nil, fmt.Errorf("%s is given twice", name)
		}
		given[name] = v
	}
	if urls, ok := given["url"]; ok {
		for _, name := range ofURL {
			if _, both := given[name]; both {
				return nil, fmt.Errorf("a URL and a separate %s were given; one of the two says it", name)
			}
		}
		if warnings, err = setURLs(s, urls); err != nil {
			return nil, err
		}
		delete(given, "url")
	}
	names := slices.Sorted(maps.Keys(given))
	if i := slices.Index(names, "protocol"); i > 0 { // it may take the port back, which one that is given then sets
		names = slices.Insert(slices.Delete(names, i, i+1), 0, "protocol")
	}
	for _, name := range names {
		f, known := fields[name]
		if !known || f.set == nil {
			return nil, unsettable(name)
		}
		if err := f.set(s, given[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return warnings, nil
}

// unsettable says why set does not take a field.
func unsettable(name string) error {
	switch name {
	case "id", "kind":
		return fmt.Errorf("%s: it stays what it is: remove the subscription and add it anew", name)
	case "servers":
		return errors.New("servers: they are given as URLs, url= for each, in their order")
	}
	return fmt.Errorf("there is no field %.200q; there are %s", name, strings.Join(settable(), ", "))
}

// settable lists the names that set takes.
func settable() []string {
	names := []string{"url"}
	for name, f := range fields {
		if f.set != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// setURLs takes what URLs say of the source in the place of what they say
// nothing else about: servers and search.
func setURLs(s *Subscription, urls string) (warnings []string, err error) {
	list := strings.Fields(urls)
	if len(list) == 0 {
		return nil, fmt.Errorf("url: none given")
	}
	src, warnings, err := upstream.ParseURLs(list)
	if err != nil {
		return nil, err
	}
	old := &s.Source
	old.Protocol, old.Host, old.Port, old.Socket, old.Servers = src.Protocol, src.Host, src.Port, src.Socket, src.Servers
	old.Base, old.Attributes, old.Filter, old.Scope = src.Base, src.Attributes, src.Filter, src.Scope
	old.StartTLS = src.StartTLS || old.StartTLS && src.Protocol == "ldap"
	return warnings, nil
}

// fieldsChanged lists the fields in which two subscriptions differ, and what follows.
func fieldsChanged(old, next *Subscription) (names []string, then consequence) {
	for name, f := range fields {
		if was, is := f.get(old), f.get(next); !reflect.DeepEqual(was, is) {
			names = append(names, name)
			then = max(then, f.then)
		}
	}
	slices.Sort(names)
	return names, then
}

func defaultPort(protocol string) int {
	if protocol == "ldaps" {
		return 636
	}
	return 389
}
