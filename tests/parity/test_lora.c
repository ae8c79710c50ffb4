/* LoRA folders: the reference's logits and merged weights (through verify), several adapters at once, scales, and
 * what must be refused. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "models/model.h"
#include "nunchi/nunchi.h"
#include "nunchi/tools.h"
#include "nunchi/verify.h"
#include "../torture.h"

#define FIXTURES "../shared/fixtures/"
static const char *const place = "test_lora_folder", *const q_proj = "model.layers.1.self_attn.q_proj.weight";

static void reference(void **state)
{
    char folder[256];
    struct nun_verify_summary s;
    snprintf(folder, sizeof folder, FIXTURES "%s", (const char *)*state);
    if (!file_is_dir(folder))
        skip();
    assert_int_equal(nun_verify(folder, NULL, &s), 0);
    assert_int_equal(s.cases, 4); /* logits and merged, in float32 and fast */
    assert_true(s.worst_f32 < 2e-4);
}

static const float *weight(const struct model *m, const char *name, size_t *n)
{
    for (int i = 0; i < m->n_params; i++)
        if (!strcmp(m->params[i]->name, name)) {
            assert_int_equal(shape_count(&m->params[i]->shape, n), 0);
            assert_int_equal(m->params[i]->dt, DT_F32);
            return m->params[i]->data;
        }
    fail_msg("no weight %s", name);
    return NULL;
}

static struct model *load(const struct model_lora *list, size_t n)
{
    struct model *m;
    int rc = model_load_with(FIXTURES "llama", list, n, &m);
    if (rc < 0)
        fail_msg("%s", nun_error());
    return m;
}

/* One value of W + s alpha / r B A, with the numbers of the file. */
static void by_formula(void **state)
{
    struct safetensors *st;
    const struct st_tensor *a, *b;
    if (!file_is_dir(FIXTURES "peft-lora"))
        skip();
    struct model *base = load(NULL, 0), *changed = load(&(struct model_lora){FIXTURES "peft-lora", -0.5f}, 1);
    assert_int_equal(st_open(FIXTURES "peft-lora/adapter_model.safetensors", &st), 0);
    assert_int_equal(st_need(st, SPAN("base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"), NULL, &a), 0);
    assert_int_equal(st_need(st, SPAN("base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"), NULL, &b), 0);
    size_t n;
    const float *old = weight(base, q_proj, &n), *new = weight(changed, q_proj, &n), *down = a->data, *up = b->data;
    for (int o = 0; o < 48; o++)
        for (int i = 0; i < 48; i++) {
            double want = old[o * 48 + i];
            for (int k = 0; k < 8; k++)
                want += -0.5 * 16 / 8 * up[o * 8 + k] * down[k * 48 + i];
            assert_true(fabs(new[o * 48 + i] - want) < 1e-6);
        }
    st_close(st);
    model_free(base);
    model_free(changed);
}

/* Changes are measured from the base: they add up, in any order, DoRA's too; scale 0 is the base. */
static void several(void **state)
{
    const struct model_lora l = {FIXTURES "peft-lora", 1}, d = {FIXTURES "peft-dora", 1}, ld[] = {l, d}, dl[] = {d, l};
    const struct model_lora none = {FIXTURES "peft-dora", 0};
    if (!file_is_dir(FIXTURES "peft-lora") || !file_is_dir(FIXTURES "peft-dora"))
        skip();
    struct model *m[] = {load(NULL, 0), load(&l, 1), load(&d, 1), load(ld, 2), load(dl, 2), load(&none, 1)};
    const float *w[6];
    size_t n = 0;
    bool moved = false;
    for (int i = 0; i < 6; i++)
        w[i] = weight(m[i], q_proj, &n);
    for (size_t i = 0; i < n; i++) {
        float sum = w[1][i] + (w[2][i] - w[0][i]);
        assert_true(fabsf(w[3][i] - sum) < 1e-6f && fabsf(w[4][i] - w[3][i]) < 1e-6f && w[5][i] == w[0][i]);
        moved = moved || fabsf(w[3][i] - w[1][i]) > 1e-3f;
    }
    assert_true(moved);
    for (int i = 0; i < 6; i++)
        model_free(m[i]);
}

/* A folder with this config and the tensors of peft-lora, one renamed when `rename` says so. */
static void make_folder(const char *config, bool rename)
{
    char path[256];
    struct safetensors *st;
    struct st_item items[64];
    assert_int_equal(st_open(FIXTURES "peft-lora/adapter_model.safetensors", &st), 0);
    for (size_t i = 0; i < st_count(st); i++) {
        const struct st_tensor *t = st_at(st, i);
        items[i] = (struct st_item){rename && !i ? "base_model.model.elsewhere.lora_A.weight" : t->name, t->dtype, t->shape, t->data, NULL, NULL};
    }
    assert_int_equal(file_mkdirs(place), 0);
    assert_int_equal(path_join(path, sizeof path, place, "adapter_model.safetensors"), 0);
    assert_int_equal(st_write(path, items, st_count(st), NULL), 0);
    assert_int_equal(path_join(path, sizeof path, place, "adapter_config.json"), 0);
    assert_int_equal(file_write_durable(path, config, strlen(config)), 0);
    st_close(st);
}

static void refused(void **state)
{
    static const struct { const char *config; bool rename; const char *names; } bad[] = {
        {"{\"peft_type\": \"IA3\"}", false, "IA3"},
        {"{\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 16, \"layer_replication\": [[0, 2]]}", false, "layer_replication"},
        {"{\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 16, \"init_lora_weights\": \"pissa\"}", false, "pissa"},
        {"{\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 16, \"use_qalora\": true}", false, "use_qalora"},
        {"{\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 16, \"new_idea\": true}", false, "new_idea"},
        {"{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 16}", false, "rank 4"},
        {"{\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 16, \"use_dora\": true}", false, "lora_magnitude_vector"},
        {"{\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 16}", true, "lora_"},
    };
    struct model *m;
    const struct model_lora l = {place, 1};
    if (!file_is_dir(FIXTURES "peft-lora"))
        skip();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        make_folder(bad[i].config, bad[i].rename);
        assert_true(model_load_with(FIXTURES "llama", &l, 1, &m) < 0);
        if (!strstr(nun_error(), bad[i].names))
            fail_msg("%s: %s", bad[i].config, nun_error());
    }
    file_remove_tree(place);
    assert_true(model_load_with(FIXTURES "llama", &l, 1, &m) < 0);
}

/* Patterns match whole module paths at a dot, the first one counts. */
static void patterns(void **state)
{
    if (!file_is_dir(FIXTURES "peft-lora"))
        skip();
    make_folder("{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 1, \"rank_pattern\": {\"q_proj\": 8, \"v_proj\": 8}, "
                "\"alpha_pattern\": {\"layers.1.self_attn.q_proj\": 16, \"proj\": 99, \".*q_proj\": 7}}", false);
    const struct model_lora l = {place, 1}, plain = {FIXTURES "peft-lora", 1};
    struct model *a = load(&l, 1), *b = load(&plain, 1), *base = load(NULL, 0);
    size_t n;
    const float *x = weight(a, q_proj, &n), *y = weight(b, q_proj, &n);
    for (size_t i = 0; i < n; i++)
        assert_true(fabsf(x[i] - y[i]) < 1e-6f);
    static const char *const other = "model.layers.0.self_attn.q_proj.weight";
    const float *p = weight(a, other, &n), *q = weight(b, other, &n), *w = weight(base, other, &n);
    for (size_t i = 0; i < n; i++)
        assert_true(fabsf((p[i] - w[i]) * 16 - (q[i] - w[i]) * 7) < 1e-5f);
    model_free(a);
    model_free(b);
    model_free(base);
    file_remove_tree(place);
}

/* A merged folder has the weights of the model under its adapter, to the bit. */
static void merged(void **state)
{
    const struct nun_lora l = {FIXTURES "peft-dora", 1};
    const struct model_lora same = {l.folder, 1};
    struct model *m;
    if (!file_is_dir(FIXTURES "peft-dora"))
        skip();
    file_remove_tree(place);
    assert_int_equal(nun_merge(FIXTURES "llama", &l, 1, place), 0);
    assert_true(nun_merge(FIXTURES "llama", &l, 1, place) < 0); /* something is there */
    assert_int_equal(model_load(place, &m), 0);
    struct model *want = load(&same, 1);
    assert_int_equal(m->n_params, want->n_params);
    for (int i = 0; i < m->n_params; i++) {
        size_t n;
        assert_int_equal(shape_count(&m->params[i]->shape, &n), 0);
        assert_memory_equal(m->params[i]->data, want->params[i]->data, n * sizeof(float));
    }
    model_free(m);
    model_free(want);
    file_remove_tree(place);
}

static int load_both(void *arg)
{
    static const struct model_lora list[] = {{FIXTURES "peft-lora-all", 1}, {FIXTURES "peft-dora", 0.5f}};
    struct model *m;
    TRY(model_load_with(FIXTURES "llama", list, 2, &m));
    model_free(m);
    return 0;
}

static void failing_allocations(void **state)
{
    if (!file_is_dir(FIXTURES "peft-lora-all"))
        skip();
    assert_true(torture_run("lora", load_both, NULL, 3) > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"peft-lora", reference, NULL, NULL, (void *)(uintptr_t)"peft-lora"},
        {"peft-lora-all", reference, NULL, NULL, (void *)(uintptr_t)"peft-lora-all"},
        {"peft-dora", reference, NULL, NULL, (void *)(uintptr_t)"peft-dora"},
        cmocka_unit_test(by_formula), cmocka_unit_test(several), cmocka_unit_test(refused), cmocka_unit_test(patterns),
        cmocka_unit_test(merged), cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests_name("lora", tests, NULL, NULL);
}
