/* Convolutional encoders between files and graphs: the config through its table to blocks, every unit's weights by
 * the table of names, and the graph of the whole. Knows no family. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "models/conv_rows.h"
#include "models/loader.h"

/* ---- config -------------------------------------------------------------------------------- */

int conv_push(struct conv_read *r, const struct nn_block *b)
{
    struct nn_conv *c = r->c;
    TRY(limit_check(LIMIT_layers, (size_t)c->n_blocks + 1, r->place));
    if (c->n_blocks == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 32;
        struct nn_block *grown = arena_array(r->arena, (size_t)r->cap, sizeof *grown);
        if (!grown)
            return NUN_ENOMEM;
        if (c->n_blocks)
            memcpy(grown, c->block, (size_t)c->n_blocks * sizeof *grown);
        c->block = grown;
    }
    struct nn_block *at = &c->block[c->n_blocks++];
    *at = *b;
    at->in = r->width;
    nn_block_plan(at);
    c->width = r->width = at->out;
    return 0;
}

int conv_same_count(const struct conv_read *r, const char *a, int n, const char *b, int m)
{
    if (n < 1 || n != m)
        return err_set(NUN_EFORMAT, "%s: expected as many %s as %s, found %d and %d", r->place, a, b, n, m);
    return 0;
}

int conv_read_config(struct model *m, const char *place)
{
    const struct conv_row *row = m->family->conv;
    struct conv_facts f = row->fixed;
    const char *const *ignore = config_ignore(&m->arena, row->ignore);
    if (!ignore)
        return NUN_ENOMEM;
    TRY(json_read(m->config, place, "", row->fields, row->n_fields, &f, &(struct json_unknown){.strict = true, .ignore = ignore}));
    struct conv_read r = {.config = m->config, .place = place, .f = &f, .arena = &m->arena, .c = &m->conv, .width = f.channels};
    m->facts = m->family->fixed;
    m->conv.channels = f.channels;
    TRY(family_labels(&(struct stack_read){m->config, place, &m->vision.facts, &m->arena}));
    m->conv.classes = m->facts.classifies ? m->vision.facts.labels : 0;
    return row->finish(&r);
}

/* ---- weights ------------------------------------------------------------------------------- */

/* The weights of a unit: of which module, with what ending, where they go. */
enum { OF_CONV, OF_NORM, OF_GAIN };
static const struct part { enum nn_role role; int of; const char *end; size_t at; } parts[] = {
    {NN_unit_w, OF_CONV, ".weight", offsetof(struct nn_unit, w)},
    {NN_unit_b, OF_CONV, ".bias", offsetof(struct nn_unit, b)},
    {NN_unit_norm_w, OF_NORM, ".weight", offsetof(struct nn_unit, norm_w)},
    {NN_unit_norm_b, OF_NORM, ".bias", offsetof(struct nn_unit, norm_b)},
    {NN_unit_mean_b, OF_NORM, ".running_mean", offsetof(struct nn_unit, norm_mean)},
    {NN_unit_norm_var, OF_NORM, ".running_var", offsetof(struct nn_unit, norm_var)},
    {NN_unit_gain_norm, OF_GAIN, "", offsetof(struct nn_unit, gain_w)},
};

static bool has(const struct nn_unit *u, enum nn_role role)
{
    if (role == NN_unit_b)
        return u->bias;
    if (role == NN_unit_gain_norm)
        return u->gain;
    if (role == NN_unit_mean_b || role == NN_unit_norm_var)
        return u->norm == NN_UNIT_BATCH;
    return role == NN_unit_w || u->norm != NN_UNIT_PLAIN;
}

/* The module's name with the numbers put in, and the ending. */
static int name_of(const struct model *m, const char *module, const char *end, const struct nn_block *b, char *out, size_t cap)
{
    size_t at = 0;
    bool cut = !m->facts.classifies && span_starts(span_str(module), span_str(m->family->conv->base));
    for (const char *from = module + (cut ? strlen(m->family->conv->base) : 0); *from && at + 16 < cap; from++) {
        if (*from != '%') {
            out[at++] = *from;
            continue;
        }
        from++;
        at += (size_t)snprintf(out + at, cap - at, "%d", *from == 's' ? b->stage : b->index);
    }
    int n = snprintf(out + at, cap - at, "%s", end);
    return n < (int)(cap - at) && at + 16 < cap ? 0 : err_set(NUN_ELIMIT, "%s: the name is longer than %zu bytes", module, cap);
}

static int bind_part(struct model *m, const struct weight_source *src, const struct nn_block *b, struct nn_unit *u,
                     const struct conv_name *name, const struct part *part)
{
    char text[256];
    const char *const modules[] = {name->conv, name->norm, name->gain};
    if (!has(u, part->role))
        return 0;
    TRY(name_of(m, modules[part->of], part->end, b, text, sizeof text));
    struct weight_whole w = {.role = part->role, .name = text};
    if (part->role == NN_unit_w) {
        w.kernel = true;
        /* bf16 does not tell all pixels apart; and what a shortcut gives, all later blocks build on */
        w.exact = b->part == NN_PART_STEM || u == &b->unit[NN_UNIT_shortcut];
        w.role = u->groups > 1 ? NN_unit_group_w : NN_unit_w;
        for (const char *c = u->flat ? "OI" : nn_roles[part->role].shape; *c; c++)
            w.disk.d[w.disk.n++] = nn_unit_dim(u, *c);
    } else {
        w.disk = SHAPE1(part->of == OF_NORM && u->norm == NN_UNIT_LAYER_BEFORE ? u->in : u->out);
    }
    return model_bind_whole(m, src, &w, (struct g_param **)(void *)((char *)u + part->at));
}

static int bind_block(struct model *m, const struct weight_source *src, struct nn_block *b)
{
    const struct conv_row *row = m->family->conv;
    for (size_t i = 0; i < row->n_names; i++) {
        struct nn_unit *u = &b->unit[row->names[i].unit];
        for (size_t k = 0; k < sizeof parts / sizeof parts[0] && row->names[i].part == b->part && u->out; k++)
            TRY(bind_part(m, src, b, u, &row->names[i], &parts[k]));
    }
    return 0;
}

/* A vector or a matrix that no block has; few rows see it. */
static int bind_end(struct model *m, const struct weight_source *src, enum nn_role role, const char *module, const char *end,
                    struct shape shape, struct g_param **slot)
{
    char text[256];
    TRY(name_of(m, module, end, &(struct nn_block){0}, text, sizeof text));
    return model_bind_whole(m, src, &(struct weight_whole){.role = role, .name = text, .disk = shape, .exact = true}, slot);
}

int conv_bind_weights(struct model *m, const struct weight_source *src)
{
    const struct conv_row *row = m->family->conv;
    struct nn_conv *c = &m->conv;
    for (int i = 0; i < c->n_blocks; i++)
        TRY(bind_block(m, src, &c->block[i]));
    if (row->pool_norm) {
        TRY(bind_end(m, src, NN_post_norm_w, row->pool_norm, ".weight", SHAPE1(c->width), &c->pool_norm_w));
        TRY(bind_end(m, src, NN_post_norm_b, row->pool_norm, ".bias", SHAPE1(c->width), &c->pool_norm_b));
    }
    if (!c->classes)
        return 0;
    TRY(bind_end(m, src, NN_classifier_w, row->head, ".weight", SHAPE2(c->classes, c->width), &c->head_w));
    return bind_end(m, src, NN_classifier_b, row->head, ".bias", SHAPE1(c->classes), &c->head_b);
}

/* ---- graphs -------------------------------------------------------------------------------- */

int model_conv(struct graph *g, const struct model *m, struct g_tensor *pixels, struct model_pooled *out)
{
    const struct nn_conv *c = &m->conv;
    struct g_tensor *maps = nn_conv_blocks(g, c, nn_conv_maps(g, pixels), 0, c->n_blocks);
    *out = (struct model_pooled){.hidden = maps};
    if (!maps)
        return graph_error(g);
    out->pooled = nn_conv_pool(g, c, maps);
    if (c->head_w)
        out->logits = nn_linear(g, c->head_w, c->head_b, out->pooled, NULL, ACT_NONE);
    return graph_error(g);
}
