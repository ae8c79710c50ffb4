/* The loop: fill, replay, check, clip, update, pack, log, save. */
/* SPDX-License-Identifier: MIT */
#include "train/curves.h"
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/seam.h"
#include "kernels/peak.h"
#include "runtime/engine.h"

enum { BAD_STEPS_MAX = 10 };

static const struct recipe_stage *stage_of(const struct trainer *t)
{
    return &t->recipe->stages[t->at.stage];
}

/* ---- who learns how ------------------------------------------------------------------------ */

static enum optim_kind kind_of(const struct g_param *p, void *arg)
{
    const struct trainer *t = arg;
    const char *name = t->recipe->stages[0].optimizer;
    const struct model *m = t->model;
    bool table = p == m->text.w[NN_embed_w] || p == m->text.w[NN_pos_w] || p == m->vision.w[NN_pos_w] || p == m->text.w[NN_lm_head_w] ||
                 p == m->w[NN_conn_pos_w] || p == m->w[NN_queries_w] || p == m->more[0].w[NN_latents_w];
    if (p->shape.n < 2 || table || !name)
        return OPTIM_ADAMW;
    for (int k = 0; k < OPTIM_KINDS; k++)
        if (!strcmp(optim_rows[k].name, name))
            return (enum optim_kind)k;
    return OPTIM_ADAMW;
}

/* ---- one step ------------------------------------------------------------------------------ */

struct step_result { double loss, norm, rate, flops; bool applied; int64_t tokens; };

static void add_effort(struct train_effort *e, const struct train_graph *g)
{
    e->flops += g->plan->flops;
    e->rows += g->rows;
    e->tokens += (double)g->tokens;
    e->placeholders += (double)g->placeholders;
    e->side_rows += (double)g->side_rows;
    e->memory = g->plan->memory_bytes > e->memory ? g->plan->memory_bytes : e->memory;
}


/* Gradients add up over the micro-batches, each with its weight as a share of a full one's: *whole is the sum of these
 * shares, by which loss and gradient are then divided, so that they are the big batch's mean. */
static int forward_backward(struct trainer *t, struct stage_run *run, struct step_result *r, double *whole)
{
    optim_zero_grad(t->optim);
    struct exec e = {.pool = t->pool, .seed = t->recipe->seed, .step = t->at.step};
    double loss = 0;
    *whole = 0;
    run->end = t->at.seen + run->s->batch;
    for (uint64_t at = t->at.seen; at < run->end;) {
        struct train_graph *g;
        TRY(run->task->fill(run, at, &g));
        bool alone = g->rows == (int)run->s->batch;
        float share = alone ? g->weight > 0 : (float)(g->weight / g->nominal);
        at += (uint64_t)g->rows;
        g->share->data = &share;
        TRY(exec_run(g->plan, &e));
        loss += (double)g_f32(g->loss)[0] * share;
        *whole += share;
        r->tokens += g->tokens;
        r->flops += g->plan->flops;
        add_effort(&t->effort, g);
    }
    r->loss = *whole > 0 ? loss / *whole : 0;
    return 0;
}

static int step(struct trainer *t, struct stage_run *run, struct step_result *r)
{
    const struct recipe_stage *s = run->s;
    double whole;
    TRY(forward_backward(t, run, r, &whole));
    double mean = whole > 0 ? 1 / whole : 1;
    r->norm = optim_grad_norm(t->optim) * mean;
    uint64_t planned = s->schedule_pictures ? (s->schedule_pictures + s->batch - 1) / s->batch : stage_steps(s);
    r->rate = recipe_rate(s, t->at.stage_step, planned);
    r->applied = isfinite(r->loss) && isfinite(r->norm);
    if (!r->applied) {
        if (++t->bad_steps >= BAD_STEPS_MAX)
            return err_set(NUN_ENUMERIC, "training: %d steps in a row with a loss or gradient that is not finite; the last good checkpoint stands",
                           t->bad_steps);
        return 0;
    }
    t->bad_steps = 0;
    float clip = s->clip > 0 ? s->clip : 1e30f, factor = (float)mean;
    if (r->norm > clip)
        factor = (float)(mean * clip / (r->norm + 1e-6));
    struct optim_settings base = {.lr = (float)r->rate, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .weight_decay = s->weight_decay,
                                  .momentum = 0.95f, .muon_scale = 0.2f, .nesterov = true}, all[OPTIM_KINDS];
    for (int k = 0; k < OPTIM_KINDS; k++)
        all[k] = base;
    optim_step(t->optim, all, factor, t->pool);
    if (run->task->settle)
        run->task->settle(run);
    return model_pack_learnt(t->model, train_compute(t), t->pool);
}

/* ---- telling ------------------------------------------------------------------------------- */

/* JSON knows no infinities. */
static const char *number(double v, char text[32])
{
    if (!isfinite(v))
        return "null";
    snprintf(text, 32, "%.6g", v);
    return text;
}

static void log_step(struct trainer *t, const struct step_result *r, double seconds)
{
    char loss[32], norm[32];
    buf_printf(&t->log, "{\"step\": %llu, \"stage\": \"%s\", \"loss\": %s, \"rate\": %.6g, \"grad_norm\": %s, \"seen\": %llu, "
                        "\"applied\": %s, \"tokens_per_s\": %.0f, \"gflops\": %.1f}\n",
               (unsigned long long)t->at.step, stage_of(t)->name, number(r->loss, loss), r->rate, number(r->norm, norm), (unsigned long long)t->at.seen,
               r->applied ? "true" : "false", (double)r->tokens / seconds, r->flops / seconds / 1e9);
}

static int tell(struct trainer *t, const struct step_result *r, double seconds, const char *score)
{
    if (!t->options->progress)
        return 0;
    double each = (double)(seam_now_ns() - t->started_ns) / 1e9 / (double)(t->at.step - t->started_step);
    struct nun_train_progress p = {
        .stage = stage_of(t)->name, .step = t->at.step, .steps = t->total_steps, .loss = r->loss, .rate = r->rate,
        .grad_norm = r->norm, .tokens_per_s = (double)r->tokens / seconds, .flops_per_s = r->flops / seconds,
        .seconds_left = each * (double)(t->total_steps - t->at.step), .mfu = t->peak > 0 ? r->flops / seconds / t->peak : 0,
        .skipped = !r->applied, .score = score};
    return t->options->progress(t->options->arg, &p);
}

static void put_share(struct trainer *t, const char *name, double share, char *line, size_t cap)
{
    size_t n = strlen(line);
    snprintf(line + n, cap - n, "  %s %.1f", name, share);
    buf_printf(&t->log, ", \"%s\": %.2f", name, share);
}

static int score_line(struct trainer *t, const struct recipe_stage *s, char *line, size_t cap)
{
    struct train_score sc;
    int pictures = t->recipe->eval_pictures ? (int)t->recipe->eval_pictures : 96;
    TRY(train_evaluate(t, s, SCENE_VAL, s->told, pictures, &sc));
    if (!sc.pictures)
        return 0;
    snprintf(line, cap, "loss %.4f", sc.loss);
    buf_printf(&t->log, "{\"step\": %llu, \"eval_loss\": %.6f", (unsigned long long)t->at.step, sc.loss);
    for (int k = 0; k < SCENE_KIND_COUNT; k++)
        if (sc.asked[k])
            put_share(t, scene_kind_names[k], 100.0 * sc.right[k] / sc.asked[k], line, cap);
    for (int i = 0; i < sc.measures; i++)
        if (sc.measure[i].count > 0)
            put_share(t, sc.measure[i].name, 100 * sc.measure[i].sum / sc.measure[i].count, line, cap);
    buf_str(&t->log, "}\n");
    return 0;
}

/* ---- stages -------------------------------------------------------------------------------- */

static bool due(uint64_t step, uint32_t every)
{
    return every && step % every == 0;
}

static int one_step(struct trainer *t, struct stage_run *run)
{
    const struct recipe_stage *s = run->s;
    struct step_result r = {0};
    uint64_t start = seam_now_ns();
    TRY(step(t, run, &r));
    double seconds = (double)(seam_now_ns() - start) / 1e9;
    t->effort.seconds += seconds;
    t->at.step++;
    t->at.stage_step++;
    t->at.seen += s->batch;
    log_step(t, &r, seconds);
    char line[512] = "";
    bool last = t->at.stage_step == stage_steps(s), scored = due(t->at.step, t->recipe->eval_every) || last;
    if (scored)
        TRY(score_line(t, s, line, sizeof line));
    if (last && t->recipe->test_pictures)
        TRY(train_score_stage(t, s));
    int stop = tell(t, &r, seconds, line[0] ? line : NULL);
    bool enough = t->options->stop_after && t->at.step - t->started_step >= t->options->stop_after;
    if ((due(t->at.step, t->recipe->save_every) || stop || enough || last) && train_save(t) < 0)
        log_warn("checkpoint of step %llu not written: %s; training goes on", (unsigned long long)t->at.step, nun_error());
    return stop || enough ? err_set(NUN_ESTOP, "training stopped after step %llu", (unsigned long long)t->at.step) : 0;
}

/* The stage's steps. What is frozen leaves it as it came: a change is a fault of ours, and the run ends. */
static int learn(struct trainer *t, struct stage_run *run)
{
    struct digest before, after;
    stage_frozen_digest(t, &before);
    while (t->at.stage_step < stage_steps(run->s))
        TRY(one_step(t, run));
    stage_frozen_digest(t, &after);
    if (memcmp(&before, &after, sizeof before))
        return err_set(NUN_ENUMERIC, "stage %s: frozen weights have changed", run->s->name);
    return 0;
}

static int run_stage(struct trainer *t)
{
    const struct recipe_stage *s = stage_of(t);
    struct stage_run run;
    stage_set_learning(t, s);
    t->model->text.facts.dropout = s->dropout;
    if (t->at.stage_step == 0)
        t->effort = (struct train_effort){0};
    log_info("stage %s: %llu steps", s->name, (unsigned long long)stage_steps(s));
    int rc = stage_open(t, s, true, SCENE_TRAIN, &run);
    if (rc >= 0)
        rc = learn(t, &run);
    stage_close(&run);
    return rc;
}

/* ---- a run --------------------------------------------------------------------------------- */

/* Those that learn in some stage. */
static int make_optim(struct trainer *t)
{
    struct g_param **list = mem_calloc(MEM_TRAIN, (size_t)t->model->n_params + 1, sizeof *list);
    int n = 0;
    if (!list)
        return NUN_ENOMEM;
    for (int i = 0; i < t->model->n_params; i++)
        if (t->model->params[i]->grad)
            list[n++] = t->model->params[i];
    int rc = optim_create(list, n, pool_threads(t->pool), kind_of, t, &t->optim);
    mem_free(list);
    return rc;
}

/* Before any stage sets who learns: of all that never does. */
static void digest_base(struct trainer *t)
{
    struct digest d;
    char hex[65];
    stage_frozen_digest(t, &d);
    digest_hex(&d, hex);
    snprintf(t->base, sizeof t->base, "%.16s", hex);
}

static int open_run(struct trainer *t)
{
    TRY(pool_create(t->options->threads, &t->pool));
    buf_init(&t->log, MEM_TRAIN, 256u << 20);
    buf_init(&t->scores, MEM_TRAIN, 16u << 20);
    TRY(train_make_parts(t));
    digest_base(t);
    TRY(make_optim(t));
    for (uint32_t i = 0; i < t->recipe->stages_count; i++)
        t->total_steps += stage_steps(&t->recipe->stages[i]);
    return ckpt_open(t->recipe->runs, 2, &t->store);
}

static int finish(struct trainer *t)
{
    char path[4096];
    const char *output = t->options->output ? t->options->output : t->recipe->output;
    TRY(train_publish(t, output));
    TRY(path_join(path, sizeof path, t->recipe->runs, "log.jsonl"));
    TRY(file_write_durable(path, buf_cstr(&t->log), t->log.len));
    if (t->recipe->test_pictures)
        TRY(train_write_scores(t, output));
    TRY(path_join(path, sizeof path, t->recipe->runs, "report.html"));
    return train_curves(path, t->recipe->name, buf_view(&t->log), t->total_steps);
}

static int run(struct trainer *t)
{
    TRY(open_run(t));
    if (t->options->resume)
        TRY(train_resume(t));
    enum gemm_format compute = train_compute(t);
    TRY(model_pack(t->model, compute, true, t->pool));
    struct peaks peaks;
    if (t->options->progress && peaks_measure(t->pool, &peaks) >= 0) /* what the speed is a share of */
        t->peak = peaks.all[peak_of_format(&peaks, compute)];
    t->started_ns = seam_now_ns();
    t->started_step = t->at.step;
    if (t->recipe->test_pictures && t->at.step == 0)
        TRY(train_score_stage(t, NULL));
    for (; t->at.stage < t->recipe->stages_count; t->at.stage++, t->at.stage_step = 0)
        TRY(run_stage(t));
    return finish(t);
}

int train_run(struct recipe *recipe, const struct nun_train_options *options)
{
    struct trainer t = {.options = options, .recipe = recipe};
    int rc = run(&t);
    ckpt_close(t.store);
    optim_free(t.optim);
    engine_close_prompts(t.prompts);
    model_free(t.model);
    tokenizer_free(t.tokenizer);
    world_close(&t.source.world);
    pool_free(t.pool);
    buf_free(&t.log);
    buf_free(&t.scores);
    return rc;
}

int nun_train(const struct nun_train_options *options)
{
    struct recipe *recipe;
    TRY(recipe_load(options->recipe, &recipe));
    int rc = train_run(recipe, options);
    recipe_free(recipe);
    return rc;
}
