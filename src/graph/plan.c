/* The memory planner. Every buffer has an interval [made, last read] in step numbers; buffers are
 * placed largest first at the lowest offset where no overlapping interval lies (Pisarchyk and Lee,
 * 2020, arXiv:2001.03288, "greedy by size"). */
/* SPDX-License-Identifier: MIT */
#include "graph/plan.h"

#include <stdlib.h>

#include "base/ck.h"
#include "base/err.h"
#include "graph/op.h"

enum { ALIGN = 64 };

struct buffer {
    struct g_tensor *t;
    size_t bytes, offset;
    int from, to; /* steps */
};

struct planning {
    struct graph *g;
    struct plan *p;
    bool *live;       /* [n_nodes] */
    int *owner;       /* [n_nodes] index of the buffer that a node's values lie in, -1: not ours */
    struct buffer *buffers;
    int n_buffers;
};

static struct g_tensor *root_of(struct g_tensor *t)
{
    while (t->kind == G_VIEW)
        t = t->base;
    return t;
}

static void mark_live(struct planning *pl)
{
    struct graph *g = pl->g;
    for (int i = g->n_nodes - 1; i >= 0; i--) {
        struct g_tensor *t = g->nodes[i];
        if (t->keep || (t->kind == G_OP && (op_table[t->op].flags & OPF_INTO)))
            pl->live[i] = true;
        if (!pl->live[i])
            continue;
        if (t->kind == G_VIEW)
            pl->live[t->base->id] = true;
        for (int k = 0; k < t->n_in; k++)
            if (t->in[k])
                pl->live[t->in[k]->id] = true;
    }
}

/* The first input's buffer when this operation may overwrite it: it dies here and is exactly as large. */
static int inplace_owner(struct planning *pl, const struct g_tensor *t, int step, const int *last_read)
{
    if (!(op_table[t->op].flags & OPF_INPLACE))
        return -1;
    struct g_tensor *x = t->in[0];
    int b = pl->owner[x->id];
    if (b < 0 || x->kind == G_VIEW || last_read[root_of(x)->id] > step || root_of(x)->keep || g_bytes(x) != g_bytes(t))
        return -1;
    for (int k = 1; k < t->n_in; k++)
        if (t->in[k] && pl->owner[t->in[k]->id] == b)
            return -1;
    return b;
}

static void last_reads(struct planning *pl, int *last_read)
{
    for (int s = 0; s < pl->p->n_steps; s++) {
        struct g_tensor *t = pl->p->steps[s];
        for (int k = 0; k < t->n_in; k++)
            if (t->in[k])
                last_read[root_of(t->in[k])->id] = s;
    }
    for (int i = 0; i < pl->g->n_nodes; i++)
        if (pl->g->nodes[i]->keep)
            last_read[root_of(pl->g->nodes[i])->id] = pl->p->n_steps;
}

static void intervals(struct planning *pl, const int *last_read)
{
    struct plan *p = pl->p;
    for (int s = 0; s < p->n_steps; s++) {
        struct g_tensor *t = p->steps[s];
        if (op_table[t->op].flags & OPF_INTO)
            continue;
        int last = last_read[t->id] > s ? last_read[t->id] : s;
        int b = inplace_owner(pl, t, s, last_read);
        if (b < 0) {
            b = pl->n_buffers++;
            pl->buffers[b] = (struct buffer){t, (g_bytes(t) + ALIGN - 1) & ~(size_t)(ALIGN - 1), 0, s, last};
            p->unshared_bytes += pl->buffers[b].bytes;
        } else if (pl->buffers[b].to < last) {
            pl->buffers[b].to = last;
        }
        pl->owner[t->id] = b;
    }
}

static int by_size(const void *a, const void *b)
{
    const struct buffer *x = *(const struct buffer *const *)a, *y = *(const struct buffer *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->from - y->from;
}

static int by_offset(const void *a, const void *b)
{
    const struct buffer *x = *(const struct buffer *const *)a, *y = *(const struct buffer *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Lowest offset for b among the `n` placed buffers whose intervals meet b's. `meet` is workspace. */
static size_t lowest_gap(const struct buffer *b, struct buffer *const *placed, int n, struct buffer **meet)
{
    int m = 0;
    for (int i = 0; i < n; i++)
        if (placed[i]->from <= b->to && b->from <= placed[i]->to)
            meet[m++] = placed[i];
    qsort(meet, (size_t)m, sizeof *meet, by_offset);
    size_t at = 0;
    for (int i = 0; i < m; i++) {
        if (meet[i]->offset >= at + b->bytes)
            break;
        if (meet[i]->offset + meet[i]->bytes > at)
            at = meet[i]->offset + meet[i]->bytes;
    }
    return at;
}

static int place(struct planning *pl)
{
    int n = pl->n_buffers;
    struct buffer **order = mem_calloc(MEM_GRAPH, 2 * (size_t)n + 1, sizeof *order);
    if (!order)
        return NUN_ENOMEM;
    for (int i = 0; i < n; i++)
        order[i] = &pl->buffers[i];
    qsort(order, (size_t)n, sizeof *order, by_size);
    for (int i = 0; i < n; i++) {
        order[i]->offset = lowest_gap(order[i], order, i, order + n);
        if (order[i]->offset + order[i]->bytes > pl->p->memory_bytes)
            pl->p->memory_bytes = order[i]->offset + order[i]->bytes;
    }
    mem_free(order);
    return 0;
}

static void costs(struct planning *pl)
{
    struct plan *p = pl->p;
    for (int s = 0; s < p->n_steps; s++) {
        struct g_cost c = {0};
        op_table[p->steps[s]->op].cost(pl->g, p->steps[s], &c);
        p->flops += c.flops;
        p->bytes += c.bytes;
        if (c.scratch > p->scratch_bytes)
            p->scratch_bytes = c.scratch;
    }
}

static void bind(struct planning *pl)
{
    for (int i = 0; i < pl->g->n_nodes; i++) {
        struct g_tensor *t = pl->g->nodes[i];
        if (t->kind == G_OP && pl->owner[i] >= 0)
            t->data = (char *)pl->p->memory + pl->buffers[pl->owner[i]].offset;
        else if (t->kind == G_OP && (op_table[t->op].flags & OPF_INTO))
            t->data = t->in[t->n_in - 1]->data;
        else if (t->kind == G_VIEW && t->base->data)
            t->data = (char *)t->base->data + t->base_offset;
    }
}

static int lay_out(struct planning *pl)
{
    struct graph *g = pl->g;
    struct plan *p = pl->p;
    for (int i = 0; i < g->n_nodes; i++) {
        pl->owner[i] = -1;
        if (pl->live[i] && g->nodes[i]->kind == G_OP)
            p->steps[p->n_steps++] = g->nodes[i];
    }
    int *last_read = mem_calloc(MEM_GRAPH, (size_t)g->n_nodes + 1, sizeof *last_read);
    if (!last_read)
        return NUN_ENOMEM;
    last_reads(pl, last_read);
    intervals(pl, last_read);
    mem_free(last_read);
    TRY(place(pl));
    costs(pl);
    p->memory = mem_alloc(MEM_GRAPH, p->memory_bytes);
    p->scratch = mem_alloc(MEM_GRAPH, p->scratch_bytes);
    if (!p->memory || !p->scratch)
        return NUN_ENOMEM;
    bind(pl);
    return 0;
}

int plan_create(struct graph *g, struct plan **out)
{
    *out = NULL;
    if (g->error)
        return g->error;
    size_t n = (size_t)g->n_nodes + 1;
    struct plan *p = mem_calloc(MEM_GRAPH, 1, sizeof *p);
    struct planning pl = {.g = g, .p = p};
    pl.live = mem_calloc(MEM_GRAPH, n, sizeof *pl.live);
    pl.owner = mem_calloc(MEM_GRAPH, n, sizeof *pl.owner);
    pl.buffers = mem_calloc(MEM_GRAPH, n, sizeof *pl.buffers);
    int rc = NUN_ENOMEM;
    if (p && pl.live && pl.owner && pl.buffers && (p->steps = mem_calloc(MEM_GRAPH, n, sizeof *p->steps))) {
        p->graph = g;
        mark_live(&pl);
        rc = lay_out(&pl);
    }
    mem_free(pl.live);
    mem_free(pl.owner);
    mem_free(pl.buffers);
    if (rc < 0) {
        plan_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

void plan_free(struct plan *p)
{
    if (!p)
        return;
    mem_free(p->steps);
    mem_free(p->memory);
    mem_free(p->scratch);
    mem_free(p);
}
