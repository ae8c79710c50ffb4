/* How fast a finished model reads: questions about test pictures, each a file's bytes through the whole way of serving. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "base/limits.h"
#include "base/seam.h"
#include "media/image_write.h"
#include "nunchi/nunchi.h"
#include "train/trainer.h"

enum { PICTURES = 12, WARM_UP = 2 };

struct reading { double seconds, tokens; };

/* Picture `index` of the test split as PNG, and a question about it. */
static int draw(struct stage_run *r, uint64_t index, struct buf *png, struct scene_qa *qa)
{
    const struct world *w = &r->source.world;
    struct image img;
    int width, height, n = 0;
    w->row->sides(w, index, &width, &height);
    void *scratch = mem_calloc(MEM_TRAIN, w->row->scratch(width, height) + 1, 1);
    int rc = scratch ? image_alloc("picture", width, height, 3, &img) : NUN_ENOMEM;
    if (rc >= 0) {
        rc = w->row->draw(w, index, index, img.data, scratch, qa, 1, &n);
        if (rc >= 0)
            rc = image_encode(&img, "png", 0, png);
        image_free(&img);
    }
    mem_free(scratch);
    return rc;
}

static int read_one(struct nun_model *m, struct span png, const char *question, struct reading *out)
{
    struct nun_part part[] = {{.kind = NUN_PART_IMAGE_BYTES, .bytes = png.ptr, .len = png.len},
                              {.kind = NUN_PART_TEXT, .text = question}};
    struct nun_message user = {"user", part, 2, NULL};
    struct nun_timeline *t;
    size_t n = 0;
    uint64_t start = seam_now_ns();
    TRY(nun_timeline_create(m, &t));
    int rc = nun_timeline_chat(t, &(struct nun_chat){.messages = &user, .n_messages = 1});
    if (rc >= 0)
        rc = nun_timeline_prefill(t);
    if (rc >= 0)
        nun_timeline_tokens(t, &n);
    *out = (struct reading){(double)(seam_now_ns() - start) / 1e9, (double)n};
    nun_timeline_free(t);
    return rc;
}

static int read_all(struct nun_model *m, struct stage_run *r, struct reading *sum)
{
    struct buf png;
    struct scene_qa qa;
    int rc = 0;
    buf_init(&png, MEM_TRAIN, LIMIT_OF(image_file_bytes));
    for (int i = -WARM_UP; rc >= 0 && i < PICTURES; i++) {
        struct reading one;
        buf_reset(&png);
        rc = draw(r, (uint64_t)(i < 0 ? -i : i) * (uint64_t)r->s->batch, &png, &qa);
        if (rc >= 0)
            rc = read_one(m, buf_view(&png), qa.question, &one);
        if (rc >= 0 && i >= 0)
            *sum = (struct reading){sum->seconds + one.seconds, sum->tokens + one.tokens};
    }
    buf_free(&png);
    return rc;
}

int train_measure_reading(struct trainer *t, const char *folder, json_t **out)
{
    struct nun_model *m;
    struct stage_run r;
    struct reading sum = {0};
    TRY(nun_model_open(folder, &(struct nun_model_options){.threads = pool_threads(t->pool)}, &m));
    int rc = stage_open(t, &t->recipe->stages[t->recipe->stages_count - 1], false, SCENE_TEST, &r);
    if (rc >= 0)
        rc = read_all(m, &r, &sum);
    stage_close(&r);
    nun_model_close(m);
    TRY(rc);
    double each = sum.seconds / PICTURES;
    *out = json_pack("{s:f,s:f,s:f}", "pictures_per_s", 1 / each, "tokens", sum.tokens / PICTURES, "seconds_to_first_token", each);
    return *out ? 0 : err_nomem(0);
}
