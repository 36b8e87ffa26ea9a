#!/bin/sh
# Installs what the tests and the demo need beside Go: real LDAP servers and
# clients to speak with, an SNMP agent and its tools, npm to fetch MIBs with, and
# a C compiler for the race detector. As root it
# installs what is missing, otherwise it says what to install and fails. Nothing
# that it installs is started: tests start servers of their own. Nor is anything of the
# machine's own configuration changed.
#
#	tools/setup.sh          for the tests and the demo
#	tools/setup.sh zabbix   for make e2e-zabbix too
set -eu
cd "$(dirname "$0")/.."
more=${1:-}

has() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }

# missing prints the Debian packages that are not there.
missing() {
	has slapd && has slapdn || echo slapd
	has ldapsearch && has ldapmodify || echo ldap-utils
	/usr/bin/python3 -c 'import ldap' 2>/dev/null || echo python3-ldap
	has nslcd || echo nslcd
	set -- /lib/*/libnss_ldap.so.2 /usr/lib/*/libnss_ldap.so.2
	[ -e "$1" ] || [ -e "$2" ] || echo libnss-ldapd
	has mount || echo mount
	has ldapvi || echo ldapvi
	has shelldap || echo shelldap
	has snmpd || echo snmpd
	has snmptrapd || echo snmptrapd
	has snmptable || echo snmp
	has smilint || echo smitools
	has npm || echo npm
	[ -e /usr/include/ldap.h ] || echo libldap-dev
	has prometheus && has promtool || echo prometheus
	has gcc || echo gcc
	[ -e /usr/include/stdlib.h ] || echo libc6-dev
	[ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
	[ "$more" != zabbix ] || missing_zabbix
}

# missing_zabbix does the same for Zabbix, with a browser that looks at it.
missing_zabbix() {
	has php-cgi || echo php-cgi # before the frontend, which would else bring a web server along
	has php || echo php-cli
	has zabbix_server || echo zabbix-server-pgsql
	[ -e /usr/share/zabbix/index.php ] || echo zabbix-frontend-php
	php -m 2>/dev/null | grep -qi pgsql || echo php-pgsql
	set -- /usr/lib/postgresql/*/bin/initdb
	[ -x "$1" ] || echo postgresql
	has chromium || echo chromium
	[ -e /usr/share/i18n/locales/en_US ] || echo locales
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
if has debconf-set-selections; then
	# slapd shall make no database, and libnss-ldapd leave nsswitch.conf as it is
	debconf-set-selections <<-END
		slapd slapd/no_configuration boolean true
		libnss-ldapd libnss-ldapd/nsswitch multiselect
	END
fi
# Debian starts what it installs unless a program of this name forbids it.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	trap 'exit 130' INT TERM HUP # dash runs no EXIT trap for these by itself
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi
echo "setup: installing $packages"
# A machine that has just begun may be busy with its own packages, and a mirror may fail once.
patient="-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3"
# shellcheck disable=SC2086 # one word for each
for pause in 5 20 60; do
	apt-get $patient update -q && break
	sleep $pause
done
# shellcheck disable=SC2086 # one word for each package
apt-get $patient install -q -y --no-install-recommends $packages
for service in nslcd snmpd snmptrapd prometheus postgresql zabbix-server; do
	case " $packages " in
	*" $service "* | *" $service-pgsql "*) # nor at the next boot
		update-rc.d $service disable 2>/dev/null
		systemctl disable $service.socket >/dev/null 2>&1 || true ;;
	esac
done

packages=$(missing | paste -s -d ' ' -)
if [ -n "$packages" ]; then
	echo "setup: still missing after the installation: $packages" >&2
	exit 1
fi
