/* Looking at a model in training: validation between steps, and what each stage leaves behind, as lines of JSON that
 * become scores.json. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/seam.h"
#include "train/trainer.h"

void train_measured(struct train_score *sc, const char *name, double sum, double count)
{
    int i = 0;
    while (i < sc->measures && strcmp(sc->measure[i].name, name))
        i++;
    if (i == (int)(sizeof sc->measure / sizeof sc->measure[0]))
        return;
    if (i == sc->measures)
        sc->measure[sc->measures++] = (struct train_measure){.name = name};
    sc->measure[i].sum += sum;
    sc->measure[i].count += count;
}

/* ---- validation ---------------------------------------------------------------------------- */

static int look_at(struct stage_run *r, int pictures, struct train_score *out)
{
    struct exec e = {.pool = r->t->pool};
    float one = 1;
    double whole = 0;
    r->end = (uint64_t)pictures < r->samples ? (uint64_t)pictures : r->samples;
    while ((uint64_t)out->pictures < r->end) {
        struct train_graph *g;
        TRY(r->task->fill(r, (uint64_t)out->pictures, &g));
        g->share->data = &one;
        uint64_t start = seam_now_ns();
        TRY(exec_run(g->plan, &e));
        out->seconds += (double)(seam_now_ns() - start) / 1e9;
        if (r->task->count)
            r->task->count(g, out);
        out->loss += g_f32(g->loss)[0] * (g->weight / g->nominal);
        whole += g->weight / g->nominal;
        out->pictures += g->rows;
    }
    if (whole > 0)
        out->loss /= whole;
    return r->task->measure ? r->task->measure(r, pictures, out) : 0;
}

int train_evaluate(struct trainer *t, const struct recipe_stage *s, enum scene_split split, float told, int pictures, struct train_score *out)
{
    struct stage_run r;
    struct recipe_stage small = *s; /* the micro-batches of learning: memory is known to hold them */
    small.batch = s->batch / (s->accumulate > 1 ? s->accumulate : 1);
    small.accumulate = 1;
    small.told = told;
    float dropout = t->model->text.facts.dropout;
    memset(out, 0, sizeof *out);
    t->model->text.facts.dropout = 0;
    int rc = stage_open(t, &small, false, split, &r);
    if (rc >= 0)
        rc = look_at(&r, pictures, out);
    stage_close(&r);
    t->model->text.facts.dropout = dropout;
    return rc;
}

/* ---- scores.json --------------------------------------------------------------------------- */

static json_t *score_json(const struct train_score *sc)
{
    json_t *kinds = json_object();
    for (int k = 0; k < SCENE_KIND_COUNT; k++)
        if (sc->asked[k])
            json_object_set_new(kinds, scene_kind_names[k],
                                json_pack("{s:i,s:i,s:i,s:i,s:f,s:f,s:f,s:f}", "asked", sc->asked[k], "right", sc->right[k], "fine_asked",
                                          sc->fine_asked[k], "fine_right", sc->fine_right[k], "tokens", sc->tokens[k], "nats", sc->nats[k],
                                          "fine_tokens", sc->fine_tokens[k], "fine_nats", sc->fine_nats[k]));
    json_t *o = json_pack("{s:f,s:o}", "loss", sc->loss, "kinds", kinds);
    for (int i = 0; i < sc->measures; i++)
        json_object_set_new(o, sc->measure[i].name, json_real(sc->measure[i].count > 0 ? sc->measure[i].sum / sc->measure[i].count : 0));
    return o;
}

/* The pictures of the test split as they are shown, and told where the world tells them. */
static int scores_of(struct trainer *t, const struct recipe_stage *s, json_t *out)
{
    struct train_score sc;
    int pictures = (int)t->recipe->test_pictures;
    if (s->told < 1) {
        TRY(train_evaluate(t, s, SCENE_TEST, 0, pictures, &sc));
        if (sc.pictures)
            json_object_set_new(out, "test", score_json(&sc));
    }
    if (t->source.world.row && t->source.world.row->tell && s->told_tokens) {
        TRY(train_evaluate(t, s, SCENE_TEST, 1, pictures, &sc));
        json_object_set_new(out, "text", score_json(&sc));
    }
    return 0;
}

static json_t *stage_json(const struct trainer *t, const struct recipe_stage *s, json_t *scores)
{
    const struct train_effort *e = &t->effort;
    json_t *learnt = json_array();
    double rows = e->rows > 0 ? e->rows : 1, seconds = e->seconds > 0 ? e->seconds : 1;
    for (uint32_t i = 0; s && i < s->learn_count; i++)
        json_array_append_new(learnt, json_string(s->learn[i]));
    return json_pack("{s:s,s:I,s:I,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:I,s:o,s:o}", "name", s ? s->name : "start", "pictures",
                     (json_int_t)e->rows, "steps", (json_int_t)(s ? stage_steps(s) : 0), "seconds", e->seconds, "flops_per_picture",
                     e->flops / rows, "pictures_per_s", e->rows / seconds, "tokens_per_s", e->tokens / seconds, "sequence_tokens",
                     e->tokens / rows, "picture_tokens", e->placeholders / rows, "side_rows", e->side_rows / rows, "memory_bytes",
                     (json_int_t)e->memory, "learnt", learnt, "scores", scores);
}

/* Before, between and after are asked the same: what the recipe's last stage of this task asks, of as many layers as have learnt. */
static int asked_as(const struct recipe *r, const struct recipe_stage *s, struct recipe_stage *out)
{
    const struct train_task *task, *other = NULL;
    const struct recipe_stage *asks = &r->stages[r->stages_count];
    TRY(stage_task(s, &task));
    while (other != task)
        TRY(stage_task(--asks, &other));
    *out = *asks;
    out->decoder_layers = s->decoder_layers;
    return 0;
}

int train_score_stage(struct trainer *t, const struct recipe_stage *s)
{
    unsigned mark = json_mark();
    json_t *scores = json_object();
    struct recipe_stage asked;
    int rc = asked_as(t->recipe, s ? s : &t->recipe->stages[0], &asked);
    if (rc >= 0)
        rc = scores_of(t, &asked, scores);
    json_t *line = stage_json(t, s, scores);
    if (rc >= 0)
        rc = json_check(mark);
    if (rc >= 0)
        rc = json_write(line, JSON_LINE, &t->scores);
    buf_str(&t->scores, "\n");
    json_decref(line);
    return rc < 0 ? rc : buf_error(&t->scores);
}

int train_write_scores(struct trainer *t, const char *folder)
{
    char path[4096], hash[65];
    json_error_t why;
    json_t *stages = json_array();
    const char *at = buf_cstr(&t->scores);
    unsigned mark = json_mark();
    for (size_t n; (n = strcspn(at, "\n")) > 0; at += n + 1)
        json_array_append_new(stages, json_loadb(at, n, 0, &why));
    int rc = recipe_hash(t->recipe, hash);
    json_t *o = json_pack("{s:s,s:s,s:I,s:I,s:o}", "recipe", t->recipe->name, "recipe_hash", hash, "seed", (json_int_t)t->recipe->seed,
                          "parameters", (json_int_t)t->model->n_values, "stages", stages);
    json_t *reading = NULL;
    if (rc >= 0 && t->model->family->sight && t->source.world.row) /* it asks about pictures of the world */
        rc = train_measure_reading(t, folder, &reading);
    if (reading)
        json_object_set_new(o, "prefill", reading);
    if (rc >= 0)
        rc = json_check(mark);
    if (rc >= 0)
        rc = path_join(path, sizeof path, t->recipe->runs, "scores.json");
    if (rc >= 0)
        rc = json_write_file(path, o);
    json_decref(o);
    return rc;
}
