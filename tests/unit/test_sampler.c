/* The sampler chain: every row against probabilities made by the reference library, draws against their
 * distribution, settings against their ranges. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"

#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "formats/json.h"
#include "formats/safetensors.h"
#include "runtime/sampler.h"

#define CASES "../shared/fixtures/sampling/verify/"

enum { VOCAB = 320, ROWS = 8, UNIFORM = 2, PAST = 64 };

/* ---- the reference ------------------------------------------------------------------------- */

static const struct nun_logit_bias case_bias[] = {{5, 4.0f}, {17, -3.5f}, {100, -100.0f}, {200, 2.25f}};

/* Settings that the names of the cases stand for. */
static const struct { const char *name; struct nun_sampling s; } settings[] = {
    {"temperature_0.7", {.temperature = 0.7f}},
    {"temperature_1.8", {.temperature = 1.8f}},
    {"top_k_1", {.temperature = 1, .top_k = 1}},
    {"top_k_20", {.temperature = 1, .top_k = 20}},
    {"top_p_0.9", {.temperature = 1, .top_p = 0.9f}},
    {"top_p_0.3", {.temperature = 1, .top_p = 0.3f}},
    {"top_p_0.5_keep5", {.temperature = 1, .top_p = 0.5f, .min_keep = 5}},
    {"min_p_0.1", {.temperature = 1, .min_p = 0.1f}},
    {"typical_0.5", {.temperature = 1, .typical_p = 0.5f}},
    {"typical_0.95", {.temperature = 1, .typical_p = 0.95f}},
    {"epsilon_0.01", {.temperature = 1, .epsilon = 0.01f}},
    {"eta_0.005", {.temperature = 1, .eta = 0.005f}},
    {"repetition_1.3", {.temperature = 1, .repeat_penalty = 1.3f, .penalty_last = -1}},
    {"repetition_0.8", {.temperature = 1, .repeat_penalty = 0.8f, .penalty_last = -1}},
    {"no_repeat_2gram", {.temperature = 1, .no_repeat_ngram = 2}},
    {"no_repeat_3gram", {.temperature = 1, .no_repeat_ngram = 3}},
    {"frequency_0.5_presence_0.3", {.temperature = 1, .frequency_penalty = 0.5f, .presence_penalty = 0.3f, .penalty_last = -1}},
    {"logit_bias", {.temperature = 1, .bias = case_bias, .n_bias = 4}},
    {"chain_temp_topk_topp", {.temperature = 0.8f, .top_k = 40, .top_p = 0.85f}},
    {"chain_rep_temp_minp", {.temperature = 1.4f, .repeat_penalty = 1.2f, .penalty_last = -1, .min_p = 0.05f}},
    {"chain_all", {.temperature = 0.9f, .repeat_penalty = 1.1f, .penalty_last = -1, .no_repeat_ngram = 2, .top_k = 60,
                   .top_p = 0.95f, .min_p = 0.02f, .typical_p = 0.98f}},
};

struct reference { json_t *json; struct safetensors *st; const float *logits; int32_t past[ROWS][PAST]; size_t n_past; };

static int open_reference(void **state)
{
    static struct reference r;
    const json_t *row, *id;
    size_t i, k;
    if (!file_exists(CASES "case.json"))
        return 0;
    if (json_load_file_limited(CASES "case.json", &r.json) < 0 || st_open(CASES "expected.safetensors", &r.st) < 0)
        return -1;
    json_array_foreach(json_object_get(r.json, "history"), i, row) {
        r.n_past = json_array_size(row);
        json_array_foreach(row, k, id)
            r.past[i][k] = (int32_t)json_integer_value(id);
    }
    r.logits = st_find(r.st, SPAN("logits"))->data;
    *state = &r;
    return 0;
}

static int close_reference(void **state)
{
    struct reference *r = *state;
    if (r) {
        json_decref(r->json);
        st_close(r->st);
    }
    return 0;
}

static const float *wanted(const struct reference *r, const char *name)
{
    char key[128];
    snprintf(key, sizeof key, "%.100s/probabilities", name);
    const struct st_tensor *t = st_find(r->st, span_str(key));
    assert_non_null(t);
    assert_int_equal(t->bytes, ROWS * VOCAB * sizeof(float));
    return t->data;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The reference's sort is not stable: in the row where all are equal, which ids a cut takes is chance. */
static void compare(const char *name, int row, float *got, const float *reference)
{
    float want[VOCAB];
    memcpy(want, reference, sizeof want);
    if (row == UNIFORM) {
        qsort(want, VOCAB, sizeof *want, by_size);
        qsort(got, VOCAB, sizeof *got, by_size);
    }
    for (int k = 0; k < VOCAB; k++)
        if (!(fabsf(got[k] - want[k]) <= 1e-6f + 1e-4f * want[k]) || (want[k] == 0) != (got[k] == 0))
            fail_msg("%s, row %d, id %d: expected %g, found %g", name, row, k, (double)want[k], (double)got[k]);
}

static void rows_equal_reference(void **state)
{
    const struct reference *r = *state;
    if (!r)
        skip();
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        const float *want = wanted(r, settings[i].name);
        struct sampler p;
        float got[VOCAB];
        assert_int_equal(sampler_init(&p, &settings[i].s, VOCAB), 0);
        for (int row = 0; row < ROWS; row++) {
            struct sample_past past = {r->past[row], r->n_past, r->n_past, -1};
            sampler_probabilities(&p, r->logits + row * VOCAB, &past, got);
            compare(settings[i].name, row, got, want + row * VOCAB);
        }
        sampler_free(&p);
    }
}

/* ---- draws --------------------------------------------------------------------------------- */

static void draws_follow_probabilities(void **state)
{
    enum { N = 5, DRAWS = 20000 };
    const float logits[N] = {0, 1, 2, -1, 0.5f};
    struct nun_sampling s = {.temperature = 0.8f, .seed = 11};
    struct sample_past past = {NULL, 0, 0, -1};
    struct sampler p;
    float prob[N];
    int count[N] = {0};
    assert_int_equal(sampler_init(&p, &s, N), 0);
    sampler_probabilities(&p, logits, &past, prob);
    for (int i = 0; i < DRAWS; i++)
        count[sampler_draw(&p, logits, &past, (uint64_t)i)]++;
    double chi = 0;
    for (int i = 0; i < N; i++)
        chi += pow(count[i] - DRAWS * (double)prob[i], 2) / (DRAWS * (double)prob[i]);
    assert_true(chi < 18.5); /* 4 degrees of freedom, one in a thousand */
    for (int i = 0; i < 50; i++)
        assert_int_equal(sampler_draw(&p, logits, &past, (uint64_t)i), sampler_draw(&p, logits, &past, (uint64_t)i));
    sampler_free(&p);
}

static void greedy_takes_the_largest(void **state)
{
    const float logits[] = {1, 3, 3, 2};
    const int32_t seen[] = {1, 1, 2};
    struct nun_sampling s = {.top_k = 2, .top_p = 0.1f};
    struct sample_past none = {NULL, 0, 0, -1}, past = {seen, 3, 3, -1}, prompt = {seen, 3, 0, -1}, ignored = {seen, 3, 3, 1};
    struct sampler p;
    assert_int_equal(sampler_init(&p, &s, 4), 0);
    assert_int_equal(sampler_draw(&p, logits, &none, 0), 1); /* ties to the smaller id */
    sampler_free(&p);
    s = (struct nun_sampling){.frequency_penalty = 0.4f};
    assert_int_equal(sampler_init(&p, &s, 4), 0);
    assert_int_equal(sampler_draw(&p, logits, &past, 0), 2);   /* 1 came twice */
    assert_int_equal(sampler_draw(&p, logits, &prompt, 0), 1); /* the prompt does not count */
    sampler_free(&p);
    s = (struct nun_sampling){.repeat_penalty = 4};
    assert_int_equal(sampler_init(&p, &s, 4), 0);
    assert_int_equal(sampler_draw(&p, logits, &prompt, 0), 3);
    assert_int_equal(sampler_draw(&p, logits, &ignored, 0), 1);
    sampler_free(&p);
}

static void order_matters_and_is_asked_for(void **state)
{
    const float logits[] = {4, 3, 2, 1, 0};
    struct nun_sampling s = {.temperature = 10, .top_p = 0.6f};
    struct sample_past none = {NULL, 0, 0, -1};
    struct sampler p;
    float a[5], b[5];
    assert_int_equal(sampler_init(&p, &s, 5), 0);
    sampler_probabilities(&p, logits, &none, a);
    sampler_free(&p);
    s.chain = "top_p,temperature";
    assert_int_equal(sampler_init(&p, &s, 5), 0);
    sampler_probabilities(&p, logits, &none, b);
    sampler_free(&p);
    assert_true(a[1] > 0 && a[2] > 0 && b[0] == 1 && b[1] == 0);
}

/* ---- rows that the reference library does not have, by their definitions --------------------------- */

/* The probabilities that one setting leaves of `logits`[n]. */
static void left(const struct nun_sampling *s, const float *logits, int n, const struct sample_past *past, float *out)
{
    struct sampler p;
    check_ok(sampler_init(&p, s, n));
    sampler_probabilities(&p, logits, past, out);
    sampler_free(&p);
}

static void top_n_sigma_counts_deviations(void **state)
{
    /* mean 0, deviation sqrt(5/2): one deviation below 2 is 0.419 */
    const float logits[] = {2, 0.5f, 0.4f, -2, -0.9f, 0};
    struct sample_past none = {NULL, 0, 0, -1};
    float p[6], dead[7] = {2, 0.5f, 0.4f, -2, -0.9f, 0, SAMPLE_DEAD}, q[7];
    double sum = 0, squares = 0;
    for (int i = 0; i < 6; i++) {
        sum += (double)logits[i];
        squares += (double)logits[i] * (double)logits[i];
    }
    double least = 2 - sqrt(squares / 6 - sum * sum / 36);
    left(&(struct nun_sampling){.temperature = 1, .top_n_sigma = 1}, logits, 6, &none, p);
    left(&(struct nun_sampling){.temperature = 1, .top_n_sigma = 1}, dead, 7, &none, q);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(p[i] > 0, (double)logits[i] >= least);
        assert_true(p[i] == q[i]); /* what cannot come has no part in it */
    }
}

static void xtc_takes_the_first_away(void **state)
{
    enum { DRAWS = 4000 };
    const float logits[] = {2, 1.5f, 1, 0, -1}; /* probabilities 0.46 0.28 0.17 0.06 0.02 */
    struct nun_sampling s = {.temperature = 1, .xtc_probability = 1, .xtc_threshold = 0.1f};
    struct sample_past none = {NULL, 0, 0, -1};
    struct sampler p;
    float out[5];
    int gone = 0;
    left(&s, logits, 5, &none, out);
    assert_true(out[0] == 0 && out[1] == 0 && out[2] > 0 && out[3] > 0 && out[4] > 0);
    s.xtc_threshold = 0.3f; /* one alone above it stays */
    left(&s, logits, 5, &none, out);
    assert_true(out[0] > 0 && out[1] > 0);
    s = (struct nun_sampling){.temperature = 1, .xtc_probability = 0.25f, .xtc_threshold = 0.1f, .seed = 5};
    check_ok(sampler_init(&p, &s, 5));
    for (int i = 0; i < DRAWS; i++)
        gone += sampler_draw(&p, logits, &none, (uint64_t)i) >= 2;
    sampler_free(&p);
    /* 0.25 + 0.75 * 0.257, four standard deviations of 4000 draws */
    assert_true(fabs(gone / (double)DRAWS - 0.4428) < 0.0315);
}

static void dry_charges_runs(void **state)
{
    /* 1 2 3 4 ... 1 2 3: 4 would continue a run of three; 6 behind "3" alone one of one */
    const int32_t past[] = {1, 2, 3, 4, 3, 6, 1, 2, 3}, broken[] = {1, 7, 3, 4, 0, 1, 7, 3};
    float logits[8] = {0}, p[8];
    struct nun_sampling s = {.temperature = 1, .dry_multiplier = 0.5f, .dry_base = 2, .dry_allowed_length = 2};
    struct sample_past all = {past, 9, 3, -1}, cut = {broken, 8, 0, -1};
    struct sampler k;
    left(&s, logits, 8, &all, p);
    for (int i = 0; i < 8; i++)
        assert_true(fabs(log((double)p[i] / (double)p[0]) - (i == 4 ? -0.5 * 2 : 0)) < 1e-5);
    s.dry_allowed_length = 1;
    left(&s, logits, 8, &all, p);
    assert_true(fabs(log((double)p[4] / (double)p[0]) + 0.5 * 4) < 1e-5 && fabs(log((double)p[6] / (double)p[0]) + 0.5) < 1e-5);
    s.dry_last = 4; /* only 6 1 2 3: nothing came twice */
    left(&s, logits, 8, &all, p);
    assert_true(p[4] == p[0] && p[6] == p[0]);
    s.dry_last = 0;
    s.dry_allowed_length = 2;
    check_ok(sampler_init(&k, &s, 8));
    sampler_probabilities(&k, logits, &cut, p);
    assert_true(p[4] < p[0]); /* a run of three */
    k.breaker[7] = true;
    sampler_probabilities(&k, logits, &cut, p);
    assert_true(p[4] == p[0]); /* of one, behind the breaker */
    sampler_free(&k);
}

/* Zipf's law with exponent 1.2 over 500 ids. The surprise of what is drawn comes to tau. */
static void mirostat_holds_its_surprise(void **state)
{
    enum { N = 500, DRAWS = 4000, WARM = 400 };
    float logits[N], p[N];
    struct sample_past none = {NULL, 0, 0, -1};
    for (int i = 0; i < N; i++)
        logits[i] = -1.2f * logf((float)i + 1);
    left(&(struct nun_sampling){.temperature = 1}, logits, N, &none, p);
    for (int version = 1; version <= 2; version++) {
        struct nun_sampling s = {.temperature = 1, .mirostat = version, .mirostat_tau = 3, .mirostat_eta = 0.1f, .seed = 3};
        struct sampler k;
        double surprise = 0;
        check_ok(sampler_init(&k, &s, N));
        assert_true(k.mu == 6);
        for (int i = 0; i < DRAWS; i++) {
            double before = k.mu;
            sampler_draw(&k, logits, &none, (uint64_t)i);
            surprise += i < WARM ? 0 : 3 - (k.mu - before) / (double)k.s.mirostat_eta;
        }
        assert_true(fabs(surprise / (DRAWS - WARM) - 3) < 0.05);
        assert_true(fabs(k.mu) < 20);
        sampler_free(&k);
    }
}

static void banned_ids_never_come(void **state)
{
    const float logits[] = {9, 1, 0, 0};
    const int32_t banned[] = {0};
    const struct nun_sampling ways[] = {{.temperature = 0}, {.temperature = 1}, {.temperature = 1, .top_n_sigma = 1},
                                        {.temperature = 1, .typical_p = 0.5f}, {.temperature = 1, .mirostat = 1},
                                        {.temperature = 1, .eta = 0.001f}};
    struct sample_past none = {NULL, 0, 0, -1};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct sampler k;
        check_ok(sampler_init(&k, &ways[i], 4));
        k.banned = banned;
        k.n_banned = 1;
        for (uint64_t n = 0; n < 200; n++)
            assert_int_not_equal(sampler_draw(&k, logits, &none, n), 0);
        sampler_free(&k);
    }
}

/* A placeholder may lie beyond the logits, as Llama 3.2 Vision's does. */
static void ids_without_a_logit_are_passed_over(void **state)
{
    const float logits[] = {1, 2, 3, 4};
    const int32_t past[] = {9, 1, 9, 1, 9};
    const struct nun_sampling s = {.temperature = 1, .repeat_penalty = 2, .presence_penalty = 1, .no_repeat_ngram = 1,
                                   .dry_multiplier = 1, .penalty_last = -1};
    struct sample_past all = {past, 5, 5, -1};
    float p[4];
    left(&s, logits, 4, &all, p);
    assert_true(p[1] == 0 && p[3] > p[2]);
}

static void settings_are_checked(void **state)
{
    static const struct nun_logit_bias outside[] = {{7, 1}};
    const struct nun_sampling bad[] = {{.temperature = -1}, {.temperature = NAN}, {.top_p = 1.5f}, {.top_k = -1}, {.min_p = 2},
                                       {.penalty_last = -2}, {.bias = outside, .n_bias = 1}, {.chain = "top_k,nothing"},
                                       {.chain = "top_k,top_k"}, {.top_n_sigma = -1}, {.xtc_probability = 2},
                                       {.xtc_threshold = -1}, {.dry_multiplier = -1}, {.dry_base = 0.5f}, {.mirostat = 3},
                                       {.mirostat_tau = -1}, {.mirostat_eta = 2}, {.dry_last = -1}};
    struct sampler p;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(sampler_init(&p, &bad[i], 5), NUN_EARG);
}

static void alternatives_are_ordered(void **state)
{
    const float logits[] = {0, 2, 1, 2};
    struct sample_candidate work[4];
    struct nun_alternative top[4];
    double sum = 0;
    sample_top(logits, 4, work, top, 4);
    const int32_t order[] = {1, 3, 2, 0};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(top[i].id, order[i]);
        assert_true(top[i].logprob == sample_logprob(logits, 4, order[i]));
        sum += exp((double)top[i].logprob);
    }
    assert_true(fabs(sum - 1) < 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_equal_reference, open_reference, close_reference),
        cmocka_unit_test(draws_follow_probabilities), cmocka_unit_test(greedy_takes_the_largest),
        cmocka_unit_test(order_matters_and_is_asked_for), cmocka_unit_test(settings_are_checked),
        cmocka_unit_test(top_n_sigma_counts_deviations), cmocka_unit_test(xtc_takes_the_first_away),
        cmocka_unit_test(dry_charges_runs), cmocka_unit_test(mirostat_holds_its_surprise),
        cmocka_unit_test(banned_ids_never_come), cmocka_unit_test(ids_without_a_logit_are_passed_over),
        cmocka_unit_test(alternatives_are_ordered)};
    return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}
