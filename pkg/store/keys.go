package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"shaft/pkg/dit"
)

// The first byte of every key says what stands there.
const (
	kindMeta      = 'm'
	kindClaim     = 'c'
	kindContent   = 'e'
	kindFirst     = 'g'
	kindPublished = 'p'
	kindRecord    = 'r'
	kindJournal   = 'j'
	kindChanges   = 'l'
)

const (
	contentKeyLen = 1 + 4 + 16 + 4
	entryKeyLen   = 1 + 4 + 16 // a content key without its generation
	crcLen        = 4
)

var metaKey = []byte{kindMeta}

func claimKey(claim uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{kindClaim}, claim)
}

// entryPrefix begins the content keys of one entry, newest generation first.
func entryPrefix(dst []byte, claim uint32, id dit.UUID) []byte {
	dst = append(dst, kindContent)
	dst = binary.BigEndian.AppendUint32(dst, claim)
	return append(dst, id[:]...)
}

func contentPrefix(claim uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{kindContent}, claim)
}

func contentKey(dst []byte, k Key) []byte {
	return binary.BigEndian.AppendUint32(entryPrefix(dst, k.Claim, k.UUID), ^k.Gen)
}

func parseContentKey(key []byte) (k Key, ok bool) {
	if len(key) != contentKeyLen || key[0] != kindContent {
		return Key{}, false
	}
	k.Claim = binary.BigEndian.Uint32(key[1:])
	copy(k.UUID[:], key[5:])
	k.Gen = ^binary.BigEndian.Uint32(key[21:])
	return k, true
}

func firstKey(claim, gen uint32) []byte {
	dst := binary.BigEndian.AppendUint32([]byte{kindFirst}, claim)
	return binary.BigEndian.AppendUint32(dst, gen)
}

func publishedKey(claim uint32, id dit.UUID) []byte {
	dst := binary.BigEndian.AppendUint32([]byte{kindPublished}, claim)
	return append(dst, id[:]...)
}

func recordKey(name string) []byte { return append([]byte{kindRecord}, name...) }

func journalKey(seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kindJournal}, seq)
}

func changesKey(csn dit.CSN) []byte {
	return binary.BigEndian.AppendUint64([]byte{kindChanges}, uint64(csn))
}

// numberOf is the number that ends a journal, change log or claim key.
func numberOf(key []byte) uint64 {
	var n uint64
	for _, b := range key[1:] {
		n = n<<8 | uint64(b)
	}
	return n
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, key), castagnoli, value)
}

// seal appends the checksum of key and value to value.
func seal(key, value []byte) []byte {
	return binary.BigEndian.AppendUint32(value, checksum(key, value))
}

// unseal checks a stored value and gives it without its checksum.
func unseal(key, stored []byte) ([]byte, error) {
	if !isSealed(key, stored) {
		return nil, corruptKey(key)
	}
	n := len(stored) - crcLen
	return stored[:n:n], nil
}

func isSealed(key, stored []byte) bool {
	n := len(stored) - crcLen
	return n >= 0 && binary.BigEndian.Uint32(stored[n:]) == checksum(key, stored[:n])
}

func corruptKey(key []byte) error {
	return fmt.Errorf("record %c %x: %w", key[0], key[1:], ErrCorrupt)
}
