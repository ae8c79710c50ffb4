/* Pictures that stand in sequences: decoded, preprocessed by the family's plan, encoded once and kept as rows of
 * features. A video is a picture of several frames. */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_PICTURE_H
#define RUNTIME_PICTURE_H
#include "models/sight.h"
#include "runtime/engine.h"

/* One shape of the picture encoder's graph: n pictures of one plan. */
struct image_plan {
    struct image_plan *next;     /* the one used longest ago is the last */
    struct preprocess_plan key;
    int pictures, words;
    int32_t *ids;                /* [pictures * tiles, words] */
    struct graph *graph;
    struct plan *plan;
    float *pixels;               /* [pictures, floats] */
    struct g_tensor *features;   /* [pictures * features, feature width] */
};

/* Immutable once encoded; counted under the model's lock. */
struct picture {
    int refs;
    int32_t token;               /* its placeholder in the ids */
    double seconds;              /* between frames; 0: a picture */
    struct preprocess_plan plan;
    size_t floats;
    float *pixels;               /* [tiles, 3, H, W]; freed when encoded */
    struct ids words;            /* of the prompt, where features depend on them */
    int n_tokens;                /* placeholders in the ids */
    int n_features;              /* rows of features that stand in their place; 0: they are embedded as they are */
    struct sight_side side;      /* rows beside the sequence */
    int32_t (*places)[3];        /* [n_features]: where each turns, from 0; NULL: one after the other */
    struct features *encoded;    /* NULL until encoded */
    const float *features;       /* [n_features + side.rows, feature width], in it */
    struct digest identity;      /* of the pixels and the plan */
};

/* The files of a video's frames, seconds apart; or, with seconds 0, the one file of a picture. together: pictures in
 * the prompt, this one counted. */
struct picture_source {
    const struct span *bytes;
    const char *const *places;
    int n;
    double seconds;
    int together;
    struct nun_media_budget media;
};

/* Decoded and preprocessed, not yet encoded. The caller's (picture_drop). places begin the error's sentence. */
int picture_make(const struct nun_model *m, const struct picture_source *s, struct picture **out);
int picture_from_files(const struct nun_model *m, const char *const *paths, int n, double seconds, int together,
                       const struct nun_media_budget *media, struct picture **out);
/* Memory of the encoder's graph for it. The lock is held. */
int picture_encoder_bytes(struct nun_model *m, const struct picture *p, size_t *out);
/* The prompt that it comes with, where the family's features depend on it; nothing elsewhere. */
int picture_tell(const struct nun_model *m, struct picture *p, struct span text);
void picture_drop(struct picture *p); /* the lock is held; NULL is fine */

/* What the picture is in the text, tokenised with what stands around it. index: this one of count. */
int picture_spell(const struct nun_model *m, const struct picture *p, int index, int count, struct buf *out);

#endif
