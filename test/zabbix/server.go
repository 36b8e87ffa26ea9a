package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// zabbix is a Zabbix with a database of its own: PostgreSQL on a socket, server and
// frontend on loopback.
type zabbix struct {
	r      *run
	port   int // the server's
	web    string
	server *process
	api    *api
}

// accounts under which Debian's packages run their servers.
const (
	postgresAccount = "postgres"
	zabbixAccount   = "zabbix"
)

// newest gives the last of the files that a pattern matches.
func (r *run) newest(pattern, packages string) string {
	found, err := filepath.Glob(pattern)
	r.must(err)
	if len(found) == 0 {
		r.Fatalf("%s is missing: apt-get install %s", pattern, packages)
	}
	return slices.Max(found)
}

// startZabbix makes the database and starts everything; the API's client is logged in.
func startZabbix(r *run) *zabbix {
	z := &zabbix{r: r, port: r.port()}
	z.database()
	r.say("PostgreSQL runs, and has Zabbix's tables")
	r.write("zabbix_server.conf", z.config())
	r.own("run", zabbixAccount)
	z.start()
	z.frontend()
	r.say("Zabbix %s runs; its frontend is %s, Admin, zabbix", z.api.version(), z.web)
	return z
}

// database starts PostgreSQL and fills it.
func (z *zabbix) database() {
	r := z.r
	bin := r.newest("/usr/lib/postgresql/*/bin", "postgresql")
	data, socket := r.own("pg", postgresAccount), r.own("socket", postgresAccount)
	r.command(postgresAccount, "", bin+"/initdb", "-D", data, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	args := []string{"-D", data}
	for _, setting := range []string{"listen_addresses=", "unix_socket_directories=" + socket, "fsync=off", "synchronous_commit=off", "full_page_writes=off"} {
		args = append(args, "-c", setting)
	}
	p := r.start("postgres", postgresAccount, syscall.SIGINT, exec.Command(bin+"/postgres", args...))
	sql := func(user, database, text string) error {
		_, err := r.attempt(postgresAccount, text, bin+"/psql", "-q", "-h", socket, "-U", user, "-d", database, "-v", "ON_ERROR_STOP=1", "-o", "/dev/null")
		return err
	}
	p.ready("PostgreSQL", func() error { return sql(postgresAccount, "postgres", "select 1") })
	r.must(sql(postgresAccount, "postgres", "create role zabbix login"))
	r.command(postgresAccount, "", bin+"/createdb", "-h", socket, "-O", "zabbix", "zabbix")
	for _, part := range []string{"schema", "images", "data"} {
		r.must(sql("zabbix", "zabbix", r.unpacked("/usr/share/zabbix-server-pgsql/"+part+".sql.gz")))
	}
}

// unpacked reads a gzip file.
func (r *run) unpacked(path string) string {
	f, err := os.Open(path)
	r.must(err)
	defer f.Close()
	g, err := gzip.NewReader(f)
	r.must(err)
	b, err := io.ReadAll(g)
	r.must(err)
	return string(b)
}

// config is zabbix_server.conf: few processes, a configuration that is read anew every 5 seconds,
// and an agent that is away asked again soon.
func (z *zabbix) config() string {
	return strings.NewReplacer("DIR", z.r.dir, "PORT", fmt.Sprint(z.port)).Replace(`ListenIP=127.0.0.1
ListenPort=PORT
SourceIP=127.0.0.1
DBHost=DIR/socket
DBName=zabbix
DBUser=zabbix
LogType=console
PidFile=DIR/run/zabbix_server.pid
SocketDir=DIR/run
User=zabbix
Timeout=3
CacheUpdateFrequency=5
StartPollers=3
StartPollersUnreachable=1
StartPingers=0
StartDiscoverers=1
StartHTTPPollers=1
StartTrappers=2
StartPreprocessors=1
StartDBSyncers=1
StartEscalators=1
StartAlerters=1
StartTimers=1
StartLLDProcessors=1
StartReportWriters=0
HousekeepingFrequency=1
MaxHousekeeperDelete=0
UnreachablePeriod=5
UnavailableDelay=5
UnreachableDelay=5
StatsAllowedIP=127.0.0.1
`)
}

// start starts the server, which ends within some ten seconds when it is stopped.
func (z *zabbix) start() {
	z.server = z.r.start("zabbix_server", zabbixAccount, syscall.SIGTERM, exec.Command("/usr/sbin/zabbix_server", "-f", "-c", z.r.path("zabbix_server.conf")))
	z.server.ready("zabbix_server", func() error {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", z.port))
		if err == nil {
			c.Close()
		}
		return err
	})
}

// debianConfig is the one place where Debian's frontend looks for its configuration.
const debianConfig = "'/etc/zabbix/zabbix.conf.php'"

// frontend serves a copy of the frontend by PHP's own web server: the packaged one reads
// a configuration of the whole machine.
func (z *zabbix) frontend() {
	r := z.r
	www := r.path("www")
	r.command("", "", "cp", "-rL", "/usr/share/zabbix", www)
	constant := www + "/include/classes/core/CConfigFile.php"
	text, err := os.ReadFile(constant)
	r.must(err)
	if !strings.Contains(string(text), debianConfig) {
		r.Fatalf("%s does not look for its configuration at %s", constant, debianConfig)
	}
	r.must(os.WriteFile(constant, []byte(strings.ReplaceAll(string(text), debianConfig, "'"+r.path("zabbix.conf.php")+"'")), 0o644))
	r.write("zabbix.conf.php", strings.NewReplacer("DIR", r.dir, "PORT", fmt.Sprint(z.port)).Replace(`<?php
$DB['TYPE'] = 'POSTGRESQL';
$DB['SERVER'] = 'DIR/socket';
$DB['PORT'] = '0';
$DB['DATABASE'] = 'zabbix';
$DB['USER'] = 'zabbix';
$DB['PASSWORD'] = '';
$DB['SCHEMA'] = '';
$DB['ENCRYPTION'] = false;
$DB['DOUBLE_IEEE754'] = true;
$ZBX_SERVER = '127.0.0.1';
$ZBX_SERVER_PORT = 'PORT';
$ZBX_SERVER_NAME = 'Shaft';
$IMAGE_FORMAT_DEFAULT = IMAGE_FORMAT_PNG;
`))
	// Without the locale each page begins with a complaint.
	locale := r.own("locale", zabbixAccount)
	r.command("", "", "localedef", "--no-archive", "-i", "en_US", "-f", "UTF-8", locale+"/en_US.UTF-8")
	address := fmt.Sprintf("127.0.0.1:%d", r.port())
	cmd := exec.Command("php", "-d", "max_execution_time=300", "-d", "max_input_time=300", "-d", "post_max_size=16M", "-d", "memory_limit=256M",
		"-d", "date.timezone=UTC", "-d", "session.save_path="+r.own("sessions", zabbixAccount), "-S", address, "-t", www)
	cmd.Env = append(os.Environ(), "LOCPATH="+locale, "PHP_CLI_SERVER_WORKERS=4")
	p := r.start("web", zabbixAccount, syscall.SIGTERM, cmd)
	z.web = "http://" + address + "/"
	z.api = &api{r: r, url: z.web + "api_jsonrpc.php"}
	p.ready("the frontend", func() error {
		var version string
		return z.api.try("apiinfo.version", object{}, &version)
	})
	z.api.login()
}

// tools are the programs that are run, each with the Debian packages that have it.
var tools = map[string]string{
	"/usr/sbin/zabbix_server": "zabbix-server-pgsql", "/usr/sbin/snmpd": "snmpd", "php": "php8.2-cli php-pgsql zabbix-frontend-php",
	"localedef": "libc-bin", "chromium": "chromium", "/usr/sbin/slapd": "slapd", "ldapmodify": "ldap-utils",
}

// needTools says what is to be installed.
func needTools() error {
	var errs []error
	for tool, packages := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			errs = append(errs, fmt.Errorf("%s is missing: apt-get install %s", tool, packages))
		}
	}
	return errors.Join(errs...)
}
