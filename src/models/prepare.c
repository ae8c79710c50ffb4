/* Weights made ready: float32 masters for learning, packed panels for the kernels. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/available.h"
#include "base/err.h"
#include "models/model.h"

int model_make_trainable(struct model *m, bool (*learns)(const struct g_param *p, void *arg), void *arg)
{
    for (int i = 0; i < m->n_params; i++) {
        struct g_param *p = m->params[i];
        size_t n;
        p->trainable = !p->statistic && (!learns || learns(p, arg));
        p->packed[0] = p->packed[1] = NULL;
        p->grad = NULL;
        if (!p->trainable)
            continue; /* as it lies in its file */
        TRY(shape_count(&p->shape, &n));
        float *master = arena_array(&m->arena, n, sizeof *master);
        if (!master)
            return NUN_ENOMEM;
        TRY(dtype_to_f32(p->dt, p->data, master, n));
        p->dt = DT_F32;
        p->data = master;
        if (!(p->grad = arena_array(&m->arena, n, sizeof *p->grad)))
            return NUN_ENOMEM;
    }
    return 0;
}

/* floats: for rows on their way from other formats, PANEL rows of the widest for each thread. */
struct packing { struct model *m; enum gemm_format format; bool backward, changed; struct pool *pool; float *floats; size_t widest; };
enum { PANEL = 16 }; /* rows of a weight in one panel: gemm.h */

/* Of one matrix of p; a stack has several. */
static int weight_rows(const struct g_param *p) { return (int)p->shape.d[p->stacked]; }
static size_t matrices(const struct g_param *p) { return p->stacked ? (size_t)p->shape.d[0] : 1; }

static int weight_cols(const struct g_param *p)
{
    int K = 1;
    for (int d = 1 + p->stacked; d < p->shape.n; d++)
        K *= (int)p->shape.d[d];
    return K;
}

static bool packs_directly(const struct g_param *p) { return p->dt == DT_F32 || p->dt == DT_BF16; }

/* Linear weights: two dimensions, or a patch embedding; [N, K] as stored. Tables that are only looked up are left. */
static bool is_linear(const struct model *m, const struct g_param *p)
{
    bool table = p == m->text.w[NN_embed_w] && m->text.w[NN_lm_head_w] != p;
    return p->shape.n >= 2 && !table && p != m->text.w[NN_pos_w] && p != m->vision.w[NN_pos_w] &&
           p != m->vision.w[NN_pool_probe] && weight_cols(p) % (int)dtype_table[p->dt].block_values == 0;
}

/* Quantised and F16 rows become floats a panel at a time. */
static void pack_decoded(const struct packing *k, const struct g_param *p, int ith, int nth)
{
    const struct dtype_info *d = &dtype_table[p->dt];
    int N = weight_rows(p), K = weight_cols(p);
    size_t lo, hi, row_bytes = (size_t)K / d->block_values * d->block_bytes, panel_bytes = gemm_b_bytes(p->packed_format, K, PANEL);
    size_t each = (size_t)(N + PANEL - 1) / PANEL; /* panels of a matrix */
    float *rows = k->floats + (size_t)ith * PANEL * k->widest;
    struct par alone = {0, 1, NULL};
    pool_share(matrices(p) * each, 1, ith, nth, &lo, &hi);
    for (size_t panel = lo; panel < hi; panel++) {
        size_t first = panel % each * PANEL, row = panel / each * (size_t)N + first;
        int n = N - (int)first < PANEL ? N - (int)first : PANEL;
        d->decode((const char *)p->data + row * row_bytes, rows, (size_t)n * (size_t)K);
        gemm_pack_b(p->packed_format, K, n, rows, false, K, true, (char *)(uintptr_t)p->packed[0] + panel * panel_bytes, &alone);
    }
}

/* Panels of every matrix of p, for x W^T (side 0) or dy W. */
static void pack_side(const struct g_param *p, int side, const struct par *par)
{
    enum gemm_format format = p->packed_format;
    int N = weight_rows(p), K = weight_cols(p);
    size_t bytes = (size_t)N * (size_t)K * dtype_table[p->dt].block_bytes;
    size_t panels = gemm_b_bytes(format, side ? N : K, side ? K : N);
    for (size_t i = 0; i < matrices(p) && p->packed[side]; i++)
        gemm_pack_b(format, side ? N : K, side ? K : N, (const char *)p->data + i * bytes, p->dt == DT_BF16, K, !side,
                    (char *)(uintptr_t)p->packed[side] + i * panels, par);
}

static void pack_all(void *arg, int ith, int nth)
{
    const struct packing *k = arg;
    struct par par = {ith, nth, k->pool};
    for (int i = 0; i < k->m->n_params; i++) {
        struct g_param *p = k->m->params[i];
        if (k->changed && !p->trainable)
            continue;
        if (p->packed[0] && !packs_directly(p)) {
            pack_decoded(k, p, ith, nth);
            continue;
        }
        for (int side = 0; side < 2; side++)
            pack_side(p, side, &par);
    }
}

/* Bytes of p's panels of one side; 0 where that side is not wanted. A quantised weight that goes backward is decoded
 * where it is needed. */
static size_t side_bytes(const struct g_param *p, enum gemm_format format, bool backward, int side)
{
    int N = weight_rows(p), K = weight_cols(p);
    bool wanted = side ? (backward || p->reversed) && packs_directly(p) : backward || !p->reversed;
    return wanted ? matrices(p) * gemm_b_bytes(format, side ? N : K, side ? K : N) : 0;
}

static int reserve(struct model *m, struct g_param *p, enum gemm_format format, bool backward)
{
    format = p->exact ? GEMM_F32 : format;
    if (p->packed_format != format)
        p->packed[0] = p->packed[1] = NULL;
    p->packed_format = format;
    for (int side = 0; side < 2; side++) {
        size_t bytes = side_bytes(p, format, backward, side);
        if (bytes && !p->packed[side] && !(p->packed[side] = arena_alloc(&m->arena, bytes)))
            return NUN_ENOMEM;
    }
    return 0;
}

/* Of all panels, or of those that are not there yet. */
static size_t panel_bytes(const struct model *m, enum gemm_format format, bool backward, bool missing)
{
    size_t n = 0;
    for (int i = 0; i < m->n_params; i++) {
        const struct g_param *p = m->params[i];
        enum gemm_format own = p->exact ? GEMM_F32 : format;
        for (int side = 0; side < 2 && is_linear(m, p); side++)
            n += missing && p->packed[side] && p->packed_format == own ? 0 : side_bytes(p, own, backward, side);
    }
    return n;
}

size_t model_panel_bytes(const struct model *m, enum gemm_format format)
{
    return panel_bytes(m, format, false, false);
}

/* Panels are as large as the model in their format, whatever the file's: better said before than by the kernel. */
static int check_memory(const struct model *m, enum gemm_format format, bool backward)
{
    size_t need = panel_bytes(m, format, backward, true), free_bytes = memory_available();
    if (need <= free_bytes)
        return 0;
    return err_set(NUN_ELIMIT, "%s: the weights as the kernels read them take %zu MB, %zu MB of memory are free",
                   m->folder ? m->folder : "model", need >> 20, free_bytes >> 20);
}

static int pack(struct model *m, enum gemm_format format, bool backward, bool changed, struct pool *pool)
{
    struct packing k = {m, format, backward, changed, pool, NULL, 0};
    int nth = pool ? pool_threads(pool) : 1;
    TRY(check_memory(m, format, backward));
    for (int i = 0; i < m->n_params; i++) {
        const struct g_param *p = m->params[i];
        if (!is_linear(m, p))
            continue;
        TRY(reserve(m, m->params[i], format, backward));
        if (!packs_directly(p) && (size_t)weight_cols(p) > k.widest)
            k.widest = (size_t)weight_cols(p);
    }
    if (k.widest && !(k.floats = mem_calloc(MEM_MODEL, (size_t)nth * PANEL * k.widest, sizeof *k.floats)))
        return NUN_ENOMEM;
    if (pool)
        pool_run(pool, pack_all, &k);
    else
        pack_all(&k, 0, 1);
    mem_free(k.floats);
    return 0;
}

int model_pack(struct model *m, enum gemm_format format, bool backward, struct pool *pool)
{
    return pack(m, format, backward, false, pool);
}

int model_pack_learnt(struct model *m, enum gemm_format format, struct pool *pool)
{
    return pack(m, format, true, true, pool);
}
