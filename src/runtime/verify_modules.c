/* Inner parts, for finding the first one that goes wrong: embeddings, blocks, norms and connector, built
 * with the same builders as the whole. What is fused in a block (its attention, its MLP) is not seen. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "models/sight.h"
#include "runtime/verify_int.h"
#include "runtime/views.h"

enum { SEEN_MAX = 256 };

/* A value by the ending of the module path that stands for it. */
struct seen { bool vision; char tail[64]; struct g_tensor *value; };

struct looking {
    struct verify_case *c;
    struct graph *g;
    struct seen seen[SEEN_MAX];
    int n;
};

static void see(struct looking *k, bool vision, struct g_tensor *x, const char *tail)
{
    if (k->n == SEEN_MAX || !x)
        return;
    struct seen *s = &k->seen[k->n++];
    s->vision = vision;
    s->value = g_output(x);
    snprintf(s->tail, sizeof s->tail, "%s", tail);
}

static struct g_tensor *see_blocks(struct looking *k, const struct nn_stack *s, bool vision, struct g_tensor *x,
                                   const struct nn_seq *seq)
{
    char tail[64];
    for (int i = 0; i < s->facts.layers; i++) {
        x = nn_blocks(k->g, s, x, seq, i, i + 1);
        snprintf(tail, sizeof tail, s->facts.wiring == NN_POST_ADD ? "layer.%d" : "layers.%d", i);
        see(k, vision, x, tail);
    }
    return x;
}

static struct g_tensor *filled(struct graph *g, enum dtype dt, struct shape shape, void *data)
{
    struct g_tensor *t = g_input(g, NULL, dt, shape);
    if (t)
        t->data = data;
    return t;
}

/* The tails that a part's module may have: plain ones, of a layer, of a stage, of a layer in a stage. */
enum { PLAIN, LAYER, STAGE, BOTH };
static const struct { const char *part; int kind; const char *before, *between; } part_names[] = {
    {"patches", PLAIN, "patch_embeddings"}, {"embeddings", PLAIN, "embeddings"},
    {"norm", PLAIN, "layernorm"}, {"norm", PLAIN, "post_layernorm"},
    {"block", LAYER, "layer."}, {"block", LAYER, "layers."}, {"block", BOTH, "layers.", ".blocks."},
    {"merge", STAGE, "layers.", ".downsample"}, {"merge", STAGE, "layers.", ""},
};

static void see_part(void *arg, const char *part, int stage, int layer, struct g_tensor *x)
{
    int kind = stage >= 0 ? layer >= 0 ? BOTH : STAGE : layer >= 0 ? LAYER : PLAIN;
    char tail[64];
    for (size_t i = 0; i < sizeof part_names / sizeof part_names[0]; i++) {
        const char *before = part_names[i].before, *between = part_names[i].between;
        if (strcmp(part, part_names[i].part) || kind != part_names[i].kind)
            continue;
        if (kind == PLAIN)
            snprintf(tail, sizeof tail, "%s", before);
        else if (kind == BOTH)
            snprintf(tail, sizeof tail, "%s%d%s%d", before, stage, between, layer);
        else
            snprintf(tail, sizeof tail, "%s%d%s", before, kind == LAYER ? layer : stage, between ? between : "");
        see(arg, true, x, tail);
    }
}

/* CLIP's states come to no norm, and a connector takes them from between. */
static void see_own(struct looking *k, struct nn_pictures *in)
{
    const struct nn_stack *v = &k->c->m->model->vision;
    struct g_tensor *x = nn_patches(k->g, v, in->pixels, &in->tokens);
    struct nn_seq seq = nn_seq_full(k->g, in->batch, in->tokens);
    see(k, true, x, v->w[NN_pre_norm_w] ? "pre_layrnorm" : "embeddings");
    x = see_blocks(k, v, true, x, &seq);
    see(k, true, x, "vision_tower");
}

static void see_vision(struct looking *k, struct nn_pictures *in)
{
    const struct nn_stack *v = &k->c->m->model->vision;
    struct model_pooled out;
    in->see = see_part;
    in->see_arg = k;
    if (v->facts.summary == NN_SUMMARY_OWN && v->w[NN_class_w])
        see_own(k, in);
    else if (!model_view(k->g, k->c->m->model, in, &out))
        see(k, true, out.pooled, "head");
}

static struct g_tensor *see_connector(struct looking *k, const struct verify_pixels *px)
{
    struct g_tensor *pixels = filled(k->g, DT_F32, SHAPE4(px->n, 3, px->side, px->side), px->at);
    struct g_tensor *x = model_images(k->g, k->c->m->model, pixels, NULL, px->n);
    see(k, false, x, "multi_modal_projector");
    return x;
}

static int see_text(struct looking *k, const struct verify_pixels *px, struct arena *arena)
{
    const struct model *m = k->c->m->model;
    int32_t *ids, *types = NULL;
    int rows, length, n_image = 0;
    TRY(verify_ids(json_object_get(k->c->json, "input_ids"), k->c->r.name, arena, &ids, &rows, &length));
    size_t n = (size_t)rows * (size_t)length;
    int32_t *pos = arena_array(arena, n, 4), *spans = arena_array(arena, 2 * n, 4), *at = arena_array(arena, n, 4);
    if (!pos || !spans || !at)
        return NUN_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (m->facts.image_token >= 0 && ids[i] == m->facts.image_token)
            at[n_image++] = (int32_t)i;
    }
    for (int r = 0; r < rows; r++)
        model_positions(m, ids + (size_t)r * (size_t)length, length, pos + (size_t)r * (size_t)length);
    if (json_object_get(k->c->json, "token_type_ids"))
        TRY(verify_ids(json_object_get(k->c->json, "token_type_ids"), k->c->r.name, arena, &types, &rows, &length));
    TRY(verify_text_spans(m, json_object_get(k->c->json, "attention_mask"), rows, length, spans));
    struct nn_seq seq = {.types = types ? filled(k->g, DT_I32, SHAPE1((int64_t)n), types) : NULL, .batch = rows, .tokens = length, .pos = filled(k->g, DT_I32, SHAPE1((int64_t)n), pos),
                         .spans = filled(k->g, DT_I32, SHAPE3(rows, length, 2), spans)};
    struct g_tensor *x = nn_tokens(k->g, &m->text, filled(k->g, DT_I32, SHAPE1((int64_t)n), ids), &seq);
    see(k, false, x, m->text.w[NN_pos_w] ? "embeddings" : "embed_tokens");
    if (n_image && px->n)
        x = g_scatter_rows(k->g, x, filled(k->g, DT_I32, SHAPE1(n_image), at), see_connector(k, px));
    x = see_blocks(k, &m->text, false, x, &seq);
    if (!m->text.w[NN_final_norm_w])
        return 0;
    x = nn_norm(k->g, &m->text.facts, m->text.w[NN_final_norm_w], m->text.w[NN_final_norm_b], x);
    see(k, false, x, m->text.w[NN_final_norm_b] ? "final_layer_norm" : "language_model.norm");
    see(k, false, x, "model.norm");
    return 0;
}

/* In the case's own order, which is the graph's. */
static int compare(struct looking *k)
{
    json_t *modules = json_object_get(json_object_get(k->c->json, "expected"), "modules"), *key;
    const char *path;
    json_object_foreach(modules, path, key) {
        bool vision = strstr(path, "vision") || !k->c->m->model->text.facts.layers;
        for (int i = 0; i < k->n; i++) {
            const struct seen *s = &k->seen[i];
            size_t at = strlen(path) - (strlen(s->tail) < strlen(path) ? strlen(s->tail) : strlen(path));
            if (s->vision == vision && !strcmp(path + at, s->tail) && (!at || path[at - 1] == '.')) {
                TRY(verify_module(k->c, path, g_f32(s->value), (size_t)g_count(s->value)));
                break;
            }
        }
    }
    return 0;
}

static int look(struct looking *k, struct arena *arena)
{
    const struct model *m = k->c->m->model;
    bool tower = m->family->kind == FAMILY_VISION || m->family->kind == FAMILY_CONTRASTIVE;
    struct verify_pixels px = {0};
    struct nn_pictures in;
    struct views views;
    struct plan *plan;
    TRY(tower ? verify_views(k->c, arena, &views) : verify_pictures(k->c, arena, &px));
    if (tower)
        views_inputs(k->g, m, &views, &in);
    else
        in = (struct nn_pictures){.batch = px.n, .pixels = px.n ? filled(k->g, DT_F32, SHAPE4(px.n, 3, px.side, px.side), px.at) : NULL};
    if (in.batch && m->vision.facts.layers)
        see_vision(k, &in);
    if (m->text.facts.layers)
        TRY(see_text(k, &px, arena));
    TRY(graph_error(k->g));
    TRY(plan_create(k->g, &plan));
    int rc = exec_run(plan, &(struct exec){.pool = k->c->m->pool});
    if (rc >= 0)
        rc = compare(k);
    plan_free(plan);
    return rc;
}

int verify_modules(struct verify_case *c, struct arena *arena)
{
    const struct sight_row *sight = c->m->model->family->sight;
    bool masked = c->m->model->facts.mask_ratio > 0; /* their towers see fewer patches */
    if (sight && sight != &sight_square) /* verify_watch.c has those */
        return 0;
    if (!c->v->o->modules || masked || c->m->model->family->kind == FAMILY_BYTES || c->m->model->conv.n_blocks || !json_object_get(json_object_get(c->json, "expected"), "modules"))
        return 0;
    struct looking *k = arena_alloc(arena, sizeof *k);
    if (!k)
        return NUN_ENOMEM;
    *k = (struct looking){.c = c};
    TRY(graph_create(c->m->compute, c->m->threads, &k->g));
    int rc = look(k, arena);
    graph_free(k->g);
    return rc;
}
