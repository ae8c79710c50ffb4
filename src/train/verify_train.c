/* Training against the reference: the loss at the stored weights, the gradient of every parameter, ten
 * AdamW steps on one batch, and sequences packed into one row. Two layouts of train.json are read: one
 * run at the top (decoders), or several under `runs` (with pictures, with parts frozen). */
/* SPDX-License-Identifier: MIT */
#include "train/verify_train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "graph/exec.h"
#include "train/optim.h"
#include "train/verify_graph.h"

enum { STEPS_MAX = 64 };

/* "tolerance" of train.json, and what holds where it has none. */
static const double LOSS_TOLERANCE = 1e-4, GRAD_FLOOR = 1e-5, GRAD_SHARE = 1e-3;
static const double STEPS_LOSS = 2e-3, STEPS_NORM = 1e-2, FINAL_NORM = 2e-3;

struct settings { float lr, beta1, beta2, eps, decay, clip; int steps; };

struct train_run {
    struct verify_case *c;
    struct arena *arena;
    struct safetensors *expected;
    const json_t *json, *run;    /* the file, and the run in it (the same for one run) */
    struct settings s;
    struct verify_batch batch;
    struct verify_graph g;
    struct optim *optim;
    double losses[STEPS_MAX + 1], norms[STEPS_MAX];
    bool first;                  /* the run whose curves go into the dump */
};

/* ---- reading ------------------------------------------------------------------------------- */

static int read_settings(const json_t *json, struct settings *s)
{
    const json_t *o = json_object_get(json, "settings");
    float betas[2] = {0.9f, 0.95f};
    double lr = 0, eps = 1e-8, decay = 0, clip = 1;
    int64_t steps = 10;
    int n = 0;
    o = o ? o : json_object_get(json, "optimizer");
    TRY(json_get_double(o, "train.json", "lr", 0, 10, &lr));
    TRY(json_get_double(o, "train.json", "eps", 0, 1, &eps));
    TRY(json_get_double(o, "train.json", "weight_decay", 0, 10, &decay));
    TRY(json_get_double(o, "train.json", json_object_get(o, "clip_norm") ? "clip_norm" : "clip_grad_norm", 0, 1e9, &clip));
    TRY(json_get_floats(o, "train.json", "betas", 0, 1, betas, 2, &n));
    TRY(json_get_int(o, "train.json", "steps", 1, STEPS_MAX, &steps));
    *s = (struct settings){(float)lr, betas[0], betas[1], (float)eps, (float)decay, (float)clip, (int)steps};
    return 0;
}

/* Loss before step i (and after the last), and the norm of its gradient, in either layout. */
static double wanted_loss(const struct train_run *t, int i)
{
    const json_t *list = json_object_get(t->run, "loss"), *steps = json_object_get(t->run, "steps");
    if (json_is_array(list))
        return json_number_value(json_array_get(list, (size_t)i));
    if ((size_t)i == json_array_size(steps))
        return json_number_value(json_object_get(t->run, "loss_after"));
    return json_number_value(json_object_get(json_array_get(steps, (size_t)i), "loss"));
}

static double wanted_norm(const struct train_run *t, int i)
{
    const json_t *list = json_object_get(t->run, "grad_norm"), *steps = json_object_get(t->run, "steps");
    if (json_is_array(list))
        return json_number_value(json_array_get(list, (size_t)i));
    return json_number_value(json_object_get(json_array_get(steps, (size_t)i), "grad_norm"));
}

/* ---- comparing ----------------------------------------------------------------------------- */

static void put_item(struct train_run *t, const char *name, double max_abs, double excess)
{
    struct nun_verify_item item = {.name = arena_strdup(t->arena, name), .max_abs = max_abs, .excess = excess,
                                   .row_cosine = 1, .ok = excess <= 1};
    if (item.name)
        verify_item(t->c, &item);
}

static void put_number(struct train_run *t, const char *name, double got, double want, double allowed)
{
    double d = fabs(got - want);
    put_item(t, name, d, d / allowed);
}

/* Does the tensor `name` lie in a parameter that learns? -1: there is no such tensor. */
static int tensor_learns(const struct train_run *t, const char *name)
{
    const struct model *m = t->c->m->model;
    for (int i = 0; i < m->n_pieces; i++)
        if (!strcmp(m->pieces[i].name, name))
            return m->pieces[i].p->trainable;
    return -1;
}

/* A tensor of train.safetensors, and the same of the model, as it would lie on disk: weights, or their gradients. */
struct pair { struct shape shape; size_t n; const float *want; float *got; };

static int pair_of(struct train_run *t, const char *key, const char *name, bool gradients, struct pair *out)
{
    const struct st_tensor *x;
    size_t have;
    TRY(st_need(t->expected, span_str(key), NULL, &x));
    TRY(shape_count(&x->shape, &out->n));
    TRY(model_gather(t->c->m->model, name, gradients, &out->shape, NULL));
    TRY(shape_count(&out->shape, &have));
    if (out->n != have)
        return err_set(NUN_EFORMAT, "%s: expected %zu values, the model has %zu", key, out->n, have);
    if (!(out->got = arena_array(t->arena, have, sizeof *out->got)))
        return NUN_ENOMEM;
    TRY(model_gather(t->c->m->model, name, gradients, &out->shape, out->got));
    return verify_values(x, t->arena, &out->want);
}

static int check_gradient(struct train_run *t, const char *key, const char *name)
{
    struct pair x;
    double worst = 0, largest = 0;
    TRY(pair_of(t, key, name, true, &x));
    for (size_t i = 0; i < x.n; i++) {
        double d = fabs((double)x.got[i] - x.want[i]);
        worst = !(d <= worst) ? d : worst;
        largest = fmax(largest, fabs((double)x.want[i]));
    }
    put_item(t, key, worst, worst / (GRAD_FLOOR + GRAD_SHARE * largest));
    return verify_dump(t->c->v, key, DT_F32, x.shape, x.got);
}

static int check_weights(struct train_run *t, const char *key, const char *name)
{
    struct pair x;
    double diff = 0, norm = 0, worst = 0;
    TRY(pair_of(t, key, name, false, &x));
    for (size_t i = 0; i < x.n; i++) {
        double d = (double)x.got[i] - x.want[i];
        diff += d * d;
        norm += (double)x.want[i] * x.want[i];
        worst = !(fabs(d) <= worst) ? fabs(d) : worst;
    }
    put_item(t, key, worst, sqrt(diff) / (FINAL_NORM * sqrt(norm)));
    return verify_dump(t->c->v, key, DT_F32, x.shape, x.got);
}

/* Every tensor that the run's object `field` names. */
static int check_named(struct train_run *t, const char *field,
                       int (*check)(struct train_run *t, const char *key, const char *name))
{
    json_t *map = json_object_get(t->run, field), *key;
    const char *name;
    json_object_foreach(map, name, key) {
        if (tensor_learns(t, name) < 0)
            return err_set(NUN_EFORMAT, "train.json: %s: the model has no parameter %s", field, name);
        TRY(check(t, json_string_value(key), name));
    }
    return 0;
}

/* What the graph does not reach must be what the reference left alone. */
static int check_unreached(struct train_run *t)
{
    const json_t *list = json_object_get(t->run, "without_gradient"), *name;
    const struct model *m = t->c->m->model;
    size_t i, n = 0;
    list = list ? list : json_object_get(t->run, "no_gradient");
    for (int k = 0; k < m->n_params; k++)
        n += t->g.unreached[k];
    if (n != json_array_size(list))
        return err_set(NUN_EFORMAT, "train.json: %zu parameters without gradient, here %zu", json_array_size(list), n);
    json_array_foreach(list, i, name) {
        if (tensor_learns(t, json_string_value(name) ? json_string_value(name) : "") != 0)
            return err_set(NUN_EFORMAT, "train.json: %s has no gradient there, but one here", json_string_value(name));
    }
    return 0;
}

static int dump_curve(struct train_run *t, const char *key, const double *values, int n)
{
    float v[STEPS_MAX + 1];
    for (int i = 0; i < n; i++)
        v[i] = (float)values[i];
    return t->first ? verify_dump(t->c->v, key, DT_F32, SHAPE1(n), v) : 0;
}

static int check_curves(struct train_run *t)
{
    double loss = 0, norm = 0;
    for (int i = 0; i <= t->s.steps; i++)
        loss = fmax(loss, fabs(t->losses[i] - wanted_loss(t, i)));
    for (int i = 0; i < t->s.steps; i++)
        norm = fmax(norm, fabs(t->norms[i] / wanted_norm(t, i) - 1));
    put_number(t, "loss", t->losses[0], wanted_loss(t, 0), LOSS_TOLERANCE);
    put_item(t, "steps_loss", loss, loss / STEPS_LOSS);
    put_item(t, "steps_grad_norm", norm, norm / STEPS_NORM);
    TRY(dump_curve(t, "train/loss", t->losses, 1));
    TRY(dump_curve(t, "train/steps_loss", t->losses, t->s.steps));
    return dump_curve(t, "train/steps_grad_norm", t->norms, t->s.steps);
}

/* ---- running ------------------------------------------------------------------------------- */

static enum optim_kind all_adamw(const struct g_param *p, void *arg)
{
    return OPTIM_ADAMW;
}

/* Names that begin with an entry of `frozen` do not learn. */
static bool learns(const struct g_param *p, void *arg)
{
    const json_t *frozen = json_object_get(arg, "frozen"), *prefix;
    size_t i;
    json_array_foreach(frozen, i, prefix)
        if (json_string_value(prefix) && span_starts(span_str(p->name), span_str(json_string_value(prefix))))
            return false;
    return true;
}

static int replay(struct train_run *t, double *loss)
{
    TRY(exec_run(t->g.plan, &(struct exec){.pool = t->c->m->pool}));
    *loss = (double)g_f32(t->g.loss)[0];
    return 0;
}

static int step(struct train_run *t, int i)
{
    struct nun_model *m = t->c->m;
    struct optim_settings all[OPTIM_KINDS] = {0};
    all[OPTIM_ADAMW] = (struct optim_settings){.lr = t->s.lr, .beta1 = t->s.beta1, .beta2 = t->s.beta2, .eps = t->s.eps,
                                               .weight_decay = t->s.decay};
    optim_zero_grad(t->optim);
    TRY(replay(t, &t->losses[i]));
    t->norms[i] = optim_grad_norm(t->optim);
    if (i == 0)
        TRY(check_named(t, "gradients", check_gradient));
    double factor = fmin(1, t->s.clip / (t->norms[i] + 1e-6));
    optim_step(t->optim, all, (float)factor, m->pool);
    TRY(model_pack(m->model, GEMM_F32, true, m->pool));
    return i == 0 ? check_named(t, "after_one_step", check_weights) : 0;
}

static int packed_loss(struct train_run *t)
{
    const json_t *packed = json_object_get(t->json, "packed");
    struct verify_batch batch;
    struct verify_graph g = {0};
    double want = 0;
    if (!packed)
        return 0;
    TRY(json_get_double(packed, "train.json: packed", "loss", 0, 1e9, &want));
    TRY(verify_batch_packed(t->c, packed, t->arena, &batch));
    int rc = verify_graph_create(t->c, &batch, false, &g);
    if (rc >= 0)
        rc = exec_run(g.plan, &(struct exec){.pool = t->c->m->pool});
    if (rc >= 0) {
        float loss = g_f32(g.loss)[0];
        put_number(t, "packed_loss", (double)loss, want, LOSS_TOLERANCE);
        rc = verify_dump(t->c->v, "train/packed_loss", DT_F32, SHAPE1(1), &loss);
    }
    verify_graph_free(&g);
    return rc;
}

static int run_steps(struct train_run *t)
{
    struct model *m = t->c->m->model;
    TRY(read_settings(t->json, &t->s));
    TRY(model_make_trainable(m, learns, (void *)(uintptr_t)t->run));
    TRY(model_pack(m, GEMM_F32, true, t->c->m->pool));
    if (t->first)
        TRY(packed_loss(t));
    TRY(verify_batch_read(t->c, t->json, t->arena, &t->batch));
    TRY(verify_graph_create(t->c, &t->batch, true, &t->g));
    TRY(check_unreached(t));
    TRY(optim_create(m->params, m->n_params, t->c->m->threads, all_adamw, NULL, &t->optim));
    for (int i = 0; i < t->s.steps; i++)
        TRY(step(t, i));
    optim_zero_grad(t->optim);
    TRY(replay(t, &t->losses[t->s.steps]));
    TRY(check_curves(t));
    return check_named(t, "final", check_weights);
}

static int run_one(struct verify *v, struct safetensors *expected, const json_t *json, const json_t *run, const char *name,
                   bool first)
{
    struct nun_model_options o = {.threads = v->o->threads, .compute = NUN_F32};
    struct arena arena;
    struct verify_case *c = mem_calloc(MEM_TRAIN, 1, sizeof *c);
    struct train_run *t = mem_calloc(MEM_TRAIN, 1, sizeof *t);
    int rc = c && t ? 0 : NUN_ENOMEM;
    arena_init(&arena, MEM_TRAIN, 0);
    if (rc >= 0) {
        *c = (struct verify_case){.v = v, .json = json};
        c->r = (struct nun_verify_case){.name = name, .path = "train", .items = c->items, .ok = true};
        *t = (struct train_run){.c = c, .arena = &arena, .expected = expected, .json = json, .run = run, .first = first};
        rc = nun_model_open(v->folder, &o, &c->m);
        if (rc >= 0)
            rc = run_steps(t);
        verify_finish(c, rc);
        verify_graph_free(&t->g);
        optim_free(t->optim);
        nun_model_close(c->m);
        rc = 0;
    }
    arena_free(&arena);
    mem_free(t);
    mem_free(c);
    return rc;
}

static int run_file(struct verify *v, struct safetensors *expected, json_t *json)
{
    json_t *runs = json_object_get(json, "runs"), *run;
    const char *name;
    bool first = true;
    if (!runs)
        return run_one(v, expected, json, json, "train", true);
    json_object_foreach(runs, name, run) {
        TRY(run_one(v, expected, json, run, name, first));
        first = false;
    }
    return 0;
}

int verify_train(struct verify *v, const char *path)
{
    char tensors[4096];
    struct safetensors *expected;
    json_t *json;
    TRY(verify_path(v, "train.safetensors", tensors, sizeof tensors));
    TRY(st_open(tensors, &expected));
    int rc = json_load_file_limited(path, &json);
    if (rc >= 0) {
        rc = run_file(v, expected, json);
        json_decref(json);
    }
    st_close(expected);
    return rc;
}
