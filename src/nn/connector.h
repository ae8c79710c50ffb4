/* Connectors: what turns a tower's states into rows of the decoder's width. Rows of connectors.def; models/ says which and gives
 * the weights, ways of seeing (models/sight.h) build them. Knows no pictures: a tile is a square of states. */
/* SPDX-License-Identifier: MIT */
#ifndef NN_CONNECTOR_H
#define NN_CONNECTOR_H
#include "nn/nn.h"

#define CONNECTOR(name, squares, queries, matrices, doc) NN_CONNECT_##name,
enum nn_connector_id {
#include "nn/connectors.def"
    NN_CONNECTORS
};
#undef CONNECTOR

struct nn_connector {
    struct g_param *w1, *b1, *w2, *b2;   /* of linear layers; w2 and b2: of kinds with two matrices */
    struct g_param *queries;             /* [1, queries, hidden]: Q-Former */
    const struct nn_stack *stack;        /* blocks of kinds with queries */
    int step;                            /* side of squares */
};

/* x [tiles * side * side, width] -> [tiles * rows, hidden] */
typedef struct g_tensor *nn_connector_fn(struct graph *g, const struct nn_connector *c, struct g_tensor *x, int tiles, int side);
struct nn_connector_kind { const char *name; nn_connector_fn *build; bool squares, queries; int matrices; const char *doc; };
extern const struct nn_connector_kind nn_connectors[NN_CONNECTORS];

#define CONNECTOR(name, squares, queries, matrices, doc) nn_connector_fn nn_connect_##name;
#include "nn/connectors.def"
#undef CONNECTOR

/* States [tiles * h * w, width] in the order of the squares of step x step that belong together; squares row by row, or turned,
 * column by column. */
struct g_tensor *nn_squares(struct graph *g, struct g_tensor *x, int tiles, int h, int w, int step, bool turned);

#endif
