/* The dispatch table: one function pointer a kernel, filled with the scalar reference and then
 * overwritten by every instruction set that the mask enables. No kernel asks for the CPU itself.
 * Callers: the operations of graph/, and whatever in this folder drives tiles. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H
#include "kernels/attention.h"
#include "kernels/depthwise.h"
#include "kernels/cpu.h"
#include "kernels/gemm.h"
#include "kernels/recur.h"

#define KERNEL(name, ret, ...) typedef ret name##_fn(__VA_ARGS__);
#include "kernels/kernels.def"
#undef KERNEL

struct gemm_micro;

struct kernels {
    const struct gemm_micro *gemm[GEMM_FORMAT_COUNT]; /* gemm_micro.h */
#define KERNEL(name, ret, ...) name##_fn *name;
#include "kernels/kernels.def"
#undef KERNEL
};

/* Every instruction set's part, in files compiled with its flags. */
#define INIT(isa, function) void function(struct kernels *k);
#include "kernels/kernels_init.def"
#undef INIT

void kernels_init(struct kernels *k, unsigned mask);
/* The table for cpu_mask(). Made on first use; valid until the mask changes. */
const struct kernels *kernels_active(void);

#endif
