/* Plans: what a processor decides for a picture or a video before a pixel is touched, within a budget,
 * and what follows from a plan: tokens, floats, what of a tile is picture. The family's own choice is
 * its strategy's. Called through preprocess.h. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "base/limits.h"
#include "media/preprocess_kind.h"

/* ---- a plan from a strategy's choice ---- */

static int plan_start(const struct preprocess_facts *f, const struct preprocess_input *in,
                      struct preprocess_plan *out)
{
    *out = (struct preprocess_plan){.columns = 1, .rows = 1, .overview = -1};
    TRY(plan_side(in->width, "picture width", &out->width));
    TRY(plan_side(in->height, "picture height", &out->height));
    if (in->frames < 0 || in->together < 0)
        return err_set(NUN_EARG, "preprocess: expected counts, found %d frames of %d pictures", in->frames,
                       in->together);
    TRY(limit_check(LIMIT_media_frames, (size_t)in->frames, "preprocess"));
    out->video = in->frames > 0 || f->kind->video;
    out->frames = in->frames > 0 ? in->frames : 1;
    out->together = in->together > 0 ? in->together : 1;
    return 0;
}

/* What follows from the sizes and the grid. */
static void plan_finish(const struct preprocess_facts *f, struct preprocess_plan *p)
{
    p->tiles = p->frames * (p->columns * p->rows + (p->overview >= 0));
    if (!p->canvas_width) {
        p->canvas_width = p->tile_width;
        p->canvas_height = p->tile_height;
    }
    if (!p->first_width) {
        p->first_width = p->inside_width;
        p->first_height = p->inside_height;
    }
    p->steps = f->temporal_patch ? (p->frames + f->temporal_patch - 1) / f->temporal_patch : p->frames;
}

static int64_t plan_pixels(const struct preprocess_plan *p)
{
    return (int64_t)p->tiles * p->tile_width * p->tile_height;
}

/* ---- budgets ---- */

struct spent { int64_t found, allowed; const char *unit; };

/* The first part of the budget that the plan exceeds; unit NULL: none. */
static struct spent overspent(const struct preprocess_facts *f, const struct preprocess_budget *b,
                              const struct preprocess_plan *p)
{
    const struct spent parts[] = {
        {preprocess_tokens(f, p), b->max_tokens, "tokens"},
        {p->tiles, b->max_tiles, "tiles"},
        {plan_pixels(p), b->max_pixels, "pixels"},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i].allowed > 0 && parts[i].found > parts[i].allowed)
            return parts[i];
    return (struct spent){0};
}

/* Less room than `room`, in which `p` came out too large: one tile less, and pixels in proportion to
 * what is allowed. */
static struct preprocess_room tighter(const struct preprocess_room *room, const struct preprocess_plan *p,
                                      const struct spent *over)
{
    static const double STEP = 0.98;
    int64_t each = p->tiles / p->frames, area = (int64_t)p->tile_width * p->tile_height;
    int64_t tiles = (each < room->tiles ? each : room->tiles) - 1; /* always less: this has an end */
    int64_t share = (int64_t)((double)area * ((double)over->allowed / (double)over->found));
    int64_t step = (int64_t)((double)(room->pixels < area ? room->pixels : area) * STEP);
    int64_t pixels = room->pixels > area || share < step ? share : step;
    return (struct preprocess_room){tiles < 1 ? 1 : tiles, pixels < 1 ? 1 : pixels};
}

static struct preprocess_room room_of(const struct preprocess_budget *b)
{
    enum { LOW_SIDE = 512 };
    if (b->detail == PREPROCESS_DETAIL_LOW)
        return (struct preprocess_room){1, LOW_SIDE * LOW_SIDE};
    return (struct preprocess_room){INT64_MAX, INT64_MAX};
}

static int check_budget(const struct preprocess_facts *f, const struct preprocess_budget *b)
{
    if (b->max_tokens < 0 || b->max_tiles < 0 || b->max_pixels < 0)
        return err_set(NUN_EARG, "media budget: expected counts, found %d tokens, %d tiles, %lld pixels", b->max_tokens,
                       b->max_tiles, (long long)b->max_pixels);
    if (b->max_tokens && !f->tile_tokens && !f->patch)
        return err_set(NUN_EARG, "media budget: %d tokens cannot be kept: it is not known how many a tile becomes",
                       b->max_tokens);
    return 0;
}

static int plan_in(const struct preprocess_facts *f, const struct preprocess_input *in,
                   const struct preprocess_room *room, struct preprocess_plan *out, struct spent *over)
{
    TRY(plan_start(f, in, out));
    TRY(f->kind->strategy->plan(f, room, out));
    plan_finish(f, out);
    *over = overspent(f, &in->budget, out);
    return 0;
}

/* Is there any plan that the budget allows? The smallest one tells. */
static int check_smallest(const struct preprocess_facts *f, const struct preprocess_input *in)
{
    static const struct preprocess_room least = {1, 1};
    struct preprocess_plan p;
    struct spent over;
    TRY(plan_in(f, in, &least, &p, &over));
    if (!over.unit)
        return 0;
    return err_set(NUN_ELIMIT, "media budget: expected at most %lld %s, a %s of %d x %d needs %lld at its smallest",
                   (long long)over.allowed, over.unit, p.video ? "video" : "picture", in->width, in->height,
                   (long long)over.found);
}

int preprocess_plan(const struct preprocess_facts *f, const struct preprocess_input *in, struct preprocess_plan *out)
{
    struct preprocess_room room = room_of(&in->budget);
    struct spent over;
    TRY(check_budget(f, &in->budget));
    TRY(plan_in(f, in, &room, out, &over));
    if (over.unit)
        TRY(check_smallest(f, in));
    while (over.unit) {
        room = tighter(&room, out, &over);
        TRY(plan_in(f, in, &room, out, &over));
    }
    return 0;
}

/* ---- what follows from a plan ---- */

void preprocess_align(const struct preprocess_facts *f, struct preprocess_plan *plans, size_t n)
{
    int width = 0, height = 0;
    if (!f->kind->strategy->pads_with_zero)
        return;
    for (size_t i = 0; i < n; i++) {
        width = plans[i].tile_width > width ? plans[i].tile_width : width;
        height = plans[i].tile_height > height ? plans[i].tile_height : height;
    }
    for (size_t i = 0; i < n; i++) {
        plans[i].tile_width = plans[i].canvas_width = width;
        plans[i].tile_height = plans[i].canvas_height = height;
    }
}

int64_t preprocess_tokens(const struct preprocess_facts *f, const struct preprocess_plan *p)
{
    return f->tile_tokens || p->patch_columns ? f->kind->strategy->tokens(f, p) : 0;
}

void preprocess_inside(const struct preprocess_facts *f, const struct preprocess_plan *p, int tile, int *width,
                       int *height)
{
    const struct preprocess_strategy *s = f->kind->strategy;
    int cut = p->columns * p->rows, each = cut + (p->overview >= 0);
    *width = p->tile_width;
    *height = p->tile_height;
    if (!s->pads_with_zero)
        return;
    if (cut == 1 || tile % each == p->overview) {
        *width = p->inside_width;
        *height = p->inside_height;
        return;
    }
    struct preprocess_rect piece = s->piece(p, tile % each);
    if (s->piece_size(f, &piece, width, height) < 0)
        *width = *height = 0; /* cannot be: the plan was made from the same sizes */
}

int preprocess_floats(const struct preprocess_facts *f, const struct preprocess_plan *p, size_t *out)
{
    (void)f;
    size_t values = 3 * (size_t)plan_pixels(p); /* sides are within limits, and so are frames */
    TRY(limit_check(LIMIT_media_values, values, "preprocess"));
    *out = values;
    return 0;
}

int preprocess_size(const struct preprocess_facts *f, int width, int height, int *out_width, int *out_height)
{
    struct preprocess_plan p;
    TRY(preprocess_plan(f, &(struct preprocess_input){.width = width, .height = height}, &p));
    if (p.tiles != 1)
        return err_set(NUN_EUNSUP, "preprocess: expected one tile for %d x %d, found %d", width, height, p.tiles);
    *out_width = p.tile_width;
    *out_height = p.tile_height;
    return 0;
}
