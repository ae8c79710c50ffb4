/* The rows of the chain. Rows narrow a list of candidates; where they need order they take the first k of
 * n out of a heap, which costs n + k log n. A row whose number is zero does nothing. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "runtime/sampler.h"

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

void sample_heapify(struct sample_candidate *heap, int n)
{
    for (int i = n / 2 - 1; i >= 0; i--)
        sift(heap, n, i);
}

struct sample_candidate sample_pop(struct sample_candidate *heap, int n)
{
    struct sample_candidate first = heap[0];
    heap[0] = heap[n - 1];
    sift(heap, n - 1, 0);
    heap[n - 1] = first;
    return first;
}

/* Candidate i in order of logit: the caller asks for 0, 1, 2, ... of a list made a heap by start_order. */
static void start_order(struct draw *d)
{
    if (!d->sorted)
        sample_heapify(d->list, d->n);
}

static struct sample_candidate next_in_order(struct draw *d, int i)
{
    return d->sorted ? d->list[i] : sample_pop(d->list, d->n - i);
}

/* Keep the first k that came in order: they lie at the end of the list, largest last. */
static void keep_first(struct draw *d, int k)
{
    if (!d->sorted) {
        d->list += d->n - k;
        for (int i = 0; i < k / 2; i++) {
            struct sample_candidate swap = d->list[i];
            d->list[i] = d->list[k - 1 - i];
            d->list[k - 1 - i] = swap;
        }
    }
    d->n = k;
    d->sorted = true;
}

static float largest(const struct draw *d)
{
    float m = d->list[0].logit;
    for (int i = 1; i < d->n && !d->sorted; i++)
        m = d->list[i].logit > m ? d->list[i].logit : m;
    return m;
}

static double mass(const struct draw *d, float m)
{
    double sum = 0;
    for (int i = 0; i < d->n; i++)
        sum += exp((double)d->list[i].logit - m);
    return sum;
}

static int min_keep(const struct draw *d)
{
    int k = d->p->s.min_keep > 1 ? d->p->s.min_keep : 1;
    return k < d->n ? k : d->n;
}

/* Keep logits of at least `least`, and min_keep at any rate. */
static void keep_from(struct draw *d, double least)
{
    int n = 0, keep = min_keep(d);
    for (int i = 0; i < d->n; i++)
        n += (double)d->list[i].logit >= least;
    if (n < keep) {
        start_order(d);
        for (int i = 0; i < keep && !d->sorted; i++)
            sample_pop(d->list, d->n - i);
        keep_first(d, keep);
        return;
    }
    n = 0;
    for (int i = 0; i < d->n; i++)
        if ((double)d->list[i].logit >= least)
            d->list[n++] = d->list[i];
    d->n = n;
}

/* ---- rows that move logits ----------------------------------------------------------------- */

/* The candidate of an id; NULL when an earlier row dropped it. */
static struct sample_candidate *find(struct draw *d, int32_t id)
{
    if (d->n == d->p->vocab && !d->sorted)
        return &d->list[id];
    for (int i = 0; i < d->n; i++)
        if (d->list[i].id == id)
            return &d->list[i];
    return NULL;
}

/* Restore what rows that move single logits may have upset. */
static void moved(struct draw *d)
{
    if (!d->sorted)
        return;
    d->sorted = false;
    if (d->n == d->p->vocab) { /* find() counts on id order: sort it back */
        for (int i = 0; i < d->n; i++)
            d->p->work[d->list[i].id] = d->list[i];
        for (int i = 0; i < d->n; i++)
            d->list[i] = d->p->work[i];
    }
}

void sampler_bias(struct draw *d)
{
    const struct nun_sampling *s = &d->p->s;
    for (size_t i = 0; i < s->n_bias; i++) {
        struct sample_candidate *c = find(d, s->bias[i].id);
        if (c)
            c->logit += s->bias[i].bias;
    }
    if (s->n_bias)
        moved(d);
}

void sampler_repeat(struct draw *d)
{
    float r = d->p->s.repeat_penalty;
    int32_t *seen = d->p->counts;
    if (r == 0 || r == 1)
        return;
    for (size_t i = 0; i < d->window.n; i++) {
        int32_t id = d->window.ids[i];
        struct sample_candidate *c = id == d->window.ignore || seen[id] ? NULL : find(d, id);
        seen[id] = 1;
        if (c)
            c->logit = c->logit < 0 ? c->logit * r : c->logit / r;
    }
    for (size_t i = 0; i < d->window.n; i++)
        seen[d->window.ids[i]] = 0;
    moved(d);
}

void sampler_frequency(struct draw *d)
{
    const struct nun_sampling *s = &d->p->s;
    const int32_t *answer = d->window.ids + (d->window.n - d->window.n_answer);
    int32_t *counts = d->p->counts;
    if (s->presence_penalty == 0 && s->frequency_penalty == 0)
        return;
    for (size_t i = 0; i < d->window.n_answer; i++)
        counts[answer[i]]++;
    for (size_t i = 0; i < d->window.n_answer; i++) {
        struct sample_candidate *c = counts[answer[i]] ? find(d, answer[i]) : NULL;
        if (c)
            c->logit -= s->frequency_penalty * (float)counts[answer[i]] + s->presence_penalty;
        counts[answer[i]] = 0;
    }
    moved(d);
}

static bool same_run(const int32_t *a, const int32_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

/* Forbidden ids leave the list; if all are forbidden, none is. */
void sampler_no_repeat(struct draw *d)
{
    size_t n = (size_t)d->p->s.no_repeat_ngram, past = d->past.n;
    const int32_t *ids = d->past.ids;
    int32_t *forbidden = d->p->counts;
    int kept = 0, left = 0;
    if (!n || past < n)
        return;
    for (size_t i = 0; i + n <= past; i++)
        if (same_run(ids + i, ids + past - (n - 1), n - 1))
            forbidden[ids[i + n - 1]] = 1;
    for (int i = 0; i < d->n; i++)
        left += !forbidden[d->list[i].id];
    for (int i = 0; i < d->n && left; i++)
        if (!forbidden[d->list[i].id])
            d->list[kept++] = d->list[i];
    d->n = left ? kept : d->n;
    for (size_t i = 0; i < past; i++)
        forbidden[ids[i]] = 0;
}

void sampler_temperature(struct draw *d)
{
    float t = d->p->s.temperature;
    int best = 0;
    for (int i = 0; i < d->n && t > 0; i++)
        d->list[i].logit /= t;
    if (t > 0)
        return;
    for (int i = 1; i < d->n; i++)
        if (before(&d->list[i], &d->list[best]))
            best = i;
    d->list[0] = d->list[best];
    d->n = 1;
}

/* ---- rows that narrow ---------------------------------------------------------------------- */

void sampler_top_k(struct draw *d)
{
    int k = d->p->s.top_k, n = 0;
    struct sample_candidate last = {0};
    if (!k || k >= d->n)
        return;
    start_order(d);
    for (; n < d->n; n++) {
        float next = d->sorted ? d->list[n].logit : d->list[0].logit; /* the heap's first */
        if (n >= k && next != last.logit)
            break;
        last = next_in_order(d, n);
    }
    keep_first(d, n);
}

void sampler_top_p(struct draw *d)
{
    double p = d->p->s.top_p, have = 0;
    int n = 0, least = min_keep(d);
    if (p <= 0 || p >= 1)
        return;
    float m = largest(d);
    double enough = p * mass(d, m);
    start_order(d);
    while (n < d->n && (have < enough || n < least))
        have += exp((double)next_in_order(d, n++).logit - m);
    keep_first(d, n);
}

void sampler_min_p(struct draw *d)
{
    if (d->p->s.min_p > 0)
        keep_from(d, (double)largest(d) + log((double)d->p->s.min_p));
}

void sampler_epsilon(struct draw *d)
{
    if (d->p->s.epsilon <= 0)
        return;
    float m = largest(d);
    keep_from(d, log((double)d->p->s.epsilon) + log(mass(d, m)) + m);
}

static double entropy(const struct draw *d, float m, double sum)
{
    double h = 0, z = log(sum);
    for (int i = 0; i < d->n; i++) {
        double log_p = (double)d->list[i].logit - m - z;
        h -= exp(log_p) * log_p;
    }
    return h;
}

void sampler_eta(struct draw *d)
{
    double eta = d->p->s.eta;
    if (eta <= 0)
        return;
    float m = largest(d);
    double sum = mass(d, m), by_entropy = sqrt(eta) * exp(-entropy(d, m, sum));
    keep_from(d, log(eta < by_entropy ? eta : by_entropy) + log(sum) + m);
}

/* How far an id's surprise is from the entropy, negative: nearest is largest. */
static float closeness(float logit, float m, double z, double h)
{
    return (float)-fabs(-((double)logit - m - z) - h);
}

void sampler_typical(struct draw *d)
{
    double p = d->p->s.typical_p, have = 0;
    int n = 0, kept = 0, least = min_keep(d);
    if (p <= 0 || p >= 1)
        return;
    float m = largest(d), limit = 0;
    double sum = mass(d, m), z = log(sum), h = entropy(d, m, sum);
    struct sample_candidate *by = d->p->work;
    for (int i = 0; i < d->n; i++)
        by[i] = (struct sample_candidate){i, closeness(d->list[i].logit, m, z, h)};
    sample_heapify(by, d->n);
    for (; n < d->n && (have < p * sum || n < least); n++) {
        struct sample_candidate c = sample_pop(by, d->n - n);
        have += exp((double)d->list[c.id].logit - m);
        limit = c.logit;
    }
    for (int i = 0; i < d->n; i++) /* what is as near as the last one stays */
        if (closeness(d->list[i].logit, m, z, h) >= limit)
            d->list[kept++] = d->list[i];
    d->n = kept;
}
