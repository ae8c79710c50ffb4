/* Weights and the tensors on disk that hold them: copying between the two. Loading, saving and comparing use it. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "models/loader.h"

const struct model_piece *model_pieces_of(const struct model *m, const struct g_param *p, int *n)
{
    int end = m->n_pieces;
    while (end && m->pieces[end - 1].p != p)
        end--;
    int at = end;
    while (at && m->pieces[at - 1].p == p)
        at--;
    *n = end - at;
    return &m->pieces[at];
}

/* Row i of the weight: which row of its matrix, the matrices before it being `*before` rows. */
static int64_t disk_row(const struct model_piece *k, int64_t i, int64_t *before)
{
    int64_t each = k->slabs ? k->rows / k->slabs : k->rows;
    *before = i / each * k->disk_rows;
    i %= each;
    return k->from + i / k->run * k->stride + i % k->run;
}

int64_t model_piece_run(const struct model_piece *k)
{
    return (k->run == k->rows || k->run == k->stride) && !k->transposed && !k->slabs && k->taps <= 1 ? k->from * k->cols : -1;
}

/* A row of [cols / taps, taps] on disk, [taps, cols / taps] in the weight. */
static void copy_taps(const struct model_piece *k, size_t one, char *disk, char *weight, bool to_disk)
{
    size_t taps = (size_t)k->taps, n = (size_t)k->cols / taps;
    for (size_t c = 0; c < n; c++)
        for (size_t t = 0; t < taps; t++) {
            char *at = disk + (c * taps + t) * one, *w = weight + (t * n + c) * one;
            memcpy(to_disk ? at : w, to_disk ? w : at, one);
        }
}

/* Both directions: `to_disk` says which side is written. */
static int copy(const struct model_piece *k, enum dtype dt, char *disk, char *weight, bool to_disk)
{
    size_t row, one = 0;
    TRY(dtype_bytes(dt, (size_t)k->cols, &row));
    if (k->transposed || k->taps > 1)
        TRY(dtype_bytes(dt, 1, &one));
    weight += (size_t)k->first * row;
    for (int64_t i = 0; i < k->rows; i++, weight += row) {
        int64_t before;
        size_t from = (size_t)disk_row(k, i, &before);
        char *slab = disk + (size_t)before * row;
        if (k->taps > 1) {
            copy_taps(k, one, slab + from * row, weight, to_disk);
            continue;
        }
        if (!k->transposed) {
            char *at = slab + from * row;
            memcpy(to_disk ? at : weight, to_disk ? weight : at, row);
            continue;
        }
        for (size_t c = 0; c < (size_t)k->cols; c++) {
            char *at = slab + (c * (size_t)k->disk_rows + from) * one, *w = weight + c * one;
            memcpy(to_disk ? at : w, to_disk ? w : at, one);
        }
    }
    return 0;
}

int model_piece_take(const struct model_piece *k, enum dtype dt, const void *disk, void *weight)
{
    return copy(k, dt, (void *)(uintptr_t)disk, weight, false);
}

int model_piece_give(const struct model_piece *k, enum dtype dt, const void *weight, void *disk)
{
    return copy(k, dt, disk, (void *)(uintptr_t)weight, true);
}

/* p's values, or gradients, as float32: its own memory, or a copy that *owned says is to be freed. */
static int floats_of(const struct g_param *p, bool gradients, const float **out, float **owned)
{
    size_t n;
    *owned = NULL;
    *out = gradients ? p->grad : p->data;
    if (gradients)
        return *out ? 0 : err_set(NUN_EARG, "%s: it does not learn and has no gradient", p->name);
    if (p->dt == DT_F32)
        return 0;
    TRY(shape_count(&p->shape, &n));
    if (!(*owned = mem_calloc(MEM_MODEL, n ? n : 1, sizeof **owned)))
        return NUN_ENOMEM;
    *out = *owned;
    return dtype_to_f32(p->dt, p->data, *owned, n);
}

int model_gather(const struct model *m, const char *name, bool gradients, struct shape *shape, float *out)
{
    bool found = false;
    for (int i = 0; i < m->n_pieces; i++) {
        const struct model_piece *k = &m->pieces[i];
        const float *values;
        float *owned;
        if (strcmp(k->name, name))
            continue;
        found = true;
        *shape = k->shape;
        if (!out)
            break;
        int rc = floats_of(k->p, gradients, &values, &owned);
        if (rc >= 0)
            rc = model_piece_give(k, DT_F32, values, out);
        mem_free(owned);
        TRY(rc);
    }
    return found ? 0 : err_set(NUN_EARG, "%s: the model has no such tensor", name);
}
