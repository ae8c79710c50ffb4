/* Questions about a large picture, with their answers. One row a kind; a row's function makes one question or says
 * that this picture has none of the kind. Every phrase refers to exactly one thing, and every answer also follows
 * from hd_describe's words: relations are left to the order by x and to the nine places. Knows no pixels. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/hash.h"
#include "base/rng.h"
#include "data/hd.h"
#include "data/scenes_words.h"

enum { SMALL, LARGE, RELATION_GAP = 48, TRIES_PER_QUESTION = 8, NAME = PHRASE + 24, LISTED = 8 };

struct asker {
    const struct hd_scene *s;
    enum scene_split split;
    struct rng rng;
    struct scene_qa *qa;
    uint64_t topic; /* what the question is about, whatever its wording */
    bool yes;       /* answer of the next existence question: they alternate, whatever gets refused as repeated */
};
struct hd_thing { struct thing is; int place; }; /* ANY = not said */
struct hd_say { struct say y; bool place; };

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

static void answer_number(struct asker *a, int n) { snprintf(a->qa->answer, sizeof a->qa->answer, "%d", n); }

/* ---- things ---------------------------------------------------------------------------------- */

static int place_of(const struct hd_scene *s, int i) { return hd_position(s, s->object[i].x, s->object[i].y); }

static int count_things(const struct hd_scene *s, struct thing t) { return thing_count(s->object, s->count, t); }

static int count_here(const struct hd_scene *s, struct hd_thing t)
{
    int n = 0;
    for (int i = 0; i < s->count; i++)
        n += thing_fits(&s->object[i], t.is) && (t.place == ANY || place_of(s, i) == t.place);
    return n;
}

/* "small red star at the top left" */
static void name_thing(char out[NAME], struct hd_thing t)
{
    char noun[PHRASE];
    thing_phrase(noun, t.is, false);
    snprintf(out, NAME, "%s%s%s", noun, t.place == ANY ? "" : " at the ",
             t.place == ANY ? "" : scene_position_names[t.place]);
}

/* A name by one of the rows that fits object i alone. */
static bool refer(struct asker *a, int i, const struct hd_say *rows, int n, char out[NAME])
{
    int first = pick(a, n);
    for (int k = 0; k < n; k++) {
        const struct hd_say *row = &rows[(first + k) % n];
        struct hd_thing t = {thing_said(&a->s->object[i], row->y), row->place ? place_of(a->s, i) : ANY};
        if (count_here(a->s, t) == 1) {
            name_thing(out, t);
            return true;
        }
    }
    return false;
}

/* Like refer, for any object; which one comes back. */
static int refer_any(struct asker *a, const struct hd_say *rows, int n, char out[NAME])
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

/* ---- existence and count --------------------------------------------------------------------- */

/* May a question say this? The held-out pairs only in the split that shows them, and nothing that is there. */
static bool absent(const struct asker *a, struct thing t)
{
    bool held = a->split != SCENE_HELDOUT && t.colour != ANY && t.shape != ANY && scene_pair_held(t.colour, t.shape);
    return !held && count_things(a->s, t) == 0;
}

/* Of that size; 20 objects leave something absent in any case. */
static struct thing absent_random(struct asker *a, int size)
{
    int first = pick(a, SCENE_COLOURS * SCENE_SHAPES);
    struct thing t = {size, 0, 0};
    for (int k = 0; k < SCENE_COLOURS * SCENE_SHAPES; k++) {
        int row = (first + 5 * k) % (SCENE_COLOURS * SCENE_SHAPES);
        t.colour = row / SCENE_SHAPES;
        t.shape = row % SCENE_SHAPES;
        if (absent(a, t))
            break;
    }
    return t;
}

static struct thing absent_popular(struct asker *a, int size)
{
    int first = pick(a, SCENE_POPULAR_PAIRS);
    for (int k = 0; k < SCENE_POPULAR_PAIRS; k++) {
        struct scene_pair p = scene_popular_pairs[(first + k) % SCENE_POPULAR_PAIRS];
        struct thing t = {size, p.colour, p.shape};
        if (absent(a, t))
            return t;
    }
    return absent_random(a, size);
}

/* A colour and a shape that both are in the picture, on no object of that size; where there is no such
 * pair, one of the two is. */
static struct thing absent_cooccurring(struct asker *a, int size)
{
    for (int need = 2; need >= 1; need--) {
        struct thing found[SCENE_COLOURS * SCENE_SHAPES];
        int n = 0;
        for (int c = 0; c < SCENE_COLOURS; c++)
            for (int h = 0; h < SCENE_SHAPES; h++) {
                struct thing t = {size, c, h};
                int seen = (count_things(a->s, (struct thing){ANY, c, ANY}) > 0) +
                           (count_things(a->s, (struct thing){ANY, ANY, h}) > 0);
                if (seen >= need && absent(a, t))
                    found[n++] = t;
            }
        if (n)
            return found[pick(a, n)];
    }
    return absent_random(a, size);
}

typedef struct thing absent_fn(struct asker *a, int size);
static absent_fn *const absent_by[SCENE_NEG_COUNT] = {
    [SCENE_NEG_RANDOM] = absent_random, [SCENE_NEG_POPULAR] = absent_popular,
    [SCENE_NEG_COOCCURRING] = absent_cooccurring,
};

/* Drop the shape or the colour, if what is left is absent still. */
static struct thing shorten_absent(struct asker *a, struct thing t)
{
    struct thing brief = t;
    *(coin(a) ? &brief.shape : &brief.colour) = ANY;
    return absent(a, brief) ? brief : t;
}

/* The size is always said, and is that of an object whether or not the rest is: so neither the size nor what it
 * makes fine tells the answer. */
static bool ask_existence(struct asker *a)
{
    static const char *const forms[] = {"Is there %?", "Is there % in the picture?", "Do you see %?", "Can you see %?"};
    if (!a->s->count)
        return false;
    bool brief = pick(a, 4) == 0;
    struct thing t = thing_said(&a->s->object[pick(a, a->s->count)], (struct say){true, true, true});
    if (a->yes) {
        if (brief)
            *(coin(a) ? &t.shape : &t.colour) = ANY;
    } else {
        a->qa->negative = (enum scene_negative)(SCENE_NEG_RANDOM + pick(a, SCENE_NEG_COUNT - 1));
        t = absent_by[a->qa->negative](a, t.size);
        if (brief && a->qa->negative == SCENE_NEG_RANDOM)
            t = shorten_absent(a, t);
    }
    char noun[PHRASE], full[PHRASE + 8];
    thing_phrase(noun, t, false);
    thing_article(full, noun);
    ask(a, forms, COUNT_OF(forms), (const char *const[]){full, NULL});
    answer(a, a->yes ? "yes" : "no");
    a->qa->fine = t.size == SMALL;
    return true;
}

static struct thing pick_counted(struct asker *a)
{
    static const struct say rows[] = {
        {false, false, false}, {false, true, false}, {false, true, false}, {false, false, true}, {false, false, true},
        {true, false, false}, {true, true, false}, {true, false, true}, {false, true, true},
    };
    const struct scene_object *o = &a->s->object[pick(a, a->s->count)];
    int which = pick(a, 10);
    if (which < COUNT_OF(rows))
        return thing_said(o, rows[which]);
    return shorten_absent(a, absent_random(a, coin(a) ? ANY : (int)o->size));
}

static bool ask_count(struct asker *a)
{
    static const char *const forms[] = {"How many % are there?", "How many % do you see?", "Count the %."};
    if (!a->s->count)
        return false;
    struct thing t = pick_counted(a), small = t;
    int n = count_things(a->s, t);
    if (n > HD_MAX_COUNTED)
        return false;
    small.size = SMALL;
    char noun[PHRASE];
    thing_phrase(noun, t, true);
    ask(a, forms, COUNT_OF(forms), (const char *const[]){noun, NULL});
    answer_number(a, n);
    int among = n ? count_things(a->s, small) : count_things(a->s, (struct thing){SMALL, ANY, ANY});
    a->qa->fine = t.size == SMALL || (t.size == ANY && among > 0);
    return true;
}

/* ---- one object, or two ---------------------------------------------------------------------- */

/* A question about one fact of an object that a row names; one of each fact and object is enough, whatever its name. */
static bool ask_fact(struct asker *a, const char *const *forms, int n, const struct hd_say *rows, int n_rows, int *which)
{
    char noun[NAME];
    int i = refer_any(a, rows, n_rows, noun);
    if (i < 0)
        return false;
    ask(a, forms, n, (const char *const[]){noun, NULL});
    a->topic = (uint64_t)a->qa->kind << 8 | (uint64_t)i;
    a->qa->fine = a->s->object[i].size == SMALL;
    *which = i;
    return true;
}

static bool ask_colour(struct asker *a)
{
    static const char *const forms[] = {"What colour is the %?", "What color is the %?", "What is the colour of the %?",
                                        "Which color does the % have?"};
    static const struct hd_say rows[] = {{{false, false, true}, false}, {{true, false, true}, false},
                                         {{false, false, true}, true}, {{true, false, true}, true}};
    int i;
    if (!ask_fact(a, forms, COUNT_OF(forms), rows, COUNT_OF(rows), &i))
        return false;
    answer(a, scene_colours[a->s->object[i].colour].name);
    return true;
}

static bool ask_shape(struct asker *a)
{
    static const char *const forms[] = {"What shape is the %?", "What is the shape of the %?",
                                        "Which shape does the % have?"};
    static const struct hd_say rows[] = {{{false, true, false}, false}, {{true, true, false}, false},
                                         {{false, true, false}, true}, {{true, true, false}, true}};
    int i;
    if (!ask_fact(a, forms, COUNT_OF(forms), rows, COUNT_OF(rows), &i))
        return false;
    answer(a, scene_shapes[a->s->object[i].shape].name);
    return true;
}

static bool ask_size(struct asker *a)
{
    static const char *const forms[] = {"What size is the %?", "How big is the %?", "Is the % small or large?"};
    static const struct hd_say rows[] = {{{false, true, true}, false}, {{false, true, false}, false},
                                         {{false, false, true}, false}, {{false, true, true}, true},
                                         {{false, true, false}, true}};
    int i;
    if (!ask_fact(a, forms, COUNT_OF(forms), rows, COUNT_OF(rows), &i))
        return false;
    answer(a, scene_size_names[a->s->object[i].size]);
    return true;
}

static const struct hd_say full_rows[] = {
    {{false, true, true}, false}, {{false, true, true}, false}, {{true, true, true}, false},
    {{false, true, false}, false}, {{false, false, true}, false},
};

static bool ask_position(struct asker *a)
{
    static const char *const forms[] = {"Where is the %?", "Where in the picture is the %?",
                                        "What is the position of the %?"};
    int i;
    if (!ask_fact(a, forms, COUNT_OF(forms), full_rows, COUNT_OF(full_rows), &i))
        return false;
    answer(a, scene_position_names[place_of(a->s, i)]);
    return true;
}

static bool ask_relation(struct asker *a)
{
    static const char *const forms[] = {"Is the % % the %?"};
    static const char *const words[4][2] = {
        {"left of", "to the left of"}, {"right of", "to the right of"},
        {"above", "higher than"},      {"below", "lower than"},
    };
    const struct hd_scene *s = a->s;
    if (s->count < 2)
        return false;
    int i = pick(a, s->count), j = (i + 1 + pick(a, s->count - 1)) % s->count;
    bool down = coin(a), yes = coin(a), same_row = place_of(s, i) / 3 == place_of(s, j) / 3;
    float d = down ? s->object[j].y - s->object[i].y : s->object[j].x - s->object[i].x;
    char first[NAME], second[NAME];
    if (fabsf(d) < RELATION_GAP || (down && same_row) || !refer(a, i, full_rows, COUNT_OF(full_rows), first) ||
        !refer(a, j, full_rows, COUNT_OF(full_rows), second))
        return false;
    int word = 2 * down + ((d < 0) == yes); /* i before j: "left of", "above" */
    ask(a, forms, COUNT_OF(forms), (const char *const[]){first, words[word][pick(a, 2)], second, NULL});
    answer(a, yes ? "yes" : "no");
    a->qa->fine = s->object[i].size == SMALL || s->object[j].size == SMALL;
    return true;
}

/* ---- print ----------------------------------------------------------------------------------- */

static bool ask_heading(struct asker *a)
{
    static const char *const forms[] = {"What does the heading say?", "Read the heading.", "What is the heading?"};
    ask(a, forms, COUNT_OF(forms), (const char *const[]){"heading", NULL});
    answer(a, a->s->heading.chars);
    return true;
}

static bool ask_text(struct asker *a)
{
    static const char *const forms[] = {"What is printed % the % plate?", "Read the word % the % plate.",
                                        "Which word is % the % plate?"};
    const struct hd_scene *s = a->s;
    int n = s->words + (s->heading.chars[0] != 0);
    if (!n)
        return false;
    int i = pick(a, n);
    if (i == s->words)
        return ask_heading(a);
    const struct hd_word *w = &s->word[i];
    ask(a, forms, COUNT_OF(forms),
        (const char *const[]){w->inside ? "on" : "next to", scene_colours[w->colour].name, NULL});
    answer(a, w->print.chars);
    a->qa->fine = true;
    return true;
}

/* ---- bars ------------------------------------------------------------------------------------ */

static void ask_bar_pair(struct asker *a)
{
    static const char *const forms[] = {"Is the % bar % than the % bar?"};
    const struct hd_chart *c = &a->s->chart;
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
    const struct hd_chart *c = &a->s->chart;
    if (!c->count)
        return false;
    int kind = pick(a, 8);
    if (kind == 0) {
        ask(a, many, COUNT_OF(many), NULL);
        answer_number(a, c->count);
    } else if (kind < 4) {
        bool tallest = coin(a);
        ask(a, which, COUNT_OF(which), (const char *const[]){tallest ? "tallest" : "shortest", NULL});
        answer(a, scene_colours[c->bar[words_extreme_bar(c->bar, c->count, tallest)].colour].name);
    } else {
        ask_bar_pair(a);
    }
    return true;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* "7 objects, 2 words, the heading KART and a bar chart with 5 bars" */
static bool ask_caption(struct asker *a)
{
    static const char *const forms[] = {"Describe the picture.", "Describe the image briefly.",
                                        "Write a short caption."};
    static const char *const joined[] = {"", "%", "% and %", "%, % and %", "%, %, % and %"};
    const struct hd_scene *s = a->s;
    char part[4][40];
    int n = 0;
    if (s->count)
        snprintf(part[n++], sizeof part[0], "%d object%s", s->count, s->count > 1 ? "s" : "");
    if (s->words)
        snprintf(part[n++], sizeof part[0], "%d word%s", s->words, s->words > 1 ? "s" : "");
    if (s->heading.chars[0])
        snprintf(part[n++], sizeof part[0], "the heading %s", s->heading.chars);
    if (s->chart.count)
        snprintf(part[n++], sizeof part[0], "a bar chart with %d bars", s->chart.count);
    ask(a, forms, COUNT_OF(forms), NULL);
    words_fill(a->qa->answer, sizeof a->qa->answer, joined[n], (const char *const[]){part[0], part[1], part[2], part[3]});
    a->qa->fine = s->words > 0 || count_things(s, (struct thing){SMALL, ANY, ANY}) > 0;
    return true;
}

static void add_item(struct asker *a, const char *item)
{
    size_t n = strlen(a->qa->answer);
    snprintf(a->qa->answer + n, sizeof a->qa->answer - n, "%s%s", n ? " ; " : "", item);
}

static bool list_words(struct asker *a)
{
    static const char *const forms[] = {"List the words that have a plate.", "List the words at plates, left to right."};
    ask(a, forms, COUNT_OF(forms), (const char *const[]){"words", NULL});
    for (int i = 0; i < a->s->words; i++)
        add_item(a, a->s->word[i].print.chars);
    a->qa->fine = true;
    return true;
}

/* What is at one of the nine places, from left to right; or the words. */
static bool ask_list(struct asker *a)
{
    static const char *const forms[] = {"List the objects at the %.", "Which objects are at the %?"};
    const struct hd_scene *s = a->s;
    if (s->words && (!s->count || pick(a, 3) == 0))
        return list_words(a);
    if (!s->count)
        return false;
    int place = place_of(s, pick(a, s->count));
    if (count_here(s, (struct hd_thing){{ANY, ANY, ANY}, place}) > LISTED)
        return false;
    ask(a, forms, COUNT_OF(forms), (const char *const[]){scene_position_names[place], NULL});
    for (int i = 0; i < s->count; i++) {
        char noun[PHRASE];
        if (place_of(s, i) != place)
            continue;
        thing_phrase(noun, thing_said(&s->object[i], (struct say){true, true, true}), false);
        add_item(a, noun);
        a->qa->fine |= s->object[i].size == SMALL;
    }
    return true;
}

typedef bool ask_fn(struct asker *a);
static const struct ask_row { ask_fn *make; bool once; } rows_by_kind[SCENE_ASK_JSON] = {
    [SCENE_ASK_EXISTENCE] = {ask_existence, false}, [SCENE_ASK_COUNT] = {ask_count, false},
    [SCENE_ASK_COLOUR] = {ask_colour, false},       [SCENE_ASK_SHAPE] = {ask_shape, false},
    [SCENE_ASK_SIZE] = {ask_size, false},           [SCENE_ASK_POSITION] = {ask_position, false},
    [SCENE_ASK_RELATION] = {ask_relation, false},   [SCENE_ASK_TEXT] = {ask_text, false},
    [SCENE_ASK_BARS] = {ask_bars, false},           [SCENE_ASK_CAPTION] = {ask_caption, true},
    [SCENE_ASK_LIST] = {ask_list, false},
};

/* The n-th question repeats an earlier one's topic, or its kind where one of the kind is enough. */
static bool asked_before(const struct scene_qa *qa, const uint64_t *topic, int n)
{
    for (int i = 0; i < n; i++)
        if (topic[i] == topic[n] || (qa[i].kind == qa[n].kind && rows_by_kind[qa[n].kind].once))
            return true;
    return false;
}

int hd_questions(const struct hd_config *cfg, const struct hd_scene *s, struct scene_qa *out, int max)
{
    struct asker a = {.s = s, .split = cfg->split, .rng = rng_at(s->seed, hd_stream(s->stream, HD_STREAM_QUESTIONS))};
    uint64_t topic[HD_MAX_QUESTIONS];
    int n = 0;
    max = max < HD_MAX_QUESTIONS ? max : HD_MAX_QUESTIONS;
    a.yes = coin(&a);
    for (int i = 0; i < max * TRIES_PER_QUESTION && n < max; i++) {
        a.qa = &out[n];
        int kind = words_pick(cfg->question_weight, SCENE_ASK_JSON, rng_float(&a.rng));
        *a.qa = (struct scene_qa){.kind = (enum scene_kind)kind};
        if (!rows_by_kind[kind].make(&a))
            continue;
        topic[n] = a.topic;
        if (asked_before(out, topic, n))
            continue;
        a.yes ^= kind == SCENE_ASK_EXISTENCE;
        n++;
    }
    return n;
}
