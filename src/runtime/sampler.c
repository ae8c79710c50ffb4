/* The chain: settings checked, rows run in order, one id drawn. Sums run in list order, in double. */
/* SPDX-License-Identifier: MIT */
#include "runtime/sampler.h"

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/span.h"

static const struct nun_sampler_row rows[SAMPLER_ROWS] = {
#define SAMPLER(name, narrows, fields, doc) {#name, fields, doc},
#include "runtime/sampler.def"
#undef SAMPLER
};

static const struct { void (*run)(struct draw *d); bool narrows; } slots[SAMPLER_ROWS] = {
#define SAMPLER(name, narrows, fields, doc) {sampler_##name, narrows},
#include "runtime/sampler.def"
#undef SAMPLER
};

enum { PENALTY_LAST = 64 };

size_t nun_sampler_rows(const struct nun_sampler_row **out)
{
    *out = rows;
    return SAMPLER_ROWS;
}

/* ---- drawing ------------------------------------------------------------------------------- */

/* What may not come is not among the candidates, so that no row can bring it back. */
static void keep_allowed(struct draw *d)
{
    int n = 0;
    for (int i = 0; i < d->n; i++)
        if (d->p->allow[d->list[i].id / 64] >> (d->list[i].id % 64) & 1)
            d->list[n++] = d->list[i];
    d->n = n;
}

static void run_chain(struct sampler *p, const float *logits, const struct sample_past *past, uint64_t index, struct draw *d)
{
    size_t last = p->s.penalty_last < 0 ? past->n : p->s.penalty_last ? (size_t)p->s.penalty_last : PENALTY_LAST;
    *d = (struct draw){.p = p, .list = p->list, .n = p->vocab, .index = index, .past = *past, .window = *past};
    if (d->window.n > last) {
        d->window.ids += d->window.n - last;
        d->window.n = last;
    }
    if (d->window.n_answer > d->window.n)
        d->window.n_answer = d->window.n;
    for (int i = 0; i < p->vocab; i++)
        p->list[i] = (struct sample_candidate){i, logits[i]};
    for (size_t i = 0; i < p->n_banned; i++)
        p->list[p->banned[i]].logit = SAMPLE_DEAD;
    if (p->allow)
        keep_allowed(d);
    for (int i = 0; i < p->n_chain; i++)
        if (p->s.temperature > 0 || !slots[p->chain[i]].narrows)
            slots[p->chain[i]].run(d);
}

static float largest(const struct draw *d)
{
    float m = d->list[0].logit;
    for (int i = 1; i < d->n; i++)
        m = d->list[i].logit > m ? d->list[i].logit : m;
    return m;
}

/* One of the list; *p is how probable it was. */
static int32_t choose(const struct draw *d, double *p)
{
    struct rng r = rng_at(d->p->s.seed, d->index);
    double u = rng_double(&r), sum = 0, have = 0;
    float m = largest(d);
    for (int i = 0; i < d->n; i++)
        sum += exp((double)d->list[i].logit - m);
    int at = 0;
    for (; at < d->n - 1; at++) {
        have += exp((double)d->list[at].logit - m);
        if (u * sum < have)
            break;
    }
    *p = exp((double)d->list[at].logit - m) / sum;
    return d->list[at].id;
}

int32_t sampler_draw(struct sampler *p, const float *logits, const struct sample_past *past, uint64_t index)
{
    struct draw d;
    double chance = 1;
    run_chain(p, logits, past, index, &d);
    int32_t id = d.n == 1 ? d.list[0].id : choose(&d, &chance);
    if (p->s.mirostat && p->s.temperature > 0)
        p->mu -= (double)p->s.mirostat_eta * (-log2(chance) - (double)p->s.mirostat_tau);
    return id;
}

void sampler_probabilities(struct sampler *p, const float *logits, const struct sample_past *past, float *out)
{
    struct draw d;
    run_chain(p, logits, past, 0, &d);
    float m = largest(&d);
    double sum = 0;
    for (int i = 0; i < d.n; i++)
        sum += exp((double)d.list[i].logit - m);
    memset(out, 0, (size_t)p->vocab * sizeof *out);
    for (int i = 0; i < d.n; i++)
        out[d.list[i].id] = (float)(exp((double)d.list[i].logit - m) / sum);
}

/* ---- log probabilities --------------------------------------------------------------------- */

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
    sample_heapify(work, vocab);
    for (int i = 0; i < n && i < vocab; i++) {
        struct sample_candidate c = sample_pop(work, vocab - i);
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
    const struct { const char *name; double value, lo, hi; } numbers[] = {
        {"temperature", s->temperature, 0, 100}, {"top_k", s->top_k, 0, INT32_MAX}, {"top_p", s->top_p, 0, 1},
        {"min_p", s->min_p, 0, 1}, {"typical_p", s->typical_p, 0, 1}, {"epsilon", s->epsilon, 0, 1}, {"eta", s->eta, 0, 1},
        {"min_keep", s->min_keep, 0, INT32_MAX}, {"repeat_penalty", s->repeat_penalty, 0, 100},
        {"presence_penalty", s->presence_penalty, -100, 100}, {"frequency_penalty", s->frequency_penalty, -100, 100},
        {"penalty_last", s->penalty_last, -1, INT32_MAX}, {"no_repeat_ngram", s->no_repeat_ngram, 0, INT32_MAX},
        {"top_n_sigma", s->top_n_sigma, 0, 1000}, {"xtc_probability", s->xtc_probability, 0, 1},
        {"xtc_threshold", s->xtc_threshold, 0, 1}, {"dry_multiplier", s->dry_multiplier, 0, 1000},
        {"dry_base", s->dry_base ? s->dry_base : 1, 1, 100}, {"dry_allowed_length", s->dry_allowed_length, 0, INT32_MAX},
        {"dry_last", s->dry_last, 0, INT32_MAX}, {"mirostat", s->mirostat, 0, 2}, {"mirostat_tau", s->mirostat_tau, 0, 100},
        {"mirostat_eta", s->mirostat_eta, 0, 1}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        TRY(check_number(numbers[i].name, numbers[i].value, numbers[i].lo, numbers[i].hi));
    for (size_t i = 0; i < s->n_bias; i++) {
        TRY(check_number("logit bias: id", s->bias[i].id, 0, vocab - 1));
        TRY(check_number("logit bias", s->bias[i].bias, -1e9, 1e9));
    }
    return 0;
}

static int add_row(struct sampler *p, struct span name)
{
    for (int i = 0; i < SAMPLER_ROWS; i++) {
        if (!span_is(name, rows[i].name))
            continue;
        for (int k = 0; k < p->n_chain; k++)
            if (p->chain[k] == (enum sampler_row)i)
                return err_set(NUN_EARG, "sampling chain: %s stands twice", rows[i].name);
        p->chain[p->n_chain++] = (enum sampler_row)i;
        return 0;
    }
    return err_set(NUN_EARG, "sampling chain: there is no row \"%.*s\"", (int)name.len, name.ptr);
}

static int read_chain(struct sampler *p)
{
    const char *at = p->s.chain;
    for (int i = 0; !at && i < SAMPLER_ROWS; i++)
        p->chain[p->n_chain++] = (enum sampler_row)i;
    while (at && *at) {
        size_t len = strcspn(at, ",");
        TRY(add_row(p, span_of(at, len)));
        at += len + (at[len] == ',');
    }
    return 0;
}

/* Numbers that are 0 and mean another. */
static void fill_in(struct nun_sampling *s)
{
    s->dry_base = s->dry_base > 0 ? s->dry_base : 1.75f;
    s->dry_allowed_length = s->dry_allowed_length ? s->dry_allowed_length : 2;
    s->mirostat_tau = s->mirostat_tau > 0 ? s->mirostat_tau : 5;
    s->mirostat_eta = s->mirostat_eta > 0 ? s->mirostat_eta : 0.1f;
}

int sampler_init(struct sampler *p, const struct nun_sampling *settings, int vocab)
{
    *p = (struct sampler){.s = *settings, .vocab = vocab};
    TRY(check_settings(settings, vocab));
    TRY(read_chain(p));
    fill_in(&p->s);
    p->mu = 2 * (double)p->s.mirostat_tau;
    p->list = mem_alloc(MEM_RUNTIME, (size_t)vocab * sizeof *p->list);
    p->work = mem_alloc(MEM_RUNTIME, (size_t)vocab * sizeof *p->work);
    p->counts = mem_calloc(MEM_RUNTIME, (size_t)vocab, sizeof *p->counts);
    if (p->s.dry_multiplier > 0)
        p->breaker = mem_calloc(MEM_RUNTIME, (size_t)vocab, sizeof *p->breaker);
    if (p->list && p->work && p->counts && (p->breaker || !(p->s.dry_multiplier > 0)))
        return 0;
    sampler_free(p);
    return NUN_ENOMEM;
}

void sampler_free(struct sampler *p)
{
    mem_free(p->list);
    mem_free(p->work);
    mem_free(p->counts);
    mem_free(p->breaker);
    p->breaker = NULL;
    p->list = p->work = NULL;
    p->counts = NULL;
}
