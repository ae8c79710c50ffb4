/* Pictures as a tower takes them: preprocessed pixels of one size, or sequences of patches, each picture with a
 * grid of its own. Between the processor and model_view; the public doors and verify stand on it. */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_VIEWS_H
#define RUNTIME_VIEWS_H
#include "runtime/engine.h"

struct views {
    int n;
    int width, height;           /* of every picture, and */
    float *pixels;               /* [n, 3, height, width]; or */
    int tokens;                  /* of every sequence; 0: pixels */
    int (*grids)[2];             /* [n]: rows and columns of patches */
    float *patches;              /* [n, tokens, P * P * 3]: rows behind a grid are zeros */
};

/* The sides that a picture has in front of the tower. */
int views_size(const struct nun_model *m, const struct preprocess_facts *f, const struct image *img, int *width, int *height);
/* Of images[n]; tokens: what sequences are padded to, 0: as many as the longest has. NUN_EARG when sizes differ and the
 * tower takes one. In the arena. */
int views_make(const struct nun_model *m, const struct preprocess_facts *f, const struct image *images, int n, int tokens,
               struct arena *arena, struct views *out);
/* As inputs of a graph. */
void views_inputs(struct graph *g, const struct model *m, const struct views *v, struct nn_pictures *in);

#endif
