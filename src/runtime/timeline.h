/* One sequence: its ids, the pictures in it, the pages that hold its state, and how far it is computed. */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_TIMELINE_H
#define RUNTIME_TIMELINE_H
#include "base/buf.h"
#include "runtime/engine.h"

struct placed { int64_t at; struct picture *picture; }; /* its first placeholder's position */

struct nun_timeline {
    struct nun_model *m;
    struct ids ids;
    struct placed *placed;       /* ascending */
    size_t n_placed, cap_placed;
    struct page_table table;
    struct state_line state;     /* of recurrent layers */
    int64_t computed;            /* positions whose state is there */
    int64_t regime;              /* nn_rope_regime that it was computed in */
    float *logits;               /* [vocab] of position computed - 1, when has_logits */
    bool has_logits;
    struct buf text;             /* the last answer of nun_generate */
};

/* Room for `more` further positions, or NUN_ECONTEXT with both numbers. */
int timeline_room(const struct nun_timeline *t, size_t more);
/* Ids whose placeholders (each a whole run of image_tokens, or one to be expanded when `expand`) stand
 * for the pictures, in order. The pictures are taken over, also on failure. */
int timeline_append(struct nun_timeline *t, const int32_t *ids, size_t n, struct picture *const *pictures, size_t n_pictures,
                    bool expand);
/* Take back what was computed from position n on, and before it where no state is kept: `computed` is n at most. */
void timeline_uncompute(struct nun_timeline *t, int64_t n);
/* Where rotary frequencies depend on the length, what was computed at another length is forgotten. Called before
 * planning what to compute. The lock is held. */
void timeline_follow_length(struct nun_timeline *t);
/* Compute all that is queued but the last `leave` positions. The lock is held. */
int timeline_compute(struct nun_timeline *t, int64_t leave);
/* Room for the logits of one position. */
int timeline_need_logits(struct nun_timeline *t);
/* NUN_ENUMERIC with the first id whose logit is not finite. */
int timeline_check_logits(const float *logits, int n);
/* The picture whose placeholders cover `position`; NULL when it is text. */
const struct placed *timeline_placed(const struct nun_timeline *t, int64_t position);

/* A decoded and preprocessed picture, not yet encoded. The caller's (picture_drop). */
int picture_from_bytes(const struct nun_model *m, struct span bytes, const char *place, struct picture **out);
int picture_from_file(const struct nun_model *m, const char *path, struct picture **out);

#endif
