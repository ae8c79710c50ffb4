/* How a folder's states become one vector: what modules.json of sentence-transformers says. Between
 * embed_config.c, which reads it, and embed.c, which computes. */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_EMBED_H
#define RUNTIME_EMBED_H
#include "base/arena.h"
#include "nunchi/nunchi.h"

/* states [tokens, width] -> out [width] */
typedef void embed_pool_fn(const float *states, int tokens, int width, float *out);
/* name: as an option; key: in 1_Pooling/config.json */
struct embed_pooling { const char *name, *key; embed_pool_fn *fn; };
extern const struct embed_pooling embed_poolings[]; /* ends with name NULL */

struct embed_facts {
    const char *transformer;             /* folder of the model proper */
    const struct embed_pooling *pooling; /* NULL: by the family */
    bool normalize;
    int width;                           /* that the pooling expects; 0: not said */
    int most;                            /* tokens of a text; 0: not said */
    const char *prompt;                  /* text before every text; "" */
};

/* Strings live in the arena. A folder without modules.json leaves the defaults. */
int embed_read(const char *folder, const char *prompt_name, struct arena *arena, struct embed_facts *out);
int embed_find_pooling(const char *name, const struct embed_pooling **out);

#endif
