/* The sampler chain: every row against probabilities made by the reference library, draws against their
 * distribution, settings against their ranges. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "formats/json.h"
#include "formats/safetensors.h"
#include "runtime/sampler.h"

#define CASES "../shared/fixtures/sampling/verify/"

enum { VOCAB = 320, ROWS = 8, PAST = 64 };

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
    char key[128] = "";
    strncat(key, name, 100);
    strcat(key, "/probabilities");
    const struct st_tensor *t = st_find(r->st, span_str(key));
    assert_non_null(t);
    assert_int_equal(t->bytes, ROWS * VOCAB * sizeof(float));
    return t->data;
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
            for (int k = 0; k < VOCAB; k++) {
                float w = want[row * VOCAB + k];
                if (!(fabsf(got[k] - w) <= 1e-6f + 1e-4f * w) || (w == 0) != (got[k] == 0))
                    fail_msg("%s, row %d, id %d: expected %g, found %g", settings[i].name, row, k, (double)w, (double)got[k]);
            }
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
    s.chain = "temperature,top_p";
    assert_int_equal(sampler_init(&p, &s, 5), 0);
    sampler_probabilities(&p, logits, &none, b);
    sampler_free(&p);
    assert_true(a[1] == 0 && b[1] > 0 && b[2] > 0);
}

static void settings_are_checked(void **state)
{
    static const struct nun_logit_bias outside[] = {{7, 1}};
    const struct nun_sampling bad[] = {{.temperature = -1}, {.temperature = NAN}, {.top_p = 1.5f}, {.top_k = -1}, {.min_p = 2},
                                       {.penalty_last = -2}, {.bias = outside, .n_bias = 1}, {.chain = "top_k,nothing"},
                                       {.chain = "top_k,top_k"}};
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
        cmocka_unit_test(alternatives_are_ordered)};
    return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}
