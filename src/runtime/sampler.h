/* Sampling: logits of one position to one id, through a chain of rows (sampler.def). A pure function of
 * logits, past ids, settings, seed and index: whatever else runs, a seed means the same. Knows no model. */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_SAMPLER_H
#define RUNTIME_SAMPLER_H
#include "nunchi/nunchi.h"

struct sampler_row { const char *name, *fields, *doc; };
extern const struct sampler_row sampler_rows[];
extern const size_t sampler_row_count;

struct sample_candidate { int32_t id; float logit; };

struct sampler {
    struct nun_sampling s;
    int vocab;
    struct sample_candidate *list; /* [vocab] */
    int32_t *counts;               /* [vocab], all zero between draws */
};

/* Checks the settings: NUN_EARG names the field, what is allowed and what was found. */
int sampler_init(struct sampler *p, const struct nun_sampling *settings, int vocab);
void sampler_free(struct sampler *p);
/* past[0..n_past): ids before this position, the last `n_answer` of them the answer's so far, which
 * `index` counts. Logits must be finite. */
int32_t sampler_draw(struct sampler *p, const float *logits, const int32_t *past, size_t n_past, size_t n_answer,
                     int32_t ignore_id, uint64_t index);
/* log softmax of the logits: the value at id. */
float sample_logprob(const float *logits, int vocab, int32_t id);
/* The n most probable ids with their log probabilities, ties to the smaller id; `work` [vocab]. */
void sample_top(const float *logits, int vocab, struct sample_candidate *work, struct nun_alternative *out, int n);

#endif
