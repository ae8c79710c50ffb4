/* Inner parts of models that see, whatever their way: the blocks of tower and decoder are watched while the whole is
 * built once more for a case, pictures apart, and compared with the modules that it names. Called for verify -v. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "models/sight.h"
#include "runtime/timeline.h"
#include "runtime/verify_int.h"

enum { WATCHED_MAX = 1024 };

/* What came out of a block; of the tower, once a picture. */
struct watched { const void *stack; int layer; struct g_tensor *x; };

struct watching {
    struct verify_case *c;
    struct graph *g;
    struct watched seen[WATCHED_MAX];
    int n;
    struct g_tensor *features[WATCHED_MAX]; /* of each picture */
    int pictures;
};

static void on_block(void *arg, const void *stack, int layer, struct g_tensor *x)
{
    struct watching *w = arg;
    if (w->n < WATCHED_MAX && x)
        w->seen[w->n++] = (struct watched){stack, layer, g_output(x)};
}

static struct g_tensor *input(struct graph *g, enum dtype dt, struct shape shape, void *data)
{
    struct g_tensor *t = g_input(g, NULL, dt, shape);
    if (t)
        t->data = data;
    return t;
}

/* ---- building ------------------------------------------------------------------------------ */

/* The features of all pictures, one after the other. */
static struct g_tensor *build_pictures(struct watching *w, const struct nun_timeline *t)
{
    const struct model *m = w->c->m->model;
    struct g_tensor *all = NULL;
    for (size_t i = 0; i < t->n_placed && i < WATCHED_MAX; i++) {
        const struct picture *p = t->placed[i].picture;
        struct preprocess_plan key = sight_key(m, &p->plan);
        struct shape shape = SHAPE4(p->plan.tiles, 3, p->plan.tile_height, p->plan.tile_width);
        struct g_tensor *x = model_images(w->g, m, input(w->g, DT_F32, shape, p->pixels), &key, 1);
        w->features[w->pictures++] = x ? g_output(x) : NULL;
        all = i ? g_concat(w->g, 0, 2, (struct g_tensor *[]){all, x}) : x;
    }
    return all;
}

/* What the sequence's places say, for one row a token. */
static void lay_rows(const struct nun_timeline *t, int32_t *pos, int32_t *spans, float *freq, int pairs, float *inv_freq)
{
    const struct nn_facts *f = &t->m->model->text.facts;
    const struct nn_rope *r = &f->rope[0];
    if (freq)
        nn_rope_frequencies(f, r, (int64_t)t->ids.n, inv_freq);
    for (int i = 0; i < (int)t->ids.n; i++) {
        const struct token_place *p = &t->place[i];
        bool run = p->last > p->first;
        pos[i] = r->sections[0] ? 1 : i;
        spans[4 * i + 1] = run ? p->first : i + 1;
        spans[4 * i + 2] = run ? p->first : 0;
        spans[4 * i + 3] = run ? p->last : 0;
        if (freq && r->sections[0])
            nn_rope_angles(f, r, inv_freq, p->at, freq + (size_t)i * (size_t)pairs);
        else if (freq)
            memcpy(freq + (size_t)i * (size_t)pairs, inv_freq, (size_t)pairs * sizeof *freq);
    }
}

/* The rows beside the sequence in the order in which they are kept, and what each token sees of them. */
static int build_beside(struct watching *w, const struct nun_timeline *t, struct g_tensor *images, struct arena *arena, struct nn_sight *out)
{
    int n = (int)t->ids.n, total = 0, shown = 0, from = 0, behind;
    for (size_t i = 0; i < t->n_placed; i++) {
        total += t->placed[i].picture->side.rows;
        shown += t->placed[i].picture->side.shown;
    }
    int32_t *at = arena_array(arena, (size_t)total + 1, 4), *spans = arena_array(arena, 2 * (size_t)n, 4), *lit = arena_array(arena, (size_t)n, 4);
    if (!at || !spans || !lit)
        return NUN_ENOMEM;
    behind = shown;
    for (size_t i = 0; i < t->n_placed; i++) {
        const struct picture *p = t->placed[i].picture;
        from += p->n_features;
        for (int r = 0; r < p->side.rows; r++)
            at[r < p->side.shown ? t->placed[i].row + r : behind++] = from + r;
        from += p->side.rows;
    }
    for (int i = 0; i < n; i++) {
        struct kv_row row;
        lit[i] = look_row(t, i, &row) ? i : -1;
        memcpy(spans + 2 * i, row.sees, sizeof row.sees);
    }
    *out = (struct nn_sight){.rows = g_gather_rows(w->g, images, input(w->g, DT_I32, SHAPE1(total), at)), .n = total,
                             .spans = input(w->g, DT_I32, SHAPE3(1, n, 2), spans), .lit = input(w->g, DT_I32, SHAPE1(n), lit)};
    return 0;
}

static int build_text(struct watching *w, const struct nun_timeline *t, struct g_tensor *images, struct arena *arena)
{
    const struct model *m = w->c->m->model;
    const struct nn_facts *f = &m->text.facts;
    int n = (int)t->ids.n, pairs = nn_rope_dims(f, &f->rope[0]) / 2, next = 0;
    int32_t *pos = arena_array(arena, (size_t)n, 4), *spans = arena_array(arena, 4 * (size_t)n, 4), *at = arena_array(arena, (size_t)n + 1, 4);
    float *freq = arena_array(arena, (size_t)n * (size_t)pairs + 1, 4), *inv_freq = arena_array(arena, (size_t)pairs + 1, 4);
    if (!pos || !spans || !at || !freq || !inv_freq)
        return NUN_ENOMEM;
    bool by_row = nn_rope_by_row(f);
    lay_rows(t, pos, spans, by_row ? freq : NULL, pairs, inv_freq);
    for (int i = 0; i < n; i++)
        if (t->place[i].feature >= 0)
            at[next++] = i;
    struct nn_sight sight;
    bool beside = images && t->placed[0].picture->side.rows > 0;
    if (beside)
        TRY(build_beside(w, t, images, arena, &sight));
    images = next ? images : NULL;
    struct model_text in = {.seq = {.batch = 1, .sight = beside ? &sight : NULL, .tokens = n, .pos = input(w->g, DT_I32, SHAPE1(n), pos),
                                    .spans = input(w->g, DT_I32, SHAPE3(1, n, 4), spans),
                                    .freq = by_row ? input(w->g, DT_F32, SHAPE2(n, pairs), freq) : NULL},
                            .ids = input(w->g, DT_I32, SHAPE1(n), t->ids.at), .images = images,
                            .image_rows = images ? input(w->g, DT_I32, SHAPE1(next), at) : NULL};
    struct g_tensor *logits = model_logits(w->g, m, &in);
    return logits ? (g_output(logits), 0) : graph_error(w->g);
}

/* ---- comparing ----------------------------------------------------------------------------- */

/* The block that a module's path ends with; -1: none. */
static int block_of(const char *path)
{
    const char *dot = strrchr(path, '.');
    bool block = dot && dot - path > 6 && (!strncmp(dot - 6, "layers", 6) || !strncmp(dot - 6, "blocks", 6));
    return block && dot[1] >= '0' && dot[1] <= '9' ? (int)strtol(dot + 1, NULL, 10) : -1;
}

/* Values of one module out of those of its pictures; 0 when nothing here is that module. */
static size_t gather(const struct watching *w, const char *path, float *out, size_t cap)
{
    const struct model *m = w->c->m->model;
    bool tower = strstr(path, "vision") || strstr(path, "visual");
    const void *stack = tower ? (const void *)&m->vision : &m->text;
    int layer = tower && m->vision.facts.tiles.most ? -1 : block_of(path); /* towers of tiles order their rows otherwise */
    size_t n = 0;
    for (int i = 0; layer >= 0 && i < w->n; i++) {
        const struct watched *s = &w->seen[i];
        if (s->stack != stack || s->layer != layer)
            continue;
        size_t count = (size_t)g_count(s->x);
        if (n + count <= cap)
            memcpy(out + n, g_f32(s->x), count * sizeof *out);
        n += count;
    }
    bool features = span_ends(span_str(path), SPAN("visual")) || span_ends(span_str(path), SPAN("multi_modal_projector"));
    for (int i = 0; features && i < w->pictures; i++) {
        size_t width = (size_t)m->text.facts.hidden, rows = (size_t)g_rows(w->features[i]), whole = (size_t)g_last(w->features[i]);
        for (size_t r = 0; r < rows; r++, n += width)
            if (n + width <= cap)
                memcpy(out + n, g_f32(w->features[i]) + r * whole, width * sizeof *out);
    }
    return n;
}

/* Parts that lie otherwise in the reference (other tiles, other order) are left out. */
static int compare(struct watching *w, struct arena *arena)
{
    json_t *modules = json_object_get(json_object_get(w->c->json, "expected"), "modules"), *key;
    const char *path;
    json_object_foreach(modules, path, key) {
        const struct st_tensor *t = st_find(w->c->v->expected, span_str(json_string_value(key) ? json_string_value(key) : ""));
        size_t n;
        if (!t)
            continue;
        TRY(shape_count(&t->shape, &n));
        float *values = arena_array(arena, n + 1, sizeof *values);
        if (!values)
            return NUN_ENOMEM;
        if (n && gather(w, path, values, n) == n)
            TRY(verify_module(w->c, path, values, n));
    }
    return 0;
}

static int look(struct watching *w, const struct nun_timeline *t, struct arena *arena)
{
    struct plan *plan;
    struct g_tensor *images = build_pictures(w, t);
    TRY(build_text(w, t, images, arena));
    TRY(graph_error(w->g));
    TRY(plan_create(w->g, &plan));
    int rc = exec_run(plan, &(struct exec){.pool = w->c->m->pool});
    if (rc >= 0)
        rc = compare(w, arena);
    plan_free(plan);
    return rc;
}

int verify_watch(struct verify_case *c, const struct nun_timeline *t, struct arena *arena)
{
    const struct sight_row *sight = c->m->model->family->sight;
    if (!c->v->o->modules || !sight || !t->place || sight->words || !json_object_get(json_object_get(c->json, "expected"), "modules"))
        return 0;
    for (size_t i = 0; i < t->n_placed; i++)
        if (!t->placed[i].picture->pixels)
            return 0; /* its features were there already */
    struct watching *w = arena_alloc(arena, sizeof *w);
    if (!w)
        return NUN_ENOMEM;
    *w = (struct watching){.c = c};
    TRY(graph_create(c->m->compute, c->m->threads, &w->g));
    w->g->watch = on_block;
    w->g->watch_arg = w;
    int rc = look(w, t, arena);
    graph_free(w->g);
    return rc;
}
