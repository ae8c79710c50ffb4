/* The rows of the chain. Rows narrow a list of candidates; where they need order they take the first k of
 * n out of a heap, which costs n + k log n. A row whose number is zero does nothing. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/rng.h"
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

/* The k-th largest logit. */
static float kth(const struct draw *d, int k)
{
    struct sample_candidate *copy = d->p->work, c = {0};
    if (d->sorted || k == 1)
        return d->sorted ? d->list[k - 1].logit : largest(d);
    for (int i = 0; i < d->n; i++)
        copy[i] = d->list[i];
    sample_heapify(copy, d->n);
    for (int i = 0; i < k; i++)
        c = sample_pop(copy, d->n - i);
    return c.logit;
}

/* Keep logits of at least `least`, and the min_keep largest with their equals at any rate. */
static void keep_from(struct draw *d, double least)
{
    int n = 0;
    double sure = (double)kth(d, min_keep(d));
    for (int i = 0; i < d->n; i++)
        if ((double)d->list[i].logit >= (least < sure ? least : sure))
            d->list[n++] = d->list[i];
    d->n = n;
}

/* ---- rows that move logits ----------------------------------------------------------------- */

/* Does an id of the past count? The picture's placeholder does not, nor what has no logit. */
static bool counts(const struct draw *d, int32_t id)
{
    return id != d->past.ignore && id >= 0 && id < d->p->vocab;
}

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
        if (!counts(d, id) || seen[id])
            continue;
        struct sample_candidate *c = find(d, id);
        seen[id] = 1;
        if (c)
            c->logit = c->logit < 0 ? c->logit * r : c->logit / r;
    }
    for (size_t i = 0; i < d->window.n; i++)
        if (counts(d, d->window.ids[i]))
            seen[d->window.ids[i]] = 0;
    moved(d);
}

void sampler_frequency(struct draw *d)
{
    const struct nun_sampling *s = &d->p->s;
    const int32_t *answer = d->window.ids + (d->window.n - d->window.n_answer);
    int32_t *seen = d->p->counts;
    if (s->presence_penalty == 0 && s->frequency_penalty == 0)
        return;
    for (size_t i = 0; i < d->window.n_answer; i++)
        if (counts(d, answer[i]))
            seen[answer[i]]++;
    for (size_t i = 0; i < d->window.n_answer; i++) {
        if (!counts(d, answer[i]) || !seen[answer[i]])
            continue;
        struct sample_candidate *c = find(d, answer[i]);
        if (c)
            c->logit -= s->frequency_penalty * (float)seen[answer[i]] + s->presence_penalty;
        seen[answer[i]] = 0;
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
        if (counts(d, ids[i + n - 1]) && same_run(ids + i, ids + past - (n - 1), n - 1))
            forbidden[ids[i + n - 1]] = 1;
    for (int i = 0; i < d->n; i++)
        left += !forbidden[d->list[i].id];
    for (int i = 0; i < d->n && left; i++)
        if (!forbidden[d->list[i].id])
            d->list[kept++] = d->list[i];
    d->n = left ? kept : d->n;
    for (size_t i = 0; i < past; i++)
        if (counts(d, ids[i]))
            forbidden[ids[i]] = 0;
}

/* A longer run costs what one of DRY_RUN tokens costs, which is beyond any logit at usual bases. */
enum { DRY_RUN = 64 };

/* May this id stand in a run? */
static bool runs_on(const struct draw *d, int32_t id)
{
    return counts(d, id) && !d->p->breaker[id];
}

/* How many tokens before ids[at] equal the last ones of ids[n], at most `most`. */
static size_t run_before(const int32_t *ids, size_t at, size_t n, size_t most)
{
    size_t len = 0;
    while (len < most && len < at && ids[at - 1 - len] == ids[n - 1 - len])
        len++;
    return len;
}

void sampler_dry(struct draw *d)
{
    const struct nun_sampling *s = &d->p->s;
    size_t n = d->past.n, most = 0, back = s->dry_last && (size_t)s->dry_last < n ? (size_t)s->dry_last : n;
    const int32_t *ids = d->past.ids + (n - back);
    int32_t *longest = d->p->counts; /* run that each id would continue */
    if (!(s->dry_multiplier > 0))
        return;
    n = back;
    while (most < n && most < DRY_RUN && runs_on(d, ids[n - 1 - most]))
        most++;
    for (size_t i = 1; i < n && most; i++) {
        size_t len = runs_on(d, ids[i]) ? run_before(ids, i, n, most) : 0;
        if (len && (int32_t)len > longest[ids[i]])
            longest[ids[i]] = (int32_t)len;
    }
    for (size_t i = 1; i < n && most; i++) {
        int32_t id = ids[i], len = runs_on(d, id) ? longest[id] : 0;
        struct sample_candidate *c = len && len >= s->dry_allowed_length ? find(d, id) : NULL;
        if (c)
            c->logit -= (float)((double)s->dry_multiplier * pow((double)s->dry_base, len - s->dry_allowed_length));
        if (len)
            longest[id] = 0;
    }
    moved(d);
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

void sampler_top_n_sigma(struct draw *d)
{
    double sum = 0, squares = 0, n = 0;
    if (!(d->p->s.top_n_sigma > 0))
        return;
    float m = largest(d);
    for (int i = 0; i < d->n; i++) {
        double below = sample_alive(d->list[i].logit) ? (double)m - d->list[i].logit : 0;
        n += sample_alive(d->list[i].logit);
        sum += below;
        squares += below * below;
    }
    double variance = n > 0 ? squares / n - (sum / n) * (sum / n) : 0;
    keep_from(d, (double)m - (double)d->p->s.top_n_sigma * sqrt(variance > 0 ? variance : 0));
}

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

/* A float's p is reached when p as it was written is: 0.3f lies above 0.3. */
static const double ROUNDING = 1e-6;

void sampler_top_p(struct draw *d)
{
    double p = d->p->s.top_p, have = 0;
    int n = 0, least = min_keep(d);
    if (p <= 0 || p >= 1)
        return;
    float m = largest(d);
    double enough = (p - ROUNDING) * mass(d, m);
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
    for (; n < d->n && (have < (p - ROUNDING) * sum || n < least); n++) {
        struct sample_candidate c = sample_pop(by, d->n - n);
        have += exp((double)d->list[c.id].logit - m);
        limit = c.logit;
    }
    for (int i = 0; i < d->n; i++) /* what is as near as the last one stays */
        if (closeness(d->list[i].logit, m, z, h) >= limit)
            d->list[kept++] = d->list[i];
    d->n = kept;
}

void sampler_xtc(struct draw *d)
{
    const struct nun_sampling *s = &d->p->s;
    struct rng r = rng_at(s->seed, d->index);
    int above = 0, kept = 0, least = 0;
    rng_double(&r); /* the one that chooses */
    if (!(s->xtc_probability > 0) || rng_double(&r) >= (double)s->xtc_probability)
        return;
    float m = largest(d);
    double limit = log((double)s->xtc_threshold) + log(mass(d, m)) + m;
    for (int i = 0; i < d->n; i++)
        if ((double)d->list[i].logit >= limit) {
            least = !above || before(&d->list[least], &d->list[i]) ? i : least;
            above++;
        }
    int32_t stays = d->list[least].id;
    for (int i = 0; i < d->n && above > 1; i++)
        if ((double)d->list[i].logit < limit || d->list[i].id == stays)
            d->list[kept++] = d->list[i];
    d->n = above > 1 ? kept : d->n;
}

/* Zipf's exponent by least squares over the most probable ids, which lie sorted in list[0..n). */
static double zipf(const struct sample_candidate *list, int n)
{
    double tb = 0, tt = 0;
    for (int i = 0; i + 1 < n && sample_alive(list[i + 1].logit); i++) {
        double t = log((double)(i + 2) / (i + 1));
        tb += t * ((double)list[i].logit - list[i + 1].logit);
        tt += t * t;
    }
    return tt > 0 ? tb / tt : 1;
}

/* The paper's first way: as many ids as a Zipf distribution of this vocabulary would need for mu. */
static void mirostat_by_rank(struct draw *d)
{
    enum { FIT = 100 };
    int n = 0, vocab = d->n;
    start_order(d);
    while (n < FIT && n < d->n)
        d->p->work[n] = next_in_order(d, n), n++;
    double exponent = zipf(d->p->work, n), eps = exponent - 1;
    double k = pow(eps * exp2(d->p->mu) / (1 - pow(vocab, -eps)), 1 / exponent);
    int keep = k >= 1 && k < vocab ? (int)(k + 0.5) : k >= vocab ? vocab : 1;
    for (; n < keep; n++)
        next_in_order(d, n);
    keep_first(d, n);
    d->n = keep < n ? keep : n;
}

void sampler_mirostat(struct draw *d)
{
    if (d->p->s.mirostat == 1 && d->n > 1) {
        mirostat_by_rank(d);
    } else if (d->p->s.mirostat == 2) {
        float m = largest(d);
        keep_from(d, log(mass(d, m)) + m - d->p->mu * log(2));
    }
}
