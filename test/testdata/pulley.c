/*
 * A follower on libldap's ldap_sync, as an application writes one: it reads the root
 * DSE, does not bind, follows without a cookie in refreshAndPersist mode with a critical
 * control, and keeps its copy by entryUUID. In the persist stage it believes entries
 * alone: sets of UUIDs are ignored.
 *
 *	pulley URL BASE
 *
 * A search that is refused is tried again 90 times a second. Once the refresh has ended
 * "refreshed" is printed; then there are lines on the standard input:
 *
 *	dump	the copy is printed as LDIF, up to a line with a dot
 *	resync	the copy is dropped, and made anew by another search of this connection;
 *		the one before is not abandoned, and goes on
 *	connect	the same by another connection; the one before stays open, and is never
 *		read again
 *
 * It ends with the standard input, without an unbind, or with status 1 when it is told
 * what cannot be: an add of what it holds, a modify or delete of what it does not hold,
 * two entries of one name, or an end of the search.
 */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <lber.h>
#include <ldap.h>
#include <ldif.h>

enum {
	UUID = 16,
	ATTEMPTS = 5400,       /* a minute of searches that are refused */
	BETWEEN = 1000 / 90    /* milliseconds from one to the next */
};

/* One entry of the copy. */
struct held {
	struct held *next;
	char uuid[UUID];
	char *dn;
	char *ldif;
};

static struct held *copy;
static int persisting;

static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("pulley: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	exit(1);
}

/* find gives where the pointer to the entry of a UUID is: at NULL when there is none. */
static struct held **find(const char *uuid)
{
	struct held **at = &copy;

	while (*at && memcmp((*at)->uuid, uuid, UUID))
		at = &(*at)->next;
	return at;
}

static void put(FILE *out, const char *name, const char *value, ber_len_t length)
{
	char *line = ldif_put_wrap(LDIF_PUT_VALUE, name, value, length, LDIF_LINE_WIDTH_MAX);

	if (!line)
		die("no memory");
	fputs(line, out);
	ber_memfree(line);
}

/* text gives an entry as LDIF. */
static char *text(LDAP *ld, LDAPMessage *message, const char *dn)
{
	char *all, *name;
	size_t size;
	BerElement *ber = NULL;
	FILE *out = open_memstream(&all, &size);

	if (!out)
		die("no memory");
	put(out, "dn", dn, strlen(dn));
	for (name = ldap_first_attribute(ld, message, &ber); name; name = ldap_next_attribute(ld, message, ber)) {
		struct berval **values = ldap_get_values_len(ld, message, name);
		int i;

		for (i = 0; values && values[i]; i++)
			put(out, name, values[i]->bv_val, values[i]->bv_len);
		ldap_value_free_len(values);
		ldap_memfree(name);
	}
	ber_free(ber, 0);
	fclose(out);
	return all;
}

static void forget(struct held **at)
{
	struct held *gone = *at;

	*at = gone->next;
	ldap_memfree(gone->dn);
	free(gone->ldif);
	free(gone);
}

static int entry(ldap_sync_t *sync, LDAPMessage *message, struct berval *uuid, ldap_sync_refresh_t phase)
{
	char *dn = ldap_get_dn(sync->ls_ld, message);
	struct held **at, *other, *new;

	if (!dn || !uuid || uuid->bv_len != UUID)
		die("an entry without a name or a UUID");
	at = find(uuid->bv_val);
	switch (phase) {
	case LDAP_SYNC_CAPI_DELETE:
		if (!*at)
			die("a delete of what is not held: %s", dn);
		forget(at);
		ldap_memfree(dn);
		return 0;
	case LDAP_SYNC_CAPI_ADD:
		if (*at)
			die("an add of what is held: %s, now %s", (*at)->dn, dn);
		break;
	case LDAP_SYNC_CAPI_MODIFY:
		if (!*at)
			die("a modify of what is not held: %s", dn);
		forget(at);
		break;
	default:
		die("phase %d of %s", (int)phase, dn);
	}
	for (other = copy; other; other = other->next)
		if (!strcasecmp(other->dn, dn))
			die("a second entry of this name: %s", dn);
	new = calloc(1, sizeof *new);
	if (!new)
		die("no memory");
	memcpy(new->uuid, uuid->bv_val, UUID);
	new->dn = dn;
	new->ldif = text(sync->ls_ld, message, dn);
	new->next = copy;
	copy = new;
	return 0;
}

static int reference(ldap_sync_t *sync, LDAPMessage *message)
{
	(void)sync;
	(void)message;
	die("a search reference");
	return 0;
}

static int intermediate(ldap_sync_t *sync, LDAPMessage *message, BerVarray uuids, ldap_sync_refresh_t phase)
{
	(void)sync;
	(void)message;
	(void)phase;
	if (persisting && !uuids)
		die("a second end of the refresh");
	return 0;
}

static int result(ldap_sync_t *sync, LDAPMessage *message, int deletes)
{
	(void)sync;
	(void)message;
	(void)deletes;
	if (persisting)
		die("the search has ended");
	return 0;
}

/* check looks for the Sync control in the root DSE, which is to spell supportedControl so. */
static void check(LDAP *ld)
{
	struct timeval limit = { 2, 0 };
	char *operational[] = { "+", NULL };
	LDAPMessage *answer = NULL;
	BerElement *ber = NULL;
	struct berval **values;
	char *name;
	int rc, i;

	rc = ldap_search_ext_s(ld, "", LDAP_SCOPE_BASE, "(objectclass=*)", operational, 0, NULL, NULL, &limit, 0, &answer);
	if (rc != LDAP_SUCCESS)
		die("the root DSE: %s", ldap_err2string(rc));
	name = ldap_first_attribute(ld, ldap_first_entry(ld, answer), &ber);
	while (name && strcmp(name, "supportedControl")) {
		ldap_memfree(name);
		name = ldap_next_attribute(ld, ldap_first_entry(ld, answer), ber);
	}
	if (!name)
		die("the root DSE has no supportedControl");
	values = ldap_get_values_len(ld, ldap_first_entry(ld, answer), name);
	ldap_memfree(name);
	ber_free(ber, 0);
	if (ldap_count_values_len(values) < 2)
		die("the root DSE has fewer than two values of supportedControl");
	for (i = 0; values[i]; i++)
		if (!strcmp(values[i]->bv_val, LDAP_CONTROL_SYNC))
			break;
	if (!values[i])
		die("the root DSE does not have the control %s", LDAP_CONTROL_SYNC);
	ldap_value_free_len(values);
	ldap_msgfree(answer);
}

/* begin follows the base with an empty copy, and comes back once the refresh has ended. */
static void begin(ldap_sync_t *sync, LDAP *ld, char *base)
{
	int rc, tries;

	while (copy)
		forget(&copy);
	persisting = 0;
	for (tries = 1;; tries++) {
		struct pollfd input = { 0, 0, 0 }; /* its end alone */

		ldap_sync_initialize(sync);
		sync->ls_base = base;
		sync->ls_scope = LDAP_SCOPE_SUBTREE;
		sync->ls_filter = "(objectclass=*)";
		sync->ls_ld = ld;
		sync->ls_search_entry = entry;
		sync->ls_search_reference = reference;
		sync->ls_intermediate = intermediate;
		sync->ls_search_result = result;
		rc = ldap_sync_init(sync, LDAP_SYNC_REFRESH_AND_PERSIST);
		if (rc == LDAP_SUCCESS)
			break;
		if (tries == 1) {
			printf("refused: %s\n", ldap_err2string(rc));
			fflush(stdout);
		}
		if (tries == ATTEMPTS)
			die("refused %d times: %s", tries, ldap_err2string(rc));
		if (poll(&input, 1, BETWEEN) < 0)
			die("poll");
		if (input.revents)
			exit(0);
	}
	sync->ls_timeout = 0; /* from now on what is there is taken, and not waited for */
	persisting = 1;
	puts("refreshed");
	fflush(stdout);
}

/* take has all that has come put into the copy. */
static void take(ldap_sync_t *sync)
{
	int rc = ldap_sync_poll(sync);

	if (rc != LDAP_SUCCESS)
		die("in the persist stage: %s", ldap_err2string(rc));
}

/* dial opens a connection, and looks whether its server can be followed. */
static LDAP *dial(const char *url)
{
	LDAP *ld = NULL;
	int version = LDAP_VERSION3;

	if (ldap_initialize(&ld, url) != LDAP_SUCCESS || ldap_set_option(ld, LDAP_OPT_PROTOCOL_VERSION, &version) != LDAP_OPT_SUCCESS)
		die("%s is no URL of a server", url);
	check(ld);
	return ld;
}

static void dump(void)
{
	struct held *h;

	for (h = copy; h; h = h->next) {
		fputs(h->ldif, stdout);
		putchar('\n');
	}
	puts(".");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	LDAP *ld;
	ldap_sync_t sync;
	int fd = -1;
	char line[16];

	if (argc != 3)
		die("usage: pulley URL BASE");
	ld = dial(argv[1]);
	begin(&sync, ld, argv[2]);
	for (;;) {
		struct pollfd wait[] = { { 0, POLLIN, 0 }, { 0, POLLIN, 0 } };
		ssize_t n;

		if (ldap_get_option(ld, LDAP_OPT_DESC, &fd) != LDAP_OPT_SUCCESS)
			die("no connection");
		wait[1].fd = fd;

		/* libldap may have read more than it has given: the wait is short */
		if (poll(wait, 2, 50) < 0)
			die("poll");
		take(&sync);
		if (!wait[0].revents)
			continue;
		n = read(0, line, sizeof line - 1);
		if (n <= 0)
			return 0;
		line[n] = 0;
		if (!strcmp(line, "dump\n")) {
			dump();
			continue;
		}
		if (!strcmp(line, "connect\n"))
			ld = dial(argv[1]);
		else if (strcmp(line, "resync\n"))
			die("no such command: %s", line);
		begin(&sync, ld, argv[2]);
	}
}
