/* Sampling: logits of one position to one id, through a chain of rows (sampler.def). A pure function of
 * logits, past ids, settings, seed and index: whatever else runs, a seed means the same. Knows no model. */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_SAMPLER_H
#define RUNTIME_SAMPLER_H
#include "nunchi/nunchi.h"

enum sampler_row {
#define SAMPLER(name, narrows, fields, doc) SAMPLER_##name,
#include "runtime/sampler.def"
#undef SAMPLER
    SAMPLER_ROWS
};

struct sample_candidate { int32_t id; float logit; };

struct sampler {
    struct nun_sampling s;
    int vocab;
    enum sampler_row chain[SAMPLER_ROWS];
    int n_chain;
    struct sample_candidate *list, *work; /* [vocab] */
    int32_t *counts;                      /* [vocab], all zero between draws */
    bool *breaker;                        /* [vocab], ids that end a run for dry; NULL while dry is off */
    const int32_t *banned;                /* [n_banned]: ids that cannot come now; borrowed */
    size_t n_banned;
    const uint64_t *allow;                /* a bit for every id that may come; NULL: all; borrowed */
    double mu;                            /* mirostat's largest surprise, in bits */
};

/* Checks the settings: NUN_EARG names the field, what is allowed and what was found. */
int sampler_init(struct sampler *p, const struct nun_sampling *settings, int vocab);
void sampler_free(struct sampler *p);

/* What came before. `ignore` is an id that penalties leave alone (the picture placeholder); -1: none. */
struct sample_past {
    const int32_t *ids;        /* [n] */
    size_t n, n_answer;        /* the last n_answer are the answer's so far */
    int32_t ignore;
};
/* The logit of an id that cannot come; whatever lies below half of it counts as such. */
#define SAMPLE_DEAD (-1e9f)
static inline bool sample_alive(float logit) { return logit > SAMPLE_DEAD / 2; }
/* `index` counts the answer's tokens. Logits must be finite. */
int32_t sampler_draw(struct sampler *p, const float *logits, const struct sample_past *past, uint64_t index);
/* What the chain leaves, as probabilities out[vocab]: for tests and for looking. */
void sampler_probabilities(struct sampler *p, const float *logits, const struct sample_past *past, float *out);
/* log softmax of the logits: the value at id. */
float sample_logprob(const float *logits, int vocab, int32_t id);
/* The n most probable ids with their log probabilities, ties to the smaller id; `work` [vocab]. */
void sample_top(const float *logits, int vocab, struct sample_candidate *work, struct nun_alternative *out, int n);

/* ---- for the rows ---- */

struct draw {
    struct sampler *p;
    struct sample_candidate *list; /* kept: [n] */
    int n;
    bool sorted;                   /* largest logit first */
    uint64_t index;                /* of the token in the answer */
    struct sample_past past;       /* whole */
    struct sample_past window;     /* as far as penalties look back */
};

/* Largest logit first, ties to the smaller id. */
void sample_heapify(struct sample_candidate *heap, int n);
/* The first of a heap of n goes to heap[n - 1], the rest stays a heap of n - 1. */
struct sample_candidate sample_pop(struct sample_candidate *heap, int n);

#define SAMPLER(name, narrows, fields, doc) void sampler_##name(struct draw *d);
#include "runtime/sampler.def"
#undef SAMPLER

#endif
