/* Log lines: one write to stderr a line, so that lines of threads never mix. Never data; silent below
 * the level that the application sets. */
/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

static atomic_int level_now = LOG_WARN;

void log_set_level(enum log_level level)
{
    atomic_store(&level_now, (int)level);
}

void log_write(enum log_level level, const char *fmt, ...)
{
    static const char *const prefix[] = {"error: ", "warning: ", "", "debug: "};
    if ((int)level > atomic_load(&level_now))
        return;
    int saved = errno;
    char line[2048];
    int n = snprintf(line, sizeof line, "%s", prefix[level]);
    va_list ap;
    va_start(ap, fmt);
    int more = vsnprintf(line + n, sizeof line - 1 - (size_t)n, fmt, ap);
    va_end(ap);
    if (more > 0)
        n = n + more < (int)sizeof line - 2 ? n + more : (int)sizeof line - 2;
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, (size_t)n) < 0)
        errno = saved; /* nobody listens: nothing to be done about it */
    errno = saved;
}
