/* The door of evaluation: tasks as rows, and the interval that every score is given with. */
/* SPDX-License-Identifier: MIT */
#include "eval/task.h"

#include <math.h>
#include <string.h>

#include "base/err.h"

#define PUBLIC __attribute__((visibility("default")))

struct task {
    const char *name, *doc;
    int (*run)(struct nun_model *m, const struct nun_eval_options *o, struct eval_samples *samples,
               struct nun_eval_result *out);
};
static const struct task tasks[] = {
    {"scenes", "questions about pictures of the bundled world", eval_scenes},
    {"scenes-hd", "questions about its large pictures, of 1 to 6 tiles", eval_scenes},
    {"perplexity", "how surprised the model is by a text", eval_perplexity},
};
enum { TASKS = sizeof tasks / sizeof *tasks };

PUBLIC const char *nun_eval_task(int i, const char **doc)
{
    if (i < 0 || i >= TASKS)
        return NULL;
    if (doc)
        *doc = tasks[i].doc;
    return tasks[i].name;
}

/* Wilson (1927): the interval of the shares under which the observed one is not rejected at 5 %. */
PUBLIC struct nun_eval_share nun_eval_wilson(int right, int asked)
{
    const double z = 1.959963984540054, n = asked;
    if (asked <= 0)
        return (struct nun_eval_share){asked, right, NAN, NAN, NAN};
    double p = right / n, centre = (p + z * z / (2 * n)) / (1 + z * z / n);
    double half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    /* at the ends rounding must not exclude the share itself */
    double low = right == 0 ? 0 : centre - half, high = right == asked ? 1 : centre + half;
    return (struct nun_eval_share){asked, right, p, low, high};
}

PUBLIC int nun_eval(struct nun_model *m, const struct nun_eval_options *options, struct nun_eval_result *out)
{
    struct nun_eval_options o = *options;
    struct eval_samples samples = {.n = 0};
    struct nun_model_info info;
    int rc = NUN_EARG;
    o.split = o.split ? o.split : "test";
    o.count = o.count ? o.count : 2000;
    o.questions = o.questions ? o.questions : 8;
    o.batch = o.batch ? o.batch : 32;
    o.max_tokens = o.max_tokens ? o.max_tokens : 256;
    memset(out, 0, sizeof *out);
    arena_init(&samples.arena, MEM_EVAL, 0);
    nun_model_info(m, &info);
    const struct task *task = NULL;
    for (int i = 0; i < TASKS; i++)
        if (!strcmp(tasks[i].name, o.task))
            task = &tasks[i];
    rc = task ? task->run(m, &o, &samples, out)
              : err_set(NUN_EARG, "eval: unknown task %s; there are %s, %s and %s", o.task, tasks[0].name,
                        tasks[1].name, tasks[2].name);
    if (rc >= 0 && o.report)
        rc = eval_report(&o, &info, out, &samples);
    arena_free(&samples.arena);
    return rc;
}
