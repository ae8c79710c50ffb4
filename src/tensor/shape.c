/* Shapes: counting, comparing, printing. Knows nothing of what is stored. */
/* SPDX-License-Identifier: MIT */
#include "tensor/shape.h"
#include <inttypes.h>
#include <stdio.h>
#include "base/ck.h"
#include "base/err.h"

int shape_count(const struct shape *s, size_t *count)
{
    if (s->n < 0 || s->n > SHAPE_MAX_DIMS)
        return err_set(NUN_EARG, "shape: expected 0 to %d dimensions, found %d", SHAPE_MAX_DIMS, s->n);
    size_t total = 1, dim = 0;
    bool over = false, empty = false;
    for (int i = 0; i < s->n; i++) {
        if (s->d[i] < 0)
            return err_set(NUN_EFORMAT, "shape: dimension %d is negative: %" PRId64, i, s->d[i]);
        empty |= s->d[i] == 0;
        over |= ck_cast((uint64_t)s->d[i], &dim) || ck_mul(total, dim, &total);
    }
    char text[SHAPE_TEXT];
    if (over && !empty)
        return err_set(NUN_ELIMIT, "shape %s: the number of values does not fit", shape_format(s, text));
    *count = empty ? 0 : total;
    return 0;
}

bool shape_eq(const struct shape *a, const struct shape *b)
{
    if (a->n != b->n)
        return false;
    for (int i = 0; i < a->n; i++)
        if (a->d[i] != b->d[i])
            return false;
    return true;
}

const char *shape_format(const struct shape *s, char out[SHAPE_TEXT])
{
    size_t at = 0;
    out[at++] = '[';
    for (int i = 0; i < s->n && i < SHAPE_MAX_DIMS; i++)
        at += (size_t)snprintf(out + at, SHAPE_TEXT - at, "%s%" PRId64, i ? ", " : "", s->d[i]);
    out[at++] = ']';
    out[at] = '\0';
    return out;
}
