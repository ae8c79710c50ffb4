/* Regexes of tokenizers: windows do not show in what is found (against PCRE2 on the whole text), and what would take
 * more than linear time is an error. */
/* SPDX-License-Identifier: MIT */
#include <pcre2.h>
#include <time.h>
#include "base/mem.h"
#include "base/rng.h"
#include "../check.h"
#include "../sanitized.h"
#include "text/tok_regex.h"

static const char *const real[] = {
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "\\p{N}{1,3}", "\\p{N}", "(?<=1)a+", "a*", "(?=!)", "a+b|a", "\n+$", "^a", "a\\K1", "\\b1", "1+\\z",
};

/* Runs of one thing, short and long ones. */
static size_t fill(char *out, size_t size, uint64_t seed)
{
    static const char *const units[] = {"a", " ", "\n", "1", "!", "\xc3\xa9", "\xe6\x97\xa5", "'s", "a1", "b"};
    struct rng r = rng_at(seed, 1);
    size_t n = 0;
    while (true) {
        const char *unit = units[rng_below(&r, sizeof units / sizeof *units)];
        size_t len = strlen(unit);
        for (uint32_t times = 1 + rng_below(&r, rng_below(&r, 8) ? 6 : 1800); times; times--) {
            if (n + len > size)
                return n;
            memcpy(out + n, unit, len);
            n += len;
        }
    }
}

static void compare(const char *pattern, struct span text)
{
    struct tok_regex *r;
    struct tok_match *m;
    int error;
    size_t where, from, to, at = 0;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &where, NULL);
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    assert_true(code && data);
    check_ok(tok_regex_compile(span_str(pattern), &r));
    check_ok(tok_match_create(&m));
    while (at <= text.len) {
        int rc = tok_regex_find(r, m, text, at, &from, &to);
        int want = pcre2_match(code, (PCRE2_SPTR)text.ptr, text.len, at, 0, data, NULL);
        const PCRE2_SIZE *v = pcre2_get_ovector_pointer(data);
        if (rc < 0 || (rc > 0) != (want >= 0))
            fail_msg("%s: from byte %zu of %zu: %d, expected %d: %s", pattern, at, text.len, rc, want, nun_error());
        if (rc == 0)
            break;
        if (from != v[0] || to != v[1])
            fail_msg("%s: from byte %zu: found [%zu, %zu), expected [%zu, %zu)", pattern, at, from, to, v[0], v[1]);
        for (at = to > at ? to : at + 1; at < text.len && ((unsigned char)text.ptr[at] & 0xc0) == 0x80;)
            at++;
    }
    tok_match_free(m);
    tok_regex_free(r);
    pcre2_match_data_free(data);
    pcre2_code_free(code);
}

static void test_windows_do_not_show(void **state)
{
    enum { BYTES = 6000 };
    char text[BYTES];
    for (uint64_t seed = 0; seed < 40; seed++) {
        size_t n = fill(text, seed % 4 ? BYTES : BYTES / 20, seed);
        for (size_t i = 0; i < sizeof real / sizeof *real; i++)
            compare(real[i], span_of(text, n));
    }
}

/* What takes quadratic or exponential time in an engine of this kind, and a text of one unit and an end. */
static const struct { const char *pattern, *unit, *end; } hostile[] = {
    {"a+b", "a", ""}, {"a+b|a", "a", ""}, {"(?:a|aa)+b", "a", ""}, {"(a+)+$", "a", "b"}, {"(a*)*b", "a", ""}, {"[^\\n]+\\n", "a", ""},
    {"\\s+x", " ", ""}, {".*.*=.*;", "x=", ""}, {"(?:a?){40}a{40}", "a", ""}, {"(x+x+)+y", "x", ""},
    {"\\p{L}*1|.", "\xc3\xa9", ""}, {"(?:(?:a|a)*)*c", "a", ""}, {"a{1,900}{1,60}b", "a", ""}, {"(?<=\\n)a|a*b", "a", ""},
};

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_linear_or_refused(void **state)
{
    enum { BYTES = 1 << 20 };
    char *text = mem_alloc(MEM_TEST, BYTES);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct tok_regex *r;
        struct tok_match *m;
        size_t len = strlen(hostile[i].unit), n = BYTES / len * len - len, from, to = 0;
        for (size_t k = 0; k < n; k++)
            text[k] = hostile[i].unit[k % len];
        memcpy(text + n, hostile[i].end, strlen(hostile[i].end));
        struct span whole = span_of(text, n + strlen(hostile[i].end));
        int rc = tok_regex_compile(span_str(hostile[i].pattern), &r);
        if (rc < 0)
            continue;
        check_ok(tok_match_create(&m));
        double began = cpu_seconds();
        for (size_t at = 0; at <= whole.len && (rc = tok_regex_find(r, m, whole, at, &from, &to)) > 0;)
            at = to > at ? to : at + 1;
        if (rc != 0 && rc != 1 && rc != NUN_ELIMIT)
            fail_msg("%s: %d %s", hostile[i].pattern, rc, nun_error());
        if (cpu_seconds() - began > 5 * SANITIZED_TIME)
            fail_msg("%s: %.1f s", hostile[i].pattern, cpu_seconds() - began);
        tok_match_free(m);
        tok_regex_free(r);
    }
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_windows_do_not_show), cmocka_unit_test(test_linear_or_refused)};
    return cmocka_run_group_tests_name("tok_regex", tests, NULL, NULL);
}
