/* From a picture to the tensor a vision tower was trained on, driven by preprocessor_config.json:
 * pad -> resize -> centre crop -> rescale -> normalise, in the order and precision of the reference
 * image processors. Knows no model. Called by the model loader (facts) and the runtime (pixels). */
/* SPDX-License-Identifier: MIT */
#ifndef MEDIA_PREPROCESS_H
#define MEDIA_PREPROCESS_H
#include <jansson.h>
#include "media/image.h"
#include "media/resize.h"

/* Either exactly height x width, or the shorter side to shortest_edge keeping the aspect. 0: unset. */
struct preprocess_sides { int height, width, shortest_edge; };

struct preprocess_kind; /* a row of preprocess.c: one family of image processors */

struct preprocess_facts {
    const struct preprocess_kind *kind;
    bool do_convert_rgb; /* read and written; pictures are RGB here in any case */
    bool do_pad;         /* to a square of the mean colour, before resizing (Llava) */
    bool do_resize, do_center_crop, do_rescale, do_normalize;
    struct preprocess_sides size;
    struct preprocess_sides crop; /* height and width only */
    int resample;                 /* enum resize_filter */
    double rescale_factor;
    double crop_pct;              /* ConvNeXt: resize to size / crop_pct, then crop to size; 0: unset */
    double mean[3], std[3];       /* used as float32 */
    enum resize_order order;      /* not in any file: which Pillow to agree with */
};

/* The defaults of a processor by its name ("CLIPImageProcessor", with or without "Fast"). */
int preprocess_default(const char *processor, struct preprocess_facts *out);

/* From the text of a config, or its parsed object; `place` begins the error sentence. A key that is
 * not understood and could change the arithmetic is refused by its name. A processor_config.json
 * with an "image_processor" object inside is taken too. */
int preprocess_parse(struct span json, const char *place, struct preprocess_facts *out);
int preprocess_read(const json_t *obj, const char *place, struct preprocess_facts *out);
int preprocess_load(const char *path, struct preprocess_facts *out);

/* The config as JSON; reads back to the same facts. The caller's (json_decref). */
int preprocess_json(const struct preprocess_facts *facts, json_t **out);

/* The output's sides for a picture of width x height. */
int preprocess_size(const struct preprocess_facts *facts, int width, int height, int *out_width, int *out_height);

/* img: RGB. out: [3, H, W] with H and W of preprocess_size(); `capacity` counts its floats. */
int preprocess_run(const struct preprocess_facts *facts, const struct image *img, float *out, size_t capacity);

#endif
