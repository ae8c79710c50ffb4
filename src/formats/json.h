/* JSON over jansson: bounded strict parsing, getters whose errors name the place, a table-driven
 * reader for configs, and a canonical writer. Knows no file's meaning; every room above that reads a
 * config, an index or a request uses it. */
/* SPDX-License-Identifier: MIT */
#ifndef FORMATS_JSON_H
#define FORMATS_JSON_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/span.h"

/* ---- parsing ------------------------------------------------------------------------------- */

/* RFC 8259, UTF-8, any value at the top; duplicate keys, nesting over the limit and bytes over the
 * limit are refused with "place:line:column: ...". Integers beyond 64 bits are read as reals.
 * The tree is the caller's (json_decref). */
int json_parse_span(struct span text, const char *place, json_t **out);
/* The same for a file, where Python's NaN, Infinity and -Infinity are accepted too: they arrive as
 * strings of that name, which the float getters read. */
int json_load_file_limited(const char *path, json_t **out);

/* Building trees: the library's functions fail one by one, some in silence (json_copy). Build freely
 * between mark and check: json_check is NUN_ENOMEM when any allocation in between failed. */
unsigned json_mark(void);
int json_check(unsigned mark);

/* ---- one value ----------------------------------------------------------------------------- */
/* `key` is a key of obj, or a dotted path ("text_config.hidden_size"). Return 0; 1 when the key is
 * absent or null, and then *out is untouched; negative with "place: key: expected ..., found ...". */

const json_t *json_dig(const json_t *obj, const char *key); /* NULL when absent or null; borrowed */
int json_get_int(const json_t *obj, const char *place, const char *key, int64_t lo, int64_t hi, int64_t *out);
int json_get_double(const json_t *obj, const char *place, const char *key, double lo, double hi, double *out);
int json_get_bool(const json_t *obj, const char *place, const char *key, bool *out);
/* Borrowed from the tree; a string with a NUL inside is refused. */
int json_get_string(const json_t *obj, const char *place, const char *key, const char **out);
int json_get_object(const json_t *obj, const char *place, const char *key, const json_t **out);
int json_get_array(const json_t *obj, const char *place, const char *key, const json_t **out);
/* At most cap numbers; a lone number is a list of one. */
int json_get_ints(const json_t *obj, const char *place, const char *key, int64_t lo, int64_t hi,
                  int *out, int cap, int *count);
int json_get_floats(const json_t *obj, const char *place, const char *key, double lo, double hi,
                    float *out, int cap, int *count);

struct json_name { const char *name; int value; }; /* a list ends with name NULL */
int json_get_enum(const json_t *obj, const char *place, const char *key, const struct json_name *names, int *out);

/* NUN_EFORMAT saying that a key that must be there is not. */
int json_missing(const char *place, const char *key);

/* ---- a table of keys into a struct --------------------------------------------------------- */

enum json_kind {
    JSON_KIND_INT,    /* int */
    JSON_KIND_INT64,  /* int64_t */
    JSON_KIND_FLOAT,  /* float */
    JSON_KIND_DOUBLE, /* double */
    JSON_KIND_BOOL,   /* bool */
    JSON_KIND_STRING, /* const char *, borrowed from the tree */
    JSON_KIND_ENUM,   /* int, through names */
    JSON_KIND_INTS,   /* int[cap], and the count as an int at count_offset */
    JSON_KIND_FLOATS, /* float[cap], the same */
    JSON_KIND_NODE,   /* const json_t *, borrowed: read by other means */
};

struct json_field {
    const char *key;                /* "dtype|torch_dtype": the first spelling that is there; "a.b": b of the object a,
                                       which itself is known only where a row or `ignore` names it */
    enum json_kind kind;
    size_t offset;                  /* of the member */
    bool required;
    double min, max;                /* numbers; both 0 means any */
    double def;                     /* numbers, bool, enum, when absent or null */
    const char *def_string;
    const struct json_name *names;
    size_t count_offset;
    int cap;
};

/* What to do with keys that no row reads. */
struct json_unknown {
    bool strict;               /* refuse them: NUN_EUNSUP */
    const char *const *ignore; /* harmless keys; "foo*" is a prefix; ends with NULL; may be NULL */
    void (*report)(void *arg, const char *key, const json_t *value); /* called for each other one; may be NULL */
    void *arg;
};

/* Fill *dst from the object at `path` ("" is the top) of root. `unknown` may be NULL. */
int json_read(const json_t *root, const char *place, const char *path, const struct json_field *rows, size_t count,
              void *dst, const struct json_unknown *unknown);

/* ---- writing ------------------------------------------------------------------------------- */

enum json_style {
    JSON_TIGHT,  /* {"a":[1,2]} */
    JSON_LINE,   /* {"a": [1, 2]} */
    JSON_PRETTY, /* two spaces a level, one value a line, a final newline */
};

/* Keys in insertion order; reals in the fewest digits that read back the same. */
int json_write(const json_t *value, enum json_style style, struct buf *out);
/* Pretty, and durable: after a crash the old file or the new one is there. */
int json_write_file(const char *path, const json_t *value);
/* "text" with quotes and escapes, as UTF-8. */
void json_write_string(struct span text, struct buf *out);
void json_write_real(double x, struct buf *out); /* NaN and infinities as Python spells them */

#endif
