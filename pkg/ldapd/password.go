package ldapd

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// What HashPassword uses (OWASP's first choice: 19 MiB, two passes).
const (
	hashMemory  = 19456 // KiB
	hashTime    = 2
	hashThreads = 1
	hashSalt    = 16
	hashKey     = 32
)

// What a hash may ask for: a verification costs at most 256 MiB and seconds.
const (
	maxHashMemory  = 256 << 10 // KiB
	maxHashTime    = 16
	maxHashThreads = 16
	minHashSalt    = 8
	maxHashBytes   = 64 // of salt and of key
	minHashKey     = 16
)

// HashPassword makes the argon2id hash of a password, in the PHC string format:
// $argon2id$v=19$m=…,t=…,p=…$salt$hash.
func HashPassword(password string) (string, error) {
	if password == "" {
		return "", errors.New("empty password")
	}
	salt := make([]byte, hashSalt)
	rand.Read(salt)
	h := passwordHash{memory: hashMemory, time: hashTime, threads: hashThreads, salt: salt, key: make([]byte, hashKey)}
	h.key = h.derive([]byte(password))
	return h.String(), nil
}

// CheckHash tells what is wrong with a password hash, if anything.
func CheckHash(hash string) error {
	_, err := parseHash(hash)
	return err
}

type passwordHash struct {
	memory  uint32 // KiB
	time    uint32
	threads uint8
	salt    []byte
	key     []byte
}

func (h passwordHash) derive(password []byte) []byte {
	return argon2.IDKey(password, h.salt, h.time, h.memory, h.threads, uint32(len(h.key)))
}

// verify takes the same time whether the password is right or wrong.
func (h passwordHash) verify(password []byte) bool {
	return subtle.ConstantTimeCompare(h.derive(password), h.key) == 1
}

func (h passwordHash) String() string {
	e := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads,
		e.EncodeToString(h.salt), e.EncodeToString(h.key))
}

// parseHash never repeats the hash in an error.
func parseHash(text string) (passwordHash, error) {
	var h passwordHash
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return h, errors.New("password hash is not of the form $argon2id$v=19$m=…,t=…,p=…$salt$hash")
	}
	if want := fmt.Sprintf("v=%d", argon2.Version); parts[2] != want {
		return h, fmt.Errorf("password hash has version %q, not %q", parts[2], want)
	}
	var threads uint32
	n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &threads)
	if err != nil || n != 3 || parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", h.memory, h.time, threads) {
		return h, errors.New("password hash has no parameters of the form m=…,t=…,p=…")
	}
	if h.time < 1 || h.time > maxHashTime || threads < 1 || threads > maxHashThreads ||
		h.memory < 8*threads || h.memory > maxHashMemory {
		return h, fmt.Errorf("password hash parameters out of bounds: m is 8p to %d, t 1 to %d, p 1 to %d",
			maxHashMemory, maxHashTime, maxHashThreads)
	}
	h.threads = uint8(threads)
	if h.salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[4]); err != nil {
		return h, fmt.Errorf("password hash: salt: %w", err)
	}
	if h.key, err = base64.RawStdEncoding.Strict().DecodeString(parts[5]); err != nil {
		return h, fmt.Errorf("password hash: hash: %w", err)
	}
	if len(h.salt) < minHashSalt || len(h.salt) > maxHashBytes || len(h.key) < minHashKey || len(h.key) > maxHashBytes {
		return h, fmt.Errorf("password hash: salt is %d to %d octets, hash %d to %d", minHashSalt, maxHashBytes, minHashKey, maxHashBytes)
	}
	return h, nil
}
