/* What a study is made of: the file, its runs, the numbers of a finished run, and the estimates over seeds
 * that reports show. Knows recipes as text and trainings by the public door; called by nun_study. */
/* SPDX-License-Identifier: MIT */
#ifndef TRAIN_STUDY_PARTS_H
#define TRAIN_STUDY_PARTS_H
#include "base/arena.h"
#include "base/buf.h"
#include "nunchi/study.h"
#include "train/study_stats.h"

/* ---- study_file.c: the YAML file ------------------------------------------------------------- */

struct study_spec {           /* a shared run, or a variant */
    char *name, *label;       /* label: what readers see; the name without one */
    char *recipe;
    char **set;               /* [set_count] "stages[0].pictures = 512" */
    uint32_t set_count;
    char **groups;            /* [groups_count] of a variant */
    uint32_t groups_count;
};
struct study_group { char *name, *title, *baseline; };
struct study_quick {
    uint64_t *seeds;
    char **set;               /* for every run, after its own */
    uint32_t seeds_count, set_count;
};
struct study {
    char *name, *output;
    uint64_t *seeds;
    struct study_group *groups;
    struct study_spec *shared, *variants;
    struct study_quick *quick; /* NULL: the study has no quick form */
    uint32_t seeds_count, groups_count, shared_count, variants_count;
};

int study_load(const char *path, struct study **out);
void study_free(struct study *s); /* NULL is fine */
bool study_in_group(const struct study_spec *v, const char *group);

/* ---- study_set.c: changes to a recipe, as text ------------------------------------------------- */

/* The recipe `yaml` with edits "KEY = VALUE" applied in turn, as YAML. KEY is a key of the recipe, or
 * stages[WHICH].KEY, where WHICH is a number from 0, the name of a stage, or * for all. VALUE is YAML. */
int study_edit(struct span yaml, const char *place, const char *const *edits, size_t n, struct buf *out);

/* ---- study_plan.c: what is run ---------------------------------------------------------------- */

struct study_run {
    char name[160];
    const struct study_spec *spec;
    bool shared;
    uint64_t seed;            /* of a variant */
    char dir[4096];           /* checkpoints, log.jsonl, scores.json; the model in dir/model */
    char recipe[4096];        /* the changed recipe's path */
    double pictures;          /* that it sees in all */
};
struct study_plan {
    struct study *study;
    char dir[4096];
    const uint64_t *seeds;    /* [n_seeds] */
    uint32_t n_seeds;
    struct study_run *runs;   /* [n_runs]: the shared ones first */
    size_t n_runs;
};

/* Reads the study, writes <output>/recipes/RUN.yaml and checks each. */
int study_plan_make(const struct nun_study_options *o, struct study_plan *out);
void study_plan_free(struct study_plan *p);

/* What a run is made from: its recipe and the files that the recipe's `model`, `tokenizer`, `processor`, `start` and
 * `data` name. Fails while one of them is not there yet. */
int study_origin(const struct study_run *r, char hex[65]);
enum study_state { STUDY_NEW, STUDY_BEGUN, STUDY_DONE };
/* How far the run of that origin is. */
int study_state(const struct study_run *r, const char *hex, enum study_state *out);

/* ---- study_scores.c: the numbers of a run ------------------------------------------------------ */

enum { STUDY_KINDS = 32, STUDY_STAGES = 65 };
struct study_count { double right, asked; };
struct study_kind {
    char name[32];
    double asked, right, fine_asked, fine_right; /* answers */
    double tokens, nats, fine_tokens, fine_nats; /* of the right answers, and their cross-entropy */
};
struct study_asked {
    bool there;
    double loss;
    int n;
    struct study_kind kind[STUDY_KINDS];
};
struct study_stage {
    char name[64], learnt[512];
    double pictures, steps, seconds, flops_per_picture, pictures_per_s, tokens_per_s, sequence_tokens, picture_tokens,
        side_rows, memory_bytes;
    struct study_asked test, text;
};
struct study_scores {
    char recipe_hash[129];
    double parameters;
    double prefill_pictures_per_s, prefill_tokens, seconds_to_first_token;
    int n_stages;             /* at least 1 */
    struct study_stage stage[STUDY_STAGES];
};
int study_scores_read(const char *path, struct study_scores *out);

/* ---- study_table.c: results and tables --------------------------------------------------------- */

struct study_variant {
    const struct study_spec *spec;
    const struct study_scores **by_seed; /* [plan->n_seeds], NULL where the run is missing */
    int n;                               /* runs that are there */
};
struct study_results {
    const struct study_plan *plan;
    struct arena arena;
    struct study_variant *variants;      /* [study->variants_count] */
    const char *kinds[STUDY_KINDS];      /* of questions, in the order of the first run */
    int n_kinds;
    size_t missing;
};
int study_results_read(const struct study_plan *plan, struct study_results *out);
void study_results_free(struct study_results *r);

enum study_part { PART_ALL, PART_FINE, PART_COARSE };
struct study_slice { const char *kind; enum study_part part; }; /* kind NULL: all of them */
struct study_count study_counted(const struct study_asked *a, struct study_slice s);
/* Right answers after the last stage, over seeds; and what the variant has over the baseline. */
struct study_estimate study_accuracy(const struct study_results *r, const struct study_variant *v, struct study_slice s);
struct study_estimate study_gain(const struct study_results *r, const struct study_variant *v,
                                 const struct study_variant *base, struct study_slice s);
/* Right answers of one stage, shown the picture or told it in words. */
struct study_estimate study_stage_accuracy(const struct study_results *r, const struct study_variant *v, const char *stage,
                                           bool text);

/* Cross-entropy of the right answers after the last stage, nats a token: it tells models apart that answer few questions right. */
struct study_estimate study_loss(const struct study_results *r, const struct study_variant *v, struct study_slice s);

/* One number of a run that is not a share: rows of a table. */
struct study_cost {
    const char *key, *title;
    bool measured;            /* depends on the machine and the hour */
    double (*of)(const struct study_scores *s);
};
extern const struct study_cost study_costs[];
extern const size_t study_costs_count;
struct study_estimate study_cost_of(const struct study_results *r, const struct study_variant *v, const struct study_cost *c);

/* A table of texts that HTML and Markdown are made of. */
struct study_grid {
    const char *title, *note;
    int columns, rows;        /* with the heading row and the column of names */
    const char **cell;        /* [rows][columns] */
};
struct study_members { const struct study_variant **at; int n; const struct study_variant *baseline; };
int study_members_of(struct study_results *r, const struct study_group *g, struct study_members *out);
const char *study_label(const struct study_spec *s);
enum { STUDY_GRIDS = 7 };
/* The tables of one group, in the order of the report; a grid without rows is left out. */
int study_grids(struct study_results *r, const struct study_members *m, struct study_grid out[STUDY_GRIDS]);

/* ---- study_plot.c, study_report.c, study_summary.c --------------------------------------------- */

void study_bars(struct buf *b, const struct study_results *r, const struct study_members *m);
int study_scatter(struct buf *b, const struct study_results *r, const struct study_members *m, const struct study_cost *c);
int study_curves(struct buf *b, const struct study_results *r, const struct study_members *m);

int study_report_html(struct study_results *r, const char *path);
int study_pictures(struct study_results *r, const char *dir); /* the report's, as GROUP-NAME.svg */
int study_summary_json(struct study_results *r, const char *path);
int study_summary_md(struct study_results *r, const char *path);

/* ---- study_run.c -------------------------------------------------------------------------------- */

/* nun_study with another way to train. */
int study_run(const struct nun_study_options *o, int (*train)(const struct nun_train_options *), struct nun_study_result *out);

#endif
