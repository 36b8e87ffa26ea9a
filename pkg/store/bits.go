package store

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

func crcOf(data []byte) uint32 { return crc32.Checksum(data, castagnoli) }

// flipped finds the one bit of data, counted from its begin and in each byte from the lowest, that
// has to change for its CRC-32C to be want. A CRC is linear: what a bit changes in it depends
// on how far it is from the end alone.
func flipped(data []byte, want uint32) (bit int, ok bool) {
	wrong := crcOf(data) ^ want
	effect := uint32(1)
	for bit = 8*len(data) - 1; bit >= 0; bit-- {
		effect = effect>>1 ^ crc32.Castagnoli&-(effect&1)
		if effect == wrong {
			return bit, true
		}
	}
	return 0, false
}

// turn changes one bit.
func turn(data []byte, bit int) { data[bit/8] ^= 1 << (bit % 8) }

// apart counts the bits in which two of one length differ.
func apart(a, b []byte) (n int) {
	for i := range a {
		n += bits.OnesCount8(a[i] ^ b[i])
	}
	return n
}

// tableSeal is that of a block or an index in a table: a message with its CRC-32C, and that message's length.
func tableSeal(sum uint32) []byte {
	var message []byte
	if sum != 0 {
		message = binary.AppendUvarint([]byte{2 << 3}, uint64(sum))
	}
	return binary.BigEndian.AppendUint32(message, uint32(len(message)))
}

// maxTableSeal is the longest message in a tableSeal.
const maxTableSeal = 1 + binary.MaxVarintLen32
