/* safetensors: folders and files, mapped lazily, everything in the headers proved before use; and the
 * writer. Knows no model; the loader, the trainer, adapters and inspect use it. */
/* SPDX-License-Identifier: MIT */
#ifndef FORMATS_SAFETENSORS_H
#define FORMATS_SAFETENSORS_H
#include "base/span.h"
#include "formats/sink.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

struct st_tensor {
    const char *name;
    enum dtype dtype;
    struct shape shape;
    const void *data; /* in the map; aligned to the dtype only if the file was written so */
    size_t bytes;
};

struct safetensors;

/* A .safetensors file, an index (.json), or a folder with model.safetensors, or with
 * model.safetensors.index.json and its shards. Only headers are read. */
int st_open(const char *path, struct safetensors **out);
/* The bytes of one file, borrowed; `place` stands for the path in errors. */
int st_open_bytes(struct span file, const char *place, struct safetensors **out);
/* Tensors that lie elsewhere, under one roof; the list is copied. On success `owner`, which holds their
 * names and bytes, belongs to the result and is dropped with it. */
int st_open_views(const char *place, const struct st_tensor *tensors, size_t n, void *owner, void (*drop)(void *owner),
                  struct safetensors **out);
void st_close(struct safetensors *st); /* NULL is fine; tensors and names die with it */

size_t st_count(const struct safetensors *st);
const struct st_tensor *st_at(const struct safetensors *st, size_t i); /* header order: by offset in the shard */
const struct st_tensor *st_find(const struct safetensors *st, struct span name); /* NULL when absent */
/* st_find that says which name is missing, and checks the shape when `shape` is not NULL. */
int st_need(const struct safetensors *st, struct span name, const struct shape *shape, const struct st_tensor **out);
size_t st_total_bytes(const struct safetensors *st); /* of all tensors */
const char *st_metadata(const struct safetensors *st, const char *key); /* of the first file; NULL when absent */
const char *st_path(const struct safetensors *st);

/* ---- writing ------------------------------------------------------------------------------- */

struct st_item {
    const char *name;
    enum dtype dtype;
    struct shape shape;
    const void *data;                          /* all bytes, or NULL and: */
    int (*emit)(void *arg, struct sink *out);  /* writes exactly the bytes */
    void *arg;
};

struct st_meta { const char *key, *value; }; /* a list ends with key NULL */

/* Durable. Tensors are laid out as the reference library does: wider types first, then by name, with
 * the data 8-byte aligned. meta NULL means {"format": "pt"}. */
int st_write(const char *path, const struct st_item *items, size_t count, const struct st_meta *meta);
/* The same into an open sink. */
int st_write_to(struct sink *out, const struct st_item *items, size_t count, const struct st_meta *meta);

#endif
