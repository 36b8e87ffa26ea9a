package upstream

import (
	"errors"
	"fmt"

	"shaft/pkg/ber"
)

const (
	tagSearchDone       = ber.Tag(0x65) // [APPLICATION 5], RFC 4511 section 4.5.2
	tagExtendedResponse = ber.Tag(0x78) // [APPLICATION 24], RFC 4511 section 4.12
	oidDisconnection    = "1.3.6.1.4.1.1466.20036"
	oidStartTLS         = "1.3.6.1.4.1.1466.20037"
)

// Bounds on a message that go-ldap reads: it makes an object of some 250 bytes
// of each element. A subschema entry, the largest that is asked for, has a few
// thousand elements and less than a megabyte.
const (
	maxPlainSize     = 8 << 20
	maxPlainElements = 100_000
	maxPlainDepth    = 32
)

// envelope reads the message ID of an LDAPMessage (RFC 4511 section 4.1.1) and
// leaves op at its operation.
func envelope(frame []byte) (id int64, op ber.Reader, err error) {
	r := ber.NewReader(frame)
	op, err = r.Enter(ber.Sequence)
	if err != nil {
		return 0, op, err
	}
	id, err = op.Int(ber.Integer)
	return id, op, err
}

// result reads an LDAPResult (RFC 4511 section 4.1.9) and leaves r behind it.
func result(r *ber.Reader) (code int, diagnostic string, err error) {
	n, err := r.Int(ber.Enumerated)
	if err != nil {
		return 0, "", err
	}
	if _, err := r.Read(ber.OctetString); err != nil {
		return 0, "", err
	}
	text, err := r.Read(ber.OctetString)
	return int(n), string(text), err
}

// unsolicited looks at a message that no request asked for. A notice of
// disconnection (RFC 4511 section 4.4.1) is an error, others are let go.
func unsolicited(op ber.Reader) error {
	if op.Peek() != tagExtendedResponse {
		return errors.New("the server sent a message with ID 0 that is no notification")
	}
	body, err := op.Enter(tagExtendedResponse)
	if err != nil {
		return fmt.Errorf("malformed notification: %w", err)
	}
	code, text, err := result(&body)
	if err != nil {
		return fmt.Errorf("malformed notification: %w", err)
	}
	for body.More() {
		tag, content, err := body.Any()
		if err != nil {
			return fmt.Errorf("malformed notification: %w", err)
		}
		if tag == ber.ContextPrimitive(10) && string(content) == oidDisconnection {
			return fmt.Errorf("the server ended the session: %s", resultText(code, text))
		}
	}
	return nil
}

// checkPlain refuses a message that would cost too much to take apart.
func checkPlain(frame []byte) error {
	if len(frame) > maxPlainSize {
		return fmt.Errorf("the server sent a message of %d bytes where %d are enough", len(frame), maxPlainSize)
	}
	var open [maxPlainDepth]ber.Reader
	open[0] = ber.NewReader(frame)
	elements := 0
	for depth := 0; depth >= 0; {
		r := &open[depth]
		if !r.More() {
			depth--
			continue
		}
		tag, content, err := r.Any()
		if err != nil {
			return fmt.Errorf("the server sent a malformed LDAP message: %w", err)
		}
		if elements++; elements > maxPlainElements {
			return fmt.Errorf("the server sent a message of more than %d elements", maxPlainElements)
		}
		if tag&0x20 == 0 {
			continue
		}
		if depth++; depth == maxPlainDepth {
			return fmt.Errorf("the server sent a message nested deeper than %d", maxPlainDepth)
		}
		open[depth] = ber.NewReader(content)
	}
	return nil
}
