/* Validation inside a run: teacher-forced, so that an answer counts as right exactly when greedy
 * decoding would give it. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "train/trainer.h"

static int arg_max(const float *x, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

static void count(const struct train_graph *g, struct train_score *out)
{
    const struct batch *b = g->batch;
    int V = (int)g_last(g->logits), R = b->shape.answers;
    for (int p = 0; p < b->shape.pictures; p++)
        for (int q = 0; q < b->answers[p]; q++) {
            const struct batch_answer *a = &b->answer[p * b->shape.questions + q];
            bool right = true;
            for (int i = 0; i < a->count && right; i++) {
                size_t row = (size_t)p * (size_t)R + (size_t)(a->first + i);
                right = arg_max(g_f32(g->logits) + row * (size_t)V, V) == b->labels[row];
            }
            out->asked[a->kind]++;
            out->right[a->kind] += right;
        }
}

int train_evaluate(struct trainer *t, const struct recipe_stage *s, int pictures, struct train_score *out)
{
    struct train_graph g;
    struct batch_source source = t->source;
    memset(out, 0, sizeof *out);
    struct recipe_stage whole = *s;
    whole.accumulate = 1;
    TRY(train_graph_create(t, &whole, false, &g));
    int rc = recipe_scene(s, g.batch->shape.side, SCENE_VAL, &source.scene), batches = 0;
    source.scene.fonts = t->source.scene.fonts;
    float one = 1;
    g.share->data = &one;
    struct exec e = {.pool = t->pool};
    for (int done = 0; rc >= 0 && done < pictures; done += g.batch->shape.pictures, batches++) {
        rc = batch_fill(g.batch, &source, (uint64_t)done, t->pool);
        if (rc >= 0)
            rc = exec_run(g.plan, &e);
        if (rc < 0)
            break;
        count(&g, out);
        out->loss += g_f32(g.loss)[0];
    }
    if (batches)
        out->loss /= batches;
    train_graph_free(&g);
    return rc;
}
