/* Text encoders: states, pooled states, scores of masked tokens; padding as the case has it. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "runtime/verify_int.h"

static struct g_tensor *filled(struct graph *g, struct shape shape, void *data)
{
    struct g_tensor *t = g_input(g, NULL, DT_I32, shape);
    if (t)
        t->data = data;
    return t;
}

/* Tokens that the case's mask leaves; all of them without one. */
static int valid_tokens(const struct verify_case *c, int length)
{
    const json_t *mask = json_object_get(c->json, "attention_mask");
    int n = 0;
    while (n < length && (!mask || json_integer_value(json_array_get(mask, (size_t)n))))
        n++;
    return n;
}

struct encoder_run {
    struct graph *g;
    struct plan *plan;
    struct model_states out;
    int length, valid;
};

static int build(struct verify_case *c, struct arena *arena, struct encoder_run *r)
{
    const json_t *types = json_object_get(c->json, "token_type_ids");
    int32_t *ids, *kinds = NULL;
    int rows, length;
    TRY(verify_ids(json_object_get(c->json, "input_ids"), c->r.name, arena, &ids, &rows, &length));
    if (rows != 1)
        return err_set(NUN_EUNSUP, "%s: %d rows of ids", c->r.name, rows);
    if (types)
        TRY(verify_ids(types, c->r.name, arena, &kinds, &rows, &r->length));
    r->length = length;
    r->valid = valid_tokens(c, length);
    int32_t *pos = arena_array(arena, (size_t)length, 4), *spans = arena_array(arena, 2 * (size_t)length, 4);
    if (!pos || !spans)
        return NUN_ENOMEM;
    model_positions(c->m->model, ids, length, pos);
    for (int i = 0; i < length; i++)
        spans[2 * i + 1] = r->valid;
    struct nn_seq seq = {.batch = 1, .tokens = length, .pos = filled(r->g, SHAPE1(length), pos),
                         .types = kinds ? filled(r->g, SHAPE1(length), kinds) : NULL,
                         .spans = filled(r->g, SHAPE3(1, length, 2), spans)};
    TRY(model_encode(r->g, c->m->model, filled(r->g, SHAPE1(length), ids), &seq, &r->out));
    g_output(r->out.hidden);
    if (r->out.pooled)
        g_output(r->out.pooled);
    if (r->out.logits)
        g_output(r->out.logits);
    return 0;
}

static int check(struct verify_case *c, const char *name, const struct g_tensor *x)
{
    return x ? verify_check(c, name, g_f32(x), (size_t)g_count(x)) : 0;
}

static int check_mean(struct verify_case *c, struct arena *arena, const struct encoder_run *r)
{
    int width = (int)g_last(r->out.hidden);
    float *mean = arena_array(arena, (size_t)width, sizeof *mean);
    if (!mean)
        return NUN_ENOMEM;
    for (int h = 0; h < width; h++) {
        double sum = 0;
        for (int t = 0; t < r->valid; t++)
            sum += g_f32(r->out.hidden)[(size_t)t * (size_t)width + (size_t)h];
        mean[h] = (float)(sum / r->valid);
    }
    return verify_check(c, "mean_pooled", mean, (size_t)width);
}

static int run(struct verify_case *c, struct arena *arena, struct encoder_run *r)
{
    TRY(build(c, arena, r));
    TRY(plan_create(r->g, &r->plan));
    TRY(exec_run(r->plan, &(struct exec){.pool = c->m->pool}));
    TRY(check(c, "last_hidden_state", r->out.hidden));
    TRY(check(c, "pooler_output", r->out.pooled));
    TRY(check(c, "logits", r->out.logits));
    return check_mean(c, arena, r);
}

int verify_encoder(struct verify_case *c, struct arena *arena)
{
    struct encoder_run r = {0};
    TRY(graph_create(c->m->compute, c->m->threads, &r.g));
    int rc = run(c, arena, &r);
    plan_free(r.plan);
    graph_free(r.g);
    return rc;
}
