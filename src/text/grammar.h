/* Grammars: which texts an answer may be. Three languages make one (GBNF, regular expressions, JSON Schema);
 * a run reads bytes and knows at every one whether the text can go on and whether it may end; a mask says the
 * same of every token of a vocabulary. A grammar is immutable and shared by threads, a run belongs to one.
 * Knows nothing of models; the runtime's sampler and the tools call it. docs/grammar.md has the languages. */
/* SPDX-License-Identifier: MIT */
#ifndef TEXT_GRAMMAR_H
#define TEXT_GRAMMAR_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/span.h"

struct grammar;

/* `place` begins error sentences. What cannot be enforced is refused: NUN_EUNSUP, or NUN_EFORMAT where the
 * text is not of its language at all. */
int grammar_from_gbnf(struct span text, const char *place, struct grammar **out);
int grammar_from_regex(struct span text, const char *place, struct grammar **out);
int grammar_from_schema(const json_t *schema, const char *place, struct grammar **out);
void grammar_free(struct grammar *g); /* NULL is fine */

/* ---- reading a text ------------------------------------------------------------------------ */

struct gram_run;
/* The grammar must outlive it. `wide`: all white space that the language allows, for judging texts; without it
 * only as much as an answer needs. */
int gram_run_create(const struct grammar *g, bool wide, struct gram_run **out);
/* A fresh run at the same place. */
int gram_run_twin(const struct gram_run *r, struct gram_run **out);
void gram_run_free(struct gram_run *r);                              /* NULL is fine */
int gram_run_restart(struct gram_run *r);
/* 1: the text so far and these bytes can go on or end; 0: they cannot, and nothing was taken. */
int gram_run_feed(struct gram_run *r, struct span bytes);
bool gram_run_may_end(const struct gram_run *r);
/* Nothing may follow. */
bool gram_run_must_end(const struct gram_run *r);

/* ---- tokens -------------------------------------------------------------------------------- */

/* The texts of a vocabulary as a prefix tree. text[i].len 0: the token stands for no text and is never
 * allowed. The texts are copied. */
struct gram_vocab;
int gram_vocab_create(const struct span *text, size_t n, struct gram_vocab **out);
void gram_vocab_free(struct gram_vocab *v); /* NULL is fine */

/* Bit i (of word i / 64): token i may follow. Valid until the next call on the run. The masks of states that
 * were seen before are kept with the run; always the same vocabulary. */
int gram_run_mask(struct gram_run *r, const struct gram_vocab *v, const uint64_t **mask);

#endif
