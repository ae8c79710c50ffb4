/* Pictures without a conversation, through the public door: probabilities and vectors against the reference's logits
 * and embeds, texts through tokenizers, the same bytes in any company, gradients through whole towers, and what must
 * be refused. Skipped where the fixtures are absent. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>

#include "../torture.h"
#include "base/file.h"
#include "base/limits.h"
#include "formats/json.h"
#include "formats/safetensors.h"
#include "graph/exec.h"
#include "models/model.h"
#include "nunchi/vision.h"

#define FIXTURES "../shared/fixtures/"
enum { MOST = 16, VALUES = 4096 };
static const char *const place = "test_tower_folder";
static const double NEAR = 2e-6;

static void skip_without(const char *fixture)
{
    char path[256];
    snprintf(path, sizeof path, FIXTURES "%s", fixture);
    if (!file_is_dir(path))
        skip();
}

static struct nun_tower *tower(const char *folder, enum nun_compute compute, int threads)
{
    struct nun_model_options o = {.threads = threads, .compute = compute};
    struct nun_tower *t = NULL;
    check_ok(nun_tower_open(folder, &o, &t));
    return t;
}

/* ---- cases --------------------------------------------------------------------------------- */

struct cases { char folder[256]; json_t *json; struct safetensors *expected; };

static void cases_open(const char *fixture, struct cases *c)
{
    char path[300];
    snprintf(c->folder, sizeof c->folder, FIXTURES "%s", fixture);
    snprintf(path, sizeof path, "%s/verify/case.json", c->folder);
    check_ok(json_load_file_limited(path, &c->json));
    snprintf(path, sizeof path, "%s/verify/expected.safetensors", c->folder);
    check_ok(st_open(path, &c->expected));
}

static void cases_close(struct cases *c)
{
    json_decref(c->json);
    st_close(c->expected);
}

/* The case's pictures; their paths are in `paths`. */
static size_t images_of(const struct cases *c, const json_t *one, char paths[MOST][300], struct nun_image *out)
{
    const json_t *list = json_object_get(one, "images");
    size_t n = json_array_size(list);
    assert_true(n <= MOST);
    for (size_t i = 0; i < n; i++) {
        snprintf(paths[i], 300, "%s/verify/%s", c->folder, json_string_value(json_array_get(list, i)));
        out[i] = (struct nun_image){.file = paths[i]};
    }
    return n;
}

static const float *expected(const struct cases *c, const json_t *one, const char *name, size_t *n)
{
    const struct st_tensor *t;
    const char *key = json_string_value(json_object_get(json_object_get(one, "expected"), name));
    check_ok(st_need(c->expected, span_str(key ? key : name), NULL, &t));
    check_ok(shape_count(&t->shape, n));
    return t->data;
}

/* logits [rows, cols] to probabilities, in double. */
static double probability(const float *logits, size_t cols, size_t at, bool independent)
{
    double sum = 0;
    for (size_t i = 0; i < cols; i++)
        sum += exp((double)logits[i] - logits[at]);
    return independent ? 1 / (1 + exp(-(double)logits[at])) : 1 / sum;
}

/* ---- classifiers --------------------------------------------------------------------------- */

static void classes(void **state)
{
    struct cases c;
    struct nun_tower_info info;
    const json_t *one;
    size_t i, compared = 0, n;
    skip_without(*state);
    cases_open(*state, &c);
    struct nun_tower *t = tower(c.folder, NUN_F32, 2);
    nun_tower_info(t, &info);
    assert_true(info.classes > 1 && !info.reads && !info.independent);
    assert_string_equal(nun_tower_label(t, 1), "thing 1");
    assert_null(nun_tower_label(t, info.classes));
    json_array_foreach(json_object_get(c.json, "cases"), i, one) {
        char paths[MOST][300];
        struct nun_image images[MOST];
        float p[VALUES];
        if (json_object_get(one, "processor_arguments"))
            continue;
        const float *logits = expected(&c, one, "class_logits", &n);
        size_t count = images_of(&c, one, paths, images);
        assert_int_equal(n, count * (size_t)info.classes);
        check_ok(nun_tower_classify(t, images, count, p));
        for (size_t k = 0; k < n; k++)
            assert_true(fabs(p[k] - probability(logits, n, k, false)) < NEAR);
        compared += count;
    }
    assert_true(compared >= 3);
    check_fails(NUN_EUNSUP, "reads no texts", nun_tower_set_labels(t, &(const char *){"cat"}, 1, NULL));
    nun_tower_close(t);
    cases_close(&c);
}

/* ---- pairs --------------------------------------------------------------------------------- */

/* The fixture beside a tokenizer whose words are t0 ... t299. */
static void make_folder(const char *fixture)
{
    static const char *const files[] = {"config.json", "model.safetensors", "preprocessor_config.json"};
    char path[300], vocab[8192];
    struct buf bytes;
    file_remove_tree(place);
    check_ok(file_mkdirs(place));
    for (int i = 0; i < 3; i++) {
        buf_init(&bytes, MEM_TEST, 64 << 20);
        snprintf(path, sizeof path, FIXTURES "%s/%s", fixture, files[i]);
        check_ok(file_read(path, &bytes));
        snprintf(path, sizeof path, "%s/%s", place, files[i]);
        check_ok(file_write_durable(path, bytes.ptr, bytes.len));
        buf_free(&bytes);
    }
    int n = snprintf(vocab, sizeof vocab, "{\"version\": \"1.0\", \"model\": {\"type\": \"WordLevel\", \"unk_token\": \"t0\", \"vocab\": {");
    for (int i = 0; i < 300; i++)
        n += snprintf(vocab + n, sizeof vocab - (size_t)n, "%s\"t%d\": %d", i ? ", " : "", i, i);
    n += snprintf(vocab + n, sizeof vocab - (size_t)n, "}}, \"pre_tokenizer\": {\"type\": \"Whitespace\"}}");
    snprintf(path, sizeof path, "%s/tokenizer.json", place);
    check_ok(file_write_durable(path, vocab, (size_t)n));
}

/* The ids before the padding as words. */
static void spell(const json_t *ids, char text[512])
{
    size_t i, n = json_array_size(ids), at = 0;
    const json_t *id;
    while (n && json_integer_value(json_array_get(ids, n - 1)) == 1)
        n--;
    json_array_foreach(ids, i, id)
        if (i < n)
            at += (size_t)snprintf(text + at, 512 - at, "%st%d", i ? " " : "", (int)json_integer_value(id));
}

static void compare_pair(struct nun_tower *t, const struct cases *c, const json_t *one, const char *const *texts, size_t n_texts)
{
    struct nun_tower_info info;
    struct nun_image images[MOST];
    char paths[MOST][300];
    float got[VALUES];
    size_t n, count = images_of(c, one, paths, images);
    check_ok(nun_tower_set_labels(t, texts, n_texts, "{}"));
    nun_tower_info(t, &info);
    assert_true(info.reads && info.classes == (int)n_texts);
    assert_string_equal(nun_tower_label(t, 0), texts[0]);
    const float *want = expected(c, one, "image_embeds", &n);
    check_ok(nun_tower_embed(t, images, count, true, got));
    for (size_t i = 0; i < n; i++)
        assert_true(fabs((double)got[i] - want[i]) < NEAR);
    want = expected(c, one, "text_embeds", &n);
    for (size_t k = 0; k < n_texts; k++) {
        check_ok(nun_tower_embed_text(t, texts[k], strlen(texts[k]), true, got, NULL));
        for (int i = 0; i < info.width; i++)
            assert_true(fabs((double)got[i] - want[k * (size_t)info.width + (size_t)i]) < NEAR);
    }
    want = expected(c, one, "logits_per_image", &n);
    assert_int_equal(n, count * n_texts);
    check_ok(nun_tower_classify(t, images, count, got));
    for (size_t i = 0; i < n; i++)
        assert_true(fabs(got[i] - probability(want + i / n_texts * n_texts, n_texts, i % n_texts, info.independent)) < NEAR);
}

/* SigLIP's texts are padded to the model's length, which their tokenizer does not do. */
static void padded_pairs(void **state)
{
    struct cases c;
    const json_t *one;
    size_t i;
    skip_without(*state);
    cases_open(*state, &c);
    make_folder(*state);
    struct nun_tower *t = tower(place, NUN_F32, 2);
    json_array_foreach(json_object_get(c.json, "cases"), i, one) {
        const json_t *ids = json_object_get(one, "input_ids");
        char text[MOST][512];
        const char *texts[MOST];
        size_t n = json_array_size(ids);
        if (!n)
            continue;
        for (size_t k = 0; k < n; k++) {
            spell(json_array_get(ids, k), text[k]);
            texts[k] = text[k];
        }
        compare_pair(t, &c, one, texts, n);
    }
    nun_tower_close(t);
    cases_close(&c);
    file_remove_tree(place);
}

static void clip_pair(void **state)
{
    static const char *const texts[] = {"a red circle and a blue square", "the small yellow star!", "How many GREEN triangles   are there?"};
    struct cases c;
    skip_without("clip");
    cases_open("clip", &c);
    struct nun_tower *t = tower(c.folder, NUN_F32, 2);
    compare_pair(t, &c, json_array_get(json_object_get(c.json, "cases"), 0), texts, 3);

    struct nun_image none[1] = {{.file = "no/such.png"}};
    float p[VALUES];
    check_fails(NUN_EARG, "expected {}", nun_tower_set_labels(t, texts, 3, "a photo"));
    check_fails(NUN_EARG, "expected 1 to", nun_tower_set_labels(t, texts, 0, NULL));
    check_fails(NUN_ECONTEXT, "at most 24", nun_tower_set_labels(t, &(const char *){"read the text: nunchi. read the text: nunchi."}, 1, NULL));
    assert_string_equal(nun_tower_label(t, 2), texts[2]); /* unchanged */
    assert_true(nun_tower_classify(t, none, 1, p) < 0 && strstr(nun_error(), "no/such.png"));
    check_fails(NUN_EARG, "no pictures", nun_tower_classify(t, NULL, 1, p));
    check_ok(nun_tower_classify(t, NULL, 0, p));
    nun_tower_close(t);
    t = tower(c.folder, NUN_F32, 1);
    check_fails(NUN_EARG, "expected labels", nun_tower_classify(t, none, 1, p));
    nun_tower_close(t);
    cases_close(&c);
    check_fails(NUN_EUNSUP, "no tower", nun_tower_open(FIXTURES "llama", NULL, &t));
}

/* ---- the same bytes ------------------------------------------------------------------------ */

/* Nine pictures of several sizes at once on three threads, and each alone on one. */
static void company(void **state)
{
    static const char *const names[] = {"wide", "wide", "tall", "alpha", "wide", "alpha", "alpha", "tall", "wide"};
    enum { N = sizeof names / sizeof *names };
    static float all[N * VALUES], alone[VALUES];
    char folder[256], paths[N][300];
    struct nun_image images[N];
    struct nun_tower_info info;
    skip_without(*state);
    snprintf(folder, sizeof folder, FIXTURES "%s", (const char *)*state);
    for (int i = 0; i < N; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/verify/%s.png", folder, names[i]);
        images[i] = (struct nun_image){.file = paths[i]};
    }
    for (int compute = 0; compute < 2; compute++) {
        struct nun_tower *many = tower(folder, compute ? NUN_F32 : NUN_BF16, 3), *one = tower(folder, compute ? NUN_F32 : NUN_BF16, 1);
        nun_tower_info(many, &info);
        assert_true(info.width <= VALUES);
        check_ok(nun_tower_embed(many, images, N, false, all));
        for (int i = 0; i < N; i++) {
            check_ok(nun_tower_embed(one, &images[i], 1, false, alone));
            assert_memory_equal(alone, all + i * info.width, (size_t)info.width * sizeof *alone);
        }
        nun_tower_close(many);
        nun_tower_close(one);
    }
}

/* ---- learning ------------------------------------------------------------------------------ */

struct learning { struct model *m; struct graph *g; struct plan *plan; struct g_tensor *loss; float *pixels; };

static struct g_tensor *pixels_of(struct learning *l, int side)
{
    struct g_tensor *x = g_input(l->g, "pixels", DT_F32, SHAPE4(2, 3, side, side));
    l->pixels = arena_array(&l->g->arena, (size_t)(6 * side * side), sizeof(float));
    for (int i = 0; i < 6 * side * side; i++)
        l->pixels[i] = sinf((float)i * 0.37f) + cosf((float)(i % 101));
    x->data = l->pixels;
    return x;
}

static struct g_tensor *masked_loss(struct learning *l)
{
    int T = model_patches(l->m), K = model_kept(l->m);
    static float noise[512], hidden[512];
    static int32_t keep[512], back[512];
    struct model_masked out;
    for (int i = 0; i < 2 * T; i++)
        noise[i] = (float)(i * 7919 % 1009);
    check_ok(model_mask(l->m, noise, 2, keep, back, hidden, NULL));
    struct model_masks masks = {.kept = K, .keep = g_const(l->g, DT_I32, SHAPE1(2 * K), keep, true),
                                .back = g_const(l->g, DT_I32, SHAPE1(2 * (1 + T)), back, true),
                                .hidden = g_const(l->g, DT_F32, SHAPE1(2 * T), hidden, true)};
    check_ok(model_masked(l->g, l->m, pixels_of(l, l->m->vision.facts.image_size), &masks, &out));
    return out.loss;
}

static struct g_tensor *class_loss(struct learning *l)
{
    static const int32_t labels[] = {3, 1};
    struct nn_pictures in = {.batch = 2, .pixels = pixels_of(l, l->m->vision.facts.image_size)};
    struct model_pooled out;
    check_ok(model_view(l->g, l->m, &in, &out));
    return g_cross_entropy(l->g, out.logits, g_const(l->g, DT_I32, SHAPE1(2), labels, true));
}

static double loss_now(struct learning *l)
{
    check_ok(exec_run(l->plan, &(struct exec){0}));
    return g_f32(l->loss)[0];
}

/* The gradient of a whole tower against differences, a few values of every weight along the gradient's own direction. */
static void learns(void **state)
{
    const char *fixture = *state;
    struct learning l = {0};
    char folder[256];
    skip_without(fixture);
    snprintf(folder, sizeof folder, FIXTURES "%s", fixture);
    check_ok(model_load(folder, &l.m));
    check_ok(model_make_trainable(l.m, NULL, NULL));
    check_ok(graph_create(GEMM_F32, 1, &l.g));
    l.g->training = true;
    l.loss = g_output(!strcmp(fixture, "vit-mae") ? masked_loss(&l) : class_loss(&l));
    check_ok(graph_backward(l.g, l.loss, NULL));
    check_ok(plan_create(l.g, &l.plan));
    loss_now(&l);
    for (int i = 0; i < l.m->n_params; i++) {
        struct g_param *p = l.m->params[i];
        float *values = (float *)(uintptr_t)p->data, *grad, old[VALUES * 8];
        size_t n;
        double square = 0, moved = 0;
        check_ok(shape_count(&p->shape, &n));
        assert_true(n <= VALUES * 8);
        grad = mem_calloc(MEM_TEST, n, sizeof *grad);
        memset(p->grad, 0, n * sizeof *grad);
        loss_now(&l);
        memcpy(grad, p->grad, n * sizeof *grad);
        memcpy(old, values, n * sizeof *old);
        for (size_t k = 0; k < n; k++)
            square += (double)grad[k] * grad[k];
        double length = sqrt(square), step = 0.02;
        for (int sign = -1; sign <= 1 && length > 1e-4; sign += 2) {
            for (size_t k = 0; k < n; k++)
                values[k] = old[k] + (float)(sign * step * grad[k] / length);
            moved += sign * loss_now(&l) / (2 * step);
        }
        memcpy(values, old, n * sizeof *old);
        mem_free(grad);
        if (length > 1e-4 && !(fabs(moved - length) <= 0.02 * length + 2e-4))
            fail_msg("%s: %s: the rule says %g, differences %g", fixture, p->name, length, moved);
    }
    plan_free(l.plan);
    graph_free(l.g);
    model_free(l.m);
}

/* ---- a gated MLP --------------------------------------------------------------------------- */

/* Facts of DINOv2's large models: the tensor in is [2 I, H], the first half goes through SiLU, I = 8 ceil(2/3 * 4 H / 8). */
static const char gated_config[] =
    "{\"architectures\": [\"Dinov2Model\"], \"model_type\": \"dinov2\", \"hidden_size\": 16, \"num_hidden_layers\": 1,"
    " \"num_attention_heads\": 2, \"image_size\": 14, \"patch_size\": 7, \"mlp_ratio\": 4, \"use_swiglu_ffn\": true}";
enum { WIDTH = 16, INNER = 48 };
struct shown { struct g_tensor *embeddings, *block; };

static void keep_shown(void *arg, const char *part, int stage, int layer, struct g_tensor *x)
{
    struct shown *s = arg;
    if (!strcmp(part, "embeddings"))
        s->embeddings = g_output(x);
    else if (!strcmp(part, "block"))
        s->block = g_output(x);
}

static float *gathered(struct model *m, const char *name, size_t count)
{
    struct shape shape = {0};
    float *x = mem_calloc(MEM_TEST, count, sizeof *x);
    size_t n;
    char path[128];
    snprintf(path, sizeof path, "dinov2.encoder.layer.0.%s", name);
    check_ok(model_gather(m, path, false, &shape, x));
    check_ok(shape_count(&shape, &n));
    assert_int_equal(n, count);
    return x;
}

/* x [WIDTH] and what the MLP adds to it. */
static void gated_row(const float *x, const float *in, const float *in_b, const float *out, const float *out_b, double y[WIDTH])
{
    double n[WIDTH], inner[INNER], mean = 0, square = 0;
    for (int i = 0; i < WIDTH; i++)
        mean += x[i] / (double)WIDTH;
    for (int i = 0; i < WIDTH; i++)
        square += (x[i] - mean) * (x[i] - mean) / WIDTH;
    for (int i = 0; i < WIDTH; i++)
        n[i] = (x[i] - mean) / sqrt(square + 1e-6); /* a new norm has weights 1 and biases 0 */
    for (int k = 0; k < INNER; k++) {
        double gate = in_b[k], up = in_b[INNER + k];
        for (int i = 0; i < WIDTH; i++) {
            gate += in[k * WIDTH + i] * n[i];
            up += in[(INNER + k) * WIDTH + i] * n[i];
        }
        inner[k] = gate / (1 + exp(-gate)) * up;
    }
    for (int i = 0; i < WIDTH; i++) {
        y[i] = out_b[i];
        for (int k = 0; k < INNER; k++)
            y[i] += out[i * INNER + k] * inner[k];
    }
}

static void gated(void **state)
{
    struct learning l = {0};
    struct shown seen = {0};
    struct model_pooled made;
    json_t *config = NULL;
    check_ok(json_parse_span(span_str(gated_config), "config", &config));
    check_ok(model_init(config, 7, &l.m));
    json_decref(config);
    float *out_w = gathered(l.m, "mlp.weights_out.weight", WIDTH * INNER), *out_b = gathered(l.m, "mlp.weights_out.bias", WIDTH);
    float *in_w = gathered(l.m, "mlp.weights_in.weight", 2 * INNER * WIDTH), *in_b = gathered(l.m, "mlp.weights_in.bias", 2 * INNER);
    float *scale = gathered(l.m, "layer_scale2.lambda1", WIDTH);
    struct g_param *silent = l.m->vision.layer[0][NN_attn_o_w]; /* attention adds nothing: its bias is 0 */
    memset((void *)(uintptr_t)silent->data, 0, WIDTH * WIDTH * sizeof(float));
    check_ok(graph_create(GEMM_F32, 1, &l.g));
    struct nn_pictures in = {.batch = 2, .pixels = pixels_of(&l, 14), .see = keep_shown, .see_arg = &seen};
    check_ok(model_view(l.g, l.m, &in, &made));
    l.loss = g_output(made.pooled);
    check_ok(plan_create(l.g, &l.plan));
    loss_now(&l);
    for (int64_t r = 0; r < g_rows(seen.block); r++) {
        const float *x = g_f32(seen.embeddings) + r * WIDTH, *got = g_f32(seen.block) + r * WIDTH;
        double y[WIDTH];
        gated_row(x, in_w, in_b, out_w, out_b, y);
        for (int i = 0; i < WIDTH; i++)
            assert_true(fabs(got[i] - (x[i] + scale[i] * y[i])) < 1e-5);
    }
    float *all[] = {out_w, out_b, in_w, in_b, scale};
    for (int i = 0; i < 5; i++)
        mem_free(all[i]);
    plan_free(l.plan);
    graph_free(l.g);
    model_free(l.m);
}

/* A convolutional net without its head has vectors and no classes. */
static void headless(void **state)
{
    struct nun_tower *t;
    struct nun_tower_info info;
    char path[300];
    struct nun_image image = {.file = path};
    json_t *config = NULL;
    struct model *m;
    float got[VALUES];
    skip_without("resnet-basic");
    check_ok(json_load_file_limited(FIXTURES "resnet-basic/config.json", &config));
    json_array_set_new(json_object_get(config, "architectures"), 0, json_string("ResNetModel"));
    check_ok(model_init(config, 3, &m));
    json_decref(config);
    make_folder("resnet-basic");
    check_ok(model_save(m, place, DT_F32));
    model_free(m);
    t = tower(place, NUN_F32, 1);
    nun_tower_info(t, &info);
    assert_true(info.classes == 0 && info.width > 0 && info.width < VALUES);
    snprintf(path, sizeof path, FIXTURES "resnet-basic/verify/wide.png");
    check_ok(nun_tower_embed(t, &image, 1, true, got));
    check_fails(NUN_EUNSUP, "no classes", nun_tower_classify(t, &image, 1, got));
    nun_tower_close(t);
    file_remove_tree(place);
}

/* ---- failing allocations ------------------------------------------------------------------- */

static int classify_once(void *arg)
{
    struct nun_model_options o = {.threads = 1, .compute = NUN_F32};
    const char *labels[] = {"cat", "dog"};
    char path[300];
    float p[VALUES];
    struct nun_tower *t;
    TRY(nun_tower_open(arg, &o, &t));
    snprintf(path, sizeof path, "%s/verify/wide.png", (const char *)arg);
    int rc = strstr(arg, "clip") ? nun_tower_set_labels(t, labels, 2, NULL) : 0;
    if (rc >= 0)
        rc = nun_tower_classify(t, &(struct nun_image){.file = path}, 1, p);
    nun_tower_close(t);
    return rc;
}

static void torture(void **state)
{
    skip_without("swin");
    torture_run("swin", classify_once, (void *)(uintptr_t)(FIXTURES "swin"), 37);
    torture_run("clip", classify_once, (void *)(uintptr_t)(FIXTURES "clip"), 37);
}

#define ON(fn, fixture) {#fn " " fixture, fn, NULL, NULL, (void *)(uintptr_t)(fixture)}
int main(void)
{
    const struct CMUnitTest tests[] = {
        ON(classes, "vit"), ON(classes, "dinov2"), ON(classes, "swin"), ON(classes, "convnext"), ON(classes, "resnet-basic"),
        ON(padded_pairs, "siglip"), ON(padded_pairs, "siglip2"), cmocka_unit_test(clip_pair),
        ON(company, "vit"), ON(company, "dinov2"), ON(company, "swin"), ON(company, "convnext"), ON(company, "siglip2"), ON(company, "clip"), ON(company, "vit-mae"),
        ON(learns, "vit-mae"), ON(learns, "swin"), ON(learns, "dinov2"), cmocka_unit_test(gated), cmocka_unit_test(headless), cmocka_unit_test(torture),
    };
    return cmocka_run_group_tests_name("tower", tests, NULL, NULL);
}
