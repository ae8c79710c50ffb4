/* Tokenizers against ids that other implementations gave: real vocabularies on 176 texts, and the prompts of the
 * reference models. Skipped where ../shared is absent. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include "base/file.h"
#include "../check.h"
#include "formats/json.h"
#include "text/tokenizer.h"

#define VECTORS "../shared/vectors/tokenizers"
#define FIXTURES "../shared/fixtures"
#define PATH 512

static json_t *load(const char *path)
{
    json_t *j = NULL;
    check_ok(json_load_file_limited(path, &j));
    return j;
}

static struct span text_of(const json_t *s)
{
    return span_of(json_string_value(s), json_string_length(s));
}

static void print_ids(const char *what, const int32_t *ids, size_t n)
{
    fprintf(stderr, "  %s:", what);
    for (size_t i = 0; i < n && i < 40; i++)
        fprintf(stderr, " %d", ids[i]);
    fprintf(stderr, "\n");
}

static void ids_from(const json_t *list, struct ids *out)
{
    if (json_is_array(json_array_get(list, 0)))
        list = json_array_get(list, 0);
    for (size_t i = 0; i < json_array_size(list); i++)
        check_ok(ids_push(out, (int32_t)json_integer_value(json_array_get(list, i))));
}

static bool same_ids(const struct ids *a, const struct ids *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->at, b->at, a->n * sizeof *a->at) == 0);
}

/* ---- whole vocabularies ---- */

static const struct vocabulary { const char *ids, *file; bool round_trips; } vocabularies[] = {
    {"phi-2", "hf/phi-2/tokenizer.json", true},
    {"roberta-base", "hf/roberta-base/tokenizer.json", true},
    {"whisper-tiny", "hf/whisper.tiny/tokenizer.json", true},
    {"falcon", "hf/falcon-tokenizer/tokenizer.json", true},
    {"llama2", "hf/llama2/tokenizer.json", true},
    {"clip", "hf/clip/tokenizer.json", false},
    {"t5-small", "hf/t5-small/tokenizer.json", false},
    {"gpt2", "gguf/ggml-vocab-gpt-2.gguf", true},
    {"falcon", "gguf/ggml-vocab-falcon.gguf", true},
    {"llama2", "gguf/ggml-vocab-llama-spm.gguf", true},
    {"llama3.2", "gguf/ggml-vocab-llama-bpe.gguf", true},
};

/* Texts come back whole, and the same from a stream. */
static void comes_back(const struct tokenizer *t, struct span text, const struct ids *ids)
{
    struct buf all, streamed;
    struct tok_stream *s;
    buf_init(&all, MEM_TEST, 1 << 20);
    buf_init(&streamed, MEM_TEST, 1 << 20);
    check_ok(tokenizer_decode(t, ids->at, ids->n, 0, &all));
    if (!span_eq(buf_view(&all), text))
        fail_msg("decoded to \"%s\", expected \"%.*s\"", buf_cstr(&all), (int)text.len, text.ptr);
    check_ok(tok_stream_create(t, 0, &s));
    for (size_t i = 0; i < ids->n; i++)
        check_ok(tok_stream_push(s, ids->at[i], &streamed));
    check_ok(tok_stream_end(s, &streamed));
    assert_true(span_eq(buf_view(&streamed), text));
    tok_stream_free(s);
    buf_free(&streamed);
    buf_free(&all);
}

static size_t compare(const struct vocabulary *v, const struct tokenizer *t, const json_t *texts, FILE *want)
{
    char *line = NULL;
    size_t cap = 0, wrong = 0;
    for (size_t i = 0; i < json_array_size(texts); i++) {
        struct span text = text_of(json_array_get(texts, i));
        struct ids got = {0}, expected = {0};
        json_t *list = NULL;
        assert_true(getline(&line, &cap, want) > 0);
        check_ok(json_parse_span(span_str(line), v->ids, &list));
        ids_from(list, &expected);
        check_ok(tokenizer_encode(t, text, TOK_PARSE_SPECIAL, &got));
        if (!same_ids(&got, &expected)) {
            wrong++;
            fprintf(stderr, "%s: text %zu \"%.*s\"\n", v->ids, i, text.len < 80 ? (int)text.len : 80, text.ptr);
            print_ids("expected", expected.at, expected.n);
            print_ids("got", got.at, got.n);
        } else if (v->round_trips) {
            comes_back(t, text, &got);
        }
        json_decref(list);
        ids_free(&got);
        ids_free(&expected);
    }
    free(line); /* getline allocates */
    return wrong;
}

static void test_vocabularies(void **state)
{
    char path[PATH];
    if (!file_exists(VECTORS "/texts.json"))
        skip();
    json_t *texts = load(VECTORS "/texts.json");
    assert_int_equal(json_array_size(texts), 176);
    for (size_t i = 0; i < sizeof vocabularies / sizeof *vocabularies; i++) {
        const struct vocabulary *v = &vocabularies[i];
        struct tokenizer *t;
        snprintf(path, sizeof path, VECTORS "/%s", v->file);
        check_ok(tokenizer_load(path, &t));
        snprintf(path, sizeof path, VECTORS "/%s.ids.jsonl", v->ids);
        FILE *want = fopen(path, "r");
        assert_non_null(want);
        size_t wrong = compare(v, t, texts, want);
        fclose(want);
        tokenizer_free(t);
        if (wrong)
            fail_msg("%s: %zu of 176 texts differ", v->file, wrong);
    }
    json_decref(texts);
}

/* ---- GGUF: strings and ids in files of their own ---- */

static const char *const gguf_names[] = {"bert-bge", "deepseek-llm", "falcon", "gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2"};

/* The next line of ids. */
static struct span next_ids(struct span rest, struct ids *out)
{
    size_t n = 0;
    for (; n < rest.len && rest.ptr[n] != '\n'; n++)
        if (rest.ptr[n] != ' ' && (n == 0 || rest.ptr[n - 1] == ' '))
            check_ok(ids_push(out, (int32_t)strtol(rest.ptr + n, NULL, 10)));
    return span_from(rest, n + 1);
}

static size_t compare_gguf(const char *name, const struct tokenizer *t, struct span texts, struct span want)
{
    static const char end[] = "\n__ggml_vocab_test__\n";
    size_t seen = 0;
    const char *p;
    while ((p = memmem(texts.ptr, texts.len, end, sizeof end - 1))) {
        struct ids got = {0}, expected = {0};
        struct span text = span_of(texts.ptr, (size_t)(p - texts.ptr));
        want = next_ids(want, &expected);
        check_ok(tokenizer_encode(t, text, TOK_PARSE_SPECIAL, &got));
        if (!same_ids(&got, &expected)) {
            print_ids("expected", expected.at, expected.n);
            print_ids("got", got.at, got.n);
            fail_msg("%s: text %zu \"%.*s\"", name, seen, (int)text.len, text.ptr);
        }
        ids_free(&got);
        ids_free(&expected);
        texts = span_from(texts, text.len + sizeof end - 1);
        seen++;
    }
    return seen;
}

static void test_gguf(void **state)
{
    if (!file_exists(VECTORS "/texts.json"))
        skip();
    for (size_t i = 0; i < sizeof gguf_names / sizeof *gguf_names; i++) {
        char path[PATH], file[PATH];
        struct tokenizer *t;
        struct buf texts, ids;
        buf_init(&texts, MEM_TEST, 1 << 20);
        buf_init(&ids, MEM_TEST, 1 << 20);
        snprintf(file, sizeof file, VECTORS "/gguf/ggml-vocab-%s.gguf", gguf_names[i]);
        check_ok(tokenizer_load(file, &t));
        snprintf(path, sizeof path, "%.400s.inp", file);
        check_ok(file_read(path, &texts));
        snprintf(path, sizeof path, "%.400s.out", file);
        check_ok(file_read(path, &ids));
        assert_int_equal(compare_gguf(gguf_names[i], t, buf_view(&texts), buf_view(&ids)), 46);
        tokenizer_free(t);
        buf_free(&texts);
        buf_free(&ids);
    }
}

/* ---- prompts of the reference models ---- */

/* Families whose processors only repeat one placeholder per picture; `special` tells whether theirs adds bos. */
static const struct { const char *name; unsigned flags; size_t cases; } families[] = {
    {"llava", TOK_ADD_SPECIAL, 2}, {"llava-siglip", TOK_ADD_SPECIAL, 2}, {"vipllava", TOK_ADD_SPECIAL, 1},
    {"llava-next", TOK_ADD_SPECIAL, 2}, {"llava-onevision", TOK_ADD_SPECIAL, 2}, {"video-llava", TOK_ADD_SPECIAL, 2},
    {"qwen2-vl", TOK_ADD_SPECIAL, 2}, {"qwen2-5-vl", TOK_ADD_SPECIAL, 2}, {"mllama", 0, 1},
};

/* Runs of one special id count as one. */
static void collapse(const struct tokenizer *t, struct ids *v)
{
    size_t n = 0;
    for (size_t i = 0; i < v->n; i++)
        if (!n || v->at[n - 1] != v->at[i] || !tokenizer_is_special(t, v->at[i]))
            v->at[n++] = v->at[i];
    v->n = n;
}

static void check_prompt(const char *family, const struct tokenizer *t, const json_t *c, unsigned flags)
{
    struct ids got = {0}, expected = {0};
    ids_from(json_object_get(c, "input_ids"), &expected);
    check_ok(tokenizer_encode(t, text_of(json_object_get(c, "prompt")), flags | TOK_PARSE_SPECIAL, &got));
    collapse(t, &got);
    collapse(t, &expected);
    if (!same_ids(&got, &expected)) {
        print_ids("expected", expected.at, expected.n);
        print_ids("got", got.at, got.n);
        fail_msg("%s %s: the prompt's ids differ", family, json_string_value(json_object_get(c, "name")));
    }
    ids_free(&got);
    ids_free(&expected);
}

static void test_prompts(void **state)
{
    char path[PATH];
    if (!file_exists(FIXTURES "/README.md"))
        skip();
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        struct tokenizer *t;
        size_t seen = 0;
        snprintf(path, sizeof path, FIXTURES "/%s", families[i].name);
        check_ok(tokenizer_load(path, &t));
        snprintf(path, sizeof path, FIXTURES "/%s/verify/case.json", families[i].name);
        json_t *doc = load(path), *cases = json_object_get(doc, "cases");
        for (size_t k = 0; k < json_array_size(cases); k++) {
            const json_t *c = json_array_get(cases, k);
            if (!json_is_string(json_object_get(c, "prompt")))
                continue;
            check_prompt(families[i].name, t, c, families[i].flags);
            seen++;
        }
        if (seen < families[i].cases)
            fail_msg("%s: only %zu prompts", families[i].name, seen);
        json_decref(doc);
        tokenizer_free(t);
    }
}

/* Every tokenizer of the fixtures loads, saves and loads again to the same ids. */
static void test_saving(void **state)
{
    static const char prompt[] = "<s>USER: <image>\nwhat's in the  picture?\t日本 🙂</s>[INST]";
    char **names = NULL, path[PATH], dir[] = "/tmp/test_tokenizer_vectors_XXXXXX";
    size_t n = 0, seen = 0;
    if (!file_exists(FIXTURES "/README.md"))
        skip();
    assert_non_null(mkdtemp(dir));
    check_ok(file_list(FIXTURES, &names, &n));
    for (size_t i = 0; i < n; i++) {
        struct tokenizer *a, *b;
        struct ids x = {0}, y = {0};
        snprintf(path, sizeof path, FIXTURES "/%s/tokenizer.json", names[i]);
        if (!file_exists(path))
            continue;
        check_ok(tokenizer_load(path, &a));
        check_ok(tokenizer_save(a, dir));
        check_ok(tokenizer_load(dir, &b));
        check_ok(tokenizer_encode(a, SPAN(prompt), TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, &x));
        check_ok(tokenizer_encode(b, SPAN(prompt), TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, &y));
        if (!same_ids(&x, &y))
            fail_msg("%s: saved and loaded it gives other ids", names[i]);
        for (int r = 0; r < TOK_ROLE_COUNT; r++)
            assert_int_equal(tokenizer_role(a, (enum tok_role)r), tokenizer_role(b, (enum tok_role)r));
        ids_free(&x);
        ids_free(&y);
        tokenizer_free(a);
        tokenizer_free(b);
        seen++;
    }
    assert_true(seen >= 30);
    mem_free(names);
    check_ok(file_remove_tree(dir));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vocabularies), cmocka_unit_test(test_gguf), cmocka_unit_test(test_prompts), cmocka_unit_test(test_saving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
