/* safetensors writer: header first, from sizes alone, then the data in one stream. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "base/ck.h"
#include "base/err.h"
#include "base/limits.h"
#include "formats/json.h"
#include "formats/safetensors.h"

#define HEADER_ALIGN 8

struct placed { const struct st_item *item; size_t bytes; };

/* Wider types first, so that every tensor stays aligned; then by name. */
static int by_width_and_name(const void *a, const void *b)
{
    const struct st_item *x = ((const struct placed *)a)->item, *y = ((const struct placed *)b)->item;
    size_t wx = dtype_table[x->dtype].block_bytes, wy = dtype_table[y->dtype].block_bytes;
    if (wx != wy)
        return wx > wy ? -1 : 1;
    if (x->dtype != y->dtype)
        return x->dtype < y->dtype ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int place_items(const struct st_item *items, size_t count, struct placed *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct st_item *it = &items[i];
        size_t values;
        int rc = shape_count(&it->shape, &values);
        if (rc == 0)
            rc = dtype_bytes(it->dtype, values, &out[i].bytes);
        if (rc)
            return err_at(rc, "tensor \"%s\"", it->name);
        if (!*dtype_table[it->dtype].st_name)
            return err_set(NUN_EUNSUP, "tensor \"%s\": safetensors has no type for %s", it->name,
                           dtype_name(it->dtype));
        if (out[i].bytes && !it->data && !it->emit)
            return err_set(NUN_EARG, "tensor \"%s\": no data", it->name);
        out[i].item = it;
    }
    qsort(out, count, sizeof *out, by_width_and_name);
    for (size_t i = 1; i < count; i++)
        if (strcmp(out[i].item->name, out[i - 1].item->name) == 0)
            return err_set(NUN_EARG, "tensor \"%s\": given twice", out[i].item->name);
    return 0;
}

static void header_meta(const struct st_meta *meta, struct buf *out)
{
    static const struct st_meta torch[] = {{"format", "pt"}, {NULL, NULL}};
    buf_str(out, "{\"__metadata__\":{");
    for (const struct st_meta *first = meta ? meta : torch, *m = first; m->key; m++) {
        buf_str(out, m == first ? "" : ",");
        json_write_string(span_str(m->key), out);
        buf_char(out, ':');
        json_write_string(span_str(m->value), out);
    }
    buf_char(out, '}');
}

static int header_tensors(const struct placed *placed, size_t count, struct buf *out)
{
    size_t at = 0, end;
    for (size_t i = 0; i < count; i++) {
        const struct st_item *it = placed[i].item;
        if (ck_add(at, placed[i].bytes, &end))
            return err_set(NUN_ELIMIT, "tensor \"%s\": the file's size does not fit", it->name);
        buf_char(out, ',');
        json_write_string(span_str(it->name), out);
        buf_printf(out, ":{\"dtype\":\"%s\",\"shape\":[", dtype_table[it->dtype].st_name);
        for (int k = 0; k < it->shape.n; k++)
            buf_printf(out, "%s%lld", k ? "," : "", (long long)it->shape.d[k]);
        buf_printf(out, "],\"data_offsets\":[%zu,%zu]}", at, end);
        at = end;
    }
    buf_char(out, '}');
    while (out->len % HEADER_ALIGN && !buf_error(out))
        buf_char(out, ' ');
    return buf_error(out);
}

static int write_item(struct sink *out, const struct placed *p)
{
    uint64_t before = out->bytes;
    int rc = 0;
    if (p->item->data)
        sink_write(out, p->item->data, p->bytes);
    else if (p->item->emit)
        rc = p->item->emit(p->item->arg, out);
    if (rc == 0)
        rc = out->error;
    if (rc == 0 && out->bytes - before != p->bytes)
        rc = err_set(NUN_EARG, "expected %zu bytes of data, found %llu", p->bytes,
                     (unsigned long long)(out->bytes - before));
    return rc ? err_at(rc, "tensor \"%s\"", p->item->name) : 0;
}

int st_write_to(struct sink *out, const struct st_item *items, size_t count, const struct st_meta *meta)
{
    struct placed *placed = mem_calloc(MEM_FORMAT, count, sizeof *placed);
    struct buf header;
    buf_init(&header, MEM_FORMAT, LIMIT_OF(safetensors_header));
    int rc = placed ? place_items(items, count, placed) : NUN_ENOMEM;
    if (rc == 0) {
        header_meta(meta, &header);
        rc = header_tensors(placed, count, &header);
    }
    if (rc == 0) {
        uint64_t n = header.len;
        sink_write(out, &n, sizeof n);
        sink_write(out, header.ptr, header.len);
    }
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = write_item(out, &placed[i]);
    if (rc == 0)
        rc = out->error;
    buf_free(&header);
    mem_free(placed);
    return rc;
}

int st_write(const char *path, const struct st_item *items, size_t count, const struct st_meta *meta)
{
    struct sink out;
    TRY(sink_open_aside(&out, path));
    int rc = st_write_to(&out, items, count, meta);
    if (rc) {
        sink_abort(&out);
        return err_at(rc, "%s", path);
    }
    return sink_publish(&out, NULL);
}
