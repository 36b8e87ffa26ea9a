#!/bin/sh
# Runs every fuzz target for the time given (default 30s), one after the other.
set -eu
cd "$(dirname "$0")/.."
time=${1:-30s}
for file in $(grep -rl '^func Fuzz' --include='*_test.go' . | sort); do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
		echo "== $target in $(dirname "$file")"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$(dirname "$file")"
	done
done
