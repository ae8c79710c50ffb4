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

enum { BAD_STEPS_MAX = 10 };

static const struct recipe_stage *stage_of(const struct trainer *t)
{
    return &t->recipe->stages[t->at.stage];
}

static uint64_t stage_steps(const struct recipe_stage *s)
{
    return (s->pictures + s->batch - 1) / s->batch;
}

/* ---- who learns how ------------------------------------------------------------------------ */

static bool in_use(const struct trainer *t, const struct recipe_stage *s, const struct g_param *p)
{
    if (!s->decoder_layers)
        return true;
    for (int i = (int)s->decoder_layers; i < t->model->text.facts.layers; i++)
        for (int r = 0; r < NN_ROLES; r++)
            if (t->model->text.layer[i][r] == p)
                return false;
    return true;
}

static void set_learning(struct trainer *t, const struct recipe_stage *s)
{
    for (int i = 0; i < t->model->n_params; i++) {
        struct g_param *p = t->model->params[i];
        bool listed = false;
        for (uint32_t k = 0; k < s->learn_count; k++)
            listed = listed || span_starts(span_str(p->name), span_str(s->learn[k]));
        p->trainable = listed && in_use(t, s, p);
    }
    /* weights that no output reads get no gradient and must not be decayed either */
    const struct nn_stack *v = &t->model->vision;
    if (v->w[NN_post_norm_w])
        v->w[NN_post_norm_w]->trainable = v->w[NN_post_norm_b]->trainable = false;
}

static enum optim_kind kind_of(const struct g_param *p, void *arg)
{
    const struct trainer *t = arg;
    const char *name = t->recipe->stages[0].optimizer;
    bool table = p == t->model->text.w[NN_embed_w] || p == t->model->text.w[NN_pos_w] || p == t->model->vision.w[NN_pos_w] ||
                 p == t->model->text.w[NN_lm_head_w];
    if (p->shape.n < 2 || table || !name)
        return OPTIM_ADAMW;
    for (int k = 0; k < OPTIM_KINDS; k++)
        if (!strcmp(optim_rows[k].name, name))
            return (enum optim_kind)k;
    return OPTIM_ADAMW;
}

/* ---- one step ------------------------------------------------------------------------------ */

struct step_result { double loss, norm, rate; bool applied; int64_t tokens; };

/* Labels of this micro-batch as a share of the step's: accumulated shares make the big batch's mean. */
static int64_t labels_in(const struct batch *b)
{
    int64_t n = 0;
    for (int i = 0; i < b->shape.pictures * b->shape.answers; i++)
        n += b->labels[i] >= 0;
    return n;
}

static int count_labels(struct trainer *t, struct train_graph *g, uint32_t micro, int64_t *total)
{
    *total = 0;
    for (uint32_t m = 0; m < micro; m++) {
        TRY(batch_fill(g->batch, &t->source, t->at.seen + m * (uint64_t)g->batch->shape.pictures, t->pool));
        *total += labels_in(g->batch);
    }
    return 0;
}

static int forward_backward(struct trainer *t, struct train_graph *g, const struct recipe_stage *s, struct step_result *r)
{
    uint32_t micro = s->accumulate > 1 ? s->accumulate : 1;
    int64_t total;
    TRY(count_labels(t, g, micro, &total));
    optim_zero_grad(t->optim);
    struct exec e = {.pool = t->pool, .seed = t->recipe->seed, .step = t->at.step};
    r->loss = 0;
    for (uint32_t m = 0; m < micro; m++) {
        if (micro > 1)
            TRY(batch_fill(g->batch, &t->source, t->at.seen + m * (uint64_t)g->batch->shape.pictures, t->pool));
        float share = total ? (float)((double)labels_in(g->batch) / (double)total) : 0;
        g->share->data = &share;
        TRY(exec_run(g->plan, &e));
        r->loss += (double)g_f32(g->loss)[0] * share;
        r->tokens += g->batch->used_tokens;
    }
    return 0;
}

static int step(struct trainer *t, struct train_graph *g, const struct recipe_stage *s, struct step_result *r)
{
    TRY(forward_backward(t, g, s, r));
    r->norm = optim_grad_norm(t->optim);
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
    float clip = s->clip > 0 ? s->clip : 1e30f, factor = 1;
    if (r->norm > clip)
        factor = (float)(clip / (r->norm + 1e-6));
    struct optim_settings base = {.lr = (float)r->rate, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .weight_decay = s->weight_decay,
                                  .momentum = 0.95f, .muon_scale = 0.2f, .nesterov = true}, all[OPTIM_KINDS];
    for (int k = 0; k < OPTIM_KINDS; k++)
        all[k] = base;
    optim_step(t->optim, all, factor, t->pool);
    return model_pack(t->model, g->graph->compute, true, t->pool);
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

static void log_step(struct trainer *t, const struct step_result *r, double seconds, double flops)
{
    char loss[32], norm[32];
    buf_printf(&t->log, "{\"step\": %llu, \"stage\": \"%s\", \"loss\": %s, \"rate\": %.6g, \"grad_norm\": %s, \"seen\": %llu, "
                        "\"applied\": %s, \"tokens_per_s\": %.0f, \"gflops\": %.1f}\n",
               (unsigned long long)t->at.step, stage_of(t)->name, number(r->loss, loss), r->rate, number(r->norm, norm), (unsigned long long)t->at.seen,
               r->applied ? "true" : "false", (double)r->tokens / seconds, flops / seconds / 1e9);
}

static int tell(struct trainer *t, const struct step_result *r, double seconds, double flops, const char *score)
{
    if (!t->options->progress)
        return 0;
    double each = (double)(seam_now_ns() - t->started_ns) / 1e9 / (double)(t->at.step - t->started_step);
    struct nun_train_progress p = {
        .stage = stage_of(t)->name, .step = t->at.step, .steps = t->total_steps, .loss = r->loss, .rate = r->rate,
        .grad_norm = r->norm, .tokens_per_s = (double)r->tokens / seconds, .flops_per_s = flops / seconds,
        .seconds_left = each * (double)(t->total_steps - t->at.step), .mfu = t->peak > 0 ? flops / seconds / t->peak : 0,
        .skipped = !r->applied, .score = score};
    return t->options->progress(t->options->arg, &p);
}

static int score_line(struct trainer *t, const struct recipe_stage *s, char *line, size_t cap)
{
    struct train_score sc;
    TRY(train_evaluate(t, s, t->recipe->eval_pictures ? (int)t->recipe->eval_pictures : 96, &sc));
    size_t n = (size_t)snprintf(line, cap, "loss %.4f", sc.loss);
    buf_printf(&t->log, "{\"step\": %llu, \"eval_loss\": %.6f", (unsigned long long)t->at.step, sc.loss);
    for (int k = 0; k < SCENE_KIND_COUNT; k++)
        if (sc.asked[k]) {
            double share = 100.0 * sc.right[k] / sc.asked[k];
            if (n < cap)
                n += (size_t)snprintf(line + n, cap - n, "  %s %.1f", scene_kind_names[k], share);
            buf_printf(&t->log, ", \"%s\": %.2f", scene_kind_names[k], share);
        }
    buf_str(&t->log, "}\n");
    return 0;
}

/* ---- stages -------------------------------------------------------------------------------- */

static bool due(uint64_t step, uint32_t every)
{
    return every && step % every == 0;
}

static int one_step(struct trainer *t, struct train_graph *g, const struct recipe_stage *s)
{
    struct step_result r = {0};
    uint64_t start = seam_now_ns();
    TRY(step(t, g, s, &r));
    double seconds = (double)(seam_now_ns() - start) / 1e9;
    double flops = g->plan->flops * (s->accumulate > 1 ? s->accumulate : 1);
    t->at.step++;
    t->at.stage_step++;
    t->at.seen += s->batch;
    log_step(t, &r, seconds, flops);
    char line[512];
    bool last = t->at.stage_step == stage_steps(s), scored = due(t->at.step, t->recipe->eval_every) || last;
    if (scored)
        TRY(score_line(t, s, line, sizeof line));
    int stop = tell(t, &r, seconds, flops, scored ? line : NULL);
    bool enough = t->options->stop_after && t->at.step - t->started_step >= t->options->stop_after;
    if ((due(t->at.step, t->recipe->save_every) || stop || enough || last) && train_save(t) < 0)
        log_warn("checkpoint of step %llu not written: %s; training goes on", (unsigned long long)t->at.step, nun_error());
    return stop || enough ? err_set(NUN_ESTOP, "training stopped after step %llu", (unsigned long long)t->at.step) : 0;
}

static int run_stage(struct trainer *t)
{
    const struct recipe_stage *s = stage_of(t);
    struct train_graph g;
    const struct scene_fonts *fonts = t->source.scene.fonts;
    set_learning(t, s);
    t->model->text.facts.dropout = s->dropout;
    TRY(recipe_scene(s, model_image_size(t->model), SCENE_TRAIN, &t->source.scene));
    t->source.scene.fonts = fonts;
    TRY(scene_config_check(&t->source.scene));
    TRY(train_graph_create(t, s, true, &g));
    log_info("stage %s: %llu steps, %.1f GFLOP each, %.0f MB for values (%.0f without reuse)", s->name,
             (unsigned long long)stage_steps(s), g.plan->flops / 1e9, (double)g.plan->memory_bytes / 1e6,
             (double)g.plan->unshared_bytes / 1e6);
    int rc = 0;
    while (rc >= 0 && t->at.stage_step < stage_steps(s))
        rc = one_step(t, &g, s);
    train_graph_free(&g);
    return rc;
}

/* ---- a run --------------------------------------------------------------------------------- */

static int make_tokenizer(struct trainer *t, const struct scene_config *scene)
{
    static const struct tok_special special[] = {{"<s>", TOK_BOS}, {"</s>", TOK_EOS}, {"<pad>", TOK_PAD},
                                                 {"<image>", TOK_NO_ROLE}, {"<|user|>", TOK_NO_ROLE}, {"<|assistant|>", TOK_NO_ROLE}};
    struct tok_train how = {.vocab_size = t->recipe->vocab ? t->recipe->vocab : 512, .special = special, .n_special = 6,
                            .pattern = "[A-Z](?![a-z])|[0-9]| ?[A-Z]?[a-z]+| ?[^\\sA-Za-z0-9]+|\\s+", .add_bos = true};
    struct buf corpus;
    buf_init(&corpus, MEM_TRAIN, LIMIT_OF(text_bytes));
    int rc = scene_corpus(scene, t->recipe->seed, 3000, &corpus);
    struct span text = buf_view(&corpus);
    if (rc >= 0)
        rc = tokenizer_train_bpe(&text, 1, &how, &t->tokenizer);
    buf_free(&corpus);
    return rc;
}

/* Random weights for the recipe's config, whose vocabulary is the tokenizer's. */
static int make_model(struct trainer *t, json_t *config)
{
    unsigned mark = json_mark();
    json_t *text = json_object_get(config, "text_config");
    json_object_set_new(text, "vocab_size", json_integer((json_int_t)tokenizer_vocab_size(t->tokenizer)));
    json_object_set_new(config, "image_token_index", json_integer(tokenizer_id_of(t->tokenizer, SPAN("<image>"))));
    TRY(json_check(mark));
    TRY(model_init(config, t->recipe->seed, &t->model));
    return model_make_trainable(t->model, NULL, NULL);
}

/* Fonts, tokenizer and model, from the config alone. */
static int make_parts(struct trainer *t, json_t *config)
{
    struct scene_config scene = scene_config_default;
    struct scene_fonts *fonts;
    int64_t side = 0;
    TRY(json_get_int(config, t->recipe->model, "vision_config.image_size", 32, SCENE_SIDE_MAX, &side));
    if (!side)
        return json_missing(t->recipe->model, "vision_config.image_size");
    scene.side = (int)side;
    TRY(scene_fonts_open(scene.side, &fonts));
    t->source.scene.fonts = scene.fonts = fonts;
    TRY(make_tokenizer(t, &scene));
    t->source.seed = t->recipe->seed;
    TRY(batch_source_init(&t->source, t->tokenizer));
    return make_model(t, config);
}

static int open_run(struct trainer *t)
{
    json_t *config;
    TRY(pool_create(t->options->threads, &t->pool));
    buf_init(&t->log, MEM_TRAIN, 256u << 20);
    TRY(json_load_file_limited(t->recipe->model, &config));
    int rc = make_parts(t, config);
    json_decref(config);
    TRY(rc);
    TRY(optim_create(t->model->params, t->model->n_params, pool_threads(t->pool), kind_of, t, &t->optim));
    for (uint32_t i = 0; i < t->recipe->stages_count; i++)
        t->total_steps += stage_steps(&t->recipe->stages[i]);
    return ckpt_open(t->recipe->runs, 2, &t->store);
}

static int finish(struct trainer *t)
{
    char path[4096];
    TRY(train_publish(t, t->options->output ? t->options->output : t->recipe->output));
    TRY(path_join(path, sizeof path, t->recipe->runs, "log.jsonl"));
    TRY(file_write_durable(path, buf_cstr(&t->log), t->log.len));
    TRY(path_join(path, sizeof path, t->recipe->runs, "report.html"));
    return train_curves(path, t->recipe->name, buf_view(&t->log), t->total_steps);
}

static int run(struct trainer *t)
{
    TRY(open_run(t));
    if (t->options->resume)
        TRY(train_resume(t));
    enum gemm_format compute = t->recipe->compute && !strcmp(t->recipe->compute, "f32") ? GEMM_F32 : GEMM_BF16;
    TRY(model_pack(t->model, compute, true, t->pool));
    struct peaks peaks;
    if (t->options->progress && peaks_measure(t->pool, &peaks) >= 0) /* what the speed is a share of */
        t->peak = peaks.all[peak_of_format(&peaks, compute)];
    t->started_ns = seam_now_ns();
    t->started_step = t->at.step;
    for (; t->at.stage < t->recipe->stages_count; t->at.stage++, t->at.stage_step = 0)
        TRY(run_stage(t));
    return finish(t);
}

int nun_train(const struct nun_train_options *options)
{
    struct trainer t = {.options = options};
    int rc = recipe_load(options->recipe, &t.recipe);
    if (rc >= 0)
        rc = run(&t);
    ckpt_close(t.store);
    optim_free(t.optim);
    model_free(t.model);
    tokenizer_free(t.tokenizer);
    scene_fonts_close((struct scene_fonts *)(uintptr_t)t.source.scene.fonts);
    pool_free(t.pool);
    buf_free(&t.log);
    recipe_free(t.recipe);
    return rc;
}
