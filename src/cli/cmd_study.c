/* nunchi study: makes the runs of a study and its report, live as nunchi train shows them. Interrupted or killed,
 * the same command goes on. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <signal.h>

#include "cli/cli.h"
#include "nunchi/study.h"

static void line_json(const struct nun_study_progress *p)
{
    json_t *line = json_pack("{s:s, s:I, s:I, s:b}", "run", p->run, "at", (json_int_t)p->at, "runs", (json_int_t)p->runs, "kept", p->kept);
    if (p->train) {
        json_object_set_new(line, "stage", json_string(p->train->stage));
        json_object_set_new(line, "step", json_integer((json_int_t)p->train->step));
        json_object_set_new(line, "steps", json_integer((json_int_t)p->train->steps));
        json_object_set_new(line, "loss", json_real(p->train->loss));
    }
    if (p->seconds_left >= 0)
        json_object_set_new(line, "seconds_left", json_real(p->seconds_left));
    cli_print_json(line, false);
    fflush(stdout);
}

static void show_step(struct cli *c, const struct nun_study_progress *p)
{
    const struct nun_train_progress *t = p->train;
    char text[320], left[32];
    snprintf(text, sizeof text, "%zu/%zu %s  %s %llu/%llu  loss %.4f%s  left %s", p->at, p->runs, p->run, t->stage,
             (unsigned long long)t->step, (unsigned long long)t->steps, t->loss, t->skipped ? " (skipped: not finite)" : "",
             p->seconds_left < 0 ? "?" : term_duration(p->seconds_left, left));
    if (term_is(stderr) && !cli_flag(c, OPT_quiet))
        term_bar(t->steps ? (double)t->step / (double)t->steps : 0, text);
    else if (t->step % (uint64_t)cli_int(c, OPT_every) == 0 || t->skipped)
        cli_say(c, "%s\n", text);
    if (t->score) {
        term_bar_end();
        cli_say(c, "%s step %llu  %s  %s\n", p->run, (unsigned long long)t->step, t->stage, t->score);
    }
}

static int on_progress(void *arg, const struct nun_study_progress *p)
{
    struct cli *c = arg;
    if (c->json)
        line_json(p);
    else if (p->train)
        show_step(c, p);
    else if (!p->kept) {
        term_bar_end();
        cli_say(c, "run %zu of %zu: %s\n", p->at, p->runs, p->run);
    }
    return term_interrupted();
}

static void say_result(struct cli *c, const struct nun_study_result *r)
{
    if (c->json) {
        cli_print_json(json_pack("{s:I, s:I, s:I, s:I, s:s, s:s}", "runs", (json_int_t)r->runs, "made", (json_int_t)r->made, "kept",
                                 (json_int_t)r->kept, "missing", (json_int_t)r->missing, "report", r->report, "summary", r->summary),
                       false);
        return;
    }
    cli_say(c, "%zu runs: %zu made, %zu there from before, %zu missing\n", r->runs, r->made, r->kept, r->missing);
    printf("%s\n%s\n", r->report, r->summary);
}

int cmd_study(struct cli *c)
{
    const char *study = cli_word(c);
    const struct cli_value *only = &c->value[OPT_only];
    struct nun_study_result result;
    if (!study)
        return cli_missing(c, "a study");
    TRY(cli_no_more_words(c));
    struct nun_study_options o = {
        .study = study, .output = cli_text(c, OPT_output), .only = only->list, .n_only = (size_t)only->count,
        .quick = cli_flag(c, OPT_quick), .threads = cli_int(c, OPT_threads), .progress = on_progress, .arg = c};
    signal(SIGPIPE, SIG_IGN); /* hours of work do not end because nobody reads on */
    term_catch_interrupt();
    int rc = nun_study(&o, &result);
    term_uncatch_interrupt();
    term_bar_end();
    if (rc >= 0)
        say_result(c, &result);
    if (rc != NUN_ESTOP)
        return rc;
    cli_say(c, "%s and saved; the same command goes on from there\n", nun_error());
    return term_interrupted();
}
