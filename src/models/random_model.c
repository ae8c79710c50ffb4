/* Random weights in a stream: the family's tables give names and shapes, a counter-based generator gives
 * value i of a tensor without those before it. */
/* SPDX-License-Identifier: MIT */
#include "models/random_model.h"
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/rng.h"
#include "formats/safetensors.h"
#include "models/loader.h"

enum { CHUNK = 1 << 20, SPREAD_NORMS_PERCENT = 10 };

struct tensor {
    const struct model_piece *piece;
    enum dtype dt;
    float mean, std;
    uint64_t seed, stream;
    struct pool *pool;
};

struct chunk { const struct tensor *t; size_t first, n; float *values; unsigned char *bytes; };

static void fill(void *arg, int ith, int nth)
{
    const struct chunk *c = arg;
    size_t lo, hi;
    pool_share(c->n, 256, ith, nth, &lo, &hi);
    struct rng r = rng_at(c->t->seed, c->t->stream);
    r.index = 2 * (c->first + lo); /* two draws a value */
    for (size_t i = lo; i < hi; i++)
        c->values[i] = c->t->mean + c->t->std * rng_normal(&r);
    if (lo < hi)
        dtype_table[c->t->dt].encode(c->values + lo, c->bytes + lo * dtype_table[c->t->dt].block_bytes, hi - lo);
}

static int emit(void *arg, struct sink *out)
{
    const struct tensor *t = arg;
    struct chunk c = {.t = t, .values = mem_alloc(MEM_MODEL, CHUNK * sizeof(float)), .bytes = mem_alloc(MEM_MODEL, CHUNK * sizeof(float))};
    size_t n = 0;
    int rc = c.values && c.bytes ? shape_count(&t->piece->shape, &n) : NUN_ENOMEM;
    for (; rc >= 0 && c.first < n; c.first += c.n) {
        c.n = n - c.first < CHUNK ? n - c.first : CHUNK;
        if (t->pool)
            pool_run(t->pool, fill, &c);
        else
            fill(&c, 0, 1);
        sink_write(out, c.bytes, c.n * dtype_table[t->dt].block_bytes);
        rc = out->error;
    }
    mem_free(c.values);
    mem_free(c.bytes);
    return rc;
}

/* Names and shapes are wanted, not values. */
static int take_nothing(void *arg, struct model *m, enum nn_role role, const struct nn_facts *f, struct g_param *p)
{
    p->dt = DT_F32;
    return 0;
}

static bool not_optional(void *arg, const char *name) { return false; }

/* Norms near 1, so that a wrong one shows; biases near 0; matrices that keep the size of what they multiply. */
static void set_spread(struct tensor *t, const struct model *m)
{
    const struct shape *s = &t->piece->shape;
    struct span name = span_str(t->piece->name);
    size_t n = 1;
    shape_count(s, &n);
    bool norm = s->n == 1 && (strstr(t->piece->name, "norm") || span_ends(name, SPAN(".running_var"))) && !span_ends(name, SPAN(".bias"));
    bool table = span_ends(name, SPAN("embed_tokens.weight")) || span_ends(name, SPAN("wte.weight")) || span_ends(name, SPAN("wpe.weight"));
    t->mean = norm ? 1.0f - m->text.facts.norm_offset : 0;
    if (s->n <= 1)
        t->std = (float)SPREAD_NORMS_PERCENT / 100;
    else
        t->std = table ? 0.02f : 1.0f / sqrtf((float)(n / (size_t)(s->d[0] ? s->d[0] : 1)));
}

static int list(const struct model *m, struct tensor like, struct st_item *items, struct tensor *tensors, size_t *n)
{
    struct map names;
    map_init(&names, MEM_MODEL);
    int rc = 0;
    for (int i = 0; rc >= 0 && i < m->n_pieces; i++) {
        const struct model_piece *k = &m->pieces[i];
        int64_t at;
        if (map_get(&names, span_str(k->name), &at))
            continue;
        struct tensor *t = &tensors[*n];
        *t = like;
        t->piece = k;
        t->stream = hash64(k->name, strlen(k->name), 0);
        set_spread(t, m);
        items[*n] = (struct st_item){k->name, like.dt, k->shape, NULL, emit, t};
        rc = map_put(&names, span_str(k->name), (int64_t)(*n)++, NULL);
    }
    map_free(&names);
    return rc < 0 ? rc : 0;
}

static int write_files(const struct model *m, struct tensor like, const char *folder)
{
    char path[4096];
    size_t n = 0;
    struct st_item *items = mem_calloc(MEM_MODEL, (size_t)m->n_pieces + 1, sizeof *items);
    struct tensor *tensors = mem_calloc(MEM_MODEL, (size_t)m->n_pieces + 1, sizeof *tensors);
    int rc = items && tensors ? list(m, like, items, tensors, &n) : NUN_ENOMEM;
    if (rc >= 0)
        rc = file_mkdirs(folder);
    if (rc >= 0)
        rc = path_join(path, sizeof path, folder, "config.json");
    if (rc >= 0)
        rc = json_write_file(path, m->config);
    if (rc >= 0)
        rc = path_join(path, sizeof path, folder, "model.safetensors");
    if (rc >= 0)
        rc = st_write(path, items, n, NULL);
    mem_free(items);
    mem_free(tensors);
    return rc;
}

int random_model_write(json_t *config, uint64_t seed, enum dtype dt, const char *folder, struct pool *pool)
{
    const struct stack_row *text = NULL, *vision = NULL;
    struct model *m = mem_calloc(MEM_MODEL, 1, sizeof *m);
    struct weight_source none = {take_nothing, not_optional, NULL};
    if (!m)
        return NUN_ENOMEM;
    arena_init(&m->arena, MEM_MODEL, 0);
    m->config = json_incref(config);
    const char *name = dt == DT_BF16 ? "bfloat16" : dt == DT_F16 ? "float16" : "float32";
    int rc = json_object_set_new(config, "torch_dtype", json_string(name)) ? err_nomem(0) : 0;
    if (rc >= 0)
        rc = model_read_config(m, "config", &text, &vision);
    if (rc >= 0)
        rc = model_bind_weights(m, text, vision, &none);
    if (rc >= 0)
        rc = write_files(m, (struct tensor){.dt = dt, .seed = seed, .pool = pool}, folder);
    model_free(m);
    return rc;
}
