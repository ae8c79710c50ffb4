/* Between the files of this room: config to facts, tables to weights. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_LOADER_H
#define MODELS_LOADER_H
#include "models/model.h"

int model_read_config(struct model *m, const char *place, const struct stack_row **text, const struct stack_row **vision);

/* Where weights come from: fills p->dt and p->data for p->name and p->shape. `present` answers for
 * optional ones. */
struct weight_source {
    int (*take)(void *arg, struct model *m, enum nn_role role, const struct nn_facts *f, struct g_param *p);
    bool (*present)(void *arg, const char *name);
    void *arg;
};
/* Walks the tables and makes every g_param of the model. */
int model_bind_weights(struct model *m, const struct stack_row *text, const struct stack_row *vision,
                       const struct weight_source *source);

#endif
