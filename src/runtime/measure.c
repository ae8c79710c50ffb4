/* What a prompt takes before it is computed: its tokens, what is made of its pictures, and memory. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "runtime/timeline.h"

static void tell_picture(const struct placed *at, struct nun_picture_measure *out)
{
    const struct preprocess_plan *p = &at->picture->plan;
    *out = (struct nun_picture_measure){
        .width = p->width, .height = p->height, .frames = p->frames, .tiles = p->tiles, .columns = p->columns, .rows = p->rows,
        .overview = p->overview >= 0, .tile_width = p->tile_width, .tile_height = p->tile_height, .tokens = (size_t)at->picture->n_tokens,
        .position = (size_t)at->at, .beside = (size_t)at->picture->side.shown, .encoded = at->picture->features != NULL};
}

int nun_timeline_picture(const struct nun_timeline *t, size_t i, struct nun_picture_measure *out)
{
    if (i >= t->n_placed)
        return err_set(NUN_EARG, "picture %zu: there are %zu", i, t->n_placed);
    tell_picture(&t->placed[i], out);
    return 0;
}

/* The encoder's buffers for those that are still to be encoded: the largest, since they are used one after the other. */
static int encoder_bytes(struct nun_timeline *t, size_t *out)
{
    int rc = 0;
    *out = 0;
    engine_lock(t->m);
    for (size_t i = 0; i < t->n_placed && rc >= 0; i++) {
        size_t bytes = 0;
        if (!t->placed[i].picture->features)
            rc = picture_encoder_bytes(t->m, t->placed[i].picture, &bytes);
        *out = bytes > *out ? bytes : *out;
    }
    engine_unlock(t->m);
    return rc;
}

int nun_timeline_measure(struct nun_timeline *t, struct nun_measure *out)
{
    const struct nun_model *m = t->m;
    size_t pages = (t->ids.n + KV_PAGE - 1) / KV_PAGE, side = ((size_t)look_rows(t) + KV_PAGE - 1) / KV_PAGE;
    *out = (struct nun_measure){.tokens = t->ids.n, .pictures = t->n_placed, .context = (size_t)m->context};
    for (size_t i = 0; i < t->n_placed; i++)
        out->picture_tokens += (size_t)t->placed[i].picture->n_tokens;
    out->state_bytes = pages * page_block_bytes(&m->pages) + side * page_block_bytes(&m->sides);
    out->weight_bytes = m->model->weights ? st_total_bytes(m->model->weights) : 0;
    return encoder_bytes(t, &out->encoder_bytes);
}
