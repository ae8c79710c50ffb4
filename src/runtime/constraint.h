/* What an answer may be: a grammar over the tokens of a model, from the beginning or from the end of its
 * thinking. generate.c asks before every draw and tells after it. */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_CONSTRAINT_H
#define RUNTIME_CONSTRAINT_H
#include "runtime/engine.h"
#include "text/grammar.h"

struct constraint;

/* `until`: the grammar holds behind the first such text of the answer; NULL: from the beginning. Both are
 * borrowed. The model's tokens are sorted once, at its first grammar. */
int constraint_create(struct nun_model *m, const struct nun_grammar *g, const char *until, bool may_stop, struct constraint **out);
void constraint_free(struct constraint *c); /* NULL is fine */
/* A bit for every id that may come; NUN_EUNSUP when none may. Valid until the next call. */
int constraint_allow(struct constraint *c, const uint64_t **allow);
/* This id came, and does not end the answer. *done: nothing may follow. */
int constraint_take(struct constraint *c, int32_t id, bool *done);

#endif
