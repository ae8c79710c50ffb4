/* Batches of verify/train.json and the graphs of their losses, one row a kind of family. */
/* SPDX-License-Identifier: MIT */
#ifndef TRAIN_VERIFY_GRAPH_H
#define TRAIN_VERIFY_GRAPH_H
#include "runtime/verify_int.h"

struct verify_batch {
    int rows, length;            /* of texts */
    int32_t *ids, *pos, *labels; /* [rows * length]; labels: the next token's, -1 none */
    int32_t *spans;              /* [rows, length, 2] */
    int32_t *pool;               /* [rows], contrastive */
    int32_t *image_rows;         /* [n_image_rows], decoders with pictures */
    int n_image_rows;
    struct verify_pixels pixels;
};

struct verify_graph {
    struct graph *graph;
    struct plan *plan;
    struct g_tensor *loss;       /* [1] */
    bool *unreached;             /* [n_params] learns, but the loss does not depend on it: made not to learn */
};

int verify_batch_read(struct verify_case *c, const json_t *json, struct arena *arena, struct verify_batch *out);
/* One row of several sequences: positions anew, attention inside, no target across. */
int verify_batch_packed(struct verify_case *c, const json_t *packed, struct arena *arena, struct verify_batch *out);
int verify_graph_create(struct verify_case *c, struct verify_batch *b, bool learn, struct verify_graph *out);
void verify_graph_free(struct verify_graph *g);

#endif
