/* nunchi train: runs a recipe and shows it live. On a terminal one bar that is written over, elsewhere
 * a line every few steps; --json gives a line of JSON for every step. SIGINT saves and stops. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "base/file.h"
#include "nunchi/eval.h"
#include "nunchi/nunchi.h"
#include "nunchi/train.h"

struct watch {
    struct cli *c;
    const char *stage;
};

static void step_json(const struct nun_train_progress *p)
{
    json_t *line = json_pack("{s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:b}", "stage", p->stage, "step",
                             (json_int_t)p->step, "steps", (json_int_t)p->steps, "loss", p->loss, "rate", p->rate,
                             "grad_norm", p->grad_norm, "tokens_per_s", p->tokens_per_s, "gflops_per_s",
                             p->flops_per_s / 1e9, "mfu", p->mfu, "seconds_left", p->seconds_left, "skipped",
                             p->skipped);
    if (p->score)
        json_object_set_new(line, "score", json_string(p->score));
    cli_print_json(line, false);
    fflush(stdout);
}

static const char *speed(const struct nun_train_progress *p, char *out, size_t cap)
{
    char left[32];
    int n = snprintf(out, cap, "%.0f tokens/s  %.0f GFLOP/s", p->tokens_per_s, p->flops_per_s / 1e9);
    if (p->mfu > 0 && n > 0)
        n += snprintf(out + n, cap - (size_t)n, "  MFU %.0f %%", p->mfu * 100);
    snprintf(out + n, cap - (size_t)n, "  left %s", term_duration(p->seconds_left, left));
    return out;
}

static void show_step(struct watch *w, const struct nun_train_progress *p)
{
    char text[256], fast[160];
    bool live = term_is(stderr);
    snprintf(text, sizeof text, "%s %llu/%llu  loss %.4f%s  %s", p->stage, (unsigned long long)p->step,
             (unsigned long long)p->steps, p->loss, p->skipped ? " (skipped: not finite)" : "",
             speed(p, fast, sizeof fast));
    if (live && !cli_flag(w->c, OPT_quiet))
        term_bar(p->steps ? (double)p->step / (double)p->steps : 0, text);
    else if (p->step % (uint64_t)cli_int(w->c, OPT_every) == 0 || p->skipped)
        cli_say(w->c, "%s\n", text);
}

static int on_step(void *arg, const struct nun_train_progress *p)
{
    struct watch *w = arg;
    if (w->c->json)
        step_json(p);
    if (p->score) {
        term_bar_end();
        cli_say(w->c, "step %llu  %s  %s\n", (unsigned long long)p->step, p->stage, p->score);
    }
    show_step(w, p);
    return term_interrupted();
}

/* ---- answers of the finished model ----------------------------------------------------------- */

static int ask_samples(const char *model, const struct nun_eval_options *eval, int threads)
{
    struct nun_model *m;
    struct nun_model_info info;
    struct nun_eval_result result;
    TRY(nun_model_open(model, &(struct nun_model_options){.threads = threads}, &m));
    nun_model_info(m, &info);
    int rc = info.image_size ? nun_eval(m, eval, &result) : 0; /* a model that only reads sees none */
    nun_model_close(m);
    return rc;
}

/* samples.html beside report.html: pictures never seen in training, questions, and what the model says. */
static int write_samples(struct cli *c, const struct nun_train_options *o)
{
    char output[4096], runs[4096], scratch[4200], report[4200], world[64];
    TRY(nun_recipe_paths(o->recipe, output, runs, sizeof runs));
    TRY(nun_recipe_world(o->recipe, world, sizeof world));
    cli_say(c, "report: %s/report.html\n", runs);
    if (!*world)
        return 0;
    TRY(path_join(scratch, sizeof scratch, runs, "samples-XXXXXX"));
    TRY(path_join(report, sizeof report, runs, "samples.html"));
    if (!mkdtemp(scratch))
        return err_errno("%s", scratch);
    const struct nun_eval_options eval = {.task = world, .scratch = scratch, .count = 60, .questions = 4, .report = report};
    int rc = ask_samples(o->output ? o->output : output, &eval, o->threads);
    return file_remove_tree(scratch) < 0 && rc >= 0 ? NUN_EIO : rc;
}

int cmd_train(struct cli *c)
{
    const char *recipe = cli_word(c);
    struct watch w = {.c = c};
    if (!recipe)
        return cli_missing(c, "a recipe");
    TRY(cli_no_more_words(c));
    struct nun_train_options o = {
        .recipe = recipe, .output = cli_text(c, OPT_output), .threads = cli_int(c, OPT_threads),
        .resume = cli_flag(c, OPT_resume), .stop_after = (uint64_t)cli_int(c, OPT_stop_after), .progress = on_step,
        .arg = &w};
    signal(SIGPIPE, SIG_IGN); /* hours of work do not end because nobody reads on */
    term_catch_interrupt();
    int rc = nun_train(&o);
    term_uncatch_interrupt();
    term_bar_end();
    if (rc >= 0)
        return write_samples(c, &o);
    if (rc != NUN_ESTOP)
        return rc;
    cli_say(c, "%s and saved; --resume goes on from there\n", nun_error());
    return term_interrupted(); /* --stop-after is no negative answer */
}
