/* Grammars on small cases of our own: languages, what is refused and how it says so, bounds, masks over tokens. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"
#include "../sanitized.h"

#include <pthread.h>
#include <stdio.h>

#include "base/limits.h"
#include "formats/json.h"
#include "text/grammar.h"

enum kind { GBNF, REGEX, SCHEMA };

static int make(enum kind kind, const char *source, struct grammar **out)
{
    json_t *schema;
    if (kind == GBNF)
        return grammar_from_gbnf(span_str(source), "test", out);
    if (kind == REGEX)
        return grammar_from_regex(span_str(source), "test", out);
    TRY(json_parse_span(span_str(source), "test", &schema));
    int rc = grammar_from_schema(schema, "test", out);
    json_decref(schema);
    return rc;
}

static int judge(const struct grammar *g, struct span text, bool wide)
{
    struct gram_run *r;
    TRY(gram_run_create(g, wide, &r));
    int rc = gram_run_feed(r, text);
    if (rc > 0)
        rc = gram_run_may_end(r);
    gram_run_free(r);
    return rc;
}

struct row { enum kind kind; const char *source, *accept[6], *reject[6]; };

static const struct row rows[] = {
    {GBNF, "root ::= \"a\" root \"b\" | \"\"", {"", "ab", "aaabbb"}, {"a", "aab", "ba"}},
    {GBNF, "root ::= list # a comment\nlist ::= item list | item\nitem ::= [^,]{2,3} \",\"", {"ab,", "abc,de,"}, {"a,", "abcd,", "ab"}},
    {GBNF, "root ::= ( \"x\" | \"y\"\n  \"z\" )+ | \"q\"? \"\\u00e4\\x21\"", {"x", "xyz", "\xc3\xa4!", "q\xc3\xa4!"}, {"y", "q", ""}},
    {GBNF, "root ::= ((\"a\"?){2,4})*", {"", "aaaaaaaaa"}, {"b"}},
    {GBNF, "root ::= \"a\"{3,} | [b-]{40,50}", {"aaa", "aaaaa", "b-b-b-b-b-b-b-b-b-b-b-b-b-b-b-b-b-b-b-b-"}, {"aa", "b-b"}},
    {REGEX, "(?:ab|c){2}[^\\d\\s]*?x?", {"abc", "cc\xe2\x82\xac", "ccx"}, {"c", "cc1", "cc "}},
    {REGEX, "^\\w+@\\w+\\.(com|org)$", {"a@b.com", "x_1@y.org"}, {"a@b.net", "@b.com", "a@b.com "}},
    {REGEX, "\\u00e9\\x41[\\u{1F600}-\\u{1F64F}]", {"\xc3\xa9" "A\xf0\x9f\x98\x81"}, {"\xc3\xa9" "A\xf0\x9f\x97\x81", "eA"}},
    {REGEX, "a{2,}b{,3}", {"aab{,3}"}, {"aab", "ab{,3}"}},
    {REGEX, "(a|aa)+", {"a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}, {"", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"}},
    {SCHEMA, "{\"type\": \"integer\", \"minimum\": -12, \"exclusiveMaximum\": 105}", {"-12", "0", "104", " 99 "}, {"-13", "105", "1000", "01", "1.5", "-0"}},
    {SCHEMA, "{\"type\": \"number\", \"minimum\": -0.25, \"maximum\": 1.5}", {"-0.25", "1.50", "0", "-0", "1.4999"}, {"-0.26", "1.501", "2", "-1", "1.5e0"}},
    {SCHEMA, "{\"type\": \"number\", \"multipleOf\": 0.25}", {"0.75", "3", "-1.50", "100.25"}, {"0.7", "0.251", "1.2"}},
    {SCHEMA, "{\"type\": \"string\", \"minLength\": 2, \"maxLength\": 3}", {"\"ab\"", "\"\\u00e9\xe2\x82\xac\"", "\"\\ud83d\\ude00\xf0\x9f\x98\x80x\""}, {"\"a\"", "\"abcd\"", "\"\\ud83d\\ude00\"", "\"a\nb\""}},
    {SCHEMA, "{\"type\": \"string\", \"pattern\": \"^[a-c]+$|z\", \"maxLength\": 4}", {"\"abca\"", "\"xz\"", "\"\\u0061b\""}, {"\"abcab\"", "\"x\"", "\"\""}},
    {SCHEMA, "{\"enum\": [1, \"a\\\"b\", null, [2, {\"k\": true}]]}", {"1", "\"a\\\"b\"", "null", "[2, {\"k\": true}]"}, {"2", "true", "[2, {\"k\": false}]", "[2]"}},
    {SCHEMA, "{\"properties\": {\"a\": {\"type\": \"null\"}, \"b\": {\"type\": \"boolean\"}}, \"required\": [\"b\"]}",
     {"{\"a\": null, \"b\": true}", "{\"b\":false}"}, {"{}", "{\"a\":null}", "{\"b\":true,\"a\":null}", "{\"b\":true,\"b\":true}", "{\"b\":true,\"c\":1}", "[]"}},
    {SCHEMA, "{\"type\": \"object\", \"patternProperties\": {\"^n\": {\"type\": \"integer\"}}, \"additionalProperties\": {\"type\": \"string\"}, \"minProperties\": 1}",
     {"{\"n1\": 2, \"m\": \"x\"}"}, {"{}", "{\"n1\": \"x\"}", "{\"m\": 1}"}},
    {SCHEMA, "{\"type\": \"array\", \"items\": {\"type\": \"number\"}, \"uniqueItems\": true}", {"[]", "[1, 2, 3]"}, {"[1, 1]", "[1, 2, 1.0]", "[10, 1e1]"}},
    {SCHEMA, "{\"type\": \"array\", \"items\": {\"type\": \"integer\"}, \"contains\": {\"const\": 7}, \"maxContains\": 2}", {"[7]", "[1, 7, 2, 7]"}, {"[1]", "[]", "[7, 7, 7]"}},
    {SCHEMA, "{\"type\": \"array\", \"prefixItems\": [{\"const\": 1}, {\"const\": 2}], \"items\": {\"const\": 3}, \"maxItems\": 3}", {"[1, 2]", "[1,2,3]"}, {"[1]", "[1,2,3,3]", "[2,1]"}},
    {SCHEMA, "{\"oneOf\": [{\"type\": \"integer\"}, {\"type\": \"number\", \"minimum\": 2}]}", {"1", "2.5"}, {"3", "1.5"}},
    {SCHEMA, "{\"$defs\": {\"tree\": {\"type\": \"object\", \"properties\": {\"v\": {\"type\": \"integer\"}, \"kids\": {\"type\": \"array\", \"items\": {\"$ref\": \"#/$defs/tree\"}}}, \"required\": [\"v\"]}}, \"$ref\": \"#/$defs/tree\"}",
     {"{\"v\":1}", "{\"v\":1,\"kids\":[{\"v\":2},{\"v\":3,\"kids\":[]}]}"}, {"{\"kids\":[]}", "{\"v\":1,\"kids\":[{}]}"}},
    {SCHEMA, "{\"type\": \"string\", \"format\": \"date\"}", {"\"2024-02-29\"", "\"2023-12-31\""}, {"\"2023-02-29\"", "\"2024-04-31\"", "\"2024-13-01\""}},
    {SCHEMA, "{\"not\": {\"type\": [\"string\", \"object\"]}, \"type\": [\"string\", \"null\", \"array\"]}", {"null", "[1]"}, {"\"\"", "{}"}},
    {SCHEMA, "{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"properties\": {\"a\": {\"type\": \"integer\"}}}", {"{\"a\": 1.0, \"b\": []}", "5", "{}"}, {"{\"a\": 1.5}"}},
    {SCHEMA, "{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"allOf\": [{\"properties\": {\"a\": true}}], \"unevaluatedProperties\": false}", {"{\"a\": 1}", "1"}, {"{\"b\": 1}"}},
    {SCHEMA, "{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"if\": {\"required\": [\"a\"]}, \"then\": {\"required\": [\"b\"]}, \"else\": {\"maxProperties\": 1}}",
     {"{\"a\":1,\"b\":2}", "{\"b\":2}", "3"}, {"{\"a\":1}", "{\"b\":1,\"c\":2}"}},
};

static void test_languages(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        struct grammar *g;
        check_ok(make(r->kind, r->source, &g));
        for (int k = 0; k < 6 && r->accept[k]; k++)
            if (judge(g, span_str(r->accept[k]), true) != 1)
                fail_msg("%s: should accept %s", r->source, r->accept[k]);
        for (int k = 0; k < 6 && r->reject[k]; k++)
            if (judge(g, span_str(r->reject[k]), true) != 0)
                fail_msg("%s: should reject %s", r->source, r->reject[k]);
        grammar_free(g);
    }
}

static void test_refusals(void **state)
{
    static const struct { enum kind kind; int code; const char *source, *says; } bad[] = {
        {GBNF, NUN_EUNSUP, "root ::= root \"a\" | \"b\"", "left recursion"},
        {GBNF, NUN_EUNSUP, "root ::= a \"x\"\na ::= \"\" b\nb ::= a?", "left recursion"},
        {GBNF, NUN_EFORMAT, "root ::= foo", "test:1:10: expected the name of a rule that exists"},
        {GBNF, NUN_EFORMAT, "foo ::= \"a\"", "no rule root"},
        {GBNF, NUN_EFORMAT, "root ::= \"a", "expected a closing \""},
        {GBNF, NUN_EFORMAT, "root ::= \"a\"\nroot ::= \"b\"", "stands twice"},
        {GBNF, NUN_EFORMAT, "root ::= \"a\"{3,2}", "from small to great"},
        {REGEX, NUN_EUNSUP, "(a)\\1", "back references"},
        {REGEX, NUN_EUNSUP, "(?=a)b", "not supported"},
        {REGEX, NUN_EUNSUP, "\\bword", "word boundaries"},
        {REGEX, NUN_EUNSUP, "a^b", "anchor in the middle"},
        {REGEX, NUN_EFORMAT, "(a", "a ( without )"},
        {REGEX, NUN_EFORMAT, "a)", "a ) without ("},
        {SCHEMA, NUN_EUNSUP, "{\"properties\": {\"x\": {\"frobnicate\": 1}}}", "test: #/properties/x/frobnicate: this keyword is not known"},
        {SCHEMA, NUN_EUNSUP, "{\"properties\": {\"x\": {\"$ref\": \"http://elsewhere/\"}}}", "#/properties/x/$ref: it points out of the document"},
        {SCHEMA, NUN_EUNSUP, "{\"type\": \"array\", \"uniqueItems\": true}", "uniqueItems needs items"},
        {SCHEMA, NUN_EUNSUP, "{\"type\": \"string\", \"format\": \"color\"}", "#/format: this format is not known"},
        {SCHEMA, NUN_EUNSUP, "{\"type\": \"string\", \"pattern\": \"(?=a)\"}", "#/pattern: pattern: at byte"},
        {SCHEMA, NUN_EUNSUP, "{\"type\": \"strnig\"}", "#/type: expected the name of a JSON type"},
        {SCHEMA, NUN_EUNSUP, "{\"not\": {\"propertyNames\": {\"maxLength\": 1}}}", "#/not/propertyNames: its negation"},
        {SCHEMA, NUN_EUNSUP, "{\"$schema\": \"http://json-schema.org/draft-04/schema#\"}", "this dialect is not known"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct grammar *g = NULL;
        check_fails(bad[i].code, bad[i].says, make(bad[i].kind, bad[i].source, &g));
        assert_null(g);
    }
}

/* ---- bounds ------------------------------------------------------------------------------------ */

static char *repeated(const char *part, size_t times)
{
    size_t n = strlen(part);
    char *s = mem_alloc(MEM_TEST, n * times + 1);
    assert_non_null(s);
    for (size_t i = 0; i < times; i++)
        memcpy(s + i * n, part, n);
    s[n * times] = '\0';
    return s;
}

/* A megabyte of one thing as a text, on a small stack. (As a source: tests/fuzz/hostile.def.) */
static void *hostile(void *arg)
{
    static const char *const texts[] = {"a", "[", "[{\"\":", "\"", " ", "1", "{\"a\":1,"};
    struct grammar *any;
    check_ok(make(SCHEMA, "{}", &any));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *s = repeated(texts[i], (1 << 20) / strlen(texts[i]));
        int rc = judge(any, span_str(s), true);
        assert_int_equal(rc, strcmp(texts[i], "1") == 0);
        mem_free(s);
    }
    grammar_free(any);
    return NULL;
}

static void test_hostile(void **state)
{
    pthread_attr_t attr;
    pthread_t thread;
    struct mem_stats before, after;
    mem_stats(MEM_TEXT, &before);
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, SMALL_STACK), 0);
    assert_int_equal(pthread_create(&thread, &attr, hostile, NULL), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
    mem_stats(MEM_TEXT, &after);
    assert_int_equal(after.live_bytes, before.live_bytes);
}

static void test_depth(void **state)
{
    size_t depth = LIMIT_OF(grammar_depth);
    struct grammar *g;
    char *open = repeated("[", 2 * depth);
    struct gram_run *r;
    check_ok(make(SCHEMA, "{}", &g));
    check_ok(gram_run_create(g, true, &r));
    size_t n = 0;
    while (n < 2 * depth && gram_run_feed(r, span_of(open + n, 1)) == 1)
        n++;
    assert_in_range(n, depth / 3, depth); /* an array is a few rules deep */
    char *close = repeated("]", n - 1); /* what was let in can be finished */
    assert_int_equal(gram_run_feed(r, span_of("0", 1)) == 1 || gram_run_feed(r, span_of("]", 1)) == 1, 1);
    mem_free(close);
    gram_run_free(r);
    grammar_free(g);
    mem_free(open);
}

/* A long text whose states never repeat: what is remembered is forgotten in time. */
static void test_memory(void **state)
{
    struct grammar *g;
    struct mem_stats s;
    char *text = repeated("x", 1 << 20);
    text[0] = text[(1 << 20) - 1] = '"';
    check_ok(make(SCHEMA, "{\"type\": \"string\", \"maxLength\": 1048574}", &g));
    assert_int_equal(judge(g, span_str(text), true), 1);
    text[(1 << 20) - 1] = 'x';
    assert_int_equal(judge(g, span_str(text), true), 0);
    mem_stats(MEM_TEXT, &s);
    assert_true(s.peak_bytes < (size_t)400 << 20);
    grammar_free(g);
    mem_free(text);
}

/* ---- tokens ------------------------------------------------------------------------------------ */

static bool allowed(const uint64_t *mask, int id)
{
    return mask[id / 64] >> (id % 64) & 1;
}

static void test_masks(void **state)
{
    const struct span words[] = {SPAN("{"), SPAN("{\"a"), SPAN("\""), SPAN("\xe2"), SPAN("\x82\xac"), SPAN("\": "), SPAN("1"), SPAN("}"), {"", 0}, SPAN("\"}"), SPAN("{")};
    struct gram_vocab *v;
    struct gram_run *r;
    struct grammar *g;
    const uint64_t *mask;
    check_ok(gram_vocab_create(words, sizeof words / sizeof *words, &v));
    check_ok(make(SCHEMA, "{\"type\": \"object\", \"properties\": {\"a\xe2\x82\xac\": {\"type\": \"integer\"}}, \"required\": [\"a\xe2\x82\xac\"]}", &g));
    check_ok(gram_run_create(g, false, &r));
    static const struct { const char *feed; uint64_t want; bool end; } steps[] = {
        {"", 0x403, false}, {"{\"a", 0x8, false}, {"\xe2", 0x10, false}, {"\x82\xac", 0x24, false}, {"\": ", 0x40, false}, {"1", 0xc0, false}, {"}", 0, true}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        assert_int_equal(gram_run_feed(r, span_str(steps[i].feed)), 1);
        check_ok(gram_run_mask(r, v, &mask));
        assert_int_equal(mask[0], steps[i].want);
        assert_int_equal(gram_run_may_end(r), steps[i].end);
        assert_int_equal(gram_run_must_end(r), steps[i].end);
        assert_false(allowed(mask, 8));
    }
    gram_run_free(r);
    grammar_free(g);
    gram_vocab_free(v);
}

/* The mask says what feeding each token says, in every state of a text. */
static void test_masks_are_feeding(void **state)
{
    static const char text[] = "{\"name\": \"a\\nb\xc3\xa9\", \"n\": [1, -20, 3.5e2], \"t\": true}";
    char bytes[256];
    struct span words[512];
    struct gram_vocab *v;
    struct gram_run *r;
    struct grammar *g;
    const uint64_t *mask;
    size_t n = 0;
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        words[n++] = span_of(&bytes[i], 1);
    }
    for (size_t i = 0; i + 4 < sizeof text; i++)
        words[n++] = span_of(text + i, 1 + i % 5);
    check_ok(gram_vocab_create(words, n, &v));
    check_ok(make(SCHEMA, "{}", &g));
    check_ok(gram_run_create(g, true, &r));
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        check_ok(gram_run_mask(r, v, &mask));
        for (size_t k = 0; k < n; k++) {
            struct gram_run *twin;
            check_ok(gram_run_twin(r, &twin));
            assert_int_equal(gram_run_feed(twin, words[k]), allowed(mask, (int)k));
            gram_run_free(twin);
        }
        assert_int_equal(gram_run_feed(r, span_of(text + i, 1)), 1);
    }
    assert_true(gram_run_may_end(r));
    gram_run_free(r);
    grammar_free(g);
    gram_vocab_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_languages), cmocka_unit_test(test_refusals), cmocka_unit_test(test_hostile), cmocka_unit_test(test_depth),
        cmocka_unit_test(test_memory), cmocka_unit_test(test_masks), cmocka_unit_test(test_masks_are_feeding)};
    return cmocka_run_group_tests_name("grammar", tests, NULL, NULL);
}
