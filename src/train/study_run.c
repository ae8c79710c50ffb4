/* The runs of a study, one after the other: what is finished stays, what was begun goes on, what was made from
 * something else is made anew. Then the report. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/seam.h"
#include "train/study_parts.h"

struct going {
    const struct nun_study_options *options;
    int (*train)(const struct nun_train_options *);
    struct study_plan plan;
    const struct study_run *run;  /* the one in work */
    uint64_t started_ns;          /* of the call */
    double left;                  /* pictures of runs after this one */
    double done;                  /* pictures of this call, in runs before this one */
    double first;                 /* share of this run that was there from before; negative until known */
    struct nun_study_result *out;
};

static bool shared_name(const struct study *s, const char *name)
{
    for (uint32_t i = 0; i < s->shared_count; i++)
        if (!strcmp(s->shared[i].name, name))
            return true;
    return false;
}

/* A variant may stand on any of the shared runs. */
static bool asked_for(const struct going *g, const struct study_run *r)
{
    const struct nun_study_options *o = g->options;
    for (size_t i = 0; i < o->n_only; i++)
        if (!strcmp(o->only[i], r->spec->name) || (r->shared && !shared_name(g->plan.study, o->only[i])))
            return true;
    return o->n_only == 0;
}

/* ---- telling ---------------------------------------------------------------------------------- */

static int tell(struct going *g, const struct nun_train_progress *t, bool kept)
{
    if (!g->options->progress)
        return 0;
    struct nun_study_progress p = {.run = g->run->name, .at = (size_t)(g->run - g->plan.runs) + 1, .runs = g->plan.n_runs, .kept = kept,
                                   .train = t, .seconds_left = -1};
    if (t && t->steps) {
        double share = (double)t->step / (double)t->steps;
        double done = g->done + (share - g->first) * g->run->pictures, left = g->left + (1 - share) * g->run->pictures;
        if (done > 0)
            p.seconds_left = (double)(seam_now_ns() - g->started_ns) / 1e9 / done * left;
    }
    return g->options->progress(g->options->arg, &p);
}

static int on_step(void *arg, const struct nun_train_progress *t)
{
    struct going *g = arg;
    if (g->first < 0)
        g->first = t->steps ? (double)(t->step - 1) / (double)t->steps : 0;
    return tell(g, t, false);
}

/* ---- one run ---------------------------------------------------------------------------------- */

static int begin(const struct study_run *r, const char *hex)
{
    char path[4096];
    if (file_exists(r->dir))
        TRY(file_remove_tree(r->dir));
    TRY(file_mkdirs(r->dir));
    TRY(path_join(path, sizeof path, r->dir, "made-from"));
    return file_write_durable(path, hex, strlen(hex));
}

static int make(struct going *g)
{
    const struct study_run *r = g->run;
    struct study_scores *scores = mem_alloc(MEM_TRAIN, sizeof *scores);
    char path[4096];
    int rc = scores ? path_join(path, sizeof path, r->dir, "scores.json") : NUN_ENOMEM;
    g->first = -1;
    if (rc >= 0)
        rc = g->train(&(struct nun_train_options){.recipe = r->recipe, .threads = g->options->threads, .resume = true,
                                                  .progress = on_step, .arg = g});
    if (rc >= 0)
        rc = study_scores_read(path, scores);
    mem_free(scores);
    g->done += r->pictures * (1 - (g->first > 0 ? g->first : 0));
    return rc;
}

static int go(struct going *g)
{
    char hex[65];
    enum study_state state;
    TRY(study_origin(g->run, hex));
    TRY(study_state(g->run, hex, &state));
    if (state == STUDY_DONE) {
        g->out->kept++;
        return tell(g, NULL, true) ? err_set(NUN_ESTOP, "stopped") : 0;
    }
    if (state == STUDY_NEW)
        TRY(begin(g->run, hex));
    if (tell(g, NULL, false))
        return err_set(NUN_ESTOP, "stopped");
    TRY(make(g));
    g->out->made++;
    return 0;
}

/* What is finished counts nothing; while a shared model is missing, its runs are to be made. */
static double to_do(const struct study_run *r)
{
    char hex[65];
    enum study_state state;
    if (study_origin(r, hex) >= 0 && study_state(r, hex, &state) >= 0 && state == STUDY_DONE)
        return 0;
    return r->pictures;
}

static int go_through(struct going *g)
{
    const struct study_plan *p = &g->plan;
    for (size_t i = 0; i < p->n_runs; i++)
        if (asked_for(g, &p->runs[i]))
            g->left += to_do(&p->runs[i]);
    err_clear();
    g->started_ns = seam_now_ns();
    for (size_t i = 0; i < p->n_runs; i++) {
        g->run = &p->runs[i];
        if (!asked_for(g, g->run))
            continue;
        g->left -= to_do(g->run);
        err_clear();
        g->left = g->left > 0 ? g->left : 0;
        int rc = go(g);
        if (rc < 0)
            return err_at(rc, "run %s (%zu of %zu)", g->run->name, i + 1, p->n_runs);
    }
    return 0;
}

/* ---- the report ------------------------------------------------------------------------------- */

static int write_reports(struct going *g)
{
    char md[4096];
    struct study_results *r = mem_calloc(MEM_TRAIN, 1, sizeof *r);
    if (!r)
        return NUN_ENOMEM;
    struct nun_study_result *out = g->out;
    int rc = study_results_read(&g->plan, r);
    if (rc >= 0)
        rc = path_join(out->report, sizeof out->report, g->plan.dir, "report.html");
    if (rc >= 0)
        rc = path_join(out->summary, sizeof out->summary, g->plan.dir, "summary.json");
    if (rc >= 0)
        rc = path_join(md, sizeof md, g->plan.dir, "summary.md");
    if (rc >= 0)
        rc = study_report_html(r, out->report);
    if (rc >= 0)
        rc = study_pictures(r, g->plan.dir);
    if (rc >= 0)
        rc = study_summary_json(r, out->summary);
    if (rc >= 0)
        rc = study_summary_md(r, md);
    out->missing = r->missing;
    study_results_free(r);
    mem_free(r);
    return rc;
}

int study_run(const struct nun_study_options *o, int (*train)(const struct nun_train_options *), struct nun_study_result *out)
{
    struct going g = {.options = o, .train = train, .out = out};
    memset(out, 0, sizeof *out);
    int rc = study_plan_make(o, &g.plan);
    out->runs = g.plan.n_runs;
    if (rc >= 0)
        rc = go_through(&g);
    if (rc >= 0)
        rc = write_reports(&g);
    study_plan_free(&g.plan);
    return rc;
}

int nun_study(const struct nun_study_options *options, struct nun_study_result *out)
{
    return study_run(options, nun_train, out);
}
