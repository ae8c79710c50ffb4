/* The task "conversations": samples of data on disk, as many whole ones behind each other in a row of tokens as it holds,
 * cross-entropy on the assistant's tokens. The next samples are read, and their pictures decoded, by all threads together;
 * what a row has no room for any more waits for the next. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "train/talk.h"

struct conversations {
    struct talk_set *set;
    struct talk *talk;           /* [n] that are read and not used: samples first, first + 1, ... */
    struct talk_source *source;  /* [cap] */
    uint64_t first;
    int n, cap;
};

/* Which sample it is, and what became of its reading: sentences belong to threads, so they are carried over. */
struct talk_source { const struct dataset *d; const struct data_sample *s; int rc; char why[512]; };

static void drop_first(struct conversations *c, int n)
{
    for (int i = 0; i < n; i++)
        talk_free(&c->talk[i]);
    if (c->n > n)
        memmove(c->talk, c->talk + n, (size_t)(c->n - n) * sizeof *c->talk);
    c->n -= n;
    c->first += (uint64_t)n;
}

static int make_room(struct conversations *c, int more)
{
    if (c->n + more <= c->cap)
        return 0;
    int cap = 2 * (c->n + more);
    struct talk *talk = mem_realloc(MEM_TRAIN, c->talk, (size_t)cap * sizeof *talk);
    c->talk = talk ? talk : c->talk;
    struct talk_source *source = mem_realloc(MEM_TRAIN, c->source, (size_t)cap * sizeof *source);
    c->source = source ? source : c->source;
    if (!talk || !source)
        return NUN_ENOMEM;
    c->cap = cap;
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------------- */

struct reading { struct stage_run *r; struct talk *talk; struct talk_source *source; int n; };

static void read_some(void *arg, int ith, int nth)
{
    struct reading *w = arg;
    struct nun_model *m = w->r->t->prompts;
    int most = (int)w->r->s->tokens < m->context ? (int)w->r->s->tokens : m->context;
    for (int i = ith; i < w->n; i += nth) {
        struct talk_source *own = &w->source[i];
        own->rc = talk_make(m, own->d, own->s, most, &w->talk[i]);
        if (own->rc < 0)
            snprintf(own->why, sizeof own->why, "%s", nun_error());
    }
}

/* One sample more a thread, but none behind the last that there is. */
static int read_more(struct stage_run *r)
{
    struct conversations *c = r->own;
    uint64_t next = c->first + (uint64_t)c->n;
    int more = pool_threads(r->t->pool), rc = 0;
    more = r->samples - next < (uint64_t)more ? (int)(r->samples - next) : more;
    TRY(make_room(c, more));
    for (int i = 0; i < more; i++)
        talk_set_at(c->set, next + (uint64_t)i, &c->source[i].d, &c->source[i].s);
    struct reading w = {r, c->talk + c->n, c->source, more};
    pool_run(r->t->pool, read_some, &w);
    c->n += more;
    for (int i = 0; i < more && rc >= 0; i++) {
        if (c->source[i].rc < 0)
            rc = err_set(c->source[i].rc, "stage %s: %s", r->s->name, c->source[i].why);
        else if (w.talk[i].cut[0])
            log_warn("stage %s: %s: %s", r->s->name, dataset_path(c->source[i].d), w.talk[i].cut);
    }
    return rc;
}

/* ---- the row ------------------------------------------------------------------------------------- */

static int check_stage(const struct stage_run *r)
{
    const struct nun_model *m = r->t->prompts;
    if (!m->tokenizer || !m->chat.template)
        return err_set(NUN_EUNSUP, "stage %s: %s has no %s", r->s->name, train_folder(r->t), m->tokenizer ? "chat template" : "tokenizer");
    return 0;
}

static int open_stage(struct stage_run *r)
{
    const struct recipe_stage *s = r->s;
    struct conversations *c = r->own = mem_calloc(MEM_TRAIN, 1, sizeof *c);
    const struct recipe_data *data = r->learn ? s->data : s->eval_data;
    uint32_t n = r->learn ? s->data_count : s->eval_data_count;
    if (!c)
        return NUN_ENOMEM;
    TRY(check_stage(r));
    r->samples = 0;
    if (!n)
        return 0;
    TRY(talk_set_open(data, n, r->learn, r->t->recipe->seed, &c->set));
    r->samples = r->learn ? UINT64_MAX : talk_set_count(c->set);
    return 0;
}

static int fill(struct stage_run *r, uint64_t first, struct train_graph **out)
{
    struct conversations *c = r->own;
    int n = 0, tokens = 0;
    if (first != c->first) {
        drop_first(c, c->n);
        c->first = first;
    }
    while (first + (uint64_t)n < r->end) {
        if (n == c->n)
            TRY(read_more(r));
        if (n && tokens + c->talk[n].tokens > (int)r->s->tokens)
            break;
        tokens += c->talk[n++].tokens;
    }
    TRY(talk_graph(r, c->talk, n, out));
    (*out)->rows = n;
    drop_first(c, n);
    return 0;
}

static void close_stage(struct stage_run *r)
{
    struct conversations *c = r->own;
    if (!c)
        return;
    drop_first(c, c->n);
    talk_set_close(c->set);
    mem_free(c->talk);
    mem_free(c->source);
    mem_free(c);
}

const struct train_task train_task_conversations = {
    "conversations", "conversations of files, with their pictures, packed: cross-entropy on the assistant's tokens", open_stage, fill, NULL,
    NULL, close_stage};
