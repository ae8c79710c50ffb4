/* Weights as right-hand sides of matrix products; see op_rhs.h. */
/* SPDX-License-Identifier: MIT */
#include "graph/op_rhs.h"

struct op_rhs op_rhs_of(const struct g_tensor *w, int side, enum gemm_format compute)
{
    return (struct op_rhs){w, side, w->kind == G_PARAM && w->param->exact ? GEMM_F32 : compute};
}

const void *op_rhs_ready(const struct op_rhs *r)
{
    const struct g_param *p = r->w->kind == G_PARAM ? r->w->param : NULL;
    return p && p->packed_format == r->format ? p->packed[r->side] : NULL;
}

static bool packs_directly(const struct g_tensor *w)
{
    return w->dt == DT_F32 || w->dt == DT_BF16;
}

size_t op_rhs_bytes(const struct op_rhs *r)
{
    if (op_rhs_ready(r))
        return 0;
    size_t panels = op_pad64(gemm_b_bytes(r->format, op_rhs_k(r), op_rhs_n(r)));
    return panels + (packs_directly(r->w) ? 0 : op_pad64((size_t)g_count(r->w) * sizeof(float)));
}

/* Rows of w that this thread decodes; a row is a whole number of blocks (checked by the shape rule). */
static void decode_rows(const struct g_tensor *w, float *out, const struct par *par)
{
    const struct dtype_info *info = &dtype_table[w->dt];
    size_t cols = (size_t)op_weight_cols(w), lo, hi;
    size_t row_bytes = cols / info->block_values * info->block_bytes;
    par_share(par, (size_t)op_weight_rows(w), 1, &lo, &hi);
    for (size_t r = lo; r < hi; r++)
        info->decode((const char *)w->data + r * row_bytes, out + r * cols, cols);
}

struct gemm_b op_rhs_pack(const struct op_rhs *r, void *scratch, const struct par *par)
{
    struct gemm_b b = {r->format, op_rhs_k(r), op_rhs_n(r), op_rhs_ready(r)};
    if (b.panels)
        return b;
    const void *src = r->w->data;
    if (!packs_directly(r->w)) {
        float *rows = (float *)((char *)scratch + op_pad64(gemm_b_bytes(r->format, b.K, b.N)));
        decode_rows(r->w, rows, par);
        par_barrier(par);
        src = rows;
    }
    gemm_pack_b(r->format, b.K, b.N, src, r->w->dt == DT_BF16, op_weight_cols(r->w), !r->side, scratch, par);
    b.panels = scratch;
    return b;
}
