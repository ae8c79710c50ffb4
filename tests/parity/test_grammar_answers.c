/* Answers of real models under a grammar: greedy ones of the bundled model always parse; random ones at a high
 * temperature are whole, or stop at the length limit with a text that can still become whole. Skipped where the
 * models are not there. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"

#include <stdio.h>

#include "base/file.h"
#include "base/span.h"
#include "formats/json.h"
#include "nunchi/nunchi.h"
#include "nunchi/tools.h"
#include "text/grammar.h"

static const char schema[] =
    "{\"type\": \"object\", \"properties\": {\"count\": {\"type\": \"integer\", \"minimum\": 0, \"maximum\": 99},"
    " \"colour\": {\"enum\": [\"red\", \"green\", \"blue\"]}, \"words\": {\"type\": \"array\", \"maxItems\": 3, \"items\":"
    " {\"type\": \"string\", \"maxLength\": 6}}}, \"required\": [\"count\", \"colour\"]}";

static void check_whole(const struct nun_result *r)
{
    json_t *v;
    int64_t count = -1;
    const char *colour = "";
    check_ok(json_parse_span(span_of(r->text, r->text_len), "answer", &v));
    assert_int_equal(json_get_int(v, "answer", "count", 0, 99, &count), 0);
    assert_int_equal(json_get_string(v, "answer", "colour", &colour), 0);
    assert_true(!strcmp(colour, "red") || !strcmp(colour, "green") || !strcmp(colour, "blue"));
    json_decref(v);
}

/* A text that was cut off: the grammar can go on from it, but for a character that was cut in two. */
static void check_prefix(const struct nun_grammar *g, const struct nun_result *r)
{
    struct gram_run *run;
    size_t n = r->text_len;
    check_ok(gram_run_create((const struct grammar *)g, false, &run));
    while (n >= 3 && !memcmp(r->text + n - 3, "\xef\xbf\xbd", 3))
        n -= 3;
    assert_int_equal(gram_run_feed(run, span_of(r->text, n)), 1);
    gram_run_free(run);
}

/* One answer; true when it is whole. */
static bool answer(struct nun_model *m, const struct nun_grammar *g, const char *prompt, const struct nun_sampling *s, int most)
{
    struct nun_timeline *t;
    struct nun_result r;
    struct nun_generate_options o = {.sampling = *s, .max_tokens = most, .grammar = g};
    check_ok(nun_timeline_create(m, &t));
    check_ok(nun_timeline_text(t, prompt, strlen(prompt), NUN_TEXT_ADD_SPECIAL));
    check_ok(nun_generate(t, &o, &r));
    bool whole = r.finish == NUN_FINISH_STOP;
    if (whole)
        check_whole(&r);
    else
        check_prefix(g, &r);
    nun_timeline_free(t);
    return whole;
}

static void open_both(const char *folder, struct nun_model **m, struct nun_grammar **g)
{
    char path[4096];
    check_ok(path_join(path, sizeof path, folder, "model.safetensors"));
    if (!file_exists(path))
        skip();
    check_ok(nun_model_open(folder, &(struct nun_model_options){.threads = 1}, m));
    check_ok(nun_grammar_open(NUN_GRAMMAR_SCHEMA, schema, strlen(schema), "schema", g));
}

static void test_greedy(void **state)
{
    static const char *const prompts[] = {"How many circles are there?", "", "{", "List the colours.", "\xe2\x82\xac"};
    struct nun_model *m;
    struct nun_grammar *g;
    struct nun_sampling greedy = {.temperature = 0};
    open_both("models/scenes", &m, &g);
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++)
        if (prompts[i][0])
            assert_true(answer(m, g, prompts[i], &greedy, 400));
    nun_grammar_close(g);
    nun_model_close(m);
}

static void random_answers(const char *folder)
{
    struct nun_model *m;
    struct nun_grammar *g;
    int whole = 0;
    open_both(folder, &m, &g);
    for (uint64_t seed = 0; seed < 50; seed++)
        whole += answer(m, g, "hello", &(struct nun_sampling){.temperature = 3, .seed = seed}, 120);
    fprintf(stderr, "%s: %d of 50 whole, the rest cut off\n", folder, whole);
    assert_true(whole >= 10);
    nun_grammar_close(g);
    nun_model_close(m);
}

static void test_random(void **state)
{
    random_answers("../shared/fixtures/llava");
}

static void test_random_bundled(void **state)
{
    random_answers("models/scenes");
}

static int collect(void *arg, const char *text, size_t len)
{
    buf_append(arg, text, len);
    return 0;
}

/* Until it ends, thinking may be anything; then the form holds. */
static void test_thinking(void **state)
{
    struct nun_model *m;
    struct nun_grammar *g, *digits;
    struct nun_timeline *t;
    struct nun_result r;
    struct buf text;
    static const char pattern[] = "[0-9]{3}";
    open_both("models/scenes", &m, &g);
    check_ok(nun_grammar_open(NUN_GRAMMAR_REGEX, pattern, strlen(pattern), "regex", &digits));
    buf_init(&text, MEM_TEST, 1 << 20);
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct nun_generate_options o = {.sampling = {.temperature = 4, .seed = seed}, .max_tokens = 2000, .grammar = digits, .thinking_end = "e",
                                         .piece = collect, .arg = &text};
        check_ok(nun_timeline_create(m, &t));
        check_ok(nun_timeline_text(t, "hello", 5, NUN_TEXT_ADD_SPECIAL));
        buf_reset(&text);
        int rc = nun_generate(t, &o, &r);
        const char *end = strchr(buf_cstr(&text), 'e');
        if (rc < 0) { /* the token with the e went on with text that no digits are */
            assert_non_null(strstr(nun_error(), "ends the thinking"));
        } else if (r.finish == NUN_FINISH_STOP) {
            assert_non_null(end);
            end += 1 + strspn(end + 1, " \t\r\n");
            assert_int_equal(strspn(end, "0123456789"), 3);
            assert_int_equal(strlen(end), 3);
        }
        nun_timeline_free(t);
    }
    buf_free(&text);
    nun_grammar_close(digits);
    nun_grammar_close(g);
    nun_model_close(m);
}

/* A model without a token that fits says so. */
static void test_no_way(void **state)
{
    static const char pattern[] = "[^\\u{0}-\\u{10ffff}]";
    struct nun_model *m;
    struct nun_grammar *g, *none;
    struct nun_timeline *t;
    struct nun_result r;
    open_both("models/scenes", &m, &g);
    check_ok(nun_grammar_open(NUN_GRAMMAR_REGEX, pattern, strlen(pattern), "regex", &none));
    check_ok(nun_timeline_create(m, &t));
    check_ok(nun_timeline_text(t, "hello", 5, NUN_TEXT_ADD_SPECIAL));
    check_fails(NUN_EUNSUP, "no token of this model can go on", nun_generate(t, &(struct nun_generate_options){.grammar = none}, &r));
    nun_timeline_free(t);
    nun_grammar_close(none);
    nun_grammar_close(g);
    nun_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_greedy), cmocka_unit_test(test_random), cmocka_unit_test(test_random_bundled),
                                       cmocka_unit_test(test_thinking), cmocka_unit_test(test_no_way)};
    return cmocka_run_group_tests_name("grammar_answers", tests, NULL, NULL);
}
