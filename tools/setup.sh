#!/bin/sh
# Installs what the tests and the demo need beside Go: real LDAP servers and
# clients to speak with, and a C compiler for the race detector. As root it
# installs what is missing, otherwise it says what to install and fails. Nothing
# that it installs needs to run as a service: tests start servers of their own.
set -eu
cd "$(dirname "$0")/.."

has() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }

# missing prints the Debian packages that are not there.
missing() {
	has slapd && has slapdn || echo slapd
	has ldapsearch && has ldapmodify || echo ldap-utils
	/usr/bin/python3 -c 'import ldap' 2>/dev/null || echo python3-ldap
	has gcc || echo gcc
	[ -e /usr/include/stdlib.h ] || echo libc6-dev
	[ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
}

if ! has go; then
	echo "setup: the go command is not on the PATH; install Go $(sed -n 's/^go //p' go.mod) or newer" >&2
	exit 1
fi

packages=$(missing | paste -s -d ' ' -)
[ -n "$packages" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "setup: some tools are missing; as root, run: apt-get install $packages" >&2
	exit 1
fi
if ! has apt-get; then
	echo "setup: this is no Debian; install what these packages hold: $packages" >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive
case " $packages " in
*" slapd "*) # the package shall make no database and so start no server
	if has debconf-set-selections; then
		echo 'slapd slapd/no_configuration boolean true' | debconf-set-selections
	fi ;;
esac
echo "setup: installing $packages"
apt-get update -q
# shellcheck disable=SC2086 # one word for each package
apt-get install -q -y --no-install-recommends $packages

packages=$(missing | paste -s -d ' ' -)
if [ -n "$packages" ]; then
	echo "setup: still missing after the installation: $packages" >&2
	exit 1
fi
