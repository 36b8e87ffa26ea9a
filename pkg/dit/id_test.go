package dit

import (
	"strings"
	"testing"
	"time"
)

func TestUUIDText(t *testing.T) {
	const text = "597ae2f6-16a6-1027-98f4-d28b5365dc14"
	u, err := ParseUUID(text)
	if err != nil || u.String() != text {
		t.Fatalf("%v: %v", u, err)
	}
	if upper, err := ParseUUID(strings.ToUpper(text)); err != nil || upper != u {
		t.Errorf("upper case: %v, %v", upper, err)
	}
	if u[0] != 0x59 || u[15] != 0x14 || u.IsZero() || !(UUID{}).IsZero() {
		t.Errorf("octets %x", u[:])
	}
	if got := string(u.Append([]byte("x="))); got != "x="+text {
		t.Errorf("appended %q", got)
	}
	for _, bad := range []string{
		"", "597ae2f6", text + "0", text[1:], strings.ReplaceAll(text, "-", "0"),
		"g97ae2f6-16a6-1027-98f4-d28b5365dc14", "597ae2f6-16a6-1027-98f4-d28b5365dc1g",
		"597ae2f61-6a6-1027-98f4-d28b5365dc14", "{97ae2f6-16a6-1027-98f4-d28b5365dc1}",
	} {
		if u, err := ParseUUID(bad); err == nil {
			t.Errorf("%q read as %v", bad, u)
		}
	}
}

// The example of RFC 9562 appendix A.4, and two from Python's uuid module.
func TestUUIDv5(t *testing.T) {
	dns, err := ParseUUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"www.example.com": "2ed6657d-e927-568b-95e1-2665a8aea6a2",
		"python.org":      "886313e1-3b8a-5372-9b90-0c9aee199e5d",
	} {
		if got := NewUUIDv5(dns, []byte(name)).String(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if NewUUIDv5(dns, nil) == NewUUIDv5(UUID{}, nil) {
		t.Error("the namespace makes no difference")
	}
}

func TestCSNText(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901999, time.FixedZone("", 3600))
	c := CSNAt(at)
	const want = "20260102020405.678901Z#000000#0ab#000000"
	if got := string(c.Append(nil, 0xab)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if !c.Time().Equal(at.Truncate(time.Microsecond)) {
		t.Errorf("time %v", c.Time())
	}
	back, count, sid, mod, err := ParseCSN([]byte(want))
	if err != nil || back != c || count != 0 || sid != 0xab || mod != 0 {
		t.Errorf("%d %d %d %d %v", back, count, sid, mod, err)
	}
	if c := CSNAt(time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)); c != 0 {
		t.Errorf("before 1970: %d", c)
	}
}

func TestParseCSN(t *testing.T) {
	c, count, sid, mod, err := ParseCSN([]byte("19700101000001.000002Z#00000a#FfF#0000B0"))
	if err != nil || c != 1000002 || count != 10 || sid != 0xfff || mod != 0xb0 {
		t.Errorf("%d %d %d %d %v", c, count, sid, mod, err)
	}
	const good = "20240229235959.999999Z#000000#001#000000"
	if _, _, _, _, err := ParseCSN([]byte(good)); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		"", good + "0", good[1:],
		"20240229235959Z#000000#00#000000", // OpenLDAP 2.3
		"20230229235959.999999Z#000000#001#000000",
		"20241301000000.000000Z#000000#001#000000",
		"20240100000000.000000Z#000000#001#000000",
		"20240101240000.000000Z#000000#001#000000",
		"20240101006000.000000Z#000000#001#000000",
		"20240101000060.000000Z#000000#001#000000",
		"19691231235959.999999Z#000000#001#000000",
		"2024010100000 .000000Z#000000#001#000000",
		"20240101000000,000000Z#000000#001#000000",
		"20240101000000.000000z#000000#001#000000",
		"20240101000000.00000-Z#000000#001#000000",
		"20240101000000.000000Z#00000g#001#000000",
		"20240101000000.000000Z#000000#00g#000000",
		"20240101000000.000000Z#000000#001#00000g",
		"20240101000000.000000Z-000000#001#000000",
		"20240101000000.000000Z#000000-001#000000",
		"20240101000000.000000Z#000000#001-000000",
	} {
		if c, _, _, _, err := ParseCSN([]byte(bad)); err == nil {
			t.Errorf("%q read as %d", bad, c)
		}
	}
}

func FuzzCSN(f *testing.F) {
	f.Add("20240229235959.999999Z#000000#001#000000")
	f.Fuzz(func(t *testing.T, text string) {
		c, count, sid, mod, err := ParseCSN([]byte(text))
		if err != nil || count != 0 || mod != 0 {
			return
		}
		if got := string(c.Append(nil, sid)); !strings.EqualFold(got, text) {
			t.Fatalf("%q printed as %q", text, got)
		}
	})
}

func FuzzUUID(f *testing.F) {
	f.Add("597ae2f6-16a6-1027-98f4-d28b5365dc14")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseUUID(text)
		if err == nil && !strings.EqualFold(u.String(), text) {
			t.Fatalf("%q printed as %q", text, u)
		}
	})
}
