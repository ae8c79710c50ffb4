/* The world of large pictures: purity, grids and groups, no overlaps on the pixels themselves, tiles as InternVL's
 * tiling cuts them, honest splits, balance. Answers are tested in test_hd_answers.c. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/file.h"
#include "base/hash.h"
#include "data/hd.h"
#include "media/image.h"
#include "media/image_write.h"
#include "media/preprocess.h"

enum { PICTURES = 3000, ASKED = 16, SEED = 23 };
static struct scene_fonts *fonts;
static uint8_t rgb[HD_MAX_PIXELS * 3], other[HD_MAX_PIXELS * 3];

static int open_fonts(void **state)
{
    (void)state;
    return hd_fonts_open(&fonts);
}

static int close_fonts(void **state)
{
    (void)state;
    scene_fonts_close(fonts);
    return 0;
}

static struct hd_config config_of(enum scene_split split)
{
    struct hd_config cfg = hd_config_default;
    cfg.split = split;
    cfg.fonts = fonts;
    check_ok(hd_config_check(&cfg));
    return cfg;
}

static size_t bytes_of(const struct hd_scene *s) { return (size_t)s->width * (size_t)s->height * 3; }

static void same_index_same_bytes(void **state)
{
    (void)state;
    static struct scene_qa qa[ASKED], qb[ASKED];
    struct hd_config cfg = config_of(SCENE_TRAIN), test = config_of(SCENE_TEST);
    for (uint64_t i = 0; i < 60; i++) {
        struct hd_scene s, t;
        hd_make(&cfg, SEED, i, &s);
        hd_make(&cfg, SEED, 59 - i, &t);
        hd_make(&cfg, SEED, i, &t);
        check_ok(hd_draw(&s, rgb));
        memset(other, (int)i, bytes_of(&t));
        check_ok(hd_draw(&t, other));
        assert_memory_equal(rgb, other, bytes_of(&s));
        int n = hd_questions(&cfg, &s, qa, ASKED);
        assert_int_equal(n, hd_questions(&cfg, &t, qb, ASKED));
        for (int k = 0; k < n; k++) {
            assert_string_equal(qa[k].question, qb[k].question);
            assert_string_equal(qa[k].answer, qb[k].answer);
        }
        hd_make(&test, SEED, i, &t);
        check_ok(hd_draw(&t, other));
        assert_true(s.width != t.width || s.height != t.height || memcmp(rgb, other, bytes_of(&s)) != 0);
    }
}

/* A change of these bytes is a change of the world: models trained on the old one must be scored again. */
static void world_is_pinned(void **state)
{
    (void)state;
    static struct scene_qa qa[ASKED];
    struct hd_config cfg = config_of(SCENE_TEST);
    cfg.picture_weight[SCENE_TEXT] = cfg.picture_weight[SCENE_MIXED] = 0; /* font files differ between systems */
    struct digest_state st;
    struct digest digest;
    char hex[65];
    digest_begin(&st);
    for (uint64_t i = 0, n = 0; n < 24; i++) {
        struct hd_scene s;
        hd_make(&cfg, SEED, i, &s);
        if (s.heading.chars[0])
            continue;
        n++;
        check_ok(hd_draw(&s, rgb));
        digest_update(&st, rgb, bytes_of(&s));
        int asked = hd_questions(&cfg, &s, qa, ASKED);
        for (int k = 0; k < asked; k++)
            digest_update(&st, qa[k].question, strlen(qa[k].question));
    }
    digest_end(&st, &digest);
    digest_hex(&digest, hex);
    assert_string_equal(hex, "4e7c80f19ebdfc42e0694924a722a1c6ff85f0d45aafa269f4cd2468a6f625e9");
}

/* docs/scenes-hd.png: objects and bars are laid before print, so no font moves them. */
static void the_page_shows_this_world(void **state)
{
    (void)state;
    struct hd_config cfg = config_of(SCENE_TEST);
    struct hd_scene s;
    struct image page;
    struct file_map file;
    hd_make(&cfg, 7, 33, &s);
    check_ok(file_map("docs/scenes-hd.png", &file));
    check_ok(image_decode(span_of(file.ptr, file.len), &image_options_default, &page));
    assert_true(page.width == s.width && page.height == s.height && s.count == 4 && s.chart.count == 8);
    for (int k = 0; k < s.count; k++)
        assert_memory_equal(page.data + ((int)s.object[k].y * s.width + (int)s.object[k].x) * 3, s.object[k].rgb, 3);
    for (int k = 0; k < s.chart.count; k++) {
        const struct scene_bar *b = &s.chart.bar[k];
        int x = (int)((b->left + b->right) / 2), y = (int)(s.chart.base - b->height) + 2;
        assert_memory_equal(page.data + (y * s.width + x) * 3, b->rgb, 3);
    }
    image_free(&page);
    file_unmap(&file);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* What is in a picture, where, and in which colours: the same facts in no two of them. */
static void seeds_and_splits_share_no_picture(void **state)
{
    (void)state;
    enum { SEEDS = 3, EACH = 800, ALL = SEEDS * EACH * SCENE_SPLIT_COUNT };
    static uint64_t seen[ALL];
    int n = 0;
    for (int split = 0; split < SCENE_SPLIT_COUNT; split++)
        for (uint64_t seed = 0; seed < SEEDS; seed++)
            for (uint64_t i = 0; i < EACH; i++) {
                struct hd_config cfg = config_of((enum scene_split)split);
                struct hd_scene s;
                hd_make(&cfg, seed, i, &s);
                s.seed = s.stream = 0;
                seen[n++] = hash64(&s, sizeof s, 0);
            }
    qsort(seen, ALL, sizeof seen[0], by_value);
    for (int i = 1; i < ALL; i++)
        assert_true(seen[i] != seen[i - 1]);
}

static void a_group_shares_its_grid(void **state)
{
    (void)state;
    struct hd_config cfg = config_of(SCENE_TRAIN);
    cfg.group = 6;
    int seen[HD_GRIDS] = {0}, changes = 0, last = -1;
    for (uint64_t i = 0; i < 6000; i++) {
        struct hd_scene s;
        hd_make(&cfg, SEED, i, &s);
        struct hd_grid g = hd_grid_of(&cfg, SEED, i / 6);
        assert_true(g.columns == s.grid.columns && g.rows == s.grid.rows && g.columns * g.rows <= HD_MAX_TILES);
        assert_true(s.width == 448 * g.columns && s.height == 448 * g.rows);
        int key = g.columns * 8 + g.rows;
        changes += key != last;
        assert_true(key == last || i % 6 == 0);
        last = key;
        for (int k = 0; k < HD_GRIDS; k++)
            seen[k] += hd_grids[k].columns == g.columns && hd_grids[k].rows == g.rows;
    }
    assert_true(changes > 800);
    for (int k = 0; k < HD_GRIDS; k++) /* 1000 draws; weights sum to 100 */
        assert_in_range(seen[k] / 6, hd_config_default.grid_weight[k] * 10 * 0.3, hd_config_default.grid_weight[k] * 10 * 2);
}

/* ---- tiles ----------------------------------------------------------------------------------- */

static void internvl(struct preprocess_facts *f)
{
    static const char config[] =
        "{\"image_processor_type\":\"GotOcr2ImageProcessor\",\"crop_to_patches\":true,\"do_convert_rgb\":true,"
        "\"do_normalize\":true,\"do_rescale\":true,\"do_resize\":true,\"image_mean\":[0.5,0.5,0.5],"
        "\"image_std\":[0.5,0.5,0.5],\"max_patches\":6,\"min_patches\":1,\"resample\":3,"
        "\"rescale_factor\":0.00392156862745098,\"size\":{\"height\":448,\"width\":448}}";
    check_ok(preprocess_parse(span_str(config), "test", f));
}

/* The tile of row-major number `t` holds the picture's own pixels: nothing was resized. */
static void check_tile(const struct hd_scene *s, const float *tile, int t)
{
    int x0 = t % s->grid.columns * 448, y0 = t / s->grid.columns * 448;
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < 448; y++)
            for (int x = 0; x < 448; x++) {
                float v = rgb[((y0 + y) * s->width + x0 + x) * 3 + c] / 255.0f * 2 - 1;
                if (fabsf(tile[(c * 448 + y) * 448 + x] - v) > 1e-5f)
                    fail_msg("tile %d at %d, %d: expected %g, found %g", t, x, y, (double)v,
                             (double)tile[(c * 448 + y) * 448 + x]);
            }
}

static void tiling_keeps_the_grid_and_the_pixels(void **state)
{
    (void)state;
    struct preprocess_facts f;
    struct hd_config cfg = config_of(SCENE_TEST);
    const size_t room = (HD_MAX_TILES + 1) * 3 * 448 * 448;
    float *tiles = malloc(room * sizeof *tiles);
    assert_non_null(tiles);
    internvl(&f);
    for (int g = 0; g < HD_GRIDS; g++) {
        struct hd_scene s;
        struct preprocess_plan p;
        memset(cfg.grid_weight, 0, sizeof cfg.grid_weight);
        cfg.grid_weight[g] = 1;
        hd_make(&cfg, SEED, (uint64_t)g, &s);
        check_ok(hd_draw(&s, rgb));
        assert_true(s.grid.columns == hd_grids[g].columns && s.grid.rows == hd_grids[g].rows);
        check_ok(preprocess_plan(&f, &(struct preprocess_input){.width = s.width, .height = s.height}, &p));
        assert_true(p.columns == s.grid.columns && p.rows == s.grid.rows);
        int n = s.grid.columns * s.grid.rows;
        assert_int_equal(p.tiles, n + (n > 1));
        struct image img = {.width = s.width, .height = s.height, .channels = 3, .data = rgb};
        check_ok(preprocess_tiles(&f, &p, &img, tiles, room));
        for (int t = 0; t < n; t++)
            check_tile(&s, tiles + (size_t)(t + (p.overview == 0)) * 3 * 448 * 448, t);
    }
    free(tiles);
}

static void pictures_come_back_from_files(void **state)
{
    (void)state;
    struct hd_config cfg = config_of(SCENE_VAL);
    struct buf file;
    buf_init(&file, MEM_DATA, 64 << 20);
    for (uint64_t i = 0; i < 24; i++) {
        struct hd_scene s;
        struct image back;
        hd_make(&cfg, SEED, i, &s);
        check_ok(hd_draw(&s, rgb));
        buf_reset(&file);
        check_ok(image_encode(&(struct image){.width = s.width, .height = s.height, .channels = 3, .data = rgb}, "png",
                              0, &file));
        check_ok(image_decode(buf_view(&file), &image_options_default, &back));
        assert_true(back.width == s.grid.columns * 448 && back.height == s.grid.rows * 448 && back.channels == 3);
        assert_memory_equal(back.data, rgb, bytes_of(&s));
        image_free(&back);
    }
    buf_free(&file);
}

/* ---- layout ---------------------------------------------------------------------------------- */

/* The scene without its things, on white. */
static struct hd_scene emptied(const struct hd_scene *s)
{
    struct hd_scene e = *s;
    e.count = e.words = e.chart.count = 0;
    e.heading.chars[0] = 0;
    memset(&e.ground, 0, sizeof e.ground);
    memset(e.ground.from, 255, 3);
    memset(e.ground.to, 255, 3);
    return e;
}

/* Piece k of a scene alone; false behind the last. Words come first. */
static bool piece(const struct hd_scene *s, int k, struct hd_scene *out)
{
    *out = emptied(s);
    if (k < s->words) {
        out->words = 1;
        out->word[0] = s->word[k];
        return true;
    }
    k -= s->words;
    if (k < s->count) {
        out->count = 1;
        out->object[0] = s->object[k];
        return true;
    }
    k -= s->count;
    bool heading = s->heading.chars[0] != 0, chart = s->chart.count > 0;
    if (k == 0 && heading)
        memcpy(out->heading.chars, s->heading.chars, sizeof s->heading.chars);
    else if (k == heading && chart)
        out->chart.count = s->chart.count;
    return k < heading + chart;
}

/* Mark what the piece inks; nothing may be another's. `least`: pixels that it must ink. */
static void claim(const struct hd_scene *alone, uint8_t *owner, int k, bool one_tile)
{
    int inked = 0, tile = -1;
    check_ok(hd_draw(alone, rgb));
    for (int p = 0; p < alone->width * alone->height; p++) {
        if (rgb[3 * p] == 255 && rgb[3 * p + 1] == 255 && rgb[3 * p + 2] == 255)
            continue;
        int here = p / alone->width / 448 * 8 + p % alone->width / 448;
        inked++;
        assert_int_equal(owner[p], 0);
        assert_true(!one_tile || tile < 0 || tile == here);
        tile = here;
        owner[p] = (uint8_t)(k + 1);
    }
    assert_true(inked > 150);
}

static void nothing_overlaps(void **state)
{
    (void)state;
    for (int split = SCENE_TRAIN; split <= SCENE_HELDOUT; split += SCENE_HELDOUT) {
        struct hd_config cfg = config_of((enum scene_split)split);
        for (uint64_t i = 0; i < 100; i++) {
            struct hd_scene s, alone;
            hd_make(&cfg, SEED, i, &s);
            memset(other, 0, (size_t)s.width * (size_t)s.height);
            int pieces = 0;
            while (piece(&s, pieces, &alone)) {
                claim(&alone, other, pieces, pieces < s.words);
                pieces++;
            }
            assert_true(pieces > 0);
        }
    }
}

static void check_object(const struct hd_scene *s, int k)
{
    const struct scene_object *o = &s->object[k];
    float reach = 1.1f * o->radius;
    assert_true(o->x >= reach && o->y >= reach && o->x <= (float)s->width - reach && o->y <= (float)s->height - reach);
    assert_true(o->size ? o->radius >= 28 && o->radius <= 40 : o->radius >= 14 && o->radius <= 18);
    for (int line = 1; line <= 2; line++)
        assert_true(fabsf(o->x - (float)(line * s->width) / 3) >= 12 && fabsf(o->y - (float)(line * s->height) / 3) >= 12);
    int here = 0;
    for (int j = 0; j < s->count; j++) {
        const struct scene_object *p = &s->object[j];
        assert_true(j >= k || (o->x - p->x >= 8 && hypotf(o->x - p->x, o->y - p->y) >= o->radius + p->radius + 9.9f));
        here += (int)(p->x / 448) == (int)(o->x / 448) && (int)(p->y / 448) == (int)(o->y / 448);
    }
    assert_true(here <= 4);
}

static void check_words(const struct hd_scene *s)
{
    for (int k = 0; k < s->words; k++) {
        const struct hd_word *w = &s->word[k];
        size_t len = strlen(w->print.chars);
        assert_true(len >= 2 && len <= 5 && w->print.px >= 26 && w->print.px <= 34);
        assert_true(strspn(w->print.chars, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == len);
        float end = w->print.x + w->print.width;
        assert_true(w->inside ? w->print.x > w->left && end < w->right : w->print.x > w->right);
        for (int j = 0; j < k; j++)
            assert_true(s->word[j].colour != w->colour && w->left - s->word[j].left >= 8);
    }
    if (s->heading.chars[0])
        assert_true(s->heading.px >= 60 && s->heading.px <= 90);
}

static void check_chart(const struct hd_scene *s)
{
    const struct hd_chart *c = &s->chart;
    if (!c->count)
        return;
    assert_true(c->count >= 4 && c->count <= 8 && c->width <= 448 && c->height <= 448 && c->width >= 300);
    for (int k = 0; k < c->count; k++) {
        assert_true(c->bar[k].height < c->height && c->bar[k].left >= c->left && c->bar[k].right <= c->left + c->width);
        for (int j = 0; j < k; j++)
            assert_true(fabsf(c->bar[j].height - c->bar[k].height) >= 21 && c->bar[j].colour != c->bar[k].colour &&
                        c->bar[k].left > c->bar[j].right);
    }
}

static void layout_keeps_its_rules(void **state)
{
    (void)state;
    struct hd_config cfg = config_of(SCENE_TRAIN);
    int most = 0, crowded = 0, all_mixed = 0, words[HD_MAX_WORDS + 1] = {0}, bars[HD_MAX_BARS + 1] = {0}, headings = 0;
    for (uint64_t i = 0; i < PICTURES; i++) {
        struct hd_scene s;
        hd_make(&cfg, SEED, i, &s);
        for (int k = 0; k < s.count; k++)
            check_object(&s, k);
        check_words(&s);
        check_chart(&s);
        assert_true(s.picture != SCENE_OBJECTS || (s.count && !s.words && !s.chart.count));
        assert_true(s.picture != SCENE_TEXT || (s.words && !s.count));
        assert_true(s.picture != SCENE_BARS || (s.chart.count && !s.count));
        bool mixed = s.picture == SCENE_MIXED;
        assert_true(!mixed || s.count + s.words > 0);
        crowded += mixed && !(s.count && s.words);
        all_mixed += mixed;
        most = s.count > most ? s.count : most;
        words[s.words]++;
        bars[s.chart.count]++;
        headings += s.heading.chars[0] != 0;
    }
    assert_int_equal(most, HD_MAX_OBJECTS);
    for (int n = 1; n <= HD_MAX_WORDS; n++)
        assert_true(words[n] > PICTURES / 40);
    for (int n = HD_MIN_BARS; n <= HD_MAX_BARS; n++)
        assert_true(bars[n] > PICTURES / 80);
    assert_true(headings > PICTURES / 8);
    assert_true(crowded * 100 < all_mixed); /* a chart may leave no room for one of the two */
}

/* The pixel at every centre is the object's own colour, near the one that it goes by. */
static void pixels_show_the_things(void **state)
{
    (void)state;
    struct hd_config cfg = config_of(SCENE_TEST);
    for (uint64_t i = 0; i < 120; i++) {
        struct hd_scene s;
        hd_make(&cfg, SEED, i, &s);
        check_ok(hd_draw(&s, rgb));
        for (int k = 0; k < s.count; k++) {
            const struct scene_object *o = &s.object[k];
            assert_memory_equal(rgb + ((int)o->y * s.width + (int)o->x) * 3, o->rgb, 3);
            for (int c = 0; c < 3; c++)
                assert_true(abs(o->rgb[c] - scene_colours[o->colour].rgb[c]) <= 12);
        }
        for (int k = 0; k < s.words; k++) {
            const struct hd_word *w = &s.word[k];
            assert_memory_equal(rgb + (((int)w->top + 2) * s.width + (int)w->left + 2) * 3, w->rgb, 3);
        }
        for (int k = 0; k < s.chart.count; k++) {
            const struct scene_bar *b = &s.chart.bar[k];
            int x = (int)((b->left + b->right) / 2), y = (int)(s.chart.base - b->height);
            assert_memory_equal(rgb + ((y + 2) * s.width + x) * 3, b->rgb, 3);
            assert_int_not_equal(memcmp(rgb + ((y - 2) * s.width + x) * 3, b->rgb, 3), 0);
        }
    }
}

/* ---- splits, balance, configs ---------------------------------------------------------------- */

static bool says_held_pair(const char *text)
{
    return strstr(text, "purple star") || strstr(text, "cyan triangle");
}

static void splits_are_honest(void **state)
{
    (void)state;
    static struct scene_qa qa[ASKED];
    int said = 0;
    for (int split = 0; split < SCENE_SPLIT_COUNT; split++) {
        struct hd_config cfg = config_of((enum scene_split)split);
        bool held = split == SCENE_HELDOUT;
        for (uint64_t i = 0; i < PICTURES; i++) {
            struct hd_scene s;
            int shown = 0;
            hd_make(&cfg, SEED, i, &s);
            for (int k = 0; k < s.count; k++)
                shown += scene_pair_held(s.object[k].colour, s.object[k].shape);
            assert_int_equal(shown > 0, held);
            int n = hd_questions(&cfg, &s, qa, ASKED);
            for (int k = 0; k < n; k++) {
                bool says = says_held_pair(qa[k].question) || says_held_pair(qa[k].answer);
                assert_true(held || !says);
                said += says;
            }
        }
    }
    assert_true(said > PICTURES);
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
    struct hd_config cfg = config_of(SCENE_TEST);
    int yes[SCENE_KIND_COUNT][2] = {{0}}, closed[SCENE_KIND_COUNT][2] = {{0}}, negative[SCENE_NEG_COUNT] = {0};
    for (uint64_t i = 0; i < 6 * PICTURES; i++) {
        struct hd_scene s;
        hd_make(&cfg, SEED, i, &s);
        int n = hd_questions(&cfg, &s, qa, 8);
        for (int k = 0; k < n; k++) {
            bool is_yes = !strcmp(qa[k].answer, "yes"), is_no = !strcmp(qa[k].answer, "no");
            closed[qa[k].kind][qa[k].fine] += is_yes || is_no;
            yes[qa[k].kind][qa[k].fine] += is_yes;
            negative[qa[k].negative] += is_no && qa[k].kind == SCENE_ASK_EXISTENCE;
            assert_true((qa[k].negative != SCENE_NEG_NONE) == (is_no && qa[k].kind == SCENE_ASK_EXISTENCE));
        }
    }
    for (int fine = 0; fine < 2; fine++) {
        check_share(yes[SCENE_ASK_EXISTENCE][fine], closed[SCENE_ASK_EXISTENCE][fine], 0.47, 0.53);
        check_share(yes[SCENE_ASK_RELATION][fine], closed[SCENE_ASK_RELATION][fine], 0.47, 0.53);
    }
    check_share(yes[SCENE_ASK_BARS][0], closed[SCENE_ASK_BARS][0], 0.48, 0.52);
    for (int i = SCENE_NEG_RANDOM; i < SCENE_NEG_COUNT; i++)
        check_share(negative[i], negative[1] + negative[2] + negative[3], 0.28, 0.38);
}

static void wrong_configs_are_refused(void **state)
{
    (void)state;
    struct hd_config cfg = config_of(SCENE_TRAIN);
    cfg.max_objects = 21;
    check_fails(NUN_EARG, "max_objects: expected 1 to 20, found 21", hd_config_check(&cfg));
    cfg = config_of(SCENE_TRAIN);
    cfg.group = 0;
    check_fails(NUN_EARG, "group: expected 1 to", hd_config_check(&cfg));
    cfg = config_of(SCENE_TRAIN);
    cfg.question_weight[SCENE_ASK_JSON] = 1;
    check_fails(NUN_EARG, "question_weight of json: expected 0, found 1", hd_config_check(&cfg));
    cfg = config_of(SCENE_TRAIN);
    memset(cfg.grid_weight, 0, sizeof cfg.grid_weight);
    check_fails(NUN_EARG, "grid_weight: expected one above 0", hd_config_check(&cfg));
    cfg.grid_weight[3] = NAN;
    check_fails(NUN_EARG, "grid_weight 3", hd_config_check(&cfg));
    cfg = config_of(SCENE_TRAIN);
    cfg.fonts = NULL;
    check_fails(NUN_EARG, "expected open fonts", hd_config_check(&cfg));
    struct hd_scene s;
    cfg = config_of(SCENE_TEST);
    hd_make(&cfg, SEED, 0, &s);
    s.grid.columns = 7;
    check_fails(NUN_EARG, "expected a scene of hd_make", hd_draw(&s, rgb));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_index_same_bytes), cmocka_unit_test(world_is_pinned),
        cmocka_unit_test(the_page_shows_this_world), cmocka_unit_test(seeds_and_splits_share_no_picture),
        cmocka_unit_test(a_group_shares_its_grid),
        cmocka_unit_test(tiling_keeps_the_grid_and_the_pixels), cmocka_unit_test(pictures_come_back_from_files),
        cmocka_unit_test(nothing_overlaps), cmocka_unit_test(layout_keeps_its_rules),
        cmocka_unit_test(pixels_show_the_things), cmocka_unit_test(splits_are_honest),
        cmocka_unit_test(yes_and_no_balance), cmocka_unit_test(wrong_configs_are_refused),
    };
    return cmocka_run_group_tests(tests, open_fonts, close_fonts);
}
