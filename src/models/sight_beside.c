/* Pictures beside the sequence: a placeholder marks the place, and layers of cross-attention look at the features
 * (Llama 3.2 Vision). */
/* SPDX-License-Identifier: MIT */
#include "models/sight.h"

static int no_features(const struct model *m, const struct preprocess_plan *p)
{
    return 0;
}

static int one_token(const struct model *m, const struct preprocess_plan *p)
{
    return 1;
}

static struct sight_side tiles_side(const struct model *m, const struct preprocess_plan *p)
{
    const struct nn_facts *f = &m->vision.facts;
    bool fits = p->tile_width == f->image_size && p->tile_height == f->image_size && p->tiles <= f->tiles.most && p->aspect_id > 0 &&
                p->aspect_id <= f->tiles.ratios;
    return fits ? (struct sight_side){f->tiles.most * f->positions, p->tiles * f->positions} : (struct sight_side){0};
}

static struct g_tensor *tiles_build(struct graph *g, const struct model *m, struct g_tensor *pixels,
                                    const struct preprocess_plan *p, int n)
{
    struct nn_pictures in = {.batch = n, .pixels = pixels, .tiles = p->tiles, .ratio = p->aspect_id};
    struct g_tensor *x = nn_tower_tiles(g, &m->vision, &in);
    return nn_linear(g, m->w[NN_conn_1_w], m->w[NN_conn_1_b], x, NULL, ACT_NONE);
}

const struct sight_row sight_tiles_beside = {
    "tiles_beside", "all tiles of a picture beside the sequence, a placeholder in it", no_features, tiles_build, .side = tiles_side,
    .tokens = one_token};
