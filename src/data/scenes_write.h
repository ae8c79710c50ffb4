/* A folder of scenes, or of large pictures (hd), on disk: images/ and data.json in LLaVA's format. Called by the
 * data command. */
/* SPDX-License-Identifier: MIT */
#ifndef DATA_SCENES_WRITE_H
#define DATA_SCENES_WRITE_H
#include "data/hd.h"
#include "data/scenes.h"

struct scenes_write_options {
    const char *world;          /* "scenes" or "scenes-hd"; NULL: scenes */
    struct scene_config config; /* of scenes; fonts may be NULL: they are opened for its side */
    struct hd_config hd;        /* of scenes-hd; fonts likewise */
    uint64_t seed, first;       /* pictures first, first + 1, ... of the config's split */
    int count, questions;       /* pictures; most questions of one */
    const char *dir;            /* made; must not hold a data.json yet */
    const char *format;         /* "png", "jpg" or "webp"; NULL: these in turn */
    int quality;                /* of JPEG and WebP, 0 for their default */
    void (*progress)(void *arg, int done, int count); /* may be NULL */
    void *arg;
};

/* The same options give the same bytes. data.json comes last and whole: where it is, all pictures are. */
int scenes_write(const struct scenes_write_options *o);

#endif
