/* What the recurrent operations share: walking the runs of consecutive tokens, with the state that each
 * continues. Included by op_recur.c, op_conv1d.c, op_scan.c, op_rglru.c and op_wkv.c only.
 *
 * The second input of such an operation says where sequences begin. It is either positions I32 [T] (a
 * sequence begins with every 0, states are the operation's own scratch and forgotten), or the state of
 * attention_cached (graph/kv.h), and then states are carried from step to step in kv_row.state, from
 * float attr.recur.at on. In both a position that does not follow its predecessor has no meaning: its
 * rows are NaN. Padding rows are zero. */
/* SPDX-License-Identifier: MIT */
#ifndef GRAPH_OP_RECUR_H
#define GRAPH_OP_RECUR_H
#include "graph/kv.h"
#include "graph/op_shape.h"

struct recur {
    const struct g_tensor *seq;  /* the second input */
    int64_t at;                  /* attr.recur.at */
    float *own;                  /* a state in scratch, for positions */
    /* This thread's part: columns [lo, hi) of each of `rows` rows of a state, `width` wide. */
    int state_rows;
    size_t width, lo, hi;
    /* And of the result's rows; where there is nothing to compute they are filled. */
    float *y;
    size_t y_width, y_lo, y_hi;
    /* Set by recur_next: tokens [from, to) continue `state`; `first`: they begin the sequence. */
    int from, to;
    float *state;
    bool first;
};

/* The next run; its state is zero where it is the first. false: no more. Begin with from = to = 0. */
bool recur_next(struct recur *r);

/* All other inputs that are there are float32. */
int recur_floats(const struct g_tensor *t);
/* The second input is positions of as many rows as input 0 has, or a carried state. */
int recur_shape(const struct g_tensor *t);
/* Floats of scratch for a state of `floats`, which carried ones do not need. */
size_t recur_scratch(const struct g_tensor *t, size_t floats);

static inline const struct g_tensor *recur_seq(const struct g_tensor *t) { return t->in[1]; }
static inline int64_t recur_rows(const struct g_tensor *t) { return g_rows(t->in[0]); }

/* A walk over the usual layout: a state of `rows` rows, as wide as the result. */
struct recur recur_begin(const struct g_tensor *t, float *own, int state_rows, struct op_range mine);

/* The position of row i, for walking backwards; begins[i]: a sequence begins there. */
static inline bool recur_begins(const int32_t *pos, int64_t i) { return i == 0 || pos[i] != pos[i - 1] + 1; }

#endif
