/* Attention tile by tile, written once on the sixteen lanes of a vec_*.h and compiled by every
 * instruction set; the contract is attention.h. Rows lie in the lanes, so that no sum crosses lanes and
 * every chain is a row's own. The including file brings masks (v_between, v_fma_if, ...), a transpose
 * and how many registers there are: ATTN_NQ vectors of lanes by ATTN_KEYS keys make a score tile,
 * as many dimensions a result tile, ATTN_ROWS keys by 2 vectors a tile of key gradients. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_ATTENTION_TMPL_H
#define KERNELS_ATTENTION_TMPL_H
#include <string.h>
#include "kernels/attention_tile.h"
#include "kernels/kernels.h"
#include "kernels/vecmath.h"

#define UNROLL _Pragma("GCC unroll 16")
#define ATTN_STEP static inline __attribute__((always_inline))

static int attn_min(int a, int b) { return a < b ? a : b; }
static int attn_max(int a, int b) { return a > b ? a : b; }

/* ---- a tile: which rows, which keys ---- */

static float *attn_take(char **at, size_t floats)
{
    float *p = (float *)*at;
    *at += (floats * sizeof(float) + 63) & ~(size_t)63;
    return p;
}

static void tile_memory(struct attn_tile *t, void *scratch, bool grad)
{
    char *at = scratch;
    t->fetched = 0;
    t->width = (t->a->D + VEC - 1) / VEC * VEC;
    size_t slots = ATTN_SLOTS * ATTN_LANES, rows = (size_t)t->width * ATTN_LANES;
    t->mask = (uint16_t *)attn_take(&at, ATTN_SLOTS * 2);
    t->p = attn_take(&at, slots);
    t->qt = attn_take(&at, rows);
    t->ot = attn_take(&at, rows);
    t->rows = attn_take(&at, ATTN_MIX * (size_t)attn_row_width(DT_Q8_0, t->a->D));
    if (!grad)
        return;
    t->dp = attn_take(&at, slots);
    t->slope = attn_take(&at, slots);
    t->dot = attn_take(&at, rows);
    t->q = attn_take(&at, rows);
    t->dout = attn_take(&at, rows);
}

/* Ask for rows that will be read soon. They lie apart, one head of many, which no hardware prefetcher
 * follows: a fifth of the time of a vision tower's attention when left out. */
static void rows_fetch(const float *x, ptrdiff_t stride, int rows, int floats)
{
    for (int i = 0; i < rows; i++, x += stride)
        for (int d = 0; d < floats; d += 16)
            __builtin_prefetch(x + d, 0, 2);
}

static void kv_fetch(const struct attn_kv *x, int D, int32_t pos, int n)
{
    if (x->dt == DT_F32)
        rows_fetch(attn_kv_row(x, pos), x->stride, n, D);
    else /* without gaps */
        rows_fetch(attn_kv_packed(x, D, pos), 0, 1, (int)((size_t)n * attn_row_bytes(x->dt, D) / sizeof(float)));
}

/* The queries of the next tile, out of x. */
static void tile_fetch(const struct attn_tile *t, const float *x)
{
    const struct attn *a = t->a;
    int from = (t->first + t->n) / a->heads, more = attn_min(a->queries - from, ATTN_LANES / a->heads + 1);
    rows_fetch(x + from * a->q_stride, a->q_stride, more, a->heads * a->D);
}

/* Where the rows lie, and their spans, cut to the keys. Lanes beyond the last row repeat it. */
static void tile_rows(struct attn_tile *t)
{
    const struct attn *a = t->a;
    int query = t->first / a->heads, head = t->first % a->heads;
    memset(t->lo, 0, sizeof(t->lo));
    memset(t->hi, 0, sizeof(t->hi));
    for (int r = 0; r < t->ld; r++) {
        const int32_t *span = a->spans + query * a->span_stride;
        t->row[r] = query * a->q_stride + (ptrdiff_t)head * a->D;
        t->bias[r] = query * a->bias_query + head * a->bias_head;
        for (int s = 0; s < a->n_spans; s++) {
            t->lo[s][r] = attn_max(span[2 * s], 0);
            t->hi[s][r] = attn_min(span[2 * s + 1], a->keys);
        }
        if (r < t->n - 1 && ++head == a->heads) {
            head = 0;
            query++;
        }
    }
}

/* Put [lo, hi) among the ranges, which stay sorted and apart. */
static void range_add(struct attn_tile *t, int32_t lo, int32_t hi)
{
    int i = t->n_ranges, end;
    while (i > 0 && t->range[i - 1][1] >= lo)
        i--;
    for (end = i; end < t->n_ranges && t->range[end][0] <= hi; end++) {
        lo = attn_min(lo, t->range[end][0]);
        hi = attn_max(hi, t->range[end][1]);
    }
    memmove(t->range[i + 1], t->range[end], (size_t)(t->n_ranges - end) * sizeof(t->range[0]));
    t->range[i][0] = lo;
    t->range[i][1] = hi;
    t->n_ranges += 1 - (end - i);
}

static void tile_ranges(struct attn_tile *t)
{
    t->n_ranges = 0;
    for (int r = 0; r < t->n; r++)
        for (int s = 0; s < t->a->n_spans; s++)
            if (t->lo[s][r] < t->hi[s][r] &&
                (r == 0 || t->lo[s][r] != t->lo[s][r - 1] || t->hi[s][r] != t->hi[s][r - 1]))
                range_add(t, t->lo[s][r], t->hi[s][r]);
}

/* Lanes that attend to every key of [pos, end), as far as one span tells. */
static unsigned lanes_all(const struct attn_tile *t, int v, int32_t pos, int32_t end)
{
    unsigned all = 0;
    for (int s = 0; s < t->a->n_spans; s++)
        all |= v_covers(t->lo[s] + v * VEC, t->hi[s] + v * VEC, pos, end);
    return all;
}

static void piece_masks(struct attn_tile *t, struct attn_piece *p)
{
    uint16_t *m = t->mask + p->slot * 2;
    p->full = true;
    for (int v = 0; v < t->nq; v++)
        p->full &= lanes_all(t, v, p->pos, p->pos + p->n) == 0xffff;
    if (p->full) {
        memset(m, 0xff, (size_t)p->n * 2 * sizeof(*m));
        return;
    }
    for (int j = 0; j < p->n; j++)
        for (int v = 0; v < t->nq; v++)
            m[2 * j + v] = (uint16_t)lanes_all(t, v, p->pos + j, p->pos + j + 1);
}

static void piece_fetch(struct attn_tile *t, const struct attn_piece *p)
{
    const struct attn *a = t->a;
    if (p->pos + p->n <= t->fetched)
        return;
    kv_fetch(&a->k, a->D, p->pos, p->n);
    kv_fetch(&a->v, a->D, p->pos, p->n);
    t->fetched = p->pos + p->n;
}

/* Fill the slots with the keys from `at` on; false when there are none. */
static bool tile_next(struct attn_tile *t, struct attn_place *at)
{
    t->n_slots = t->n_pieces = 0;
    while (at->range < t->n_ranges && t->n_pieces < ATTN_PIECES && t->n_slots < ATTN_SLOTS) {
        const int32_t *range = t->range[at->range];
        int32_t pos = attn_max(at->pos, range[0]);
        int32_t end = attn_min(range[1], (pos / ATTN_PAGE + 1) * ATTN_PAGE);
        struct attn_piece *p = &t->piece[t->n_pieces++];
        *p = (struct attn_piece){.pos = pos, .n = attn_min(end - pos, ATTN_SLOTS - t->n_slots), .slot = t->n_slots};
        t->n_slots += p->n;
        piece_fetch(t, p);
        piece_masks(t, p);
        at->pos = pos + p->n;
        if (at->pos == range[1])
            at->range++;
    }
    return t->n_slots > 0;
}

/* ---- rows in and out ---- */

/* by_dim[d][lane] = f * row, by_lane[lane][width] the same (NULL: not wanted). Other lanes get zeros. */
static void rows_in(const struct attn_tile *t, const float *x, float f, float *by_dim, float *by_lane)
{
    int D = t->a->D;
    for (int r0 = 0; r0 < t->ld; r0 += VEC)
        for (int d = 0; d < t->width; d += VEC) {
            vec v[VEC];
            for (int i = 0; i < VEC; i++) {
                v[i] = r0 + i < t->n ? v_mul(v_load(x + t->row[r0 + i] + d, attn_min(VEC, D - d)), v_set(f)) : v_set(0);
                if (by_lane)
                    v_store(by_lane + (r0 + i) * t->width + d, VEC, v[i]);
            }
            v_transpose(v);
            for (int i = 0; i < VEC; i++)
                v_store(by_dim + (d + i) * t->ld + r0, VEC, v[i]);
        }
}

/* Rows out of results by dimension, times the lanes' factors. */
static void rows_out(const struct attn_tile *t, const float *by_dim, const float *factor, float *out)
{
    int D = t->a->D;
    for (int r0 = 0; r0 < t->n; r0 += VEC)
        for (int d = 0; d < t->width; d += VEC) {
            vec v[VEC], f = v_load(factor + r0, VEC);
            for (int i = 0; i < VEC; i++)
                v[i] = v_mul(v_load(by_dim + (d + i) * t->ld + r0, VEC), f);
            v_transpose(v);
            for (int i = 0; i < VEC && r0 + i < t->n; i++)
                v_store(out + t->row[r0 + i] + d, attn_min(VEC, D - d), v[i]);
        }
}

/* ---- packed rows: of exact products, so that every instruction set gives the decoder's bits ---- */

static void unpack_BF16(const uint8_t *restrict b, float *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, b + 2 * i, sizeof h);
        y[i] = dtype_bf16_to_f32(h);
    }
}

/* The scale at a block's begin. */
static float unpack_scale(const uint8_t *b)
{
    uint16_t h;
    memcpy(&h, b, sizeof h);
    return v_half(h);
}

static void unpack_Q8_0(const uint8_t *restrict b, float *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i += 32, b += 34, y += 32) {
        float d = unpack_scale(b);
        for (int k = 0; k < 32; k++)
            y[k] = (float)(int8_t)b[2 + k] * d;
    }
}

static void unpack_Q4_0(const uint8_t *restrict b, float *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i += 32, b += 18, y += 32) {
        float d = unpack_scale(b);
        for (int k = 0; k < 16; k++)
            y[k] = (float)((b[2 + k] & 15) - 8) * d;
        for (int k = 0; k < 16; k++)
            y[16 + k] = (float)((b[2 + k] >> 4) - 8) * d;
    }
}

typedef void unpack_fn(const uint8_t *restrict b, float *restrict y, size_t n);
static unpack_fn *const unpack_by[DT_COUNT] = {[DT_BF16] = unpack_BF16, [DT_Q8_0] = unpack_Q8_0, [DT_Q4_0] = unpack_Q4_0};

/* Rows of floats, `stride` apart. */
struct attn_rows { const float *at; ptrdiff_t stride; };

/* The rows of a piece: where they lie, or unpacked into `to`. */
static struct attn_rows piece_rows(const struct attn_piece *p, const struct attn_kv *x, int D, float *to)
{
    if (x->dt == DT_F32)
        return (struct attn_rows){attn_kv_row(x, p->pos), x->stride};
    int width = attn_row_width(x->dt, D);
    unpack_by[x->dt](attn_kv_packed(x, D, p->pos), to, (size_t)p->n * (size_t)width);
    return (struct attn_rows){to, width};
}

/* ---- products ---- */

typedef vec wide_vec;
typedef vmask wide_mask;
VEC_FN vec wide_set(float x) { return v_set(x); }
VEC_FN vec wide_load(const float *p) { return v_load(p, VEC); }
VEC_FN void wide_store(float *p, vec x) { v_store(p, VEC, x); }
VEC_FN vec wide_fma(vec x, vec y, vec z) { return v_fma(x, y, z); }
VEC_FN vmask wide_mask_of(unsigned bits) { return v_mask(bits); }
VEC_FN vec wide_fma_if(vmask m, vec x, vec y, vec z) { return v_fma_if(m, x, y, z); }

/* CASES(n, F): F(1) ... F(8) by a count that is only known here. */
#define CASE(n, F) case n: F(n); break;
#define CASES(n, F) switch (n) { CASE(1, F) CASE(2, F) CASE(3, F) CASE(4, F) CASE(5, F) CASE(6, F) CASE(7, F) CASE(8, F) }

#define ATTN_W wide
#define ATTN_J ATTN_KEYS
#include "kernels/attention_mix_tmpl.h"
#undef ATTN_W
#undef ATTN_J
#define ATTN_W half
#define ATTN_J 8
#include "kernels/attention_mix_tmpl.h"
#undef ATTN_W
#undef ATTN_J

/* Few rows: the upper eight lanes stay zero, nobody reads them. */
static bool tile_half(const struct attn_tile *t)
{
    return t->n <= VEC / 2;
}

/* out[slot][lane] = products of the rows in qt with the slots' rows of x */
static void tile_products(const struct attn_tile *t, const float *qt, const struct attn_kv *x, float *out)
{
    for (int i = 0; i < t->n_pieces; i++) {
        struct attn_rows rows = piece_rows(&t->piece[i], x, t->a->D, t->rows);
        for (int v = 0; v < t->nq;)
            v += (tile_half(t) ? half_score : wide_score)(t, &t->piece[i], v, qt, &rows, out);
    }
}

/* ot = (begin ? 0 : ot) + the slots' rows of x times their weights */
static void tile_mix(const struct attn_tile *t, const float *w, const struct attn_kv *x, bool begin)
{
    struct attn_mix m = {.t = t, .w = w, .begin = begin, .to = 0};
    do {
        m.from = m.to;
        for (int n = 0; m.to < t->n_pieces && n + t->piece[m.to].n <= ATTN_MIX; n += t->piece[m.to++].n)
            m.rows[m.to - m.from] = piece_rows(&t->piece[m.to], x, t->a->D, t->rows + n * attn_row_width(x->dt, t->a->D));
        for (m.v = 0; m.v < t->nq;)
            m.v += (tile_half(t) ? half_mix : wide_mix)(&m);
        m.begin = false;
    } while (m.to < t->n_pieces);
}

/* ---- softmax, down the lanes ---- */

/* Scores += the lanes' bias of their keys, sixteen by sixteen. */
static void tile_bias(const struct attn_tile *t)
{
    for (const struct attn_piece *p = t->piece; p < t->piece + t->n_pieces; p++)
        for (int r0 = 0; r0 < t->ld; r0 += VEC)
            for (int j = 0; j < p->n; j += VEC) {
                vec v[VEC];
                int n = attn_min(VEC, p->n - j);
                for (int i = 0; i < VEC; i++)
                    v[i] = v_load(t->a->bias + t->bias[r0 + i] + p->pos + j, n);
                v_transpose(v);
                for (int i = 0; i < n; i++) {
                    float *s = t->p + (p->slot + j + i) * t->ld + r0;
                    v_store(s, VEC, v_add(v_load(s, VEC), v[i]));
                }
            }
}

static void tile_scores(const struct attn_tile *t)
{
    float cap = t->a->softcap;
    tile_products(t, t->qt, &t->a->k, t->p);
    if (cap != 0)
        for (float *s = t->p; s < t->p + t->n_slots * t->ld; s += VEC)
            v_store(s, VEC, v_mul(v_set(cap), v_tanh(v_mul(v_load(s, VEC), v_set(1.0f / cap)))));
    if (t->a->bias)
        tile_bias(t);
}

static void tile_max(struct attn_tile *t)
{
    for (int v = 0; v < t->nq; v++) {
        vec m = v_load(t->max + v * VEC, VEC);
        const float *s = t->p + v * VEC;
        for (int j = 0; j < t->n_slots; j++, s += t->ld)
            m = v_max_if(v_mask(t->mask[2 * j + v]), v_load(s, VEC), m);
        v_store(t->max + v * VEC, VEC, m);
    }
}

/* Scores become exp(s - max), zero where a lane does not attend; added to sum when `add`. */
static void tile_exp(struct attn_tile *t, bool add)
{
    for (int v = 0; v < t->nq; v++) {
        vec m = v_load(t->max + v * VEC, VEC), sum = v_load(t->sum + v * VEC, VEC);
        float *s = t->p + v * VEC;
        for (int j = 0; j < t->n_slots; j++, s += t->ld) {
            vec p = v_keep(v_mask(t->mask[2 * j + v]), v_exp(v_sub(v_load(s, VEC), m)));
            sum = v_add(sum, p);
            v_store(s, VEC, p);
        }
        if (add)
            v_store(t->sum + v * VEC, VEC, sum);
    }
}

static void tile_inverse(struct attn_tile *t)
{
    for (int v = 0; v < t->nq; v++) {
        unsigned any = 0;
        for (int s = 0; s < t->a->n_spans; s++)
            any |= v_nonempty(t->lo[s] + v * VEC, t->hi[s] + v * VEC);
        vec inv = v_div(v_set(1.0f), v_load(t->sum + v * VEC, VEC));
        v_store(t->inv + v * VEC, VEC, v_keep(v_mask(any), inv));
    }
}

/* Lanes for `left` more rows of the job, from row `first` on; queries in. */
static void tile_begin(struct attn_tile *t, int first, int left)
{
    t->first = first;
    t->n = attn_min(left, ATTN_LANES);
    t->nq = t->n > VEC ? 2 : 1;
    t->ld = t->nq * VEC;
    tile_rows(t);
    tile_ranges(t);
    for (int i = 0; i < ATTN_LANES; i++) {
        t->sink[i] = t->a->sinks ? t->a->sinks[(first + attn_min(i, t->n - 1)) % t->a->heads] : -INFINITY;
        t->max[i] = t->sink[i];
        t->sum[i] = t->delta[i] = 0;
    }
    tile_fetch(t, t->a->q);
    rows_in(t, t->a->q, t->a->scale, t->qt, t->q);
}

/* Maxima over all keys. True when they are all in hand with their scores: the common case. */
static bool tile_maxima(struct attn_tile *t)
{
    struct attn_place at = {0};
    while (tile_next(t, &at)) {
        tile_scores(t);
        tile_max(t);
        if (at.range == t->n_ranges && t->piece[0].pos == t->range[0][0])
            return true;
    }
    return t->n_ranges == 0;
}

/* What the sums begin with. */
static void tile_sinks(struct attn_tile *t)
{
    for (int v = 0; t->a->sinks && v < t->nq; v++)
        v_store(t->sum + v * VEC, VEC, v_exp(v_sub(v_load(t->sink + v * VEC, VEC), v_load(t->max + v * VEC, VEC))));
}

static void tile_forward(struct attn_tile *t)
{
    bool whole = tile_maxima(t);
    tile_sinks(t);
    if (whole) {
        tile_exp(t, true);
        tile_mix(t, t->p, &t->a->v, true);
    } else {
        bool begin = true;
        for (struct attn_place at = {0}; tile_next(t, &at); begin = false) {
            tile_scores(t);
            tile_exp(t, true);
            tile_mix(t, t->p, &t->a->v, begin);
        }
    }
    tile_inverse(t);
    rows_out(t, t->ot, t->inv, t->a->out);
}

static void attention_tiles(const struct attn *a, void *scratch)
{
    struct attn_tile t;
    t.a = a;
    t.q = NULL;
    tile_memory(&t, scratch, false);
    for (int first = 0, rows = a->queries * a->heads; first < rows; first += t.n) {
        tile_begin(&t, first, rows - first);
        tile_forward(&t);
    }
}

/* ---- backward ---- */

/* p = P, dp = dP, slope = the soft cap's; delta goes on when `add`. Scores' exponentials are in p. */
static void tile_dp(struct attn_tile *t, bool add)
{
    tile_products(t, t->dot, &t->a->v, t->dp);
    for (int v = 0; v < t->nq; v++) {
        vec inv = v_load(t->inv + v * VEC, VEC), delta = v_load(t->delta + v * VEC, VEC);
        for (int j = 0; j < t->n_slots; j++) {
            float *p = t->p + j * t->ld + v * VEC, *dp = t->dp + j * t->ld + v * VEC;
            vec P = v_mul(v_load(p, VEC), inv);
            delta = v_fma_if(v_mask(t->mask[2 * j + v]), P, v_load(dp, VEC), delta);
            v_store(p, VEC, P);
        }
        if (add)
            v_store(t->delta + v * VEC, VEC, delta);
    }
}

static void tile_slopes(const struct attn_tile *t)
{
    float cap = t->a->softcap;
    for (int i = 0; cap != 0 && i < t->n_slots * t->ld; i += VEC) {
        vec x = v_mul(v_load(t->p + i, VEC), v_set(1.0f / cap));
        v_store(t->slope + i, VEC, v_fma(v_neg(x), x, v_set(1.0f)));
    }
}

static void tile_ds(const struct attn_tile *t)
{
    bool cap = t->a->softcap != 0;
    for (int v = 0; v < t->nq; v++) {
        vec delta = v_load(t->delta + v * VEC, VEC);
        for (int j = 0; j < t->n_slots; j++) {
            int i = j * t->ld + v * VEC;
            vec ds = v_mul(v_load(t->p + i, VEC), v_sub(v_load(t->dp + i, VEC), delta));
            ds = cap ? v_mul(ds, v_load(t->slope + i, VEC)) : ds;
            v_store(t->dp + i, VEC, v_keep(v_mask(t->mask[2 * j + v]), ds));
        }
    }
}

/* dbias += dS, the way back of tile_bias. Lanes that do not attend add zero. */
static void tile_dbias(const struct attn_tile *t, float *dbias)
{
    for (const struct attn_piece *p = t->piece; p < t->piece + t->n_pieces; p++)
        for (int r0 = 0; r0 < t->n; r0 += VEC)
            for (int j = 0; j < p->n; j += VEC) {
                vec v[VEC];
                int n = attn_min(VEC, p->n - j);
                for (int i = 0; i < VEC; i++)
                    v[i] = i < n ? v_load(t->dp + (p->slot + j + i) * t->ld + r0, VEC) : v_set(0);
                v_transpose(v);
                for (int i = 0; i < VEC && r0 + i < t->n; i++) {
                    float *to = dbias + t->bias[r0 + i] + p->pos + j;
                    v_store(to, n, v_add(v_load(to, n), v[i]));
                }
            }
}

/* rows[j][c] += chain over the lanes r of w[j][r] * x[r][c], nk keys, `cols` of up to nv vectors */
ATTN_STEP void spread_keys(const int nk, const int nv, const struct attn_tile *t, const float *w, const float *x, float *rows,
                           ptrdiff_t stride, int cols)
{
    vec acc[ATTN_ROWS][2];
    UNROLL for (int j = 0; j < nk; j++)
        UNROLL for (int c = 0; c < nv; c++)
            acc[j][c] = v_load(rows + j * stride + c * VEC, attn_min(VEC, cols - c * VEC));
    for (int r = 0; r < t->n; r++) {
        vec xr[2];
        UNROLL for (int c = 0; c < nv; c++)
            xr[c] = v_load(x + r * t->width + c * VEC, VEC);
        UNROLL for (int j = 0; j < nk; j++) {
            vec b = v_set(w[j * t->ld + r]);
            UNROLL for (int c = 0; c < nv; c++)
                acc[j][c] = v_fma(b, xr[c], acc[j][c]);
        }
    }
    UNROLL for (int j = 0; j < nk; j++)
        UNROLL for (int c = 0; c < nv; c++)
            v_store(rows + j * stride + c * VEC, attn_min(VEC, cols - c * VEC), v_add(acc[j][c], v_set(0)));
}

ATTN_STEP void spread_run(const int nv, const struct attn_tile *t, int n, const float *w, const float *x, float *rows,
                          ptrdiff_t stride, int cols)
{
    for (; n >= ATTN_ROWS; n -= ATTN_ROWS, w += ATTN_ROWS * t->ld, rows += ATTN_ROWS * stride)
        spread_keys(ATTN_ROWS, nv, t, w, x, rows, stride, cols);
#define SPREAD(nk) if (nk < ATTN_ROWS) spread_keys(nk, nv, t, w, x, rows, stride, cols)
    CASES(n, SPREAD)
#undef SPREAD
}

/* rows of the keys in the slots += w^T x */
static void tile_spread(const struct attn_tile *t, const float *w, const float *x, float *rows, ptrdiff_t stride)
{
    int D = t->a->D;
    for (const struct attn_piece *p = t->piece; p < t->piece + t->n_pieces; p++) {
        float *to = rows + p->pos * stride;
        const float *from = w + p->slot * t->ld;
        int d = 0;
        for (; D - d >= 2 * VEC; d += 2 * VEC)
            spread_run(2, t, p->n, from, x + d, to + d, stride, 2 * VEC);
        for (; d < D; d += VEC)
            spread_run(1, t, p->n, from, x + d, to + d, stride, D - d);
    }
}

/* From scores in hand to P and dP. */
static void tile_probabilities(struct attn_tile *t, bool add)
{
    tile_slopes(t);
    tile_exp(t, false);
    tile_dp(t, add);
}

static void tile_contribute(const struct attn_tile *t, const struct attn_grad *g, bool begin)
{
    tile_ds(t);
    if (g->dbias)
        tile_dbias(t, g->dbias);
    tile_mix(t, t->dp, &g->a.k, begin);
    tile_spread(t, t->dp, t->q, g->dk, g->a.k.stride);
    tile_spread(t, t->p, t->dout, g->dv, g->a.v.stride);
}

/* The sinks' gradient, row by row. */
static void tile_dsinks(const struct attn_tile *t, float *dsinks)
{
    float p[ATTN_LANES];
    for (int v = 0; v < t->nq; v++) {
        vec e = v_exp(v_sub(v_load(t->sink + v * VEC, VEC), v_load(t->max + v * VEC, VEC)));
        v_store(p + v * VEC, VEC, v_mul(v_mul(e, v_load(t->inv + v * VEC, VEC)), v_load(t->delta + v * VEC, VEC)));
    }
    for (int r = 0; r < t->n; r++)
        dsinks[(t->first + r) % t->a->heads] -= p[r];
}

/* The passes, when not all keys fit the slots: sums, then deltas, then gradients. */
static void tile_backward_long(struct attn_tile *t, const struct attn_grad *g)
{
    struct attn_place at = {0};
    while (tile_next(t, &at)) {
        tile_scores(t);
        tile_exp(t, true);
    }
    tile_inverse(t);
    for (at = (struct attn_place){0}; tile_next(t, &at);) {
        tile_scores(t);
        tile_probabilities(t, true);
    }
    bool begin = true;
    for (at = (struct attn_place){0}; tile_next(t, &at); begin = false) {
        tile_scores(t);
        tile_probabilities(t, false);
        tile_contribute(t, g, begin);
    }
}

static void tile_backward(struct attn_tile *t, const struct attn_grad *g)
{
    tile_fetch(t, g->dout);
    rows_in(t, g->dout, 1.0f, t->dot, t->dout);
    bool whole = tile_maxima(t);
    tile_sinks(t);
    if (whole) {
        tile_slopes(t);
        tile_exp(t, true);
        tile_inverse(t);
        tile_dp(t, true);
        tile_contribute(t, g, true);
    } else {
        tile_backward_long(t, g);
    }
    if (g->dsinks)
        tile_dsinks(t, g->dsinks);
    float scale[ATTN_LANES];
    for (int i = 0; i < ATTN_LANES; i++)
        scale[i] = t->a->scale;
    rows_out(t, t->ot, scale, g->dq);
}

static void rows_clear(float *x, ptrdiff_t stride, int32_t rows, int D)
{
    for (int32_t j = 0; j < rows; j++, x += stride)
        for (int d = 0; d < D; d += VEC)
            v_store(x + d, attn_min(VEC, D - d), v_set(0));
}

static void attention_grad_tiles(const struct attn_grad *g, void *scratch)
{
    struct attn_tile t;
    const struct attn *a = &g->a;
    t.a = a;
    tile_memory(&t, scratch, true);
    rows_clear(g->dk, a->k.stride, a->keys, a->D);
    rows_clear(g->dv, a->v.stride, a->keys, a->D);
    for (int first = 0, rows = a->queries * a->heads; first < rows; first += t.n) {
        tile_begin(&t, first, rows - first);
        tile_backward(&t, g);
    }
}

#endif
