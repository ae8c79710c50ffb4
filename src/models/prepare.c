/* Weights made ready: float32 masters for learning, packed panels for the kernels. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "models/model.h"

int model_make_trainable(struct model *m, bool (*learns)(const struct g_param *p, void *arg), void *arg)
{
    for (int i = 0; i < m->n_params; i++) {
        struct g_param *p = m->params[i];
        size_t n;
        TRY(shape_count(&p->shape, &n));
        float *master = arena_array(&m->arena, n, sizeof *master);
        if (!master)
            return NUN_ENOMEM;
        TRY(dtype_to_f32(p->dt, p->data, master, n));
        p->dt = DT_F32;
        p->data = master;
        p->trainable = learns ? learns(p, arg) : true;
        p->grad = NULL;
        if (p->trainable && !(p->grad = arena_array(&m->arena, n, sizeof *p->grad)))
            return NUN_ENOMEM;
        p->packed[0] = p->packed[1] = NULL;
    }
    return 0;
}

struct packing { struct model *m; enum gemm_format format; bool backward; struct pool *pool; };

/* Linear weights: two dimensions, or a patch embedding; [N, K] as stored. Tables that are only looked up are left. */
static bool is_linear(const struct model *m, const struct g_param *p)
{
    bool table = p == m->text.w[NN_embed_w] && m->text.w[NN_lm_head_w] != p;
    return p->shape.n >= 2 && !table && p != m->text.w[NN_pos_w] && p != m->vision.w[NN_pos_w] &&
           p != m->vision.w[NN_pool_probe] && (p->dt == DT_F32 || p->dt == DT_BF16);
}

static void pack_all(void *arg, int ith, int nth)
{
    const struct packing *k = arg;
    struct par par = {ith, nth, k->pool};
    for (int i = 0; i < k->m->n_params; i++) {
        struct g_param *p = k->m->params[i];
        if (!p->packed[0])
            continue;
        int N = (int)p->shape.d[0], K = 1;
        for (int d = 1; d < p->shape.n; d++)
            K *= (int)p->shape.d[d];
        bool half = p->dt == DT_BF16;
        gemm_pack_b(k->format, K, N, p->data, half, K, true, (void *)(uintptr_t)p->packed[0], &par);
        if (p->packed[1])
            gemm_pack_b(k->format, N, K, p->data, half, K, false, (void *)(uintptr_t)p->packed[1], &par);
    }
}

static int reserve(struct model *m, struct g_param *p, enum gemm_format format, bool backward)
{
    int N = (int)p->shape.d[0], K = 1;
    for (int d = 1; d < p->shape.n; d++)
        K *= (int)p->shape.d[d];
    if (p->packed[0] && p->packed_format == format && (!backward || p->packed[1]))
        return 0;
    p->packed_format = format;
    if (!(p->packed[0] = arena_alloc(&m->arena, gemm_b_bytes(format, K, N))))
        return NUN_ENOMEM;
    if (backward && !(p->packed[1] = arena_alloc(&m->arena, gemm_b_bytes(format, N, K))))
        return NUN_ENOMEM;
    return 0;
}

int model_pack(struct model *m, enum gemm_format format, bool backward, struct pool *pool)
{
    for (int i = 0; i < m->n_params; i++)
        if (is_linear(m, m->params[i]))
            TRY(reserve(m, m->params[i], format, backward));
    struct packing k = {m, format, backward, pool};
    if (pool)
        pool_run(pool, pack_all, &k);
    else
        pack_all(&k, 0, 1);
    return 0;
}

/* Is p a weight of a text block from `layers` on? */
static bool is_dropped(const struct model *m, const struct g_param *p, int layers)
{
    for (int i = layers; i < m->text.facts.layers; i++)
        for (int r = 0; r < NN_ROLES; r++)
            if (m->text.layer[i][r] == p)
                return true;
    return false;
}

int model_truncate(struct model *m, int layers)
{
    if (layers < 1 || layers > m->text.facts.layers)
        return err_set(NUN_EARG, "model: keep %d of %d text layers", layers, m->text.facts.layers);
    json_t *text = *m->family->text.config ? json_object_get(m->config, m->family->text.config) : m->config;
    if (json_object_set_new(text, "num_hidden_layers", json_integer(layers)))
        return err_nomem(0);
    int kept = 0, pieces = 0;
    for (int i = 0; i < m->n_pieces; i++)
        if (!is_dropped(m, m->pieces[i].p, layers))
            m->pieces[pieces++] = m->pieces[i];
    m->n_pieces = pieces;
    for (int i = 0; i < m->n_params; i++)
        if (!is_dropped(m, m->params[i], layers)) {
            m->params[kept] = m->params[i];
            m->params[kept]->index = kept;
            kept++;
        }
    m->n_params = kept;
    m->text.facts.layers = layers;
    m->n_values = 0;
    for (int i = 0; i < kept; i++) {
        size_t n;
        TRY(shape_count(&m->params[i]->shape, &n));
        m->n_values += n;
    }
    return 0;
}
