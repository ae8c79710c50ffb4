/* Shapes: up to 8 dimensions, row-major, the last one contiguous. Counts are checked, because shapes
 * come from files. Every room that holds a tensor uses this struct. */
/* SPDX-License-Identifier: MIT */
#ifndef TENSOR_SHAPE_H
#define TENSOR_SHAPE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHAPE_MAX_DIMS 8
#define SHAPE_TEXT 184 /* bytes that hold any formatted shape */

struct shape {
    int n;                     /* dimensions in use; 0 is a scalar */
    int64_t d[SHAPE_MAX_DIMS]; /* outermost first */
};

#define SHAPE1(a) ((struct shape){1, {a}})
#define SHAPE2(a, b) ((struct shape){2, {a, b}})
#define SHAPE3(a, b, c) ((struct shape){3, {a, b, c}})
#define SHAPE4(a, b, c, e) ((struct shape){4, {a, b, c, e}})

/* The number of values. NUN_EARG when n is outside 0..8, NUN_EFORMAT when a dimension is negative,
 * NUN_ELIMIT when the product does not fit; *count is then untouched. */
int shape_count(const struct shape *s, size_t *count);
bool shape_eq(const struct shape *a, const struct shape *b);
/* "[8192, 2048]" into out; returns out. */
const char *shape_format(const struct shape *s, char out[SHAPE_TEXT]);

#endif
