/* The public door to datasets and scenes (nunchi/data.h): borrowed strings in, this room's structs
 * behind. Applications come through here. */
/* SPDX-License-Identifier: MIT */
#include "nunchi/data.h"

#include <string.h>

#include "base/err.h"
#include "data/dataset.h"
#include "data/scenes_score.h"
#include "data/scenes_write.h"

#define PUBLIC __attribute__((visibility("default")))

/* ---- datasets ---------------------------------------------------------------------------------- */

/* struct nun_dataset is struct dataset under its public name. */
static const struct dataset *inside(const struct nun_dataset *d)
{
    return (const struct dataset *)d;
}

PUBLIC int nun_dataset_open(const char *path, struct nun_dataset **out)
{
    struct dataset *d;
    TRY(dataset_open(path, NULL, &d));
    *out = (struct nun_dataset *)d;
    return 0;
}

PUBLIC void nun_dataset_close(struct nun_dataset *d)
{
    dataset_close((struct dataset *)d);
}

PUBLIC size_t nun_dataset_count(const struct nun_dataset *d)
{
    return dataset_count(inside(d));
}

PUBLIC int nun_dataset_turns(const struct nun_dataset *d, size_t sample)
{
    return dataset_at(inside(d), sample)->turns;
}

PUBLIC int nun_dataset_images(const struct nun_dataset *d, size_t sample)
{
    return dataset_at(inside(d), sample)->images;
}

PUBLIC const char *nun_dataset_id(const struct nun_dataset *d, size_t sample)
{
    return dataset_at(inside(d), sample)->id;
}

PUBLIC void nun_dataset_turn(const struct nun_dataset *d, size_t sample, int turn, struct nun_data_turn *out)
{
    const struct data_turn *t = &dataset_at(inside(d), sample)->turn[turn];
    *out = (struct nun_data_turn){t->question, t->answer, t->kind, t->negative, t->detail};
}

PUBLIC int nun_dataset_image_path(const struct nun_dataset *d, size_t sample, int image, char *out, size_t capacity)
{
    return dataset_image_path(inside(d), dataset_at(inside(d), sample), image, out, capacity);
}

/* ---- scenes ------------------------------------------------------------------------------------ */

static int find_split(const char *name, enum scene_split *out)
{
    for (int i = 0; i < SCENE_SPLIT_COUNT; i++)
        if (!strcmp(scene_split_names[i], name)) {
            *out = (enum scene_split)i;
            return 0;
        }
    return err_set(NUN_EARG, "scenes: split: expected train, val, test or heldout, found %s", name);
}

PUBLIC int nun_scenes_write(const struct nun_scenes_options *options)
{
    struct scenes_write_options o = {
        .world = options->world, .config = scene_config_default, .hd = hd_config_default, .seed = options->seed, .first = options->first, .count = options->count,
        .questions = options->questions ? options->questions : 8, .dir = options->folder, .format = options->format,
        .quality = options->quality, .progress = options->progress, .arg = options->arg};
    bool large = options->world && !strcmp(options->world, "scenes-hd");
    TRY(find_split(options->split ? options->split : "test", &o.config.split));
    o.hd.split = o.config.split;
    if (options->side && large)
        return err_set(NUN_EARG, "scenes-hd: side: expected none, for pictures are of 1 to %d tiles, found %d",
                       HD_MAX_TILES, options->side);
    if (options->side)
        o.config.side = options->side;
    return scenes_write(&o);
}

PUBLIC const char *nun_scenes_kind(int i)
{
    return i >= 0 && i < SCENE_KIND_COUNT ? scene_kind_names[i] : NULL;
}

PUBLIC const char *nun_scenes_negative(int i)
{
    return i >= 0 && i < SCENE_NEG_COUNT ? scene_negative_names[i] : NULL;
}

struct nun_scenes_tally { struct scene_tally of; };

PUBLIC int nun_scenes_tally_create(struct nun_scenes_tally **out)
{
    struct nun_scenes_tally *t = mem_calloc(MEM_DATA, 1, sizeof *t);
    if (!t)
        return NUN_ENOMEM;
    *out = t;
    return 0;
}

PUBLIC void nun_scenes_tally_free(struct nun_scenes_tally *t)
{
    mem_free(t);
}

PUBLIC int nun_scenes_tally_add(struct nun_scenes_tally *t, const struct nun_data_turn *turn, const char *answer,
                                size_t len)
{
    int kind = turn->kind ? scene_kind_of(span_str(turn->kind)) : -1;
    int negative = turn->negative ? scene_negative_of(span_str(turn->negative)) : SCENE_NEG_NONE;
    if (kind < 0 || negative < 0)
        return err_set(NUN_EFORMAT, "\"%s\": expected a kind of scenes to judge it by, found %s", turn->question,
                       kind < 0 ? turn->kind ? turn->kind : "none" : turn->negative);
    return scene_tally_add(&t->of, (enum scene_kind)kind, (enum scene_negative)negative, span_str(turn->answer),
                           span_of(answer, len));
}

PUBLIC void nun_scenes_tally_kind(const struct nun_scenes_tally *t, int kind, int *asked, int *right)
{
    *asked = t->of.asked[kind];
    *right = t->of.right[kind];
}

PUBLIC bool nun_scenes_tally_pope(const struct nun_scenes_tally *t, int negative, struct nun_scenes_pope *out)
{
    struct scene_pope p;
    int yes = t->of.yes_right + t->of.yes_wrong, no = t->of.no_right[negative] + t->of.no_wrong[negative];
    if (!yes || !no)
        return false;
    scene_tally_pope(&t->of, (enum scene_negative)negative, &p);
    *out = (struct nun_scenes_pope){yes, no, p.accuracy, p.precision, p.recall, p.f1, p.yes_ratio};
    return true;
}
