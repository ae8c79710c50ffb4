/* The task "perplexity": how surprised a model is by a text. Every token but the first is scored once, with at
 * least half a window of what stands before it in sight; windows overlap by half, and each begins with the
 * tokens that the tokenizer puts before a text. Knows nothing of pictures and answers. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/seam.h"
#include "eval/task.h"

enum { WINDOW = 512, LEAST_WINDOW = 8, BEFORE_MAX = 4 };

struct surprise {
    struct nun_model *model;
    const struct nun_eval_options *o;
    const int32_t *ids;      /* [n]: tokens before a text, then the text */
    size_t n, before, window;
    float *score;            /* [window] */
    double sum, squares;     /* of -log p */
    size_t tokens;
};

/* How many tokens the tokenizer puts before a text: where the text without them begins. */
static int count_before(const struct nun_model *m, const char *text, size_t len, const int32_t *ids, size_t n,
                        size_t *before)
{
    int32_t *bare;
    size_t n_bare;
    TRY(nun_encode(m, text, len, 0, &bare, &n_bare));
    size_t at = 0;
    while (at < n && at < BEFORE_MAX && n_bare && ids[at] != bare[0])
        at++;
    *before = at < n && at < BEFORE_MAX ? at : 0;
    nun_free(bare);
    return 0;
}

/* Ids [from, to) given the ones before them, from `start` on. */
static int score_window(struct surprise *s, struct nun_timeline *t, size_t start, size_t from, size_t to)
{
    if (start > s->before)
        TRY(nun_timeline_ids(t, s->ids, s->before));
    TRY(nun_timeline_ids(t, s->ids + start, from - start));
    TRY(nun_timeline_score(t, s->ids + from, to - from, s->score));
    for (size_t i = 0; i < to - from; i++) {
        double x = -(double)s->score[i];
        s->sum += x;
        s->squares += x * x;
    }
    s->tokens += to - from;
    return 0;
}

static int score_all(struct surprise *s)
{
    size_t first = s->before ? s->before : 1;
    for (size_t from = first, to; from < s->n; from = to) {
        size_t past = from == first ? from : (s->window - s->before) / 2;
        to = from == first ? s->window : from + s->window - s->before - past;
        to = to < s->n ? to : s->n;
        struct nun_timeline *t;
        TRY(nun_timeline_create(s->model, &t));
        int rc = score_window(s, t, from - past, from, to);
        nun_timeline_free(t);
        TRY(rc);
        if (s->o->progress && s->o->progress(s->o->arg, "tokens", to - first, s->n - first, NAN))
            return err_set(NUN_ESTOP, "eval: stopped after %zu of %zu tokens", to - first, s->n - first);
    }
    return 0;
}

static int score_ids(struct surprise *s, struct nun_eval_text *out)
{
    if (!(s->score = mem_calloc(MEM_EVAL, s->window, sizeof *s->score)))
        return NUN_ENOMEM;
    int rc = score_all(s);
    mem_free(s->score);
    TRY(rc);
    double n = (double)s->tokens, mean = s->sum / n, variance = s->squares / n - mean * mean;
    *out = (struct nun_eval_text){.tokens = s->tokens, .window = s->window, .surprise = mean, .perplexity = exp(mean)};
    out->error = out->perplexity * sqrt((variance > 0 ? variance : 0) / n);
    return 0;
}

static int score_text(struct nun_model *m, const struct nun_eval_options *o, const char *text, size_t len,
                      struct nun_eval_text *out)
{
    struct nun_model_info info;
    int32_t *ids;
    size_t n, before;
    nun_model_info(m, &info);
    int window = o->window ? o->window : info.context < WINDOW ? info.context : WINDOW;
    if (window < LEAST_WINDOW || window > info.context)
        return err_set(NUN_EARG, "eval perplexity: expected a window of %d to %d positions, found %d", LEAST_WINDOW,
                       info.context, window);
    TRY(nun_encode(m, text, len, NUN_TEXT_ADD_SPECIAL, &ids, &n));
    int rc = count_before(m, text, len, ids, n, &before);
    if (rc >= 0 && n < before + 2)
        rc = err_set(NUN_EARG, "eval perplexity: %s: expected at least 2 tokens, found %zu", o->text, n - before);
    if (rc >= 0) {
        struct surprise s = {.model = m, .o = o, .ids = ids, .n = n, .before = before, .window = (size_t)window};
        rc = score_ids(&s, out);
    }
    nun_free(ids);
    return rc;
}

int eval_perplexity(struct nun_model *m, const struct nun_eval_options *o, struct eval_samples *samples,
                    struct nun_eval_result *out)
{
    uint64_t began = seam_now_ns();
    struct buf text;
    if (!o->text)
        return err_set(NUN_EARG, "eval perplexity: expected a text, found none; see --text");
    if (o->report)
        return err_set(NUN_EUNSUP, "eval perplexity: a text's perplexity is one number, it has no report");
    buf_init(&text, MEM_EVAL, LIMIT_OF(text_bytes));
    int rc = file_read(o->text, &text);
    if (rc >= 0)
        rc = score_text(m, o, buf_cstr(&text), text.len, &out->text);
    buf_free(&text);
    out->seconds = (double)(seam_now_ns() - began) / 1e9;
    return rc;
}
