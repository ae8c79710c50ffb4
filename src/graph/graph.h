/* Graphs: values joined by block-sized operations. A builder makes nodes (sticky error, checked once
 * at the end), autograd appends the backward half, plan.h lays out memory, exec.h replays it.
 * Knows tensors and kernels; must not know files, models or requests.
 *
 * A value has one producer and dense row-major memory. A producer of several results writes them one
 * after the other into one buffer, and g_view names the parts. Weights are g_param: they live in the
 * model (or the trainer), carry their packed forms, and receive gradients in place. */
/* SPDX-License-Identifier: MIT */
#ifndef GRAPH_GRAPH_H
#define GRAPH_GRAPH_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "kernels/gemm.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

enum g_op {
#define OP(name, min_in, max_in, flags, doc) OP_##name,
#include "graph/ops.def"
#undef OP
    OP_COUNT
};

enum g_kind {
    G_OP,    /* made by an operation, memory from the plan */
    G_INPUT, /* set by the caller before each replay: t->data */
    G_CONST, /* bytes fixed when the graph is built, borrowed or in the graph's arena */
    G_PARAM, /* a weight */
    G_GRAD,  /* a weight's gradient accumulator */
    G_VIEW,  /* part of another value's buffer */
};

enum { G_MAX_IN = 8, G_MAX_SPANS = 4 };

/* A weight. Owned by the model or the trainer; graphs borrow it. */
struct g_param {
    const char *name;
    enum dtype dt;
    struct shape shape;
    const void *data;            /* values in dt, row-major */
    bool trainable;
    float *grad;                 /* same shape, float32; NULL when not trainable */
    const void *packed[2];       /* [0] for x W^T, [1] for dy W: panels of gemm.h; NULL: packed on each use */
    enum gemm_format packed_format;
    bool stacked;                /* [E,N,K]: matrices that are packed one by one */
    bool exact;                  /* products with it are float32, whatever the graph computes in */
    bool reversed;               /* the forward pass multiplies by W: packed[1] is wanted without learning too */
    bool statistic;              /* measured, not learned: a batch norm's mean and variance */
    int index;                   /* place in the owner's list */
};

/* Attributes, one member for the operations that have any. */
union g_attr {
    struct { enum act_kind act; } act;                  /* act, act_dx, glu, glu_grad, linear */
    struct { float eps, offset; } norm;                 /* rms_norm*, layer_norm*, l2_norm* */
    struct { int rotary_dims; bool interleaved, inverse; float mscale; } rope;
    struct { float scale, softcap; } attention;         /* attention*; softcap 0: none */
    struct { float scale, softcap; int layer, window; } cached; /* attention_cached; window 0: none */
    struct { float scale, softcap; int layer, kv_heads; } kept; /* keep_rows (layer only), attention_kept */
    struct { int keys; } window;                        /* window_spans */
    struct { bool b_transposed, a_transposed; } matmul;
    struct { int axis; int64_t from, to, full; } range; /* slice, slice_grad, concat (axis only) */
    struct { int perm[4]; } transpose;
    struct { float factor; } scale;                     /* scale */
    struct { float low, high; } clamp;                  /* clamp, clamp_dx */
    struct { float p; uint64_t stream; } dropout;
    struct { int patch; } unfold;
    struct { int stride, before, after, groups; enum act_kind act; } conv2d; /* conv2d*: padding before and after the map */
    struct { int kernel, stride, padding; } pool;       /* max_pool* */
    struct { int gh, gw, h, w; bool bicubic, align_corners, antialias; } interpolate;
    struct { int top_k, groups, top_groups; bool pairs; } route; /* pairs: a group's score is the sum of its two best */
    struct { float scale; bool renormalise; } route_weights; /* and its dx */
    struct { int experts; } order;                      /* expert_order */
    struct { bool transposed; } group;                  /* group_linear* */
    struct { int64_t at; int groups; float min, max; } recur; /* conv1d*, token_shift, selective_scan*, ssd_scan, rg_lru, wkv:
                                                           at: its floats in kv_row.state, -1: none carried */
    struct { int64_t rows; } rows;                      /* scatter_add, repeat_rows, sum_repeats, positions */
};

struct g_tensor {
    int id;                       /* index in graph->nodes */
    enum g_kind kind;
    enum g_op op;                 /* G_OP only */
    enum dtype dt;
    struct shape shape;
    struct g_tensor *in[G_MAX_IN];
    int n_in;
    union g_attr attr;
    struct g_param *param;        /* G_PARAM, G_GRAD */
    struct g_tensor *base;        /* G_VIEW, and reshape: whose buffer */
    size_t base_offset;           /* in bytes */
    const char *name;             /* for traces and --dump; may be NULL */
    bool needs_grad;
    struct g_tensor *grad;        /* during autograd */
    int segment;                  /* recompute segment, -1: none */
    bool backward;                /* appended by autograd */
    bool keep;                    /* an output: readable after a replay */
    struct g_tensor *origin;      /* a recomputed copy: of which node */
    void *data;                   /* resolved by the plan, or set by the caller for inputs */
};

struct graph {
    struct arena arena;
    struct g_tensor **nodes;
    int n_nodes, cap_nodes;
    enum gemm_format compute;     /* numeric format of linear and matmul */
    bool training;                /* dropout on, gradients wanted */
    int segment;                  /* current recompute segment of the builder, -1: none */
    int n_segments;
    int error;                    /* sticky */
    int threads;                  /* team size that scratch is sized for */
    /* Told of what comes out of each block of a stack while it is built; NULL: nobody. */
    void (*watch)(void *arg, const void *stack, int layer, struct g_tensor *x);
    void *watch_arg;
};

int graph_create(enum gemm_format compute, int threads, struct graph **out);
void graph_free(struct graph *g); /* NULL is fine */
int graph_error(const struct graph *g);

/* Leaves. All builders return NULL once the graph has an error, and accept NULL inputs then. */
struct g_tensor *g_input(struct graph *g, const char *name, enum dtype dt, struct shape shape);
struct g_tensor *g_const(struct graph *g, enum dtype dt, struct shape shape, const void *data, bool copy);
struct g_tensor *g_param(struct graph *g, struct g_param *p);
struct g_tensor *g_view(struct graph *g, struct g_tensor *base, size_t value_offset, struct shape shape);
struct g_tensor *g_name(struct g_tensor *t, const char *name); /* returns t */
/* Mark an output: it is computed and stays readable until the next replay. What no output and no
 * gradient needs is not run. Returns t. */
struct g_tensor *g_output(struct g_tensor *t);

/* One operation: inputs (NULL for an absent optional one), attributes. Shape rule and checks run here. */
struct g_tensor *g_op(struct graph *g, enum g_op op, const union g_attr *attr, int n_in, struct g_tensor *const *in);

/* The operations as functions (graph/build.c). */
struct g_tensor *g_linear(struct graph *g, struct g_tensor *x, struct g_tensor *w, struct g_tensor *bias,
                          struct g_tensor *residual, enum act_kind act);
struct g_tensor *g_matmul(struct graph *g, struct g_tensor *a, struct g_tensor *b, bool a_transposed, bool b_transposed);
struct g_tensor *g_embedding(struct graph *g, struct g_tensor *table, struct g_tensor *ids);
struct g_tensor *g_gather_rows(struct graph *g, struct g_tensor *x, struct g_tensor *idx);
struct g_tensor *g_scatter_rows(struct graph *g, struct g_tensor *base, struct g_tensor *idx, struct g_tensor *x);
struct g_tensor *g_concat(struct graph *g, int axis, int n, struct g_tensor *const *in);
struct g_tensor *g_slice(struct graph *g, struct g_tensor *x, int axis, int64_t from, int64_t to);
struct g_tensor *g_transpose(struct graph *g, struct g_tensor *x, const int perm[4]);
struct g_tensor *g_reshape(struct graph *g, struct g_tensor *x, struct shape shape);
struct g_tensor *g_repeat_rows(struct graph *g, struct g_tensor *x, int64_t times);
struct g_tensor *g_rms_norm(struct graph *g, struct g_tensor *x, struct g_tensor *w, float eps, float offset);
struct g_tensor *g_layer_norm(struct graph *g, struct g_tensor *x, struct g_tensor *w, struct g_tensor *b, float eps);
struct g_tensor *g_l2_norm(struct graph *g, struct g_tensor *x, float eps);
struct g_tensor *g_rope(struct graph *g, struct g_tensor *x, struct g_tensor *pos, struct g_tensor *inv_freq,
                        int rotary_dims, bool interleaved, float mscale);
struct g_tensor *g_attention(struct graph *g, struct g_tensor *q, struct g_tensor *k, struct g_tensor *v,
                             struct g_tensor *spans, float scale, float softcap);
/* The same with bias F32 [W,H,Tq,Tk] added to the scores: sequence b has that of b % W. */
struct g_tensor *g_attention_near(struct graph *g, struct g_tensor *q, struct g_tensor *k, struct g_tensor *v,
                                  struct g_tensor *spans, struct g_tensor *bias, float scale);
/* The same with sinks F32 [H], scores that no value answers (NULL: none). */
struct g_tensor *g_attention_sunk(struct graph *g, struct g_tensor *q, struct g_tensor *k, struct g_tensor *v,
                                  struct g_tensor *spans, struct g_tensor *sinks, float scale);
struct g_tensor *g_attention_cached_sunk(struct graph *g, struct g_tensor *q, struct g_tensor *k, struct g_tensor *v,
                                         struct g_tensor *state, struct g_tensor *sinks, int layer, float scale,
                                         float softcap, int window);
struct g_tensor *g_attention_cached(struct graph *g, struct g_tensor *q, struct g_tensor *k, struct g_tensor *v,
                                    struct g_tensor *state, int layer, float scale, float softcap, int window);
/* Rows kept beside a sequence (graph/kv.h): written once, looked at by every later step. */
struct g_tensor *g_keep_rows(struct graph *g, struct g_tensor *k, struct g_tensor *v, struct g_tensor *state, int layer);
struct g_tensor *g_attention_kept(struct graph *g, struct g_tensor *q, struct g_tensor *state, int layer, int kv_heads,
                                  float scale, float softcap);
struct g_tensor *g_window_spans(struct graph *g, struct g_tensor *spans, int window);
/* Recurrence; `where` and `at` as in op_recur.h: positions and -1, or the carried state and a place in it. */
struct g_tensor *g_conv1d(struct graph *g, struct g_tensor *x, struct g_tensor *w, struct g_tensor *bias,
                          struct g_tensor *where, int64_t at);
struct g_tensor *g_selective_scan(struct graph *g, struct g_tensor *const in[6], struct g_tensor *where, int64_t at);
struct g_tensor *g_ssd_scan(struct graph *g, struct g_tensor *const in[6], int groups, float dt_min, float dt_max,
                            struct g_tensor *where, int64_t at);
struct g_tensor *g_delta_scan(struct graph *g, struct g_tensor *const in[6], int groups, struct g_tensor *where, int64_t at);
struct g_tensor *g_rg_lru(struct graph *g, struct g_tensor *x, struct g_tensor *gate_x, struct g_tensor *gate_a,
                          struct g_tensor *param, struct g_tensor *where, int64_t at);
struct g_tensor *g_token_shift(struct graph *g, struct g_tensor *x, int n, struct g_tensor *const *mix,
                               struct g_tensor *where, int64_t at);
struct g_tensor *g_wkv(struct graph *g, struct g_tensor *k, struct g_tensor *v, struct g_tensor *decay,
                       struct g_tensor *first, struct g_tensor *where, int64_t at);
struct g_tensor *g_act(struct graph *g, struct g_tensor *x, enum act_kind act);
struct g_tensor *g_glu(struct graph *g, struct g_tensor *gate, struct g_tensor *up, enum act_kind act);
struct g_tensor *g_add(struct graph *g, struct g_tensor *x, struct g_tensor *y);
struct g_tensor *g_mul(struct graph *g, struct g_tensor *x, struct g_tensor *y);
struct g_tensor *g_scale(struct graph *g, struct g_tensor *x, float s);
struct g_tensor *g_clamp(struct graph *g, struct g_tensor *x, float low, float high);
struct g_tensor *g_positions(struct graph *g, struct g_tensor *pos, int times, struct g_tensor *slopes);
struct g_tensor *g_affine(struct graph *g, struct g_tensor *x, struct g_tensor *log_scale, struct g_tensor *shift);
struct g_tensor *g_dropout(struct graph *g, struct g_tensor *x, float p); /* x itself unless training and p > 0 */
struct g_tensor *g_softmax(struct graph *g, struct g_tensor *x);
struct g_tensor *g_unfold(struct graph *g, struct g_tensor *x, int patch);
struct g_tensor *g_interpolate(struct graph *g, struct g_tensor *table, int gh, int gw, int h, int w, bool bicubic);
struct g_tensor *g_mean_pool(struct graph *g, struct g_tensor *x);
struct g_tensor *g_cross_entropy(struct graph *g, struct g_tensor *logits, struct g_tensor *labels);
struct g_tensor *g_sigmoid_loss(struct graph *g, struct g_tensor *logits);
struct g_tensor *g_square_loss(struct graph *g, struct g_tensor *x, struct g_tensor *y, struct g_tensor *weights);

/* Recompute: what is built between begin and end is not kept for the backward half but made again
 * there (activation checkpointing, arXiv:1604.06174). Segments do not nest. */
void g_segment_begin(struct graph *g);
void g_segment_end(struct graph *g);

/* Append the gradient of the scalar `loss`, times `seed` (a scalar value, for loss scaling or
 * accumulation; NULL: 1). Parameters that are trainable get their gradients added into param->grad. */
int graph_backward(struct graph *g, struct g_tensor *loss, struct g_tensor *seed);

/* For gradient rules. */
bool g_wants(const struct g_tensor *t);                                           /* is a gradient needed? NULL: no */
void g_grad_add(struct graph *g, struct g_tensor *t, struct g_tensor *dt);        /* contribute dt to t's gradient */
struct g_tensor *g_grad_into(struct graph *g, struct g_tensor *param);            /* accumulator of a G_PARAM */

static inline int64_t g_last(const struct g_tensor *t) { return t->shape.n ? t->shape.d[t->shape.n - 1] : 1; }
int64_t g_count(const struct g_tensor *t);                 /* values */
static inline int64_t g_rows(const struct g_tensor *t) { return g_last(t) ? g_count(t) / g_last(t) : 0; }
size_t g_bytes(const struct g_tensor *t);
static inline float *g_f32(const struct g_tensor *t) { return t->data; }
static inline int32_t *g_i32(const struct g_tensor *t) { return t->data; }

#endif
