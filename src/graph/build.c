/* The operations as functions: what models are written in. Each packs its inputs and attributes and
 * calls g_op; the shape rule of the row does the checking. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "graph/graph.h"

#define IN(...) (struct g_tensor *const[]){__VA_ARGS__}

struct g_tensor *g_linear(struct graph *g, struct g_tensor *x, struct g_tensor *w, struct g_tensor *bias,
                          struct g_tensor *residual, enum act_kind act)
{
    union g_attr a = {.act = {act}};
    return g_op(g, OP_linear, &a, 4, IN(x, w, bias, residual));
}

struct g_tensor *g_matmul(struct graph *g, struct g_tensor *a, struct g_tensor *b, bool a_transposed, bool b_transposed)
{
    union g_attr attr = {.matmul = {.b_transposed = b_transposed, .a_transposed = a_transposed}};
    return g_op(g, OP_matmul, &attr, 2, IN(a, b));
}

struct g_tensor *g_embedding(struct graph *g, struct g_tensor *table, struct g_tensor *ids)
{
    return g_op(g, OP_embedding, NULL, 2, IN(table, ids));
}

struct g_tensor *g_gather_rows(struct graph *g, struct g_tensor *x, struct g_tensor *idx)
{
    return g_op(g, OP_gather_rows, NULL, 2, IN(x, idx));
}

struct g_tensor *g_scatter_rows(struct graph *g, struct g_tensor *base, struct g_tensor *idx, struct g_tensor *x)
{
    return g_op(g, OP_scatter_rows, NULL, 3, IN(base, idx, x));
}

struct g_tensor *g_concat(struct graph *g, int axis, int n, struct g_tensor *const *in)
{
    union g_attr a = {.range = {.axis = axis}};
    return g_op(g, OP_concat, &a, n, in);
}

struct g_tensor *g_slice(struct graph *g, struct g_tensor *x, int axis, int64_t from, int64_t to)
{
    union g_attr a = {.range = {axis, from, to, x && axis < x->shape.n ? x->shape.d[axis] : 0}};
    return g_op(g, OP_slice, &a, 1, IN(x));
}

struct g_tensor *g_transpose(struct graph *g, struct g_tensor *x, const int perm[4])
{
    union g_attr a = {.transpose = {{perm[0], perm[1], perm[2], perm[3]}}};
    return g_op(g, OP_transpose, &a, 1, IN(x));
}

struct g_tensor *g_repeat_rows(struct graph *g, struct g_tensor *x, int64_t times)
{
    union g_attr a = {.rows = {times}};
    return g_op(g, OP_repeat_rows, &a, 1, IN(x));
}

struct g_tensor *g_rms_norm(struct graph *g, struct g_tensor *x, struct g_tensor *w, float eps, float offset)
{
    union g_attr a = {.norm = {eps, offset}};
    return g_op(g, OP_rms_norm, &a, 2, IN(x, w));
}

struct g_tensor *g_layer_norm(struct graph *g, struct g_tensor *x, struct g_tensor *w, struct g_tensor *b, float eps)
{
    union g_attr a = {.norm = {eps, 0}};
    return g_op(g, OP_layer_norm, &a, 3, IN(x, w, b));
}

struct g_tensor *g_l2_norm(struct graph *g, struct g_tensor *x, float eps)
{
    union g_attr a = {.norm = {eps, 0}};
    return g_op(g, OP_l2_norm, &a, 1, IN(x));
}

struct g_tensor *g_rope(struct graph *g, struct g_tensor *x, struct g_tensor *pos, struct g_tensor *inv_freq,
                        int rotary_dims, bool interleaved, float mscale)
{
    union g_attr a = {.rope = {rotary_dims, interleaved, false, mscale}};
    return g_op(g, OP_rope, &a, 3, IN(x, pos, inv_freq));
}

struct g_tensor *g_attention(struct graph *g, struct g_tensor *q, struct g_tensor *k, struct g_tensor *v,
                             struct g_tensor *spans, float scale, float softcap)
{
    union g_attr a = {.attention = {scale, softcap}};
    return g_op(g, OP_attention, &a, 4, IN(q, k, v, spans));
}

struct g_tensor *g_attention_near(struct graph *g, struct g_tensor *q, struct g_tensor *k, struct g_tensor *v,
                                  struct g_tensor *spans, struct g_tensor *bias, float scale)
{
    union g_attr a = {.attention = {scale, 0}};
    return g_op(g, OP_attention, &a, 5, IN(q, k, v, spans, bias));
}

struct g_tensor *g_attention_sunk(struct graph *g, struct g_tensor *q, struct g_tensor *k, struct g_tensor *v,
                                  struct g_tensor *spans, struct g_tensor *sinks, float scale)
{
    union g_attr a = {.attention = {scale, 0}};
    return g_op(g, OP_attention, &a, 6, IN(q, k, v, spans, NULL, sinks));
}

struct g_tensor *g_attention_cached(struct graph *g, struct g_tensor *q, struct g_tensor *k, struct g_tensor *v,
                                    struct g_tensor *state, int layer, float scale, float softcap, int window)
{
    return g_attention_cached_sunk(g, q, k, v, state, NULL, layer, scale, softcap, window);
}

struct g_tensor *g_attention_cached_sunk(struct graph *g, struct g_tensor *q, struct g_tensor *k, struct g_tensor *v,
                                         struct g_tensor *state, struct g_tensor *sinks, int layer, float scale,
                                         float softcap, int window)
{
    union g_attr a = {.cached = {scale, softcap, layer, window}};
    return g_op(g, OP_attention_cached, &a, 5, IN(q, k, v, state, sinks));
}

struct g_tensor *g_keep_rows(struct graph *g, struct g_tensor *k, struct g_tensor *v, struct g_tensor *state, int layer)
{
    union g_attr a = {.kept = {.layer = layer}};
    return g_op(g, OP_keep_rows, &a, 3, IN(k, v, state));
}

struct g_tensor *g_attention_kept(struct graph *g, struct g_tensor *q, struct g_tensor *state, int layer, int kv_heads,
                                  float scale, float softcap)
{
    union g_attr a = {.kept = {scale, softcap, layer, kv_heads}};
    return g_op(g, OP_attention_kept, &a, 2, IN(q, state));
}

struct g_tensor *g_window_spans(struct graph *g, struct g_tensor *spans, int window)
{
    union g_attr a = {.window = {window}};
    return g_op(g, OP_window_spans, &a, 1, IN(spans));
}

struct g_tensor *g_act(struct graph *g, struct g_tensor *x, enum act_kind act)
{
    if (act == ACT_NONE)
        return x;
    union g_attr a = {.act = {act}};
    return g_op(g, OP_act, &a, 1, IN(x));
}

struct g_tensor *g_glu(struct graph *g, struct g_tensor *gate, struct g_tensor *up, enum act_kind act)
{
    union g_attr a = {.act = {act}};
    return g_op(g, OP_glu, &a, 2, IN(gate, up));
}

struct g_tensor *g_add(struct graph *g, struct g_tensor *x, struct g_tensor *y)
{
    return g_op(g, OP_add, NULL, 2, IN(x, y));
}

struct g_tensor *g_mul(struct graph *g, struct g_tensor *x, struct g_tensor *y)
{
    return g_op(g, OP_mul, NULL, 2, IN(x, y));
}

struct g_tensor *g_scale(struct graph *g, struct g_tensor *x, float s)
{
    union g_attr a = {.scale = {s}};
    return g_op(g, OP_scale, &a, 1, IN(x));
}

struct g_tensor *g_clamp(struct graph *g, struct g_tensor *x, float low, float high)
{
    union g_attr a = {.clamp = {low, high}};
    return g_op(g, OP_clamp, &a, 1, IN(x));
}

struct g_tensor *g_positions(struct graph *g, struct g_tensor *pos, int times, struct g_tensor *slopes)
{
    union g_attr a = {.rows = {times}};
    return g_op(g, OP_positions, &a, 2, IN(pos, slopes));
}

struct g_tensor *g_affine(struct graph *g, struct g_tensor *x, struct g_tensor *log_scale, struct g_tensor *shift)
{
    return g_op(g, OP_affine, NULL, 3, IN(x, log_scale, shift));
}

struct g_tensor *g_dropout(struct graph *g, struct g_tensor *x, float p)
{
    if (!g->training || p <= 0)
        return x;
    union g_attr a = {.dropout = {p, (uint64_t)g->n_nodes}};
    return g_op(g, OP_dropout, &a, 1, IN(x));
}

struct g_tensor *g_softmax(struct graph *g, struct g_tensor *x)
{
    return g_op(g, OP_softmax, NULL, 1, IN(x));
}

struct g_tensor *g_unfold(struct graph *g, struct g_tensor *x, int patch)
{
    union g_attr a = {.unfold = {patch}};
    return g_op(g, OP_unfold, &a, 1, IN(x));
}

struct g_tensor *g_interpolate(struct graph *g, struct g_tensor *table, int gh, int gw, int h, int w, bool bicubic)
{
    if (gh == h && gw == w)
        return table;
    union g_attr a = {.interpolate = {.gh = gh, .gw = gw, .h = h, .w = w, .bicubic = bicubic}};
    return g_op(g, OP_interpolate, &a, 1, IN(table));
}

struct g_tensor *g_mean_pool(struct graph *g, struct g_tensor *x)
{
    return g_op(g, OP_mean_pool, NULL, 1, IN(x));
}

struct g_tensor *g_cross_entropy(struct graph *g, struct g_tensor *logits, struct g_tensor *labels)
{
    return g_op(g, OP_cross_entropy, NULL, 2, IN(logits, labels));
}

struct g_tensor *g_sigmoid_loss(struct graph *g, struct g_tensor *logits)
{
    return g_op(g, OP_sigmoid_loss, NULL, 1, IN(logits));
}

struct g_tensor *g_square_loss(struct graph *g, struct g_tensor *x, struct g_tensor *y, struct g_tensor *weights)
{
    return g_op(g, OP_square_loss, NULL, 3, IN(x, y, weights));
}
