/* Reading batches, building losses. */
/* SPDX-License-Identifier: MIT */
#include "train/verify_graph.h"

#include <string.h>

#include "base/err.h"

/* ---- batches ------------------------------------------------------------------------------- */

static int reserve(struct verify_batch *b, struct arena *arena)
{
    size_t n = (size_t)b->rows * (size_t)b->length;
    b->ids = arena_array(arena, n, sizeof *b->ids);
    b->pos = arena_array(arena, n, sizeof *b->pos);
    b->labels = arena_array(arena, n, sizeof *b->labels);
    b->spans = arena_array(arena, 2 * n, sizeof *b->spans);
    b->pool = arena_array(arena, (size_t)b->rows, sizeof *b->pool);
    b->image_rows = arena_array(arena, n, sizeof *b->image_rows);
    return b->ids && b->pos && b->labels && b->spans && b->pool && b->image_rows ? 0 : NUN_ENOMEM;
}

/* One token of a causal sequence that begins at `start` of its row. */
static void put(struct verify_batch *b, int row, int at, int start, const json_t *ids, const json_t *labels, int end)
{
    size_t i = (size_t)row * (size_t)b->length + (size_t)at;
    json_int_t label = at + 1 < end ? json_integer_value(json_array_get(labels, (size_t)at + 1)) : -1;
    b->ids[i] = (int32_t)json_integer_value(json_array_get(ids, (size_t)at));
    b->pos[i] = at - start;
    b->spans[2 * i] = start;
    b->spans[2 * i + 1] = at + 1;
    b->labels[i] = label >= 0 ? (int32_t)label : -1;
}

static int read_decoder(struct verify_case *c, const json_t *json, struct arena *arena, struct verify_batch *b)
{
    const json_t *ids = json_object_get(json, "input_ids"), *labels = json_object_get(json, "labels"), *row;
    size_t r;
    b->rows = (int)json_array_size(ids);
    json_array_foreach(ids, r, row)
        b->length = (int)json_array_size(row) > b->length ? (int)json_array_size(row) : b->length;
    TRY(reserve(b, arena));
    memset(b->labels, -1, (size_t)b->rows * (size_t)b->length * sizeof *b->labels);
    json_array_foreach(ids, r, row) {
        int n = (int)json_array_size(row);
        for (int i = 0; i < n; i++) {
            put(b, (int)r, i, 0, row, json_array_get(labels, r), n);
            int32_t at = (int32_t)r * b->length + i;
            if (c->m->model->facts.image_token >= 0 && b->ids[at] == c->m->model->facts.image_token)
                b->image_rows[b->n_image_rows++] = at;
        }
    }
    return 0;
}

static int read_pairs(struct verify_case *c, const json_t *json, struct arena *arena, struct verify_batch *b)
{
    const struct model *m = c->m->model;
    int32_t *ids;
    TRY(verify_ids(json_object_get(json, "input_ids"), "train.json", arena, &ids, &b->rows, &b->length));
    TRY(reserve(b, arena));
    b->ids = ids;
    for (int i = 0; i < b->rows * b->length; i++)
        b->pos[i] = i % b->length;
    TRY(model_pool_rows(m, b->ids, b->rows, b->length, b->pool));
    return verify_text_spans(m, json_object_get(json, "attention_mask"), b->rows, b->length, b->spans);
}

int verify_batch_read(struct verify_case *c, const json_t *json, struct arena *arena, struct verify_batch *out)
{
    *out = (struct verify_batch){0};
    TRY(verify_pictures(c, arena, &out->pixels));
    return c->m->model->family->kind == FAMILY_CONTRASTIVE ? read_pairs(c, json, arena, out) : read_decoder(c, json, arena, out);
}

int verify_batch_packed(struct verify_case *c, const json_t *packed, struct arena *arena, struct verify_batch *out)
{
    const json_t *ids = json_object_get(packed, "input_ids"), *labels = json_object_get(packed, "labels");
    int starts[64], n = 0, total = (int)json_array_size(ids);
    TRY(json_get_ints(packed, "train.json: packed", "cu_seqlens", 0, total, starts, 64, &n));
    *out = (struct verify_batch){.rows = 1, .length = total};
    TRY(reserve(out, arena));
    for (int s = 0; s + 1 < n; s++)
        for (int i = starts[s]; i < starts[s + 1]; i++)
            put(out, 0, i, starts[s], ids, labels, starts[s + 1]);
    return 0;
}

/* ---- losses -------------------------------------------------------------------------------- */

static struct g_tensor *filled(struct graph *g, enum dtype dt, struct shape shape, void *data)
{
    struct g_tensor *t = g_input(g, NULL, dt, shape);
    if (t)
        t->data = data;
    return t;
}

static struct nn_seq sequence(struct graph *g, const struct verify_batch *b)
{
    struct nn_seq seq = {.batch = b->rows, .tokens = b->length};
    seq.pos = filled(g, DT_I32, SHAPE1((int64_t)b->rows * b->length), b->pos);
    seq.spans = filled(g, DT_I32, SHAPE3(b->rows, b->length, 2), b->spans);
    return seq;
}

static struct g_tensor *pixels(struct graph *g, const struct verify_batch *b)
{
    const struct verify_pixels *p = &b->pixels;
    return p->n ? filled(g, DT_F32, SHAPE4(p->n, 3, p->side, p->side), p->at) : NULL;
}

static struct g_tensor *decoder_loss(struct graph *g, const struct model *m, const struct verify_batch *b)
{
    int64_t n = (int64_t)b->rows * b->length;
    struct model_text in = {.seq = sequence(g, b), .ids = filled(g, DT_I32, SHAPE1(n), b->ids)};
    if (b->pixels.n) {
        in.images = model_images(g, m, pixels(g, b), NULL, b->pixels.n);
        in.image_rows = filled(g, DT_I32, SHAPE1(b->n_image_rows), b->image_rows);
    }
    if (nn_routes_for(g, &m->text.facts, &in.seq.routes) < 0)
        return NULL;
    struct g_tensor *logits = model_logits(g, m, &in);
    struct g_tensor *loss = g_cross_entropy(g, logits, filled(g, DT_I32, SHAPE1(n), b->labels));
    return nn_balance(g, &m->text.facts, loss, in.seq.routes);
}

static struct g_tensor *pair_loss(struct graph *g, const struct model *m, const struct verify_batch *b)
{
    struct model_pooled image, text;
    struct nn_seq seq = sequence(g, b);
    struct g_tensor *ids = filled(g, DT_I32, SHAPE1((int64_t)b->rows * b->length), b->ids);
    if (model_vision(g, m, pixels(g, b), &image) < 0 ||
        model_text_encoder(g, m, ids, &seq, filled(g, DT_I32, SHAPE1(b->rows), b->pool), &text) < 0)
        return NULL;
    return model_contrast_loss(g, m, model_contrast(g, m, image.embeds, text.embeds));
}

/* A parameter without an accumulator in the graph gets no gradient: it must not be decayed either. */
static int find_unreached(struct verify_case *c, struct verify_graph *out)
{
    const struct model *m = c->m->model;
    const struct graph *g = out->graph;
    if (!(out->unreached = arena_array(&out->graph->arena, (size_t)m->n_params, sizeof *out->unreached)))
        return NUN_ENOMEM;
    for (int i = 0; i < m->n_params; i++) {
        bool reached = !m->params[i]->trainable;
        for (int k = 0; k < g->n_nodes && !reached; k++)
            reached = g->nodes[k]->kind == G_GRAD && g->nodes[k]->param == m->params[i];
        out->unreached[i] = !reached;
        m->params[i]->trainable = m->params[i]->trainable && reached;
    }
    return 0;
}

static int build(struct verify_case *c, struct verify_batch *b, bool learn, struct verify_graph *out)
{
    struct graph *g = out->graph;
    const struct model *m = c->m->model;
    g->training = learn;
    out->loss = g_output(m->family->kind == FAMILY_CONTRASTIVE ? pair_loss(g, m, b) : decoder_loss(g, m, b));
    TRY(graph_error(g));
    if (learn) {
        TRY(graph_backward(g, out->loss, NULL));
        TRY(find_unreached(c, out));
    }
    return plan_create(g, &out->plan);
}

int verify_graph_create(struct verify_case *c, struct verify_batch *b, bool learn, struct verify_graph *out)
{
    *out = (struct verify_graph){0};
    TRY(graph_create(GEMM_F32, c->m->threads, &out->graph));
    int rc = build(c, b, learn, out);
    if (rc < 0)
        verify_graph_free(out);
    return rc;
}

void verify_graph_free(struct verify_graph *g)
{
    plan_free(g->plan);
    graph_free(g->graph);
    *g = (struct verify_graph){0};
}
