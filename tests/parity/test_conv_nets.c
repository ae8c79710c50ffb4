/* Convolutional encoders: against the numbers of the reference implementation, written and read back, equal bits for
 * any batch and any threads, random weights, gradients of the whole, and configs that are refused. What needs the
 * fixtures is skipped where they are absent. */
/* SPDX-License-Identifier: MIT */
#include "../torture.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "graph/exec.h"
#include "models/conv_rows.h"
#include "models/model.h"
#include "nunchi/verify.h"

#define FIXTURES "../shared/fixtures/"

/* Greatest float32 distance; EfficientNet's scores reach 50, where the original itself is 3e-5 from the exact ones. */
static const struct net { const char *name; double worst; } nets[] = {
    {"resnet-basic", 5e-6}, {"resnet-bottleneck", 5e-6}, {"convnext", 5e-6}, {"efficientnet", 1e-4}};
enum { NETS = sizeof nets / sizeof nets[0] };

static const char *folder_of(const struct net *net)
{
    static char folder[256];
    snprintf(folder, sizeof folder, FIXTURES "%s", net->name);
    if (!file_is_dir(folder))
        skip();
    return folder;
}

/* ---- numbers of the reference -------------------------------------------------------------- */

static void report(void *arg, const struct nun_verify_case *c)
{
    if (!c->ok)
        print_message("%s (%s): %s\n", c->name, c->path, c->error ? c->error : "over tolerance");
    for (size_t i = 0; i < c->n_items; i++)
        if (!c->items[i].ok && (!c->items[i].module || !strcmp(c->path, "f32")))
            fail_msg("%s (%s): %s: %g of what is allowed", c->name, c->path, c->items[i].name, c->items[i].excess);
        else
            *(size_t *)arg += c->items[i].module;
}

static void test_reference(void **state)
{
    const struct net *net = *state;
    size_t modules = 0;
    struct nun_verify_options o = {.threads = 2, .report = report, .modules = true, .arg = &modules};
    struct nun_verify_summary s;
    check_ok(nun_verify(folder_of(net), &o, &s));
    assert_true(s.cases == 6 && s.failed == 0 && s.worst_f32 < net->worst);
    assert_true(modules >= 14); /* at least seven in either arithmetic */
}

/* ---- files --------------------------------------------------------------------------------- */

/* Every tensor of the file, but counters, is there again under its name, with its values. */
static void check_same_tensors(const char *was, const char *is)
{
    struct safetensors *a, *b;
    check_ok(st_open(was, &a));
    check_ok(st_open(is, &b));
    size_t counters = 0;
    for (size_t i = 0; i < st_count(a); i++) {
        const struct st_tensor *x = st_at(a, i), *y = st_find(b, span_str(x->name));
        size_t n;
        if (strstr(x->name, "num_batches_tracked")) {
            counters++;
            continue;
        }
        if (!y || !shape_eq(&x->shape, &y->shape))
            fail_msg("%s: missing, or of another shape", x->name);
        check_ok(shape_count(&x->shape, &n));
        float *u = mem_alloc(MEM_TEST, n * sizeof *u), *v = mem_alloc(MEM_TEST, n * sizeof *v);
        check_ok(dtype_to_f32(x->dtype, x->data, u, n));
        check_ok(dtype_to_f32(y->dtype, y->data, v, n));
        if (memcmp(u, v, n * sizeof *u))
            fail_msg("%s: other values", x->name);
        mem_free(u);
        mem_free(v);
    }
    assert_int_equal(st_count(b) + counters, st_count(a));
    st_close(a);
    st_close(b);
}

static void test_saved(void **state)
{
    const char *folder = folder_of(*state);
    char out[] = "/tmp/nunchi-conv-XXXXXX", path[4096];
    struct model *m, *again;
    assert_non_null(mkdtemp(out));
    check_ok(model_load(folder, &m));
    check_ok(model_save(m, out, DT_F32));
    check_same_tensors(folder, out);
    check_ok(model_load(out, &again));
    assert_int_equal(again->n_values, m->n_values);
    model_free(again);
    model_free(m);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", out, i ? "config.json" : "model.safetensors");
        assert_int_equal(remove(path), 0);
    }
    assert_int_equal(remove(out), 0);
}

/* ---- graphs -------------------------------------------------------------------------------- */

struct run { struct graph *g; struct plan *plan; struct g_tensor *pixels; struct model_pooled out; struct g_tensor *rows; };

static struct run run_new(const struct model *m, enum gemm_format compute, int batch, int h, int w, float *pixels)
{
    struct run r = {0};
    check_ok(graph_create(compute, 3, &r.g));
    r.pixels = g_input(r.g, "pixels", DT_F32, SHAPE4(batch, 3, h, w));
    r.pixels->data = pixels;
    check_ok(model_conv(r.g, m, r.pixels, &r.out));
    r.rows = g_output(nn_conv_rows(r.g, &m->conv, r.pixels));
    g_output(r.out.hidden);
    if (r.out.logits)
        g_output(r.out.logits);
    check_ok(plan_create(r.g, &r.plan));
    return r;
}
static void run_free(struct run *r)
{
    plan_free(r->plan);
    graph_free(r->g);
}

static float *random_pixels(int batch, int h, int w)
{
    struct rng rng = rng_at(5, 5);
    size_t n = (size_t)batch * 3 * (size_t)h * (size_t)w;
    float *x = mem_alloc(MEM_TEST, n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = rng_normal(&rng);
    return x;
}

/* Three pictures together on three threads, and one by one on one; the tower's rows are the last maps. */
static void test_batches(void **state)
{
    enum { BATCH = 3, H = 67, W = 50 };
    float *pixels = random_pixels(BATCH, H, W);
    struct model *m;
    struct pool *pool;
    check_ok(model_load(folder_of(*state), &m));
    check_ok(pool_create(3, &pool));
    for (int compute = 0; compute < GEMM_FORMAT_COUNT; compute++) {
        check_ok(model_pack(m, (enum gemm_format)compute, false, NULL));
        struct run all = run_new(m, (enum gemm_format)compute, BATCH, H, W, pixels), one = run_new(m, (enum gemm_format)compute, 1, H, W, pixels);
        check_ok(exec_run(all.plan, &(struct exec){.pool = pool}));
        assert_memory_equal(all.rows->data, all.out.hidden->data, g_bytes(all.out.hidden));
        assert_int_equal(all.rows->shape.d[1], m->conv.width);
        for (size_t b = 0; b < BATCH; b++) {
            one.pixels->data = pixels + b * 3 * H * W;
            check_ok(exec_run(one.plan, &(struct exec){0}));
            assert_memory_equal(one.out.logits->data, (char *)all.out.logits->data + b * g_bytes(one.out.logits), g_bytes(one.out.logits));
            assert_memory_equal(one.rows->data, (char *)all.rows->data + b * g_bytes(one.rows), g_bytes(one.rows));
        }
        run_free(&all);
        run_free(&one);
    }
    pool_free(pool);
    model_free(m);
    mem_free(pixels);
}

/* The same network without its head: the same tensors but the head's, by names without the base. */
static void test_headless(void **state)
{
    struct model *m, *bare;
    check_ok(model_load(folder_of(*state), &m));
    json_t *config = json_deep_copy(m->config);
    char name[256], *end;
    snprintf(name, sizeof name, "%s", m->family->architecture);
    assert_non_null(end = strstr(name, "ForImageClassification"));
    memcpy(end, "Model", sizeof "Model");
    json_object_set_new(config, "architectures", json_pack("[s]", name));
    check_ok(model_init(config, 1, &bare));
    assert_int_equal(bare->n_params, m->n_params - 2);
    for (int i = 0; i < bare->n_params; i++) {
        assert_string_equal(bare->params[i]->name, m->params[i]->name + strlen(m->family->conv->base));
        assert_true(shape_eq(&bare->params[i]->shape, &m->params[i]->shape));
    }
    float *pixels = random_pixels(1, 40, 40);
    struct run r = run_new(bare, GEMM_F32, 1, 40, 40, pixels);
    assert_null(r.out.logits);
    check_ok(exec_run(r.plan, &(struct exec){0}));
    run_free(&r);
    json_decref(config);
    model_free(bare);
    model_free(m);
    mem_free(pixels);
}

/* Norms that learn are steps of the graph, others numbers in it: the same bits. */
static void test_folded(void **state)
{
    enum { H = 40, W = 40 };
    float *pixels = random_pixels(1, H, W);
    struct model *m;
    check_ok(model_load(folder_of(*state), &m));
    struct run now = run_new(m, GEMM_F32, 1, H, W, pixels);
    for (int i = 0; i < m->n_params; i++)
        m->params[i]->trainable = !m->params[i]->statistic;
    struct run steps = run_new(m, GEMM_F32, 1, H, W, pixels);
    assert_true(steps.plan->n_steps > now.plan->n_steps);
    check_ok(exec_run(now.plan, &(struct exec){0}));
    check_ok(exec_run(steps.plan, &(struct exec){0}));
    assert_memory_equal(now.rows->data, steps.rows->data, g_bytes(now.rows));
    run_free(&now);
    run_free(&steps);
    model_free(m);
    mem_free(pixels);
}

/* ---- random weights, and learning ---------------------------------------------------------- */

#define CONVNEXT "{\"architectures\": [\"ConvNextForImageClassification\"], \"model_type\": \"convnext\", \"depths\": [1, 2], " \
                 "\"hidden_sizes\": [8, 12], \"num_labels\": 3}"
#define RESNET "{\"architectures\": [\"ResNetForImageClassification\"], \"model_type\": \"resnet\", \"depths\": [1, 1], " \
               "\"hidden_sizes\": [8, 12], \"embedding_size\": 4, \"hidden_act\": \"silu\", \"downsample_in_bottleneck\": true, \"num_labels\": 3}"
#define EFFICIENT(more) "{\"architectures\": [\"EfficientNetForImageClassification\"], \"model_type\": \"efficientnet\", " \
                        "\"width_coefficient\": 0.25, \"depth_coefficient\": 1.0, \"in_channels\": [32, 16], \"out_channels\": [16, 24], " \
                        "\"strides\": [1, 2], \"kernel_sizes\": [3, 5], \"num_block_repeats\": [1, 2], \"expand_ratios\": [1, 4], " \
                        "\"hidden_dim\": 320, \"num_labels\": 3" more "}"

static struct model *random_model(const char *config)
{
    struct model *m;
    json_t *json;
    check_ok(json_parse_span(span_str(config), "config", &json));
    check_ok(model_init(json, 11, &m));
    json_decref(json);
    return m;
}

static double loss_of(const struct plan *plan, const struct g_tensor *loss)
{
    check_ok(exec_run(plan, &(struct exec){0}));
    return (double)g_f32(loss)[0];
}

/* The slope of the loss along a random direction of all weights, and by differences. */
static void check_slope(struct model *m, const struct plan *plan, const struct g_tensor *loss)
{
    const float h = 2e-4f;
    double slope = 0, f[2];
    for (int side = 0; side < 3; side++) {
        for (int i = 0; i < m->n_params; i++) {
            struct g_param *p = m->params[i];
            struct rng rng = rng_at(13, (uint64_t)i);
            size_t n = 0;
            check_ok(shape_count(&p->shape, &n));
            for (size_t k = 0; k < n && p->trainable; k++) {
                float d = rng_normal(&rng);
                slope += side ? 0 : (double)p->grad[k] * (double)d;
                ((float *)(uintptr_t)p->data)[k] += (side == 1 ? -2 : 1) * h * d;
            }
        }
        if (side < 2)
            f[side] = loss_of(plan, loss);
    }
    double differences = (f[0] - f[1]) / (2 * (double)h);
    if (!(fabs(slope) > 1e-3 && fabs(slope - differences) < 0.02 * fabs(slope) + 1e-3))
        fail_msg("slope %g, by differences %g", slope, differences);
}

static void test_learning(void **state)
{
    enum { BATCH = 4, H = 24, W = 20 };
    static const int32_t labels[BATCH] = {0, 2, 1, 0};
    float *pixels = random_pixels(BATCH, H, W);
    struct model *m = random_model(*state);
    struct graph *g;
    struct plan *plan;
    struct model_pooled out;
    check_ok(model_make_trainable(m, NULL, NULL));
    for (int i = 0; i < m->n_params; i++) /* statistics are measured, not learned */
        assert_true(m->params[i]->trainable == !strstr(m->params[i]->name, ".running_"));
    check_ok(graph_create(GEMM_F32, 1, &g));
    g->training = true;
    struct g_tensor *in = g_input(g, "pixels", DT_F32, SHAPE4(BATCH, 3, H, W));
    in->data = pixels;
    check_ok(model_conv(g, m, in, &out));
    struct g_tensor *loss = g_output(g_cross_entropy(g, out.logits, g_const(g, DT_I32, SHAPE1(BATCH), labels, true)));
    check_ok(graph_backward(g, loss, NULL));
    check_ok(plan_create(g, &plan));
    double first = loss_of(plan, loss);
    assert_true(first > 0.2 && first < 5);
    float **kept = mem_calloc(MEM_TEST, (size_t)m->n_params, sizeof *kept); /* later runs add to grad */
    for (int i = 0; i < m->n_params; i++)
        if (m->params[i]->trainable) {
            size_t n = 0;
            check_ok(shape_count(&m->params[i]->shape, &n));
            kept[i] = m->params[i]->grad;
            kept[i] = memcpy(mem_alloc(MEM_TEST, n * sizeof(float)), kept[i], n * sizeof(float));
        }
    for (int i = 0; i < m->n_params; i++)
        m->params[i]->grad = kept[i];
    check_slope(m, plan, loss);
    for (int i = 0; i < m->n_params; i++)
        mem_free(kept[i]);
    mem_free(kept);
    plan_free(plan);
    graph_free(g);
    model_free(m);
    mem_free(pixels);
}

/* ---- failing allocations ------------------------------------------------------------------- */

static int load_and_run(void *folder)
{
    static float pixels[3 * 20 * 20];
    struct model *m = NULL;
    struct graph *g = NULL;
    struct plan *plan = NULL;
    struct model_pooled out;
    int rc = model_load(folder, &m);
    if (rc >= 0)
        rc = model_pack(m, GEMM_BF16, false, NULL);
    if (rc >= 0)
        rc = graph_create(GEMM_BF16, 1, &g);
    if (rc >= 0) {
        struct g_tensor *in = g_input(g, "pixels", DT_F32, SHAPE4(1, 3, 20, 20));
        if (in)
            in->data = pixels;
        rc = model_conv(g, m, in, &out);
    }
    if (rc >= 0 && g_output(out.logits))
        rc = plan_create(g, &plan);
    if (rc >= 0)
        rc = exec_run(plan, &(struct exec){0});
    plan_free(plan);
    graph_free(g);
    model_free(m);
    return rc;
}

static void test_torture(void **state)
{
    print_message("%llu allocations\n", (unsigned long long)torture_run("net", load_and_run, (void *)(uintptr_t)folder_of(*state), 1));
}

/* A picture that a step finds too small is an error with a sentence. */
static void test_too_small(void **state)
{
    struct model *m;
    struct graph *g;
    struct model_pooled out;
    check_ok(model_load(folder_of(&nets[2]), &m));
    check_ok(graph_create(GEMM_F32, 1, &g));
    check_fails(NUN_EARG, "conv2d", model_conv(g, m, g_input(g, "pixels", DT_F32, SHAPE4(1, 3, 3, 20)), &out));
    graph_free(g);
    model_free(m);
}

/* ---- configs ------------------------------------------------------------------------------- */

static void refused(int code, const char *part, const char *config)
{
    struct model *m;
    json_t *json;
    check_ok(json_parse_span(span_str(config), "config", &json));
    check_fails(code, part, model_init(json, 1, &m));
    json_decref(json);
}

static void test_configs(void **state)
{
#define NET(type, name, more) "{\"architectures\": [\"" name "ForImageClassification\"], \"model_type\": \"" type "\", " more "}"
    refused(NUN_EUNSUP, "groups", NET("resnet", "ResNet", "\"depths\": [1], \"hidden_sizes\": [8], \"groups\": 2"));
    refused(NUN_EFORMAT, "as many hidden_sizes as depths", NET("resnet", "ResNet", "\"depths\": [1, 1], \"hidden_sizes\": [8]"));
    refused(NUN_EFORMAT, "as many hidden_sizes as depths", NET("convnext", "ConvNext", "\"depths\": []"));
    refused(NUN_EUNSUP, "pooling_type", EFFICIENT(", \"pooling_type\": \"max\""));
    refused(NUN_EFORMAT, "hidden_dim", NET("efficientnet", "EfficientNet", "\"width_coefficient\": 0.5, \"hidden_dim\": 320"));
    refused(NUN_EUNSUP, "squeeze_expansion_ratio", EFFICIENT(", \"squeeze_expansion_ratio\": 1e12"));
    refused(NUN_ELIMIT, "layers", NET("convnext", "ConvNext", "\"depths\": [4000, 4000], \"hidden_sizes\": [8, 8]"));
}

int main(void)
{
    static const char *const made[] = {CONVNEXT, RESNET, EFFICIENT("")};
    enum { MADE = sizeof made / sizeof made[0] };
    struct CMUnitTest tests[6 * NETS + MADE + 2] = {cmocka_unit_test(test_configs), cmocka_unit_test(test_too_small)};
    size_t n = 2;
    for (size_t i = 0; i < NETS; i++) {
        void *net = (void *)(uintptr_t)&nets[i];
        tests[n++] = (struct CMUnitTest){nets[i].name, test_reference, NULL, NULL, net};
        tests[n++] = (struct CMUnitTest){"saved", test_saved, NULL, NULL, net};
        tests[n++] = (struct CMUnitTest){"batches", test_batches, NULL, NULL, net};
        tests[n++] = (struct CMUnitTest){"torture", test_torture, NULL, NULL, net};
        tests[n++] = (struct CMUnitTest){"headless", test_headless, NULL, NULL, net};
        tests[n++] = (struct CMUnitTest){"folded", test_folded, NULL, NULL, net};
    }
    for (size_t i = 0; i < MADE; i++)
        tests[n++] = (struct CMUnitTest){"learning", test_learning, NULL, NULL, (void *)(uintptr_t)made[i]};
    return cmocka_run_group_tests_name("conv_nets", tests, NULL, NULL);
}
