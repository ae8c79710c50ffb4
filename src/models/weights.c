/* From weight tables to g_params: names, shapes, presence, and where each lies on disk. The source says where
 * values come from. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "models/conv_rows.h"
#include "models/loader.h"

/* ---- conditions ---------------------------------------------------------------------------- */

bool W_OPTIONAL(const struct weight_ask *a) { return a->present(a->arg, a->name); }
bool W_UNTIED(const struct weight_ask *a) { return !a->f->tied; }
bool W_ATTENTION_BIAS(const struct weight_ask *a) { return a->f->attention_bias; }
bool W_OUT_BIAS(const struct weight_ask *a) { return a->f->out_bias; }
bool W_MLP_BIAS(const struct weight_ask *a) { return a->f->mlp_bias; }
bool W_QK_NORM(const struct weight_ask *a) { return a->f->qk_norm; }
bool W_ONE_NORM(const struct weight_ask *a) { return a->f->wiring == NN_PARALLEL && !a->f->two_norms; }
bool W_TWO_NORMS(const struct weight_ask *a) { return !W_ONE_NORM(a); }
bool W_HEAD(const struct weight_ask *a) { return a->f->use_head; }
bool W_NEWLINE(const struct weight_ask *ask) { return ask->m->facts.newline; }
bool W_CONNECTOR_BIAS(const struct weight_ask *a) { return a->m->facts.connector_bias; }
bool W_CONV_BIAS(const struct weight_ask *a) { return a->f->ssm.conv_bias; }
bool W_SSM_BIAS(const struct weight_ask *a) { return a->f->ssm.bias; }
bool W_SSM_NORM(const struct weight_ask *a) { return a->f->ssm.norm; }
bool W_SHARED(const struct weight_ask *a) { return a->f->moe.shared > 0; }
bool W_GATED(const struct weight_ask *a) { return a->f->gated; }
bool W_UNGATED(const struct weight_ask *a) { return !a->f->gated; }
bool W_PLACES(const struct weight_ask *a) { return a->f->positions > 0; }
bool W_MERGES(const struct weight_ask *a) { return a->f->merges; }
bool W_CLASSES(const struct weight_ask *a) { return a->m->facts.classifies; }
bool W_POOLER(const struct weight_ask *a) { return a->m->facts.pools && W_OPTIONAL(a); }
bool W_TOWER_NORM(const struct weight_ask *a) { return W_OPTIONAL(a) || a->m->family->kind != FAMILY_DECODER || a->m->facts.tower_norm; }
bool W_OWN(const struct weight_ask *a) { return !a->f->layer[a->layer].share; }

/* ---- one weight ---------------------------------------------------------------------------- */

/* What the rows of one table are bound for. */
struct binding {
    struct model *m;
    const struct nn_facts *f;
    const struct weight_source *src;
    const char *prefix, *base;       /* base: cut off names; "" or NULL: nothing */
    const char *body;                /* in place of a leading "model."; NULL: that */
    int stage;
};

/* 'h', '~', 'F' and '%' are the connector's: widths of the text and of its MLP, joined vision width where patches lie
 * side by side, and of a square that is merged; '#' and '^' its queries and the width of the stack between; '=' the states of
 * a tile. */
static int64_t states_width(const struct nn_facts *f)
{
    return f->stages ? f->stage[f->stages - 1].hidden : f->hidden;
}

static int64_t dim_of(const struct binding *b, char letter)
{
    if (letter == 'h')
        return b->m->text.facts.hidden;
    if (letter == '#' || letter == '^')
        return letter == '#' ? b->m->facts.tile_tokens : b->m->more[0].facts.hidden;
    if (letter == '%')
        return states_width(&b->m->vision.facts) * b->m->facts.merge * b->m->facts.merge;
    if (letter == '=')
        return (int64_t)b->m->facts.vl.grid * b->m->facts.vl.grid;
    if (letter == '~')
        return b->m->text.facts.intermediate;
    if (letter == 'F') {
        int step = b->m->facts.downsample > 0 ? (int)lroundf(1 / b->m->facts.downsample) : 1;
        return (int64_t)b->m->vision.facts.hidden * (b->m->facts.n_feature_layers + b->m->vision.facts.tiles.picks) * step * step;
    }
    if (letter == 'e')
        return (int64_t)b->m->facts.hash_functions * b->m->facts.n_hash_sizes * b->m->facts.hash_rows;
    if (letter == 'l' || letter == 'g')
        return letter == 'l' ? b->m->more[1].facts.hidden : b->m->more[3].facts.vocab;
    return nn_dim(b->f, letter);
}

static bool in_layer(const struct weight_row *row, const struct nn_facts *f, int layer)
{
    if (row->in == IN_ALL)
        return true;
    return row->in > 0 ? f->layer[layer].mixer == row->in - 1 : f->layer[layer].channel == -1 - row->in;
}

/* The begin of a name replaced by the first of the rows that fits. */
static int respell(const struct respelling *rows, char *name, size_t cap)
{
    size_t n = strlen(name);
    while (rows->ours && !span_starts(span_of(name, n), span_str(rows->ours)))
        rows++;
    if (!rows->ours)
        return 0;
    size_t from = strlen(rows->ours), to = strlen(rows->theirs);
    if (n - from + to >= cap)
        return err_set(NUN_ELIMIT, "%s: the name is longer than %zu bytes", name, cap);
    memmove(name + to, name + from, n - from + 1);
    memcpy(name, rows->theirs, to);
    return 0;
}

/* The name on disk: prefix, without base, the numbers put in. */
static int name_of(const struct binding *b, const struct weight_row *row, int layer, int expert, char *out, size_t cap)
{
    const struct nn_layer *l = layer < b->f->layers && b->f->layer ? &b->f->layer[layer] : NULL;
    int owner = l && l->share ? l->share - 1 : layer, turn = l ? l->turn : 0;
    const char *from = row->name;
    size_t at = (size_t)snprintf(out, cap, "%s", b->prefix);
    if (b->base && *b->base && span_starts(span_str(from), span_str(b->base)))
        from += strlen(b->base);
    if (b->body && span_starts(span_str(from), SPAN("model."))) {
        at += (size_t)snprintf(out + at, cap - at, "%s", b->body);
        from += strlen("model.");
    }
    for (; *from && at + 12 < cap; from++) {
        if (*from != '%') {
            out[at++] = *from;
            continue;
        }
        from++;
        int number = *from == 'd' ? layer : *from == 'e' ? expert : *from == 's' ? owner : *from == 'g' ? b->stage : turn;
        at += (size_t)snprintf(out + at, cap - at, "%d", number);
    }
    out[at < cap ? at : cap - 1] = '\0';
    if (*from || at >= cap)
        return err_set(NUN_ELIMIT, "%s%s: the name is longer than %zu bytes", b->prefix, row->name, cap);
    return b->m->respelled ? respell(b->m->family->respell, out, cap) : 0;
}

/* The rows of the tensor, and which of them are the weight's. */
static void place_rows(const struct binding *b, const struct weight_row *row, struct model_piece *k)
{
    const struct weight_part *part = &row->part;
    int64_t times = part->times ? dim_of(b, part->times) : 1, before = 0, all = 0;
    if (!part->of) {
        k->run = k->stride = k->disk_rows = k->rows;
        return;
    }
    for (int i = 0; part->of[i]; i++) {
        int64_t n = dim_of(b, part->of[i]);
        before += i < part->at ? n : 0;
        all += n;
    }
    k->from = before;
    k->run = dim_of(b, part->of[part->at]);
    k->stride = all;
    k->disk_rows = all * times;
    k->transposed = part->transposed;
}

/* lead: dimensions of p that are not the tensor's. */
static void disk_shape(const struct g_param *p, int lead, struct model_piece *k)
{
    int at = k->slabs ? 1 : 0; /* of the rows in the tensor's shape */
    if (k->slabs)
        k->shape.d[k->shape.n++] = k->slabs;
    for (int i = lead; i < p->shape.n; i++)
        k->shape.d[k->shape.n++] = p->shape.d[i];
    if (k->shape.n > at)
        k->shape.d[at] = k->disk_rows;
    if (k->transposed && k->shape.n == at + 2) {
        k->shape.d[at] = k->shape.d[at + 1];
        k->shape.d[at + 1] = k->disk_rows;
    }
}

static int push_piece(struct model *m, const struct model_piece *k)
{
    if (m->n_pieces == m->cap_pieces) {
        int cap = m->cap_pieces ? 2 * m->cap_pieces : 64;
        struct model_piece *grown = arena_array(&m->arena, (size_t)cap, sizeof *grown);
        if (!grown)
            return NUN_ENOMEM;
        if (m->n_pieces)
            memcpy(grown, m->pieces, (size_t)m->n_pieces * sizeof *grown);
        m->pieces = grown;
        m->cap_pieces = cap;
    }
    m->pieces[m->n_pieces++] = *k;
    return 0;
}

static int add_piece(const struct binding *b, const struct weight_row *row, struct g_param *p, const char *name, int expert)
{
    struct model *m = b->m;
    bool slabs = row->part.slabs, stacked = strstr(row->name, "%e") != NULL, heads = row->part.times && p->shape.n == 3 && !slabs;
    int lead = stacked || heads || slabs;
    struct model_piece k = {.p = p, .rows = p->shape.n > lead ? p->shape.d[lead] : 1, .cols = 1};
    for (int i = lead + 1; i < p->shape.n; i++)
        k.cols *= p->shape.d[i];
    k.first = stacked ? expert * k.rows : 0;
    k.rows *= heads ? p->shape.d[0] : 1;
    place_rows(b, row, &k);
    if (k.run < 1 || k.rows % k.run || k.rows / k.run * k.stride > k.disk_rows)
        return err_set(NUN_EFORMAT, "%s: %lld rows do not lie in a tensor of %lld", name, (long long)k.rows, (long long)k.disk_rows);
    k.slabs = slabs ? p->shape.d[0] : 0;
    k.rows *= slabs ? k.slabs : 1;
    disk_shape(p, lead, &k);
    if (row->part.stacked)
        k.shape = SHAPE3(p->shape.d[0], k.disk_rows / p->shape.d[0], k.cols);
    if (!(k.name = expert || row->part.of ? arena_strdup(&m->arena, name) : p->name))
        return NUN_ENOMEM;
    return push_piece(m, &k);
}

static int add_pieces(const struct binding *b, const struct weight_row *row, struct g_param *p, int layer)
{
    char name[256];
    int n = strstr(row->name, "%e") ? (int)p->shape.d[0] : 1;
    TRY(limit_check(LIMIT_tensors, (size_t)b->m->n_pieces + (size_t)n, p->name));
    for (int e = 0; e < n; e++) {
        TRY(name_of(b, row, layer, e, name, sizeof name));
        TRY(add_piece(b, row, p, name, e));
    }
    return 0;
}

static int need_params(struct model *m, int more)
{
    if (m->n_params + more <= m->cap_params)
        return 0;
    int cap = 2 * m->cap_params + more;
    struct g_param **grown = arena_array(&m->arena, (size_t)cap, sizeof *grown);
    if (!grown)
        return NUN_ENOMEM;
    if (m->n_params)
        memcpy(grown, m->params, (size_t)m->n_params * sizeof *grown);
    m->params = grown;
    m->cap_params = cap;
    return 0;
}

/* A weight that is a part of a tensor is named "tensor[role]": names are how trainers tell weights apart. */
static int param_name(struct model *m, const struct weight_row *row, const char *name, struct g_param *p)
{
    bool part = row->part.of && row->part.of[1];
    p->name = part ? arena_printf(&m->arena, "%s[%s]", name, nn_roles[row->role].name) : arena_strdup(&m->arena, name);
    return p->name ? 0 : NUN_ENOMEM;
}

/* Small products on which much depends: a router's near ties choose experts, what latent attention keeps of a token
 * is read by every head of every later one, step sizes of a state space stand in an exponent, and of a classifier the
 * few scores are all there is: there pixels, which bfloat16 rounds by a grey level, are not rounded either. What goes
 * into a state space stays in its state, and a router behind it sees the sum (docs/numerics.md). */
static bool is_exact(const struct model *m, const struct nn_facts *f, enum nn_role role)
{
    if ((role == NN_patch_w && m->facts.classifies) || (role == NN_ssm_in_w && f->moe.experts))
        return true;
    return role == NN_classifier_w || role == NN_router_w || role == NN_kv_a_w || role == NN_ssm_x_w || role == NN_ssm_dt_w ||
           role == NN_delta_a_w || role == NN_delta_b_w;
}

/* Weights of the operations that have a matrix an expert, or a head. */
static bool is_stack(enum nn_role role)
{
    return role == NN_expert_gate_w || role == NN_expert_up_w || role == NN_expert_down_w || role == NN_kv_k_w ||
           role == NN_kv_v_w || role == NN_lru_x_w || role == NN_lru_a_w;
}

static int add_param(const struct binding *b, const struct weight_row *row, int layer, struct g_param **slot)
{
    struct model *m = b->m;
    char name[256];
    TRY(name_of(b, row, layer, 0, name, sizeof name));
    struct weight_ask ask = {m, b->f, layer, name, b->src->present, b->src->arg};
    if (row->when && !row->when(&ask))
        return 0;
    TRY(limit_check(LIMIT_tensors, (size_t)m->n_params + 1, name));
    TRY(need_params(m, 1));
    struct g_param *p = arena_alloc(&m->arena, sizeof *p);
    if (!p)
        return NUN_ENOMEM;
    TRY(param_name(m, row, name, p));
    for (const char *c = row->shape ? row->shape : nn_roles[row->role].shape; *c; c++)
        p->shape.d[p->shape.n++] = dim_of(b, *c);
    size_t values;
    TRY(shape_count(&p->shape, &values));
    p->index = m->n_params;
    p->stacked = is_stack(row->role);
    p->reversed = row->role == NN_kv_k_w || row->role == NN_lru_x_w || row->role == NN_lru_a_w;
    p->exact = b->f->exact || is_exact(m, b->f, row->role);
    TRY(add_pieces(b, row, p, layer));
    TRY(b->src->take(b->src->arg, m, row->role, b->f, p));
    m->params[m->n_params++] = p;
    m->n_values += values;
    *slot = p;
    return 0;
}

/* ---- whole tensors ------------------------------------------------------------------------- */

/* Kernels lie with their channels last; a matrix is one of 1x1. */
static struct shape shape_in_memory(const struct weight_whole *w)
{
    const int64_t *d = w->disk.d;
    if (!w->kernel)
        return w->disk;
    return w->disk.n == 4 ? SHAPE4(d[0], d[2], d[3], d[1]) : SHAPE4(d[0], 1, 1, d[1]);
}

int model_bind_whole(struct model *m, const struct weight_source *src, const struct weight_whole *w, struct g_param **slot)
{
    size_t values;
    TRY(limit_check(LIMIT_tensors, (size_t)m->n_params + 1, w->name));
    TRY(need_params(m, 1));
    struct g_param *p = arena_alloc(&m->arena, sizeof *p);
    if (!p || !(p->name = arena_strdup(&m->arena, w->name)))
        return NUN_ENOMEM;
    p->shape = shape_in_memory(w);
    p->index = m->n_params;
    p->exact = w->exact;
    p->statistic = w->role == NN_unit_mean_b || w->role == NN_unit_norm_var;
    TRY(shape_count(&p->shape, &values));
    int64_t rows = w->disk.n ? w->disk.d[0] : 1, taps = w->kernel && w->disk.n == 4 && w->disk.d[1] > 1 ? w->disk.d[2] * w->disk.d[3] : 1;
    if (rows < 1 || values < 1)
        return err_set(NUN_EFORMAT, "%s: a tensor without values", w->name);
    TRY(push_piece(m, &(struct model_piece){.p = p, .name = p->name, .shape = w->disk, .rows = rows, .cols = (int64_t)values / rows,
                                            .run = rows, .stride = rows, .disk_rows = rows, .taps = taps}));
    TRY(src->take(src->arg, m, w->role, &m->vision.facts, p));
    m->params[m->n_params++] = p;
    m->n_values += values;
    *slot = p;
    return 0;
}

/* ---- stacks -------------------------------------------------------------------------------- */

static int bind_layers(const struct binding *b, const struct weight_row *row, struct nn_stack *s)
{
    for (int i = 0; i < s->facts.layers; i++)
        if (in_layer(row, &s->facts, i))
            TRY(add_param(b, row, i, &s->layer[i][row->role]));
    return 0;
}

static int bind_row(const struct binding *b, const struct weight_row *row, struct nn_stack *s)
{
    char scope = nn_roles[row->role].scope;
    if (scope != 'L' && scope != 'G')
        return add_param(b, row, 0, &s->w[row->role]);
    if (!s->facts.stages)
        return bind_layers(b, row, s);
    for (int k = 0; k < s->facts.stages; k++) {
        struct binding in = *b;
        in.stage = k;
        in.f = &s->stage[k].facts;
        TRY(scope == 'L' ? bind_layers(&in, row, &s->stage[k]) : add_param(&in, row, 0, &s->stage[k].w[row->role]));
    }
    return 0;
}

/* Stages are stacks whose blocks are parts of the whole one's. */
static int make_stages(struct model *m, struct nn_stack *s)
{
    int first = 0;
    if (!s->facts.stages)
        return 0;
    if (!(s->stage = arena_array(&m->arena, (size_t)s->facts.stages, sizeof *s->stage)))
        return NUN_ENOMEM;
    for (int k = 0; k < s->facts.stages; k++) {
        s->stage[k].facts = s->facts.stage[k];
        s->stage[k].layer = s->layer + first;
        first += s->facts.stage[k].layers;
    }
    return 0;
}

/* What a layer has no weight of its own for it takes from the layer whose block it shares. */
static void share_weights(struct nn_stack *s)
{
    for (int i = 0; i < s->facts.layers; i++)
        for (int r = 0; r < NN_ROLES && s->facts.layer[i].share; r++)
            if (!s->layer[i][r])
                s->layer[i][r] = s->layer[s->facts.layer[i].share - 1][r];
}

/* Files that were saved without the head lack the base in front of their names. */
static const char *base_of(const struct binding *b, const struct stack_row *row)
{
    char with[256], without[256];
    struct binding cut = *b;
    cut.base = row->base;
    if (!row->base || name_of(b, &row->weights[0], 0, 0, with, sizeof with) < 0 ||
        name_of(&cut, &row->weights[0], 0, 0, without, sizeof without) < 0)
        return NULL;
    return !b->src->present(b->src->arg, with) && b->src->present(b->src->arg, without) ? row->base : NULL;
}

static int bind_stack(struct model *m, const struct stack_row *row, const struct stack_place *where, struct nn_stack *s,
                      const struct weight_source *src)
{
    struct binding b = {.m = m, .f = &s->facts, .src = src, .prefix = where->prefix, .body = where->body};
    b.base = base_of(&b, row);
    s->layer = arena_array(&m->arena, (size_t)s->facts.layers, sizeof *s->layer);
    if (!s->layer)
        return NUN_ENOMEM;
    TRY(make_stages(m, s));
    for (size_t i = 0; i < row->n_weights; i++)
        TRY(bind_row(&b, &row->weights[i], s));
    share_weights(s);
    return 0;
}

/* Whether the file's names begin the other way, told from the first of the decoder. */
static int find_spelling(struct model *m, const struct stack_row *text, const struct weight_source *src)
{
    struct binding b = {m, &m->text.facts, src, m->family->text.prefix, NULL, NULL};
    char name[256];
    if (!m->family->respell || !text)
        return 0;
    TRY(name_of(&b, &text->weights[0], 0, 0, name, sizeof name));
    if (src->present(src->arg, name))
        return 0;
    m->respelled = true;
    TRY(name_of(&b, &text->weights[0], 0, 0, name, sizeof name));
    m->respelled = src->present(src->arg, name);
    return 0;
}

int model_bind_weights(struct model *m, const struct stack_row *text, const struct stack_row *vision,
                       const struct weight_source *src)
{
    struct binding b = {.m = m, .f = &m->text.facts, .src = src, .prefix = ""};
    if (m->family->conv)
        return conv_bind_weights(m, src);
    TRY(need_params(m, 64));
    TRY(find_spelling(m, text, src));
    if (vision)
        TRY(bind_stack(m, vision, &m->family->vision, &m->vision, src));
    for (int i = 0; i < 4 && m->family->more[i].config; i++) {
        const struct stack_row *row;
        TRY(stack_find(m->family->more[i].model_type, "config.json", &row));
        TRY(bind_stack(m, row, &m->family->more[i], &m->more[i], src));
    }
    for (size_t i = 0; i < m->family->n_weights; i++)
        TRY(add_param(&b, &m->family->weights[i], 0, &m->w[m->family->weights[i].role]));
    if (text)
        TRY(bind_stack(m, text, &m->family->text, &m->text, src));
    if (text && m->text.facts.tied)
        m->text.w[NN_lm_head_w] = m->text.w[NN_embed_w];
    return 0;
}
