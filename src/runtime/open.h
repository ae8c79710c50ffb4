/* The parts of opening a model that open.c leaves to others: its chat templates (open_chat.c) and what its
 * generation_config.json says about answers (defaults.c). */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_OPEN_H
#define RUNTIME_OPEN_H
#include "runtime/engine.h"

/* `own`: the text of a template to use instead of the folder's; NULL: the folder's. */
int open_chat(struct nun_model *m, const char *folder, const char *own);
void close_chat(struct nun_model *m);

/* Ids that end an answer, and the defaults of nun_model_defaults. */
int open_defaults(struct nun_model *m, const char *folder);
void close_defaults(struct nun_model *m);

#endif
