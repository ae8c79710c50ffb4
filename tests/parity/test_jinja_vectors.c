/* Jinja against jinja2: llama.cpp's own cases, and real chat templates rendered with real conversations,
 * byte for byte. Skipped where the shared vectors are not there. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"

#include <jansson.h>
#include <stdio.h>

#include "base/file.h"
#include "base/limits.h"
#include "base/seam.h"
#include "text/jinja.h"

#define FOLDER "../shared/vectors/templates/"

static void need_vectors(void)
{
    if (!file_exists(FOLDER "goldens.jsonl"))
        skip();
}

static void read_all(const char *path, struct buf *out)
{
    buf_init(out, MEM_TEST, LIMIT_OF(text_bytes));
    check_ok(file_read(path, out));
}

static json_t *parse_json(struct span s)
{
    json_error_t e;
    json_t *v = json_loadb(s.ptr, s.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (!v)
        fail_msg("%s at line %d", e.text, e.line);
    return v;
}

/* Render; the text, or the error's sentence. */
static int render(struct span source, const char *place, const json_t *context, struct buf *out)
{
    struct jinja *t = NULL;
    buf_init(out, MEM_TEST, LIMIT_OF(text_bytes));
    int rc = jinja_parse(source, place, &t);
    if (rc == 0)
        rc = jinja_render(t, context, out);
    jinja_free(t);
    return rc;
}

static bool same_text(const struct buf *out, const json_t *expected)
{
    return span_eq(buf_view(out), span_of(json_string_value(expected), json_string_length(expected)));
}

/* Equal to one of the texts in `expected`. */
static bool compare(const char *name, struct span source, const json_t *context, const json_t *expected)
{
    struct buf out;
    int rc = render(source, name, context, &out);
    bool same = false;
    for (size_t i = 0; i < json_array_size(expected) && rc == 0 && !same; i++)
        same = same_text(&out, json_array_get(expected, i));
    if (rc != 0)
        fprintf(stderr, "%s: %s\n", name, nun_error());
    else if (!same)
        fprintf(stderr, "%s:\n  expected %s\n  found    %s\n", name, json_string_value(json_array_get(expected, 0)), buf_cstr(&out));
    buf_free(&out);
    return same;
}

/* Calls `each` for every line of a file of JSON values; counts those it says yes to. */
static size_t count_lines(const char *path, bool (*each)(const json_t *line, void *arg), void *arg, size_t *total)
{
    struct buf text;
    size_t good = 0;
    read_all(path, &text);
    *total = 0;
    for (struct span s = buf_view(&text); s.len;) {
        const char *nl = memchr(s.ptr, '\n', s.len);
        size_t n = nl ? (size_t)(nl - s.ptr) : s.len;
        json_t *line = parse_json(span_of(s.ptr, n));
        good += each(line, arg);
        ++*total;
        json_decref(line);
        s = span_from(s, n + 1);
    }
    buf_free(&text);
    return good;
}

static bool one_case(const json_t *line, void *arg)
{
    const json_t *source = json_object_get(line, "template");
    json_t *expected = json_pack("[O]", json_object_get(line, "expected"));
    bool same = compare(json_string_value(json_object_get(line, "name")),
                        span_of(json_string_value(source), json_string_length(source)), json_object_get(line, "context"), expected);
    json_decref(expected);
    return same;
}

static void test_cases(void **state)
{
    size_t total;
    need_vectors();
    size_t good = count_lines(FOLDER "mainline-test-jinja.jsonl", one_case, NULL, &total);
    assert_int_equal(total, 290);
    assert_int_equal(good, total);
}

/* Several upstream templates had one file name and one of their files is here: the texts of all are kept
 * under that name, in a list, and the file must give one of them. */
static bool gather(const json_t *line, void *arg)
{
    json_t *all = arg;
    char key[512];
    snprintf(key, sizeof key, "%s %s", json_string_value(json_object_get(line, "template")),
             json_string_value(json_object_get(line, "context")));
    json_t *entry = json_object_get(all, key);
    if (!entry) {
        entry = json_pack("{s:O, s:O, s:[]}", "template", json_object_get(line, "template"), "context",
                          json_object_get(line, "context"), "expected");
        json_object_set_new(all, key, entry);
    }
    return json_array_append(json_object_get(entry, "expected"), json_object_get(line, "expected")) == 0;
}

static bool one_golden(const json_t *entry, const json_t *contexts)
{
    const char *file = json_string_value(json_object_get(entry, "template")), *name = json_string_value(json_object_get(entry, "context"));
    char path[4096], place[4096];
    struct buf text;
    snprintf(path, sizeof path, FOLDER "%s", file);
    snprintf(place, sizeof place, "%s (%s)", file, name);
    read_all(path, &text);
    struct span source = buf_view(&text);
    json_t *wrapped = span_ends(span_str(file), SPAN(".json")) ? parse_json(source) : NULL;
    if (wrapped)
        source = span_str(json_string_value(json_object_get(wrapped, "chat_template")));
    bool good = compare(place, source, json_object_get(contexts, name), json_object_get(entry, "expected"));
    json_decref(wrapped);
    buf_free(&text);
    return good;
}

static int64_t noon(void) { return 1752148800; } /* 2025-07-10 12:00 UTC, when the goldens were made */

static void test_goldens(void **state)
{
    struct buf text;
    struct seam then = *seam_real();
    json_t *all = json_object(), *entry;
    const char *key;
    size_t total, good = 0;
    need_vectors();
    then.wall_s = noon;
    seam_set(&then);
    read_all(FOLDER "golden-contexts.json", &text);
    json_t *contexts = parse_json(buf_view(&text));
    assert_int_equal(count_lines(FOLDER "goldens.jsonl", gather, all, &total), 374);
    json_object_foreach(all, key, entry)
        good += one_golden(entry, contexts);
    total = json_object_size(all);
    json_decref(all);
    json_decref(contexts);
    buf_free(&text);
    seam_set(NULL);
    assert_int_equal(total, 339);
    assert_int_equal(good, total);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_goldens)};
    return cmocka_run_group_tests_name("jinja_vectors", tests, NULL, NULL);
}
