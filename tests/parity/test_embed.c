/* Texts as vectors: every pooling against states computed apart (whose numbers the verify test proves), folders of
 * sentence-transformers, lengths, prompts, decoders, and what must be refused. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/limits.h"
#include "graph/exec.h"
#include "models/model.h"
#include "nunchi/nunchi.h"
#include "../torture.h"

#define FIXTURES "../shared/fixtures/"
static const char *const place = "test_embed_folder";
enum { TOKENS = 7, MOST = 64 };
static const char *const text = "t102 t90 t164 t169 t184 t26 t273";
static const int32_t ids[TOKENS] = {102, 90, 164, 169, 184, 26, 273};

static void write_file(const char *name, const char *content)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", place, name);
    assert_int_equal(file_write_durable(path, content, strlen(content)), 0);
}

/* The fixture's model beside a tokenizer whose words are t0 ... t299. */
static void make_folder(const char *fixture)
{
    static const char *const files[] = {"config.json", "model.safetensors"};
    char from[256], vocab[8192];
    struct buf bytes;
    file_remove_tree(place);
    assert_int_equal(file_mkdirs("test_embed_folder/1_Pooling"), 0);
    for (int i = 0; i < 2; i++) {
        char to[256];
        snprintf(from, sizeof from, FIXTURES "%s/%s", fixture, files[i]);
        snprintf(to, sizeof to, "%s/%s", place, files[i]);
        buf_init(&bytes, MEM_TEST, 64 << 20);
        assert_int_equal(file_read(from, &bytes), 0);
        assert_int_equal(file_write_durable(to, bytes.ptr, bytes.len), 0);
        buf_free(&bytes);
    }
    int n = snprintf(vocab, sizeof vocab, "{\"version\": \"1.0\", \"model\": {\"type\": \"WordLevel\", \"unk_token\": \"t0\", \"vocab\": {");
    for (int i = 0; i < 280; i++)
        n += snprintf(vocab + n, sizeof vocab - (size_t)n, "%s\"t%d\": %d", i ? ", " : "", i, i);
    snprintf(vocab + n, sizeof vocab - (size_t)n, "}}, \"pre_tokenizer\": {\"type\": \"Whitespace\"}}");
    write_file("tokenizer.json", vocab);
}

static void sentence_folder(const char *pooling, bool normalize)
{
    char config[256];
    make_folder("bert-encoder");
    snprintf(config, sizeof config, "[{\"idx\": 0, \"path\": \"\", \"type\": \"sentence_transformers.models.Transformer\"}, "
             "{\"idx\": 1, \"path\": \"1_Pooling\", \"type\": \"sentence_transformers.models.Pooling\"}%s]",
             normalize ? ", {\"idx\": 2, \"path\": \"2_Normalize\", \"type\": \"sentence_transformers.models.Normalize\"}" : "");
    write_file("modules.json", config);
    snprintf(config, sizeof config, "{\"word_embedding_dimension\": 48, \"%s\": true}", pooling);
    write_file("1_Pooling/config.json", config);
}

static struct nun_embedder *open_folder(const struct nun_embed_options *more)
{
    struct nun_embed_options o = more ? *more : (struct nun_embed_options){0};
    struct nun_embedder *e;
    o.model.compute = NUN_F32;
    o.model.threads = 1;
    int rc = nun_embedder_open(place, &o, &e);
    if (rc < 0)
        fail_msg("%s", nun_error());
    return e;
}

/* The model's states of `ids`, [TOKENS, width]. */
static void states(float *out, int *width)
{
    struct model *m;
    struct graph *g;
    struct plan *plan;
    struct model_states got;
    int32_t pos[TOKENS], spans[2 * TOKENS];
    assert_int_equal(model_load(place, &m), 0);
    assert_int_equal(graph_create(GEMM_F32, 1, &g), 0);
    struct nn_seq seq = {.batch = 1, .tokens = TOKENS, .pos = g_input(g, "pos", DT_I32, SHAPE1(TOKENS)),
                         .spans = g_input(g, "spans", DT_I32, SHAPE3(1, TOKENS, 2))};
    struct g_tensor *in = g_input(g, "ids", DT_I32, SHAPE1(TOKENS));
    in->data = (void *)(uintptr_t)ids;
    seq.pos->data = pos;
    seq.spans->data = spans;
    for (int i = 0; i < TOKENS; i++) {
        pos[i] = i;
        spans[2 * i] = 0;
        spans[2 * i + 1] = m->text.facts.causal ? i + 1 : TOKENS;
    }
    assert_int_equal(model_encode(g, m, in, &seq, &got), 0);
    g_output(got.hidden);
    assert_int_equal(plan_create(g, &plan), 0);
    assert_int_equal(exec_run(plan, &(struct exec){0}), 0);
    *width = m->text.facts.hidden;
    memcpy(out, g_f32(got.hidden), (size_t)TOKENS * (size_t)*width * sizeof *out);
    plan_free(plan);
    graph_free(g);
    model_free(m);
}

static double pooled(const char *how, const float *x, int width, int h)
{
    double sum = 0, weighted = 0, most = -1e30;
    for (int i = 0; i < TOKENS; i++) {
        double v = x[i * width + h];
        sum += v;
        weighted += (i + 1) * v;
        most = v > most ? v : most;
    }
    return !strcmp(how, "mean") ? sum / TOKENS : !strcmp(how, "cls") ? x[h] : !strcmp(how, "last") ? x[(TOKENS - 1) * width + h]
         : !strcmp(how, "max") ? most : !strcmp(how, "mean_sqrt_len") ? sum / sqrt(TOKENS) : weighted / (TOKENS * (TOKENS + 1) / 2);
}

static void compare(const char *how, struct nun_embedder *e, bool normalize)
{
    static float x[TOKENS * 256], got[256];
    int width;
    size_t tokens;
    double square = 0;
    states(x, &width);
    assert_int_equal(nun_embedder_width(e), width);
    assert_int_equal(nun_embed(e, text, strlen(text), got, &tokens), 0);
    assert_int_equal(tokens, TOKENS);
    for (int h = 0; h < width; h++)
        square += pooled(how, x, width, h) * pooled(how, x, width, h);
    for (int h = 0; h < width; h++)
        assert_true(fabs(got[h] - pooled(how, x, width, h) / (normalize ? sqrt(square) : 1)) < 2e-6);
}

static void poolings(void **state)
{
    static const char *const names[][2] = {
        {"mean", "pooling_mode_mean_tokens"}, {"cls", "pooling_mode_cls_token"}, {"last", "pooling_mode_lasttoken"},
        {"max", "pooling_mode_max_tokens"}, {"mean_sqrt_len", "pooling_mode_mean_sqrt_len_tokens"},
        {"weightedmean", "pooling_mode_weightedmean_tokens"}};
    if (!file_is_dir(FIXTURES "bert-encoder"))
        skip();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        sentence_folder(names[i][1], i % 2);
        struct nun_embedder *e = open_folder(NULL);
        compare(names[i][0], e, i % 2);
        nun_embedder_close(e);
        const struct nun_embed_options asked = {.pooling = names[5 - i][0], .normalize = i % 2 ? -1 : 1};
        e = open_folder(&asked);
        compare(names[5 - i][0], e, i % 2 == 0);
        nun_embedder_close(e);
    }
}

static void decoders(void **state)
{
    if (!file_is_dir(FIXTURES "llama"))
        skip();
    make_folder("llama");
    struct nun_embedder *e = open_folder(NULL);
    compare("last", e, false);
    nun_embedder_close(e);
    e = open_folder(&(struct nun_embed_options){.pooling = "mean", .normalize = 1});
    compare("mean", e, true);
    nun_embedder_close(e);
}

/* The same bits after texts of other lengths; as long as positions last, and no longer. */
static void lengths(void **state)
{
    static float first[48], again[48], other[48];
    char longest[MOST * 8] = "", cut[MOST * 8] = "";
    if (!file_is_dir(FIXTURES "bert-encoder"))
        skip();
    sentence_folder("pooling_mode_mean_tokens", true);
    struct nun_embedder *e = open_folder(NULL);
    assert_int_equal(nun_embed(e, text, strlen(text), first, NULL), 0);
    for (int i = 0; i < MOST; i++)
        snprintf(longest + strlen(longest), sizeof longest - strlen(longest), "t5 ");
    assert_int_equal(nun_embed(e, longest, strlen(longest), other, NULL), 0);
    assert_int_equal(nun_embed(e, text, strlen(text), again, NULL), 0);
    assert_memory_equal(first, again, sizeof first);
    snprintf(longest + strlen(longest), sizeof longest - strlen(longest), "t6");
    assert_int_equal(nun_embed(e, longest, strlen(longest), other, NULL), NUN_ECONTEXT);
    assert_non_null(strstr(nun_error(), "65 tokens, at most 64"));
    assert_int_equal(nun_embed(e, "", 0, other, NULL), NUN_EARG);
    nun_embedder_close(e);
    write_file("sentence_bert_config.json", "{\"max_seq_length\": 8, \"do_lower_case\": false}");
    e = open_folder(&(struct nun_embed_options){.truncate = true});
    for (int i = 0; i < 7; i++)
        snprintf(cut + strlen(cut), sizeof cut - strlen(cut), "t5 ");
    snprintf(cut + strlen(cut), sizeof cut - strlen(cut), "t6"); /* what closes a text stays */
    assert_int_equal(nun_embed(e, longest, strlen(longest), other, NULL), 0);
    assert_int_equal(nun_embed(e, cut, strlen(cut), first, NULL), 0);
    assert_memory_equal(first, other, sizeof first);
    nun_embedder_close(e);
}

static void prompts(void **state)
{
    static float plain[48], prompted[48], named[48];
    if (!file_is_dir(FIXTURES "bert-encoder"))
        skip();
    sentence_folder("pooling_mode_mean_tokens", false);
    struct nun_embedder *e = open_folder(NULL);
    assert_int_equal(nun_embed(e, "t9 t7", 5, plain, NULL), 0);
    nun_embedder_close(e);
    write_file("config_sentence_transformers.json", "{\"prompts\": {\"query\": \"t9 \", \"other\": \"t1 \"}, \"default_prompt_name\": \"query\"}");
    e = open_folder(NULL);
    assert_int_equal(nun_embed(e, "t7", 2, prompted, NULL), 0);
    assert_memory_equal(plain, prompted, sizeof plain);
    nun_embedder_close(e);
    e = open_folder(&(struct nun_embed_options){.prompt = "other"});
    assert_int_equal(nun_embed(e, "t7", 2, named, NULL), 0);
    assert_memory_not_equal(plain, named, sizeof plain);
    nun_embedder_close(e);
    assert_true(nun_embedder_open(place, &(struct nun_embed_options){.prompt = "none"}, &e) < 0);
}

static void refused(void **state)
{
    static const struct { const char *file, *content, *says; } bad[] = {
        {"modules.json", "[{\"type\": \"sentence_transformers.models.Transformer\"}, {\"path\": \"2_Dense\", \"type\": \"sentence_transformers.models.Dense\"}]", "Dense"},
        {"modules.json", "[{\"path\": \"../x\", \"type\": \"sentence_transformers.models.Transformer\"}]", "../x"},
        {"1_Pooling/config.json", "{\"pooling_mode_mean_tokens\": true, \"pooling_mode_cls_token\": true}", "found 2"},
        {"1_Pooling/config.json", "{\"pooling_mode_new\": true}", "pooling_mode_new"},
        {"1_Pooling/config.json", "{\"pooling_mode_mean_tokens\": true, \"word_embedding_dimension\": 47}", "47"},
        {"sentence_bert_config.json", "{\"do_lower_case\": true}", "do_lower_case"},
    };
    struct nun_embedder *e;
    if (!file_is_dir(FIXTURES "bert-encoder"))
        skip();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sentence_folder("pooling_mode_mean_tokens", true);
        write_file(bad[i].file, bad[i].content);
        assert_true(nun_embedder_open(place, NULL, &e) < 0);
        if (!strstr(nun_error(), bad[i].says))
            fail_msg("%s: %s", bad[i].content, nun_error());
    }
    sentence_folder("pooling_mode_mean_tokens", true);
    assert_true(nun_embedder_open(place, &(struct nun_embed_options){.pooling = "median"}, &e) < 0);
    assert_true(nun_embedder_open("no/such/folder", NULL, &e) < 0);
    if (file_is_dir(FIXTURES "clip"))
        assert_true(nun_embedder_open(FIXTURES "clip", NULL, &e) < 0);
    file_remove_tree(place);
}

static int embed_once(void *arg)
{
    const struct nun_embed_options o = {.model = {.threads = 1, .compute = NUN_F32}};
    static float out[48];
    struct nun_embedder *e;
    TRY(nun_embedder_open(place, &o, &e));
    int rc = nun_embed(e, text, strlen(text), out, NULL);
    nun_embedder_close(e);
    return rc;
}

static void failing_allocations(void **state)
{
    if (!file_is_dir(FIXTURES "bert-encoder"))
        skip();
    sentence_folder("pooling_mode_mean_tokens", true);
    write_file("config_sentence_transformers.json", "{\"prompts\": {\"q\": \"t1 \"}, \"default_prompt_name\": \"q\"}");
    assert_true(torture_run("embed", embed_once, NULL, 5) > 100);
    file_remove_tree(place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(poolings), cmocka_unit_test(decoders), cmocka_unit_test(lengths),
                                       cmocka_unit_test(prompts), cmocka_unit_test(refused),
                                       cmocka_unit_test(failing_allocations)};
    return cmocka_run_group_tests_name("embed", tests, NULL, NULL);
}
