package store

import (
	"reflect"
	"unsafe"

	"github.com/dgraph-io/badger/v4"
)

// bulkThreshold is from where on the value of a staged entry goes to the value log: then a refresh writes it
// once, and not into a log, a memtable and a table, and compactions do not copy it. What is
// committed by itself stays beside its key, up to valueThreshold: a commit then waits for one file.
const bulkThreshold = 256

// entryThreshold is where a badger.Entry says from what size on its value goes to the value log. Badger
// fills it in itself where it is 0, from an option that is the same for all; it has no name outside.
var entryThreshold, entryHasThreshold = reflect.TypeFor[badger.Entry]().FieldByName("valThreshold")

// toValueLog has the value of an entry that is written next go to the value log if it has bulkThreshold. With a badger that
// has no such field all goes on as for other entries.
func toValueLog(e *badger.Entry) {
	if entryHasThreshold && entryThreshold.Type.Kind() == reflect.Int64 {
		*(*int64)(unsafe.Add(unsafe.Pointer(e), entryThreshold.Offset)) = bulkThreshold
	}
}
