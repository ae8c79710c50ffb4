/* The law: the same request gives the same bytes. One request with two pictures is run with every prefill
 * chunk, batch size, thread count, instruction set of a profile, over forks and rewinds, and every logit
 * of every step must be the same bit for bit. On fixtures where they are there (pictures in the
 * sequence, and beside it), and on a random
 * model of the bundled shape always. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "formats/json.h"
#include "kernels/cpu.h"
#include "models/sight.h"
#include "runtime/timeline.h"

#define FIXTURES "../shared/fixtures/"
#define CONFIG "recipes/scenes-config.json"

enum { STEPS = 8, TEXT = 75, OTHERS = 15 };

/* ---- models and requests ------------------------------------------------------------------- */

struct setting { const char *fixture; enum nun_compute compute; enum nun_cache k, v; };

static struct nun_model *open_model(const struct setting *s, int threads, int chunk)
{
    struct nun_model_options o = {.threads = threads, .compute = s->compute, .prefill_chunk = chunk,
                                  .cache_k = s->k, .cache_v = s->v};
    struct nun_model *m = NULL;
    if (s->fixture) {
        assert_int_equal(nun_model_open(s->fixture, &o, &m), 0);
        return m;
    }
    struct model *random = NULL;
    json_t *config = NULL;
    assert_int_equal(json_load_file_limited(CONFIG, &config), 0);
    json_object_set_new(json_object_get(config, "text_config"), "num_hidden_layers", json_integer(2)); /* for speed */
    json_object_set_new(json_object_get(config, "vision_config"), "num_hidden_layers", json_integer(2));
    assert_int_equal(model_init(config, 7, &random), 0);
    json_decref(config);
    assert_int_equal(engine_create(random, &o, &m), 0);
    return m;
}

static struct picture *make_picture(const struct nun_model *m, uint64_t seed)
{
    int side = model_image_size(m->model);
    bool two = m->model->vision.facts.tiles.most > 1 && seed % 2; /* tiles */
    size_t n = (two ? 2 : 1) * 3 * (size_t)side * (size_t)side;
    struct picture *p = mem_calloc(MEM_TEST, 1, sizeof *p);
    struct rng r = rng_at(seed, 99);
    assert_non_null(p);
    p->refs = 1;
    p->token = m->model->facts.image_token;
    p->plan = sight_square_plan(m->model);
    if (two)
        p->plan.tiles = p->plan.columns = p->plan.aspect_id = 2;
    p->n_features = model_features(m->model, &p->plan);
    p->n_tokens = sight_tokens_of(m->model, &p->plan);
    p->side = sight_side_of(m->model, &p->plan);
    p->floats = n;
    p->pixels = mem_alloc(MEM_TEST, n * sizeof(float));
    assert_non_null(p->pixels);
    for (size_t i = 0; i < n; i++)
        p->pixels[i] = rng_float(&r) * 2 - 1;
    digest_of(p->pixels, n * sizeof(float), &p->identity);
    return p;
}

/* Text, a picture, text, a second picture, text: drawn from the seed. */
static struct nun_timeline *make_request(struct nun_model *m, uint64_t seed, int text, bool pictures)
{
    struct nun_timeline *t = NULL;
    struct rng r = rng_at(seed, 1);
    int32_t image = m->model->facts.image_token, vocab = m->model->text.facts.vocab;
    assert_int_equal(nun_timeline_create(m, &t), 0);
    for (int i = 0; i < text; i++) {
        int32_t id = (int32_t)rng_below(&r, (uint32_t)vocab);
        id = id == image ? 0 : id;
        assert_int_equal(nun_timeline_ids(t, &id, 1), 0);
        if (pictures && (i == 2 || i == text / 2)) {
            struct picture *p = make_picture(m, seed + (uint64_t)i);
            int32_t *run = mem_alloc(MEM_TEST, (size_t)p->n_tokens * sizeof *run);
            assert_non_null(run);
            for (int k = 0; k < p->n_tokens; k++)
                run[k] = image;
            assert_int_equal(timeline_append(t, run, (size_t)p->n_tokens, &p, 1), 0);
            mem_free(run);
        }
    }
    return t;
}

/* ---- traces -------------------------------------------------------------------------------- */

/* All logits of a generation. */
struct trace {
    const struct nun_timeline *t;
    int steps;
    int32_t ids[STEPS];
    struct digest logits[STEPS];
};

static int note(void *arg, const struct nun_token *token)
{
    struct trace *tr = arg;
    size_t vocab = (size_t)tr->t->m->model->text.facts.vocab;
    assert_true(tr->steps < STEPS);
    tr->ids[tr->steps] = token->id;
    digest_of(tr->t->logits, vocab * sizeof(float), &tr->logits[tr->steps++]);
    return 0;
}

static struct nun_generate_options trace_options(struct trace *tr)
{
    return (struct nun_generate_options){.max_tokens = STEPS, .ignore_eos = true, .token = note, .arg = tr};
}

static void run(struct nun_timeline *t, struct trace *tr)
{
    *tr = (struct trace){.t = t};
    struct nun_generate_options o = trace_options(tr);
    assert_int_equal(nun_generate(t, &o, NULL), 0);
    assert_int_equal(tr->steps, STEPS);
}

static void assert_same(const struct trace *a, const struct trace *b)
{
    assert_int_equal(a->steps, b->steps);
    assert_memory_equal(a->ids, b->ids, sizeof a->ids);
    assert_memory_equal(a->logits, b->logits, sizeof a->logits);
}

static void run_fresh(const struct setting *s, int threads, int chunk, struct trace *tr)
{
    struct nun_model *m = open_model(s, threads, chunk);
    struct nun_timeline *t = make_request(m, 1, TEXT, true);
    run(t, tr);
    nun_timeline_free(t);
    nun_model_close(m);
}

/* ---- the law ------------------------------------------------------------------------------- */

static const struct setting *setting_or_skip(void **state)
{
    const struct setting *s = *state;
    if (s->fixture && !file_is_dir(s->fixture))
        skip();
    return s;
}

static void chunks_and_threads(void **state)
{
    const struct setting *s = setting_or_skip(state);
    static const struct { int threads, chunk; } rows[] = {{1, 1}, {1, 7}, {1, 64}, {1, 512}, {2, 0}, {2, 7}, {3, 100}};
    struct trace want, got;
    run_fresh(s, 1, 0, &want);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        run_fresh(s, rows[i].threads, rows[i].chunk, &got);
        assert_same(&want, &got);
    }
}

/* The same arithmetic on all of them: AMX sums bf16 in another order and is compared with itself alone. */
static void instruction_sets(void **state)
{
    const struct setting *s = setting_or_skip(state);
    unsigned before = cpu_mask(), mask = CPU_scalar;
    struct trace want, got;
    cpu_set_mask(mask);
    run_fresh(s, 1, 0, &want);
    for (size_t i = 1; i < cpu_isa_count; i++) {
        if (!(cpu_features() & cpu_isa_rows[i].bit))
            continue;
        mask |= cpu_isa_rows[i].bit;
        if (s->compute == NUN_BF16 && cpu_isa_rows[i].bit == CPU_amxbf16)
            break;
        cpu_set_mask(mask);
        run_fresh(s, 1, 0, &got);
        assert_same(&want, &got);
    }
    cpu_set_mask(before);
}

/* The request among n - 1 others of other lengths, which come and go. */
static void among(struct nun_model *m, int n, const struct trace *want)
{
    struct nun_timeline *t[OTHERS + 1];
    struct nun_generation *g[OTHERS + 1];
    struct trace traces[OTHERS + 1];
    int mine = n / 2, left = 1;
    for (int i = 0; i < n; i++) {
        t[i] = i == mine ? make_request(m, 1, TEXT, true) : make_request(m, 100 + (uint64_t)i, 3 + 11 * i, i % 3 == 0);
        traces[i] = (struct trace){.t = t[i]};
        struct nun_generate_options o = trace_options(&traces[i]);
        o.max_tokens = i == mine ? STEPS : 1 + i % STEPS;
        assert_int_equal(nun_generation_start(t[i], &o, &g[i]), 0);
    }
    while (left > 0)
        left = nun_batch_step(m, g, (size_t)n);
    assert_int_equal(left, 0);
    assert_same(want, &traces[mine]);
    for (int i = 0; i < n; i++) {
        nun_generation_free(g[i]);
        nun_timeline_free(t[i]);
    }
}

static void batches(void **state)
{
    const struct setting *s = setting_or_skip(state);
    struct trace want;
    run_fresh(s, 1, 0, &want);
    for (int chunk = 37; chunk <= 512; chunk += 475) {
        struct nun_model *m = open_model(s, chunk > 100 ? 2 : 1, chunk);
        for (int n = 1; n <= OTHERS + 1; n += n < 4 ? 1 : 4)
            among(m, n, &want);
        among(m, OTHERS + 1, &want);
        nun_model_close(m);
    }
}

/* Two children of one past in the middle of a page go their own ways, and neither touches the other. */
static void forks(void **state)
{
    const struct setting *s = setting_or_skip(state);
    struct nun_model *m = open_model(s, 1, 0);
    struct nun_timeline *a = make_request(m, 1, TEXT, true), *b, *c;
    struct trace want, got;
    int32_t other = 5;
    run_fresh(s, 1, 0, &want);
    assert_int_equal(nun_timeline_prefill(a), 0);
    size_t bytes = m->pages.bytes + m->sides.bytes, length = nun_timeline_length(a);
    assert_int_equal(nun_timeline_fork(a, &b), 0);
    assert_int_equal(nun_timeline_fork(a, &c), 0);
    assert_int_equal(m->pages.bytes + m->sides.bytes, bytes); /* nothing was copied */
    assert_int_equal(nun_timeline_common(a, b), length);
    assert_int_equal(nun_timeline_ids(b, &other, 1), 0);
    run(b, &got);
    assert_memory_not_equal(got.logits, want.logits, sizeof got.logits);
    run(c, &got);
    assert_same(&want, &got);
    run(a, &got);
    assert_same(&want, &got);
    assert_int_equal(nun_timeline_rewind(a, length), 0);
    run(a, &got);
    assert_same(&want, &got);
    nun_timeline_free(c);
    c = make_request(m, 1, TEXT, true);
    assert_int_equal(nun_timeline_adopt(c, b), 0); /* b has gone another way since */
    assert_int_equal(c->computed, length);
    run(c, &got);
    assert_same(&want, &got);
    nun_timeline_free(a);
    nun_timeline_free(b);
    nun_timeline_free(c);
    nun_model_close(m);
}

/* Once shapes are known and pages there, a step asks the heap for nothing. */
static void no_heap(void **state)
{
    const struct setting *s = setting_or_skip(state);
    struct nun_model *m = open_model(s, 1, 0);
    struct nun_timeline *t = make_request(m, 1, 5, false);
    struct nun_generate_options o = {.max_tokens = 40, .ignore_eos = true};
    struct nun_generation *g;
    struct mem_stats before, after;
    assert_int_equal(nun_generation_start(t, &o, &g), 0);
    for (int i = 0; i < 12; i++) /* past the growth of ids and text */
        assert_int_equal(nun_batch_step(m, &g, 1), 1);
    mem_stats(MEM_TAG_COUNT, &before);
    uint64_t violations = mem_freeze_violations();
    for (int i = 0; i < 3; i++)
        assert_int_equal(nun_batch_step(m, &g, 1), 1);
    mem_stats(MEM_TAG_COUNT, &after);
    assert_int_equal(after.calls, before.calls);
    assert_int_equal(mem_freeze_violations(), violations);
    nun_generation_free(g);
    nun_timeline_free(t);
    nun_model_close(m);
}

int main(void)
{
    static struct setting settings[] = {{.compute = NUN_F32}, {.compute = NUN_BF16}, {.compute = NUN_BF16, .k = NUN_CACHE_Q8_0, .v = NUN_CACHE_Q4_0},
                                        {.fixture = FIXTURES "llava", .compute = NUN_F32}, {.fixture = FIXTURES "llava", .compute = NUN_BF16},
                                        {.fixture = FIXTURES "mllama", .compute = NUN_F32}, {.fixture = FIXTURES "mllama", .compute = NUN_BF16},
                                        {.fixture = FIXTURES "mllama", .compute = NUN_BF16, .k = NUN_CACHE_BF16, .v = NUN_CACHE_Q8_0}};
    static const struct { const char *name; CMUnitTestFunction fn; } rows[] = {
        {"chunks and threads", chunks_and_threads}, {"instruction sets", instruction_sets}, {"batches", batches},
        {"forks and rewinds", forks}, {"no heap in decode", no_heap}};
    enum { SETTINGS = sizeof settings / sizeof settings[0], ROWS_N = sizeof rows / sizeof rows[0] };
    struct CMUnitTest tests[SETTINGS * ROWS_N];
    char names[SETTINGS * ROWS_N][64];
    for (int i = 0; i < SETTINGS * (int)ROWS_N; i++) {
        const struct setting *s = &settings[i / (int)ROWS_N];
        snprintf(names[i], sizeof names[i], "%s, %s %s%s", rows[i % (int)ROWS_N].name, s->fixture ? s->fixture + sizeof FIXTURES - 1 : "random",
                 s->compute == NUN_F32 ? "f32" : "bf16", s->k != NUN_CACHE_F32 ? ", packed cache" : "");
        tests[i] = (struct CMUnitTest){names[i], rows[i % (int)ROWS_N].fn, NULL, NULL, (void *)(uintptr_t)s};
    }
    return cmocka_run_group_tests_name("invariance", tests, NULL, NULL);
}
