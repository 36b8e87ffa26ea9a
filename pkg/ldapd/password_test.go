package ldapd

import (
	"strings"
	"testing"
)

// R47: a hash verifies its password and no other, and is salted.
func TestHashPassword(t *testing.T) {
	a, err := HashPassword("secret")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := HashPassword("secret")
	if a == b {
		t.Error("two hashes are the same")
	}
	if !strings.HasPrefix(a, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("form: %s", a)
	}
	h, err := parseHash(a)
	if err != nil {
		t.Fatal(err)
	}
	if !h.verify([]byte("secret")) || h.verify([]byte("Secret")) || h.verify(nil) {
		t.Error("verification")
	}
	if h.String() != a {
		t.Errorf("printed again: %s", h)
	}
	if _, err := HashPassword(""); err == nil {
		t.Error("an empty password is hashed")
	}
}

// A hash made by the argon2 reference tool:
// printf password | argon2 somesalt -id -t 2 -m 16 -p 1
func TestReferenceHash(t *testing.T) {
	h, err := parseHash("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	if err != nil {
		t.Fatal(err)
	}
	if !h.verify([]byte("password")) {
		t.Error("the reference hash does not verify")
	}
}

// R56: a hostile hash is refused before it costs anything.
func TestBadHashes(t *testing.T) {
	for _, text := range []string{
		"", "secret", "{SSHA}abc", "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=16$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=65536,t=99999,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=65536,t=2,p=300$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=65536,t=0,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=7,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=64,t=1,p=1,x=2$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=64,t=1,p=1$!$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$!",
		"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Y2M",
		"$argon2id$v=19$m=64,t=1,p=1$$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	} {
		if err := CheckHash(text); err == nil || strings.Contains(err.Error(), "CTFhFd") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add(cheap("x"))
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Fuzz(func(t *testing.T, text string) {
		if h, err := parseHash(text); err == nil && h.String() != text {
			t.Errorf("%q prints as %q", text, h.String())
		}
	})
}
