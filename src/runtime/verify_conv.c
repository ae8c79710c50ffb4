/* Convolutional encoders: pictures of any size to maps and scores of classes, with the maps after each block. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "runtime/verify_int.h"
#include "runtime/views.h"

enum { SEEN_MAX = 256 };

struct conv_run {
    struct graph *g;
    struct plan *plan;
    struct g_tensor *maps, *pooled, *logits;
    struct { char path[96]; struct g_tensor *maps; } seen[SEEN_MAX]; /* after blocks, by the modules' names */
    int n_seen;
};

/* ---- modules ------------------------------------------------------------------------------- */

/* As the original has it: [B,C,h,w]. */
static void see(struct conv_run *r, const char *path, struct g_tensor *maps)
{
    if (r->n_seen == SEEN_MAX || !maps)
        return;
    snprintf(r->seen[r->n_seen].path, sizeof r->seen[0].path, "%s", path);
    r->seen[r->n_seen++].maps = g_output(g_transpose(r->g, maps, (const int[4]){0, 3, 1, 2}));
}

/* Names of modules end alike in all families: stages.S.layers.L, blocks.N, stages.S, embeddings. */
static void see_block(struct conv_run *r, const struct nn_block *b, bool last, struct g_tensor *maps)
{
    char path[96];
    if (b->part == NN_PART_BODY) {
        snprintf(path, sizeof path, "stages.%d.layers.%d", b->stage, b->index);
        see(r, path, maps);
        snprintf(path, sizeof path, "encoder.blocks.%d", b->index);
        see(r, path, maps);
    } else if (b->part == NN_PART_STEM) {
        see(r, b->kind == NN_BLOCK_max_pool ? "embedder.pooler" : "embedder.embedder", maps);
        see(r, b->kind == NN_BLOCK_max_pool ? "resnet.embedder" : "embeddings", maps);
    }
    if (last && b->part == NN_PART_BODY) {
        snprintf(path, sizeof path, "encoder.stages.%d", b->stage);
        see(r, path, maps);
    }
}

static bool ends_with(const char *path, const char *tail)
{
    size_t n = strlen(path), m = strlen(tail);
    return n >= m && !strcmp(path + n - m, tail) && (n == m || path[n - m - 1] == '.');
}

static int check_modules(struct verify_case *c, const struct conv_run *r)
{
    json_t *modules = json_object_get(json_object_get(c->json, "expected"), "modules"), *key;
    const char *path;
    json_object_foreach(modules, path, key)
        for (int i = 0; i < r->n_seen; i++)
            if (ends_with(path, r->seen[i].path))
                TRY(verify_module(c, path, g_f32(r->seen[i].maps), (size_t)g_count(r->seen[i].maps)));
    return 0;
}

/* ---- one case ------------------------------------------------------------------------------ */

static int build(struct verify_case *c, struct arena *arena, struct conv_run *r)
{
    const struct model *m = c->m->model;
    struct views v;
    struct nn_pictures in;
    struct model_pooled out;
    TRY(verify_views(c, arena, &v));
    views_inputs(r->g, m, &v, &in);
    TRY(model_view(r->g, m, &in, &out));
    r->maps = g_output(g_transpose(r->g, out.hidden, (const int[4]){0, 3, 1, 2}));
    r->pooled = g_output(out.pooled);
    r->logits = out.logits ? g_output(out.logits) : NULL;
    struct g_tensor *maps = c->v->o->modules ? nn_conv_maps(r->g, in.pixels) : NULL;
    for (int i = 0; i < m->conv.n_blocks && maps; i++) {
        const struct nn_block *b = &m->conv.block[i];
        maps = nn_conv_blocks(r->g, &m->conv, maps, i, i + 1);
        see_block(r, b, i + 1 == m->conv.n_blocks || b[1].stage != b->stage || b[1].part != b->part, maps);
    }
    return graph_error(r->g);
}

static int run(struct verify_case *c, struct arena *arena, struct conv_run *r)
{
    TRY(build(c, arena, r));
    TRY(plan_create(r->g, &r->plan));
    TRY(exec_run(r->plan, &(struct exec){.pool = c->m->pool}));
    TRY(check_modules(c, r));
    TRY(verify_check(c, "last_hidden_state", g_f32(r->maps), (size_t)g_count(r->maps)));
    TRY(verify_check(c, "pooler_output", g_f32(r->pooled), (size_t)g_count(r->pooled)));
    return !r->logits ? 0 : verify_check(c, "class_logits", g_f32(r->logits), (size_t)g_count(r->logits));
}

int verify_conv(struct verify_case *c, struct arena *arena)
{
    struct conv_run *r = arena_alloc(arena, sizeof *r);
    if (!r)
        return NUN_ENOMEM;
    *r = (struct conv_run){0};
    TRY(graph_create(c->m->compute, c->m->threads, &r->g));
    int rc = run(c, arena, r);
    plan_free(r->plan);
    graph_free(r->g);
    return rc;
}
