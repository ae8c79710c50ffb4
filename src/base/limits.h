/* Limits: one table (limits.def), printed by `nunchi --limits`, tested at -1, 0 and +1. */
/* SPDX-License-Identifier: MIT */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H
#include <stddef.h>

enum limit_id {
#define LIMIT(name, value, unit, doc) LIMIT_##name,
#include "base/limits.def"
#undef LIMIT
    LIMIT_COUNT
};

struct limit { const char *name; size_t value; const char *unit, *doc; };
extern struct limit limits_table[LIMIT_COUNT]; /* tests lower values; nobody else writes */

#define LIMIT_OF(name) (limits_table[LIMIT_##name].value)
/* NUN_ELIMIT with place, limit and found when value > limit; else 0. */
int limit_check(enum limit_id id, size_t value, const char *place);

#endif
