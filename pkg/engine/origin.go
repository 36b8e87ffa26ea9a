package engine

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"

	"shaft/pkg/schema"
	"shaft/pkg/upstream"
)

// origin is what a claim's stored content was taken from, and how. It is stored with the
// cookie, in what the store knows as the cookie's server ("host:port", NUL, JSON):
// when the claim's source is changed, the cookie is void by that alone, and
// until the full load that follows is complete, what is stored is still placed as it was meant.
type origin struct {
	Sum  string `json:"sum"`           // of all that decides which entries there are and what is in them
	Base string `json:"base"`          // remote
	Raw  bool   `json:"raw,omitempty"` // DN values were left as they are (R6)
}

// origin is that of what the claim's next session brings.
func (c *claim) origin() origin {
	return originOf(&c.source, c.raw)
}

func originOf(src *upstream.Source, raw bool) origin {
	text, err := json.Marshal([]any{
		src.Protocol, src.Host, src.Port, src.Socket, src.Servers, src.Base, src.Attributes, src.Filter, src.Scope,
		src.StartTLS, src.BindDN, src.SASLExternal, src.CertFile, src.UUIDFromDN, raw,
	})
	if err != nil {
		panic(fmt.Sprintf("engine: encode a source: %v", err)) // texts, numbers and truth values always can be
	}
	return origin{Sum: fmt.Sprintf("%016x", xxhash.Sum64(text)), Base: src.Base, Raw: raw}
}

// with gives the store's form of the server that gave a cookie.
func (o origin) with(server string) string {
	text, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("engine: encode an origin: %v", err))
	}
	return server + "\x00" + string(text)
}

// setOrigin reads it back. Content that was stored without is taken to be of the
// source as it is now.
func (c *claim) setOrigin(stored string) error {
	server, text, ok := strings.Cut(stored, "\x00")
	c.server, c.taken = server, c.origin()
	if !ok {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &c.taken); err != nil {
		return fmt.Errorf("claim %s: what its content was taken from: %w", c.id, err)
	}
	return nil
}

// storedConverter gives what is stored back as it was meant when it was taken.
func storedConverter(s *schema.Schema, cl *claim) (*converter, error) {
	return converterFor(s, cl, cl.taken.Base, cl.taken.Raw)
}
