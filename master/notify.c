#include "master/notify.h"

#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#if HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "common/clock.h"
#include "common/log.h"
#include "master/family.h"

#if HAVE_LIBSYSTEMD
static void tell(const char *words)
{
	int r = sd_notify(0, words);

	if (r < 0)
		LOG_DEBUG("service manager: %s", strerror(-r));
}

int64_t notify_watchdog_ns(void)
{
	static int64_t half = -1;      /* not asked yet */
	uint64_t us = 0;

	if (half < 0)
		half = sd_watchdog_enabled(0, &us) > 0 ? (int64_t)us * 500 : INT64_MAX;
	return half;
}
#else
static void tell(const char *words)
{
	(void)words;
}

int64_t notify_watchdog_ns(void)
{
	return INT64_MAX;
}
#endif

void notify_ready(void)
{
	tell("READY=1\nSTATUS=serving");
}

void notify_reloading(void)
{
	char text[96];

	snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=reloading", clock_mono_ns() / 1000);
	tell(text);
}

void notify_stopping(void)
{
	tell("STOPPING=1\nSTATUS=stopping");
}

void notify_successor(pid_t master)
{
	char text[32];

	snprintf(text, sizeof text, "MAINPID=%d", (int)master);
	tell(text);
}

/* Said when the words change. */
static void status(const struct family *fam)
{
	static char said[96];
	const struct wal_page *wal = desk_wal(fam->desks);
	uint64_t records = atomic_load_explicit(&wal->recovered_records, memory_order_relaxed);
	char text[96];

	if (family_writer_ready(fam))
		snprintf(text, sizeof text, "STATUS=starting the workers");
	else
		snprintf(text, sizeof text, "STATUS=recovery: %" PRIu64 " records of the log applied", records);
	if (strcmp(text, said) == 0)
		return;
	memcpy(said, text, sizeof said);
	tell(text);
}

void notify_round(const struct family *fam, bool ready, int64_t heartbeat_ns, int64_t now)
{
	static int64_t fed;

	if (!ready)
		status(fam);
	if (notify_watchdog_ns() == INT64_MAX || (fed != 0 && now - fed < notify_watchdog_ns()) ||
	    !family_beats(fam, heartbeat_ns))
		return;
	fed = now;
	tell("WATCHDOG=1");
}
