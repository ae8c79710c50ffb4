/* Errors: a negative code travels up, one sentence stays in the thread.
 * The first failure writes the sentence; callers above may put the place in front of it. */
/* SPDX-License-Identifier: MIT */
#ifndef BASE_ERR_H
#define BASE_ERR_H
#include "nunchi/error.h"

/* Write the sentence and return `code` (so: `return err_set(NUN_EFORMAT, "...", ...)`). */
int err_set(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Put "<place>: " in front of the pending sentence and return `code` unchanged. */
int err_at(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* NUN_EIO with strerror(errno) appended. */
int err_errno(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* NUN_ENOMEM with the number of bytes that could not be had. */
int err_nomem(unsigned long long bytes);

void err_clear(void);

/* All three return a negative code, whatever they are given; said here for the compiler's flow analysis. */
#define err_negative(call)                                                  \
    __extension__({                                                         \
        int negative_rc_ = (call);                                          \
        if (negative_rc_ >= 0)                                              \
            __builtin_unreachable();                                        \
        negative_rc_;                                                       \
    })
#define err_set(...) err_negative(err_set(__VA_ARGS__))
#define err_errno(...) err_negative(err_errno(__VA_ARGS__))
#define err_nomem(bytes) err_negative(err_nomem(bytes))

/* Return the code of a failing call at once. */
#define TRY(call)                 \
    do {                          \
        int try_rc_ = (call);     \
        if (try_rc_ < 0)          \
            return try_rc_;       \
    } while (0)

#endif
