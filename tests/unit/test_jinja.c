/* The template engine where no other people's cases are at hand: a dozen facts of the language, errors that name
 * their place, every bound, the deepest on a small stack, and every failing allocation. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "../sanitized.h"
#include "../torture.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/seam.h"
#include "formats/json.h"
#include "text/jinja.h"

static int render(struct span source, const char *context, struct buf *out)
{
    struct jinja *t = NULL;
    json_t *v = NULL;
    buf_init(out, MEM_TEST, LIMIT_OF(text_bytes));
    int rc = json_parse_span(span_str(context), "context", &v);
    if (rc == 0)
        rc = jinja_parse(source, "t", &t);
    if (rc == 0)
        rc = jinja_render(t, v, out);
    jinja_free(t);
    json_decref(v);
    return rc;
}

/* ---- the language ---------------------------------------------------------------------------------- */

static const struct { const char *source, *context, *expected; } facts[] = {
    {"{% for m in messages %}<{{ m.role }}>{{ m['content'] | trim }}{% endfor %}",
     "{\"messages\": [{\"role\": \"user\", \"content\": \" hi \"}, {\"role\": \"assistant\", \"content\": \"yo\\n\"}]}",
     "<user>hi<assistant>yo"},
    {"  {% if a %}\n  {{- b -}}  \n{% endif %}\nend\n", "{\"a\": 1, \"b\": 2}", "2end"},
    {"{% set ns = namespace(n=0) %}{% for x in v if x is odd %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}",
     "{\"v\": [1, 2, 3, 4, 5]}", "9"},
    {"{{ v | tojson }} {{ v.a | tojson(indent=2) }}", "{\"v\": {\"a\": [1, 2.0, \"<\\u00e9\\\"\"], \"b\": null}}",
     "{\"a\": [1, 2.0, \"<\xc3\xa9\\\"\"], \"b\": null} [\n  1,\n  2.0,\n  \"<\xc3\xa9\\\"\"\n]"},
    {"{{ x }} {{ 7 // 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 1 / 4 }} {{ 'a' ~ 1 ~ none }} {{ [1, 'b', true] }}", "{\"x\": 1e16}",
     "1e+16 3 2 1024 0.25 a1None [1, 'b', True]"},
    {"{% macro tag(name, open=true) %}<{{ '' if open else '/' }}{{ name }}>{% endmacro %}{{ tag('b') }}{{ tag('b', open=false) }}",
     "{}", "<b></b>"},
    {"{% for k, v in d.items() %}{{ loop.index }}{{ k }}={{ v }}{{ ',' if not loop.last }}{% else %}none{% endfor %}",
     "{\"d\": {\"x\": 1, \"y\": 2}}", "1x=1,2y=2"},
    {"{{ s[1:-1] }}{{ s[::-1] }}{{ s.split('l') }}{{ s | upper | replace('L', '1') }}", "{\"s\": \"hell\"}", "ellleh['he', '', '']HE11"},
    {"{% for x in [1, 2, 3, 4] %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 4 %}{% break %}{% endif %}{{ x }}{% endfor %}",
     "{}", "13"},
    {"{% generation %}{{ a }}{% endgeneration %}{# gone #}{% raw %}{{ a }}{% endraw %}", "{\"a\": 1}", "1{{ a }}"},
    {"{{ u is defined }}{{ u | default('d') }}{{ 'x' if u is defined else '-' }}{{ v.__class__ is defined }}", "{\"v\": \"\"}", "Falsed-False"},
    {"{{ tools | selectattr('type', 'equalto', 'f') | map(attribute='name') | join(', ') }}",
     "{\"tools\": [{\"type\": \"f\", \"name\": \"a\"}, {\"type\": \"g\", \"name\": \"b\"}, {\"type\": \"f\", \"name\": \"c\"}]}", "a, c"},
    {"{{ '%s-%03d' | format('x', 7) }} {{ 'na\xc3\xafve' | length }} {{ 'a' in 'cat' and 3 not in [1, 2] }}", "{}", "x-007 5 True"},
};

static void test_facts(void **state)
{
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct buf out;
        check_ok(render(span_str(facts[i].source), facts[i].context, &out));
        assert_string_equal(buf_cstr(&out), facts[i].expected);
        buf_free(&out);
    }
}

static int64_t moment(void) { return 86400 * 365; }

static void test_the_clock_is_the_seams(void **state)
{
    struct seam s = *seam_real();
    struct buf out;
    s.wall_s = moment;
    seam_set(&s);
    check_ok(render(SPAN("{{ strftime_now('%Y-%m') }}"), "{}", &out));
    seam_set(NULL);
    assert_string_equal(buf_cstr(&out), "1971-01");
    buf_free(&out);
}

/* ---- errors ------------------------------------------------------------------------------------------ */

static const struct { const char *source; int code; const char *place, *what; } mistakes[] = {
    {"a\n{% foo %}", NUN_EFORMAT, "t:2:4", "'foo'"},
    {"{{ x | nofilter }}", NUN_EFORMAT, "t:1:8", "nofilter"},
    {"{{ x is notest }}", NUN_EFORMAT, "t:1:9", "notest"},
    {"{{ x | map('nofilter') }}", NUN_EFORMAT, "t:1:8", "nofilter"},
    {"{% if x %}\n\nno end", NUN_EFORMAT, "t:3", "endif"},
    {"{{ (1, }}", NUN_EFORMAT, "t:1", ""},
    {"{{ 'open }}", NUN_EFORMAT, "t:1:4", "string"},
    {"{# open", NUN_EFORMAT, "t:1:1", "comment"},
    {"{% break %}", NUN_EFORMAT, "t:1:4", "loops"},
    {"{% include 'x' %}", NUN_EFORMAT, "t:1:4", "include"},
    {"{% extends 'x' %}", NUN_EFORMAT, "t:1:4", "extends"},
    {"{% import 'x' as y %}", NUN_EFORMAT, "t:1:4", "import"},
    {"{{ 99999999999999999999 }}", NUN_EFORMAT, "t:1:4", "64 bits"},
    {"\n\n{{ a.b.c }}", NUN_EFORMAT, "t:3:", "'a' is undefined"},
    {"{{ 1 / 0 }}", NUN_EFORMAT, "t:1:", "zero"},
    {"{{ 1 + 'a' }}", NUN_EFORMAT, "t:1:", ""},
    {"\n{{ raise_exception('roles must alternate') }}", NUN_EFORMAT, "t:2:", "roles must alternate"},
    {"{{ f() }}", NUN_EFORMAT, "t:1:", "'f' is undefined"},
};

static void test_errors_name_their_place(void **state)
{
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        struct buf out;
        check_fails(mistakes[i].code, mistakes[i].place, render(span_str(mistakes[i].source), "{}", &out));
        if (!strstr(nun_error(), mistakes[i].what))
            fail_msg("%s: expected \"...%s...\", found \"%s\"", mistakes[i].source, mistakes[i].what, nun_error());
        assert_int_equal(out.len, 0);
        buf_free(&out);
    }
}

/* ---- bounds -------------------------------------------------------------------------------------------- */

/* Render with a limit at exactly what is needed, and one below. */
static void at_limit(enum limit_id id, size_t needed, const char *source, const char *context)
{
    size_t usual = limits_table[id].value;
    struct buf out;
    limits_table[id].value = needed;
    check_ok(render(span_str(source), context, &out));
    buf_free(&out);
    limits_table[id].value = needed - 1;
    check_fails(NUN_ELIMIT, "", render(span_str(source), context, &out));
    assert_int_equal(out.len, 0);
    buf_free(&out);
    limits_table[id].value = usual;
}

static void test_limits(void **state)
{
    at_limit(LIMIT_template_bytes, 10, "{{ 1 + 1}}", "{}");
    at_limit(LIMIT_template_nodes, 6, "a{{ b + c }}", "{\"b\": 1, \"c\": 2}");
    at_limit(LIMIT_json_depth, 8, "{% if 1 %}{{ ((1)) }}{% endif %}", "{}");
    struct buf out;
    buf_init(&out, MEM_TEST, 4);
    struct jinja *t;
    json_t *none = json_object();
    check_ok(jinja_parse(SPAN("{{ 'abcd' }}{{ x }}"), "t", &t));
    check_ok(jinja_render(t, none, &out));
    buf_reset(&out);
    jinja_free(t);
    check_ok(jinja_parse(SPAN("{{ 'abcde' }}"), "t", &t));
    check_fails(NUN_ELIMIT, "t:1:1", jinja_render(t, none, &out));
    assert_true(out.len == 0 && buf_error(&out) == 0);
    jinja_free(t);
    json_decref(none);
    buf_free(&out);
}

static const struct { const char *source, *what; } endless[] = {
    {"{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}", "t:1:"},
    {"{% set r = range(9999) %}{% for a in r %}{% for b in r %}{% for c in r %}{% endfor %}{% endfor %}{% endfor %}", "t:1:"},
    {"{% for a in range(2097152 // 100000) %}{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}", "t:1:"},
    {"{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "levels"},
    {"{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}", ""},
    {"{% set ns = namespace(v=[1]) %}{% for i in range(99) %}{% set ns.v = ns.v + ns.v %}{% endfor %}", ""},
    {"{{ 'x' * 9999999999 }}", ""},
    {"{{ range(999999999) | list }}", "range"},
    {"{{ '%999999999d' % 1 }}", ""},
    {"{{ 'x' | center(999999999999) }}", ""},
    {"{{ 'x'.ljust(99999999999) }}", ""},
    {"{{ 'a,' * 99999 | replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa') }}", NULL}, /* may do */
    {"{{ 2 ** 9999999 }}", ""},
    {"{% for x in v recursive %}{{ loop(v) }}{% endfor %}", "levels"},
    {"{% set d = {} %}{% set _ = d.update({'d': d}) %}{{ d }}{{ d | tojson }}", NULL},
    {"{% set l = [] %}{% set _ = l.append(l) %}{{ l == l }}{{ [l] == [[l]] }}{{ l | tojson }}", NULL},
};

/* Each with a long text s and t, a long list v and w, a dict d, as often as a loop may go round: every one
 * must run into the bound of steps or of memory, not just take its time. */
static const char *const costly[] = {
    "s == t", "s < t", "s in t", "s ~ 'x'", "s | length", "s | upper", "s | title", "s | trim", "s.strip()", "s.lstrip('a')", "s[5000]", "s[::2]",
    "s[1:]", "s.find('b')", "s.rfind('b')", "s.count('b')", "s.split('b')", "s.split()", "s.splitlines()", "s.replace('b', 'c')",
    "s | replace('b', 'c')", "s | tojson", "s | e", "s | list", "s | int", "s | float", "s.startswith(t)", "s.endswith(t)", "s.isalpha()",
    "s.isdigit()", "s.lower()", "s.title()", "s.capitalize()", "s | capitalize", "s.zfill(3)", "s.center(99999)", "s | wordcount",
    "'%s' % s", "'%s' | format(s)", "'{}'.format(s)", "{s: 1}", "d[s]", "s is string", "s | reverse", "s | first", "s | last", "s | indent",
    "s | truncate(5)", "s | striptags", "v == w", "v < w", "v + w", "3.5 in v", "v | list", "v | join", "v | sum", "v | max", "v | min",
    "v | sort", "v | unique | list", "v | map('string') | list", "v | select('odd') | list", "v | reject('odd') | list", "v | reverse | list",
    "v | length", "v | first", "v | last", "v[::-1]", "v[1:]", "v | tojson", "v | string", "v | batch(2) | list", "v | slice(2) | list", "v.index(-1)",
    "v.count(1)", "v.copy()", "v * 2", "d == d2", "d.items()", "d.keys() | list", "d.values() | list", "d | dictsort", "d | tojson", "d.copy()",
    "d.get(s)", "d | list", "dict(d)", "namespace(d)", "d.update(d2)", "v | groupby(0)", "(v, s) == (w, t)", "s * 9", "loop.changed(v)", "loop.cycle(1, 2)",
    "s | urlencode", "s | random", "v | random", "s | wordwrap", "s.encode()", "s | center", "v | map(attribute='x') | list", "s.join(['a', 'b'])",
    "s.removeprefix(t)", "s.partition('b')", "s.rpartition('b')", "s.expandtabs()", "s.swapcase()", "s.casefold()", "v | pprint", "s.istitle()",
};

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_what_would_not_end(void **state)
{
    for (size_t i = 0; i < sizeof endless / sizeof endless[0]; i++) {
        struct buf out;
        struct mem_stats before, after;
        double began = cpu_seconds();
        mem_stats(MEM_TEXT, &before);
        int rc = render(span_str(endless[i].source), "{\"v\": [1, 2]}", &out);
        if (endless[i].what && (rc >= 0 || !strstr(nun_error(), endless[i].what)))
            fail_msg("%s: %d %s", endless[i].source, rc, nun_error());
        buf_free(&out);
        mem_stats(MEM_TEXT, &after);
        assert_int_equal(after.live_bytes, before.live_bytes);
        assert_true(after.peak_bytes < LIMIT_OF(template_memory) + LIMIT_OF(text_bytes));
        if (cpu_seconds() - began > 5 * SANITIZED_TIME)
            fail_msg("%s: %.1f s", endless[i].source, cpu_seconds() - began);
    }
}

static void test_every_filter_has_its_price(void **state)
{
    enum { MOST = 8192 };
    char source[MOST];
    for (size_t i = 0; i < sizeof costly / sizeof costly[0]; i++) {
        struct buf out;
        snprintf(source, sizeof source,
                 "{%% set s = 'a' * 200000 %%}{%% set t = 'a' * 200000 %%}{%% set v = range(50000) | list %%}{%% set w = range(50000) | list %%}"
                 "{%% set d = dict(v | map('string') | batch(2)) %%}{%% set d2 = dict(v | map('string') | batch(2)) %%}"
                 "{%% for i in range(20) %%}{%% for j in range(99999) %%}{%% set _ = %s %%}{%% endfor %%}{%% endfor %%}", costly[i]);
        double began = cpu_seconds();
        (void)render(span_str(source), "{}", &out);
        buf_free(&out);
        if (cpu_seconds() - began > 3 * SANITIZED_TIME)
            fail_msg("%s: %.1f s", costly[i], cpu_seconds() - began);
    }
}

/* ---- depth, on a small stack ------------------------------------------------------------------------------ */

/* Every bound of depth at its end, with the work inside that needs the most stack. */
static void *deep_on_small_stack(void *arg)
{
    static const char *const sources[] = {
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{% macro f(n) %}{% for x in [1] %}{% if true %}{{ [f(n)] | map('upper') | join }}{% endif %}{% endfor %}{% endmacro %}{{ f(0) }}",
        "{% for x in v recursive %}{{ [loop(v)] | list | tojson }}{% endfor %}",
        "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}",
        "{% set l = [] %}{% set _ = l.append(l) %}{{ l }}",
        "{% set l = [] %}{% set _ = l.append(l) %}{{ l | tojson }}",
        "{% set a = [] %}{% set b = [] %}{% set _ = a.append(b) %}{% set _ = b.append(a) %}{{ a == b }}",
        "{% set a = [] %}{% set b = [] %}{% set _ = a.append(b) %}{% set _ = b.append(a) %}{{ a < b }}",
        "{% set ns = namespace(v=1) %}{% for i in range(2000) %}{% set ns.v = [ns.v] %}{% endfor %}{{ ns.v }}",
        "{% set ns = namespace(v=1) %}{% for i in range(2000) %}{% set ns.v = {'a': ns.v} %}{% endfor %}{{ ns.v | tojson }}",
    };
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        struct buf out;
        (void)render(span_str(sources[i]), "{\"v\": [1]}", &out);
        buf_free(&out);
    }
    return arg;
}

static void test_depth_fits_a_small_stack(void **state)
{
    pthread_attr_t attr;
    pthread_t thread;
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, SMALL_STACK), 0);
    assert_int_equal(pthread_create(&thread, &attr, deep_on_small_stack, NULL), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
}

/* ---- memory ------------------------------------------------------------------------------------------------ */

static int render_fact(void *arg)
{
    size_t i = *(size_t *)arg;
    struct buf out;
    int rc = render(span_str(facts[i].source), facts[i].context, &out);
    if (rc == 0 && strcmp(buf_cstr(&out), facts[i].expected) != 0)
        rc = NUN_EFORMAT;
    buf_free(&out);
    return rc;
}

static void test_every_allocation_fails(void **state)
{
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++)
        assert_true(torture_run(facts[i].source, render_fact, &i, 1) > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts), cmocka_unit_test(test_the_clock_is_the_seams), cmocka_unit_test(test_errors_name_their_place),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_what_would_not_end),
        cmocka_unit_test(test_every_filter_has_its_price),
        cmocka_unit_test(test_depth_fits_a_small_stack), cmocka_unit_test(test_every_allocation_fails)};
    return cmocka_run_group_tests_name("jinja", tests, NULL, NULL);
}
