/* Answers about large pictures, found again by a reader of its own: it hears a question word by word and looks only at
 * the picture in words, which is held against the facts first. So both are right, and nothing is asked that the words
 * don't say. What is fine and what is coarse is found again too. test_hd.c holds the facts against the pixels. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "data/hd.h"

enum { PICTURES = 1500, ASKED = 16, SEED = 31, NAMED = 96 };
static struct scene_fonts *fonts;
static struct buf words;

static int open_fonts(void **state)
{
    (void)state;
    buf_init(&words, MEM_DATA, 1 << 20);
    return hd_fonts_open(&fonts);
}

static int close_fonts(void **state)
{
    (void)state;
    scene_fonts_close(fonts);
    buf_free(&words);
    return 0;
}

/* ---- the picture in words -------------------------------------------------------------------- */

/* Things from left to right, words likewise, bars from the tallest to the shortest. */
struct told_thing { int size, colour, shape, place; };
struct told_word { int colour; bool inside; char chars[HD_MAX_CHARS + 1]; };
struct told {
    int things, words, bars;
    struct told_thing thing[HD_MAX_OBJECTS];
    struct told_word word[HD_MAX_WORDS];
    char heading[HD_MAX_CHARS + 1];
    int bar[HD_MAX_BARS];
};

static int colour_named(const char *word)
{
    for (int i = 0; i < SCENE_COLOURS; i++)
        if (!strcmp(word, scene_colours[i].name))
            return i;
    return -1;
}

/* The place whose name is the whole of `text`. */
static int place_named(const char *text)
{
    static const char *const names[] = {"top left", "top", "top right", "left", "center", "right",
                                        "bottom left", "bottom", "bottom right"};
    for (int i = 0; i < 9; i++)
        if (!strcmp(text, names[i]))
            return i;
    return -1;
}

static void read_thing(const char *item, struct told_thing *t)
{
    char size[8], colour[8], shape[12], place[16];
    assert_int_equal(sscanf(item, "%7s %7s %11s %15[a-z ]", size, colour, shape, place), 4);
    *t = (struct told_thing){!strcmp(size, "large"), colour_named(colour), -1, place_named(place)};
    for (int i = 0; i < SCENE_SHAPES; i++)
        if (!strcmp(shape, scene_shapes[i].name))
            t->shape = i;
    assert_true((t->size || !strcmp(size, "small")) && t->colour >= 0 && t->shape >= 0 && t->place >= 0);
}

static void read_bars(char *names, struct told *t)
{
    char *rest = NULL;
    for (char *w = strtok_r(names, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
        assert_in_range(t->bars, 0, HD_MAX_BARS - 1);
        t->bar[t->bars++] = colour_named(w);
    }
}

static void read_item(char *item, struct told *t)
{
    struct told_word w = {0};
    char colour[8];
    if (sscanf(item, "on %7s plate %5s", colour, w.chars) == 2 ||
        sscanf(item, "next to %7s plate %5s", colour, w.chars) == 2) {
        assert_in_range(t->words, 0, HD_MAX_WORDS - 1);
        w.inside = item[0] == 'o';
        w.colour = colour_named(colour);
        t->word[t->words++] = w;
    } else if (sscanf(item, "heading %5s", t->heading) != 1) {
        if (!strncmp(item, "bars ", 5)) {
            read_bars(item + 5, t);
            return;
        }
        assert_in_range(t->things, 0, HD_MAX_OBJECTS - 1);
        read_thing(item, &t->thing[t->things++]);
    }
}

static struct told read_words(const struct hd_scene *s)
{
    struct told t = {0};
    buf_reset(&words);
    check_ok(hd_describe(s, &words));
    buf_char(&words, 0);
    for (char *item = (char *)words.ptr; item;) {
        char *end = strstr(item, " ; ");
        if (end)
            *end = 0;
        read_item(item, &t);
        item = end ? end + 3 : NULL;
    }
    return t;
}

/* The words say what the facts are. */
static void check_told(const struct hd_scene *s, const struct told *t)
{
    assert_true(t->things == s->count && t->words == s->words && t->bars == s->chart.count);
    for (int i = 0; i < s->count; i++) {
        const struct scene_object *o = &s->object[i];
        int column = (int)(o->x * 3 / (float)s->width), row = (int)(o->y * 3 / (float)s->height);
        const struct told_thing *n = &t->thing[i];
        assert_true(n->size == o->size && n->colour == o->colour && n->shape == o->shape && n->place == 3 * row + column);
        assert_true(i == 0 || o->x > s->object[i - 1].x);
    }
    for (int i = 0; i < s->words; i++) {
        assert_true(t->word[i].colour == s->word[i].colour && t->word[i].inside == s->word[i].inside);
        assert_string_equal(t->word[i].chars, s->word[i].print.chars);
        assert_true(i == 0 || s->word[i].left > s->word[i - 1].left);
    }
    assert_string_equal(t->heading, s->heading.chars);
    for (int i = 0; i < t->bars; i++) {
        int taller = 0, own = -1;
        for (int k = 0; k < t->bars; k++)
            own = s->chart.bar[k].colour == t->bar[i] ? k : own;
        assert_true(own >= 0);
        for (int k = 0; k < t->bars; k++)
            taller += s->chart.bar[k].height > s->chart.bar[own].height;
        assert_int_equal(taller, i);
    }
}

/* ---- the reader ------------------------------------------------------------------------------ */

struct heard { int things; struct told_thing thing[3]; };

static bool is(const char *word, const char *name)
{
    size_t n = strlen(name);
    return !strncmp(word, name, n) && (!word[n] || !strcmp(word + n, "s") || !strcmp(word + n, "es"));
}

static struct heard hear(const char *question)
{
    struct heard h = {0, {{-1, -1, -1, -1}, {-1, -1, -1, -1}, {-1, -1, -1, -1}}};
    char text[SCENE_QUESTION_BYTES], *rest = NULL;
    snprintf(text, sizeof text, "%s", question);
    for (char *w = strtok_r(text, " ?.", &rest); w && h.things < 3; w = strtok_r(NULL, " ?.", &rest)) {
        struct told_thing *t = &h.thing[h.things];
        t->size = is(w, "small") ? 0 : is(w, "large") ? 1 : t->size;
        t->colour = colour_named(w) >= 0 ? colour_named(w) : t->colour;
        for (int i = 0; i < SCENE_SHAPES; i++)
            t->shape = is(w, scene_shapes[i].name) ? i : t->shape;
        h.things += t->shape >= 0 || is(w, "object") || is(w, "bar") || is(w, "plate");
    }
    const char *at = strstr(question, " at the ");
    char place[16] = "";
    if (at) {
        sscanf(at + 8, "%15[a-z ]", place);
        for (char *end = place + strlen(place); end > place && place_named(place) < 0; end--)
            *end = 0; /* "... have", "... small or large" */
        assert_true(place_named(place) >= 0);
        h.thing[0].place = place_named(place);
    }
    return h;
}

/* How many things it fits; the last of them in *which. */
static int fits(const struct told *t, const struct told_thing *h, int *which)
{
    int n = 0;
    for (int i = 0; i < t->things; i++) {
        const struct told_thing *o = &t->thing[i];
        bool same = (h->size < 0 || o->size == h->size) && (h->colour < 0 || o->colour == h->colour) &&
                    (h->shape < 0 || o->shape == h->shape) && (h->place < 0 || o->place == h->place);
        if (same)
            *which = i;
        n += same;
    }
    return n;
}

static int small_ones(const struct told *t, struct told_thing h)
{
    int unused;
    h.size = 0;
    return fits(t, &h, &unused);
}

static int the(const struct told *t, const struct told_thing *h)
{
    int which = -1;
    assert_int_equal(fits(t, h, &which), 1);
    return which;
}

/* ---- right answers --------------------------------------------------------------------------- */

struct asked { const struct hd_scene *s; const struct told *t; const char *question; struct heard h; };
struct right { bool fine; char text[SCENE_ANSWER_BYTES]; };

static void say(struct right *r, const char *text, bool fine)
{
    snprintf(r->text, sizeof r->text, "%s", text);
    r->fine = fine;
}

static void existence(const struct asked *q, struct right *r)
{
    int unused;
    assert_true(q->h.things == 1 && q->h.thing[0].size >= 0);
    say(r, fits(q->t, &q->h.thing[0], &unused) ? "yes" : "no", q->h.thing[0].size == 0);
}

/* Fine where a small one is counted, or, of things that are not there, might be. */
static void count(const struct asked *q, struct right *r)
{
    int unused, n = fits(q->t, &q->h.thing[0], &unused);
    const struct told_thing any = {-1, -1, -1, -1}, *h = &q->h.thing[0];
    char text[12];
    assert_true(q->h.things == 1 && n <= 9);
    snprintf(text, sizeof text, "%d", n);
    say(r, text, h->size == 0 || (h->size < 0 && small_ones(q->t, n ? *h : any)));
}

static void fact(const struct asked *q, enum scene_kind kind, struct right *r)
{
    static const char *const sizes[] = {"small", "large"};
    const struct told_thing *h = &q->h.thing[0], *o = &q->t->thing[the(q->t, h)];
    assert_int_equal(q->h.things, 1);
    assert_true(kind != SCENE_ASK_COLOUR || h->colour < 0); /* the question must not tell */
    assert_true(kind != SCENE_ASK_SHAPE || h->shape < 0);
    assert_true(kind != SCENE_ASK_SIZE || h->size < 0);
    assert_true(kind != SCENE_ASK_POSITION || h->place < 0);
    say(r, kind == SCENE_ASK_COLOUR  ? scene_colours[o->colour].name
           : kind == SCENE_ASK_SHAPE ? scene_shapes[o->shape].name
           : kind == SCENE_ASK_SIZE  ? sizes[o->size]
                                     : scene_position_names[o->place], o->size == 0);
}

/* By the order and the places that are told; centres must differ enough to see it. */
static void relation(const struct asked *q, struct right *r)
{
    assert_int_equal(q->h.things, 2);
    int a = the(q->t, &q->h.thing[0]), b = the(q->t, &q->h.thing[1]);
    bool down = strstr(q->question, "above") || strstr(q->question, "below") || strstr(q->question, "er than");
    bool before = strstr(q->question, "left") || strstr(q->question, "above") || strstr(q->question, "higher");
    int d = down ? q->t->thing[b].place / 3 - q->t->thing[a].place / 3 : b - a;
    const struct scene_object *p = &q->s->object[a], *o = &q->s->object[b];
    assert_true(d != 0 && fabsf(down ? o->y - p->y : o->x - p->x) >= 48);
    say(r, (d > 0) == before ? "yes" : "no", !q->t->thing[a].size || !q->t->thing[b].size);
}

static void print(const struct asked *q, struct right *r)
{
    bool inside = strstr(q->question, " on the ") != NULL;
    if (strstr(q->question, "heading")) {
        say(r, q->t->heading, false);
        return;
    }
    assert_true(inside || strstr(q->question, " next to the "));
    for (int i = 0; i < q->t->words; i++)
        if (q->t->word[i].colour == q->h.thing[0].colour && q->t->word[i].inside == inside)
            say(r, q->t->word[i].chars, true);
}

static int rank_of(const struct told *t, int colour)
{
    for (int i = 0; i < t->bars; i++)
        if (t->bar[i] == colour)
            return i;
    fail_msg("a bar that is not there");
    return -1;
}

static void bars(const struct asked *q, struct right *r)
{
    const struct told *t = q->t;
    char number[12];
    snprintf(number, sizeof number, "%d", t->bars);
    if (strstr(q->question, "bars"))
        say(r, number, false);
    else if (strstr(q->question, "than"))
        say(r, (rank_of(t, q->h.thing[0].colour) < rank_of(t, q->h.thing[1].colour)) ==
               (strstr(q->question, "taller") != NULL) ? "yes" : "no", false);
    else
        say(r, scene_colours[t->bar[strstr(q->question, "tallest") ? 0 : t->bars - 1]].name, false);
}

static void caption(const struct asked *q, struct right *r)
{
    const struct told *t = q->t;
    char part[4][64];
    int n = 0;
    if (t->things)
        snprintf(part[n++], sizeof part[0], t->things == 1 ? "%d object" : "%d objects", t->things);
    if (t->words)
        snprintf(part[n++], sizeof part[0], t->words == 1 ? "%d word" : "%d words", t->words);
    if (t->heading[0])
        snprintf(part[n++], sizeof part[0], "the heading %s", t->heading);
    if (t->bars)
        snprintf(part[n++], sizeof part[0], "a bar chart with %d bars", t->bars);
    const struct told_thing any = {-1, -1, -1, -1};
    say(r, "", t->words || small_ones(t, any));
    for (int i = 0; i < n; i++)
        snprintf(r->text + strlen(r->text), 64, "%s%s", i == 0 ? "" : i == n - 1 ? " and " : ", ", part[i]);
}

static void list(const struct asked *q, struct right *r)
{
    const struct told *t = q->t;
    bool print = strstr(q->question, "words");
    say(r, "", print);
    for (int i = 0; i < (print ? t->words : t->things); i++) {
        char item[NAMED];
        const struct told_thing *o = &t->thing[i];
        if (!print && o->place != q->h.thing[0].place)
            continue;
        if (print)
            snprintf(item, sizeof item, "%s", t->word[i].chars);
        else
            snprintf(item, sizeof item, "%s %s %s", o->size ? "large" : "small", scene_colours[o->colour].name,
                     scene_shapes[o->shape].name);
        snprintf(r->text + strlen(r->text), NAMED + 4, "%s%s", r->text[0] ? " ; " : "", item);
        r->fine |= !print && o->size == 0;
    }
}

static void check_answer(const struct hd_scene *s, const struct told *t, const struct scene_qa *qa)
{
    const struct asked q = {s, t, qa->question, hear(qa->question)};
    struct right r = {0};
    switch (qa->kind) {
    case SCENE_ASK_EXISTENCE: existence(&q, &r); break;
    case SCENE_ASK_COUNT: count(&q, &r); break;
    case SCENE_ASK_RELATION: relation(&q, &r); break;
    case SCENE_ASK_TEXT: print(&q, &r); break;
    case SCENE_ASK_BARS: bars(&q, &r); break;
    case SCENE_ASK_CAPTION: caption(&q, &r); break;
    case SCENE_ASK_LIST: list(&q, &r); break;
    default: fact(&q, qa->kind, &r); break;
    }
    if (strcmp(r.text, qa->answer) || r.fine != qa->fine || !qa->answer[0] || strchr(qa->question, '%'))
        fail_msg("%s: expected \"%s\" (%s), found \"%s\" (%s) for: %.*s", qa->question, r.text, r.fine ? "fine" : "coarse",
                 qa->answer, qa->fine ? "fine" : "coarse", (int)words.len, (const char *)words.ptr);
}

static void answers_follow_from_the_words(void **state)
{
    (void)state;
    static struct scene_qa qa[ASKED];
    int asked[SCENE_KIND_COUNT] = {0}, fine[SCENE_KIND_COUNT] = {0};
    for (int split = 0; split < SCENE_SPLIT_COUNT; split++) {
        struct hd_config cfg = hd_config_default;
        cfg.split = (enum scene_split)split;
        cfg.fonts = fonts;
        for (uint64_t i = 0; i < PICTURES; i++) {
            struct hd_scene s;
            hd_make(&cfg, SEED, i, &s);
            struct told t = read_words(&s);
            check_told(&s, &t);
            int n = hd_questions(&cfg, &s, qa, ASKED);
            assert_true(n > 0);
            for (int k = 0; k < n; k++) {
                check_answer(&s, &t, &qa[k]);
                asked[qa[k].kind]++;
                fine[qa[k].kind] += qa[k].fine;
                for (int j = 0; j < k; j++)
                    assert_string_not_equal(qa[j].question, qa[k].question);
            }
        }
    }
    for (int k = 0; k < SCENE_ASK_JSON; k++) {
        assert_true(asked[k] > PICTURES / 4);
        assert_true(k == SCENE_ASK_BARS ? !fine[k] : fine[k] * 4 > asked[k] && fine[k] < asked[k]);
    }
}

static void a_corpus_is_words_and_answers(void **state)
{
    (void)state;
    struct hd_config cfg = hd_config_default;
    struct hd_scene s;
    cfg.fonts = fonts;
    buf_reset(&words);
    hd_make(&cfg, SEED, 0, &s);
    check_ok(hd_describe(&s, &words));
    buf_char(&words, '\n');
    size_t first = words.len;
    char *said = strndup((const char *)words.ptr, first);
    buf_reset(&words);
    check_ok(hd_corpus(&cfg, SEED, 3, &words));
    assert_true(words.len > first);
    assert_memory_equal(words.ptr, said, first);
    free(said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_follow_from_the_words), cmocka_unit_test(a_corpus_is_words_and_answers),
    };
    return cmocka_run_group_tests(tests, open_fonts, close_fonts);
}
