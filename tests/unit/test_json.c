/* JSON: the public conformance files, limits, places in errors, the table reader, the writer. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/rng.h"
#include "formats/json.h"

#define SUITE "../shared/vectors/json/JSONTestSuite/test_parsing"
#define EXTREME 1e308

static json_t *parsed(const char *text)
{
    json_t *v = NULL;
    assert_int_equal(json_parse_span(span_str(text), "t", &v), 0);
    return v;
}

static void refuses(const char *text, int code, const char *sentence)
{
    json_t *v = NULL;
    assert_int_equal(json_parse_span(span_str(text), "t", &v), code);
    assert_non_null(strstr(nun_error(), sentence));
}

/* Accepted by the suite, refused here on purpose: duplicates, and NUL in a key. */
static bool refused_on_purpose(const char *name)
{
    return strstr(name, "duplicated_key") || strstr(name, "escaped_null_in_key");
}

static void conformance(void **state)
{
    char **names = NULL, path[4096];
    size_t count = 0;
    if (!file_is_dir(SUITE))
        skip();
    assert_int_equal(file_list(SUITE, &names, &count), 0);
    assert_true(count > 300);
    for (size_t i = 0; i < count; i++) {
        struct buf text;
        json_t *v = NULL;
        buf_init(&text, MEM_TEST, 1 << 20);
        path_join(path, sizeof path, SUITE, names[i]);
        assert_int_equal(file_read(path, &text), 0);
        int rc = json_parse_span(buf_view(&text), names[i], &v);
        if ((names[i][0] == 'y' && rc != 0) != (names[i][0] == 'y' && refused_on_purpose(names[i])))
            fail_msg("%s: %s", names[i], nun_error());
        if (names[i][0] == 'n' && rc == 0)
            fail_msg("%s was accepted", names[i]);
        if (rc == 0)
            json_decref(v);
        buf_free(&text);
    }
    mem_free(names);
}

static void limits_and_places(void **state)
{
    char deep[300];
    json_t *v;
    size_t most = LIMIT_OF(json_depth);
    for (size_t depth = most - 1; depth <= most + 1; depth++) {
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        int rc = json_parse_span(span_of(deep, 2 * depth), "t", &v);
        assert_int_equal(rc, depth > most ? NUN_ELIMIT : 0);
        if (rc == 0)
            json_decref(v);
    }
    size_t bytes = LIMIT_OF(json_bytes);
    limits_table[LIMIT_json_bytes].value = 4;
    json_decref(parsed("[12]"));
    refuses("[123]", NUN_ELIMIT, "found 5");
    limits_table[LIMIT_json_bytes].value = bytes;
    size_t memory = LIMIT_OF(json_memory);
    for (most = 461; most <= 463; most++) { /* 256 + 64 + 128 for values, 14 of text before the last byte */
        limits_table[LIMIT_json_memory].value = most;
        json_t *tree = NULL;
        int rc = json_parse_span(SPAN("{\"ab\": [true]}\n"), "t", &tree);
        assert_int_equal(rc, most < 462 ? NUN_ELIMIT : 0);
        json_decref(tree);
    }
    limits_table[LIMIT_json_memory].value = memory;
    refuses("{\"a\": 1,\n \"a\": 2}", NUN_EFORMAT, "t:2:");
    refuses("[1, 2", NUN_EFORMAT, "t:1:");
    refuses("", NUN_EFORMAT, "t:1:");
    refuses("[NaN]", NUN_EFORMAT, "t:1:");
    refuses("\"\xff\"", NUN_EFORMAT, "t:1:");
}

static void big_integers_become_reals(void **state)
{
    json_t *v = parsed("[1000000000000000019884624838656, 9223372036854775807, -9223372036854775808, "
                       "9223372036854775808, \"1000000000000000019884624838656\"]");
    assert_true(json_real_value(json_array_get(v, 0)) == 1000000000000000019884624838656.0);
    assert_true(json_integer_value(json_array_get(v, 1)) == INT64_MAX);
    assert_true(json_integer_value(json_array_get(v, 2)) == INT64_MIN);
    assert_true(json_is_real(json_array_get(v, 3)));
    assert_int_equal(json_string_length(json_array_get(v, 4)), 31);
    json_decref(v);
}

static void files_may_use_pythons_words(void **state)
{
    char path[] = "/tmp/test_json_XXXXXX";
    static const char text[] = "{\"limit\": [0.0, Infinity, -Infinity], \"x\": NaN, \"s\": \"NaN\"}";
    close(mkstemp(path));
    assert_int_equal(file_write_durable(path, text, strlen(text)), 0);
    json_t *v = NULL;
    float limit[3];
    int n = 0;
    double x;
    assert_int_equal(json_load_file_limited(path, &v), 0);
    assert_int_equal(json_get_floats(v, "t", "limit", -INFINITY, INFINITY, limit, 3, &n), 0);
    assert_int_equal(n, 3);
    assert_true(isinf(limit[1]) && limit[1] > 0 && isinf(limit[2]) && limit[2] < 0);
    assert_int_equal(json_get_double(v, "t", "x", -1, 1, &x), NUN_EFORMAT);
    json_decref(v);
    unlink(path);
    assert_int_equal(json_load_file_limited(path, &v), NUN_EIO);
}

static void getters_name_the_place(void **state)
{
    json_t *v = parsed("{\"text_config\": {\"hidden_size\": \"big\", \"n\": 7, \"f\": 8.0}, \"a.b\": true, \"z\": null,"
                       " \"nul\": \"a\\u0000b\", \"eos\": [1, 2], \"one\": 3}");
    int64_t n = -1;
    int list[2], count = 0;
    bool yes = false;
    const char *s;
    assert_int_equal(json_get_int(v, "config.json", "text_config.hidden_size", 1, 1048576, &n), NUN_EFORMAT);
    assert_string_equal(nun_error(), "config.json: text_config.hidden_size: expected integer in [1, 1048576], "
                                     "found string \"big\"");
    assert_int_equal(json_get_int(v, "c", "text_config.n", 1, 6, &n), NUN_EFORMAT);
    assert_string_equal(nun_error(), "c: text_config.n: expected integer in [1, 6], found 7");
    assert_int_equal(n, -1);
    assert_int_equal(json_get_int(v, "c", "text_config.f", 1, 8, &n), 0);
    assert_int_equal(n, 8);
    assert_int_equal(json_get_int(v, "c", "text_config.none", 1, 8, &n), 1);
    assert_int_equal(json_get_int(v, "c", "one.two.three", 1, 8, &n), 1);
    assert_int_equal(json_get_int(v, "c", "z", 1, 8, &n), 1);
    assert_int_equal(json_get_bool(v, "c", "a.b", &yes), 0);
    assert_true(yes);
    assert_int_equal(json_get_string(v, "c", "nul", &s), NUN_EFORMAT);
    assert_int_equal(json_get_ints(v, "c", "eos", 0, 9, list, 2, &count), 0);
    assert_int_equal(list[1] + count, 4);
    assert_int_equal(json_get_ints(v, "c", "eos", 0, 1, list, 2, &count), NUN_EFORMAT);
    assert_non_null(strstr(nun_error(), "eos[1]"));
    assert_int_equal(json_get_ints(v, "c", "eos", 0, 9, list, 1, &count), NUN_EFORMAT);
    assert_int_equal(json_get_ints(v, "c", "one", 0, 9, list, 1, &count), 0);
    assert_int_equal(list[0] + count, 4);
    json_decref(v);
}

struct sample {
    int layers, act, ids[4], id_count;
    int64_t seed;
    float theta;
    double eps;
    bool tie;
    const char *name, *dtype;
    const json_t *scaling;
};

static const struct json_name acts[] = {{"silu", 1}, {"gelu", 2}, {NULL, 0}};

#define AT(member) .offset = offsetof(struct sample, member)
static const struct json_field rows[] = {
    {"num_hidden_layers", JSON_KIND_INT, AT(layers), .required = true, .min = 1, .max = 100},
    {"hidden_act", JSON_KIND_ENUM, AT(act), .names = acts, .def = 1},
    {"eos_token_id", JSON_KIND_INTS, AT(ids), .cap = 4, .count_offset = offsetof(struct sample, id_count)},
    {"seed", JSON_KIND_INT64, AT(seed), .def = 9},
    {"rope_theta", JSON_KIND_FLOAT, AT(theta), .def = 1e4},
    {"rms_norm_eps", JSON_KIND_DOUBLE, AT(eps), .min = 1e-9, .max = 1, .def = 1e-6},
    {"tie_word_embeddings", JSON_KIND_BOOL, AT(tie), .def = 1},
    {"model_type", JSON_KIND_STRING, AT(name), .def_string = "none"},
    {"dtype|torch_dtype", JSON_KIND_STRING, AT(dtype), .def_string = "float32"},
    {"rope_scaling", JSON_KIND_NODE, AT(scaling)},
};
#define ROWS rows, sizeof rows / sizeof *rows

static void count_unknown(void *arg, const char *key, const json_t *value)
{
    (*(int *)arg)++;
}

static void table_reader(void **state)
{
    int unknown = 0;
    static const char *const ignore[] = {"transformers_version", "_*", NULL};
    struct json_unknown loose = {.ignore = ignore, .report = count_unknown, .arg = &unknown};
    struct json_unknown strict = {.ignore = ignore, .strict = true};
    struct sample s;
    json_t *v = parsed("{\"num_hidden_layers\": 4, \"torch_dtype\": \"bfloat16\", \"rope_scaling\": {\"type\": \"x\"},"
                       " \"hidden_act\": \"gelu\", \"eos_token_id\": 5, \"tie_word_embeddings\": null,"
                       " \"rope_theta\": 5e5, \"_name\": 1, \"transformers_version\": 2, \"twist\": 0.5}");
    assert_int_equal(json_read(v, "c", "", ROWS, &s, &loose), 0);
    assert_int_equal(s.layers, 4);
    assert_int_equal(s.act, 2);
    assert_int_equal(s.ids[0] + 10 * s.id_count, 15);
    assert_int_equal(s.seed, 9);
    assert_true(s.theta == 5e5f && s.eps == 1e-6 && s.tie);
    assert_string_equal(s.name, "none");
    assert_string_equal(s.dtype, "bfloat16");
    assert_non_null(json_object_get(s.scaling, "type"));
    assert_int_equal(unknown, 1);
    assert_int_equal(json_read(v, "c", "", ROWS, &s, &strict), NUN_EUNSUP);
    assert_string_equal(nun_error(), "c: twist: expected only keys that are understood, found this one with 0.5");
    json_decref(v);
    v = parsed("{\"m\": {\"num_hidden_layers\": 101}}");
    assert_int_equal(json_read(v, "c", "m", ROWS, &s, NULL), NUN_EFORMAT);
    assert_string_equal(nun_error(), "c: m.num_hidden_layers: expected integer in [1, 100], found 101");
    assert_int_equal(json_read(v, "c", "", ROWS, &s, NULL), NUN_EFORMAT);
    assert_int_equal(json_read(v, "c", "q", ROWS, &s, NULL), NUN_EFORMAT);
    json_decref(v);
    v = parsed("{\"num_hidden_layers\": 1, \"hidden_act\": \"relu\"}");
    assert_int_equal(json_read(v, "c", "", ROWS, &s, NULL), NUN_EUNSUP);
    assert_string_equal(nun_error(), "c: hidden_act: expected one of \"silu\", \"gelu\", found string \"relu\"");
    json_decref(v);
}

/* A row may reach into an object, which is known only where the list says so. */
static void table_reader_digs(void **state)
{
    static const struct json_field inner[] = {{"tower.depth", JSON_KIND_INT, AT(layers), .min = 1, .max = 9, .def = 7}};
    static const char *const ignore[] = {"tower", NULL};
    struct json_unknown strict = {.ignore = ignore, .strict = true}, bare = {.strict = true};
    struct sample s;
    json_t *v = parsed("{\"tower\": {\"depth\": 3}}");
    assert_int_equal(json_read(v, "c", "", inner, 1, &s, &strict), 0);
    assert_int_equal(s.layers, 3);
    assert_int_equal(json_read(v, "c", "", inner, 1, &s, &bare), NUN_EUNSUP);
    json_decref(v);
    v = parsed("{\"tower\": {\"depth\": 30}}");
    assert_int_equal(json_read(v, "c", "", inner, 1, &s, &strict), NUN_EFORMAT);
    assert_string_equal(nun_error(), "c: tower.depth: expected integer in [1, 9], found 30");
    json_decref(v);
    v = parsed("{\"tower\": 5}");
    assert_int_equal(json_read(v, "c", "", inner, 1, &s, &strict), 0);
    assert_int_equal(s.layers, 7);
    json_decref(v);
}

static void writes(const char *text, enum json_style style, const char *want)
{
    struct buf out;
    json_t *v = parsed(text);
    buf_init(&out, MEM_TEST, 4096);
    assert_int_equal(json_write(v, style, &out), 0);
    assert_string_equal(buf_cstr(&out), want);
    buf_free(&out);
    json_decref(v);
}

static void writer_styles(void **state)
{
    writes("{\"b\":[1,2.0,1e-5],\"a\":{},\"c\":[]}", JSON_PRETTY,
           "{\n  \"b\": [\n    1,\n    2.0,\n    1e-05\n  ],\n  \"a\": {},\n  \"c\": []\n}\n");
    writes("{\"b\":[1,true],\"a\":null}", JSON_LINE, "{\"b\": [1, true], \"a\": null}");
    writes("{\"b\":[1,false],\"a\":\"x\"}", JSON_TIGHT, "{\"b\":[1,false],\"a\":\"x\"}");
    writes("\"\\u0001\\b\\t\\n\\u000b\\f\\r\\\"\\\\\\/\xed\x95\x9c\"", JSON_TIGHT,
           "\"\\u0001\\b\\t\\n\\u000b\\f\\r\\\"\\\\/\xed\x95\x9c\"");
}

static void reals_come_back(void **state)
{
    struct rng r = rng_at(5, 0);
    struct buf out;
    buf_init(&out, MEM_TEST, 4096);
    for (int i = 0; i < 20000; i++) {
        double x;
        uint64_t bits = rng_u64(&r);
        memcpy(&x, &bits, 8);
        if (!(fabs(x) < EXTREME))
            continue;
        buf_reset(&out);
        json_write_real(x, &out);
        json_t *v = parsed(buf_cstr(&out));
        assert_true(json_is_real(v) && json_real_value(v) == x);
        json_decref(v);
    }
    buf_reset(&out);
    json_write_real(0.1, &out);
    assert_string_equal(buf_cstr(&out), "0.1");
    buf_free(&out);
}

/* Every allocation of a parse-read-write round fails once: an error each time, and nothing leaks. */
static void survives_failing_allocations(void **state)
{
    struct mem_stats before, after;
    mem_stats(MEM_TAG_COUNT, &before);
    int rc = -1;
    for (uint64_t n = 1; rc != 0 && n < 10000; n++) {
        json_t *v = NULL;
        struct buf out;
        mem_fail_at(n, false);
        rc = json_parse_span(SPAN("{\"a\": [1, 2.5, 99999999999999999999], \"b\": \"text\"}"), "t", &v);
        buf_init(&out, MEM_TEST, 4096);
        if (rc == 0)
            rc = json_write(v, JSON_PRETTY, &out);
        mem_fail_at(0, false);
        buf_free(&out);
        json_decref(v);
        mem_stats(MEM_TAG_COUNT, &after);
        assert_int_equal(after.live_blocks, before.live_blocks);
    }
    assert_int_equal(rc, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conformance),
        cmocka_unit_test(limits_and_places),
        cmocka_unit_test(big_integers_become_reals),
        cmocka_unit_test(files_may_use_pythons_words),
        cmocka_unit_test(getters_name_the_place),
        cmocka_unit_test(table_reader), cmocka_unit_test(table_reader_digs),
        cmocka_unit_test(writer_styles),
        cmocka_unit_test(reals_come_back),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
