/* Regexes of tokenizer files through PCRE2. The files are written for Oniguruma; the few spellings that
 * mean something else in PCRE2 are translated first. A compiled regex is immutable; each call brings
 * its own struct tok_match. Knows nothing of tokenizers. */
/* SPDX-License-Identifier: MIT */
#ifndef TEXT_TOK_REGEX_H
#define TEXT_TOK_REGEX_H
#include "base/span.h"

struct tok_regex;
struct tok_match;

int tok_regex_compile(struct span pattern, struct tok_regex **out);
/* Frees the whole list. */
void tok_regex_free(struct tok_regex *r);
/* A list, so that its owner can free all: `next` of one made before. */
void tok_regex_link(struct tok_regex *r, struct tok_regex *next);

int tok_match_create(struct tok_match **out);
void tok_match_free(struct tok_match *m);
/* The next match in valid UTF-8 `text` at or after byte `at`: 1 and *from, *to; 0 when there is none;
 * negative on failure. What would take more than linear time, over all searches with one `m`, is NUN_ELIMIT. */
int tok_regex_find(const struct tok_regex *r, struct tok_match *m, struct span text, size_t at, size_t *from, size_t *to);

#endif
