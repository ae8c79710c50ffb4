/* What every cmocka test starts with, in the order that cmocka wants it. */
/* SPDX-License-Identifier: MIT */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/err.h"

/* A call that must work: on failure the sentence is in the report. */
#define check_ok(call)                                                    \
    do {                                                                  \
        int check_rc_ = (call);                                           \
        if (check_rc_ < 0)                                                \
            fail_msg("%s: %s (%d)", #call, nun_error(), check_rc_);       \
    } while (0)

/* A call that must fail with `code` and a sentence that contains `part`. */
#define check_fails(code, part, call)                                                       \
    do {                                                                                    \
        int check_rc_ = (call);                                                             \
        if (check_rc_ != (code) || !strstr(nun_error(), (part)))                            \
            fail_msg("%s: expected %d \"...%s...\", found %d \"%s\"", #call, (int)(code), (part), check_rc_, nun_error()); \
    } while (0)

/* Where a model with reference numbers lies: most are in a folder beside the project, some in it. */
static inline const char *check_root(const char *name)
{
    return strncmp(name, "tests/", 6) ? "../shared/fixtures/" : "";
}

#endif
