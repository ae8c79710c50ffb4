/* Questions about a scene, with their answers. One row a kind; a row's function makes one question or
 * says that this picture has none of the kind. Every phrase refers to exactly one thing. Knows no pixels. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/hash.h"
#include "base/rng.h"
#include "data/scenes.h"
#include "data/scenes_words.h"

enum { QUESTION_STREAM = 2, RELATION_GAP = 10, TRIES_PER_QUESTION = 6 };

struct asker {
    const struct scene *s;
    enum scene_split split;
    struct rng rng;
    struct scene_qa *qa;
    uint64_t topic; /* what the question is about, whatever its wording */
    bool yes; /* answer of the next existence question: they alternate, whatever gets refused as repeated */
};

static bool coin(struct asker *a) { return rng_u32(&a->rng) >> 31; }
static int pick(struct asker *a, int n) { return (int)rng_below(&a->rng, (uint32_t)n); }

static void ask(struct asker *a, const char *const *forms, int n, const char *const *arg)
{
    a->topic = (uint64_t)a->qa->kind;
    for (const char *const *p = arg; p && *p; p++)
        a->topic = hash64(*p, strlen(*p), a->topic);
    words_fill(a->qa->question, sizeof a->qa->question, forms[pick(a, n)], arg);
}

static void answer(struct asker *a, const char *text)
{
    snprintf(a->qa->answer, sizeof a->qa->answer, "%s", text);
}

static int count_matches(const struct scene *s, struct thing t) { return thing_count(s->object, s->count, t); }

/* A phrase by one of the rows that fits object i alone. */
static bool refer(struct asker *a, int i, const struct say *rows, int n, char out[PHRASE])
{
    int first = pick(a, n);
    for (int k = 0; k < n; k++) {
        struct thing t = thing_said(&a->s->object[i], rows[(first + k) % n]);
        if (count_matches(a->s, t) == 1) {
            thing_phrase(out, t, false);
            return true;
        }
    }
    return false;
}

/* Like refer, for any object; which one comes back. */
static int refer_any(struct asker *a, const struct say *rows, int n, char out[PHRASE])
{
    if (!a->s->count)
        return -1;
    int first = pick(a, a->s->count);
    for (int k = 0; k < a->s->count; k++) {
        int i = (first + k) % a->s->count;
        if (refer(a, i, rows, n, out))
            return i;
    }
    return -1;
}

/* May a question speak of this pair? The held-out ones only in the split that shows them. */
static bool may_say(const struct asker *a, int colour, int shape)
{
    return a->split == SCENE_HELDOUT || !scene_pair_held(colour, shape);
}

static bool absent_pair(const struct asker *a, int colour, int shape)
{
    return may_say(a, colour, shape) && count_matches(a->s, (struct thing){ANY, colour, shape}) == 0;
}

static struct thing absent_random(struct asker *a)
{
    struct thing t = {ANY, 0, 0};
    do {
        t.colour = pick(a, SCENE_COLOURS);
        t.shape = pick(a, SCENE_SHAPES);
    } while (!absent_pair(a, t.colour, t.shape));
    return t;
}

static struct thing absent_popular(struct asker *a)
{
    int first = pick(a, SCENE_POPULAR_PAIRS);
    for (int k = 0; k < SCENE_POPULAR_PAIRS; k++) {
        struct scene_pair p = scene_popular_pairs[(first + k) % SCENE_POPULAR_PAIRS];
        if (absent_pair(a, p.colour, p.shape))
            return (struct thing){ANY, p.colour, p.shape};
    }
    return absent_random(a);
}

/* A colour and a shape that both are in the picture, never on one object; where there is no such
 * pair, one of the two is. */
static struct thing absent_cooccurring(struct asker *a)
{
    for (int need = 2; need >= 1; need--) {
        struct thing found[SCENE_COLOURS * SCENE_SHAPES];
        int n = 0;
        for (int c = 0; c < SCENE_COLOURS; c++)
            for (int h = 0; h < SCENE_SHAPES; h++) {
                int seen = (count_matches(a->s, (struct thing){ANY, c, ANY}) > 0) +
                           (count_matches(a->s, (struct thing){ANY, ANY, h}) > 0);
                if (seen >= need && absent_pair(a, c, h))
                    found[n++] = (struct thing){ANY, c, h};
            }
        if (n)
            return found[pick(a, n)];
    }
    return absent_random(a);
}

typedef struct thing absent_fn(struct asker *a);
static absent_fn *const absent_by[SCENE_NEG_COUNT] = {
    [SCENE_NEG_RANDOM] = absent_random, [SCENE_NEG_POPULAR] = absent_popular,
    [SCENE_NEG_COOCCURRING] = absent_cooccurring,
};

/* Drop the shape or the colour, if what is left is absent still. */
static struct thing shorten_absent(struct asker *a, struct thing t)
{
    struct thing brief = t;
    if (coin(a))
        brief.shape = ANY;
    else
        brief.colour = ANY;
    return count_matches(a->s, brief) == 0 ? brief : t;
}

static bool ask_existence(struct asker *a)
{
    static const char *const forms[] = {"Is there %?", "Is there % in the picture?", "Do you see %?", "Can you see %?"};
    if (!a->s->count)
        return false;
    bool brief = pick(a, 4) == 0;
    struct thing t;
    if (a->yes) {
        t = thing_said(&a->s->object[pick(a, a->s->count)], (struct say){false, true, true});
        if (brief)
            *(coin(a) ? &t.shape : &t.colour) = ANY;
    } else {
        a->qa->negative = (enum scene_negative)(SCENE_NEG_RANDOM + pick(a, SCENE_NEG_COUNT - 1));
        t = absent_by[a->qa->negative](a);
        if (brief && a->qa->negative == SCENE_NEG_RANDOM)
            t = shorten_absent(a, t);
    }
    char noun[PHRASE], full[PHRASE + 8];
    thing_phrase(noun, t, false);
    thing_article(full, noun);
    ask(a, forms, COUNT_OF(forms), (const char *const[]){full, NULL});
    answer(a, a->yes ? "yes" : "no");
    return true;
}

static struct thing pick_counted(struct asker *a)
{
    const struct scene_object *o = &a->s->object[pick(a, a->s->count)];
    int which = pick(a, 20);
    if (which < 5)
        return (struct thing){ANY, ANY, ANY};
    if (which < 10)
        return thing_said(o, (struct say){.colour = true});
    if (which < 15)
        return thing_said(o, (struct say){.shape = true});
    if (which < 17)
        return thing_said(o, (struct say){.colour = true, .shape = true});
    return shorten_absent(a, absent_random(a));
}

static bool ask_count(struct asker *a)
{
    static const char *const forms[] = {"How many % are there?", "How many % do you see?", "Count the %."};
    if (!a->s->count)
        return false;
    struct thing t = pick_counted(a);
    char noun[PHRASE];
    thing_phrase(noun, t, true);
    ask(a, forms, COUNT_OF(forms), (const char *const[]){noun, NULL});
    snprintf(a->qa->answer, sizeof a->qa->answer, "%d", count_matches(a->s, t));
    return true;
}

static bool ask_colour(struct asker *a)
{
    static const char *const forms[] = {"What colour is the %?", "What color is the %?", "What is the colour of the %?",
                                        "Which color does the % have?"};
    static const struct say rows[] = {{.shape = true}, {.size = true, .shape = true}};
    char noun[PHRASE];
    int i = refer_any(a, rows, COUNT_OF(rows), noun);
    if (i < 0)
        return false;
    ask(a, forms, COUNT_OF(forms), (const char *const[]){noun, NULL});
    answer(a, scene_colours[a->s->object[i].colour].name);
    return true;
}

static bool ask_shape(struct asker *a)
{
    static const char *const forms[] = {"What shape is the %?", "What is the shape of the %?",
                                        "Which shape does the % have?"};
    static const struct say rows[] = {{.colour = true}, {.size = true, .colour = true}};
    char noun[PHRASE];
    int i = refer_any(a, rows, COUNT_OF(rows), noun);
    if (i < 0)
        return false;
    ask(a, forms, COUNT_OF(forms), (const char *const[]){noun, NULL});
    answer(a, scene_shapes[a->s->object[i].shape].name);
    return true;
}

static bool ask_size(struct asker *a)
{
    static const char *const forms[] = {"What size is the %?", "How big is the %?", "Is the % small or large?"};
    static const struct say rows[] = {{.colour = true, .shape = true}, {.colour = true}, {.shape = true}};
    char noun[PHRASE];
    int i = refer_any(a, rows, COUNT_OF(rows), noun);
    if (i < 0)
        return false;
    ask(a, forms, COUNT_OF(forms), (const char *const[]){noun, NULL});
    answer(a, scene_size_names[a->s->object[i].size]);
    return true;
}

static const struct say full_rows[] = {
    {false, true, true}, {false, true, true}, {true, true, true}, {false, true, false}, {false, false, true},
};

static bool ask_position(struct asker *a)
{
    static const char *const forms[] = {"Where is the %?", "Where in the picture is the %?",
                                        "What is the position of the %?"};
    char noun[PHRASE];
    int i = refer_any(a, full_rows, COUNT_OF(full_rows), noun);
    if (i < 0)
        return false;
    ask(a, forms, COUNT_OF(forms), (const char *const[]){noun, NULL});
    answer(a, scene_position_names[scene_position(a->s->object[i].x, a->s->object[i].y)]);
    return true;
}

static bool ask_relation(struct asker *a)
{
    static const char *const forms[] = {"Is the % % the %?"};
    static const char *const words[4][2] = {
        {"left of", "to the left of"}, {"right of", "to the right of"},
        {"above", "higher than"},      {"below", "lower than"},
    };
    const struct scene *s = a->s;
    if (s->count < 2)
        return false;
    int i = pick(a, s->count), j = (i + 1 + pick(a, s->count - 1)) % s->count;
    bool down = coin(a), yes = coin(a);
    float d = down ? s->object[j].y - s->object[i].y : s->object[j].x - s->object[i].x;
    char first[PHRASE], second[PHRASE];
    if (fabsf(d) < RELATION_GAP || !refer(a, i, full_rows, COUNT_OF(full_rows), first) ||
        !refer(a, j, full_rows, COUNT_OF(full_rows), second))
        return false;
    int word = 2 * down + ((d < 0) == yes); /* i before j: "left of", "above" */
    ask(a, forms, COUNT_OF(forms), (const char *const[]){first, words[word][pick(a, 2)], second, NULL});
    answer(a, yes ? "yes" : "no");
    return true;
}

static bool ask_text(struct asker *a)
{
    static const char *const forms[] = {"Read the text.", "What does the text say?", "What is written in the picture?"};
    if (!a->s->word.chars[0])
        return false;
    ask(a, forms, COUNT_OF(forms), NULL);
    answer(a, a->s->word.chars);
    return true;
}

static void ask_bar_pair(struct asker *a)
{
    static const char *const forms[] = {"Is the % bar % than the % bar?"};
    const struct scene_chart *c = &a->s->chart;
    int i = pick(a, c->count), j = (i + 1 + pick(a, c->count - 1)) % c->count;
    bool yes = coin(a), taller = (c->bar[i].height > c->bar[j].height) == yes;
    ask(a, forms, COUNT_OF(forms), (const char *const[]){scene_colours[c->bar[i].colour].name,
        taller ? "taller" : "shorter", scene_colours[c->bar[j].colour].name, NULL});
    answer(a, yes ? "yes" : "no");
}

static bool ask_bars(struct asker *a)
{
    static const char *const many[] = {"How many bars are there?", "Count the bars."};
    static const char *const which[] = {"Which bar is %?", "Which bar is the %?", "What colour is the % bar?"};
    const struct scene_chart *c = &a->s->chart;
    if (!c->count)
        return false;
    int kind = pick(a, 8);
    if (kind == 0) {
        ask(a, many, COUNT_OF(many), NULL);
        snprintf(a->qa->answer, sizeof a->qa->answer, "%d", c->count);
    } else if (kind < 5) {
        bool tallest = coin(a);
        ask(a, which, COUNT_OF(which), (const char *const[]){tallest ? "tallest" : "shortest", NULL});
        answer(a, scene_colours[c->bar[words_extreme_bar(c->bar, c->count, tallest)].colour].name);
    } else {
        ask_bar_pair(a);
    }
    return true;
}

static const char *const number_words[] = {"no", "one", "two", "three", "four", "five", "six"};

/* "a red star", "two red stars" */
static void caption_things(const struct scene_object *o, int n, char out[PHRASE + 8])
{
    char noun[PHRASE];
    thing_phrase(noun, thing_said(o, (struct say){false, true, true}), n > 1);
    if (n > 1)
        snprintf(out, PHRASE + 8, "%s %s", number_words[n], noun);
    else
        thing_article(out, noun);
}

/* Up to three objects are all named, equal ones together; of more the first and the last. */
static void caption_objects(const struct scene *s, char *out, size_t cap)
{
    char name[3][PHRASE + 8];
    const struct scene_object *o = s->object;
    if (s->count > 3) {
        caption_things(&o[0], 1, name[0]);
        caption_things(&o[s->count - 1], 1, name[1]);
        snprintf(out, cap, "%s objects, from %s to %s", number_words[s->count], name[0], name[1]);
        return;
    }
    int groups = 0;
    for (int i = 0; i < s->count; i++) {
        int first = 0, same = count_matches(s, thing_said(&o[i], (struct say){false, true, true}));
        while (o[first].colour != o[i].colour || o[first].shape != o[i].shape)
            first++;
        if (first == i)
            caption_things(&o[i], same, name[groups++]);
    }
    static const char *const joined[] = {"", "%", "% and %", "%, % and %"};
    words_fill(out, cap, joined[groups], (const char *const[]){name[0], name[1], name[2]});
}

static bool ask_caption(struct asker *a)
{
    static const char *const forms[] = {"Describe the picture.", "Describe the image briefly.",
                                        "Write a short caption."};
    const struct scene *s = a->s;
    char objects[200] = "";
    caption_objects(s, objects, sizeof objects);
    ask(a, forms, COUNT_OF(forms), NULL);
    if (s->chart.count)
        snprintf(a->qa->answer, sizeof a->qa->answer, "a bar chart with %s bars, the tallest is %s",
                 number_words[s->chart.count],
                 scene_colours[s->chart.bar[words_extreme_bar(s->chart.bar, s->chart.count, true)].colour].name);
    else if (s->word.chars[0])
        snprintf(a->qa->answer, sizeof a->qa->answer, "%s%sthe text %s", objects, s->count ? ", with " : "",
                 s->word.chars);
    else
        answer(a, objects);
    return true;
}

static bool ask_list(struct asker *a)
{
    static const char *const forms[] = {"List the objects.", "List all objects from left to right."};
    const struct scene *s = a->s;
    if (!s->count)
        return false;
    ask(a, forms, COUNT_OF(forms), NULL);
    size_t n = 0;
    for (int i = 0; i < s->count; i++) {
        const struct scene_object *o = &s->object[i];
        char noun[PHRASE];
        thing_phrase(noun, thing_said(o, (struct say){true, true, true}), false);
        n += (size_t)snprintf(a->qa->answer + n, sizeof a->qa->answer - n, "%s%s %s", i ? " ; " : "", noun,
                              scene_position_names[scene_position(o->x, o->y)]);
    }
    return true;
}

static bool ask_json(struct asker *a)
{
    static const char *const forms[] = {"List the objects as JSON.", "Give the objects as JSON."};
    const struct scene *s = a->s;
    if (!s->count)
        return false;
    ask(a, forms, COUNT_OF(forms), NULL);
    size_t n = 0, cap = sizeof a->qa->answer;
    for (int i = 0; i < s->count; i++) {
        const struct scene_object *o = &s->object[i];
        n += (size_t)snprintf(a->qa->answer + n, cap - n, "%s{\"shape\":\"%s\",\"color\":\"%s\",\"size\":\"%s\"}%s",
                              i ? "," : "[", scene_shapes[o->shape].name, scene_colours[o->colour].name,
                              scene_size_names[o->size], i + 1 == s->count ? "]" : "");
    }
    return true;
}

/* The objects once more, the highest first: what a list from left to right never has to find out. */
static bool ask_order(struct asker *a)
{
    static const char *const forms[] = {"List all objects from top to bottom.", "List the objects, top to bottom."};
    const struct scene_object *row[SCENE_MAX_OBJECTS];
    const struct scene *s = a->s;
    if (!s->count)
        return false;
    for (int i = 0; i < s->count; i++) {
        int at = i;
        for (; at > 0 && row[at - 1]->y > s->object[i].y; at--)
            row[at] = row[at - 1];
        row[at] = &s->object[i];
    }
    ask(a, forms, COUNT_OF(forms), NULL);
    size_t n = 0;
    for (int i = 0; i < s->count; i++) {
        char noun[PHRASE];
        thing_phrase(noun, thing_said(row[i], (struct say){false, true, true}), false);
        n += (size_t)snprintf(a->qa->answer + n, sizeof a->qa->answer - n, "%s%s", i ? " ; " : "", noun);
    }
    return true;
}

typedef bool ask_fn(struct asker *a);
static const struct ask_row { ask_fn *make; bool once; } rows_by_kind[SCENE_KIND_COUNT] = {
    [SCENE_ASK_EXISTENCE] = {ask_existence, false}, [SCENE_ASK_COUNT] = {ask_count, false},
    [SCENE_ASK_COLOUR] = {ask_colour, false},       [SCENE_ASK_SHAPE] = {ask_shape, false},
    [SCENE_ASK_SIZE] = {ask_size, false},           [SCENE_ASK_POSITION] = {ask_position, false},
    [SCENE_ASK_RELATION] = {ask_relation, false},   [SCENE_ASK_TEXT] = {ask_text, true},
    [SCENE_ASK_BARS] = {ask_bars, false},           [SCENE_ASK_CAPTION] = {ask_caption, true},
    [SCENE_ASK_LIST] = {ask_list, true},            [SCENE_ASK_JSON] = {ask_json, true},
    [SCENE_ASK_ORDER] = {ask_order, true},
};

static enum scene_kind pick_kind(struct asker *a, const float *weight)
{
    return (enum scene_kind)words_pick(weight, SCENE_KIND_COUNT, rng_float(&a->rng));
}

/* The n-th question repeats an earlier one's topic, or its kind where one of the kind is enough. */
static bool asked_before(const struct scene_qa *qa, const uint64_t *topic, int n)
{
    for (int i = 0; i < n; i++)
        if (topic[i] == topic[n] || (qa[i].kind == qa[n].kind && rows_by_kind[qa[n].kind].once))
            return true;
    return false;
}

int scene_questions(const struct scene_config *cfg, const struct scene *s, struct scene_qa *out, int max)
{
    struct asker a = {s, cfg->split, rng_at(s->seed, s->stream | (uint64_t)QUESTION_STREAM << 56), NULL, 0, false};
    uint64_t topic[SCENE_MAX_QUESTIONS];
    int n = 0;
    max = max < SCENE_MAX_QUESTIONS ? max : SCENE_MAX_QUESTIONS;
    a.yes = coin(&a);
    for (int i = 0; i < max * TRIES_PER_QUESTION && n < max; i++) {
        a.qa = &out[n];
        *a.qa = (struct scene_qa){.kind = pick_kind(&a, cfg->question_weight)};
        if (!rows_by_kind[a.qa->kind].make(&a))
            continue;
        topic[n] = a.topic;
        if (asked_before(out, topic, n))
            continue;
        a.yes ^= a.qa->kind == SCENE_ASK_EXISTENCE;
        n++;
    }
    return n;
}

int scene_corpus(const struct scene_config *cfg, uint64_t seed, int n, struct buf *out)
{
    enum { PER_PICTURE = 12 };
    TRY(scene_config_check(cfg));
    struct scene_qa qa[PER_PICTURE];
    for (int i = 0; i < n; i++) {
        struct scene s;
        scene_make(cfg, seed, (uint64_t)i, &s);
        int m = scene_questions(cfg, &s, qa, PER_PICTURE);
        for (int k = 0; k < m; k++)
            buf_printf(out, "%s\n%s\n", qa[k].question, qa[k].answer);
    }
    return buf_error(out);
}
