/* nunchi_vl beyond its reference numbers: gradients of every connector and paradigm are those of finite differences, tags are
 * what the page says, configs that do not fit are refused in words, and a dry run counts what serving then takes. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../check.h"
#include "base/file.h"
#include "graph/exec.h"
#include "models/sight.h"
#include "models/tags.h"
#include "nunchi/tools.h"
#include "runtime/timeline.h"

#define FOLDER "tests/data/nunchi_vl/"

static const char *const folders[] = {"decoder", "cross", "hybrid", "patches", "patches-beside", "hybrid-box",
                                      "perceiver", "qformer", "hybrid-linear", "hybrid-queries"};
enum { FOLDERS = sizeof folders / sizeof folders[0], PATH = 256 };

static void path_of(const char *folder, const char *file, char out[PATH])
{
    snprintf(out, PATH, FOLDER "%s%s", folder, file);
}

static json_t *config_of(const char *folder)
{
    char path[PATH];
    json_t *config;
    path_of(folder, "/config.json", path);
    check_ok(json_load_file_limited(path, &config));
    return config;
}

/* ---- gradients ----------------------------------------------------------------------------- */

enum { B = 2, TILES = 3, BEFORE = 2, BEHIND = 4 };

/* Two sequences with a picture of two tiles and the thumbnail in each. */
struct learning {
    struct model *m;
    struct preprocess_plan plan;
    int T, n;                   /* tokens of a sequence, and of its picture */
    int32_t at[256];
    struct graph *g;
    struct plan *run;
    struct nn_sight sight;
    struct g_tensor *loss;
};

static uint32_t draw(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static struct g_tensor *placeholders(struct learning *l)
{
    int32_t *rows;
    struct g_tensor *t = nn_ints(l->g, SHAPE1(B * l->n), &rows);
    for (int i = 0; i < B * l->n; i++)
        rows[i] = i / l->n * l->T + l->at[i % l->n];
    return t;
}

static struct g_tensor *tokens(struct learning *l, bool labels)
{
    int32_t *ids;
    uint32_t seed = 5 + labels;
    struct g_tensor *t = nn_ints(l->g, SHAPE1(B * l->T), &ids);
    for (int i = 0; i < B * l->T; i++)
        ids[i] = (int32_t)(draw(&seed) % 90);
    for (int i = 0; !labels && i < B * l->n; i++)
        ids[i / l->n * l->T + l->at[i % l->n]] = l->m->facts.image_token;
    return t;
}

static struct g_tensor *pixels(struct learning *l)
{
    int side = l->plan.tile_width;
    uint32_t seed = 9;
    struct g_tensor *t = g_input(l->g, "pixels", DT_F32, SHAPE4(B * TILES, 3, side, side));
    float *x = arena_array(&l->g->arena, (size_t)B * TILES * 3 * (size_t)side * (size_t)side, sizeof *x);
    for (int i = 0; i < B * TILES * 3 * side * side; i++)
        x[i] = (float)(draw(&seed) % 2001) / 1000 - 1;
    t->data = x;
    return t;
}

static struct g_tensor *part(struct learning *l, struct g_tensor *x, int64_t from, int64_t to)
{
    int64_t all = x->shape.d[0] / B, width = g_last(x);
    return from < to ? g_reshape(l->g, g_slice(l->g, g_reshape(l->g, x, SHAPE3(B, all, width)), 1, from, to), SHAPE2(B * (to - from), width))
                     : NULL;
}

static void look(struct learning *l, struct g_tensor *rows, int n)
{
    int32_t *spans, *lit;
    struct sight_place place = {&l->plan, l->at};
    l->sight = (struct nn_sight){.rows = rows, .n = n, .spans = nn_ints(l->g, SHAPE3(B, l->T, 2), &spans),
                                 .lit = nn_ints(l->g, SHAPE1(B * l->T), &lit)};
    for (int b = 0; b < B; b++)
        sight_spans(l->m, &place, 1, l->T, b * l->T, (int32_t(*)[2])(void *)(spans + 2 * b * l->T), lit + b * l->T);
}

static void build(struct learning *l)
{
    check_ok(graph_create(GEMM_F32, 1, &l->g));
    struct graph *g = l->g;
    g->training = true;
    int inside = l->m->family->sight->features(l->m, &l->plan), beside = sight_side_of(l->m, &l->plan).rows;
    struct g_tensor *x = model_images(g, l->m, pixels(l), &l->plan, B), *rows = part(l, x, inside, inside + beside);
    struct nn_seq seq = nn_seq_full(g, B, l->T);
    int32_t *pos;
    seq.pos = nn_ints(g, SHAPE1(B * l->T), &pos);
    for (int i = 0; i < B * l->T; i++) {
        pos[i] = i % l->T;
        g_i32(seq.spans)[2 * i] = 0;
        g_i32(seq.spans)[2 * i + 1] = i % l->T + 1;
    }
    look(l, rows, beside);
    seq.sight = rows ? &l->sight : NULL;
    struct model_text in = {.seq = seq, .ids = tokens(l, false), .images = part(l, x, 0, inside)};
    in.image_rows = in.images ? placeholders(l) : NULL;
    l->loss = g_output(g_cross_entropy(g, model_logits(g, l->m, &in), tokens(l, true)));
    check_ok(graph_error(g));
    check_ok(graph_backward(g, l->loss, NULL));
    check_ok(plan_create(g, &l->run));
}

static void lay(struct learning *l)
{
    int side = l->m->facts.vl.side;
    l->plan = sight_square_plan(l->m);
    l->plan.columns = 2;
    l->plan.tiles = TILES;
    l->plan.overview = TILES - 1;
    l->plan.width = l->plan.canvas_width = l->plan.inside_width = 2 * side;
    l->n = sight_tokens_of(l->m, &l->plan);
    assert_in_range(l->n, 1, 256);
    l->T = BEFORE + 2 * l->n + BEHIND;
    for (int i = 0; i < l->n; i++)
        l->at[i] = BEFORE + 2 * i; /* as if a tag stood between them */
}

static double loss_of(const struct learning *l)
{
    check_ok(exec_run(l->run, &(struct exec){0}));
    return (double)g_f32(l->loss)[0];
}

static void step(struct g_param *p, const float *direction, size_t n, double by)
{
    float *w = (float *)(uintptr_t)p->data;
    for (size_t k = 0; k < n; k++)
        w[k] += (float)(by * (double)direction[k]);
}

/* The loss along the weight's gradient rises as the gradient says. false: it has next to none. */
static bool check_slope(const struct learning *l, struct g_param *p)
{
    size_t n;
    double norm = 0, loss[2];
    check_ok(shape_count(&p->shape, &n));
    float *direction = mem_alloc(MEM_TEST, n * sizeof *direction);
    memcpy(direction, p->grad, n * sizeof *direction); /* further runs add to it */
    for (size_t k = 0; k < n; k++)
        norm += (double)direction[k] * (double)direction[k];
    norm = sqrt(norm);
    double eps = 0.004 / (1 + norm);
    if (norm > 1e-3) {
        step(p, direction, n, eps / norm);
        loss[0] = loss_of(l);
        step(p, direction, n, -2 * eps / norm);
        loss[1] = loss_of(l);
        step(p, direction, n, eps / norm);
        double slope = (loss[0] - loss[1]) / (2 * eps);
        if (fabs(slope - norm) > 0.02 * norm + 1e-3)
            fail_msg("%s: gradient %g, difference %g", p->name, norm, slope);
    }
    mem_free(direction);
    return norm > 1e-3;
}

static bool all_learn(const struct g_param *p, void *arg) { return true; }

static void finite_differences(void **state)
{
    static struct learning l;
    char folder[PATH];
    int moved = 0, connector = 0, gates = 0;
    l = (struct learning){0};
    path_of(*state, "", folder);
    check_ok(model_load(folder, &l.m));
    check_ok(model_make_trainable(l.m, all_learn, NULL));
    lay(&l);
    build(&l);
    for (int i = 0; i < l.m->n_params; i++) {
        size_t n;
        for (int k = 0; k < l.m->n_params; k++) {
            check_ok(shape_count(&l.m->params[k]->shape, &n));
            memset(l.m->params[k]->grad, 0, n * sizeof(float));
        }
        if (i == 0)
            print_message("%s: loss %.4f\n", (const char *)*state, loss_of(&l));
        else
            loss_of(&l);
        bool moves = check_slope(&l, l.m->params[i]);
        moved += moves;
        connector += moves && !strncmp(l.m->params[i]->name, "connector.", 10);
        gates += moves && strstr(l.m->params[i]->name, "_gate") && l.m->params[i]->shape.n == 1;
    }
    assert_true(moved > l.m->n_params / 2 && connector > 0);
    assert_int_equal(gates > 0, l.m->facts.vl.paradigm != VL_DECODER);
    plan_free(l.run);
    graph_free(l.g);
    model_free(l.m);
}

/* ---- tags ---------------------------------------------------------------------------------- */

static void tags_are_what_the_page_says(void **state)
{
    static const char *const want[TAG_KINDS] = {[TAGS_none] = "", [TAGS_1d] = "<tile_6>", [TAGS_2d] = "<tile_x2_y1>",
                                                [TAGS_box] = "<box> (896, 448), (1344, 896) </box>"};
    for (int k = 0; k < TAG_KINDS; k++) {
        struct buf text;
        buf_init(&text, MEM_TEST, 1 << 16);
        tag_write((enum tag_kind)k, (struct tag_place){5, 2, 1, 448}, &text);
        assert_string_equal(buf_cstr(&text), want[k]);
        buf_free(&text);
    }
    struct tag_place at;
    assert_int_equal(tag_count(TAGS_none, 6), 0);
    assert_int_equal(tag_count(TAGS_1d, 6), 6);
    assert_int_equal(tag_count(TAGS_box, 6), 36);
    assert_true(tag_at(TAGS_2d, 6, 6 + 2, &at) && at.x == 2 && at.y == 1); /* 3 x 2 tiles */
    assert_false(tag_at(TAGS_2d, 6, 6 + 3, &at));
}

/* What a tokenizer makes of tags is what the reference had made of them, wherever a grid reaches. */
static void tags_are_fitted(void **state)
{
    static const char *const with[] = {"hybrid", "hybrid-box", "hybrid-linear"};
    for (size_t i = 0; i < sizeof with / sizeof with[0]; i++) {
        char folder[PATH];
        struct tokenizer *tok;
        struct model *m;
        json_t *config = config_of(with[i]), *want = json_incref(json_object_get(config, "tile_tag_ids"));
        path_of(with[i], "", folder);
        check_ok(tokenizer_load(folder, &tok));
        check_ok(tags_check(config, folder, tok));
        json_object_del(config, "tile_tag_ids");
        check_fails(NUN_EFORMAT, "looks at its tags", model_init(config, 1, &m));
        check_ok(tags_fit(config, folder, tok));
        const json_t *got = json_object_get(config, "tile_tag_ids");
        assert_int_equal(json_array_size(got), json_array_size(want));
        for (size_t k = 0; k < json_array_size(got); k++) {
            const json_t *one = json_array_get(got, k);
            assert_true(!json_array_size(one) || json_equal((json_t *)(uintptr_t)one, json_array_get(want, k)));
        }
        assert_int_equal(json_array_size(json_array_get(got, 0)) > 0, 1);
        check_ok(model_init(config, 1, &m));
        json_array_set_new(json_array_get(json_object_get(config, "tile_tag_ids"), 0), 0, json_integer(1));
        check_fails(NUN_EFORMAT, "tile_tag_ids[0]: expected", tags_check(config, folder, tok));
        model_free(m);
        json_decref(config);
        json_decref(want);
        tokenizer_free(tok);
    }
}

/* ---- what is refused ----------------------------------------------------------------------- */

static void refused(void **state)
{
    static const struct { const char *folder, *key, *value, *why; } bad[] = {
        {"decoder", "paradigm", "\"both\"", "paradigm"},
        {"decoder", "connector", "\"glue\"", "connector"},
        {"decoder", "paradigm", "\"cross\"", "expected at least one layer"},
        {"cross", "paradigm", "\"decoder\"", "no rows are beside"},
        {"hybrid", "thumbnail", "false", "thumbnail"},
        {"hybrid", "tile_tags", "\"none\"", "tile_tags is none"},
        {"hybrid", "tile_tag_ids", "[[100], [101]]", "expected 4 lists"},
        {"hybrid", "tile_tag_ids", "[[100], [101], [102], []]", "tile_tag_ids[3]"},
        {"hybrid", "tile_tag_ids", "[[100], [101], [102], [98]]", "an id of text"},
        {"decoder", "downsample", "3", "does not divide"},
        {"decoder", "image_size", "112", "expected the tower's 56"},
        {"decoder", "patch_size", "14", "has its own"},
        {"decoder", "image_token_id", "104", "outside the vocabulary"},
        {"decoder", "tile_colours", "1", "tile_colours"},
        {"patches", "patch_size", "null", "patch_size for a model without a tower"},
        {"patches", "patch_size", "15", "not a multiple"},
        {"cross", "text_config.cross_attention_layers", "[1, 0]", "ascending"},
        {"cross", "text_config.cross_attention_layers", "[2]", "from 0 to 1"},
        {"cross", "text_config.layer_types", "[\"full_attention\", \"sliding_attention\"]", "layer_types"},
        {"perceiver", "connector_heads", "5", "heads"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *config = config_of(bad[i].folder), *to = config;
        const char *key = bad[i].key, *dot = strchr(key, '.');
        struct model *m = NULL;
        if (dot) {
            to = json_object_get(config, "text_config");
            key = dot + 1;
        }
        json_object_set_new(to, key, json_loads(bad[i].value, JSON_DECODE_ANY, NULL));
        if (model_init(config, 1, &m) >= 0 || !strstr(nun_error(), bad[i].why))
            fail_msg("%s, %s %s: expected \"...%s...\", found \"%s\"", bad[i].folder, bad[i].key, bad[i].value, bad[i].why, m ? "a model" : nun_error());
        json_decref(config);
    }
}

/* ---- what it takes ------------------------------------------------------------------------- */

/* A dry run's tokens and bytes are those that computing then takes. */
static void a_dry_run_is_exact(void **state)
{
    char folder[PATH], picture[PATH];
    struct nun_model *m;
    struct nun_timeline *t;
    struct nun_measure said;
    size_t n;
    path_of(*state, "", folder);
    path_of(*state, "/verify/wide.png", picture);
    check_ok(nun_model_open(folder, &(struct nun_model_options){.threads = 1}, &m));
    check_ok(nun_timeline_create(m, &t));
    struct nun_part part[] = {{.kind = NUN_PART_IMAGE_FILE, .text = picture}, {.kind = NUN_PART_TEXT, .text = "what?"}};
    struct nun_message user = {"user", part, 2, NULL};
    check_ok(nun_timeline_chat(t, &(struct nun_chat){.messages = &user, .n_messages = 1}));
    struct nun_picture_measure p;
    check_ok(nun_timeline_measure(t, &said));
    check_ok(nun_timeline_picture(t, 0, &p));
    assert_int_equal(p.beside, look_rows(t));
    check_ok(nun_timeline_prefill(t));
    nun_timeline_tokens(t, &n);
    assert_int_equal(said.tokens, n);
    assert_int_equal(said.state_bytes, m->pages.bytes + m->sides.bytes);
    nun_timeline_free(t);
    nun_model_close(m);
}

/* ---- folders ------------------------------------------------------------------------------- */

/* A config without ids of its tags becomes a folder, whose tokenizer says them; there is no GGUF of it. */
static void configs_become_folders(void **state)
{
    static const char room[] = "build/test-vl", from[] = "build/test-vl/config.json", to[] = "build/test-vl/model";
    struct nun_model *m;
    json_t *config = config_of("hybrid-box");
    if (file_exists(room))
        check_ok(file_remove_tree(room));
    check_ok(file_mkdirs(room));
    json_object_del(config, "tile_tag_ids");
    json_object_set_new(json_object_get(config, "text_config"), "vocab_size", json_integer(260));
    check_ok(json_write_file(from, config));
    json_decref(config);
    check_ok(nun_init_model(from, to, 1, NULL));
    check_ok(nun_model_open(to, NULL, &m));
    assert_int_equal(m->model->facts.vl.n_tags, 16);
    assert_true(m->model->facts.vl.tag_at[1] > 10); /* byte by byte */
    nun_model_close(m);
    check_fails(NUN_EUNSUP, "no form in GGUF", nun_convert(to, "build/test-vl/model.gguf", NULL));
}

int main(void)
{
    struct CMUnitTest tests[2 * FOLDERS + 4] = {cmocka_unit_test(tags_are_what_the_page_says), cmocka_unit_test(tags_are_fitted),
                                                cmocka_unit_test(refused), cmocka_unit_test(configs_become_folders)};
    for (int i = 0; i < FOLDERS; i++) {
        void *state = (void *)(uintptr_t)folders[i];
        tests[4 + 2 * i] = (struct CMUnitTest){"finite_differences", finite_differences, NULL, NULL, state};
        tests[5 + 2 * i] = (struct CMUnitTest){"a_dry_run_is_exact", a_dry_run_is_exact, NULL, NULL, state};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
