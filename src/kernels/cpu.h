/* What this CPU and its OS let kernels use, as a mask of isa.def's rows, and the part of it that the
 * user left on. Knows nothing of kernels. Callers: kernels.c, the cli (--isa), tests, bench. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_CPU_H
#define KERNELS_CPU_H
#include <stdbool.h>
#include <stddef.h>

enum cpu_isa {
#define ISA(name, bit, needs, probe, doc) CPU_##name = 1 << (bit),
#include "kernels/isa.def"
#undef ISA
};

struct cpu_isa_row { const char *name; unsigned bit, needs; const char *doc; };
extern const struct cpu_isa_row cpu_isa_rows[];
extern const size_t cpu_isa_count;

/* All that the machine and its OS enable; probed once. Always has CPU_scalar. */
unsigned cpu_features(void);

/* "avx512,-amx": names or beginnings of names, with '-' to switch off; "all". A list that starts
 * with '-' starts from everything. Names the machine lacks are an error. *mask gets the result. */
int cpu_mask_parse(const char *text, unsigned *mask);

/* The active mask: cpu_features() until set. Set it while no kernel runs. Bits that the machine lacks
 * are dropped, scalar is always kept. */
void cpu_set_mask(unsigned mask);
unsigned cpu_mask(void);

/* "scalar avx2 avx512" into out (always terminated). */
void cpu_mask_print(unsigned mask, char *out, size_t cap);

#endif
