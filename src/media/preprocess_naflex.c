/* SigLIP 2's sizes: as large as a number of patches allows, sides rounded up to whole ones. The scale is found by
 * halving an interval in double, step by step as the reference does, for a last bit can move a whole patch. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include "base/err.h"
#include "media/preprocess_kind.h"

/* Whole patches of a side times scale. */
static double patches_of(int side, double scale, int patch)
{
    return fmax(1, ceil(side * scale / patch));
}

static int naflex_plan(const struct preprocess_facts *f, const struct preprocess_room *room,
                       struct preprocess_plan *out)
{
    static const double eps = 1e-5;
    int64_t area = (int64_t)f->patch * f->patch, allowed = room->pixels / area;
    double most = (double)(allowed < f->max_patches ? allowed : f->max_patches), low = eps / 10, high = 100;
    while (high - low >= eps) {
        double scale = (low + high) / 2;
        bool fits = patches_of(out->height, scale, f->patch) * patches_of(out->width, scale, f->patch) <= most;
        low = fits ? scale : low;
        high = fits ? high : scale;
    }
    out->patch_columns = (int)patches_of(out->width, low, f->patch);
    out->patch_rows = (int)patches_of(out->height, low, f->patch);
    if ((int64_t)out->patch_columns * out->patch_rows > (int64_t)fmax(1, most))
        return err_set(NUN_EUNSUP, "preprocess: %d x %d takes %d x %d patches, at most %g may be", out->width,
                       out->height, out->patch_columns, out->patch_rows, most);
    int width, height;
    TRY(plan_side((int64_t)out->patch_columns * f->patch, "resized width", &width));
    TRY(plan_side((int64_t)out->patch_rows * f->patch, "resized height", &height));
    plan_whole(out, width, height);
    return 0;
}

static int64_t naflex_tokens(const struct preprocess_facts *f, const struct preprocess_plan *p)
{
    return (int64_t)p->patch_columns * p->patch_rows;
}

const struct preprocess_strategy preprocess_naflex = {
    .plan = naflex_plan, .tokens = naflex_tokens, .must_resize = true, .layout = LAYOUT_SEQUENCES};
