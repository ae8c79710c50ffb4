/* Optimisers as rows: each updates one parameter from its gradient and its own state. Knows no graphs
 * and no data; the trainer calls it, and verify's training cases. */
/* SPDX-License-Identifier: MIT */
#ifndef TRAIN_OPTIM_H
#define TRAIN_OPTIM_H
#include "graph/graph.h"

enum optim_kind { OPTIM_ADAMW, OPTIM_MUON, OPTIM_SGD, OPTIM_LION, OPTIM_KINDS };
enum { OPTIM_STATES = 2 };

struct optim_settings {
    float lr, beta1, beta2, eps, weight_decay, momentum;
    float muon_scale;     /* > 0: lr * muon_scale * sqrt(max(rows, cols)) (Moonlight); 0: lr * sqrt(max(1, rows/cols)) */
    bool nesterov;
};

struct optim_row {
    const char *name;
    int n_states;         /* arrays as large as the parameter */
    const char *state_names[OPTIM_STATES];
    size_t (*scratch)(const struct g_param *p); /* bytes; NULL: none */
    /* w[n] in place; t counts from 1. */
    void (*update)(const struct g_param *p, float *w, const float *g, float *const *state, const struct optim_settings *s,
                   int64_t t, void *scratch);
    const char *doc;
};
extern const struct optim_row optim_rows[OPTIM_KINDS];

/* One learning parameter, or one matrix of a stack: experts are parameters of their own, and one that no token reached
 * in a step (all its gradient is zero) is left alone, as in a file where each has its tensor. */
struct optim_slot {
    const struct g_param *param;   /* name and shape */
    struct g_param *whole;         /* where its values and gradients lie, from `from` on */
    size_t from;
    enum optim_kind kind;
    bool decays;                   /* weight decay applies: two or more dimensions */
    int64_t updates;               /* t of this parameter */
    float rate;                    /* share of the settings' lr that it learns at */
    float *state[OPTIM_STATES];
    size_t count;
    int owner_cost;                /* for the static split */
};

struct optim {
    struct arena arena;
    struct optim_slot *slots;
    int n;
    void **scratch;                /* one a thread */
    size_t scratch_bytes;
    int threads;
};

/* A slot for every parameter of the list, state zeroed. `kind_of` picks the optimiser. */
int optim_create(struct g_param *const *params, int n, int threads,
                 enum optim_kind (*kind_of)(const struct g_param *p, void *arg), void *arg, struct optim **out);
void optim_free(struct optim *o);
/* Square root of the sum of all squared gradients of trainable parameters, in double, in fixed order. */
double optim_grad_norm(const struct optim *o);
/* Multiply gradients by `factor` and update every trainable parameter. `lr_of` gives settings per kind. */
void optim_step(struct optim *o, const struct optim_settings settings[OPTIM_KINDS], float factor, struct pool *pool);
void optim_zero_grad(struct optim *o);

#endif
