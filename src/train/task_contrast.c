/* The task "contrast": pictures and texts that say what is in them; each picture is to be told from the others by its
 * text, and each text by its picture. CLIP (arXiv:2103.00020): softmax over the batch, both ways. SigLIP
 * (arXiv:2303.15343): a sigmoid a pair. Two pictures of one text would be told that they are wrong for each other: where
 * a text comes again in a micro-batch, another picture far ahead in the world takes the place. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "train/drawn.h"

enum { ROUNDS_MAX = 100, PROMPTS = SCENE_COLOURS * SCENE_SHAPES };
static const uint64_t FAR_AHEAD = UINT64_C(1) << 40; /* further than any run gets: no picture comes twice */

struct pairs {
    int pictures, texts, tokens;
    struct drawn *drawn;
    struct ids ids;              /* of one text */
    int32_t *rows, *pool;        /* [texts * tokens], [texts]: inputs of the graph */
    struct g_tensor *pixels, *scores; /* scores [pictures, texts] */
    bool prompts;                /* texts are the prompts of classes */
};

/* ---- the graph ----------------------------------------------------------------------------- */

static struct g_tensor *text_vectors(struct graph *g, const struct model *m, struct pairs *p)
{
    int T = p->tokens, N = p->texts;
    int32_t *pos, *spans;
    struct model_pooled out;
    struct g_tensor *ids = nn_ints(g, SHAPE1((int64_t)N * T), &p->rows), *pool = nn_ints(g, SHAPE1(N), &p->pool);
    struct nn_seq seq = {.batch = N, .tokens = T, .pos = nn_ints(g, SHAPE1((int64_t)N * T), &pos),
                         .spans = nn_ints(g, SHAPE3(N, T, 2), &spans)};
    if (graph_error(g) < 0)
        return NULL;
    for (int i = 0; i < N * T; i++) {
        pos[i] = i % T;
        spans[2 * i] = 0;
        spans[2 * i + 1] = m->text.facts.causal ? i % T + 1 : T;
        p->rows[i] = 0;
    }
    memset(p->pool, 0, (size_t)N * sizeof *p->pool);
    return model_text_encoder(g, m, ids, &seq, pool, &out) < 0 ? NULL : out.embeds;
}

static struct g_tensor *scores_of(struct graph *g, const struct model *m, struct pairs *p)
{
    struct model_pooled image;
    int side = model_image_size(m);
    p->pixels = g_input(g, "pixels", DT_F32, SHAPE4(p->pictures, 3, side, side));
    if (model_vision(g, m, p->pixels, &image) < 0)
        return NULL;
    return model_contrast(g, m, image.embeds, text_vectors(g, m, p));
}

/* Tokens of a text's row: all that a model has which sees its padding. */
static int row_tokens(const struct stage_run *r)
{
    const struct nn_facts *f = &r->t->model->text.facts;
    return f->causal && r->s->tokens ? (int)r->s->tokens : f->positions;
}

static int make(struct stage_run *r, bool prompts, struct train_graph **out)
{
    struct pairs *p = mem_calloc(MEM_TRAIN, 1, sizeof *p);
    if (!p)
        return NUN_ENOMEM;
    int n = stage_micro_rows(r), rc = stage_graph_begin(r, out);
    if (rc < 0) {
        mem_free(p);
        return rc;
    }
    struct train_graph *t = *out;
    t->own = p;
    *p = (struct pairs){.pictures = n, .texts = prompts ? PROMPTS : n, .tokens = row_tokens(r), .prompts = prompts};
    TRY(drawn_create(r, n, &p->drawn));
    p->scores = scores_of(t->graph, r->t->model, p);
    if (!r->learn)
        g_output(p->scores);
    TRY(stage_graph_end(r, t, prompts ? p->scores : model_contrast_loss(t->graph, r->t->model, p->scores)));
    p->pixels->data = p->drawn->pixels;
    t->rows = n;
    t->weight = t->nominal = n;
    return 0;
}

static int graph_of(struct stage_run *r, bool prompts, struct train_graph **out)
{
    for (*out = r->graphs; *out; *out = (*out)->next)
        if (((const struct pairs *)(*out)->own)->prompts == prompts)
            return 0;
    return make(r, prompts, out);
}

/* ---- texts --------------------------------------------------------------------------------- */

/* What follows a text; a model that sees it wants that which it was trained with. */
static int padding_of(const struct stage_run *r, int32_t *out)
{
    int64_t id = tokenizer_role(r->t->tokenizer, TOK_PAD);
    if (id < 0) {
        id = 1;
        TRY(json_get_int(r->t->model->config, "config.json", "text_config.pad_token_id", 0, INT32_MAX, &id));
    }
    *out = (int32_t)id;
    return 0;
}

/* The text as row i of the ids; how many there are is added to *used. */
static int put_text(const struct stage_run *r, struct pairs *p, int i, const char *text, int64_t *used)
{
    int32_t pad, *row = p->rows + (size_t)i * (size_t)p->tokens;
    p->ids.n = 0;
    TRY(padding_of(r, &pad));
    TRY(tokenizer_encode(r->t->tokenizer, span_str(text), TOK_ADD_SPECIAL, &p->ids));
    if (p->ids.n > (size_t)p->tokens || !p->ids.n)
        return err_set(NUN_ELIMIT, "stage %s: a text of %zu tokens, and a row holds %d: \"%s\"", r->s->name, p->ids.n, p->tokens, text);
    for (int k = 0; k < p->tokens; k++)
        row[k] = k < (int)p->ids.n ? p->ids.at[k] : pad;
    *used += (int64_t)p->ids.n;
    return 0;
}

/* Does an earlier picture of the micro-batch, or one that has its place, have the same text? */
static bool taken(const struct pairs *p, int i)
{
    size_t bytes = (size_t)p->tokens * sizeof *p->rows;
    const int32_t *row = p->rows + (size_t)i * (size_t)p->tokens;
    for (int k = 0; k < p->texts; k++)
        if (k != i && !p->drawn->due[k] && !memcmp(row, p->rows + (size_t)k * (size_t)p->tokens, bytes))
            return true;
    return false;
}

/* Pictures that were drawn take their places in order, and others are asked for where that fails: how many. */
static int settle(const struct stage_run *r, struct pairs *p, int64_t *used, int *left)
{
    struct drawn *d = p->drawn;
    *left = 0;
    for (int i = 0; i < d->n; i++) {
        int64_t tokens = 0;
        if (!d->due[i])
            continue;
        if (d->asked[i])
            TRY(put_text(r, p, i, d->qa[i].answer, &tokens));
        d->due[i] = !d->asked[i] || taken(p, i);
        d->number[i] += d->due[i] ? FAR_AHEAD : 0;
        *left += d->due[i];
        *used += d->due[i] ? 0 : tokens;
    }
    return 0;
}

static int fill(struct stage_run *r, uint64_t first, struct train_graph **out)
{
    TRY(graph_of(r, false, out));
    struct pairs *p = (*out)->own;
    int left = p->pictures;
    (*out)->tokens = 0;
    drawn_ask(p->drawn, first);
    for (int k = 0; left && k < ROUNDS_MAX; k++) {
        TRY(drawn_fill(p->drawn, &r->source, r->t->pool));
        TRY(settle(r, p, &(*out)->tokens, &left));
    }
    if (left)
        return err_set(NUN_EFORMAT, "stage %s: the world has no %d pictures whose texts differ: a smaller batch, or richer pictures", r->s->name,
                       p->pictures);
    return model_pool_rows(r->t->model, p->rows, p->texts, p->tokens, p->pool);
}

/* ---- scores -------------------------------------------------------------------------------- */

/* Is cell i the greatest of n that lie `step` apart? */
static bool is_best(const float *x, int n, int step, int i)
{
    for (int k = 0; k < n; k++)
        if (k != i && x[(size_t)k * (size_t)step] >= x[(size_t)i * (size_t)step])
            return false;
    return true;
}

static void count(const struct train_graph *g, struct train_score *out)
{
    const struct pairs *p = g->own;
    const float *x = g_f32(p->scores);
    int n = p->pictures, texts = 0, pictures = 0;
    for (int i = 0; i < n; i++) {
        texts += is_best(x + (size_t)i * (size_t)n, n, 1, i);
        pictures += is_best(x + i, n, n, i);
    }
    train_measured(out, "picture_to_text", texts, n);
    train_measured(out, "text_to_picture", pictures, n);
}

/* Class i: "a red circle", as captions say it. */
static void prompt_of(int i, char *out, size_t cap)
{
    const char *colour = scene_colours[i / SCENE_SHAPES].name;
    snprintf(out, cap, "a%s %s %s", strchr("aeiou", *colour) ? "n" : "", colour, scene_shapes[i % SCENE_SHAPES].name);
}

static int put_prompts(const struct stage_run *r, struct pairs *p)
{
    char text[64];
    int64_t used = 0;
    for (int i = 0; i < PROMPTS; i++) {
        prompt_of(i, text, sizeof text);
        TRY(put_text(r, p, i, text, &used));
    }
    return model_pool_rows(r->t->model, p->rows, PROMPTS, p->tokens, p->pool);
}

/* The class of a picture's one object; -1: its caption says none. */
static int class_of(const char *caption)
{
    char text[64];
    for (int i = 0; i < PROMPTS; i++) {
        prompt_of(i, text, sizeof text);
        if (!strcmp(caption, text))
            return i;
    }
    return -1;
}

static void count_classes(const struct pairs *p, struct train_score *out)
{
    int right = 0, colours = 0, shapes = 0, all = 0;
    for (int i = 0; i < p->pictures; i++) {
        const float *x = g_f32(p->scores) + (size_t)i * PROMPTS;
        int class = p->drawn->asked[i] ? class_of(p->drawn->qa[i].answer) : -1, best = 0;
        for (int k = 1; k < PROMPTS; k++)
            best = x[k] > x[best] ? k : best;
        all += class >= 0;
        right += best == class;
        colours += class >= 0 && best / SCENE_SHAPES == class / SCENE_SHAPES;
        shapes += class >= 0 && best % SCENE_SHAPES == class % SCENE_SHAPES;
    }
    train_measured(out, "zero_shot", right, all);
    train_measured(out, "zero_shot_colour", colours, all);
    train_measured(out, "zero_shot_shape", shapes, all);
}

/* Zero-shot classification: pictures of one object against all colours and shapes. */
static int measure(struct stage_run *r, int pictures, struct train_score *out)
{
    static char objects[] = "objects", caption[] = "caption";
    struct recipe_weight one = {objects, 1}, asked = {caption, 1};
    struct recipe_stage s = *r->s;
    struct batch_source source = r->source;
    struct exec e = {.pool = r->t->pool};
    struct train_graph *g;
    float share = 1;
    if (strcmp(source.world.row->name, "scenes")) /* other worlds have no pictures of one object */
        return 0;
    s.max_objects = s.pictures_mix_count = s.questions_mix_count = 1;
    s.pictures_mix = &one;
    s.questions_mix = &asked;
    TRY(source.world.row->set(&source.world, &s, r->split));
    TRY(graph_of(r, true, &g));
    struct pairs *p = g->own;
    g->share->data = &share;
    TRY(put_prompts(r, p));
    for (int at = 0; at < pictures; at += p->pictures) {
        drawn_ask(p->drawn, (uint64_t)at);
        TRY(drawn_fill(p->drawn, &source, r->t->pool));
        TRY(exec_run(g->plan, &e));
        count_classes(p, out);
    }
    return 0;
}

/* Logits are never scaled by more than 100, as in CLIP. */
static void keep_scale(struct stage_run *r)
{
    float *scale = (float *)(uintptr_t)r->t->model->w[NN_logit_scale]->data;
    if (!r->t->model->facts.sigmoid)
        *scale = fminf(*scale, logf(100));
}

/* ---- the row ------------------------------------------------------------------------------- */

/* Texts describe: captions and lists, as the recipe weighs them. */
static int set_world(struct stage_run *r)
{
    static char caption[] = "caption", list[] = "list";
    struct recipe_weight both[] = {{caption, 1}, {list, 1}};
    struct recipe_stage s = *r->s;
    if (!s.questions_mix_count) {
        s.questions_mix = both;
        s.questions_mix_count = 2;
    }
    for (uint32_t i = 0; i < s.questions_mix_count; i++)
        if (s.questions_mix[i].weight > 0 && strcmp(s.questions_mix[i].name, caption) && strcmp(s.questions_mix[i].name, list))
            return err_set(NUN_EFORMAT, "stage %s: contrast takes texts that describe (caption, list), found %s in questions_mix", s.name,
                           s.questions_mix[i].name);
    return r->source.world.row->set(&r->source.world, &s, r->split);
}

static int check_text(const struct stage_run *r)
{
    const struct nn_facts *f = &r->t->model->text.facts;
    int64_t end = -1;
    int32_t mine = tokenizer_role(r->t->tokenizer, TOK_EOS);
    if ((int)r->s->tokens > f->positions)
        return err_set(NUN_EFORMAT, "stage %s: tokens %u, the model has %d positions", r->s->name, r->s->tokens, f->positions);
    TRY(json_get_int(r->t->model->config, "config.json", "text_config.eos_token_id", -1, INT32_MAX, &end));
    if (f->causal && end != 2 && end != mine)
        return err_set(NUN_EFORMAT, "stage %s: the config's text ends with token %lld, the tokenizer's with %d", r->s->name, (long long)end, mine);
    return 0;
}

static int open_stage(struct stage_run *r)
{
    const struct recipe_stage *s = r->s;
    const struct model *m = r->t->model;
    if (m->family->kind != FAMILY_CONTRASTIVE || !model_image_size(m))
        return err_set(NUN_EUNSUP, "stage %s: contrast learns CLIPModel and SiglipModel, found %s", s->name, m->family->architecture);
    if (s->accumulate > 1)
        return err_set(NUN_EFORMAT, "stage %s: accumulate %u: every picture is compared with all texts of its step, which cannot be taken apart",
                       s->name, s->accumulate);
    if (s->batch < 2)
        return err_set(NUN_EFORMAT, "stage %s: batch %u: there is nothing to compare with", s->name, s->batch);
    TRY(check_text(r));
    return set_world(r);
}

static void drop(void *own)
{
    struct pairs *p = own;
    if (!p)
        return;
    drawn_free(p->drawn);
    ids_free(&p->ids);
    mem_free(p);
}

static const struct tok_special special[] = {{"<|startoftext|>", TOK_BOS}, {"<|endoftext|>", TOK_EOS}, {"<pad>", TOK_PAD}};
static const struct task_text text = {special, sizeof special / sizeof special[0], true, true};

const struct train_task train_task_contrast = {
    .name = "contrast", .doc = "a world's pictures and their captions, each found by the other: CLIP's softmax or SigLIP's sigmoid",
    .open = open_stage, .fill = fill, .count = count, .drop = drop, .text = &text, .measure = measure, .settle = keep_scale};
