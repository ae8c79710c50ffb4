/* How probable a given text is: log probabilities of ids that are known already, all logits of a chunk at once. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/err.h"
#include "runtime/timeline.h"

static double log_sum(const float *logits, size_t n)
{
    double top = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        top = (double)logits[i] > top ? (double)logits[i] : top;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - top);
    return top + log(sum);
}

static float log_probability(const float *logits, size_t vocab, int32_t id)
{
    return (float)((double)logits[id] - log_sum(logits, vocab));
}

/* out[i + 1] of the ids that stand at [from, to) of the timeline, whose first id is at `begin`. */
static int score_chunk(struct nun_timeline *t, int64_t from, int64_t to, int64_t begin, int64_t end, float *all, float *out)
{
    size_t vocab = (size_t)t->m->model->text.facts.vocab;
    struct engine_span s = {t, from, to, t->logits, all};
    int rc = engine_run(t->m, &s, 1);
    t->has_logits = rc >= 0;
    for (int64_t i = from; rc >= 0 && i < to; i++) {
        int64_t next = i + 1;
        if (next < end)
            out[next - begin] = log_probability(all + (size_t)(i - from) * vocab, vocab, t->ids.at[next]);
    }
    return rc;
}

int nun_timeline_score(struct nun_timeline *t, const int32_t *ids, size_t n, float *out)
{
    const float *logits;
    size_t vocab;
    if (!n)
        return 0;
    TRY(nun_timeline_logits(t, &logits, &vocab));
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= vocab)
            return err_set(NUN_EARG, "score: id %d is outside the vocabulary of %zu", ids[i], vocab);
    out[0] = log_probability(logits, vocab, ids[0]);
    int64_t begin = (int64_t)t->ids.n, end = begin + (int64_t)n, chunk = t->m->chunk;
    TRY(nun_timeline_ids(t, ids, n));
    float *all = mem_calloc(MEM_RUNTIME, (size_t)(chunk < (int64_t)n ? chunk : (int64_t)n), vocab * sizeof *all);
    engine_lock(t->m);
    timeline_follow_length(t);
    int rc = all ? timeline_compute(t, (int64_t)n) : NUN_ENOMEM;
    for (int64_t from = begin; rc >= 0 && from < end; from += chunk)
        rc = score_chunk(t, from, from + chunk < end ? from + chunk : end, begin, end, all, out);
    engine_unlock(t->m);
    mem_free(all);
    return rc;
}
