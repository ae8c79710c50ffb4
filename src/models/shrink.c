/* Finished models made smaller: blocks and neurons that the last training did without leave the facts,
 * the weights and the config together. The trainer's publish calls it; never touched by inference. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "models/model.h"

static int recount(struct model *m)
{
    m->n_values = 0;
    for (int i = 0; i < m->n_params; i++) {
        size_t n;
        TRY(shape_count(&m->params[i]->shape, &n));
        m->n_values += n;
    }
    return 0;
}

static int set_in_config(struct model *m, const char *where, const char *key, int value)
{
    json_t *o = *where ? json_object_get(m->config, where) : m->config;
    return json_object_set_new(o, key, json_integer(value)) ? err_nomem(0) : 0;
}

/* Is p a weight of a text block from `layers` on? */
static bool is_dropped(const struct model *m, const struct g_param *p, int layers)
{
    for (int i = layers; i < m->text.facts.layers; i++)
        for (int r = 0; r < NN_ROLES; r++)
            if (m->text.layer[i][r] == p)
                return true;
    return false;
}

int model_truncate(struct model *m, int layers)
{
    if (layers < 1 || layers > m->text.facts.layers)
        return err_set(NUN_EARG, "model: keep %d of %d text layers", layers, m->text.facts.layers);
    for (int i = 0; i < m->text.facts.layers && m->family->arrange; i++)
        if (nn_looks(&m->text.facts, i))
            return err_set(NUN_EUNSUP, "model: layers that look at pictures stand between those of the text: none can be cut off");
    TRY(set_in_config(m, stack_path(m->config, &m->family->text), "num_hidden_layers", layers));
    int kept = 0, pieces = 0;
    for (int i = 0; i < m->n_pieces; i++)
        if (!is_dropped(m, m->pieces[i].p, layers))
            m->pieces[pieces++] = m->pieces[i];
    m->n_pieces = pieces;
    for (int i = 0; i < m->n_params; i++)
        if (!is_dropped(m, m->params[i], layers)) {
            m->params[kept] = m->params[i];
            m->params[kept]->index = kept;
            kept++;
        }
    m->n_params = kept;
    m->text.facts.layers = layers;
    return recount(m);
}

struct neuron { double weight; int at; };

static int heavier_first(const void *pa, const void *pb)
{
    const struct neuron *a = pa, *b = pb;
    return a->weight != b->weight ? (a->weight < b->weight ? 1 : -1) : a->at - b->at;
}

static int by_place(const void *pa, const void *pb)
{
    return ((const struct neuron *)pa)->at - ((const struct neuron *)pb)->at;
}

/* What a neuron can move at most, up to its activation: |row of up[n,H]| |column of down[H,n]|. */
static void weigh(const struct g_param *up, const struct g_param *down, struct neuron *neuron)
{
    int n = (int)up->shape.d[0], width = (int)up->shape.d[1];
    const float *u = up->data, *d = down->data;
    for (int i = 0; i < n; i++) {
        double in = 0, out = 0;
        for (int k = 0; k < width; k++) {
            in += (double)u[(size_t)i * (size_t)width + (size_t)k] * u[(size_t)i * (size_t)width + (size_t)k];
            out += (double)d[(size_t)k * (size_t)n + (size_t)i] * d[(size_t)k * (size_t)n + (size_t)i];
        }
        neuron[i] = (struct neuron){sqrt(in) * sqrt(out), i};
    }
}

/* Keep along dimension `axis` of p[rows, columns] the places that neuron[0..keep) name, in place. */
static void gather(struct g_param *p, int axis, const struct neuron *neuron, int keep)
{
    float *v = (float *)p->data;
    size_t rows = (size_t)p->shape.d[0], columns = p->shape.n > 1 ? (size_t)p->shape.d[1] : 1;
    for (size_t i = 0; axis == 0 && i < (size_t)keep; i++)
        memmove(v + i * columns, v + (size_t)neuron[i].at * columns, columns * sizeof *v);
    for (size_t r = 0; axis == 1 && r < rows; r++)
        for (size_t i = 0; i < (size_t)keep; i++)
            v[r * (size_t)keep + i] = v[r * columns + (size_t)neuron[i].at];
    p->shape.d[axis] = keep;
}

/* The weight is a tensor of its own on disk, of the new shape. */
static int shrink_piece(struct model *m, const struct g_param *p)
{
    for (int i = 0; i < m->n_pieces; i++) {
        struct model_piece *k = &m->pieces[i];
        if (k->p != p)
            continue;
        if (k->transposed || k->disk_rows != k->rows)
            return err_set(NUN_EUNSUP, "model: %s: part of another tensor, not to be pruned", p->name);
        k->shape = p->shape;
        k->rows = k->run = k->stride = k->disk_rows = p->shape.d[0];
        k->cols = p->shape.n > 1 ? p->shape.d[1] : 1;
    }
    return 0;
}

static int prune_block(struct model *m, struct g_param *const *w, struct neuron *neuron, int keep)
{
    static const struct { enum nn_role role; int axis; } parts[] = {{NN_up_w, 0}, {NN_up_b, 0}, {NN_down_w, 1}};
    int n = (int)w[NN_up_w]->shape.d[0];
    weigh(w[NN_up_w], w[NN_down_w], neuron);
    qsort(neuron, (size_t)n, sizeof *neuron, heavier_first);
    qsort(neuron, (size_t)keep, sizeof *neuron, by_place);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (w[parts[i].role]) {
            gather(w[parts[i].role], parts[i].axis, neuron, keep);
            TRY(shrink_piece(m, w[parts[i].role]));
        }
    return 0;
}

/* Pruning moves values in place: not those of a file. */
static int make_master(struct model *m, struct g_param *p)
{
    size_t n;
    if (p->dt == DT_F32 && p->trainable)
        return 0;
    TRY(shape_count(&p->shape, &n));
    float *v = arena_array(&m->arena, n, sizeof *v);
    if (!v)
        return NUN_ENOMEM;
    TRY(dtype_to_f32(p->dt, p->data, v, n));
    p->dt = DT_F32;
    p->data = v;
    return 0;
}

int model_prune_tower(struct model *m, int keep)
{
    struct nn_facts *f = &m->vision.facts;
    if (keep < 1 || keep > f->intermediate || f->gated || f->use_head)
        return err_set(NUN_EARG, "model: keep %d of %d neurons of the tower's MLPs%s", keep, f->intermediate,
                       f->gated || f->use_head ? ": only plain ones without a pooling head can be pruned" : "");
    for (int i = 0; i < m->n_params; i++)
        TRY(make_master(m, m->params[i]));
    struct neuron *neuron = mem_calloc(MEM_MODEL, (size_t)f->intermediate, sizeof *neuron);
    if (!neuron)
        return NUN_ENOMEM;
    int rc = 0;
    for (int i = 0; i < f->layers && rc >= 0; i++)
        rc = prune_block(m, m->vision.layer[i], neuron, keep);
    mem_free(neuron);
    TRY(rc);
    f->intermediate = keep;
    TRY(set_in_config(m, m->family->vision.config, "intermediate_size", keep));
    return recount(m);
}
