/* Byte models: a small model's entropies cut the bytes into patches, local layers make patches of bytes and bytes of
 * patches, and the large stack between them sees patches only. Whole sequences at once; what depends on the data
 * (where patches begin) is done between graphs. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "graph/exec.h"
#include "models/model.h"

enum { PATCHER, BYTES_IN, PATCHES, BYTES_OUT };

/* One call. */
struct job {
    const struct model *m;
    enum gemm_format compute;
    struct pool *pool;
    int threads, n;
    const int32_t *ids;
    struct arena *arena;
    struct model_bytes *out;
    int *first;                  /* [patches + 1]: where each patch begins */
    float *bytes, *patches;      /* [n, hidden], [patches, hidden]: after the layers on the way in */
};

static struct g_tensor *ints(struct graph *g, struct shape shape, int32_t **data)
{
    size_t n = 0;
    struct g_tensor *t = g_const(g, DT_I32, shape, NULL, false);
    *data = t && shape_count(&shape, &n) >= 0 ? arena_array(&g->arena, n, sizeof **data) : NULL;
    if (!*data) {
        g->error = g->error ? g->error : NUN_ENOMEM;
        return NULL;
    }
    t->data = *data;
    return t;
}

static struct g_tensor *floats(struct graph *g, int rows, int columns, const float *data)
{
    return g_const(g, DT_F32, SHAPE2(rows, columns), data, false);
}

/* n rows that each see themselves and those before */
static struct nn_seq causal(struct graph *g, int n)
{
    int32_t *pos, *spans;
    struct nn_seq seq = {.batch = 1, .tokens = n};
    seq.pos = ints(g, SHAPE1(n), &pos);
    seq.spans = ints(g, SHAPE3(1, n, 2), &spans);
    for (int i = 0; i < n && seq.pos && seq.spans; i++) {
        pos[i] = i;
        spans[2 * i + 1] = i + 1;
    }
    return seq;
}

/* Run what `build` makes and copy its result. */
static int compute(const struct job *j, enum gemm_format format, struct g_tensor *(*build)(struct graph *g, const struct job *j),
                   float **out)
{
    struct graph *g;
    struct plan *plan = NULL;
    TRY(graph_create(format, j->threads, &g));
    struct g_tensor *t = build(g, j);
    int rc = graph_error(g);
    if (rc >= 0) {
        g_output(t);
        rc = plan_create(g, &plan);
    }
    if (rc >= 0)
        rc = exec_run(plan, &(struct exec){.pool = j->pool});
    if (rc >= 0 && !(*out = arena_alloc(j->arena, g_bytes(t))))
        rc = NUN_ENOMEM;
    if (rc >= 0)
        memcpy(*out, g_f32(t), g_bytes(t));
    plan_free(plan);
    graph_free(g);
    return rc;
}

/* ---- patches ----------------------------------------------------------------------------------------------- */

static struct g_tensor *build_patcher(struct graph *g, const struct job *j)
{
    const struct nn_stack *s = &j->m->more[PATCHER];
    struct nn_seq seq = causal(g, j->n);
    struct g_tensor *ids = g_const(g, DT_I32, SHAPE1(j->n), j->ids, false);
    struct g_tensor *x = nn_blocks(g, s, nn_tokens(g, s, ids, &seq), &seq, 0, s->facts.layers);
    return nn_logits(g, s, x);
}

static float entropy_of(const float *logits, int n)
{
    double most = logits[0], sum = 0, weighted = 0;
    for (int i = 1; i < n; i++)
        most = logits[i] > most ? logits[i] : most;
    for (int i = 0; i < n; i++) {
        double e = exp(logits[i] - most);
        sum += e;
        weighted += e * (logits[i] - most);
    }
    return (float)(log(sum) - weighted / sum);
}

/* Patches begin at 0, at 1, and two after an entropy (the first one left aside) that is above the threshold; so the
 * last one may begin at the end, empty. With a greatest length, long ones are cut and the empty one is dropped. */
static void cut(const struct job *j)
{
    struct model_bytes *o = j->out;
    const struct family_facts *f = &j->m->facts;
    int n = j->n, begin = 0;
    for (int next = 1; next <= n; next++) {
        bool starts = next == 1 || (next > 1 && next - 1 < n && o->entropy[next - 1] > f->patch_threshold);
        if (!starts || (next == n && n == 1))
            continue;
        o->lengths[o->patches++] = next - begin;
        begin = next;
    }
    o->lengths[o->patches++] = n - begin;
    if (!f->max_patch)
        return;
    int *whole = o->lengths, count = o->patches;
    o->lengths = whole + n + 1; /* the second half of the room */
    o->patches = 0;
    for (int i = 0; i < count; i++)
        for (int left = whole[i]; left > 0; left -= f->max_patch)
            o->lengths[o->patches++] = left < f->max_patch ? left : f->max_patch;
}

static int find_patches(struct job *j)
{
    int vocab = j->m->more[PATCHER].facts.vocab;
    struct model_bytes *o = j->out;
    o->entropy = arena_array(j->arena, (size_t)j->n, sizeof *o->entropy);
    o->lengths = arena_array(j->arena, 2 * (size_t)j->n + 4, sizeof *o->lengths);
    j->first = arena_array(j->arena, (size_t)j->n + 4, sizeof *j->first);
    if (!o->entropy || !o->lengths || !j->first)
        return NUN_ENOMEM;
    TRY(compute(j, GEMM_F32, build_patcher, &o->patcher)); /* always exact: a near tie moves every patch behind it */
    for (int i = 0; i < j->n; i++)
        o->entropy[i] = entropy_of(o->patcher + (size_t)i * (size_t)vocab, vocab);
    cut(j);
    for (int p = 0; p < o->patches; p++)
        j->first[p + 1] = j->first[p] + o->lengths[p];
    return 0;
}

/* ---- bytes in ---------------------------------------------------------------------------------------------- */

/* The row of each byte's group of `size` bytes that ends there: a polynomial in a prime, as wrapping 64-bit numbers,
 * modulo the table. */
static void hash_rows(const struct job *j, int function, int size, int table, int32_t *rows)
{
    static const uint64_t primes[] = {1000000007, 5915587277, 1500450271, 3267000013, 5754853343, 4093082899,
                                      9576890767, 3628273133, 2860486313, 5463458053, 3367900313};
    int64_t count = j->m->facts.hash_rows;
    for (int i = 0; i < j->n; i++) {
        uint64_t sum = 0, power = 1;
        for (int k = 0; k < size; k++, power *= primes[function]) {
            int at = i - size + 1 + k;
            sum += (at < 0 ? 0 : (uint64_t)j->ids[at]) * power;
        }
        int64_t rest = (int64_t)sum % count;
        rows[i] = (int32_t)((rest < 0 ? rest + count : rest) + table * count);
    }
}

static struct g_tensor *build_bytes(struct graph *g, const struct job *j)
{
    const struct model *m = j->m;
    const struct nn_stack *s = &m->more[BYTES_IN];
    struct nn_seq seq = causal(g, j->n);
    struct g_tensor *x = nn_tokens(g, s, g_const(g, DT_I32, SHAPE1(j->n), j->ids, false), &seq);
    for (int i = 0; i < m->facts.hash_functions * m->facts.n_hash_sizes; i++) {
        int32_t *rows;
        struct g_tensor *at = ints(g, SHAPE1(j->n), &rows);
        if (at)
            hash_rows(j, i / m->facts.n_hash_sizes, m->facts.hash_sizes[i % m->facts.n_hash_sizes], i, rows);
        x = g_add(g, x, g_embedding(g, g_param(g, m->w[NN_hash_w]), at));
    }
    return nn_blocks(g, s, x, &seq, 0, s->facts.layers);
}

/* A patch begins as the greatest of its bytes' states; an empty one as zeros. */
static int pool_patches(struct job *j)
{
    int H = j->m->more[BYTES_IN].facts.hidden;
    j->patches = arena_array(j->arena, (size_t)j->out->patches * (size_t)H, sizeof *j->patches);
    if (!j->patches)
        return NUN_ENOMEM;
    for (int p = 0; p < j->out->patches; p++)
        for (int i = j->first[p]; i < j->first[p + 1]; i++)
            for (int h = 0; h < H; h++) {
                float v = j->bytes[(size_t)i * (size_t)H + (size_t)h], *most = &j->patches[(size_t)p * (size_t)H + (size_t)h];
                *most = i == j->first[p] || v > *most ? v : *most;
            }
    return 0;
}

/* ---- between bytes and patches ----------------------------------------------------------------------------- */

/* x + what x [rows, H] sees of y [keys, H], in its spans [1, rows, 2] */
static struct g_tensor *look(struct graph *g, const struct nn_stack *s, int layer, struct g_tensor *x, struct g_tensor *y,
                             struct g_tensor *spans)
{
    const struct nn_facts *f = &s->facts;
    struct g_param *const *w = s->layer[layer];
    if (!x || !y)
        return NULL;
    int64_t rows = x->shape.d[0], keys = y->shape.d[0];
    struct g_tensor *from = nn_norm(g, f, w[NN_patch_q_norm_w], NULL, x), *to = nn_norm(g, f, w[NN_patch_k_norm_w], NULL, y);
    struct g_tensor *q = nn_linear(g, w[NN_patch_q_w], NULL, from, NULL, ACT_NONE);
    struct g_tensor *k = nn_linear(g, w[NN_patch_k_w], NULL, to, NULL, ACT_NONE);
    struct g_tensor *v = nn_linear(g, w[NN_patch_v_w], NULL, to, NULL, ACT_NONE);
    struct g_tensor *a = g_attention(g, g_reshape(g, q, SHAPE4(1, rows, f->heads, f->head_dim)),
                                     g_reshape(g, k, SHAPE4(1, keys, f->kv_heads, f->head_dim)),
                                     g_reshape(g, v, SHAPE4(1, keys, f->kv_heads, f->head_dim)), spans,
                                     1.0f / sqrtf((float)f->head_dim), 0);
    a = g_reshape(g, a, SHAPE2(rows, (int64_t)f->heads * f->head_dim));
    return nn_linear(g, w[NN_patch_o_w], NULL, a, x, ACT_NONE);
}

/* Each state of a patch sees the patch's bytes (an empty one, which nobody asks, all of them). */
static struct g_tensor *patch_spans(struct graph *g, const struct job *j, int k)
{
    int32_t *at;
    struct g_tensor *t = ints(g, SHAPE3(1, (int64_t)j->out->patches * k, 2), &at);
    for (int i = 0; t && i < j->out->patches * k; i++) {
        int p = i / k;
        bool empty = j->first[p] == j->first[p + 1];
        at[2 * i] = empty ? 0 : j->first[p];
        at[2 * i + 1] = empty ? j->n : j->first[p + 1];
    }
    return t;
}

/* A byte sees the states of one patch: the newest that was complete before it. */
static struct g_tensor *byte_spans(struct graph *g, const struct job *j, int k)
{
    int32_t *at;
    struct g_tensor *t = ints(g, SHAPE3(1, j->n, 2), &at);
    int p = 0;
    for (int i = 0; t && i < j->n; i++) {
        while (p + 2 < j->out->patches && j->first[p + 2] - j->first[1] <= i)
            p++;
        at[2 * i] = p * k;
        at[2 * i + 1] = (p + 1) * k;
    }
    return t;
}

static struct g_tensor *build_rest(struct graph *g, const struct job *j)
{
    const struct nn_stack *in = &j->m->more[BYTES_IN], *large = &j->m->more[PATCHES], *out = &j->m->more[BYTES_OUT];
    int H = in->facts.hidden, k = in->facts.cross_k, P = j->out->patches, last = in->facts.cross_all ? in->facts.layers - 1 : 0;
    struct g_tensor *bytes = floats(g, j->n, H, j->bytes), *x = floats(g, P, H, j->patches);
    x = nn_linear(g, in->w[NN_patch_proj_w], NULL, x, NULL, ACT_NONE);
    x = g_reshape(g, x, SHAPE2((int64_t)P * k, H));
    x = g_add(g, x, look(g, in, last, x, bytes, patch_spans(g, j, k)));
    struct nn_seq patches = causal(g, P), seq = causal(g, j->n);
    x = nn_blocks(g, large, g_reshape(g, x, SHAPE2(P, (int64_t)k * H)), &patches, 0, large->facts.layers);
    x = nn_linear(g, out->w[NN_patch_proj_w], NULL, x, NULL, ACT_NONE);
    x = g_reshape(g, x, SHAPE2((int64_t)P * k, H));
    struct g_tensor *spans = byte_spans(g, j, k), *y = bytes;
    for (int i = 0; i < out->facts.layers; i++) {
        if (i == 0 || out->facts.cross_all)
            y = g_add(g, y, look(g, out, i, y, x, spans));
        y = nn_blocks(g, out, y, &seq, i, i + 1);
    }
    y = nn_norm(g, &out->facts, out->w[NN_final_norm_w], NULL, y);
    return nn_linear(g, j->m->w[NN_byte_head_w], NULL, y, NULL, ACT_NONE);
}

/* ---- all of it --------------------------------------------------------------------------------------------- */

static int check(const struct job *j)
{
    const struct nn_facts *in = &j->m->more[BYTES_IN].facts, *large = &j->m->more[PATCHES].facts, *out = &j->m->more[BYTES_OUT].facts;
    if (in->hidden != out->hidden || in->cross_k != out->cross_k || in->cross_k * in->hidden != large->hidden ||
        out->cross_width != large->hidden)
        return err_set(NUN_EFORMAT, "config.json: the widths %d and %d of the local stacks, %d states a patch, do not make the global %d",
                       in->hidden, out->hidden, in->cross_k, large->hidden);
    if (in->cross_all && in->layers > 1)
        return err_set(NUN_EUNSUP, "config.json: encoder_config.cross_attn_all_layers: true is not supported");
    for (int i = 0; i < j->n; i++)
        if (j->ids[i] < 0 || j->ids[i] >= in->vocab || j->ids[i] >= j->m->more[PATCHER].facts.vocab)
            return err_set(NUN_EARG, "token %d, the model has %d", j->ids[i], in->vocab);
    return j->n > 0 ? 0 : err_set(NUN_EARG, "expected tokens, found none");
}

int model_bytes_run(const struct model *m, enum gemm_format format, struct pool *pool, int threads, const int32_t *ids, int n,
                    struct arena *arena, struct model_bytes *out)
{
    struct job j = {.m = m, .compute = format, .pool = pool, .threads = threads, .n = n, .ids = ids, .arena = arena, .out = out};
    *out = (struct model_bytes){0};
    TRY(check(&j));
    TRY(find_patches(&j));
    TRY(compute(&j, format, build_bytes, &j.bytes));
    TRY(pool_patches(&j));
    return compute(&j, format, build_rest, &out->logits);
}
