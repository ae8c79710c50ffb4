/* Graph nodes: leaves, views and the one function that makes an operation. Knows the table of
 * operations, not what any of them computes. Called by build.c, autograd.c and the op_*.c rules. */
/* SPDX-License-Identifier: MIT */
#include "graph/graph.h"

#include <string.h>

#include "base/ck.h"
#include "base/err.h"
#include "base/limits.h"
#include "graph/op.h"

int graph_create(enum gemm_format compute, int threads, struct graph **out)
{
    *out = NULL;
    struct graph *g = mem_calloc(MEM_GRAPH, 1, sizeof *g);
    if (!g)
        return NUN_ENOMEM;
    arena_init(&g->arena, MEM_GRAPH, 0);
    g->compute = compute;
    g->threads = threads > 0 ? threads : 1;
    g->segment = -1;
    *out = g;
    return 0;
}

void graph_free(struct graph *g)
{
    if (!g)
        return;
    arena_free(&g->arena);
    mem_free(g->nodes);
    mem_free(g);
}

int graph_error(const struct graph *g)
{
    return g->error;
}

static struct g_tensor *fail(struct graph *g, int code)
{
    if (!g->error)
        g->error = code;
    return NULL;
}

static struct g_tensor *node_new(struct graph *g, enum g_kind kind)
{
    if (g->error)
        return NULL;
    if (limit_check(LIMIT_graph_nodes, (size_t)g->n_nodes + 1, "graph") < 0)
        return fail(g, NUN_ELIMIT);
    if (g->n_nodes == g->cap_nodes) {
        int cap = g->cap_nodes ? 2 * g->cap_nodes : 256;
        void *p = mem_realloc(MEM_GRAPH, g->nodes, (size_t)cap * sizeof *g->nodes);
        if (!p)
            return fail(g, NUN_ENOMEM);
        g->nodes = p;
        g->cap_nodes = cap;
    }
    struct g_tensor *t = arena_alloc(&g->arena, sizeof *t);
    if (!t)
        return fail(g, NUN_ENOMEM);
    t->id = g->n_nodes;
    t->kind = kind;
    t->segment = g->segment;
    g->nodes[g->n_nodes++] = t;
    return t;
}

int64_t g_count(const struct g_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->shape.n; i++)
        n *= t->shape.d[i];
    return n;
}

size_t g_bytes(const struct g_tensor *t)
{
    size_t bytes = 0;
    if (dtype_bytes(t->dt, (size_t)g_count(t), &bytes) < 0)
        return 0;
    return bytes;
}

struct g_tensor *g_input(struct graph *g, const char *name, enum dtype dt, struct shape shape)
{
    struct g_tensor *t = node_new(g, G_INPUT);
    if (!t)
        return NULL;
    t->name = name;
    t->dt = dt;
    t->shape = shape;
    return t;
}

struct g_tensor *g_const(struct graph *g, enum dtype dt, struct shape shape, const void *data, bool copy)
{
    struct g_tensor *t = node_new(g, G_CONST);
    if (!t)
        return NULL;
    t->dt = dt;
    t->shape = shape;
    t->data = (void *)(uintptr_t)data;
    if (copy) {
        t->data = arena_alloc(&g->arena, g_bytes(t));
        if (!t->data)
            return fail(g, NUN_ENOMEM);
        memcpy(t->data, data, g_bytes(t));
    }
    return t;
}

struct g_tensor *g_param(struct graph *g, struct g_param *p)
{
    if (g->error)
        return NULL;
    if (!p)
        return fail(g, err_set(NUN_EARG, "graph: a weight that the model needs is absent"));
    struct g_tensor *t = node_new(g, G_PARAM);
    if (!t)
        return NULL;
    t->name = p->name;
    t->dt = p->dt;
    t->shape = p->shape;
    t->param = p;
    t->data = (void *)(uintptr_t)p->data;
    t->needs_grad = p->trainable && g->training;
    return t;
}

struct g_tensor *g_view(struct graph *g, struct g_tensor *base, size_t value_offset, struct shape shape)
{
    struct g_tensor *t = base ? node_new(g, G_VIEW) : NULL;
    if (!t)
        return NULL;
    t->dt = base->dt;
    t->shape = shape;
    t->base = base;
    if (dtype_bytes(t->dt, value_offset, &t->base_offset) < 0)
        return fail(g, NUN_EARG);
    if (!ck_range(t->base_offset, g_bytes(t), g_bytes(base)))
        return fail(g, err_set(NUN_EARG, "graph: a view of %zu bytes at %zu, but %s has %zu", g_bytes(t),
                               t->base_offset, op_table[base->op].name, g_bytes(base)));
    return t;
}

struct g_tensor *g_reshape(struct graph *g, struct g_tensor *x, struct shape shape)
{
    if (!x)
        return NULL;
    struct g_tensor *t = g_view(g, x, 0, shape);
    if (!t)
        return NULL;
    if (g_count(t) != g_count(x)) {
        char a[SHAPE_TEXT], b[SHAPE_TEXT];
        return fail(g, err_set(NUN_EARG, "reshape: %s has another count of values than %s",
                               shape_format(&x->shape, a), shape_format(&shape, b)));
    }
    t->op = OP_reshape;
    t->in[0] = x;
    t->n_in = 1;
    t->needs_grad = x->needs_grad;
    return t;
}

struct g_tensor *g_name(struct g_tensor *t, const char *name)
{
    if (t)
        t->name = name;
    return t;
}

struct g_tensor *g_output(struct g_tensor *t)
{
    if (t)
        t->keep = true;
    return t;
}

static int node_inputs(struct graph *g, struct g_tensor *t, int n_in, struct g_tensor *const *in)
{
    const struct op_info *op = &op_table[t->op];
    if (n_in < op->min_in || n_in > op->max_in)
        return err_set(NUN_EARG, "%s: takes %d to %d inputs, got %d", op->name, op->min_in, op->max_in, n_in);
    t->n_in = n_in;
    for (int i = 0; i < n_in; i++) {
        t->in[i] = in[i];
        if (in[i] && in[i]->needs_grad && !(op->flags & OPF_NO_GRAD))
            t->needs_grad = true;
    }
    return op->shape(t);
}

struct g_tensor *g_op(struct graph *g, enum g_op op, const union g_attr *attr, int n_in, struct g_tensor *const *in)
{
    if (g->error)
        return NULL;
    for (int i = 0; i < op_table[op].min_in && i < n_in; i++)
        if (!in[i])
            return fail(g, err_set(NUN_EARG, "%s: input %d is absent", op_table[op].name, i));
    struct g_tensor *t = node_new(g, G_OP);
    if (!t)
        return NULL;
    t->op = op;
    if (attr)
        t->attr = *attr;
    int rc = node_inputs(g, t, n_in, in);
    if (rc < 0)
        return fail(g, rc);
    size_t count;
    if (shape_count(&t->shape, &count) < 0)
        return fail(g, err_at(NUN_EARG, "%s", op_table[op].name));
    return t;
}

void g_segment_begin(struct graph *g)
{
    g->segment = g->n_segments++;
}

void g_segment_end(struct graph *g)
{
    g->segment = -1;
}
