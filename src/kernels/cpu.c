/* CPU detection: CPUID says what the silicon has, XCR0 which registers the OS saves, and for AMX the
 * kernel is asked for the tile-data permission. A feature counts only when all agree. */
/* SPDX-License-Identifier: MIT */
#include "kernels/cpu.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/err.h"
#include "base/span.h"

const struct cpu_isa_row cpu_isa_rows[] = {
#define ISA(name, bit, needs, probe, doc) {#name, 1u << (bit), (needs), doc},
#include "kernels/isa.def"
#undef ISA
};
const size_t cpu_isa_count = sizeof(cpu_isa_rows) / sizeof(cpu_isa_rows[0]);

struct facts { /* CPUID words and XCR0, zero where absent */
    uint32_t leaf1_ecx, leaf7_ebx, leaf7_ecx, leaf7_edx, leaf7_1_eax;
    uint64_t xcr0;
};

static bool probe_always(const struct facts *f)
{
    return f != NULL;
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>

static bool has(uint64_t word, uint64_t bits)
{
    return (word & bits) == bits;
}
#define BIT(n) (UINT64_C(1) << (n))

static bool probe_avx2(const struct facts *f)
{
    return has(f->xcr0, BIT(1) | BIT(2)) && has(f->leaf1_ecx, BIT(12) | BIT(28) | BIT(29)) /* FMA AVX F16C */
        && has(f->leaf7_ebx, BIT(5) | BIT(3) | BIT(8));                                     /* AVX2 BMI1 BMI2 */
}
static bool probe_avx512(const struct facts *f)
{
    return probe_avx2(f) && has(f->xcr0, BIT(5) | BIT(6) | BIT(7))
        && has(f->leaf7_ebx, BIT(16) | BIT(17) | BIT(30) | BIT(31)); /* F DQ BW VL */
}
static bool probe_avx512bf16(const struct facts *f)
{
    return probe_avx512(f) && has(f->leaf7_1_eax, BIT(5));
}
static bool probe_avx512vnni(const struct facts *f)
{
    return probe_avx512(f) && has(f->leaf7_ecx, BIT(11));
}

/* Linux hands out the 8 KiB of tile state per thread only on request, once per process. */
static bool tiles_permitted(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
#if defined(SYS_arch_prctl)
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}
static bool probe_amxbf16(const struct facts *f)
{
    return probe_avx512bf16(f) && has(f->xcr0, BIT(17) | BIT(18)) && has(f->leaf7_edx, BIT(22) | BIT(24))
        && tiles_permitted();
}
static bool probe_amxint8(const struct facts *f)
{
    return probe_avx512vnni(f) && has(f->xcr0, BIT(17) | BIT(18)) && has(f->leaf7_edx, BIT(24) | BIT(25))
        && tiles_permitted();
}

static void read_facts(struct facts *f)
{
    unsigned a, b, c, d, sub = 0;
    memset(f, 0, sizeof(*f));
    if (__get_cpuid(1, &a, &b, &c, &d))
        f->leaf1_ecx = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        sub = a;
        f->leaf7_ebx = b;
        f->leaf7_ecx = c;
        f->leaf7_edx = d;
    }
    if (sub >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
        f->leaf7_1_eax = a;
    if (has(f->leaf1_ecx, BIT(27))) { /* OSXSAVE: xgetbv may be executed */
        uint32_t lo, hi;
        __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
        f->xcr0 = lo | (uint64_t)hi << 32;
    }
}
#else
#define probe_avx2 NULL
#define probe_avx512 NULL
#define probe_avx512bf16 NULL
#define probe_avx512vnni NULL
#define probe_amxbf16 NULL
#define probe_amxint8 NULL

static void read_facts(struct facts *f)
{
    memset(f, 0, sizeof(*f));
}
#endif

typedef bool probe_fn(const struct facts *f);
static probe_fn *const probes[] = {
#define ISA(name, bit, needs, probe, doc) probe,
#include "kernels/isa.def"
#undef ISA
};

static unsigned features;
static pthread_once_t features_once = PTHREAD_ONCE_INIT;
static _Atomic unsigned active_mask; /* 0: not set */

static void probe_all(void)
{
    struct facts f;
    read_facts(&f);
    for (size_t i = 0; i < cpu_isa_count; i++)
        if (probes[i] && probes[i](&f))
            features |= cpu_isa_rows[i].bit;
}

unsigned cpu_features(void)
{
    pthread_once(&features_once, probe_all);
    return features;
}

/* Rows whose name is `word`, or, when there is none, those that begin with it. */
static unsigned rows_named(struct span word)
{
    unsigned begin = 0;
    for (size_t i = 0; i < cpu_isa_count; i++) {
        struct span name = span_str(cpu_isa_rows[i].name);
        if (span_eq(name, word))
            return cpu_isa_rows[i].bit;
        if (word.len && span_starts(name, word))
            begin |= cpu_isa_rows[i].bit;
    }
    return begin;
}

static unsigned with_needs(unsigned bits)
{
    for (size_t i = 0; i < cpu_isa_count; i++)
        if (bits & cpu_isa_rows[i].bit)
            bits |= cpu_isa_rows[i].needs;
    return bits;
}

static unsigned without(unsigned mask, unsigned bits)
{
    for (size_t i = 0; i < cpu_isa_count; i++)
        if (cpu_isa_rows[i].needs & bits)
            bits |= cpu_isa_rows[i].bit;
    return (mask & ~bits) | CPU_scalar;
}

int cpu_mask_parse(const char *text, unsigned *mask)
{
    unsigned have = cpu_features(), m = text[0] == '-' ? have : CPU_scalar;
    char known[128];
    const char *p = text;
    do {
        size_t len = strcspn(p, ",");
        bool off = *p == '-';
        struct span word = span_of(p + off, len - off);
        unsigned bits = span_is(word, "all") ? have : rows_named(word);
        if (!bits) {
            cpu_mask_print(~0u, known, sizeof(known));
            return err_set(NUN_EARG, "instruction sets: expected names of %s, found \"%.*s\"", known,
                           (int)word.len, word.ptr);
        }
        if (!off && !(bits & have)) {
            cpu_mask_print(have, known, sizeof(known));
            return err_set(NUN_EARG, "instruction sets: this machine has %s, not \"%.*s\"", known,
                           (int)word.len, word.ptr);
        }
        m = off ? without(m, bits) : with_needs(m | (bits & have));
        p += len + (p[len] == ',');
    } while (*p);
    *mask = m;
    return 0;
}

void cpu_set_mask(unsigned mask)
{
    atomic_store(&active_mask, (mask & cpu_features()) | CPU_scalar);
}

unsigned cpu_mask(void)
{
    unsigned m = atomic_load(&active_mask);
    return m ? m : cpu_features();
}

void cpu_mask_print(unsigned mask, char *out, size_t cap)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < cpu_isa_count; i++) {
        if (!(mask & cpu_isa_rows[i].bit))
            continue;
        int n = snprintf(out + at, cap - at, "%s%s", at ? " " : "", cpu_isa_rows[i].name);
        if (n < 0 || (size_t)n >= cap - at)
            return;
        at += (size_t)n;
    }
}
