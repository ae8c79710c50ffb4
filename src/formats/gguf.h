/* GGUF (versions 2 and 3): mapped lazily, proved whole before anything is allocated from its numbers.
 * Metadata by typed getters, tensors as the same views that safetensors gives. Knows no architecture;
 * the loader, the tokenizer and inspect use it. */
/* SPDX-License-Identifier: MIT */
#ifndef FORMATS_GGUF_H
#define FORMATS_GGUF_H
#include <stdbool.h>
#include "base/span.h"
#include "formats/safetensors.h"

enum gguf_type {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_STRING, GGUF_ARRAY,
    GGUF_U64, GGUF_I64, GGUF_F64, GGUF_TYPE_COUNT
};

struct gguf_value {
    struct span key;
    enum gguf_type type;       /* of the value, or of the items when is_array */
    bool is_array;
    size_t count;              /* items; 1 when not an array */
    const unsigned char *data; /* unaligned, little-endian; strings as u64 length and bytes */
    size_t bytes;
};

struct gguf;

bool gguf_is_file(const char *path); /* by its first bytes, whatever it is called */
int gguf_open(const char *path, struct gguf **out);
/* The bytes of one file, borrowed; `place` stands for the path in errors. */
int gguf_open_bytes(struct span file, const char *place, struct gguf **out);
void gguf_close(struct gguf *g); /* NULL is fine; values and tensors die with it */

int gguf_version(const struct gguf *g);
size_t gguf_count(const struct gguf *g);                              /* of tensors */
const struct st_tensor *gguf_at(const struct gguf *g, size_t i);      /* file order; shape outermost first */
const struct st_tensor *gguf_find(const struct gguf *g, struct span name); /* NULL when absent */
size_t gguf_value_count(const struct gguf *g);
const struct gguf_value *gguf_value_at(const struct gguf *g, size_t i);
const struct gguf_value *gguf_value_find(const struct gguf *g, const char *key); /* NULL when absent */

/* Return 0; 1 when the key is absent, and then *out is untouched; negative with place, key, expected and
 * found. Integers of any width are read, floats of both. */
int gguf_get_int(const struct gguf *g, const char *key, int64_t lo, int64_t hi, int64_t *out);
int gguf_get_double(const struct gguf *g, const char *key, double lo, double hi, double *out);
int gguf_get_bool(const struct gguf *g, const char *key, bool *out);
int gguf_get_string(const struct gguf *g, const char *key, struct span *out);
/* An array of items of `type` (GGUF_I32 stands for any integer type, GGUF_F32 for both floats). */
int gguf_get_array(const struct gguf *g, const char *key, enum gguf_type type, const struct gguf_value **out);

/* Item i < count of an array (or the value itself). Integers beyond int64 saturate. */
int64_t gguf_item_int(const struct gguf_value *v, size_t i);
double gguf_item_double(const struct gguf_value *v, size_t i);
bool gguf_item_bool(const struct gguf_value *v, size_t i);
/* Strings have no index: walk them. Start with *at = 0; false at the end. */
bool gguf_next_string(const struct gguf_value *v, size_t *at, struct span *out);

const char *gguf_type_name(enum gguf_type type);

#endif
