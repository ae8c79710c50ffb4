/* Conversations packed into one row of tokens, and its graph:
 *
 *   conversation | conversation | ... | padding         tokens: each sees its own conversation alone
 *   pictures of one plan | of another | ...             rows of features, scattered into the row or lying beside it
 *
 * What a token sees and where it turns is the timeline's to say, as when it is served; here it is only moved to where the
 * conversation lies. Graphs differ by lengths, rounded up, and by plans of pictures; few are kept. */
/* SPDX-License-Identifier: MIT */
#include "train/talk.h"

#include <string.h>

#include "base/err.h"

enum { CAUSAL = 1, RUNS = 3 }; /* key ranges of a token: before it; and, behind those that windows cut, its run */

struct pack {
    struct talk_shape shape;
    int ranges;
    float **pixels;              /* [groups][count * floats] */
    int32_t **words;             /* [groups][count * tiles * words] */
    int32_t *ids, *pos, *spans;  /* [T], [T], [T, 2 * ranges] */
    float *freq, *inv_freq;      /* [T, pairs]; NULL: it is the same for all */
    int32_t *pick, *labels;      /* [labels] */
    int32_t *image_rows;         /* [rows]: the token that a row of features stands at; -1: none */
    int32_t *side_rows;          /* [beside]: rows of features in the order of the conversations */
    int32_t *sees, *lit;         /* [T, 2], [T] */
};

/* A picture of the row: the first of its rows of features. */
struct seen { const struct picture *picture; struct preprocess_plan key; int slot, base; };

/* ---- shapes ------------------------------------------------------------------------------------ */

/* n as a multiple of an eighth of `most`, so that few shapes come up. */
static int rounded(int n, int most)
{
    int step = (most / 8 + 15) / 16 * 16;
    n = (n + step - 1) / step * step;
    return n < step ? step : n;
}

/* Groups in an order that is the same for the same pictures: by plan, then by words. */
static int compare(const struct preprocess_plan *key, int words, const struct talk_group *g)
{
    int order = memcmp(key, &g->key, sizeof *key);
    return order ? order : words - g->words;
}

static struct talk_group *group_of(struct talk_shape *s, const struct seen *x)
{
    int i = 0;
    while (i < s->groups && compare(&x->key, (int)x->picture->words.n, &s->group[i]))
        i++;
    return &s->group[i];
}

static void add_picture(const struct model *m, struct talk_shape *s, const struct picture *p, struct seen *out)
{
    *out = (struct seen){.picture = p, .key = sight_key(m, &p->plan)};
    struct talk_group *g = group_of(s, out);
    if (g == &s->group[s->groups]) {
        *g = (struct talk_group){.key = out->key, .words = (int)p->words.n, .rows = p->n_features + p->side.rows, .floats = p->floats};
        s->groups++;
    }
    out->slot = g->count++;
    s->inside += p->n_features;
    s->beside += p->side.rows;
    s->rows += g->rows;
}

/* Groups by their keys, so that the order of the pictures makes no other graph; and where each picture's rows begin. */
static void place_pictures(struct talk_shape *s, struct seen *x)
{
    for (int i = 1; i < s->groups; i++)
        for (int k = i; k > 0 && compare(&s->group[k].key, s->group[k].words, &s->group[k - 1]) < 0; k--) {
            struct talk_group swap = s->group[k];
            s->group[k] = s->group[k - 1];
            s->group[k - 1] = swap;
        }
    for (int i = 0; i < s->pictures; i++) {
        const struct talk_group *own = group_of(s, &x[i]);
        x[i].base = x[i].slot * own->rows;
        for (const struct talk_group *g = s->group; g < own; g++)
            x[i].base += g->count * g->rows;
    }
}

/* seen: of all pictures of the conversations, in order. */
static int measure(const struct stage_run *r, const struct talk *talk, int n, struct arena *arena, struct talk_shape *s, struct seen **seen)
{
    size_t pictures = 0;
    int k = 0;
    *s = (struct talk_shape){0};
    for (int i = 0; i < n; i++) {
        s->tokens += talk[i].tokens;
        s->labels += talk[i].labels;
        pictures += talk[i].line ? talk[i].line->n_placed : 0;
    }
    s->tokens = rounded(s->tokens, (int)r->s->tokens);
    s->labels = rounded(s->labels, (int)r->s->tokens);
    s->pictures = (int)pictures;
    s->group = arena_array(arena, pictures + 1, sizeof *s->group);
    *seen = arena_array(arena, pictures + 1, sizeof **seen);
    if (!s->group || !*seen)
        return NUN_ENOMEM;
    for (int i = 0; i < n; i++)
        for (size_t p = 0; talk[i].line && p < talk[i].line->n_placed; p++)
            add_picture(r->t->model, s, talk[i].line->placed[p].picture, &(*seen)[k++]);
    place_pictures(s, *seen);
    return 0;
}

static bool same_shape(const struct talk_shape *a, const struct talk_shape *b)
{
    bool same = a->tokens == b->tokens && a->labels == b->labels && a->groups == b->groups;
    for (int i = 0; i < a->groups && same; i++)
        same = a->group[i].count == b->group[i].count && !compare(&a->group[i].key, a->group[i].words, &b->group[i]);
    return same;
}

/* ---- the graph ----------------------------------------------------------------------------------- */

/* An input whose values lie in the graph's arena. */
static struct g_tensor *input(struct graph *g, const char *name, enum dtype dt, struct shape shape, void *values)
{
    void **at = values;
    struct g_tensor *t = g_input(g, name, dt, shape);
    size_t n = t ? (size_t)g_count(t) : 0;
    *at = t ? arena_array(&g->arena, n, 4) : NULL;
    if (t)
        t->data = *at;
    return *at ? t : NULL;
}

static struct g_tensor *see_group(struct graph *g, const struct model *m, const struct talk_group *own, float **pixels, int32_t **words)
{
    int64_t tiles = (int64_t)own->count * own->key.tiles;
    struct g_tensor *x = input(g, "pixels", DT_F32, SHAPE4(tiles, 3, own->key.tile_height, own->key.tile_width), pixels);
    if (!x || !own->words)
        return model_images(g, m, x, &own->key, own->count);
    struct g_tensor *ids = input(g, "words", DT_I32, SHAPE1(tiles * own->words), words);
    return ids ? model_images_told(g, m, x, &own->key, own->count, ids) : NULL;
}

/* Rows of features of all pictures [rows, width], group after group. */
static struct g_tensor *see(struct graph *g, const struct model *m, struct pack *p)
{
    const struct talk_shape *s = &p->shape;
    struct g_tensor **part = arena_array(&g->arena, (size_t)s->groups, sizeof *part);
    p->pixels = arena_array(&g->arena, (size_t)s->groups, sizeof *p->pixels);
    p->words = arena_array(&g->arena, (size_t)s->groups, sizeof *p->words);
    if (!part || !p->pixels || !p->words)
        return NULL;
    for (int i = 0; i < s->groups; i++)
        if (!(part[i] = see_group(g, m, &s->group[i], &p->pixels[i], &p->words[i])))
            return NULL;
    return s->groups == 1 ? part[0] : g_concat(g, 0, s->groups, part);
}

/* Pictures into the row, or beside it. */
static int show(struct graph *g, const struct model *m, struct pack *p, struct model_text *in, struct nn_sight *sight)
{
    const struct talk_shape *s = &p->shape;
    if (!s->rows)
        return 0;
    struct g_tensor *features = see(g, m, p);
    if (!features)
        return graph_error(g) < 0 ? graph_error(g) : NUN_ENOMEM;
    if (s->inside) {
        in->images = features;
        in->image_rows = input(g, "image_rows", DT_I32, SHAPE1(s->rows), &p->image_rows);
    }
    if (s->beside) {
        struct g_tensor *rows = input(g, "side_rows", DT_I32, SHAPE1(s->beside), &p->side_rows);
        sight->rows = rows ? g_gather_rows(g, features, rows) : NULL;
        sight->n = s->beside;
        sight->spans = input(g, "sees", DT_I32, SHAPE3(1, s->tokens, 2), &p->sees);
        sight->lit = input(g, "lit", DT_I32, SHAPE1(s->tokens), &p->lit);
        in->seq.sight = sight;
    }
    return graph_error(g);
}

static int build(struct stage_run *r, struct train_graph *t, struct pack *p)
{
    const struct model *m = r->t->model;
    const struct nn_facts *f = &m->text.facts;
    const struct talk_shape *s = &p->shape;
    const struct sight_row *row = m->family->sight;
    struct graph *g = t->graph;
    struct nn_sight sight = {0};
    p->ranges = row && (row->both_ways || row->prefix) ? RUNS : CAUSAL;
    struct model_text in = {.seq = {.batch = 1, .tokens = s->tokens, .recompute = r->s->recompute && r->learn},
                            .layers = (int)r->s->decoder_layers};
    in.ids = input(g, "ids", DT_I32, SHAPE1(s->tokens), &p->ids);
    in.seq.pos = input(g, "pos", DT_I32, SHAPE1(s->tokens), &p->pos);
    in.seq.spans = input(g, "spans", DT_I32, SHAPE3(1, s->tokens, 2 * p->ranges), &p->spans);
    in.pick = input(g, "pick", DT_I32, SHAPE1(s->labels), &p->pick);
    struct g_tensor *labels = input(g, "labels", DT_I32, SHAPE1(s->labels), &p->labels);
    if (nn_rope_by_row(f)) {
        int pairs = nn_rope_dims(f, &f->rope[0]) / 2;
        in.seq.freq = input(g, "freq", DT_F32, SHAPE2(s->tokens, pairs), &p->freq);
        if (!(p->inv_freq = arena_array(&g->arena, (size_t)pairs, sizeof *p->inv_freq)))
            return NUN_ENOMEM;
    }
    TRY(show(g, m, p, &in, &sight));
    TRY(graph_error(g));
    TRY(nn_routes_for(g, f, &in.seq.routes));
    struct g_tensor *loss = g_cross_entropy(g, model_logits(g, m, &in), labels);
    return stage_graph_end(r, t, r->learn ? nn_balance(g, f, loss, in.seq.routes) : loss);
}

static int make_graph(struct stage_run *r, const struct talk_shape *shape, struct train_graph **out)
{
    TRY(stage_graph_begin(r, out));
    struct graph *g = (*out)->graph;
    struct pack *p = arena_array(&g->arena, 1, sizeof *p);
    struct talk_group *groups = arena_array(&g->arena, (size_t)shape->groups + 1, sizeof *groups);
    if (!p || !groups)
        return NUN_ENOMEM;
    (*out)->own = p;
    p->shape = *shape;
    memcpy(groups, shape->group, (size_t)shape->groups * sizeof *groups);
    p->shape.group = groups;
    (*out)->nominal = (double)r->s->tokens;
    return build(r, *out, p);
}

/* ---- filling ------------------------------------------------------------------------------------- */

/* Where the next conversation lies. */
struct at { int token, label, side; };

/* Keys before the token, or before the run of tokens that see each other, and the run. */
static void lay_span(struct pack *p, const struct nun_timeline *line, int i, int first)
{
    const struct token_place *at = line->place ? &line->place[i] : NULL;
    bool run = at && at->last > at->first;
    int32_t *span = p->spans + (size_t)(first + i) * 2 * (size_t)p->ranges;
    span[0] = first;
    span[1] = first + (run ? at->first : i + 1);
    if (p->ranges == CAUSAL)
        return;
    span[2] = span[3] = 0;
    span[4] = run ? first + at->first : 0;
    span[5] = run ? first + at->last : 0;
}

static void lay_frequencies(struct pack *p, const struct model *m, const struct nun_timeline *line, int first)
{
    const struct nn_facts *f = &m->text.facts;
    const struct nn_rope *rope = &f->rope[0];
    int pairs = nn_rope_dims(f, rope) / 2, n = (int)line->ids.n;
    if (!p->freq)
        return;
    nn_rope_frequencies(f, rope, n, p->inv_freq);
    for (int i = 0; i < n; i++) {
        float *out = p->freq + (size_t)(first + i) * (size_t)pairs;
        if (rope->sections[0] && line->place)
            nn_rope_angles(f, rope, p->inv_freq, line->place[i].at, out);
        else
            memcpy(out, p->inv_freq, (size_t)pairs * sizeof *out);
        if (rope->sections[0])
            p->pos[first + i] = 1; /* the positions are in the angles */
    }
}

static void lay_tokens(struct pack *p, const struct model *m, const struct talk *talk, struct at *at)
{
    const struct nun_timeline *line = talk->line;
    int first = at->token;
    for (int i = 0; i < talk->tokens; i++) {
        struct kv_row row = {0};
        p->ids[first + i] = model_is_behind(m, line->ids.at[i]) ? 0 : line->ids.at[i];
        p->pos[first + i] = i;
        lay_span(p, line, i, first);
        if (p->sees) {
            p->lit[first + i] = look_row(line, i, &row) ? first + i : -1;
            bool any = row.sees[1] > row.sees[0];
            p->sees[2 * (first + i)] = any ? at->side + row.sees[0] : 0;
            p->sees[2 * (first + i) + 1] = any ? at->side + row.sees[1] : 0;
        }
        if (talk->learnt[i]) {
            p->pick[at->label] = first + i - 1;
            p->labels[at->label++] = line->ids.at[i];
        }
    }
    lay_frequencies(p, m, line, first);
    at->token += talk->tokens;
}

/* A picture's pixels, what it reads, and where its rows of features go. */
static void lay_picture(struct pack *p, const struct nun_timeline *line, const struct placed *placed, const struct seen *x, int first)
{
    const struct talk_group *own = group_of(&p->shape, x);
    size_t group = (size_t)(own - p->shape.group), words = (size_t)own->words;
    memcpy(p->pixels[group] + (size_t)x->slot * own->floats, x->picture->pixels, own->floats * sizeof(float));
    for (int k = x->slot * own->key.tiles; words && k < (x->slot + 1) * own->key.tiles; k++)
        memcpy(p->words[group] + (size_t)k * words, x->picture->words.at, words * sizeof(int32_t));
    for (int k = 0; k < own->rows && p->image_rows; k++)
        p->image_rows[x->base + k] = -1;
    for (int64_t i = placed->at; i < placed->end && p->image_rows; i++)
        if (line->place[i].feature >= 0)
            p->image_rows[x->base + line->place[i].feature] = first + (int32_t)i;
}

/* Rows beside the sequence in the order that look_row counts in: those that are shown, then all padding. */
static void lay_sides(struct pack *p, const struct seen *x, size_t n, struct at *at)
{
    for (int padding = 0; padding < 2 && p->side_rows; padding++)
        for (size_t i = 0; i < n; i++) {
            const struct picture *own = x[i].picture;
            for (int k = padding ? own->side.shown : 0; k < (padding ? own->side.rows : own->side.shown); k++)
                p->side_rows[at->side++] = x[i].base + own->n_features + k;
        }
}

static void pad(struct pack *p, const struct at *at)
{
    const struct talk_shape *s = &p->shape;
    size_t from = (size_t)at->token, rest = (size_t)s->tokens - from;
    memset(p->ids + from, 0, rest * sizeof *p->ids);
    memset(p->pos + from, 0, rest * sizeof *p->pos);
    memset(p->spans + from * 2 * (size_t)p->ranges, 0, rest * 2 * (size_t)p->ranges * sizeof *p->spans);
    for (int i = at->token; i < s->tokens && p->sees; i++) {
        p->sees[2 * i] = p->sees[2 * i + 1] = 0;
        p->lit[i] = -1;
    }
    for (int i = at->label; i < s->labels; i++)
        p->pick[i] = p->labels[i] = -1;
}

int talk_graph(struct stage_run *r, const struct talk *talk, int n, struct train_graph **out)
{
    struct talk_shape shape;
    struct arena arena;
    struct seen *seen;
    struct at at = {0};
    arena_init(&arena, MEM_TRAIN, 0);
    int rc = measure(r, talk, n, &arena, &shape, &seen);
    for (*out = rc < 0 ? NULL : r->graphs; *out; *out = (*out)->next)
        if (same_shape(&((const struct pack *)(*out)->own)->shape, &shape))
            break;
    if (rc >= 0 && !*out)
        rc = make_graph(r, &shape, out);
    for (int i = 0; rc >= 0 && i < n; i++) {
        const struct nun_timeline *line = talk[i].line;
        struct pack *p = (*out)->own;
        if (!line)
            continue;
        for (size_t k = 0; k < line->n_placed; k++)
            lay_picture(p, line, &line->placed[k], &seen[k], at.token);
        lay_tokens(p, r->t->model, &talk[i], &at);
        lay_sides(p, seen, line->n_placed, &at);
        seen += line->n_placed;
    }
    if (rc >= 0) {
        pad((*out)->own, &at);
        stage_graph_use(r, *out);
        (*out)->weight = at.label;
        (*out)->tokens = at.token;
        (*out)->placeholders = shape.inside;
        (*out)->side_rows = shape.beside;
    }
    arena_free(&arena);
    return rc;
}
