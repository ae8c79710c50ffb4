/* From weight tables to g_params: names, shapes, presence. The source says where values come from. */
/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "models/loader.h"

static bool wanted(const struct weight_row *row, const struct model *m, const struct nn_facts *f,
                   const struct weight_source *src, const char *name)
{
    switch (row->when) {
    case W_OPTIONAL: return src->present(src->arg, name);
    case W_UNTIED: return !f->tied;
    case W_ATTENTION_BIAS: return f->attention_bias;
    case W_MLP_BIAS: return f->mlp_bias;
    case W_HEAD: return f->use_head;
    case W_CONNECTOR_BIAS: return m->facts.connector_bias;
    case W_ALWAYS: break;
    }
    return true;
}

/* 'h' and 'F' are the connector's: text width, joined vision width. */
static int64_t dim_of(const struct model *m, const struct nn_facts *f, char letter)
{
    if (letter == 'h')
        return m->text.facts.hidden;
    if (letter == 'F')
        return (int64_t)m->vision.facts.hidden * m->facts.n_feature_layers;
    return nn_dim(f, letter);
}

static int add_param(struct model *m, const struct weight_row *row, const char *name, const struct nn_facts *f,
                     const struct weight_source *src, struct g_param **slot)
{
    if (!wanted(row, m, f, src, name))
        return 0;
    TRY(limit_check(LIMIT_tensors, (size_t)m->n_params + 1, name));
    struct g_param *p = arena_alloc(&m->arena, sizeof *p);
    if (!p || !(p->name = arena_strdup(&m->arena, name)))
        return NUN_ENOMEM;
    for (const char *c = nn_roles[row->role].shape; *c; c++)
        p->shape.d[p->shape.n++] = dim_of(m, f, *c);
    size_t values;
    TRY(shape_count(&p->shape, &values));
    p->index = m->n_params;
    TRY(src->take(src->arg, m, row->role, f, p));
    m->params[m->n_params++] = p;
    m->n_values += values;
    *slot = p;
    return 0;
}

static int bind_row(struct model *m, const struct weight_row *row, const char *prefix, struct nn_stack *s,
                    const struct weight_source *src)
{
    char name[256];
    bool per_layer = nn_roles[row->role].scope == 'L';
    for (int i = 0; i < (per_layer ? s->facts.layers : 1); i++) {
        char tail[200];
        const char *at = strstr(row->name, "%d");
        if (at)
            snprintf(tail, sizeof tail, "%.*s%d%s", (int)(at - row->name), row->name, i, at + 2);
        else
            snprintf(tail, sizeof tail, "%s", row->name);
        snprintf(name, sizeof name, "%s%s", prefix, tail);
        TRY(add_param(m, row, name, &s->facts, src, per_layer ? &s->layer[i][row->role] : &s->w[row->role]));
    }
    return 0;
}

static int bind_stack(struct model *m, const struct stack_row *row, const char *prefix, struct nn_stack *s,
                      const struct weight_source *src)
{
    s->layer = arena_array(&m->arena, (size_t)s->facts.layers, sizeof *s->layer);
    if (!s->layer)
        return NUN_ENOMEM;
    for (size_t i = 0; i < row->n_weights; i++)
        TRY(bind_row(m, &row->weights[i], prefix, s, src));
    return 0;
}

int model_bind_weights(struct model *m, const struct stack_row *text, const struct stack_row *vision,
                       const struct weight_source *src)
{
    size_t most = m->family->n_weights;
    if (text)
        most += text->n_weights * (size_t)m->text.facts.layers;
    if (vision)
        most += vision->n_weights * (size_t)m->vision.facts.layers;
    m->params = arena_array(&m->arena, most, sizeof *m->params);
    if (!m->params)
        return NUN_ENOMEM;
    if (vision)
        TRY(bind_stack(m, vision, m->family->vision.prefix, &m->vision, src));
    for (size_t i = 0; i < m->family->n_weights; i++)
        TRY(add_param(m, &m->family->weights[i], m->family->weights[i].name, &m->text.facts, src,
                      &m->w[m->family->weights[i].role]));
    if (text)
        TRY(bind_stack(m, text, m->family->text.prefix, &m->text, src));
    if (text && m->text.facts.tied)
        m->text.w[NN_lm_head_w] = m->text.w[NN_embed_w];
    return 0;
}
