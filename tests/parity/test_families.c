/* Decoders: each row of the tables against the reference numbers (float32 and the fast path, greedy ids, gradients
 * where there are some), the same bits whatever way a text came in, and tensors that come back as they were. Skipped
 * where the fixtures are absent. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../check.h"
#include "base/file.h"
#include "base/mem.h"
#include "formats/safetensors.h"
#include "models/model.h"
#include "nunchi/nunchi.h"
#include "nunchi/verify.h"

#define FIXTURES "../shared/fixtures/"

/* Greatest float32 distance seen was 8e-6. */
static const double WORST = 2e-5;

static bool folder_of(const char *name, char folder[256])
{
    snprintf(folder, 256, FIXTURES "%s", name);
    return file_is_dir(folder);
}

/* ---- against the reference ----------------------------------------------------------------- */

static void report(void *arg, const struct nun_verify_case *c)
{
    double *worst = arg;
    if (!c->ok)
        print_message("%s (%s): %s\n", c->name, c->path, c->error ? c->error : "over tolerance");
    for (size_t i = 0; i < c->n_items && !strcmp(c->path, "f32"); i++)
        *worst = c->items[i].max_abs > *worst ? c->items[i].max_abs : *worst;
}

static void reference(void **state)
{
    char folder[256];
    double worst = 0;
    struct nun_verify_options o = {.threads = 2, .report = report, .arg = &worst};
    struct nun_verify_summary s;
    if (!folder_of(*state, folder))
        skip();
    check_ok(nun_verify(folder, &o, &s));
    assert_true(s.cases > 3 && s.failed == 0);
    assert_true(worst < WORST);
}

/* ---- the same bits ------------------------------------------------------------------------- */

enum { LENGTH = 45, VOCAB_MAX = 1024 };

/* Logits after LENGTH ids, given `step` at a time to a model of these options. */
static void last_logits(const char *folder, const struct nun_model_options *o, size_t step, float out[VOCAB_MAX], size_t *n)
{
    struct nun_model *m;
    struct nun_timeline *t;
    const float *logits;
    int32_t ids[LENGTH];
    for (int i = 0; i < LENGTH; i++)
        ids[i] = 3 + i * 37 % 251;
    check_ok(nun_model_open(folder, o, &m));
    check_ok(nun_timeline_create(m, &t));
    for (size_t i = 0; i < LENGTH; i += step) {
        check_ok(nun_timeline_ids(t, ids + i, step));
        check_ok(nun_timeline_prefill(t));
    }
    check_ok(nun_timeline_logits(t, &logits, n));
    assert_true(*n <= VOCAB_MAX);
    memcpy(out, logits, *n * sizeof *out);
    nun_timeline_free(t);
    nun_model_close(m);
}

static void same_bits(void **state)
{
    char folder[256];
    static float all[VOCAB_MAX], one[VOCAB_MAX];
    size_t n, n_one;
    if (!folder_of(*state, folder))
        skip();
    for (int compute = 0; compute < 2; compute++) {
        struct nun_model_options whole = {.threads = 2, .compute = (enum nun_compute)compute};
        struct nun_model_options cut = {.threads = 1, .compute = (enum nun_compute)compute, .prefill_chunk = 7};
        last_logits(folder, &whole, LENGTH, all, &n);
        last_logits(folder, &whole, 1, one, &n_one);
        assert_int_equal(n, n_one);
        assert_memory_equal(all, one, n * sizeof *all);
        last_logits(folder, &cut, LENGTH, one, &n_one);
        assert_memory_equal(all, one, n * sizeof *all);
    }
}

/* ---- and back ------------------------------------------------------------------------------ */

static void same_tensor(const struct st_tensor *a, const struct st_tensor *b)
{
    size_t bytes;
    assert_true(shape_eq(&a->shape, &b->shape) && a->dtype == b->dtype);
    size_t n;
    check_ok(shape_count(&a->shape, &n));
    check_ok(dtype_bytes(a->dtype, n, &bytes));
    assert_memory_equal(a->data, b->data, bytes);
}

/* Everything that is written was in the file, as it was; fused and transposed tensors are whole again. */
static void saved(void **state)
{
    char folder[256], out[300];
    struct model *m;
    struct safetensors *before, *after;
    if (!folder_of(*state, folder))
        skip();
    snprintf(out, sizeof out, "test_families_%s", (const char *)*state);
    check_ok(model_load(folder, &m));
    check_ok(st_open(folder, &before));
    check_ok(model_save(m, out, m->params[0]->dt));
    check_ok(st_open(out, &after));
    for (size_t i = 0; i < st_count(after); i++) {
        const struct st_tensor *t = st_find(before, span_str(st_at(after, i)->name));
        assert_non_null(t);
        same_tensor(st_at(after, i), t);
    }
    size_t values = 0;
    for (size_t i = 0; i < st_count(after); i++) {
        size_t n;
        check_ok(shape_count(&st_at(after, i)->shape, &n));
        values += n;
    }
    assert_int_equal(values, m->n_values);
    st_close(before);
    st_close(after);
    model_free(m);
    snprintf(folder, sizeof folder, "%.200s/model.safetensors", out);
    remove(folder);
    snprintf(folder, sizeof folder, "%.200s/config.json", out);
    remove(folder);
    remove(out);
}

/* ---------------------------------------------------------------------------------------------- */

int main(void)
{
    static const char *const families[] = {
        "mistral", "qwen2", "qwen2-window", "qwen3", "phi", "phi3-longrope", "phi4", "gemma2", "gemma3-text", "olmo2", "olmo3",
        "gpt2", "gpt2-prefixed", "gpt-neox", "granite", "smollm3", "starcoder2", "persimmon", "rope-linear", "rope-dynamic",
        "rope-yarn", "qwen2-vl", "qwen2-5-vl", "qwen3-vl"};
    enum { FAMILIES = sizeof families / sizeof families[0] };
    static void (*const checks[])(void **state) = {reference, same_bits, saved};
    static const char *const names[] = {"reference", "same bits", "saved"};
    static char titles[3 * FAMILIES][64];
    struct CMUnitTest tests[3 * FAMILIES];
    for (size_t i = 0; i < 3 * FAMILIES; i++) {
        const char *name = families[i / 3];
        snprintf(titles[i], sizeof titles[i], "%s: %s", name, names[i % 3]);
        tests[i] = (struct CMUnitTest){titles[i], checks[i % 3], NULL, NULL, (void *)(uintptr_t)name};
    }
    return cmocka_run_group_tests_name("families", tests, NULL, NULL);
}
