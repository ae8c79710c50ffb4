/* The chain. A draw works on a list of candidates that rows narrow and, where they need order, sort by a
 * heap: the first k of V cost V + k log V. Sums run in list order, in double. */
/* SPDX-License-Identifier: MIT */
#include "runtime/sampler.h"

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"

const struct sampler_row sampler_rows[] = {
#define SAMPLER(name, fields, doc) {#name, fields, doc},
#include "runtime/sampler.def"
#undef SAMPLER
};
const size_t sampler_row_count = sizeof sampler_rows / sizeof sampler_rows[0];

enum { PENALTY_LAST = 64 };

/* What rows work on. */
struct draw {
    struct sampler *p;
    struct sample_candidate *list; /* kept: [n] */
    int n;
    bool sorted;                   /* largest logit first */
    const int32_t *past;           /* within the penalties' window */
    size_t n_past, n_answer;       /* of the window */
    int32_t ignore;
};

/* ---- order --------------------------------------------------------------------------------- */

static bool before(const struct sample_candidate *a, const struct sample_candidate *b)
{
    return a->logit != b->logit ? a->logit > b->logit : a->id < b->id;
}

static void sift(struct sample_candidate *heap, int n, int at)
{
    struct sample_candidate moving = heap[at];
    for (int child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &moving))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

static void heapify(struct sample_candidate *heap, int n)
{
    for (int i = n / 2 - 1; i >= 0; i--)
        sift(heap, n, i);
}

/* The first of the heap goes to its end: heap[n - 1]. */
static struct sample_candidate pop(struct sample_candidate *heap, int n)
{
    struct sample_candidate first = heap[0];
    heap[0] = heap[n - 1];
    sift(heap, n - 1, 0);
    heap[n - 1] = first;
    return first;
}

/* Largest first: popped ones gather at the end, smallest index last. */
static void reverse(struct sample_candidate *list, int n)
{
    for (int i = 0; i < n / 2; i++) {
        struct sample_candidate swap = list[i];
        list[i] = list[n - 1 - i];
        list[n - 1 - i] = swap;
    }
}

/* Keep what was popped from a heap of `of`: the last k, turned round. */
static void keep_popped(struct draw *d, int of, int k)
{
    d->list += of - k;
    d->n = k;
    reverse(d->list, k);
    d->sorted = true;
}

static float largest(const struct draw *d)
{
    float m = d->list[0].logit;
    for (int i = 1; i < d->n && !d->sorted; i++)
        m = d->list[i].logit > m ? d->list[i].logit : m;
    return m;
}

/* ---- rows ---------------------------------------------------------------------------------- */

static void sample_bias(struct draw *d)
{
    const struct nun_sampling *s = &d->p->s;
    for (size_t i = 0; i < s->n_bias; i++)
        d->list[s->bias[i].id].logit += s->bias[i].bias; /* first row: still in id order */
}

static void sample_repeat(struct draw *d)
{
    float r = d->p->s.repeat_penalty;
    if (r == 0 || r == 1)
        return;
    for (size_t i = 0; i < d->n_past; i++) {
        int32_t id = d->past[i];
        if (id == d->ignore || d->p->counts[id]++)
            continue;
        float *logit = &d->list[id].logit;
        *logit = *logit > 0 ? *logit / r : *logit * r;
    }
    for (size_t i = 0; i < d->n_past; i++)
        d->p->counts[d->past[i]] = 0;
}

static void sample_frequency(struct draw *d)
{
    const struct nun_sampling *s = &d->p->s;
    const int32_t *answer = d->past + (d->n_past - d->n_answer);
    if (s->presence_penalty == 0 && s->frequency_penalty == 0)
        return;
    for (size_t i = 0; i < d->n_answer; i++)
        d->p->counts[answer[i]]++;
    for (size_t i = 0; i < d->n_answer; i++) {
        int32_t *count = &d->p->counts[answer[i]];
        if (*count)
            d->list[answer[i]].logit -= s->presence_penalty + s->frequency_penalty * (float)*count;
        *count = 0;
    }
}

/* Narrowing never drops the first: a greedy draw goes without. */
static bool greedy(const struct draw *d)
{
    return d->p->s.temperature <= 0;
}

static void sample_top_k(struct draw *d)
{
    int k = d->p->s.top_k, n = d->n;
    if (!k || k >= n || greedy(d))
        return;
    heapify(d->list, n);
    for (int i = 0; i < k; i++)
        pop(d->list, n - i);
    keep_popped(d, n, k);
}

static void sample_top_p(struct draw *d)
{
    double p = d->p->s.top_p, sum = 0, have = 0;
    if (p <= 0 || p >= 1 || greedy(d))
        return;
    float m = largest(d);
    int n = d->n, k = 0;
    for (int i = 0; i < n; i++)
        sum += exp((double)d->list[i].logit - m);
    if (!d->sorted)
        heapify(d->list, n);
    while (k < n && have < p * sum) {
        struct sample_candidate c = d->sorted ? d->list[k] : pop(d->list, n - k);
        have += exp((double)c.logit - m);
        k++;
    }
    if (d->sorted)
        d->n = k;
    else
        keep_popped(d, n, k);
}

static void sample_min_p(struct draw *d)
{
    if (d->p->s.min_p <= 0 || greedy(d))
        return;
    double least = (double)largest(d) + log((double)d->p->s.min_p);
    int n = 0;
    for (int i = 0; i < d->n; i++)
        if ((double)d->list[i].logit >= least)
            d->list[n++] = d->list[i];
    d->n = n;
}

static void sample_temperature(struct draw *d)
{
    float t = d->p->s.temperature;
    if (t > 0) {
        for (int i = 0; i < d->n; i++)
            d->list[i].logit /= t;
        return;
    }
    int best = 0;
    for (int i = 1; i < d->n; i++)
        if (before(&d->list[i], &d->list[best]))
            best = i;
    d->list[0] = d->list[best];
    d->n = 1;
}

static void (*const chain[])(struct draw *d) = {
#define SAMPLER(name, fields, doc) sample_##name,
#include "runtime/sampler.def"
#undef SAMPLER
};

/* ---- drawing ------------------------------------------------------------------------------- */

static int32_t choose(const struct draw *d, uint64_t index)
{
    struct rng r = rng_at(d->p->s.seed, index);
    double u = rng_double(&r), sum = 0, have = 0;
    float m = largest(d);
    for (int i = 0; i < d->n; i++)
        sum += exp((double)d->list[i].logit - m);
    for (int i = 0; i < d->n; i++) {
        have += exp((double)d->list[i].logit - m);
        if (u * sum < have)
            return d->list[i].id;
    }
    return d->list[d->n - 1].id;
}

int32_t sampler_draw(struct sampler *p, const float *logits, const int32_t *past, size_t n_past, size_t n_answer,
                     int32_t ignore_id, uint64_t index)
{
    size_t window = p->s.penalty_last < 0 ? n_past : p->s.penalty_last ? (size_t)p->s.penalty_last : PENALTY_LAST;
    if (window > n_past)
        window = n_past;
    struct draw d = {.p = p, .list = p->list, .n = p->vocab, .past = past + (n_past - window), .n_past = window,
                     .n_answer = n_answer < window ? n_answer : window, .ignore = ignore_id};
    for (int i = 0; i < p->vocab; i++)
        p->list[i] = (struct sample_candidate){i, logits[i]};
    for (size_t i = 0; i < sampler_row_count; i++)
        chain[i](&d);
    return d.n == 1 ? d.list[0].id : choose(&d, index);
}

static double log_sum(const float *logits, int vocab, float *most)
{
    double sum = 0;
    *most = logits[0];
    for (int i = 1; i < vocab; i++)
        *most = logits[i] > *most ? logits[i] : *most;
    for (int i = 0; i < vocab; i++)
        sum += exp((double)logits[i] - *most);
    return log(sum);
}

float sample_logprob(const float *logits, int vocab, int32_t id)
{
    float most;
    double z = log_sum(logits, vocab, &most);
    return (float)((double)logits[id] - most - z);
}

void sample_top(const float *logits, int vocab, struct sample_candidate *work, struct nun_alternative *out, int n)
{
    float most;
    double z = log_sum(logits, vocab, &most);
    for (int i = 0; i < vocab; i++)
        work[i] = (struct sample_candidate){i, logits[i]};
    heapify(work, vocab);
    for (int i = 0; i < n && i < vocab; i++) {
        struct sample_candidate c = pop(work, vocab - i);
        out[i] = (struct nun_alternative){c.id, (float)((double)c.logit - most - z)};
    }
}

/* ---- settings ------------------------------------------------------------------------------ */

static int check_number(const char *name, double value, double lo, double hi)
{
    if (value >= lo && value <= hi)
        return 0;
    return err_set(NUN_EARG, "%s: expected %g to %g, found %g", name, lo, hi, value);
}

static int check_settings(const struct nun_sampling *s, int vocab)
{
    const struct { const char *name; double value, lo, hi; } rows[] = {
        {"temperature", s->temperature, 0, 100}, {"top_k", s->top_k, 0, INT32_MAX}, {"top_p", s->top_p, 0, 1},
        {"min_p", s->min_p, 0, 1}, {"repeat_penalty", s->repeat_penalty, 0, 100},
        {"presence_penalty", s->presence_penalty, -100, 100}, {"frequency_penalty", s->frequency_penalty, -100, 100},
        {"penalty_last", s->penalty_last, -1, INT32_MAX}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        TRY(check_number(rows[i].name, rows[i].value, rows[i].lo, rows[i].hi));
    for (size_t i = 0; i < s->n_bias; i++) {
        TRY(check_number("logit bias: id", s->bias[i].id, 0, vocab - 1));
        TRY(check_number("logit bias", s->bias[i].bias, -1e9, 1e9));
    }
    return 0;
}

int sampler_init(struct sampler *p, const struct nun_sampling *settings, int vocab)
{
    *p = (struct sampler){.s = *settings, .vocab = vocab};
    TRY(check_settings(settings, vocab));
    p->list = mem_alloc(MEM_RUNTIME, (size_t)vocab * sizeof *p->list);
    p->counts = mem_calloc(MEM_RUNTIME, (size_t)vocab, sizeof *p->counts);
    if (p->list && p->counts)
        return 0;
    sampler_free(p);
    return NUN_ENOMEM;
}

void sampler_free(struct sampler *p)
{
    mem_free(p->list);
    mem_free(p->counts);
    p->list = NULL;
    p->counts = NULL;
}
