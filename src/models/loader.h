/* Between the files of this room: config to facts, tables to weights. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_LOADER_H
#define MODELS_LOADER_H
#include "models/model.h"

int model_read_config(struct model *m, const char *place, const struct stack_row **text, const struct stack_row **vision);

/* Where weights come from. take fills p->dt and p->data for p->name and p->shape; the p->pieces that end with
 * m->pieces[m->n_pieces - 1] say how p lies on disk. present answers for optional ones, by name on disk. */
struct weight_source {
    int (*take)(void *arg, struct model *m, enum nn_role role, const struct nn_facts *f, struct g_param *p);
    bool (*present)(void *arg, const char *name);
    void *arg;
};
/* Walks the tables and makes every g_param and every piece of the model. */
int model_bind_weights(struct model *m, const struct stack_row *text, const struct stack_row *vision,
                       const struct weight_source *source);

/* One more weight that is a whole tensor: name (copied) and shape on disk. kernel: [O,I,h,w], or [O,I], lies in memory as
 * [O,h,w,I]. */
struct weight_whole { enum nn_role role; const char *name; struct shape disk; bool kernel, exact; };
int model_bind_whole(struct model *m, const struct weight_source *source, const struct weight_whole *w, struct g_param **slot);
/* Keys that never change the arithmetic and `own`, NULL-terminated, on the arena; NULL: no memory. */
const char *const *config_ignore(struct arena *a, const char *const *own);

/* The last pieces of m->pieces that are p's; *n of them. */
const struct model_piece *model_pieces_of(const struct model *m, const struct g_param *p, int *n);
/* Copy the piece's values, all of format dt, between its tensor on disk and its place in the weight. */
int model_piece_take(const struct model_piece *k, enum dtype dt, const void *disk, void *weight);
int model_piece_give(const struct model_piece *k, enum dtype dt, const void *weight, void *disk);
/* The piece's values lie as one run on disk: at which value; -1 when they do not. */
int64_t model_piece_run(const struct model_piece *k);

#endif
