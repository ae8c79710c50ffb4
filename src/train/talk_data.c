/* The files of a stage and the order of their samples. A pass over a file shows each of its samples once, in an order by seed,
 * file and pass; which file comes next is what lags behind its weight most. So number `at` is always the same sample. */
/* SPDX-License-Identifier: MIT */
#include "train/talk.h"

#include <math.h>

#include "base/err.h"
#include "base/log.h"
#include "base/rng.h"
#include "nunchi/data.h"

struct talk_file {
    struct dataset *d;
    double share;              /* of what is seen */
    uint64_t seen;             /* of numbers below `at` */
};

struct talk_set {
    struct talk_file *file;    /* [n] */
    uint32_t n;
    bool shuffled;
    uint64_t seed, count;
    uint64_t at;               /* the number that comes next */
};

int talk_set_open(const struct recipe_data *data, uint32_t n, bool shuffled, uint64_t seed, struct talk_set **out)
{
    struct talk_set *s = *out = mem_calloc(MEM_TRAIN, 1, sizeof *s);
    double all = 0;
    if (!s || !(s->file = mem_calloc(MEM_TRAIN, (size_t)n + 1, sizeof *s->file)))
        return NUN_ENOMEM;
    s->shuffled = shuffled;
    s->seed = seed;
    for (; s->n < n; s->n++) {
        struct talk_file *f = &s->file[s->n];
        TRY(dataset_open(data[s->n].file, data[s->n].pictures, &f->d));
        s->count += dataset_count(f->d);
        f->share = data[s->n].weight > 0 ? (double)data[s->n].weight : (double)dataset_count(f->d);
        all += f->share;
    }
    for (uint32_t i = 0; i < n; i++)
        s->file[i].share /= all;
    return 0;
}

void talk_set_close(struct talk_set *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; s->file && i < s->n; i++)
        dataset_close(s->file[i].d);
    mem_free(s->file);
    mem_free(s);
}

uint64_t talk_set_count(const struct talk_set *s)
{
    return s->count;
}

/* The file of the next number. */
static struct talk_file *next_file(struct talk_set *s)
{
    struct talk_file *best = &s->file[0];
    double most = -INFINITY;
    s->at++;
    for (uint32_t i = 0; i < s->n; i++) {
        double lag = s->file[i].share * (double)s->at - (double)s->file[i].seen;
        if (lag > most) {
            most = lag;
            best = &s->file[i];
        }
    }
    best->seen++;
    return best;
}

static void seek(struct talk_set *s, uint64_t at)
{
    if (at < s->at) {
        s->at = 0;
        for (uint32_t i = 0; i < s->n; i++)
            s->file[i].seen = 0;
    }
    while (s->at < at)
        next_file(s);
}

void talk_set_at(struct talk_set *s, uint64_t at, const struct dataset **d, const struct data_sample **out)
{
    uint32_t k = 0;
    if (!s->shuffled) {
        for (at %= s->count; at >= dataset_count(s->file[k].d); k++)
            at -= dataset_count(s->file[k].d);
        *d = s->file[k].d;
        *out = dataset_at(*d, (size_t)at);
        return;
    }
    seek(s, at);
    const struct talk_file *f = next_file(s);
    uint64_t n = dataset_count(f->d), number = f->seen - 1, key = s->seed + ((uint64_t)(f - s->file) << 32);
    *d = f->d;
    *out = dataset_at(*d, (size_t)rng_permute(key, number / n, n, number % n));
}

/* ---- before a run ------------------------------------------------------------------------------- */

struct problems { size_t told, all; };

static void tell(void *arg, const char *sentence)
{
    enum { MOST = 100 };
    struct problems *p = arg;
    if (p->all++ < MOST) {
        log_warn("%s", sentence);
        p->told++;
    }
}

static int look_over(const struct recipe_data *data, uint32_t n, struct problems *p, size_t *samples)
{
    *samples = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct nun_dataset_tally tally;
        TRY(dataset_look_over(data[i].file, data[i].pictures, &(struct dataset_lint){tell, p}, &tally));
        if (!tally.samples)
            return err_set(NUN_EFORMAT, "%s: expected samples, found none", data[i].file);
        *samples += tally.samples;
    }
    return 0;
}

int talk_check(struct trainer *t)
{
    for (uint32_t i = 0; i < t->recipe->stages_count; i++) {
        struct recipe_stage *s = &t->recipe->stages[i];
        struct problems p = {0};
        size_t samples, held_out;
        TRY(look_over(s->data, s->data_count, &p, &samples));
        TRY(look_over(s->eval_data, s->eval_data_count, &p, &held_out));
        if (p.all)
            return err_set(NUN_EFORMAT, "stage %s: %zu problems in its data, the first %zu are told above", s->name, p.all, p.told);
        double seen = ceil((double)s->epochs * (double)samples);
        if (seen > UINT32_MAX)
            return err_set(NUN_ELIMIT, "stage %s: %g epochs of %zu samples, at most %u are seen", s->name, (double)s->epochs, samples, UINT32_MAX);
        if (seen > 0)
            s->pictures = (uint32_t)seen;
    }
    return 0;
}
