/* Pictures: files to pixels, pixels to features. Pictures of one plan run together, and the graphs of a few plans are
 * kept; a row of features depends on its own picture alone, so neither shows. */
/* SPDX-License-Identifier: MIT */
#include "runtime/picture.h"

#include <string.h>

#include "base/ck.h"
#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "models/sight.h"
#include "runtime/prompt.h"

enum { KEPT_PLANS = 8 };

/* ---- making -------------------------------------------------------------------------------- */

static bool same_key(const struct nun_model *m, const struct preprocess_plan *a, const struct preprocess_plan *b)
{
    struct preprocess_plan x = sight_key(m->model, a), y = sight_key(m->model, b);
    return !memcmp(&x, &y, sizeof x);
}

static int find_places(const struct nun_model *m, struct picture *p)
{
    const struct sight_row *row = m->model->family->sight;
    if (!row->places)
        return 0;
    p->places = mem_calloc(MEM_RUNTIME, (size_t)p->n_features, sizeof *p->places);
    return p->places ? row->places(m->model, &p->plan, p->seconds, p->places) : NUN_ENOMEM;
}

/* Frames of several sizes are one video where the processor makes the same of them all. */
static int cut(const struct nun_model *m, const struct preprocess_facts *f, const struct preprocess_input *first,
               const struct image *frames, struct picture *p)
{
    struct preprocess_input in = *first;
    struct preprocess_plan plan = p->plan;
    bool alike = true;
    size_t each = p->floats / (size_t)p->plan.frames;
    for (int i = 1; i < p->plan.frames; i++)
        alike = alike && frames[i].width == in.width && frames[i].height == in.height;
    if (alike)
        return preprocess_tiles(f, &p->plan, frames, p->pixels, p->floats);
    for (int i = 0; i < p->plan.frames; i++) {
        in.width = plan.width = frames[i].width;
        in.height = plan.height = frames[i].height;
        TRY(preprocess_plan(f, &in, &plan));
        if (plan.tiles != p->plan.tiles || plan.tile_width != p->plan.tile_width || plan.tile_height != p->plan.tile_height)
            return err_set(NUN_EFORMAT, "frame %d has %d x %d pixels, the first %d x %d", i, in.width, in.height, first->width,
                           first->height);
        TRY(preprocess_frame(f, &plan, &frames[i], p->pixels + (size_t)i * each, each));
    }
    return 0;
}

static struct preprocess_budget budget_of(const struct nun_model *m, const struct nun_media_budget *own)
{
    const struct nun_media_budget *all = &m->media;
    return (struct preprocess_budget){
        .max_tokens = own->tokens ? own->tokens : all->tokens, .max_pixels = own->pixels ? own->pixels : all->pixels,
        .detail = (enum preprocess_detail)(own->detail ? own->detail : all->detail)};
}

static int preprocess(const struct nun_model *m, const struct picture_source *s, const struct image *frames, struct picture *p)
{
    const struct preprocess_facts *f = s->seconds > 0 ? &m->video_preprocess : &m->preprocess;
    struct preprocess_input in = {.width = frames[0].width, .height = frames[0].height, .frames = s->seconds > 0 ? s->n : 0,
                                  .together = s->together, .budget = budget_of(m, &s->media)};
    TRY(preprocess_plan(f, &in, &p->plan));
    TRY(preprocess_floats(f, &p->plan, &p->floats));
    p->n_features = model_features(m->model, &p->plan);
    p->n_tokens = sight_tokens_of(m->model, &p->plan);
    p->side = sight_side_of(m->model, &p->plan);
    if (p->n_features + p->side.rows < 1)
        return err_set(NUN_EFORMAT, "%d x %d pixels: the tower does not take the %d x %d that its processor makes of them",
                       in.width, in.height, p->plan.tile_width, p->plan.tile_height);
    TRY(find_places(m, p));
    if (!(p->pixels = mem_alloc(MEM_RUNTIME, p->floats * sizeof *p->pixels)))
        return NUN_ENOMEM;
    TRY(cut(m, f, &in, frames, p));
    struct digest parts[2];
    struct preprocess_plan key = sight_key(m->model, &p->plan);
    digest_of(p->pixels, p->floats * sizeof *p->pixels, &parts[0]);
    digest_of(&key, sizeof key, &parts[1]);
    digest_of(parts, sizeof parts, &p->identity);
    return 0;
}

static int decode(const struct nun_model *m, const struct picture_source *s, struct image *frames)
{
    struct image_options o = {.alpha = m->preprocess.alpha};
    for (int i = 0; i < s->n; i++) {
        int rc = image_decode(s->bytes[i], &o, &frames[i]);
        if (rc < 0)
            return err_at(rc, "%s", s->places[i]);
    }
    return 0;
}

static int check_takes(const struct nun_model *m, const struct picture_source *s)
{
    const struct sight_row *row;
    TRY(sight_of(m->model, s->places[0], &row));
    if (!m->has_preprocess)
        return err_set(NUN_EUNSUP, "%s: the model's folder has no preprocessor_config.json", s->places[0]);
    if (s->seconds > 0 && !m->model->facts.video_token && !row->videos_alike)
        return err_set(NUN_EUNSUP, "%s: %s takes no videos", s->places[0], m->model->family->architecture);
    return 0;
}

int picture_make(const struct nun_model *m, const struct picture_source *s, struct picture **out)
{
    TRY(check_takes(m, s));
    struct picture *p = mem_calloc(MEM_RUNTIME, 1, sizeof *p);
    struct image *frames = mem_calloc(MEM_RUNTIME, (size_t)s->n, sizeof *frames);
    int rc = p && frames ? decode(m, s, frames) : NUN_ENOMEM;
    if (rc >= 0) {
        p->refs = 1;
        p->seconds = s->seconds;
        p->token = s->seconds > 0 && m->model->facts.video_token ? m->model->facts.video_token : m->model->facts.image_token;
        rc = preprocess(m, s, frames, p);
        rc = rc < 0 ? err_at(rc, "%s", s->places[0]) : 0;
    }
    for (int i = 0; frames && i < s->n; i++)
        image_free(&frames[i]);
    mem_free(frames);
    if (rc < 0)
        picture_drop(p);
    else
        *out = p;
    return rc;
}

static int read_files(const char *const *paths, int n, struct buf *files, struct span *bytes)
{
    for (int i = 0; i < n; i++) {
        buf_init(&files[i], MEM_RUNTIME, LIMIT_OF(image_file_bytes));
        TRY(file_read(paths[i], &files[i]));
        bytes[i] = buf_view(&files[i]);
    }
    return 0;
}

int picture_from_files(const struct nun_model *m, const char *const *paths, int n, double seconds, int together,
                       const struct nun_media_budget *media, struct picture **out)
{
    struct buf *files = mem_calloc(MEM_RUNTIME, (size_t)n, sizeof *files);
    struct span *bytes = mem_calloc(MEM_RUNTIME, (size_t)n, sizeof *bytes);
    int rc = files && bytes ? read_files(paths, n, files, bytes) : NUN_ENOMEM;
    if (rc >= 0)
        rc = picture_make(m, &(struct picture_source){bytes, paths, n, seconds, together, media ? *media : (struct nun_media_budget){0}}, out);
    for (int i = 0; files && i < n; i++)
        buf_free(&files[i]);
    mem_free(files);
    mem_free(bytes);
    return rc;
}

void picture_drop(struct picture *p)
{
    if (!p || --p->refs > 0)
        return;
    mem_free(p->pixels);
    features_drop(p->encoded);
    mem_free(p->places);
    ids_free(&p->words);
    mem_free(p);
}

int picture_tell(const struct nun_model *m, struct picture *p, struct span text)
{
    const struct nn_facts *f = &m->model->more[0].facts;
    struct digest parts[2] = {p->identity};
    if (!m->told)
        return 0;
    p->words.n = 0;
    TRY(tokenizer_encode(m->told, text, TOK_ADD_SPECIAL, &p->words));
    if (p->words.n > (size_t)f->positions)
        return err_set(NUN_ECONTEXT, "pictures: %zu words of the prompt, there are %d positions for them", p->words.n, f->positions);
    for (size_t i = 0; i < p->words.n; i++)
        if (p->words.at[i] < 0 || p->words.at[i] >= f->vocab)
            return err_set(NUN_EFORMAT, "%s: id %d is outside the vocabulary of %d", m->model->family->sight->words, p->words.at[i], f->vocab);
    digest_of(p->words.at, p->words.n * sizeof *p->words.at, &parts[1]);
    digest_of(parts, sizeof parts, &p->identity);
    return 0;
}

int picture_spell(const struct nun_model *m, const struct picture *p, int index, int count, struct buf *out)
{
    const struct sight_row *row = m->model->family->sight;
    const struct family_facts *f = &m->model->facts;
    struct sight_text t = {.m = m->model, .plan = &p->plan, .token = prompt_token_text(m, p->token), .features = p->n_features,
                           .begin = prompt_token_text(m, f->begin_token ? f->begin_token : -1),
                           .end = prompt_token_text(m, f->end_token ? f->end_token : -1), .index = index, .count = count,
                           .seconds = p->seconds,
                           .start = prompt_token_text(m, tokenizer_adds_bos(m->tokenizer) ? tokenizer_role(m->tokenizer, TOK_BOS) : -1)};
    if (row->spell)
        return row->spell(&t, out);
    for (int i = 0; i < p->n_tokens; i++)
        buf_span(out, t.token);
    return buf_error(out);
}

/* ---- encoding ------------------------------------------------------------------------------ */

static void image_plan_drop(struct image_plan *p)
{
    plan_free(p->plan);
    graph_free(p->graph);
    mem_free(p);
}

void engine_image_plans_free(struct nun_model *m)
{
    while (m->image_plans) {
        struct image_plan *p = m->image_plans;
        m->image_plans = p->next;
        image_plan_drop(p);
    }
}

static int image_plan_fill(const struct nun_model *m, struct image_plan *p, size_t floats)
{
    TRY(graph_create(m->compute, m->threads, &p->graph));
    if (!(p->pixels = arena_array(&p->graph->arena, (size_t)p->pictures * floats, sizeof *p->pixels)))
        return NUN_ENOMEM;
    struct g_tensor *pixels = g_input(p->graph, "pixels", DT_F32, SHAPE4((int64_t)p->pictures * p->key.tiles, 3, p->key.tile_height,
                                                                         p->key.tile_width));
    if (pixels)
        pixels->data = p->pixels;
    if (p->words) {
        int64_t n = (int64_t)p->pictures * p->key.tiles * p->words;
        struct g_tensor *ids = g_input(p->graph, "words", DT_I32, SHAPE1(n));
        if (!ids || !(p->ids = ids->data = arena_array(&p->graph->arena, (size_t)n, sizeof *p->ids)))
            return NUN_ENOMEM;
        p->features = g_output(model_images_told(p->graph, m->model, pixels, &p->key, p->pictures, ids));
    } else {
        p->features = g_output(model_images(p->graph, m->model, pixels, &p->key, p->pictures));
    }
    TRY(graph_error(p->graph));
    return plan_create(p->graph, &p->plan);
}

/* The plan for it, found or made, becomes the first of the list; those beyond KEPT_PLANS go. */
static int image_plan_get(struct nun_model *m, const struct preprocess_plan *key, int pictures, int words, size_t floats,
                          struct image_plan **out)
{
    struct image_plan **at = &m->image_plans, *p = NULL;
    int seen = 0;
    for (; *at && !p; at = p ? at : &(*at)->next)
        if ((*at)->pictures == pictures && (*at)->words == words && !memcmp(&(*at)->key, key, sizeof *key)) {
            p = *at;
            *at = p->next;
        }
    if (!p) {
        if (!(p = mem_calloc(MEM_RUNTIME, 1, sizeof *p)))
            return NUN_ENOMEM;
        p->pictures = pictures;
        p->words = words;
        p->key = *key;
        int rc = image_plan_fill(m, p, floats);
        if (rc < 0) {
            image_plan_drop(p);
            return rc;
        }
    }
    p->next = m->image_plans;
    m->image_plans = *out = p;
    for (at = &m->image_plans; *at; seen++)
        if (seen < KEPT_PLANS) {
            at = &(*at)->next;
        } else {
            struct image_plan *old = *at;
            *at = old->next;
            image_plan_drop(old);
        }
    return 0;
}

static int bucket_of(int n)
{
    int bucket = 1;
    while (bucket < n)
        bucket *= 2;
    return bucket;
}

static void take_features(struct picture *p, struct features *f)
{
    p->encoded = f;
    p->features = f->at;
    mem_free(p->pixels);
    p->pixels = NULL;
}

/* At most ENGINE_PICTURES of one key, all still to be encoded. */
static int encode_batch(struct nun_model *m, struct picture *const *pictures, int n)
{
    struct image_plan *p;
    struct preprocess_plan key = sight_key(m->model, &pictures[0]->plan);
    size_t floats = pictures[0]->floats, rows = (size_t)pictures[0]->n_features + (size_t)pictures[0]->side.rows;
    size_t features = rows * (size_t)model_feature_width(m->model);
    TRY(image_plan_get(m, &key, bucket_of(n), (int)pictures[0]->words.n, floats, &p));
    for (int i = 0; i < p->pictures; i++) {
        const struct picture *from = pictures[i < n ? i : n - 1];
        memcpy(p->pixels + (size_t)i * floats, from->pixels, floats * sizeof(float));
        for (int k = 0; k < key.tiles * (p->words > 0); k++)
            memcpy(p->ids + (size_t)(i * key.tiles + k) * from->words.n, from->words.at, from->words.n * sizeof(int32_t));
    }
    TRY(exec_run(p->plan, &(struct exec){.pool = m->pool}));
    for (int i = 0; i < n; i++) {
        const float *values = g_f32(p->features) + (size_t)i * features;
        struct features *f = feature_cache_add(&m->features, &pictures[i]->identity, values, features);
        if (!f)
            return NUN_ENOMEM;
        take_features(pictures[i], f);
    }
    return 0;
}

int engine_encode(struct nun_model *m, struct picture *const *pictures, int n)
{
    for (int i = 0; i < n; i++) {
        struct features *f = pictures[i]->features ? NULL : feature_cache_find(&m->features, &pictures[i]->identity);
        if (f)
            take_features(pictures[i], f);
    }
    for (int from = 0; from < n; from++) {
        struct picture *batch[ENGINE_PICTURES] = {0};
        int waiting = 0;
        for (int i = from; i < n && waiting < ENGINE_PICTURES; i++) {
            bool twice = false; /* the same picture in two sequences */
            for (int k = 0; k < waiting; k++)
                twice = twice || batch[k] == pictures[i];
            if (!pictures[i]->features && !twice && same_key(m, &pictures[i]->plan, &pictures[from]->plan) &&
                pictures[i]->words.n == pictures[from]->words.n)
                batch[waiting++] = pictures[i];
        }
        if (!pictures[from]->features)
            TRY(encode_batch(m, batch, waiting));
    }
    return 0;
}

int picture_encoder_bytes(struct nun_model *m, const struct picture *p, size_t *out)
{
    struct image_plan *plan;
    struct preprocess_plan key = sight_key(m->model, &p->plan);
    TRY(image_plan_get(m, &key, 1, (int)p->words.n, p->floats, &plan));
    *out = plan->plan->memory_bytes + plan->plan->scratch_bytes + p->floats * sizeof(float);
    return 0;
}
