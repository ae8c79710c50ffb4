/* The limits table made from limits.def, and the one sentence for going over a limit. Every reader of
 * outside numbers asks here. */
/* SPDX-License-Identifier: MIT */
#include "base/limits.h"
#include "base/err.h"

struct limit limits_table[LIMIT_COUNT] = {
#define LIMIT(name, value, unit, doc) {#name, value, unit, doc},
#include "base/limits.def"
#undef LIMIT
};

int limit_check(enum limit_id id, size_t value, const char *place)
{
    const struct limit *l = &limits_table[id];
    if (value <= l->value)
        return 0;
    return err_set(NUN_ELIMIT, "%s: limit %s is %zu %s, found %zu", place, l->name, l->value, l->unit, value);
}
