/* Attention of query rows over keys and values, the contract.
 *
 * A row (one query of one head) attends to the keys in its spans, ascending. Its bits depend on its own
 * query, those keys and their values, and nothing else: not on other rows, tiling, threads, or where
 * the keys lie. Every instruction set gives the same bits:
 *   q'  = q * scale
 *   s_j = one fmaf chain over d, ascending, from 0, of q'[d] * k_j[d]; softcap: s = cap tanh(s * (1/cap)), or
 *         bias: s_j + bias_j
 *   m   = max s_j,   p_j = exp(s_j - m)  (vecmath.h),   z = one chain of additions over the keys; with sinks the head's
 *         sink is a score too that no value answers: m = max(sink, s_j), z begins with exp(sink - m)
 *   o[d] = (one fmaf chain over the keys, from 0, of p_j * v_j[d]) * (1/z);   no key: zeros
 * and backward, given do, for finite numbers:
 *   P_j = p_j * (1/z),  dP_j = chain over d of do[d] * v_j[d],  delta = fmaf chain over the keys of P_j dP_j
 *   dS_j = P_j * (dP_j - delta); softcap: times fmaf(-t, t, 1), t = s_j * (1/cap)
 *   dbias_j += dS_j,   dsink -= exp(sink - m) * (1/z) * delta
 *   dq[d] = (fmaf chain over the keys of dS_j k_j[d]) * scale
 *   dk_j[d] = fmaf chain over the rows, query by query and head by head, of dS_j q'[d]
 *   dv_j[d] = the same of P_j do[d]; dk and dv end with + 0.0f, so that zeros are positive
 *
 * Callers: the attention operations of graph/. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_ATTENTION_H
#define KERNELS_ATTENTION_H
#include <stddef.h>
#include <stdint.h>
#include "tensor/dtype.h"

enum { ATTN_SPANS = 4, ATTN_PAGE = 64, ATTN_BLOCK = 32 }; /* ATTN_BLOCK: most values of a packed block */

/* Keys, or values, of one sequence and one kv head: rows of D numbers. What is packed is worth what dtype_table's
 * decoder says; the definition above is of those floats. */
struct attn_kv {
    const float *data;       /* position 0, with `stride` floats from row to row; or */
    void *const *pages;      /* pages of ATTN_PAGE positions, rows at pages[i] + offset bytes, one after the other */
    ptrdiff_t offset, stride; /* stride: of F32 pages too */
    enum dtype dt;           /* of pages: F32, BF16, Q8_0 or Q4_0; rows are padded to whole blocks */
};

static inline int attn_row_width(enum dtype dt, int D)
{
    int block = (int)dtype_table[dt].block_values;
    return (D + block - 1) / block * block;
}

static inline size_t attn_row_bytes(enum dtype dt, int D)
{
    return (size_t)attn_row_width(dt, D) / dtype_table[dt].block_values * dtype_table[dt].block_bytes;
}

/* Of F32. */
static inline const float *attn_kv_row(const struct attn_kv *x, int32_t pos)
{
    const float *base = x->pages ? (const float *)(const void *)((const char *)x->pages[pos / ATTN_PAGE] + x->offset)
                                 : x->data + pos / ATTN_PAGE * ATTN_PAGE * x->stride;
    return base + pos % ATTN_PAGE * x->stride;
}

/* Of all others. */
static inline const void *attn_kv_packed(const struct attn_kv *x, int D, int32_t pos)
{
    return (const char *)x->pages[pos / ATTN_PAGE] + x->offset + (size_t)(pos % ATTN_PAGE) * attn_row_bytes(x->dt, D);
}

/* Some queries of one sequence, with all heads that share one kv head. */
struct attn {
    int queries, heads, D;
    const float *q;          /* [queries][heads][D], strides q_stride and D */
    float *out;              /* the same layout */
    ptrdiff_t q_stride;
    const int32_t *spans;    /* [queries][n_spans][2]: half-open, ascending, disjoint; start >= end: empty */
    ptrdiff_t span_stride;   /* int32s from query to query */
    int n_spans;
    int32_t keys;            /* spans are cut to [0, keys) */
    struct attn_kv k, v;
    float scale, softcap;    /* softcap 0: none */
    const float *bias;       /* of query i, head h, key j: bias[i * bias_query + h * bias_head + j]; NULL: none; no softcap then */
    ptrdiff_t bias_query, bias_head;
    const float *sinks;      /* [heads]; NULL: none */
};

struct attn_grad {
    struct attn a;           /* k and v contiguous; out is not used */
    const float *dout;       /* as q */
    float *dq;               /* as q */
    float *dk, *dv;          /* as k.data and v.data; written */
    float *dbias;            /* as a.bias, added to; NULL with it */
    float *dsinks;           /* as a.sinks, added to; NULL with it */
};

/* Scratch of one thread, 64-byte aligned, whatever the number of keys. */
size_t attn_scratch_bytes(int D);
size_t attn_grad_scratch_bytes(int D);

#endif
