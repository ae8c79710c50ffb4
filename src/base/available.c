/* Memory that is left, as the kernel tells it: /proc/meminfo, the control group (version 2 or 1), and the limit on
 * address space. */
/* SPDX-License-Identifier: MIT */
#include "base/available.h"
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* The number after `key` in a file of lines, or the whole file's with key "". */
static bool number_in(const char *path, const char *key, uint64_t *out)
{
    char line[256];
    bool found = false;
    FILE *f = fopen(path, "re");
    while (f && !found && fgets(line, sizeof line, f))
        found = !strncmp(line, key, strlen(key)) && sscanf(line + strlen(key), "%" SCNu64, out) == 1;
    if (f)
        fclose(f);
    return found;
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* limit - used + what the group could give back */
static uint64_t group_left(const char *limit_path, const char *used_path, const char *stat_path, const char *cache_key)
{
    uint64_t limit, used, cache = 0;
    if (!number_in(limit_path, "", &limit) || !number_in(used_path, "", &used))
        return UINT64_MAX; /* none, or "max" */
    number_in(stat_path, cache_key, &cache);
    used -= least(used, cache);
    return limit > used ? limit - used : 0;
}

size_t memory_available(void)
{
    uint64_t left = UINT64_MAX, kb, pages;
    struct rlimit r;
    if (number_in("/proc/meminfo", "MemAvailable:", &kb))
        left = least(left, kb << 10);
    left = least(left, group_left("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat", "inactive_file "));
    left = least(left, group_left("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes",
                                  "/sys/fs/cgroup/memory/memory.stat", "total_inactive_file "));
    if (getrlimit(RLIMIT_AS, &r) == 0 && r.rlim_cur != RLIM_INFINITY && number_in("/proc/self/statm", "", &pages))
        left = least(left, r.rlim_cur > pages << 12 ? r.rlim_cur - (pages << 12) : 0);
    return left > SIZE_MAX ? SIZE_MAX : (size_t)left;
}
