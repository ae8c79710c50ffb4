/* From the numbers of the runs to what a reader sees: estimates over seeds, and tables of texts that HTML and
 * Markdown are both made of. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "train/study_parts.h"

/* ---- reading ---------------------------------------------------------------------------------- */

static int read_run(struct study_results *r, const struct study_run *run, const struct study_scores **out)
{
    char path[4096], hex[65];
    enum study_state state;
    struct study_scores *s;
    *out = NULL;
    if (study_origin(run, hex) < 0) { /* its model is not there yet, so neither are its numbers */
        err_clear();
        return 0;
    }
    TRY(study_state(run, hex, &state));
    if (state != STUDY_DONE)
        return 0;
    TRY(path_join(path, sizeof path, run->dir, "scores.json"));
    s = arena_alloc(&r->arena, sizeof *s);
    if (!s)
        return NUN_ENOMEM;
    *out = s;
    return study_scores_read(path, s);
}

static void add_kinds(struct study_results *r, const struct study_asked *a)
{
    for (int i = 0; i < a->n; i++) {
        int k = 0;
        while (k < r->n_kinds && strcmp(r->kinds[k], a->kind[i].name) != 0)
            k++;
        if (k == r->n_kinds && k < STUDY_KINDS)
            r->kinds[r->n_kinds++] = a->kind[i].name;
    }
}

static int read_variant(struct study_results *r, const struct study_run *run)
{
    const struct study_plan *p = r->plan;
    struct study_variant *v = &r->variants[run->spec - p->study->variants];
    uint32_t k = 0;
    while (p->seeds[k] != run->seed)
        k++;
    TRY(read_run(r, run, &v->by_seed[k]));
    if (!v->by_seed[k]) {
        r->missing++;
        return 0;
    }
    v->n++;
    add_kinds(r, &v->by_seed[k]->stage[v->by_seed[k]->n_stages - 1].test);
    return 0;
}

int study_results_read(const struct study_plan *plan, struct study_results *out)
{
    const struct study *s = plan->study;
    *out = (struct study_results){.plan = plan};
    arena_init(&out->arena, MEM_TRAIN, 0);
    out->variants = arena_array(&out->arena, s->variants_count, sizeof *out->variants);
    for (uint32_t i = 0; out->variants && i < s->variants_count; i++) {
        out->variants[i].spec = &s->variants[i];
        out->variants[i].by_seed = arena_array(&out->arena, plan->n_seeds, sizeof *out->variants[i].by_seed);
        if (!out->variants[i].by_seed)
            return NUN_ENOMEM;
    }
    if (!out->variants)
        return NUN_ENOMEM;
    for (size_t i = 0; i < plan->n_runs; i++)
        if (!plan->runs[i].shared)
            TRY(read_variant(out, &plan->runs[i]));
    return 0;
}

void study_results_free(struct study_results *r)
{
    arena_free(&r->arena);
}

/* ---- estimates -------------------------------------------------------------------------------- */

struct study_count study_counted(const struct study_asked *a, struct study_slice s)
{
    struct study_count c = {0, 0};
    for (int i = 0; i < a->n; i++) {
        const struct study_kind *k = &a->kind[i];
        if (s.kind && strcmp(s.kind, k->name) != 0)
            continue;
        c.right += s.part == PART_ALL ? k->right : s.part == PART_FINE ? k->fine_right : k->right - k->fine_right;
        c.asked += s.part == PART_ALL ? k->asked : s.part == PART_FINE ? k->fine_asked : k->asked - k->fine_asked;
    }
    return c;
}

static struct study_count last_counted(const struct study_scores *s, struct study_slice slice)
{
    return s ? study_counted(&s->stage[s->n_stages - 1].test, slice) : (struct study_count){0, 0};
}

/* Differences of shares that are the same may differ in their last bit. */
static bool all_equal(const double *x, int n)
{
    for (int i = 1; i < n; i++)
        if (fabs(x[i] - x[0]) > 1e-12)
            return false;
    return n > 0;
}

/* One count is a proportion, several are a sample of proportions. Seeds that agree (a model that nothing was done
 * to yet) are one count too: their spread is no measure of chance. */
static struct study_estimate of_counts(const struct study_count *c, uint32_t n)
{
    double share[64];
    struct study_count one = {0, 0};
    int used = 0;
    for (uint32_t i = 0; i < n && used < 64; i++)
        if (c[i].asked > 0) {
            one = c[i];
            share[used++] = c[i].right / c[i].asked;
        }
    if (!all_equal(share, used))
        return study_mean(share, used);
    struct study_estimate e = study_share(one.right, one.asked);
    e.n = used;
    return e;
}

struct study_estimate study_accuracy(const struct study_results *r, const struct study_variant *v, struct study_slice s)
{
    struct study_count c[64];
    for (uint32_t k = 0; k < r->plan->n_seeds; k++)
        c[k] = last_counted(v->by_seed[k], s);
    return of_counts(c, r->plan->n_seeds);
}

struct study_estimate study_gain(const struct study_results *r, const struct study_variant *v, const struct study_variant *base,
                                 struct study_slice s)
{
    double gain[64];
    struct study_estimate one = study_mean(NULL, 0), other = one;
    int n = 0;
    for (uint32_t k = 0; k < r->plan->n_seeds; k++) {
        struct study_count a = last_counted(v->by_seed[k], s), b = last_counted(base->by_seed[k], s);
        if (a.asked <= 0 || b.asked <= 0)
            continue;
        one = study_share(a.right, a.asked);
        other = study_share(b.right, b.asked);
        gain[n++] = one.mean - other.mean;
    }
    if (!all_equal(gain, n))
        return study_mean(gain, n);
    struct study_estimate e = study_share_gain(one, other);
    e.n = n;
    return e;
}

static double loss_of(const struct study_scores *s, struct study_slice slice)
{
    double tokens = 0, nats = 0;
    const struct study_asked *a = &s->stage[s->n_stages - 1].test;
    for (int i = 0; i < a->n; i++) {
        const struct study_kind *k = &a->kind[i];
        if (slice.kind && strcmp(slice.kind, k->name) != 0)
            continue;
        tokens += slice.part == PART_ALL ? k->tokens : slice.part == PART_FINE ? k->fine_tokens : k->tokens - k->fine_tokens;
        nats += slice.part == PART_ALL ? k->nats : slice.part == PART_FINE ? k->fine_nats : k->nats - k->fine_nats;
    }
    return tokens > 0 ? nats / tokens : NAN;
}

struct study_estimate study_loss(const struct study_results *r, const struct study_variant *v, struct study_slice s)
{
    double loss[64];
    int n = 0;
    for (uint32_t k = 0; k < r->plan->n_seeds; k++)
        if (v->by_seed[k] && !isnan(loss_of(v->by_seed[k], s)))
            loss[n++] = loss_of(v->by_seed[k], s);
    return study_mean(loss, n);
}

struct study_estimate study_stage_accuracy(const struct study_results *r, const struct study_variant *v, const char *stage, bool text)
{
    struct study_count c[64] = {{0, 0}};
    for (uint32_t k = 0; k < r->plan->n_seeds; k++)
        for (int i = 0; v->by_seed[k] && i < v->by_seed[k]->n_stages; i++) {
            const struct study_stage *s = &v->by_seed[k]->stage[i];
            if (!strcmp(s->name, stage))
                c[k] = study_counted(text ? &s->text : &s->test, (struct study_slice){NULL, PART_ALL});
        }
    return of_counts(c, r->plan->n_seeds);
}

static const struct study_stage *last_of(const struct study_scores *s)
{
    return &s->stage[s->n_stages - 1];
}

static double total_flops(const struct study_scores *s)
{
    double sum = 0;
    for (int i = 0; i < s->n_stages; i++)
        sum += s->stage[i].flops_per_picture * s->stage[i].pictures;
    return sum;
}

static double total_seconds(const struct study_scores *s)
{
    double sum = 0;
    for (int i = 0; i < s->n_stages; i++)
        sum += s->stage[i].seconds;
    return sum;
}

static double most_memory(const struct study_scores *s)
{
    double most = 0;
    for (int i = 0; i < s->n_stages; i++)
        most = s->stage[i].memory_bytes > most ? s->stage[i].memory_bytes : most;
    return most;
}

static double memory(const struct study_scores *s) { return last_of(s)->memory_bytes; }
static double parameters(const struct study_scores *s) { return s->parameters; }
static double sequence_tokens(const struct study_scores *s) { return last_of(s)->sequence_tokens; }
static double picture_tokens(const struct study_scores *s) { return last_of(s)->picture_tokens; }
static double side_rows(const struct study_scores *s) { return last_of(s)->side_rows; }
static double flops(const struct study_scores *s) { return last_of(s)->flops_per_picture; }
static double pictures_per_s(const struct study_scores *s) { return last_of(s)->pictures_per_s; }
static double tokens_per_s(const struct study_scores *s) { return last_of(s)->tokens_per_s; }
static double loss(const struct study_scores *s) { return last_of(s)->test.loss; }
static double prefill_tokens(const struct study_scores *s) { return s->prefill_tokens; }
static double prefill_pictures(const struct study_scores *s) { return s->prefill_pictures_per_s; }
static double first_token(const struct study_scores *s) { return s->seconds_to_first_token; }

const struct study_cost study_costs[] = {
    {"parameters", "parameters", false, parameters},
    {"loss", "loss on the test questions", false, loss},
    {"sequence_tokens", "tokens in the sequence", false, sequence_tokens},
    {"picture_tokens", "of them of a picture", false, picture_tokens},
    {"side_rows", "rows beside the sequence", false, side_rows},
    {"flops_per_picture", "training FLOPs a picture", false, flops},
    {"training_flops", "training FLOPs in all", false, total_flops},
    {"memory_bytes", "memory in training, bytes", false, memory},
    {"most_memory_bytes", "most of any stage, bytes", false, most_memory},
    {"prefill_tokens", "tokens of a prompt", false, prefill_tokens},
    {"pictures_per_s", "training, pictures/s", true, pictures_per_s},
    {"tokens_per_s", "training, tokens/s", true, tokens_per_s},
    {"seconds", "training, seconds", true, total_seconds},
    {"prefill_pictures_per_s", "prefill, pictures/s", true, prefill_pictures},
    {"seconds_to_first_token", "seconds to the first token", true, first_token}};
const size_t study_costs_count = sizeof study_costs / sizeof *study_costs;

struct study_estimate study_cost_of(const struct study_results *r, const struct study_variant *v, const struct study_cost *c)
{
    double x[64];
    int n = 0;
    for (uint32_t k = 0; k < r->plan->n_seeds; k++)
        if (v->by_seed[k])
            x[n++] = c->of(v->by_seed[k]);
    return study_mean(x, n);
}
