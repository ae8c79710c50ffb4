/* Stages: who learns how fast, and the graphs of a task by the shapes of its micro-batches. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "train/trainer.h"

const struct train_task *const train_tasks[] = {&train_task_questions, &train_task_conversations, &train_task_contrast,
                                                &train_task_masked, NULL};

/* ---- who learns how ------------------------------------------------------------------------ */

static bool in_use(const struct trainer *t, const struct recipe_stage *s, const struct g_param *p)
{
    if (!s->decoder_layers)
        return true;
    for (int i = (int)s->decoder_layers; i < t->model->text.facts.layers; i++)
        for (int r = 0; r < NN_ROLES; r++)
            if (t->model->text.layer[i][r] == p)
                return false;
    return true;
}

static bool in_stack(const struct nn_stack *s, const struct g_param *p, int *layer)
{
    *layer = -1;
    for (int r = 0; r < NN_ROLES; r++)
        if (s->w[r] == p)
            return true;
    for (int i = 0; i < s->facts.layers && s->layer; i++)
        for (int r = 0; r < NN_ROLES; r++)
            if (s->layer[i][r] == p) {
                *layer = i;
                return true;
            }
    return false;
}

/* What families name in ways of their own: the tower; what joins it to the decoder; the decoder's layers that look at pictures
 * beside the sequence; the rest of the decoder. */
static const char *part_of(const struct model *m, const struct g_param *p)
{
    int layer;
    if (in_stack(&m->vision, p, &layer))
        return "tower";
    if (!in_stack(&m->text, p, &layer))
        return "connector";
    return layer >= 0 && nn_looks(&m->text.facts, layer) ? "cross" : "llm";
}

static bool is_of(const struct model *m, const struct g_param *p, const char *name)
{
    return !strcmp(part_of(m, p), name) || span_starts(span_str(p->name), span_str(name));
}

static bool listed(const struct model *m, const struct recipe_stage *s, const struct g_param *p)
{
    bool found = s->learn_count == 0;
    for (uint32_t k = 0; k < s->learn_count; k++)
        found = found || is_of(m, p, s->learn[k]);
    return found;
}

static float share_of_rate(const struct model *m, const struct recipe_stage *s, const struct g_param *p)
{
    for (uint32_t k = 0; k < s->parts_count; k++)
        if (is_of(m, p, s->parts[k].name))
            return s->parts[k].lr / s->lr;
    return 1;
}

bool stage_learns(const struct model *m, const struct recipe_stage *s, const struct g_param *p)
{
    return listed(m, s, p) && share_of_rate(m, s, p) > 0;
}

void stage_set_learning(struct trainer *t, const struct recipe_stage *s)
{
    for (int i = 0; i < t->model->n_params; i++) {
        struct g_param *p = t->model->params[i];
        p->trainable = p->grad && in_use(t, s, p) && stage_learns(t->model, s, p);
    }
    /* weights that no output reads get no gradient and must not be decayed either */
    const struct nn_stack *v = &t->model->vision;
    if (t->model->family->kind == FAMILY_DECODER && v->w[NN_post_norm_w] && !t->model->facts.tower_norm)
        v->w[NN_post_norm_w]->trainable = v->w[NN_post_norm_b]->trainable = false;
    const struct nn_stack *const stacks[] = {v, &t->model->more[0]};
    for (size_t i = 0; i < sizeof stacks / sizeof stacks[0]; i++)
        if (stacks[i]->facts.waves)
            stacks[i]->w[NN_pos_w]->trainable = false;
    for (int i = 0; t->optim && i < t->optim->n; i++)
        t->optim->slots[i].rate = share_of_rate(t->model, s, t->optim->slots[i].whole);
}

void stage_frozen_digest(const struct trainer *t, struct digest *out)
{
    struct digest_state all;
    digest_begin(&all);
    for (int i = 0; i < t->model->n_params; i++) {
        const struct g_param *p = t->model->params[i];
        size_t n, bytes;
        if (!p->trainable && shape_count(&p->shape, &n) >= 0 && dtype_bytes(p->dt, n, &bytes) >= 0)
            digest_update(&all, p->data, bytes);
    }
    digest_end(&all, out);
}

/* ---- graphs -------------------------------------------------------------------------------- */

enum gemm_format train_compute(const struct trainer *t)
{
    return t->recipe->compute && !strcmp(t->recipe->compute, "f32") ? GEMM_F32 : GEMM_BF16;
}

uint64_t stage_steps(const struct recipe_stage *s)
{
    return (s->pictures + s->batch - 1) / s->batch;
}

int stage_micro_rows(const struct stage_run *r)
{
    return (int)(r->s->batch / r->micro);
}

int stage_task(const struct recipe_stage *s, const struct train_task **out)
{
    const char *name = s->task ? s->task : train_task_questions.name;
    for (size_t i = 0; train_tasks[i]; i++)
        if (!strcmp(train_tasks[i]->name, name)) {
            *out = train_tasks[i];
            return 0;
        }
    return err_set(NUN_EFORMAT, "stage %s: there is no task \"%s\"", s->name, name);
}

/* What the finished model could not be cut to is not to be learnt first. */
static int check_layers(const struct model *m, const struct recipe_stage *s)
{
    bool fewer = s->decoder_layers && (int)s->decoder_layers < m->text.facts.layers && m->family->arrange;
    for (int i = 0; fewer && i < m->text.facts.layers; i++)
        if (nn_looks(&m->text.facts, i))
            return err_set(NUN_EUNSUP, "stage %s: decoder_layers %u: layers that look at pictures stand between those of the text: all take part",
                           s->name, s->decoder_layers);
    return 0;
}

int stage_open(struct trainer *t, const struct recipe_stage *s, bool learn, enum scene_split split, struct stage_run *out)
{
    *out = (struct stage_run){.t = t, .s = s, .source = t->source, .learn = learn, .split = split, .told = s->told,
                              .samples = UINT64_MAX, .micro = learn && s->accumulate > 1 ? s->accumulate : 1};
    if (s->batch % out->micro)
        return err_set(NUN_EFORMAT, "stage %s: batch %u is not a multiple of accumulate %u", s->name, s->batch, out->micro);
    TRY(check_layers(t->model, s));
    TRY(stage_task(s, &out->task));
    return out->task->open ? out->task->open(out) : 0;
}

static void graph_drop(struct stage_run *r, struct train_graph *g)
{
    plan_free(g->plan);
    graph_free(g->graph);
    if (r->task->drop)
        r->task->drop(g->own);
    mem_free(g);
}

void stage_close(struct stage_run *r)
{
    while (r->graphs) {
        struct train_graph *g = r->graphs;
        r->graphs = g->next;
        graph_drop(r, g);
    }
    if (r->task && r->task->close)
        r->task->close(r);
    *r = (struct stage_run){0};
}

void stage_graph_use(struct stage_run *r, struct train_graph *g)
{
    enum { KEPT = 8 };
    const size_t most = (size_t)2 << 30; /* bytes of all but the first */
    size_t bytes = 0;
    int n = 0;
    for (struct train_graph **at = &r->graphs; *at; at = &(*at)->next)
        if (*at == g) {
            *at = g->next;
            break;
        }
    g->next = r->graphs;
    r->graphs = g;
    for (struct train_graph **at = &g->next; *at;) {
        struct train_graph *old = *at;
        bytes += old->plan ? old->plan->memory_bytes + old->plan->scratch_bytes : 0;
        if (++n < KEPT && bytes <= most) {
            at = &old->next;
            continue;
        }
        *at = old->next;
        graph_drop(r, old);
    }
}

int stage_graph_begin(struct stage_run *r, struct train_graph **out)
{
    struct train_graph *g = mem_calloc(MEM_TRAIN, 1, sizeof *g);
    *out = g;
    if (!g)
        return NUN_ENOMEM;
    g->next = r->graphs; /* closing the stage frees it, whatever becomes of it */
    r->graphs = g;
    TRY(graph_create(train_compute(r->t), pool_threads(r->t->pool), &g->graph));
    g->graph->training = r->learn;
    g->share = g_input(g->graph, "share", DT_F32, SHAPE1(1));
    return graph_error(g->graph);
}

int stage_graph_end(struct stage_run *r, struct train_graph *g, struct g_tensor *loss)
{
    g->loss = g_output(loss);
    TRY(graph_error(g->graph));
    if (r->learn)
        TRY(graph_backward(g->graph, g->loss, g->share));
    return plan_create(g->graph, &g->plan);
}
