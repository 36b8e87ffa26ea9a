package access

import (
	"encoding/json"
	"strings"
	"testing"
)

// R45: which rule decided, of the entry and of each attribute, and why not the others.
func TestExplain(t *testing.T) {
	p := compile(t,
		Rule{Who: "users", Allow: Sync},
		Rule{Who: "anonymous", Subtree: "o=y", Allow: Sync},
		Rule{Who: "anonymous", Attributes: []string{"userPassword"}, Allow: None},
		Rule{Who: "anonymous", Filter: "(cn=bertha)", Allow: Sync},
		Rule{Who: "anonymous", Subtree: "o=x", Attributes: []string{"cn", "mail"}, Filter: "(cn=anna)", Allow: Read},
		Rule{Who: "anonymous", Attributes: []string{"+"}, Allow: Compare},
		Rule{Who: "anonymous", Attributes: []string{"cn", "userPassword"}, Allow: Sync},
	)
	e := Explanation{There: true}
	p.Explain(&e, Who{}, norm(t, "cn=anna,o=x"), "cn=anna,o=x", entryUser, entryOper)
	var why, attrs []string
	for _, r := range e.Rules {
		why = append(why, r.Why)
	}
	for _, a := range e.Attributes {
		attrs = append(attrs, a.Attribute+" "+a.Level+string(rune('0'+a.Rule)))
	}
	if got, want := strings.Join(why, "|"), "it is for others|the entry is not in its subtree||the entry does not match its filter|||rules before it decide over all that it names"; got != want {
		t.Errorf("why\n%s instead of\n%s", got, want)
	}
	if got, want := strings.Join(attrs, "|"), "objectClass none0|cn read5|userPassword none3|userCertificate;binary none0|c none0|l;lang-de none0|mail read5|madeUp none0|createTimestamp compare6|entryUUID compare6"; got != want {
		t.Errorf("attributes\n%s instead of\n%s", got, want)
	}
	if e.Level != "read" || e.Rule != 5 || e.Rules[4].Says != "anonymous read below o=x, attributes cn mail, filter (cn=anna)" {
		t.Errorf("%+v", e)
	}
	e = Explanation{}
	p.Explain(&e, Who{}, norm(t, "cn=zoe,o=x"), "cn=zoe,o=x", nil, nil)
	if e.Level != "sync" || e.Rule != 7 || e.Rules[4].Why != "there is no entry that its filter could match" || len(e.Attributes) != 0 {
		t.Errorf("what is not there: %+v", e)
	}
	e = Explanation{There: true}
	compile(t).Explain(&e, Who{}, "cn=anna", "cn=anna", entryUser, nil)
	if e.Level != "sync" || e.Rule != 0 || len(e.Rules) != 0 || e.Attributes[0].Level != "sync" {
		t.Errorf("without rules: %+v", e)
	}
	if text, err := json.Marshal(e); err != nil || !strings.Contains(string(text), `"level":"sync"`) {
		t.Errorf("%s, %v", text, err)
	}
}

// R45: who is meant, in the words of rules.
func TestParseWho(t *testing.T) {
	w, err := ParseWho(bundled, []string{"dn:CN=Anna,O=x", "subject:cn=p", "peer:::ffff:192.0.2.7"})
	if err != nil || w.DN != "cn=anna,o=x" || w.Subject != "cn=p" || w.Peer.String() != "192.0.2.7" {
		t.Errorf("%+v, %v", w, err)
	}
	users := compile(t, Rule{Who: "users", Allow: Read})
	for words, want := range map[string]Level{"anonymous": None, "users": Read, "dn:cn=a": Read, "subject:cn=a": None, "": None} {
		w, err := ParseWho(bundled, strings.Fields(words))
		if got := users.Grants(users.Match(w)).At("cn=x").Fixed().Level(); err != nil || got != want {
			t.Errorf("%q: %v, %v", words, got, err)
		}
	}
	for words, want := range map[string]string{
		"anna": "is nobody", "dn:": "the DN is empty", "dn:x": "column", "peer:192.0.2.0/24": "peer:192.0.2.0/24", "peer:": "peer:",
		"users anonymous": "says again", "dn:cn=a dn:cn=b": "says again", "subject:cn=a subject:cn=a": "says again", "cn=a,o=b": "is nobody",
	} {
		if _, err := ParseWho(bundled, strings.Fields(words)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", words, err)
		}
	}
}
