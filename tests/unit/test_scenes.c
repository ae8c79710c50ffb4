/* The world of scenes: determinism, honest splits, layout rules, and answers recomputed from the
 * words of the question by a reader that shares no code with the writer. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/hash.h"
#include "data/scenes.h"

enum { PICTURES = 4000, ASKED = 12, SEED = 11 };
static struct scene_fonts *fonts;

static int open_fonts(void **state)
{
    (void)state;
    return scene_fonts_open(112, &fonts);
}

static int close_fonts(void **state)
{
    (void)state;
    scene_fonts_close(fonts);
    return 0;
}

static struct scene_config config_of(enum scene_split split)
{
    struct scene_config cfg = scene_config_default;
    cfg.split = split;
    cfg.fonts = fonts;
    assert_int_equal(scene_config_check(&cfg), 0);
    return cfg;
}

static void same_index_same_bytes(void **state)
{
    (void)state;
    static uint8_t a[112 * 112 * 3], b[sizeof a], scratch[112 * 112 * 6];
    static struct scene_qa qa[ASKED], qb[ASKED];
    struct scene_config cfg = config_of(SCENE_TRAIN), test = config_of(SCENE_TEST);
    for (int i = 0; i < 200; i++) {
        struct scene s, t;
        scene_make(&cfg, SEED, (uint64_t)(199 - i), &t);
        scene_make(&cfg, SEED, (uint64_t)i, &s);
        scene_make(&cfg, SEED, (uint64_t)i, &t);
        assert_int_equal(scene_draw(&s, a, scratch), 0);
        memset(scratch, i, sizeof scratch);
        assert_int_equal(scene_draw(&t, b, scratch), 0);
        assert_memory_equal(a, b, sizeof a);
        int n = scene_questions(&cfg, &s, qa, ASKED);
        assert_int_equal(n, scene_questions(&cfg, &t, qb, ASKED));
        for (int k = 0; k < n; k++) {
            assert_string_equal(qa[k].question, qb[k].question);
            assert_string_equal(qa[k].answer, qb[k].answer);
        }
        scene_make(&test, SEED, (uint64_t)i, &t);
        assert_int_equal(scene_draw(&t, b, scratch), 0);
        assert_int_not_equal(memcmp(a, b, sizeof a), 0);
    }
}

/* A change of these bytes is a change of the world: models trained on the old one must be scored again. */
static void world_is_pinned(void **state)
{
    (void)state;
    static uint8_t rgb[112 * 112 * 3], scratch[112 * 112 * 6];
    struct scene_config cfg = config_of(SCENE_TEST);
    cfg.picture_weight[SCENE_TEXT] = cfg.picture_weight[SCENE_MIXED] = 0; /* font files differ between systems */
    struct digest_state st;
    struct digest digest;
    char hex[65];
    digest_begin(&st);
    for (uint64_t i = 0; i < 64; i++) {
        struct scene s;
        struct scene_qa qa[ASKED];
        scene_make(&cfg, SEED, i, &s);
        assert_int_equal(scene_draw(&s, rgb, scratch), 0);
        digest_update(&st, rgb, sizeof rgb);
        int n = scene_questions(&cfg, &s, qa, ASKED);
        for (int k = 0; k < n; k++)
            digest_update(&st, qa[k].question, strlen(qa[k].question));
    }
    digest_end(&st, &digest);
    digest_hex(&digest, hex);
    assert_string_equal(hex, "2942abf64c33b5647c7b2d05db753d1d6e6c8dbec7ed7ce0b8fb7b9eb4960adb");
}

static bool says_held_pair(const char *text)
{
    for (int i = 0; i < SCENE_HELD_PAIRS; i++) {
        char pair[40];
        snprintf(pair, sizeof pair, "%s %s", scene_colours[scene_held_pairs[i].colour].name,
                 scene_shapes[scene_held_pairs[i].shape].name);
        if (strstr(text, pair))
            return true;
    }
    return false;
}

static int count_held(const struct scene *s)
{
    int n = 0;
    for (int i = 0; i < s->count; i++)
        n += scene_pair_held(s->object[i].colour, s->object[i].shape);
    return n;
}

static void splits_are_honest(void **state)
{
    (void)state;
    static struct scene_qa qa[ASKED];
    int said = 0;
    for (int split = 0; split < SCENE_SPLIT_COUNT; split++) {
        struct scene_config cfg = config_of((enum scene_split)split);
        for (uint64_t i = 0; i < PICTURES; i++) {
            struct scene s;
            scene_make(&cfg, SEED, i, &s);
            bool held = split == SCENE_HELDOUT;
            assert_int_equal(count_held(&s) > 0, held);
            int n = scene_questions(&cfg, &s, qa, ASKED);
            for (int k = 0; k < n; k++) {
                bool says = says_held_pair(qa[k].question) || says_held_pair(qa[k].answer);
                assert_true(held || !says);
                said += says;
            }
        }
    }
    assert_true(said > PICTURES / 2);
}

static void check_pair_apart(const struct scene_object *a, const struct scene_object *b)
{
    assert_true(hypotf(a->x - b->x, a->y - b->y) >= a->radius + b->radius + 4 - 1e-3f);
    assert_true(b->x - a->x >= 6);
}

static void check_object(const struct scene_object *o)
{
    float reach = 1.1f * o->radius, nominal = o->size ? 14 : 8;
    assert_true(o->x >= reach && o->y >= reach && o->x <= 112 - reach && o->y <= 112 - reach);
    assert_true(fabsf(o->radius - nominal) <= 1);
    for (int line = 1; line <= 2; line++)
        assert_true(fabsf(o->x - line * 112 / 3.0f) >= 4 && fabsf(o->y - line * 112 / 3.0f) >= 4);
}

static void check_chart(const struct scene_chart *c)
{
    for (int k = 0; k < c->count; k++)
        for (int j = 0; j < k; j++)
            assert_true(fabsf(c->bar[j].height - c->bar[k].height) >= 7 && c->bar[j].colour != c->bar[k].colour);
}

static void layout_keeps_its_rules(void **state)
{
    (void)state;
    struct scene_config cfg = config_of(SCENE_TRAIN);
    int by_count[SCENE_MAX_OBJECTS + 1] = {0}, pictures[SCENE_PICTURE_COUNT] = {0};
    for (uint64_t i = 0; i < PICTURES; i++) {
        struct scene s;
        scene_make(&cfg, SEED, i, &s);
        pictures[s.picture]++;
        for (int k = 0; k < s.count; k++) {
            check_object(&s.object[k]);
            for (int j = 0; j < k; j++)
                check_pair_apart(&s.object[j], &s.object[k]);
        }
        if (s.picture == SCENE_OBJECTS)
            by_count[s.count]++;
        if (s.word.chars[0])
            assert_true(s.word.x >= 3 && s.word.x + s.word.width <= 109 && s.word.y <= 109);
        check_chart(&s.chart);
    }
    assert_int_equal(by_count[0], 0);
    for (int n = 1; n <= SCENE_MAX_OBJECTS; n++)
        assert_in_range(by_count[n], PICTURES / 12, PICTURES / 8);
    assert_in_range(pictures[SCENE_TEXT], PICTURES * 14 / 100, PICTURES * 18 / 100);
}

/* Every shape covers its centre: the pixel there is the object's colour. */
static void pixels_show_the_objects(void **state)
{
    (void)state;
    static uint8_t rgb[112 * 112 * 3];
    struct scene_config cfg = config_of(SCENE_TEST);
    cfg.augment = 0;
    for (uint64_t i = 0; i < 500; i++) {
        struct scene s;
        scene_make(&cfg, SEED, i, &s);
        assert_int_equal(scene_draw(&s, rgb, NULL), 0);
        for (int k = 0; k < s.count; k++) {
            const struct scene_object *o = &s.object[k];
            assert_memory_equal(rgb + ((int)o->y * 112 + (int)o->x) * 3, o->rgb, 3);
            for (int c = 0; c < 3; c++)
                assert_true(abs(o->rgb[c] - scene_colours[o->colour].rgb[c]) <= 12);
        }
        for (int k = 0; k < s.chart.count; k++) {
            const struct scene_bar *b = &s.chart.bar[k];
            int x = (int)((b->left + b->right) / 2), y = (int)(s.chart.base - b->height / 2);
            assert_memory_equal(rgb + (y * 112 + x) * 3, b->rgb, 3);
        }
    }
}

static void words_are_drawn_where_the_scene_says(void **state)
{
    (void)state;
    static uint8_t with[112 * 112 * 3], without[sizeof with];
    struct scene_config cfg = config_of(SCENE_TEST);
    cfg.augment = 0;
    for (uint64_t i = 0, seen = 0; seen < 200; i++) {
        struct scene s;
        scene_make(&cfg, SEED, i, &s);
        if (!s.word.chars[0])
            continue;
        seen++;
        struct scene bare = s;
        bare.word.chars[0] = 0;
        assert_int_equal(scene_draw(&s, with, NULL), 0);
        assert_int_equal(scene_draw(&bare, without, NULL), 0);
        int ink = 0;
        for (int p = 0; p < 112 * 112; p++) {
            float x = (float)(p % 112), y = (float)(p / 112);
            if (!memcmp(with + 3 * p, without + 3 * p, 3))
                continue;
            assert_true(x >= s.word.x - 2 && x <= s.word.x + s.word.width + 2);
            assert_true(y <= s.word.y + 4 && y >= s.word.y - (float)s.word.px); /* Q hangs below the line */
            ink++;
        }
        assert_true(ink > 20 * (int)strlen(s.word.chars));
    }
}

/* The reader: words of a question -> the things it speaks of. */
struct heard { int things, size[3], colour[3], shape[3]; bool noun[3]; };

static int find(const char *word, const char *name, int value, int found)
{
    size_t n = strlen(name);
    bool plural = !strncmp(word, name, n) && (!strcmp(word + n, "s") || !strcmp(word + n, "es"));
    return !strcmp(word, name) || plural ? value : found;
}

static struct heard hear(const char *question)
{
    struct heard h = {0, {-1, -1, -1}, {-1, -1, -1}, {-1, -1, -1}, {false}};
    char text[SCENE_QUESTION_BYTES], *rest = NULL;
    snprintf(text, sizeof text, "%s", question);
    for (char *w = strtok_r(text, " ?.", &rest); w && h.things < 3; w = strtok_r(NULL, " ?.", &rest)) {
        int at = h.things;
        for (int i = 0; i < SCENE_SIZES; i++)
            h.size[at] = find(w, scene_size_names[i], i, h.size[at]);
        for (int i = 0; i < SCENE_COLOURS; i++)
            h.colour[at] = find(w, scene_colours[i].name, i, h.colour[at]);
        for (int i = 0; i < SCENE_SHAPES; i++)
            h.shape[at] = find(w, scene_shapes[i].name, i, h.shape[at]);
        if (h.shape[at] >= 0 || find(w, "object", 1, 0) || find(w, "bar", 1, 0))
            h.noun[h.things++] = true;
    }
    return h;
}

/* How many objects thing t of the sentence fits; the last of them in *which. */
static int fits(const struct scene *s, const struct heard *h, int t, const struct scene_object **which)
{
    int n = 0;
    for (int i = 0; i < s->count; i++) {
        const struct scene_object *o = &s->object[i];
        if ((h->size[t] >= 0 && o->size != h->size[t]) || (h->colour[t] >= 0 && o->colour != h->colour[t]) ||
            (h->shape[t] >= 0 && o->shape != h->shape[t]))
            continue;
        *which = o;
        n++;
    }
    return n;
}

static const char *right_relation(const struct scene *s, const struct heard *h, const char *question)
{
    const struct scene_object *a = NULL, *b = NULL;
    assert_int_equal(h->things, 2);
    assert_int_equal(fits(s, h, 0, &a), 1);
    assert_int_equal(fits(s, h, 1, &b), 1);
    bool down = strstr(question, "above") || strstr(question, "below") || strstr(question, "er than");
    bool before = strstr(question, "left") || strstr(question, "above") || strstr(question, "higher");
    float d = down ? b->y - a->y : b->x - a->x;
    assert_true(fabsf(d) >= 10);
    return (d > 0) == before ? "yes" : "no";
}

static float bar_height(const struct scene *s, int colour)
{
    for (int i = 0; i < s->chart.count; i++)
        if (s->chart.bar[i].colour == colour)
            return s->chart.bar[i].height;
    fail_msg("a bar that is not there");
    return 0;
}

static void check_bars(const struct scene *s, const struct heard *h, const struct scene_qa *q)
{
    if (strstr(q->question, "bars")) {
        assert_int_equal(atoll(q->answer), s->chart.count);
    } else if (strstr(q->question, "than")) {
        float d = bar_height(s, h->colour[0]) - bar_height(s, h->colour[1]);
        assert_string_equal(q->answer, (d > 0) == (strstr(q->question, "taller") != NULL) ? "yes" : "no");
    } else {
        struct heard said = hear(q->answer);
        float height = bar_height(s, said.colour[0]);
        float sign = strstr(q->question, "tallest") ? 1 : -1;
        for (int i = 0; i < s->chart.count; i++)
            assert_true(sign * height >= sign * s->chart.bar[i].height);
    }
}

static void check_json(const struct scene *s, const char *text)
{
    json_t *list = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(list);
    assert_int_equal(json_array_size(list), s->count);
    for (int i = 0; i < s->count; i++) {
        const char *shape, *colour, *size;
        assert_int_equal(json_unpack_ex(json_array_get(list, (size_t)i), NULL, JSON_STRICT, "{s:s,s:s,s:s}",
                                        "shape", &shape, "color", &colour, "size", &size), 0);
        assert_string_equal(shape, scene_shapes[s->object[i].shape].name);
        assert_string_equal(colour, scene_colours[s->object[i].colour].name);
        assert_string_equal(size, s->object[i].size ? "large" : "small");
    }
    json_decref(list);
}

static void check_list(const struct scene *s, const char *text)
{
    static const char *const rows[] = {"top", "", "bottom"}, *const columns[] = {"left", "", "right"};
    char expect[SCENE_ANSWER_BYTES] = "";
    for (int i = 0; i < s->count; i++) {
        const struct scene_object *o = &s->object[i];
        const char *row = rows[(int)(o->y * 3 / 112)], *column = columns[(int)(o->x * 3 / 112)];
        size_t n = strlen(expect);
        snprintf(expect + n, sizeof expect - n, "%s%s %s %s %s%s%s", i ? " ; " : "", o->size ? "large" : "small",
                 scene_colours[o->colour].name, scene_shapes[o->shape].name, row, *row && *column ? " " : "",
                 *row || *column ? column : "center");
    }
    assert_string_equal(text, expect);
}

/* Every name is said once, and each is lower than the one before. */
static void check_order(const struct scene *s, const char *text)
{
    float above = 0;
    for (int i = 0; i < s->count; i++) {
        const struct scene_object *highest = NULL;
        for (int k = 0; k < s->count; k++)
            if (s->object[k].y > above && (!highest || s->object[k].y < highest->y))
                highest = &s->object[k];
        char name[64];
        int n = snprintf(name, sizeof name, "%s%s %s", i ? " ; " : "", scene_colours[highest->colour].name,
                         scene_shapes[highest->shape].name);
        assert_memory_equal(text, name, (size_t)n);
        text += n;
        above = highest->y;
    }
    assert_string_equal(text, "");
}

/* Questions about one fact of one object. */
static void check_fact(const struct scene_qa *q, const struct heard *h, const struct scene_object *o)
{
    const char *right = q->kind == SCENE_ASK_COLOUR  ? scene_colours[o->colour].name
                        : q->kind == SCENE_ASK_SHAPE ? scene_shapes[o->shape].name
                        : q->kind == SCENE_ASK_SIZE  ? (o->size ? "large" : "small")
                                                     : scene_position_names[scene_position(o->x, o->y)];
    assert_string_equal(q->answer, right);
    assert_true(q->kind != SCENE_ASK_COLOUR || h->colour[0] < 0); /* the question must not tell */
    assert_true(q->kind != SCENE_ASK_SHAPE || h->shape[0] < 0);
}

static void check_answer(const struct scene *s, const struct scene_qa *q)
{
    const struct scene_object *o = NULL;
    struct heard h = hear(q->question);
    int n = h.things ? fits(s, &h, 0, &o) : 0;
    char count[12];
    switch (q->kind) {
    case SCENE_ASK_EXISTENCE: assert_string_equal(q->answer, n ? "yes" : "no"); return;
    case SCENE_ASK_COUNT:
        snprintf(count, sizeof count, "%d", n);
        assert_string_equal(q->answer, count);
        return;
    case SCENE_ASK_RELATION: assert_string_equal(q->answer, right_relation(s, &h, q->question)); return;
    case SCENE_ASK_TEXT: assert_string_equal(q->answer, s->word.chars); return;
    case SCENE_ASK_BARS: check_bars(s, &h, q); return;
    case SCENE_ASK_JSON: check_json(s, q->answer); return;
    case SCENE_ASK_LIST: check_list(s, q->answer); return;
    case SCENE_ASK_ORDER: check_order(s, q->answer); return;
    case SCENE_ASK_CAPTION: assert_true(q->answer[0] != 0); return;
    default: break;
    }
    assert_int_equal(h.things, 1);
    assert_int_equal(n, 1);
    check_fact(q, &h, o);
}

static void answers_follow_from_the_scene(void **state)
{
    (void)state;
    static struct scene_qa qa[ASKED];
    int asked[SCENE_KIND_COUNT] = {0};
    for (int split = SCENE_TEST; split <= SCENE_HELDOUT; split++) {
        struct scene_config cfg = config_of((enum scene_split)split);
        cfg.question_weight[SCENE_ASK_ORDER] = 1;
        for (uint64_t i = 0; i < PICTURES; i++) {
            struct scene s;
            scene_make(&cfg, SEED, i, &s);
            int n = scene_questions(&cfg, &s, qa, ASKED);
            assert_true(n > 0);
            for (int k = 0; k < n; k++) {
                check_answer(&s, &qa[k]);
                asked[qa[k].kind]++;
                for (int j = 0; j < k; j++)
                    assert_string_not_equal(qa[j].question, qa[k].question);
            }
        }
    }
    for (int k = 0; k < SCENE_KIND_COUNT; k++)
        assert_true(asked[k] > PICTURES / 8);
}

static void check_share(double part, double whole, double lo, double hi)
{
    if (part < lo * whole || part > hi * whole)
        fail_msg("expected a share of %g to %g, found %g of %g", lo, hi, part, whole);
}

static void yes_and_no_balance(void **state)
{
    (void)state;
    static struct scene_qa qa[ASKED];
    struct scene_config cfg = config_of(SCENE_TEST);
    cfg.picture_weight[SCENE_BARS] = 30;
    int yes[SCENE_KIND_COUNT] = {0}, closed[SCENE_KIND_COUNT] = {0}, negative[SCENE_NEG_COUNT] = {0};
    for (uint64_t i = 0; i < 5 * PICTURES; i++) {
        struct scene s;
        scene_make(&cfg, SEED, i, &s);
        int n = scene_questions(&cfg, &s, qa, ASKED);
        for (int k = 0; k < n; k++) {
            bool is_yes = !strcmp(qa[k].answer, "yes"), is_no = !strcmp(qa[k].answer, "no");
            closed[qa[k].kind] += is_yes || is_no;
            yes[qa[k].kind] += is_yes;
            negative[qa[k].negative] += is_no && qa[k].kind == SCENE_ASK_EXISTENCE;
            assert_true((qa[k].negative != SCENE_NEG_NONE) == (is_no && qa[k].kind == SCENE_ASK_EXISTENCE));
        }
    }
    static const enum scene_kind kinds[] = {SCENE_ASK_EXISTENCE, SCENE_ASK_RELATION, SCENE_ASK_BARS};
    for (int i = 0; i < 3; i++)
        check_share(yes[kinds[i]], closed[kinds[i]], 0.49, 0.51);
    int no = closed[SCENE_ASK_EXISTENCE] - yes[SCENE_ASK_EXISTENCE];
    for (int i = SCENE_NEG_RANDOM; i < SCENE_NEG_COUNT; i++)
        check_share(negative[i], no, 0.28, 0.38);
}

static void stages_shrink_the_world(void **state)
{
    (void)state;
    static struct scene_qa qa[ASKED];
    struct scene_config cfg = config_of(SCENE_TRAIN);
    cfg.max_objects = cfg.text_min = cfg.text_max = 1;
    cfg.text_spread = 0;
    memset(cfg.question_weight, 0, sizeof cfg.question_weight);
    cfg.question_weight[SCENE_ASK_LIST] = 1;
    for (uint64_t i = 0; i < 500; i++) {
        struct scene s;
        scene_make(&cfg, SEED, i, &s);
        assert_true(s.count <= 1 && strlen(s.word.chars) <= 1);
        if (s.word.chars[0])
            assert_true(fabsf(s.word.x + s.word.width / 2 - 56) < 1e-3f);
        int n = scene_questions(&cfg, &s, qa, ASKED);
        assert_int_equal(n, s.count);
        assert_true(n == 0 || qa[0].kind == SCENE_ASK_LIST);
    }
}

static void wrong_configs_are_refused(void **state)
{
    (void)state;
    struct scene_config cfg = config_of(SCENE_TRAIN);
    cfg.max_objects = 7;
    assert_int_equal(scene_config_check(&cfg), NUN_EARG);
    assert_non_null(strstr(nun_error(), "max_objects: expected 1 to 6, found 7"));
    cfg = config_of(SCENE_TRAIN);
    cfg.fonts = NULL;
    assert_int_equal(scene_config_check(&cfg), NUN_EARG);
    cfg.picture_weight[SCENE_TEXT] = cfg.picture_weight[SCENE_MIXED] = 0;
    assert_int_equal(scene_config_check(&cfg), 0);
    cfg.picture_weight[SCENE_OBJECTS] = NAN;
    assert_int_equal(scene_config_check(&cfg), NUN_EARG);
    struct scene s;
    static uint8_t rgb[112 * 112 * 3];
    cfg = config_of(SCENE_TEST);
    scene_make(&cfg, SEED, 0, &s);
    s.side = 96; /* a word needs fonts of that side */
    memcpy(s.word.chars, "A", 2);
    assert_int_equal(scene_draw(&s, rgb, NULL), NUN_EARG);
}

static void any_side_is_drawn(void **state)
{
    (void)state;
    static uint8_t rgb[448 * 448 * 3], scratch[448 * 448 * 6];
    static const int sides[] = {32, 113, 448};
    for (int k = 0; k < 3; k++) {
        struct scene_fonts *f;
        assert_int_equal(scene_fonts_open(sides[k], &f), 0);
        struct scene_config cfg = config_of(SCENE_TRAIN);
        cfg.side = sides[k];
        cfg.fonts = f;
        cfg.augment = 0.5f;
        for (uint64_t i = 0; i < 50; i++) {
            struct scene s;
            scene_make(&cfg, SEED, i, &s);
            assert_int_equal(scene_draw(&s, rgb, scratch), 0);
        }
        scene_fonts_close(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_index_same_bytes), cmocka_unit_test(world_is_pinned),
        cmocka_unit_test(splits_are_honest), cmocka_unit_test(layout_keeps_its_rules),
        cmocka_unit_test(pixels_show_the_objects), cmocka_unit_test(words_are_drawn_where_the_scene_says),
        cmocka_unit_test(answers_follow_from_the_scene), cmocka_unit_test(yes_and_no_balance),
        cmocka_unit_test(stages_shrink_the_world), cmocka_unit_test(wrong_configs_are_refused),
        cmocka_unit_test(any_side_is_drawn),
    };
    return cmocka_run_group_tests(tests, open_fonts, close_fonts);
}
