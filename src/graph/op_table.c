/* The table of operations, generated from ops.def. */
/* SPDX-License-Identifier: MIT */
#include "graph/op.h"

/* A row with OPF_NO_GRAD defines no rule; its slot is then NULL. tests/grad checks the pairing. */
#define OP(name, min_in, max_in, flags, doc) \
    extern void grad_##name(struct graph *g, struct g_tensor *t, struct g_tensor *dt) __attribute__((weak));
#include "graph/ops.def"
#undef OP

const struct op_info op_table[OP_COUNT] = {
#define OP(name, min_in, max_in, flags, doc) \
    {#name, min_in, max_in, flags, doc, shape_##name, cost_##name, run_##name, grad_##name},
#include "graph/ops.def"
#undef OP
};
