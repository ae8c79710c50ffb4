/* Models with recurrent layers: against the numbers of the reference implementations, and by the law of
 * numbers. A prompt in chunks of 1, 7 or 64 tokens, an answer token by token, sequences in one batch,
 * forks, rewinds and adopted prefixes: every logit is that of the whole sequence at once, bit for bit.
 * Skipped where the fixtures are absent. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"
#include <stdio.h>

#include "base/file.h"
#include "base/rng.h"
#include "nunchi/verify.h"
#include "runtime/timeline.h"

#define FIXTURES "../shared/fixtures/"
enum { T = 90, MOST_VOCAB = 512 };

/* ---- against the references ---------------------------------------------------------------- */

struct family { const char *name; double worst; /* float32 */ };
static const struct family families[] = {
    {"mamba", 2e-5},     {"falcon-mamba", 2e-5}, {"mamba2", 2e-5}, {"jamba", 3e-5}, {"bamba", 2e-5}, {"falcon-h1", 2e-5},
    {"zamba2", 1e-4}, {"recurrent-gemma", 2e-5}, {"rwkv", 2e-5},
};
enum { FAMILIES = sizeof families / sizeof families[0] };

struct tally { const char *name; int failed; };

static void report(void *arg, const struct nun_verify_case *c)
{
    struct tally *t = arg;
    if (c->ok)
        return;
    t->failed++;
    print_message("%s %s (%s): %s\n", t->name, c->name, c->path, c->error ? c->error : "over tolerance");
}

static bool is_there(const char *name, char folder[256])
{
    snprintf(folder, 256, FIXTURES "%s", name);
    return file_is_dir(folder);
}

static void test_family(void **state)
{
    const struct family *f = *state;
    char folder[256];
    if (!is_there(f->name, folder))
        skip();
    struct tally tally = {f->name, 0};
    struct nun_verify_options o = {.threads = 2, .report = report, .arg = &tally};
    struct nun_verify_summary s;
    check_ok(nun_verify(folder, &o, &s));
    assert_true(s.cases >= 4 && tally.failed == 0 && s.worst_f32 < f->worst);
}

/* ---- the law ------------------------------------------------------------------------------- */

static int32_t ids[T];
static float whole[T][MOST_VOCAB]; /* of the sequence ids, computed at once */

static struct nun_model *open_model(const char *name, enum nun_compute compute, int chunk)
{
    char folder[256];
    struct nun_model *m;
    struct nun_model_options o = {.threads = 2, .compute = compute, .prefill_chunk = chunk};
    if (!is_there(name, folder))
        return NULL;
    check_ok(nun_model_open(folder, &o, &m));
    assert_true(m->states.floats > 0 && m->model->text.facts.vocab <= MOST_VOCAB);
    return m;
}

static struct nun_timeline *timeline(struct nun_model *m, int n)
{
    struct nun_timeline *t;
    check_ok(nun_timeline_create(m, &t));
    check_ok(nun_timeline_ids(t, ids, (size_t)n));
    return t;
}

/* The logits after the tokens so far, `n` of them, are those of the whole sequence. */
static void same(struct nun_timeline *t, int n, const char *what)
{
    const float *logits;
    size_t vocab;
    check_ok(nun_timeline_logits(t, &logits, &vocab));
    assert_int_equal(nun_timeline_length(t), n);
    if (memcmp(logits, whole[n - 1], vocab * sizeof *logits))
        fail_msg("%s: the logits after %d tokens differ", what, n);
}

static void make_whole(const char *name, struct nun_model *m)
{
    struct rng r = rng_at(3, 1);
    int vocab = m->model->text.facts.vocab;
    float *all = mem_alloc(MEM_TEST, (size_t)T * (size_t)vocab * sizeof *all);
    for (int i = 0; i < T; i++)
        ids[i] = (int32_t)rng_below(&r, (uint32_t)vocab);
    struct nun_timeline *t = timeline(m, T);
    struct engine_span s = {t, 0, T, NULL, all};
    engine_lock(m);
    check_ok(engine_run(m, &s, 1));
    engine_unlock(m);
    for (int i = 0; i < T; i++)
        memcpy(whole[i], all + (size_t)i * (size_t)vocab, (size_t)vocab * sizeof *all);
    nun_timeline_free(t);
    mem_free(all);
}

/* A prompt at once, the rest token by token; then the same beside another sequence. */
static void check_chunks(struct nun_model *m)
{
    for (int prompt = 1; prompt < T; prompt += 44) {
        struct nun_timeline *t = timeline(m, prompt);
        same(t, prompt, "prompt");
        for (int n = prompt + 1; n <= T; n++) {
            check_ok(nun_timeline_ids(t, &ids[n - 1], 1));
            same(t, n, "token by token");
        }
        nun_timeline_free(t);
    }
}

/* Two sequences in one batch, of several tokens each and then of one. */
static void check_batch(struct nun_model *m)
{
    struct nun_timeline *a = timeline(m, T), *b = timeline(m, T);
    int at[] = {0, 0};
    size_t bytes = (size_t)m->model->text.facts.vocab * sizeof(float);
    static float got[2][MOST_VOCAB];
    for (int step = 0; at[0] < T && at[1] < T; step++) {
        int na = step < 3 ? 9 : 1, nb = step < 5 ? 4 : 1;
        struct engine_span s[] = {{a, at[0], at[0] + na, got[0], NULL}, {b, at[1], at[1] + nb, got[1], NULL}};
        engine_lock(m);
        check_ok(engine_run(m, s, 2));
        engine_unlock(m);
        at[0] += na;
        at[1] += nb;
        assert_memory_equal(got[0], whole[at[0] - 1], bytes);
        assert_memory_equal(got[1], whole[at[1] - 1], bytes);
    }
    nun_timeline_free(a);
    nun_timeline_free(b);
}

/* Back to where a state was marked, to between marks, and to the beginning; on with other tokens, and back again. */
static void check_rewind(struct nun_model *m)
{
    struct nun_timeline *t = timeline(m, 60);
    same(t, 60, "prompt");
    for (int n = 61; n <= T; n++)
        check_ok(nun_timeline_ids(t, &ids[n - 1], 1));
    same(t, T, "answer");
    static const int back[] = {T - 1, 70, 60, 59, 31, 1};
    for (size_t i = 0; i < sizeof back / sizeof back[0]; i++) {
        check_ok(nun_timeline_rewind(t, (size_t)back[i]));
        assert_true(t->computed <= back[i]);
        if (i % 2)
            same(t, back[i], "rewind");
        for (int k = 0; k < 3; k++)
            check_ok(nun_timeline_ids(t, &ids[k], 1));
        check_ok(nun_timeline_prefill(t));
        check_ok(nun_timeline_rewind(t, (size_t)back[i]));
        check_ok(nun_timeline_ids(t, ids + back[i], (size_t)(T - back[i])));
        same(t, T, "rewind and on");
    }
    nun_timeline_free(t);
}

static void check_fork(struct nun_model *m)
{
    struct nun_timeline *t = timeline(m, 50), *f, *late;
    const float *logits;
    size_t n;
    check_ok(nun_timeline_prefill(t));
    check_ok(nun_timeline_fork(t, &f));
    check_ok(nun_timeline_ids(f, ids, 9)); /* goes its own way */
    check_ok(nun_timeline_logits(f, &logits, &n));
    check_ok(nun_timeline_fork(f, &late));
    check_ok(nun_timeline_rewind(late, 48));
    check_ok(nun_timeline_ids(t, ids + 50, T - 50));
    same(t, T, "the original after a fork");
    check_ok(nun_timeline_ids(late, ids + 48, T - 48));
    same(late, T, "a fork that went back");
    nun_timeline_free(t);
    check_ok(nun_timeline_rewind(f, 50));
    check_ok(nun_timeline_ids(f, ids + 50, T - 50));
    same(f, T, "a fork whose original is gone");
    nun_timeline_free(f);
    nun_timeline_free(late);
}

/* A new sequence takes over what an old one has computed of their common beginning. */
static void check_adopt(struct nun_model *m)
{
    struct nun_timeline *past = timeline(m, 64), *t;
    check_ok(nun_timeline_prefill(past));
    check_ok(nun_timeline_ids(past, ids, 12));
    check_ok(nun_timeline_prefill(past));
    t = timeline(m, T);
    check_ok(nun_timeline_adopt(t, past));
    assert_true(t->computed >= 63 && t->computed <= 64); /* the mark behind the first prompt, whose last chunk may be one token */
    same(t, T, "adopted");
    struct nun_timeline *exact = timeline(m, 40);
    check_ok(nun_timeline_adopt(exact, t));
    assert_true(exact->computed <= 40);
    same(exact, 40, "adopted in part");
    nun_timeline_free(past);
    nun_timeline_free(t);
    nun_timeline_free(exact);
}

static void test_law(void **state)
{
    const struct family *f = *state;
    for (int fast = 0; fast < 2; fast++) {
        enum nun_compute compute = fast ? NUN_BF16 : NUN_F32;
        struct nun_model *m = open_model(f->name, compute, 512);
        if (!m)
            skip();
        make_whole(f->name, m);
        nun_model_close(m);
        for (int chunk = 1; chunk <= 64; chunk = chunk == 1 ? 7 : chunk == 7 ? 64 : 65) {
            m = open_model(f->name, compute, chunk);
            check_chunks(m);
            if (chunk > 7)
                check_batch(m);
            check_rewind(m);
            check_fork(m);
            if (chunk > 1)
                check_adopt(m);
            nun_model_close(m);
        }
    }
}

/* A limit on state is kept, with both numbers; what was there goes on. */
static void test_limit(void **state)
{
    char folder[256];
    struct nun_model *m;
    struct nun_model_options o = {.compute = NUN_F32, .state_bytes = 30000};
    if (!is_there("mamba", folder))
        skip();
    check_ok(nun_model_open(folder, &o, &m));
    struct nun_timeline *t[8];
    int n = 0, rc = 0;
    for (; n < 8 && rc >= 0; n++) {
        t[n] = timeline(m, 5);
        rc = nun_timeline_prefill(t[n]);
    }
    assert_int_equal(rc, NUN_ELIMIT);
    assert_non_null(strstr(nun_error(), "recurrent state: limit is 30000 bytes"));
    while (n)
        nun_timeline_free(t[--n]);
    nun_model_close(m);
}

int main(void)
{
    struct CMUnitTest tests[2 * FAMILIES + 1] = {cmocka_unit_test(test_limit)};
    for (size_t i = 0; i < FAMILIES; i++) {
        void *arg = (void *)(uintptr_t)&families[i];
        tests[1 + 2 * i] = (struct CMUnitTest){families[i].name, test_family, NULL, NULL, arg};
        tests[2 + 2 * i] = (struct CMUnitTest){families[i].name, test_law, NULL, NULL, arg};
    }
    return cmocka_run_group_tests_name("recurrent", tests, NULL, NULL);
}
