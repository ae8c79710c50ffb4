/* nunchi: pictures without a conversation. Classifiers, towers and pairs of a picture and a text encoder.
 *
 *   struct nun_tower *t;
 *   struct nun_image cat = {.file = "cat.png"};
 *   const char *labels[] = {"cat", "dog"};
 *   float p[2];
 *   nun_tower_open("models/clip", NULL, &t);
 *   nun_tower_set_labels(t, labels, 2, NULL);     // a classifier has labels of its own
 *   nun_tower_classify(t, &cat, 1, p);
 *   nun_tower_close(t);
 *
 * Functions return 0 or a negative nun_code; nun_error() has the sentence. A `const` pointer is borrowed for the call.
 * What a picture or a text gives depends on nothing but itself: not on those beside it, nor on threads. */
/* SPDX-License-Identifier: MIT */
#ifndef NUNCHI_VISION_H
#define NUNCHI_VISION_H
#include <stdbool.h>
#include <stddef.h>
#include "nunchi/nunchi.h"
#ifdef __cplusplus
extern "C" {
#endif

/* One thread at a time. */
struct nun_tower;

/* A PNG, JPEG or WebP file, or its bytes where file is NULL. */
struct nun_image { const char *file; const void *bytes; size_t len; };

/* NUN_EUNSUP when the folder's model is none of these, or says not how pictures are preprocessed. */
int nun_tower_open(const char *folder, const struct nun_model_options *options, struct nun_tower **out);
void nun_tower_close(struct nun_tower *t); /* NULL is fine */

struct nun_tower_info {
    const char *architecture;  /* borrowed from the tower */
    int width;                 /* of vectors */
    int classes;               /* that nun_tower_classify tells apart now; 0: none, labels must be set */
    bool reads;                /* a pair: texts have vectors too, and can be labels */
    bool independent;          /* each class has a probability of its own (sigmoid), else they sum to 1 (softmax) */
};
void nun_tower_info(const struct nun_tower *t, struct nun_tower_info *out);

/* The name of a class; NULL outside [0, classes). Borrowed until labels are set or the tower is closed. */
const char *nun_tower_label(const struct nun_tower *t, int i);
/* The classes from now on: n texts, each put for {} into `form` (NULL: "a photo of a {}"). Pairs only: NUN_EUNSUP of
 * others; NUN_EARG without a label or a {}; NUN_ECONTEXT when a text is longer than the model reads. Unchanged on
 * failure. */
int nun_tower_set_labels(struct nun_tower *t, const char *const *labels, size_t n, const char *form);
/* probabilities [n, classes] */
int nun_tower_classify(struct nun_tower *t, const struct nun_image *images, size_t n, float *probabilities);

/* vectors [n, width]: of a pair the projected ones that are compared, else the pooled state. normalize: to length 1. */
int nun_tower_embed(struct nun_tower *t, const struct nun_image *images, size_t n, bool normalize, float *vectors);
/* vector [width]; *tokens (may be NULL): how many the text took. Pairs only. */
int nun_tower_embed_text(struct nun_tower *t, const char *text, size_t len, bool normalize, float *vector, size_t *tokens);

#ifdef __cplusplus
}
#endif
#endif
