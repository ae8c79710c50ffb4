/* GGUF writer: header and tables from sizes alone, then the data in one stream, each tensor padded to
 * the alignment. */
/* SPDX-License-Identifier: MIT */
#include "formats/gguf_write.h"
#include "base/ck.h"
#include "base/err.h"
#include "base/limits.h"

enum { ALIGNMENT = 32, VERSION = 3, MOST_DIMS = 4 };

/* ---- metadata ---------------------------------------------------------------------------------- */

void gguf_meta_init(struct gguf_meta *m)
{
    *m = (struct gguf_meta){0};
    buf_init(&m->bytes, MEM_FORMAT, LIMIT_OF(gguf_metadata));
    buf_init(&m->keys, MEM_FORMAT, LIMIT_OF(gguf_metadata));
}

void gguf_meta_free(struct gguf_meta *m)
{
    buf_free(&m->bytes);
    buf_free(&m->keys);
}

bool gguf_meta_has(const struct gguf_meta *m, const char *key)
{
    for (size_t at = 0; at < m->keys.len; at += strlen(m->keys.ptr + at) + 1)
        if (!strcmp(m->keys.ptr + at, key))
            return true;
    return false;
}

static void put(struct gguf_meta *m, const void *p, size_t n)
{
    buf_append(&m->bytes, p, n);
}

static void put_string(struct buf *b, struct span s)
{
    uint64_t n = s.len;
    buf_append(b, &n, sizeof n);
    buf_append(b, s.ptr, s.len);
}

/* The key and its type; false when it was there, or given by a caller who made a mistake. */
static bool begin(struct gguf_meta *m, const char *key, uint32_t type)
{
    if (gguf_meta_has(m, key))
        return false;
    buf_append(&m->keys, key, strlen(key) + 1);
    put_string(&m->bytes, span_str(key));
    put(m, &type, sizeof type);
    m->count++;
    return true;
}

void gguf_set_int(struct gguf_meta *m, const char *key, int64_t value)
{
    bool wide = value > UINT32_MAX || value < INT32_MIN;
    uint32_t type = wide ? (value < 0 ? GGUF_I64 : GGUF_U64) : value < 0 ? GGUF_I32 : GGUF_U32;
    if (begin(m, key, type))
        put(m, &value, wide ? 8 : 4); /* little-endian */
}

void gguf_set_float(struct gguf_meta *m, const char *key, double value)
{
    if (begin(m, key, GGUF_F32))
        gguf_item_set_float(m, value);
}

void gguf_set_bool(struct gguf_meta *m, const char *key, bool value)
{
    if (begin(m, key, GGUF_BOOL))
        gguf_item_set_int(m, GGUF_BOOL, value);
}

void gguf_set_string(struct gguf_meta *m, const char *key, struct span value)
{
    if (begin(m, key, GGUF_STRING))
        put_string(&m->bytes, value);
}

void gguf_set_array(struct gguf_meta *m, const char *key, enum gguf_type type, size_t count)
{
    uint32_t t = type;
    uint64_t n = count;
    if (!begin(m, key, GGUF_ARRAY)) {
        m->error = err_set(NUN_EARG, "GGUF metadata: the array %s is given twice", key);
        return;
    }
    put(m, &t, sizeof t);
    put(m, &n, sizeof n);
}

void gguf_item_set_int(struct gguf_meta *m, enum gguf_type type, int64_t value)
{
    put(m, &value, type == GGUF_BOOL || type == GGUF_U8 || type == GGUF_I8 ? 1 : 4);
}

void gguf_item_set_float(struct gguf_meta *m, double value)
{
    float f = (float)value;
    put(m, &f, sizeof f);
}

void gguf_item_set_string(struct gguf_meta *m, struct span value)
{
    put_string(&m->bytes, value);
}

static void copy_value(struct gguf_meta *m, const struct gguf_value *v)
{
    char key[256];
    if (v->key.len >= sizeof key) {
        m->error = err_set(NUN_ELIMIT, "GGUF metadata: a key of %zu bytes, limit %zu", v->key.len, sizeof key - 1);
        return;
    }
    memcpy(key, v->key.ptr, v->key.len);
    key[v->key.len] = 0;
    if (gguf_meta_has(m, key))
        return;
    if (v->is_array)
        gguf_set_array(m, key, v->type, v->count);
    else
        begin(m, key, v->type);
    put(m, v->data, v->bytes);
}

void gguf_meta_copy(struct gguf_meta *m, const struct gguf *from, const char *prefix)
{
    for (size_t i = 0; i < gguf_value_count(from); i++) {
        const struct gguf_value *v = gguf_value_at(from, i);
        if (span_starts(v->key, span_str(prefix)))
            copy_value(m, v);
    }
}

/* ---- the file ---------------------------------------------------------------------------------- */

static int item_bytes(const struct st_item *it, size_t *bytes)
{
    size_t values;
    const struct dtype_info *d = &dtype_table[it->dtype];
    TRY(shape_count(&it->shape, &values));
    TRY(dtype_bytes(it->dtype, values, bytes));
    if (d->gguf_id < 0)
        return err_set(NUN_EUNSUP, "GGUF has no type for %s", d->name);
    if (it->shape.n > MOST_DIMS)
        return err_set(NUN_EUNSUP, "GGUF has at most %d dimensions, found %d", MOST_DIMS, it->shape.n);
    if (it->shape.n && (size_t)it->shape.d[it->shape.n - 1] % d->block_values)
        return err_set(NUN_EARG, "%s: expected rows of a multiple of %zu values, found %lld", d->name, d->block_values,
                       (long long)it->shape.d[it->shape.n - 1]);
    return 0;
}

static int table_entry(struct buf *b, const struct st_item *it, uint64_t *offset)
{
    size_t bytes, padded;
    int rc = item_bytes(it, &bytes);
    if (rc)
        return err_at(rc, "tensor \"%s\"", it->name);
    if (ck_pad(bytes, ALIGNMENT, &padded) || ck_add((size_t)*offset, padded, &padded))
        return err_set(NUN_ELIMIT, "tensor \"%s\": the file's size does not fit", it->name);
    uint32_t dims = (uint32_t)it->shape.n, type = (uint32_t)dtype_table[it->dtype].gguf_id;
    put_string(b, span_str(it->name));
    buf_append(b, &dims, sizeof dims);
    for (int i = it->shape.n - 1; i >= 0; i--) { /* innermost first */
        uint64_t d = (uint64_t)it->shape.d[i];
        buf_append(b, &d, sizeof d);
    }
    buf_append(b, &type, sizeof type);
    buf_append(b, offset, sizeof *offset);
    *offset = padded;
    return 0;
}

static int write_header(struct sink *out, const struct gguf_meta *meta, const struct st_item *items, size_t count)
{
    struct buf b;
    uint64_t offset = 0, tensors = count;
    uint32_t version = VERSION;
    int rc = meta->error ? meta->error : buf_error(&meta->bytes) ? buf_error(&meta->bytes) : buf_error(&meta->keys);
    if (rc)
        return rc;
    buf_init(&b, MEM_FORMAT, LIMIT_OF(gguf_metadata));
    buf_str(&b, "GGUF");
    buf_append(&b, &version, sizeof version);
    buf_append(&b, &tensors, sizeof tensors);
    buf_append(&b, &meta->count, sizeof meta->count);
    buf_append(&b, meta->bytes.ptr, meta->bytes.len);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = table_entry(&b, &items[i], &offset);
    if (rc == 0)
        rc = buf_error(&b);
    if (rc == 0) {
        sink_write(out, b.ptr, b.len);
        sink_zero(out, (ALIGNMENT - b.len % ALIGNMENT) % ALIGNMENT);
    }
    buf_free(&b);
    return rc ? rc : out->error;
}

static int write_tensor(struct sink *out, const struct st_item *it)
{
    size_t bytes;
    TRY(item_bytes(it, &bytes));
    uint64_t before = out->bytes;
    if (it->data)
        sink_write(out, it->data, bytes);
    else if (it->emit)
        TRY(it->emit(it->arg, out));
    if (out->error)
        return out->error;
    if (out->bytes - before != bytes)
        return err_set(NUN_EARG, "expected %zu bytes of data, found %llu", bytes, (unsigned long long)(out->bytes - before));
    sink_zero(out, (ALIGNMENT - bytes % ALIGNMENT) % ALIGNMENT);
    return out->error;
}

int gguf_write(const char *path, const struct gguf_meta *meta, const struct st_item *items, size_t count)
{
    struct sink out;
    TRY(sink_open_aside(&out, path));
    int rc = write_header(&out, meta, items, count);
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = write_tensor(&out, &items[i]);
        if (rc)
            rc = err_at(rc, "tensor \"%s\"", items[i].name);
    }
    if (rc) {
        sink_abort(&out);
        return err_at(rc, "%s", path);
    }
    return sink_publish(&out, NULL);
}
