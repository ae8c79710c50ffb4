/* Hashes and random numbers: published known answers, moments, and the shuffle as a bijection. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"
#include <math.h>
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"

/* The known-answer vectors of Philox4x32-10 that its authors publish with Random123. */
static void test_philox(void **state)
{
    static const struct {
        uint64_t seed, stream, block;
        uint32_t out[4];
    } known[] = {
        {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {~0ull, ~0ull, ~0ull, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        philox4x32(known[i].seed, known[i].stream, known[i].block, out);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
}

static void test_draws_are_a_function_of_the_index(void **state)
{
    struct rng a = rng_at(7, 3), b = a;
    uint32_t word[4];
    philox4x32(7, 3, 2, word);
    for (int i = 0; i < 10; i++)
        rng_u32(&a);
    assert_int_equal(rng_u32(&a), word[2]);
    b.index = 11;
    assert_int_equal(rng_u32(&b), word[3]);
    assert_int_equal(b.index, 12);
    rng_normal(&b);
    assert_int_equal(b.index, 14);
}

static void test_moments(void **state)
{
    enum { COUNT = 200000 };
    struct rng r = rng_at(1, 0);
    double sum = 0, normal = 0, square = 0, fourth = 0;
    for (int i = 0; i < COUNT; i++) {
        float u = rng_float(&r);
        double d = rng_double(&r), z = rng_normal(&r);
        assert_true(u >= 0 && u < 1 && d >= 0 && d < 1 && isfinite(z));
        sum += u + d;
        normal += z;
        square += z * z;
        fourth += z * z * z * z;
    }
    /* five standard errors each */
    assert_true(fabs(sum / COUNT - 1.0) < 5 * sqrt(1.0 / 6 / COUNT));
    assert_true(fabs(normal / COUNT) < 5 / sqrt(COUNT));
    assert_true(fabs(square / COUNT - 1) < 5 * sqrt(2.0 / COUNT));
    assert_true(fabs(fourth / COUNT - 3) < 5 * sqrt(96.0 / COUNT));
}

static void test_below(void **state)
{
    enum { FACES = 7, COUNT = 70000 };
    struct rng r = rng_at(2, 0);
    int seen[FACES] = {0};
    double chi2 = 0;
    for (int i = 0; i < COUNT; i++)
        seen[rng_below(&r, FACES)]++;
    for (int i = 0; i < FACES; i++)
        chi2 += (seen[i] - COUNT / FACES) * (double)(seen[i] - COUNT / FACES) / (COUNT / FACES);
    assert_true(chi2 < 35); /* 6 degrees of freedom: p < 1e-5 */
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rng_below(&r, 1), 0);
        assert_true(rng_below(&r, 0x80000001u) <= 0x80000000u);
        int v = rng_range(&r, -2, 2);
        assert_true(v >= -2 && v <= 2);
        assert_int_equal(rng_range(&r, 5, 5), 5);
        rng_range(&r, INT32_MIN, INT32_MAX);
    }
}

static void test_permutation(void **state)
{
    static const uint64_t sizes[] = {1, 2, 3, 5, 16, 17, 100, 1000, 4096, 65537};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint64_t n = sizes[s];
        unsigned char *seen = mem_calloc(MEM_TEST, n, 1);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t at = rng_permute(9, 1, n, i);
            if (at >= n || seen[at]++)
                fail_msg("n %llu: %llu goes to %llu a second time or outside", (unsigned long long)n,
                         (unsigned long long)i, (unsigned long long)at);
        }
        mem_free(seen);
    }
    assert_true(rng_permute(9, 1, UINT64_MAX, 5) < UINT64_MAX);
}

static void test_permutation_shuffles(void **state)
{
    int fixed = 0, same = 0, neighbours = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t at = rng_permute(9, 1, 1000, i);
        fixed += at == i;
        same += at == rng_permute(9, 2, 1000, i);
        neighbours += rng_permute(9, 1, 1000, (i + 1) % 1000) == (at + 1) % 1000;
    }
    assert_true(fixed < 10 && same < 10 && neighbours < 10); /* each is expected once */
}

static void test_digest(void **state)
{
    static const char *const empty = "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8";
    static const char *const abc = "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319";
    struct digest d, whole;
    struct digest_state s;
    unsigned char bytes[1280];
    char hex[65];
    digest_of("", 0, &d);
    digest_hex(&d, hex);
    assert_string_equal(hex, empty);
    digest_of("abc", 3, &d);
    digest_hex(&d, hex);
    assert_string_equal(hex, abc);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)i;
    digest_of(bytes, sizeof bytes, &whole);
    for (size_t cut = 0; cut <= sizeof bytes; cut += 61) {
        digest_begin(&s);
        digest_update(&s, bytes, cut);
        digest_update(&s, bytes + cut, sizeof bytes - cut);
        digest_end(&s, &d);
        assert_memory_equal(d.bytes, whole.bytes, sizeof d.bytes);
    }
}

static void test_hash64(void **state)
{
    unsigned char bytes[80] = {0};
    int flips = 0;
    uint64_t last = ~0ull;
    for (size_t n = 0; n <= sizeof bytes; n++) { /* zeros of different length differ */
        uint64_t h = hash64(bytes, n, 1);
        assert_true(h != last);
        last = h;
    }
    assert_true(hash64(bytes, 8, 1) != hash64(bytes, 8, 2));
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) { /* avalanche: one bit turns about 32 */
        uint64_t h = hash64(bytes, sizeof bytes, 1);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        int turned = __builtin_popcountll(h ^ hash64(bytes, sizeof bytes, 1));
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_in_range(turned, 8, 56);
        flips += turned;
    }
    assert_in_range(flips / (8 * sizeof bytes), 30, 34);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox),  cmocka_unit_test(test_draws_are_a_function_of_the_index),
        cmocka_unit_test(test_moments), cmocka_unit_test(test_below),
        cmocka_unit_test(test_permutation), cmocka_unit_test(test_permutation_shuffles),
        cmocka_unit_test(test_digest),  cmocka_unit_test(test_hash64),
    };
    return cmocka_run_group_tests_name("base_rng", tests, NULL, NULL);
}
