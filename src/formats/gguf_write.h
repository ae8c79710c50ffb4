/* GGUF writer (version 3): metadata collected in order, then all tensors in one stream. Knows no
 * architecture; the converter and the quantiser use it. */
/* SPDX-License-Identifier: MIT */
#ifndef FORMATS_GGUF_WRITE_H
#define FORMATS_GGUF_WRITE_H
#include <stdbool.h>
#include "base/buf.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"

/* Metadata, as bytes of the file. The error is sticky: set freely, gguf_write checks. A key that is
 * there already keeps its place and its value. */
struct gguf_meta {
    struct buf bytes;
    struct buf keys;      /* each with its NUL */
    uint64_t count;
    int error;
};
void gguf_meta_init(struct gguf_meta *m);
void gguf_meta_free(struct gguf_meta *m);
bool gguf_meta_has(const struct gguf_meta *m, const char *key);
void gguf_set_int(struct gguf_meta *m, const char *key, int64_t value);     /* uint32, or uint64 or int32 where it must */
void gguf_set_float(struct gguf_meta *m, const char *key, double value);    /* float32 */
void gguf_set_bool(struct gguf_meta *m, const char *key, bool value);
void gguf_set_string(struct gguf_meta *m, const char *key, struct span value);
/* Arrays: open, give `count` items, no need to close. */
void gguf_set_array(struct gguf_meta *m, const char *key, enum gguf_type type, size_t count);
void gguf_item_set_int(struct gguf_meta *m, enum gguf_type type, int64_t value); /* I32, U32, BOOL or U8 */
void gguf_item_set_float(struct gguf_meta *m, double value);
void gguf_item_set_string(struct gguf_meta *m, struct span value);
/* Every value of another file whose key is not there yet. */
void gguf_meta_copy(struct gguf_meta *m, const struct gguf *from, const char *prefix);

/* Durable; tensors in the given order, aligned to 32 bytes. */
int gguf_write(const char *path, const struct gguf_meta *meta, const struct st_item *items, size_t count);

#endif
