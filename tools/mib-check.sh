#!/bin/sh
# Checks mibs/SHAFT-MIB.txt: smilint finds nothing at its level 6, which tells of style too, and
# net-snmp reads it without a word and has all of it.
set -eu
cd "$(dirname "$0")/.."
mibs=$(tools/mibs.sh)

found=$(SMIPATH=$mibs smilint -s -l 6 -p "$mibs/NET-SNMP-MIB" mibs/SHAFT-MIB.txt 2>&1) || true
if [ -n "$found" ]; then # it exits with 0 whatever it finds
	echo "$found"
	exit 1
fi
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
mkdir "$state/cert_indexes" # net-snmp makes it where it is not there, and says so
translate() { SNMP_PERSISTENT_DIR=$state MIBS= snmptranslate -M "$mibs:mibs" -m SHAFT-MIB "$@" 2>&1; }
first=$(translate -On SHAFT-MIB::shaftAlarmText.7.5)
if [ "$first" != .1.3.6.1.4.1.8072.9999.9999.389.1.8.1.8.7.5 ]; then
	echo "net-snmp reads it otherwise: $first"
	exit 1
fi
defined=$(grep -Ec '^[a-z][A-Za-z]* (OBJECT-TYPE|NOTIFICATION-TYPE)$' mibs/SHAFT-MIB.txt)
read=$(translate -Tz | grep -Ec '"1\.3\.6\.1\.4\.1\.8072\.9999\.9999\.389\.(0\.[0-9]+|1\.1\.[0-9]+|1\.[2-8](\.1(\.[0-9]+)?)?)"')
if [ "$defined" != "$read" ]; then # it drops in silence what it does not like
	echo "$defined objects and notifications are defined, net-snmp has $read"
	exit 1
fi
