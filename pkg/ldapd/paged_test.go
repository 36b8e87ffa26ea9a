package ldapd

import (
	"slices"
	"testing"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
	"shaft/pkg/tree"
)

func pagedRequest(size int64, cookie []byte) []byte {
	v := ber.AppendInt(nil, ber.Integer, size)
	v = ber.AppendBytes(v, ber.OctetString, cookie)
	return ctl(oidPaged, critical, ber.AppendBytes(nil, ber.Sequence, v))
}

// cookieOf gives the cookie of a SearchResultDone; empty at the end.
func cookieOf(t *testing.T, r reply) []byte {
	t.Helper()
	value, ok := r.controls[oidPaged]
	if !ok {
		t.Fatalf("no paged results control: %+v", r)
	}
	p, err := decodePaged(value)
	if err != nil {
		t.Fatal(err)
	}
	return p.cookie
}

var subtree = query{base: base, scope: tree.Sub, attrs: []string{"1.1"}}

// R38: pages together are the whole result, each entry once, over one version of the tree.
func TestPagedResults(t *testing.T) {
	for _, n := range []int{0, 8, 300} {
		whole := n + 2
		b := newBackend(listers(t, n))
		_, addr := serve(t, Options{Backend: b})
		c := dial(t, addr)
		for _, size := range []int{1, 3, 5, whole - 1, whole, whole + 1, 1000} {
			var all []string
			var cookie []byte
			pages := 0
			for id := int64(1); ; id++ {
				got := c.search(id, subtree, pagedRequest(int64(size), cookie))
				last := got[len(got)-1]
				if last.code != 0 || len(got)-1 > size {
					t.Fatalf("%d entries in a page of %d: %+v", len(got)-1, size, last)
				}
				all = append(all, names(got)...)
				pages++
				if cookie = cookieOf(t, last); len(cookie) == 0 {
					break
				}
				b.v.Store(listers(t, n)) // each search stays with its version
			}
			slices.Sort(all)
			if len(slices.Compact(all)) != whole || pages != (whole+size-1)/size {
				t.Errorf("page size %d: %d entries of %d in %d pages", size, len(all), whole, pages)
			}
		}
	}
}

// R38: what a cookie does not do.
func TestPagedCookies(t *testing.T) {
	_, addr := serve(t, Options{Backend: newBackend(listers(t, 50))})
	c := dial(t, addr)
	first := func(id int64) []byte {
		got := c.search(id, subtree, pagedRequest(2, nil))
		return cookieOf(t, got[len(got)-1])
	}
	refused := func(what string, code int, r []reply) {
		t.Helper()
		if len(r) != 1 || r[0].code != code {
			t.Errorf("%s: %+v", what, r)
		}
	}
	cookie := first(1)
	other := subtree
	other.filter = "(cn=*)"
	refused("another search", 53, c.search(2, other, pagedRequest(2, cookie)))
	refused("after that, the right one", 53, c.search(3, subtree, pagedRequest(2, cookie)))
	cookie = first(4)
	c.search(5, subtree, pagedRequest(2, cookie))
	refused("used twice", 53, c.search(6, subtree, pagedRequest(2, cookie)))
	refused("garbage", 2, c.search(7, subtree, pagedRequest(2, []byte("garbage"))))
	refused("unknown", 53, c.search(8, subtree, pagedRequest(2, make([]byte, 8))))
	refused("of another connection", 53, dial(t, addr).search(9, subtree, pagedRequest(2, first(10))))
	refused("negative size", 2, c.search(11, subtree, pagedRequest(-1, nil)))
	refused("no value", 2, c.search(12, subtree, ctl(oidPaged, nil, nil)))
	refused("twice", 2, c.search(13, subtree, pagedRequest(1, nil), pagedRequest(1, nil)))

	cookie = first(14)
	if got := c.search(15, subtree, pagedRequest(0, cookie)); len(got) != 1 || got[0].code != 0 || len(cookieOf(t, got[0])) != 0 {
		t.Errorf("giving up: %+v", got)
	}
	refused("after giving up", 53, c.search(16, subtree, pagedRequest(2, cookie)))

	oldest := first(20)
	for id := int64(21); id < 21+maxPages; id++ {
		cookie = first(id)
	}
	refused("the oldest of too many", 53, c.search(40, subtree, pagedRequest(2, oldest)))
	if got := c.search(41, subtree, pagedRequest(2, cookie)); len(got) != 3 {
		t.Errorf("the newest of many: %+v", got)
	}
	cookie = first(42)
	c.do(43, tagBind, bindBody(3, "", ""))
	refused("after a bind", 53, c.search(44, subtree, pagedRequest(2, cookie)))
}

// R38: base searches, a page as large as the size limit, and the server's limit over all pages.
func TestPagedWithLimits(t *testing.T) {
	_, addr := serve(t, Options{Backend: newBackend(listers(t, 50)), SizeLimit: 10})
	c := dial(t, addr)
	if got := c.search(1, query{base: base}, pagedRequest(2, nil)); len(got) != 2 || len(cookieOf(t, got[1])) != 0 {
		t.Errorf("base search: %+v", got)
	}
	if got := c.search(2, query{}, pagedRequest(2, nil)); len(got) != 2 || len(cookieOf(t, got[1])) != 0 {
		t.Errorf("root DSE: %+v", got)
	}
	q := subtree
	q.sizeLimit = 4
	if got := c.search(3, q, pagedRequest(4, nil)); len(got) != 5 || got[4].code != 4 || len(got[4].controls) != 0 {
		t.Errorf("a page as large as the limit: %+v", got)
	}
	var cookie []byte
	total := 0
	for id := int64(4); ; id++ {
		got := c.search(id, subtree, pagedRequest(3, cookie))
		total += len(got) - 1
		if last := got[len(got)-1]; last.code != 0 {
			if last.code != ldapserver.LDAPResultSizeLimitExceeded || total != 10 {
				t.Errorf("after %d entries: %+v", total, last)
			}
			return
		}
		cookie = cookieOf(t, got[len(got)-1])
	}
}

// A paged search at rest does not hold its version for ever.
func TestPagesExpire(t *testing.T) {
	var p pages
	now := time.Unix(0, 0)
	old := p.keep(&search{hash: 1}, now)
	young := p.keep(&search{hash: 2}, now.Add(pageAge/2))
	p.expire(now.Add(pageAge))
	if len(p.list) != 1 || !p.any() {
		t.Fatalf("%d searches at rest", len(p.list))
	}
	if s, r := p.resume(&pagedControl{cookie: old}, 1, now.Add(pageAge)); s != nil || r.code != ldapserver.LDAPResultUnwillingToPerform {
		t.Errorf("expired: %v %+v", s, r)
	}
	if s, r := p.resume(&pagedControl{cookie: young}, 2, now.Add(pageAge)); s == nil || r.code != 0 {
		t.Errorf("not expired: %v %+v", s, r)
	}
	if p.any() {
		t.Error("a search taken up is still at rest")
	}
}
