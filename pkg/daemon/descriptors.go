package daemon

import (
	"log/slog"
	"syscall"

	"shaft/pkg/ldapd"
)

// keptDescriptors are for what is no client's connection: files of the store, links to sources, the other doors. A store that cannot make
// a file takes no more writes.
const keptDescriptors = 512

// connections is how many of clients there may be at once, by the configuration (0: by default) and by what the system lets the process open.
func connections(configured int, log *slog.Logger) int {
	wanted := configured
	if wanted == 0 {
		wanted = ldapd.DefaultMaxConns
	}
	var files syscall.Rlimit // Go has raised it as far as the process may
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return wanted
	}
	most := within(wanted, files.Cur)
	if most < wanted {
		log.Warn("fewer connections than configured: the system lets the process open fewer files (RLIMIT_NOFILE)",
			"key", "limits.connections", "configured", wanted, "connections", most, "files", files.Cur)
	}
	return most
}

// within leaves of so many files those that are kept, or half where these are more.
func within(wanted int, files uint64) int {
	left := files / 2
	if files > 2*keptDescriptors {
		left = files - keptDescriptors
	}
	if uint64(wanted) <= left {
		return wanted
	}
	return max(int(left), 1)
}
