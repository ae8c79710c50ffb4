/* One sequence: its ids, the pictures in it, the pages that hold its state, and how far it is computed. */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_TIMELINE_H
#define RUNTIME_TIMELINE_H
#include "base/buf.h"
#include "runtime/picture.h"

/* A picture in the sequence: from its first placeholder to behind its last; other ids may stand between them. */
struct placed {
    int64_t at, end;
    struct picture *picture;
    int32_t row, group;          /* among the rows kept beside the sequence: its first one, and that of the first picture of those
                                    that stand right before it, which tokens behind it see with it */
};

/* Where a token stands, in sequences of models that see. */
struct token_place {
    int32_t feature;             /* row of its picture's features; -1: the token's own embedding */
    int32_t first, last;         /* tokens [first, last), itself among them, see each other; equal: it sees what came before */
    int32_t at[3];               /* time, row, column: what turns it, where positions have three directions */
};

struct nun_timeline {
    struct nun_model *m;
    struct ids ids;
    struct placed *placed;       /* ascending */
    size_t n_placed, cap_placed;
    struct token_place *place;   /* [ids.n]; NULL where every token is plain text at its own position */
    size_t cap_place;
    int32_t next_at;             /* where the next token of text turns */
    struct page_table table;
    struct state_line state;     /* of recurrent layers */
    struct page_table side;      /* keys and values of pictures, for layers that look at them (look.c) */
    size_t looked;               /* pictures, the first ones, whose rows are there */
    int64_t computed;            /* positions whose state is there */
    int64_t regime;              /* nn_rope_regime that it was computed in */
    float *logits;               /* [vocab] of position computed - 1, when has_logits */
    bool has_logits;
    struct buf text;             /* the last answer of nun_generate */
};

/* Room for `more` further positions, or NUN_ECONTEXT with both numbers. */
int timeline_room(const struct nun_timeline *t, size_t more);
/* Ids whose placeholders, as many as the pictures have features, stand for the pictures, in order. The pictures are
 * taken over, also on failure. */
int timeline_append(struct nun_timeline *t, const int32_t *ids, size_t n, struct picture *const *pictures, size_t n_pictures);
/* One more token of text. */
int timeline_push(struct nun_timeline *t, int32_t id);
/* The end of a chunk of at most `most` tokens from `from` on that cuts no run of tokens that see each other; a run that
 * is longer than `most` is not cut either. */
int64_t timeline_chunk_end(const struct nun_timeline *t, int64_t from, int64_t most);
/* Take back what was computed from position n on, and before it where no state is kept: `computed` is n at most. */
void timeline_uncompute(struct nun_timeline *t, int64_t n);
/* Where rotary frequencies depend on the length, what was computed at another length is forgotten; and look_follow. Called before
 * planning what to compute. The lock is held. */
void timeline_follow_length(struct nun_timeline *t);
/* Compute all that is queued but the last `leave` positions. The lock is held. */
int timeline_compute(struct nun_timeline *t, int64_t leave);
/* Room for the logits of one position. */
int timeline_need_logits(struct nun_timeline *t);
/* NUN_ENUMERIC with the first id whose logit is not finite. */
int timeline_check_logits(const float *logits, int n);
/* The last picture that begins at or before `position`; NULL: none. */
const struct placed *timeline_picture_before(const struct nun_timeline *t, int64_t position);
/* The picture whose features stand at `position`; NULL when it is text. */
const struct placed *timeline_placed(const struct nun_timeline *t, int64_t position);

/* ---- look.c -------------------------------------------------------------------------------- */

/* Pictures that positions up to `to` see and that are not encoded and kept yet. */
bool timeline_unseen(const struct nun_timeline *t, int64_t to);
/* Encode and keep them. Before engine_run; the lock is held. */
int timeline_see(struct nun_timeline *t, int64_t to);
/* The range of kept rows that a position sees, into row; returns whether it stands behind a picture. */
bool look_row(const struct nun_timeline *t, int64_t at, struct kv_row *row);
/* All rows that its pictures have kept, or will have. */
int32_t look_rows(const struct nun_timeline *t);
/* Where positions before the first picture see all pictures and these have changed: what was computed is forgotten. */
void look_follow(struct nun_timeline *t);
/* Pictures were taken from the end. */
void look_cut(struct nun_timeline *t);
/* The rows of the first n pictures, or all where what `from` has computed depends on them all. *to is empty. */
int look_share(struct nun_timeline *to, const struct nun_timeline *from, size_t n);
/* What `past` has computed depends on pictures that t does not have. */
bool look_apart(const struct nun_timeline *t, const struct nun_timeline *past);

/* ---- places.c ------------------------------------------------------------------------------ */

/* Room for the places of `more` further ids. */
int places_reserve(struct nun_timeline *t, size_t more);
/* The places of ids [from, ids.n), among them the pictures from number `picture` on. */
void places_lay(struct nun_timeline *t, size_t from, size_t picture);
int places_fork(const struct nun_timeline *t, struct nun_timeline *f);
/* ids are cut to n. */
void places_cut(struct nun_timeline *t, size_t n);
/* At most n, and not inside tokens that see each other in either timeline. */
int64_t places_common(const struct nun_timeline *a, const struct nun_timeline *b, int64_t n);

#endif
