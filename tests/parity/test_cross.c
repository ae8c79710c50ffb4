/* Pictures beside the sequence: what layers of cross-attention keep is computed once and never stale, whichever way text
 * and pictures arrive; serving gives the bits of the training graph, whose gradients are those of finite differences.
 * On a small random model of Llama 3.2 Vision's kind; the numbers themselves are test_verify's. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "../check.h"
#include "base/rng.h"
#include "formats/json.h"
#include "models/sight.h"
#include "runtime/timeline.h"

static const char config_text[] =
    "{\"architectures\": [\"MllamaForConditionalGeneration\"], \"model_type\": \"mllama\", \"image_token_index\": 100,"
    "\"text_config\": {\"model_type\": \"mllama_text_model\", \"cross_attention_layers\": [1, 3], \"hidden_size\": 32,"
    "\"intermediate_size\": 40, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"num_hidden_layers\": 4, \"vocab_size\": 96,"
    "\"max_position_embeddings\": 512},"
    "\"vision_config\": {\"model_type\": \"mllama_vision_model\", \"attention_heads\": 2, \"hidden_size\": 16, \"image_size\": 16,"
    "\"intermediate_layers_indices\": [0, 1], \"intermediate_size\": 24, \"max_num_tiles\": 4, \"num_global_layers\": 1,"
    "\"num_hidden_layers\": 2, \"patch_size\": 8, \"vision_output_dim\": 48}}";

enum { IMAGE = 100, VOCAB = 96, SIDE = 16, TEXT = 20 };

static struct model *make_model(bool blind_sees)
{
    struct model *m;
    json_t *config = json_loads(config_text, 0, NULL);
    assert_non_null(config);
    check_ok(model_init(config, 3, &m));
    json_decref(config);
    for (int i = 0; i < m->n_params; i++) /* gates wide open, so that it matters what is seen */
        if (strstr(m->params[i]->name, "gate") && m->params[i]->shape.n == 1 && m->params[i]->shape.d[0] == 1)
            *(float *)(uintptr_t)m->params[i]->data = 0.9f;
    m->text.facts.blind_sees = blind_sees;
    return m;
}

static struct nun_model *make_engine(bool blind_sees, size_t state_bytes)
{
    struct nun_model_options o = {.threads = 2, .compute = NUN_F32, .prefill_chunk = 7, .state_bytes = state_bytes};
    struct nun_model *m;
    check_ok(engine_create(make_model(blind_sees), &o, &m));
    return m;
}

static struct preprocess_plan plan_of(const struct model *m, int tiles)
{
    struct preprocess_plan p = sight_square_plan(m);
    p.tiles = p.columns = p.aspect_id = tiles; /* the first grids are rows of as many tiles */
    return p;
}

static void fill_pixels(uint64_t seed, float *out, size_t n)
{
    struct rng r = rng_at(seed, 5);
    for (size_t i = 0; i < n; i++)
        out[i] = rng_float(&r) * 2 - 1;
}

static struct picture *make_picture(const struct nun_model *m, uint64_t seed)
{
    struct picture *p = mem_calloc(MEM_TEST, 1, sizeof *p);
    p->refs = 1;
    p->token = IMAGE;
    p->plan = plan_of(m->model, 1 + (int)(seed % 3));
    p->n_tokens = sight_tokens_of(m->model, &p->plan);
    p->side = sight_side_of(m->model, &p->plan);
    p->floats = (size_t)p->plan.tiles * 3 * SIDE * SIDE;
    p->pixels = mem_alloc(MEM_RUNTIME, p->floats * sizeof(float));
    fill_pixels(seed, p->pixels, p->floats);
    digest_of(p->pixels, p->floats * sizeof(float), &p->identity);
    return p;
}

static void add_text(struct nun_timeline *t, int n, int seed)
{
    for (int i = 0; i < n; i++) {
        int32_t id = (seed * 31 + i * 17) % VOCAB;
        check_ok(nun_timeline_ids(t, &id, 1));
    }
}

static void add_picture(struct nun_timeline *t, uint64_t seed)
{
    int32_t id = IMAGE;
    struct picture *p = make_picture(t->m, seed);
    check_ok(timeline_append(t, &id, 1, &p, 1));
}

/* What is asked: text and pictures by turns; 0 ends, negative: a picture of that seed. */
static struct nun_timeline *ask(struct nun_model *m, const int *parts)
{
    struct nun_timeline *t;
    check_ok(nun_timeline_create(m, &t));
    for (; *parts; parts++)
        *parts > 0 ? add_text(t, *parts, *parts) : add_picture(t, (uint64_t)-*parts);
    return t;
}

static const float *logits_of(struct nun_timeline *t)
{
    const float *logits;
    size_t n;
    check_ok(nun_timeline_logits(t, &logits, &n));
    assert_int_equal(n, VOCAB);
    return logits;
}

/* t has the logits of the same request asked at once, and is done with. */
static void same_as_fresh(struct nun_timeline *t, const int *parts)
{
    struct nun_timeline *fresh = ask(t->m, parts);
    assert_memory_equal(logits_of(t), logits_of(fresh), VOCAB * sizeof(float));
    nun_timeline_free(fresh);
    nun_timeline_free(t);
}

/* ---- ways in which a request arrives ------------------------------------------------------- */

static const bool modes[] = {false, true};

static void step_by_step(void **state)
{
    static const int parts[] = {5, -1, 6, -2, -3, 9, -4, 3, 0};
    struct nun_model *m = make_engine(*(const bool *)*state, 0);
    struct nun_timeline *t;
    check_ok(nun_timeline_create(m, &t));
    for (const int *p = parts; *p; p++) {
        *p > 0 ? add_text(t, *p, *p) : add_picture(t, (uint64_t)-*p);
        check_ok(nun_timeline_prefill(t));
    }
    same_as_fresh(t, parts);
    nun_model_close(m);
}

static void another_picture(void **state)
{
    static const int first[] = {5, -1, 6, 0}, other[] = {5, -2, 6, 0}, none[] = {5, 6, 0};
    struct nun_model *m = make_engine(*(const bool *)*state, 0);
    struct nun_timeline *t = ask(m, first), *u = ask(m, other), *v = ask(m, none);
    assert_memory_not_equal(logits_of(t), logits_of(u), VOCAB * sizeof(float)); /* the same ids */
    assert_memory_not_equal(logits_of(t), logits_of(v), VOCAB * sizeof(float));
    check_ok(nun_timeline_rewind(t, 5));
    add_picture(t, 2);
    add_text(t, 6, 6);
    same_as_fresh(t, other);
    check_ok(nun_timeline_rewind(u, 5));
    add_text(u, 6, 6);
    same_as_fresh(u, none);
    nun_timeline_free(v);
    nun_model_close(m);
}

static void adoption(void **state)
{
    static const int first[] = {5, -1, 6, 0}, other[] = {5, -2, 6, 0}, longer[] = {5, -1, 6, -3, 4, 0};
    bool blind_sees = *(const bool *)*state;
    struct nun_model *m = make_engine(blind_sees, 0);
    struct nun_timeline *past = ask(m, longer), *same = ask(m, longer), *apart = ask(m, other), *part = ask(m, first);
    check_ok(nun_timeline_prefill(past));
    check_ok(nun_timeline_adopt(same, past));
    assert_int_equal(same->computed, past->ids.n);
    assert_int_equal(same->looked, 2);
    same_as_fresh(same, longer);
    check_ok(nun_timeline_adopt(apart, past));
    assert_int_equal(apart->computed, blind_sees ? 0 : 5); /* up to the picture, unless what is before it sees it */
    same_as_fresh(apart, other);
    check_ok(nun_timeline_adopt(part, past));
    assert_int_equal(part->computed, blind_sees ? 0 : 12);
    same_as_fresh(part, first);
    nun_timeline_free(past);
    nun_model_close(m);
}

/* The rows kept of a picture outlive every further turn, are shared by forks, and count against the limit. */
static void kept_once(void **state)
{
    static const int parts[] = {5, -1, 6, 0}, all[] = {5, -1, 6, 9, 9, 0};
    struct nun_model *m = make_engine(*(const bool *)*state, 0);
    struct nun_timeline *t = ask(m, parts), *f;
    check_ok(nun_timeline_prefill(t));
    size_t bytes = m->sides.bytes;
    struct page_block *block = t->side.blocks[0];
    assert_true(bytes > 0 && t->looked == 1);
    check_ok(nun_timeline_fork(t, &f));
    for (int i = 0; i < 2; i++) {
        add_text(f, 9, 9);
        check_ok(nun_timeline_prefill(f));
    }
    assert_ptr_equal(f->side.blocks[0], block);
    assert_int_equal(block->refs, 2);
    assert_int_equal(m->sides.bytes, bytes);
    same_as_fresh(f, all);
    nun_timeline_free(t);
    nun_model_close(m);
    m = make_engine(*(const bool *)*state, 1);
    t = ask(m, parts);
    assert_int_equal(nun_timeline_prefill(t), NUN_ELIMIT);
    nun_timeline_free(t);
    nun_model_close(m);
}

/* ---- the training graph -------------------------------------------------------------------- */

enum { B = 2, T = 8, TILES = 2 };

struct trained {
    struct graph *g;
    struct plan *plan;
    struct nn_sight sight;
    struct g_tensor *logits, *loss;
    int32_t ids[B * T], pos[B * T], spans[B * T * 2], sees[B * T * 2], lit[B * T], labels[B * T];
    float pixels[B * TILES * 3 * SIDE * SIDE];
};

static struct g_tensor *input(struct graph *g, enum dtype dt, struct shape shape, void *data)
{
    struct g_tensor *t = g_input(g, "in", dt, shape);
    assert_non_null(t);
    t->data = data;
    return t;
}

/* Two sequences of a picture each, at positions 3 and 0. */
static void lay(struct trained *t, int shown)
{
    for (int i = 0; i < B * T; i++) {
        int at = i % T, picture = i < T ? 3 : 0;
        t->ids[i] = at == picture ? IMAGE : (i * 29 + 7) % VOCAB;
        t->labels[i] = (i * 13 + 1) % VOCAB;
        t->pos[i] = at;
        t->spans[2 * i + 1] = at + 1;
        t->sees[2 * i + 1] = at < picture ? 0 : shown;
        t->lit[i] = at < picture ? -1 : i;
    }
    fill_pixels(11, t->pixels, sizeof t->pixels / sizeof *t->pixels);
}

static void build(struct trained *t, const struct model *m, bool learn)
{
    struct preprocess_plan plan = plan_of(m, TILES);
    struct sight_side side = sight_side_of(m, &plan);
    lay(t, side.shown);
    check_ok(graph_create(GEMM_F32, 1, &t->g));
    struct graph *g = t->g;
    g->training = learn;
    struct g_tensor *pixels = input(g, DT_F32, SHAPE4(B * TILES, 3, SIDE, SIDE), t->pixels);
    t->sight = (struct nn_sight){.rows = model_images(g, m, pixels, &plan, B), .n = side.rows,
                                 .spans = input(g, DT_I32, SHAPE3(B, T, 2), t->sees), .lit = input(g, DT_I32, SHAPE1(B * T), t->lit)};
    struct model_text in = {.seq = {.batch = B, .tokens = T, .pos = input(g, DT_I32, SHAPE1(B * T), t->pos),
                                    .spans = input(g, DT_I32, SHAPE3(B, T, 2), t->spans), .sight = &t->sight},
                            .ids = input(g, DT_I32, SHAPE1(B * T), t->ids)};
    t->logits = g_output(model_logits(g, m, &in));
    t->loss = g_output(g_cross_entropy(g, t->logits, input(g, DT_I32, SHAPE1(B * T), t->labels)));
    check_ok(graph_error(g));
    if (learn)
        check_ok(graph_backward(g, t->loss, NULL));
    check_ok(plan_create(g, &t->plan));
}

static double loss_of(const struct trained *t)
{
    check_ok(exec_run(t->plan, &(struct exec){0}));
    return (double)g_f32(t->loss)[0];
}

static void drop(struct trained *t)
{
    plan_free(t->plan);
    graph_free(t->g);
}

/* Row by row the bits that serving gives. */
static void serving_is_training(void **state)
{
    struct nun_model *m = make_engine(false, 0);
    static struct trained t;
    float *all = mem_alloc(MEM_TEST, T * VOCAB * sizeof(float));
    build(&t, m->model, false);
    loss_of(&t);
    for (int b = 0; b < B; b++) {
        struct nun_timeline *line;
        struct picture *p = make_picture(m, 1);
        assert_int_equal(p->plan.tiles, TILES);
        memcpy(p->pixels, t.pixels + (size_t)b * p->floats, p->floats * sizeof(float));
        digest_of(p->pixels, p->floats * sizeof(float), &p->identity);
        check_ok(nun_timeline_create(m, &line));
        check_ok(timeline_append(line, t.ids + b * T, T, &p, 1));
        check_ok(timeline_see(line, T));
        struct engine_span s = {line, 0, T, NULL, all};
        check_ok(engine_run(m, &s, 1));
        assert_memory_equal(all, g_f32(t.logits) + (size_t)b * T * VOCAB, T * VOCAB * sizeof(float));
        nun_timeline_free(line);
    }
    drop(&t);
    mem_free(all);
    nun_model_close(m);
}

static bool all_learn(const struct g_param *p, void *arg)
{
    return true;
}

/* The loss along each weight's gradient rises as the gradient says. */
static void finite_differences(void **state)
{
    struct model *m = make_model(false);
    static struct trained t;
    int moved = 0;
    check_ok(model_make_trainable(m, all_learn, NULL));
    build(&t, m, true);
    for (int i = 0; i < m->n_params; i++) {
        size_t n;
        check_ok(shape_count(&m->params[i]->shape, &n));
        memset(m->params[i]->grad, 0, n * sizeof(float));
    }
    loss_of(&t);
    float **grads = mem_calloc(MEM_TEST, (size_t)m->n_params, sizeof *grads);
    for (int i = 0; i < m->n_params; i++) { /* further runs add to them */
        size_t n;
        check_ok(shape_count(&m->params[i]->shape, &n));
        grads[i] = mem_alloc(MEM_TEST, n * sizeof(float));
        memcpy(grads[i], m->params[i]->grad, n * sizeof(float));
    }
    for (int i = 0; i < m->n_params; i++) {
        struct g_param *p = m->params[i];
        float *w = (float *)(uintptr_t)p->data;
        double norm = 0, eps, loss[2];
        size_t n;
        check_ok(shape_count(&p->shape, &n));
        for (size_t k = 0; k < n; k++)
            norm += (double)grads[i][k] * (double)grads[i][k];
        norm = sqrt(norm);
        if (norm < 1e-3)
            continue;
        moved++;
        eps = 0.01 / (1 + norm);
        for (int side = 0; side < 2; side++) {
            for (size_t k = 0; k < n; k++)
                w[k] += (float)((side ? -2 : 1) * eps * (double)grads[i][k] / norm);
            loss[side] = loss_of(&t);
        }
        for (size_t k = 0; k < n; k++)
            w[k] += (float)(eps * (double)grads[i][k] / norm);
        double slope = (loss[0] - loss[1]) / (2 * eps);
        if (fabs(slope - norm) > 0.02 * norm + 2e-4)
            fail_msg("%s: gradient %g, difference %g", p->name, norm, slope);
    }
    assert_true(moved > m->n_params / 2);
    for (int i = 0; i < m->n_params; i++)
        mem_free(grads[i]);
    mem_free(grads);
    drop(&t);
    model_free(m);
}

/* ---- what is refused ----------------------------------------------------------------------- */

static void refused(void **state)
{
    static const struct { const char *stack, *key, *value; } bad[] = {
        {"text_config", "cross_attention_layers", "[4]"},
        {"text_config", "tie_word_embeddings", "true"},
        {"vision_config", "vision_output_dim", "47"},
        {"vision_config", "intermediate_layers_indices", "[2]"},
        {"vision_config", "supported_aspect_ratios", "[[1, 1], [2, 1]]"},
        {"vision_config", "attention_heads", "3"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *config = json_loads(config_text, 0, NULL);
        struct model *m = NULL;
        json_object_set_new(json_object_get(config, bad[i].stack), bad[i].key, json_loads(bad[i].value, JSON_DECODE_ANY, NULL));
        assert_true(model_init(config, 1, &m) < 0);
        json_decref(config);
    }
}

int main(void)
{
#define BOTH(fn) {#fn, fn, NULL, NULL, (void *)(uintptr_t)&modes[0]}, {#fn " (blind rows see)", fn, NULL, NULL, (void *)(uintptr_t)&modes[1]}
    const struct CMUnitTest tests[] = {BOTH(step_by_step), BOTH(another_picture), BOTH(adoption), BOTH(kept_once),
                                       cmocka_unit_test(serving_is_training), cmocka_unit_test(finite_differences), cmocka_unit_test(refused)};
    return cmocka_run_group_tests_name("cross", tests, NULL, NULL);
}
