/* What this machine can do at most: arithmetic from registers, one core and all threads, and reading
 * memory. `bench` prints speeds as shares of these. Respects the active instruction-set mask. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_PEAK_H
#define KERNELS_PEAK_H
#include "base/pool.h"
#include "kernels/gemm.h"

enum peak_kind {
#define PEAK(name, unit, doc) PEAK_##name,
#include "kernels/peak.def"
#undef PEAK
    PEAK_COUNT
};

struct peak_row { const char *name, *unit, *doc; };
extern const struct peak_row peak_rows[PEAK_COUNT];

struct peaks {
    int threads;
    double one[PEAK_COUNT]; /* operations or bytes a second; 0: the machine has no such unit */
    double all[PEAK_COUNT]; /* all threads of the pool at once */
};

/* About a tenth of a second a row. */
int peaks_measure(struct pool *pool, struct peaks *out);

/* The unit that a matrix product in `format` should reach. */
enum peak_kind peak_of_format(const struct peaks *p, enum gemm_format format);

#endif
