/* Grammars against other people's cases: accept and reject lists of a peer, JSONTestSuite for "any JSON", and the
 * JSON-Schema-Test-Suite, where every schema is refused or agrees with every test. Skipped where the shared
 * vectors are not there. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"

#include <stdio.h>

#include "base/file.h"
#include "base/limits.h"
#include "formats/json.h"
#include "text/grammar.h"

#define FOLDER "../shared/vectors/"

static json_t *parse_json(struct span s)
{
    json_error_t e;
    json_t *v = json_loadb(s.ptr, s.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (!v)
        fail_msg("%s at line %d", e.text, e.line);
    return v;
}

static void read_all(const char *path, struct buf *out)
{
    buf_init(out, MEM_TEST, LIMIT_OF(text_bytes));
    check_ok(file_read(path, out));
}

static bool fits(const struct grammar *g, struct span text)
{
    struct gram_run *r;
    check_ok(gram_run_create(g, true, &r));
    int rc = gram_run_feed(r, text);
    if (rc < 0)
        fail_msg("%s", nun_error());
    bool yes = rc > 0 && gram_run_may_end(r);
    gram_run_free(r);
    return yes;
}

static struct span text_of(const json_t *v)
{
    return span_of(json_string_value(v), json_string_length(v));
}

/* ---- a peer's lists ---------------------------------------------------------------------------- */

static size_t count_wrong(const struct grammar *g, const json_t *list, bool want, const char *name)
{
    size_t wrong = 0, i;
    const json_t *v;
    json_array_foreach(list, i, v) {
        if (fits(g, text_of(v)) == want)
            continue;
        fprintf(stderr, "%s: %s should be %s\n", name, json_string_value(v), want ? "accepted" : "rejected");
        wrong++;
    }
    return wrong;
}

static size_t try_line(const json_t *line)
{
    const json_t *source = json_object_get(line, "grammar");
    const char *name = json_string_value(json_object_get(line, "name"));
    struct grammar *g;
    if (source) {
        check_ok(grammar_from_gbnf(text_of(source), name, &g));
    } else {
        json_t *schema = parse_json(text_of(json_object_get(line, "schema")));
        check_ok(grammar_from_schema(schema, name, &g));
        json_decref(schema);
    }
    size_t wrong = count_wrong(g, json_object_get(line, "accept"), true, name) + count_wrong(g, json_object_get(line, "reject"), false, name);
    grammar_free(g);
    return wrong;
}

static size_t try_lines(const char *path, size_t *lines)
{
    struct buf text;
    size_t wrong = 0;
    if (!file_exists(path))
        skip();
    read_all(path, &text);
    *lines = 0;
    for (struct span s = buf_view(&text); s.len;) {
        const char *nl = memchr(s.ptr, '\n', s.len);
        size_t n = nl ? (size_t)(nl - s.ptr) : s.len;
        json_t *line = parse_json(span_of(s.ptr, n));
        wrong += try_line(line);
        json_decref(line);
        ++*lines;
        s = span_from(s, n + 1);
    }
    buf_free(&text);
    return wrong;
}

static void test_gbnf(void **state)
{
    size_t lines, wrong = try_lines(FOLDER "grammar/mainline-test_grammar.jsonl", &lines);
    assert_int_equal(wrong, 0);
    assert_int_equal(lines, 12);
}

static void test_schemas(void **state)
{
    size_t lines, wrong = try_lines(FOLDER "grammar/mainline-test_schema.jsonl", &lines);
    assert_int_equal(wrong, 0);
    assert_int_equal(lines, 33);
}

static void test_gbnf_files(void **state)
{
    char **names, path[4096];
    size_t n;
    if (!file_is_dir(FOLDER "grammar/gbnf"))
        skip();
    check_ok(file_list(FOLDER "grammar/gbnf", &names, &n));
    assert_true(n >= 8);
    for (size_t i = 0; i < n; i++) {
        struct buf text;
        struct grammar *g;
        check_ok(path_join(path, sizeof path, FOLDER "grammar/gbnf", names[i]));
        read_all(path, &text);
        check_ok(grammar_from_gbnf(buf_view(&text), names[i], &g));
        if (!strcmp(names[i], "json.gbnf"))
            assert_true(fits(g, SPAN("{\"a\": [1, -2.5e3, \"\\u00e4\"]}")) && !fits(g, SPAN("{\"a\": [1,]}")));
        if (!strcmp(names[i], "chess.gbnf"))
            assert_true(fits(g, SPAN("1. e4 e5\n2. Nf3 Nc6\n")) && !fits(g, SPAN("1. e9 e5\n2. Nf3 Nc6\n")));
        grammar_free(g);
        buf_free(&text);
    }
    mem_free(names);
}

/* ---- JSONTestSuite ----------------------------------------------------------------------------- */

static void test_any_json(void **state)
{
    static const char dir[] = FOLDER "json/JSONTestSuite/test_parsing";
    char **names, path[4096];
    size_t n, tried = 0;
    struct grammar *g;
    if (!file_is_dir(dir))
        skip();
    check_ok(grammar_from_schema(json_true(), "any", &g));
    check_ok(file_list(dir, &names, &n));
    for (size_t i = 0; i < n; i++) {
        struct buf text;
        char kind = names[i][0];
        if (kind != 'y' && kind != 'n')
            continue;
        check_ok(path_join(path, sizeof path, dir, names[i]));
        read_all(path, &text);
        if (fits(g, buf_view(&text)) != (kind == 'y'))
            fail_msg("%s: should be %s", names[i], kind == 'y' ? "accepted" : "rejected");
        buf_free(&text);
        tried++;
    }
    mem_free(names);
    grammar_free(g);
    assert_true(tried > 270);
}

/* ---- JSON-Schema-Test-Suite --------------------------------------------------------------------- */

struct tally { size_t schemas, supported, tests, wrong; };

static void try_group(const json_t *group, const char *file, struct tally *t)
{
    const json_t *test, *tests = json_object_get(group, "tests");
    struct grammar *g;
    size_t i;
    t->schemas++;
    if (grammar_from_schema(json_object_get(group, "schema"), "schema", &g) < 0) {
        assert_true(strlen(nun_error()) > 10);
        return;
    }
    t->supported++;
    json_array_foreach(tests, i, test) {
        struct buf text;
        buf_init(&text, MEM_TEST, LIMIT_OF(text_bytes));
        check_ok(json_write(json_object_get(test, "data"), JSON_LINE, &text));
        bool want = json_is_true(json_object_get(test, "valid"));
        t->tests++;
        if (fits(g, buf_view(&text)) != want) {
            fprintf(stderr, "%s: %s: %s: should be %s\n", file, json_string_value(json_object_get(group, "description")), buf_cstr(&text), want ? "valid" : "invalid");
            t->wrong++;
        }
        buf_free(&text);
    }
    grammar_free(g);
}

static void try_suite(const char *dir, struct tally *t)
{
    char **names, path[4096];
    size_t n, k;
    const json_t *group;
    if (!file_is_dir(dir))
        skip();
    check_ok(file_list(dir, &names, &n));
    for (size_t i = 0; i < n; i++) {
        struct buf text;
        json_error_t e;
        check_ok(path_join(path, sizeof path, dir, names[i]));
        if (file_is_dir(path))
            continue;
        read_all(path, &text);
        json_t *groups = json_loadb(text.ptr, text.len, JSON_ALLOW_NUL, &e); /* numbers beyond 64 bits are not read */
        json_array_foreach(groups, k, group)
            try_group(group, names[i], t);
        json_decref(groups);
        buf_free(&text);
    }
    mem_free(names);
}

static void test_schema_suite(void **state)
{
    struct tally t = {0, 0, 0, 0};
    try_suite(FOLDER "json/JSON-Schema-Test-Suite/tests/draft2020-12", &t);
    try_suite(FOLDER "json/JSON-Schema-Test-Suite/tests/draft2020-12/optional", &t);
    fprintf(stderr, "JSON-Schema-Test-Suite: %zu of %zu schemas supported, %zu tests, %zu wrong\n", t.supported, t.schemas, t.tests, t.wrong);
    assert_int_equal(t.wrong, 0);
    assert_true(t.supported >= 340);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gbnf), cmocka_unit_test(test_schemas), cmocka_unit_test(test_gbnf_files),
                                       cmocka_unit_test(test_any_json), cmocka_unit_test(test_schema_suite)};
    return cmocka_run_group_tests_name("grammar_vectors", tests, NULL, NULL);
}
