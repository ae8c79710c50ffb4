/* How a family sees: a row says what a picture, or a video's frames, becomes in the sequence. The processor's plan
 * (media/preprocess.h) says how it is cut; from the plan alone follow its rows of features, what stands in the text
 * for it and where its tokens turn. Rows lie in sight_*.c and are named by family rows; the runtime and the trainer
 * ask only these. To add one: docs/howto-add-vision-family.md. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_SIGHT_H
#define MODELS_SIGHT_H
#include "base/buf.h"
#include "media/preprocess.h"
#include "models/model.h"

/* What a row may look at to spell a picture. */
struct sight_text {
    const struct model *m;
    const struct preprocess_plan *plan;
    struct span token;           /* how the vocabulary spells the placeholder of a feature */
    struct span begin, end;      /* and facts.begin_token, facts.end_token; empty: there are none */
    struct span start;           /* what the tokenizer begins a text with; empty: nothing */
    int features;                /* rows of features */
    int index, count;            /* this picture, from 0, and all pictures of the prompt */
    double seconds;              /* between two frames; 0: no video */
};

/* A picture's rows beside the sequence, for layers that look at them. */
struct sight_side {
    int rows;                    /* all, */
    int shown;                   /* and how many of them, the first ones, tokens behind the picture see; the others are padding */
};

struct sight_range { int from, to; };

struct sight_row {
    const char *name, *doc;
    /* Rows of features that a picture gives to the sequence. */
    int (*features)(const struct model *m, const struct preprocess_plan *p);
    /* pixels F32 [n * tiles, 3, H, W] of n pictures of one plan -> [n * (features + rows beside), model_feature_width]. */
    struct g_tensor *(*build)(struct graph *g, const struct model *m, struct g_tensor *pixels, const struct preprocess_plan *p, int n);

    /* All that follows may be NULL. */

    /* Rows that a picture gives beside the sequence; NULL: none. */
    struct sight_side (*side)(const struct model *m, const struct preprocess_plan *p);
    /* Placeholders that stand for it in the text; NULL: one a row of features in the sequence. With none of these a
     * placeholder is embedded as any other token. */
    int (*tokens)(const struct model *m, const struct preprocess_plan *p);

    /* Of the picture's rows beside the sequence, those that its placeholder i sees, and with it the text since the placeholder
     * before; later text sees all that are shown. NULL: all see all. */
    struct sight_range (*looks)(const struct model *m, const struct preprocess_plan *p, int i);
    bool looks_back;             /* text sees all pictures before it, not only those that stand right before each other */

    /* What a template writes where a picture is to stand; NULL: the placeholder. */
    const char *mark, *video_mark;
    /* Features that depend on the prompt's text: its ids I32 [n * words] by the tokenizer in the folder `words`. */
    struct g_tensor *(*build_told)(struct graph *g, const struct model *m, struct g_tensor *pixels, const struct preprocess_plan *p, int n,
                                   struct g_tensor *words);
    const char *words;
    /* How the vocabulary spells the placeholder of a feature, where the config does not name its id. */
    const char *token;
    /* The text that it becomes, with the placeholder once a feature, before it is tokenised; NULL: nothing but these. */
    int (*spell)(const struct sight_text *t, struct buf *out);
    /* Where its tokens stand in three directions (time, row, column), from 0: at[features][3]. Text goes on after the
     * greatest. NULL: one after the other. */
    int (*places)(const struct model *m, const struct preprocess_plan *p, double seconds, int32_t (*at)[3]);
    const char *template;        /* chat template of folders that have none */
    const char *video_template;  /* of conversations with videos, whatever the folder has */
    bool by_size;                /* features depend on the original's sides, not on the tiles' alone */
    bool videos_alike;           /* a video's tokens are those of pictures */
    bool both_ways;              /* tokens of one picture see each other */
    bool prefix;                 /* so do all tokens of the first prompt */
};

struct sight_side sight_side_of(const struct model *m, const struct preprocess_plan *p);
int sight_tokens_of(const struct model *m, const struct preprocess_plan *p);
/* A picture of one sequence: the places of its placeholders in it, ascending, as many as sight_tokens_of. */
struct sight_place { const struct preprocess_plan *plan; const int32_t *at; };
/* What the tokens of a sequence see of the rows beside it, those of its n pictures one after the other (struct nn_sight): spans
 * [tokens][2]; lit [tokens]: first + the token's number, or -1 before the first picture. The runtime sees the same (look.c). */
void sight_spans(const struct model *m, const struct sight_place *pictures, int n, int tokens, int32_t first, int32_t (*spans)[2],
                 int32_t *lit);
/* NUN_EUNSUP when the family takes no pictures. */
int sight_of(const struct model *m, const char *place, const struct sight_row **out);
/* Pictures of equal keys are encoded together: the plan without what their features do not depend on. */
struct preprocess_plan sight_key(const struct model *m, const struct preprocess_plan *p);
/* The plan of a tower of one fixed square, as training draws its pictures. */
struct preprocess_plan sight_square_plan(const struct model *m);

/* ---- shared by rows ------------------------------------------------------------------------ */

/* pixels through the tower: the states of the wanted layers, joined along the width, [pictures * *tokens, width]; with
 * drop_class without the class token. */
struct g_tensor *sight_tower(struct graph *g, const struct model *m, struct g_tensor *pixels, int *tokens);
/* The same of any stack, and with or without its class token. */
struct g_tensor *sight_tower_of(struct graph *g, const struct model *m, const struct nn_stack *tower, bool drop_class,
                                struct g_tensor *pixels, int *tokens);
int sight_tower_tokens(const struct model *m); /* of one tile of the tower's own size */
/* x through the two-layer connector: norm where there is one, linear, activation, linear. */
struct g_tensor *sight_connect(struct graph *g, const struct model *m, struct g_tensor *x);

#define SIGHT(name) extern const struct sight_row sight_##name;
#include "models/sights.def"
#undef SIGHT
extern const struct sight_row *const sight_rows[]; /* NULL-terminated */

#endif
