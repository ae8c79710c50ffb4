/* Masked autoencoders: the stored noise chooses, what is told of the hidden patches and the loss are compared. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "runtime/verify_int.h"
#include "runtime/views.h"

/* Which patches are seen, as the graph and as the reference say it. */
struct choice { int32_t *keep, *back, *restore; float *hidden; };

static struct g_tensor *filled(struct graph *g, enum dtype dt, int64_t n, void *data)
{
    struct g_tensor *t = g_input(g, NULL, dt, SHAPE1(n));
    if (t)
        t->data = data;
    return t;
}

static int read_noise(struct verify_case *c, size_t count, struct arena *arena, const float **out)
{
    const char *key = json_string_value(json_object_get(json_object_get(c->json, "expected"), "noise"));
    const struct st_tensor *t;
    size_t n;
    if (!key)
        return json_missing("case.json", "expected.noise");
    TRY(st_need(c->v->expected, span_str(key), NULL, &t));
    TRY(shape_count(&t->shape, &n));
    if (n != count)
        return err_set(NUN_EFORMAT, "%s: expected %zu values, found %zu", key, count, n);
    return verify_values(t, arena, out);
}

static int choose(struct verify_case *c, int batch, struct arena *arena, struct choice *out)
{
    const struct model *m = c->m->model;
    const float *noise;
    size_t n = (size_t)batch * (size_t)model_patches(m);
    out->keep = arena_array(arena, n, 4);
    out->back = arena_array(arena, n + (size_t)batch, 4);
    out->restore = arena_array(arena, n, 4);
    out->hidden = arena_array(arena, n, 4);
    float *order = arena_array(arena, n, 4);
    if (!out->keep || !out->back || !out->restore || !out->hidden || !order)
        return NUN_ENOMEM;
    TRY(read_noise(c, n, arena, &noise));
    TRY(model_mask(m, noise, batch, out->keep, out->back, out->hidden, out->restore));
    for (size_t i = 0; i < n; i++)
        order[i] = (float)out->restore[i];
    TRY(verify_check(c, "noise", noise, n));
    TRY(verify_check(c, "ids_restore", order, n));
    return verify_check(c, "mask", out->hidden, n);
}

static int compute(struct verify_case *c, struct graph *g, const struct views *views, const struct choice *choice)
{
    const struct model *m = c->m->model;
    int64_t batch = views->n, T = model_patches(m), K = model_kept(m);
    struct nn_pictures in;
    struct model_masked out;
    struct plan *plan;
    views_inputs(g, m, views, &in);
    struct model_masks masks = {.kept = (int)K, .keep = filled(g, DT_I32, batch * K, choice->keep),
                                .back = filled(g, DT_I32, batch * (1 + T), choice->back),
                                .hidden = filled(g, DT_F32, batch * T, choice->hidden)};
    TRY(model_masked(g, m, in.pixels, &masks, &out));
    g_output(out.told);
    g_output(out.loss);
    TRY(plan_create(g, &plan));
    int rc = exec_run(plan, &(struct exec){.pool = c->m->pool});
    if (rc >= 0)
        rc = verify_check(c, "reconstruction", g_f32(out.told), (size_t)g_count(out.told));
    if (rc >= 0)
        rc = verify_check(c, "loss", g_f32(out.loss), 1);
    plan_free(plan);
    return rc;
}

int verify_masked(struct verify_case *c, struct arena *arena)
{
    struct views views;
    struct choice choice;
    struct graph *g;
    TRY(verify_views(c, arena, &views));
    TRY(choose(c, views.n, arena, &choice));
    TRY(graph_create(c->m->compute, c->m->threads, &g));
    int rc = compute(c, g, &views, &choice);
    graph_free(g);
    return rc;
}
