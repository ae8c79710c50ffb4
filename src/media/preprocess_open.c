/* All that a model's folder says about preprocessing: the processors' files, then what only the
 * combined processor's file or the model's config knows (dynamic tiles, tokens of a tile). Called by
 * whoever opens a model. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "formats/json.h"
#include "media/preprocess_kind.h"

enum { FILE_PICTURES, FILE_VIDEOS, FILE_PROCESSOR, FILE_MODEL, FILE_COUNT };

static const char *const file_names[FILE_COUNT] = {
    "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json", "config.json",
};

struct files {
    const char *folder;
    json_t *json[FILE_COUNT]; /* NULL: not there */
};

static void files_drop(struct files *files)
{
    for (int i = 0; i < FILE_COUNT; i++)
        json_decref(files->json[i]);
}

static int files_load(const char *folder, struct files *out)
{
    *out = (struct files){.folder = folder};
    for (int i = 0; i < FILE_COUNT; i++) {
        char path[4096];
        int rc = path_join(path, sizeof path, folder, file_names[i]);
        if (rc >= 0 && file_exists(path))
            rc = json_load_file_limited(path, &out->json[i]);
        if (rc < 0) {
            files_drop(out);
            return rc;
        }
    }
    return 0;
}

/* ---- tiles that the model's config describes: InternVL, NVLM-D ---- */

static bool is_chat_config(const json_t *config)
{
    static const char *const types[] = {"internvl_chat", "NVLM_D"};
    const char *type = json_string_value(json_dig(config, "model_type"));
    for (size_t i = 0; type && i < sizeof types / sizeof *types; i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

static int get_int(const json_t *obj, const char *place, const char *key, int hi, int *out)
{
    int64_t value = *out;
    TRY(json_get_int(obj, place, key, 1, hi, &value));
    *out = (int)value;
    return 0;
}

/* The published code has ImageNet's colours; a preprocessor_config.json beside it says the same. */
static int chat_facts(const struct files *files, struct preprocess_facts *f)
{
    static const double mean[3] = {0.485, 0.456, 0.406}, std[3] = {0.229, 0.224, 0.225};
    enum { MOST_SIDE = 8192, MOST_TILES = 256 };
    const json_t *config = files->json[FILE_MODEL];
    struct preprocess_facts colours;
    int side = 0, patch = 0;
    double shuffle = 0.5;
    TRY(preprocess_default("GotOcr2ImageProcessor", f));
    memcpy(f->mean, mean, sizeof mean);
    memcpy(f->std, std, sizeof std);
    if (files->json[FILE_PICTURES]) {
        TRY(preprocess_read(files->json[FILE_PICTURES], file_names[FILE_PICTURES], &colours));
        memcpy(f->mean, colours.mean, sizeof mean);
        memcpy(f->std, colours.std, sizeof std);
        f->resample = colours.resample;
    }
    TRY(get_int(config, file_names[FILE_MODEL], "vision_config.image_size", MOST_SIDE, &side));
    TRY(get_int(config, file_names[FILE_MODEL], "force_image_size", MOST_SIDE, &side));
    TRY(get_int(config, file_names[FILE_MODEL], "vision_config.patch_size", MOST_SIDE, &patch));
    TRY(get_int(config, file_names[FILE_MODEL], "min_dynamic_patch", MOST_TILES, &f->min_tiles));
    f->max_tiles = f->max_tiles > 6 ? 6 : f->max_tiles; /* the class's default */
    TRY(get_int(config, file_names[FILE_MODEL], "max_dynamic_patch", MOST_TILES, &f->max_tiles));
    f->thumbnail = f->split = false;
    TRY(json_get_bool(config, file_names[FILE_MODEL], "use_thumbnail", &f->thumbnail));
    TRY(json_get_bool(config, file_names[FILE_MODEL], "dynamic_image_size", &f->split));
    TRY(json_get_double(config, file_names[FILE_MODEL], "downsample_ratio", 0.01, 1, &shuffle));
    if (!side || !patch)
        return err_set(NUN_EFORMAT, "config.json: expected force_image_size and vision_config.patch_size");
    f->size = (struct preprocess_sides){.height = side, .width = side};
    f->tile_tokens = (int)lround(side / patch * (side / patch) * shuffle * shuffle);
    return 0;
}

/* ---- which file speaks ---- */

/* Where a picture processor's file has to serve for videos: the video row of the same family, where
 * there is one. */
static int read_as_video(const json_t *obj, const char *place, struct preprocess_facts *out)
{
    struct preprocess_facts pictures;
    const struct preprocess_kind *kind;
    TRY(preprocess_read(obj, place, &pictures));
    kind = preprocess_video_kind(pictures.kind);
    if (!kind) {
        *out = pictures;
        return 0;
    }
    return preprocess_read_as(obj, place, kind, pictures.kind->uses, out);
}

static int facts_from_files(const struct files *files, enum preprocess_what what, struct preprocess_facts *out)
{
    const json_t *processor = files->json[FILE_PROCESSOR], *pictures = files->json[FILE_PICTURES];
    const char *place = file_names[FILE_PICTURES];
    if (is_chat_config(files->json[FILE_MODEL]))
        return chat_facts(files, out);
    if (what == PREPROCESS_VIDEOS && files->json[FILE_VIDEOS])
        return preprocess_read(files->json[FILE_VIDEOS], file_names[FILE_VIDEOS], out);
    if (what == PREPROCESS_VIDEOS && json_dig(processor, "video_processor"))
        return preprocess_read(json_dig(processor, "video_processor"), file_names[FILE_PROCESSOR], out);
    if (!pictures) {
        pictures = json_dig(processor, "image_processor");
        place = file_names[FILE_PROCESSOR];
    }
    if (!pictures)
        return err_set(NUN_EUNSUP, "%s: expected %s: nothing says how pictures are prepared", files->folder,
                       file_names[FILE_PICTURES]);
    return what == PREPROCESS_VIDEOS ? read_as_video(pictures, place, out) : preprocess_read(pictures, place, out);
}

/* ---- what the combined processor adds ---- */

/* The first of the files that has the key. */
static int find_int(const struct files *files, const char *key, int64_t hi, int *out)
{
    static const int order[] = {FILE_PROCESSOR, FILE_PICTURES, FILE_MODEL};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        int64_t value = 0;
        int rc = json_get_int(files->json[order[i]], file_names[order[i]], key, 0, hi, &value);
        if (rc < 0)
            return rc;
        if (rc == 0) {
            *out = (int)value;
            return 0;
        }
    }
    return 0;
}

static const char *find_string(const struct files *files, const char *key)
{
    static const int order[] = {FILE_PROCESSOR, FILE_PICTURES, FILE_MODEL};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        const char *value = json_string_value(json_dig(files->json[order[i]], key));
        if (value)
            return value;
    }
    return "";
}

/* Tokens of a tile that follow from the tower's patches: LLaVA's without or with the class token,
 * mllama's with it. */
static int patch_tokens(const struct files *files, struct preprocess_facts *f)
{
    enum { MOST = 1 << 20, MOST_PATCH = 4096 };
    int side = f->crop.height && f->do_center_crop ? f->crop.height : f->size.height ? f->size.height
                                                                                   : f->size.shortest_edge;
    int patch = 0, more = f->kind->uses & USES_MAX_TILES ? 1 : 0;
    TRY(find_int(files, "vision_config.patch_size", MOST_PATCH, &patch));
    if (json_dig(files->json[FILE_PROCESSOR], "num_additional_image_tokens")) {
        TRY(find_int(files, "num_additional_image_tokens", MOST, &more));
        TRY(find_int(files, "patch_size", MOST_PATCH, &patch));
        more -= !f->kind->video && strcmp(find_string(files, "vision_feature_select_strategy"), "default") == 0;
    }
    if (patch > 0 && side > 0)
        f->tile_tokens = side / patch * (side / patch) + more;
    return 0;
}

static int tile_tokens(const struct files *files, struct preprocess_facts *f)
{
    static const char *const keys[] = {"image_seq_len", "num_image_tokens", "num_query_tokens"};
    enum { MOST = 1 << 20 };
    if (f->tile_tokens || f->patch)
        return 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !f->tile_tokens; i++)
        TRY(find_int(files, keys[i], MOST, &f->tile_tokens));
    if (!f->tile_tokens && !f->kind->video) /* a frame may become fewer */
        TRY(find_int(files, "image_seq_length", MOST, &f->tile_tokens));
    if (f->tile_tokens || json_dig(files->json[FILE_MODEL], "connector")) /* which the model knows: runtime/open.c */
        return 0;
    return patch_tokens(files, f);
}

/* "anyres_max_9": nine tiles' worth of features at most. */
static void aspect_rule(const struct files *files, struct preprocess_facts *f)
{
    static const char prefix[] = "anyres_max_";
    const char *rule = find_string(files, "vision_aspect_ratio");
    if (!f->max_features || !*rule)
        return;
    long most = strncmp(rule, prefix, sizeof prefix - 1) == 0 ? strtol(rule + sizeof prefix - 1, NULL, 10) : 0;
    f->max_features = most > 0 && most <= 4096 ? (int)most : 0;
}

static int processor_facts(const struct files *files, struct preprocess_facts *f)
{
    enum { MOST_PATCH = 4096, MOST_MERGE = 64 };
    if (f->kind->strategy == &preprocess_pixtral) { /* a token is merge x merge patches to this processor */
        const json_t *processor = files->json[FILE_PROCESSOR];
        TRY(get_int(processor, file_names[FILE_PROCESSOR], "patch_size", MOST_PATCH, &f->patch));
        TRY(get_int(processor, file_names[FILE_PROCESSOR], "spatial_merge_size", MOST_MERGE, &f->merge));
    }
    if (strcmp(find_string(files, "processor_class"), "InternVLProcessor") == 0 && f->kind->uses & USES_DYNAMIC)
        f->split = true; /* whatever the picture processor's own file says */
    aspect_rule(files, f);
    return tile_tokens(files, f);
}

int preprocess_open(const char *folder, enum preprocess_what what, struct preprocess_facts *out)
{
    struct files files;
    TRY(files_load(folder, &files));
    int rc = facts_from_files(&files, what, out);
    if (rc == 0)
        rc = processor_facts(&files, out);
    files_drop(&files);
    return rc;
}
