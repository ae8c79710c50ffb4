/* Reference numbers: what the runners of `verify` share. A runner computes a case's outputs and hands
 * each to verify_check, which compares, judges and keeps a copy for the dump. verify_forward runs
 * verify/case.json; the training half lies in train/, which owns the door nun_verify. */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_VERIFY_INT_H
#define RUNTIME_VERIFY_INT_H
#include "formats/json.h"
#include "formats/safetensors.h"
#include "models/model.h"
#include "nunchi/verify.h"
#include "runtime/engine.h"

enum { VERIFY_ITEMS = 512 };

struct verify {
    const struct nun_verify_options *o;
    const char *folder, *cases;  /* the model, and where verify/ lies */
    json_t *json;                /* verify/case.json */
    struct safetensors *expected;
    double atol, rtol;
    struct arena arena;          /* of the dump */
    struct st_item *dump;
    size_t n_dump, cap_dump;
    struct nun_verify_summary sum;
};

/* One case under one arithmetic. */
struct verify_case {
    struct verify *v;
    struct nun_model *m;
    const json_t *json;
    bool fast;                   /* judged by the reference's own bfloat16 */
    struct nun_verify_item items[VERIFY_ITEMS];
    struct nun_verify_case r;    /* r.items is items */
};

/* "<cases>/verify/<name>" */
int verify_path(const struct verify *v, const char *name, char *out, size_t cap);
int verify_forward(struct verify *v);
/* Keep a copy under `key`. Only what is asked for with --dump. */
int verify_dump(struct verify *v, const char *key, enum dtype dt, struct shape shape, const void *data);
/* Compare `count` values with what the case expects as `name`; an output that it does not name is left. */
int verify_check(struct verify_case *c, const char *name, const float *got, size_t count);
/* Compare with the tensor `key` as module `path`, when modules are wanted and the case names it. */
int verify_module(struct verify_case *c, const char *path, const float *got, size_t count);
/* A tensor's values as float32, in `arena`. */
int verify_values(const struct st_tensor *t, struct arena *arena, const float **out);
void verify_item(struct verify_case *c, const struct nun_verify_item *item);
/* Report and count. rc < 0: it could not run, the sentence is pending. */
void verify_finish(struct verify_case *c, int rc);

/* A picture's file: in verify/, or with a slash in the folder. */
int verify_picture_path(const struct verify *v, const char *name, char *out, size_t cap);
/* The pictures and videos of a case in the order of their placeholders in ids[n], with what their processor gives
 * compared. The caller's (picture_drop). */
struct picture;
struct verify_sight { int n; struct picture **at; };
int verify_see(struct verify_case *c, const int32_t *ids, int n, struct arena *arena, struct verify_sight *out);
/* What the case `one` gives to the reference's processor over its file. */
int verify_processor(struct nun_model *m, const json_t *one);
/* How many of n ids are the prompt where a prompt sees itself; else n. */
int verify_prefix(const struct verify_case *c, int n);
/* The outputs "token_type_ids" and "labels", and "position_ids" where positions have three directions. */
int verify_places(struct verify_case *c, const struct nun_timeline *t, struct arena *arena);

/* The pictures of a case for a tower of one square, preprocessed: pixels [n, 3, H, W] in `arena`. */
struct verify_pixels { int n, side; float *at; };
int verify_pictures(struct verify_case *c, struct arena *arena, struct verify_pixels *out);
/* The same for towers, whatever size their pictures have; there must be some. */
struct views;
int verify_views(struct verify_case *c, struct arena *arena, struct views *out);
/* ids: a list, or a list of lists of one length: [*rows, *length]. */
int verify_ids(const json_t *list, const char *place, struct arena *arena, int32_t **ids, int *rows, int *length);

/* Runners by kind of family. */
int verify_decoder(struct verify_case *c, struct arena *arena);
int verify_contrastive(struct verify_case *c, struct arena *arena);
int verify_vision(struct verify_case *c, struct arena *arena);
int verify_masked(struct verify_case *c, struct arena *arena); /* of vision */
int verify_encoder(struct verify_case *c, struct arena *arena);
int verify_bytes(struct verify_case *c, struct arena *arena);
int verify_conv(struct verify_case *c, struct arena *arena);

/* The model of v->folder; under its adapter, when it is a LoRA folder whose case.json names the base. */
int verify_open(const struct verify *v, const struct nun_model_options *o, struct nun_model **out);
/* The logits of those ids, as the output `name`. */
int verify_logits(struct verify_case *c, const json_t *ids, const char *name, struct arena *arena);
/* The output "logits_without_adapter", where the case expects it. */
int verify_base_logits(struct verify_case *c, struct arena *arena);

/* A case that names a weight ("tensor") and no input: expects its values, and maybe logits of the first input. */
bool verify_names_weight(const json_t *json);
int verify_weight(struct verify_case *c, struct arena *arena);

/* Inner parts of a model that sees, of its case's sequence; nothing unless they are wanted. */
int verify_watch(struct verify_case *c, const struct nun_timeline *t, struct arena *arena);
/* Inner parts, before the outputs; nothing unless they are wanted. */
int verify_modules(struct verify_case *c, struct arena *arena);

/* Key ranges [rows, length, 2] of a text encoder: causal or not, up to the mask's length. mask may be NULL. */
int verify_text_spans(const struct model *m, const json_t *mask, int rows, int length, int32_t *spans);

#endif
