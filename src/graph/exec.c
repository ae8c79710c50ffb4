/* Replay: one loop over the steps, run by every thread of the pool. */
/* SPDX-License-Identifier: MIT */
#include "graph/exec.h"

#include "base/err.h"
#include "base/seam.h"
#include "graph/op.h"

struct replay {
    const struct plan *plan;
    const struct exec *exec;
    const struct kernels *kernels;
};

static void note(struct exec_profile *prof, const struct plan *p, const struct g_tensor *t, uint64_t ns)
{
    struct g_cost c = {0};
    op_table[t->op].cost(p->graph, t, &c);
    prof->ns[t->op] += ns;
    prof->calls[t->op]++;
    prof->flops[t->op] += c.flops;
}

static void replay_thread(void *arg, int ith, int nth)
{
    const struct replay *r = arg;
    const struct plan *p = r->plan;
    struct g_env env = {
        .par = {ith, nth, r->exec->pool},
        .kernels = r->kernels,
        .compute = p->graph->compute,
        .scratch = p->scratch,
        .seed = r->exec->seed,
        .step = r->exec->step,
    };
    struct exec_profile *prof = ith == 0 ? r->exec->profile : NULL;
    mem_freeze(true);
    for (int s = 0; s < p->n_steps; s++) {
        const struct g_tensor *t = p->steps[s];
        uint64_t start = prof ? seam_now_ns() : 0;
        op_table[t->op].run(t, &env);
        par_barrier(&env.par);
        if (prof)
            note(prof, p, t, seam_now_ns() - start);
    }
    mem_freeze(false);
}

/* Views of inputs follow the data that the caller set. */
static int bind_inputs(const struct plan *p)
{
    const struct graph *g = p->graph;
    for (int i = 0; i < g->n_nodes; i++) {
        struct g_tensor *t = g->nodes[i];
        if (t->kind == G_VIEW && t->base->data)
            t->data = (char *)t->base->data + t->base_offset;
    }
    for (int s = 0; s < p->n_steps; s++)
        for (int k = 0; k < p->steps[s]->n_in; k++) {
            const struct g_tensor *x = p->steps[s]->in[k];
            if (x && !x->data)
                return err_set(NUN_EARG, "%s: input %d (%s) has no data", op_table[p->steps[s]->op].name, k,
                               x->name ? x->name : "unnamed");
        }
    return 0;
}

int exec_run(const struct plan *p, const struct exec *e)
{
    TRY(bind_inputs(p));
    int nth = e->pool ? pool_threads(e->pool) : 1;
    if (nth > p->graph->threads)
        return err_set(NUN_EARG, "graph: planned for %d threads, run with %d", p->graph->threads, nth);
    struct replay r = {p, e, kernels_active()};
    if (nth == 1)
        replay_thread(&r, 0, 1);
    else
        pool_run(e->pool, replay_thread, &r);
    return 0;
}
