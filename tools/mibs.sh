#!/bin/sh
# Prints a directory with the standard MIB modules that mibs/SHAFT-MIB.txt imports.
# Debian leaves them out for their licence, so they are fetched, once, as part of the
# npm package net-snmp; NET-SNMP-MIB is Debian's (snmp).
set -eu

version=3.29.2
dir=${XDG_CACHE_HOME:-$HOME/.cache}/shaft/mibs-$version

if [ ! -d "$dir" ]; then
	mkdir -p "$(dirname "$dir")"
	work=$(mktemp -d "$(dirname "$dir")/fetch.XXXXXX") # on the same file system, so that the move is whole or not at all
	trap 'rm -rf "$work"' EXIT
	for try in 1 2 3; do
		(cd "$work" && npm pack --silent "net-snmp@$version" >pack.log 2>&1) && break
		if [ $try = 3 ]; then
			cat "$work/pack.log" >&2
			echo "mibs: the npm package net-snmp $version cannot be fetched" >&2
			exit 1
		fi
		sleep $((try * 5))
	done
	tar -xzf "$work/net-snmp-$version.tgz" -C "$work"
	mkdir "$work/mibs"
	for module in SNMPv2-SMI SNMPv2-TC SNMPv2-CONF; do
		cp "$work/package/lib/mibs/$module.mib" "$work/mibs/$module"
	done
	cp /usr/share/snmp/mibs/NET-SNMP-MIB.txt "$work/mibs/NET-SNMP-MIB"
	# Whoever comes second keeps what the first one fetched.
	mv -T "$work/mibs" "$dir" 2>/dev/null || [ -d "$dir" ]
fi
echo "$dir"
