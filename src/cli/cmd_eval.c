/* nunchi eval: asks a model the questions of a task and prints the score with its uncertainty. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/seam.h"
#include "cli/cli.h"
#include "nunchi/eval.h"
#include "nunchi/nunchi.h"

struct watch { struct cli *c; uint64_t began; const char *what; };

static int on_progress(void *arg, const char *what, size_t done, size_t of, double right)
{
    struct watch *w = arg;
    char text[128], left[32];
    if (w->what != what) {
        w->what = what;
        w->began = seam_now_ns();
    }
    double seconds = (double)(seam_now_ns() - w->began) / 1e9;
    int n = snprintf(text, sizeof text, "%zu of %zu %s", done, of, what);
    if (isfinite(right))
        n += snprintf(text + n, sizeof text - (size_t)n, ", %.1f %% right", right * 100);
    if (done && done < of)
        snprintf(text + n, sizeof text - (size_t)n, ", %s left",
                 term_duration(seconds / (double)done * (double)(of - done), left));
    if (!cli_flag(w->c, OPT_quiet))
        term_bar(of ? (double)done / (double)of : 0, text);
    return term_interrupted();
}

/* ---- printing -------------------------------------------------------------------------------- */

static void share_line(const char *name, const struct nun_eval_share *s)
{
    if (s->asked)
        printf("%-12s %7d %7d   %6.2f %%   %6.2f to %6.2f\n", name, s->asked, s->right, s->share * 100, s->low * 100,
               s->high * 100);
}

static void print_table(const struct nun_eval_result *r)
{
    printf("%-12s %7s %7s   %8s   %s\n", "kind", "asked", "right", "share", "95 % interval");
    for (int i = 0; i < r->n_kinds; i++)
        share_line(r->kind[i].name, &r->kind[i].share);
    share_line("all", &r->all);
    if (r->n_pope)
        printf("\n%-14s %6s %7s %9s %10s %8s %8s %10s\n", "existence", "there", "absent", "accuracy", "precision",
               "recall", "F1", "yes ratio");
    for (int i = 0; i < r->n_pope; i++) {
        const struct nun_eval_pope *p = &r->pope[i];
        printf("%-14s %6d %7d %9.2f %10.2f %8.2f %8.2f %10.2f\n", p->name, p->yes, p->no, p->accuracy * 100,
               p->precision * 100, p->recall * 100, p->f1 * 100, p->yes_ratio * 100);
    }
    if (r->parsed.asked)
        printf("\nJSON answers that parse: %d of %d\n", r->parsed.right, r->parsed.asked);
    printf("\n%zu questions about %zu pictures in %.1f s: %.0f questions/s, %.0f tokens/s out\n", r->questions,
           r->pictures, r->seconds, (double)r->questions / r->seconds, (double)r->generated_tokens / r->seconds);
}

static json_t *share_json(const struct nun_eval_share *s)
{
    if (!s->asked)
        return json_pack("{s:i, s:i}", "asked", 0, "right", 0);
    return json_pack("{s:i, s:i, s:f, s:f, s:f}", "asked", s->asked, "right", s->right, "share", s->share, "low",
                     s->low, "high", s->high);
}

static json_t *pope_json(const struct nun_eval_pope *p)
{
    return json_pack("{s:i, s:i, s:f, s:f, s:f, s:f, s:f}", "there", p->yes, "absent", p->no, "accuracy", p->accuracy,
                     "precision", p->precision, "recall", p->recall, "f1", p->f1, "yes_ratio", p->yes_ratio);
}

static json_t *result_json(const char *task, const struct nun_eval_options *o, const struct nun_eval_result *r)
{
    json_t *kinds = json_object(), *pope = json_object();
    for (int i = 0; i < r->n_kinds; i++)
        if (r->kind[i].share.asked)
            json_object_set_new(kinds, r->kind[i].name, share_json(&r->kind[i].share));
    for (int i = 0; i < r->n_pope; i++)
        json_object_set_new(pope, r->pope[i].name, pope_json(&r->pope[i]));
    json_t *out = json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:f, s:I, s:I, s:I}", "task", task, "pictures",
                            (json_int_t)r->pictures, "questions", (json_int_t)r->questions, "all",
                            share_json(&r->all), "kinds", kinds, "pope", pope, "json_parsed", share_json(&r->parsed),
                            "seconds", r->seconds, "prompt_tokens", (json_int_t)r->prompt_tokens, "cached_tokens",
                            (json_int_t)r->cached_tokens, "generated_tokens", (json_int_t)r->generated_tokens);
    json_object_set_new(out, o->data ? "data" : "split", json_string(o->data ? o->data : o->split));
    return out;
}

static void print_text(const struct nun_eval_text *t, double seconds)
{
    printf("perplexity %.4f +- %.4f over %zu tokens in windows of %zu, %.1f s\n", t->perplexity, t->error, t->tokens, t->window, seconds);
}

static json_t *text_json(const struct nun_eval_options *o, const struct nun_eval_result *r)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:f, s:f, s:f, s:f}", "task", o->task, "text", o->text, "tokens", (json_int_t)r->text.tokens,
                     "window", (json_int_t)r->text.window, "surprise", r->text.surprise, "perplexity", r->text.perplexity,
                     "error", r->text.error, "seconds", r->seconds);
}

/* ---- running --------------------------------------------------------------------------------- */

static int run_task(struct cli *c, struct nun_model *m, struct nun_eval_options *o)
{
    struct watch w = {.c = c};
    struct nun_eval_result r;
    o->progress = on_progress;
    o->arg = &w;
    term_catch_interrupt();
    int rc = nun_eval(m, o, &r);
    term_uncatch_interrupt();
    term_bar_end();
    if (rc == NUN_ESTOP) {
        cli_say(c, "%s\n", nun_error());
        return 1;
    }
    TRY(rc);
    if (c->json)
        cli_print_json(r.text.tokens ? text_json(o, &r) : result_json(o->task, o, &r), true);
    else if (r.text.tokens)
        print_text(&r.text, r.seconds);
    else
        print_table(&r);
    if (o->report)
        cli_say(c, "report: %s\n", o->report);
    return 0;
}

static int run_tasks(struct cli *c, struct nun_model *m, const char *scratch)
{
    struct nun_eval_options o = {
        .task = cli_word(c), .data = cli_text(c, OPT_data), .scratch = scratch, .split = cli_text(c, OPT_split),
        .seed = (uint64_t)c->value[OPT_seed].number, .count = cli_int(c, OPT_count),
        .questions = cli_int(c, OPT_questions), .quality = cli_int(c, OPT_quality),
        .rescale = cli_real(c, OPT_rescale), .batch = cli_int(c, OPT_parallel),
        .text = cli_text(c, OPT_text), .window = cli_int(c, OPT_ctx_size), .report = cli_text(c, OPT_report)};
    if (!o.task)
        o.task = nun_eval_task(0, NULL);
    int rc = 0;
    for (; o.task && rc == 0; o.task = cli_word(c))
        rc = run_task(c, m, &o);
    return rc;
}

/* Pictures made for the call live in a folder of their own, and go with it. */
int cmd_eval(struct cli *c)
{
    struct nun_model *m = NULL;
    const char *path, *tmp = c->env("TMPDIR");
    char scratch[4096];
    TRY(cli_model(c, &path));
    if (c->n_words > 1 && cli_text(c, OPT_report))
        return err_set(NUN_EARG, "eval: --report: expected one task, found %d", c->n_words);
    TRY(path_join(scratch, sizeof scratch, tmp && *tmp ? tmp : "/tmp", "nunchi-eval-XXXXXX"));
    if (!mkdtemp(scratch))
        return err_errno("%s", scratch);
    int rc = ask_open(c, path, cli_int(c, OPT_ctx_size), &m);
    if (rc >= 0)
        rc = run_tasks(c, m, scratch);
    nun_model_close(m);
    return file_remove_tree(scratch) < 0 && rc >= 0 ? NUN_EIO : rc;
}
