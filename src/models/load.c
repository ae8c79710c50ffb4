/* Opening, making, saving and closing models. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/rng.h"
#include "models/loader.h"
#include "models/quant_folder.h"

/* Small tensors are float32 in memory whatever the file has: kernels other than linear and embedding
 * read nothing else. */
static bool as_float32(enum nn_role role, const struct shape *s)
{
    return s->n <= 1 || role == NN_pos_w || role == NN_pool_probe;
}

struct file_source { struct quant_folder *files; };

static bool in_file(void *arg, const char *name)
{
    struct file_source *f = arg;
    return quant_folder_has(f->files, span_str(name));
}

static int take_from_file(void *arg, struct model *m, enum nn_role role, const struct nn_facts *f, struct g_param *p)
{
    struct file_source *src = arg;
    const struct st_tensor *t;
    const struct shape *shape = p->shape.n ? &p->shape : NULL;
    TRY(quant_folder_need(src->files, span_str(p->name), shape, &t));
    size_t n = 0, have = 0;
    TRY(shape_count(&p->shape, &n));
    TRY(shape_count(&t->shape, &have));
    if (n != have) /* scalars are stored as [] or [1] */
        return err_set(NUN_EFORMAT, "%s: expected one value, file has %zu", p->name, have);
    p->dt = t->dtype;
    p->data = t->data;
    if (!as_float32(role, &p->shape) && (t->dtype == DT_F32 || t->dtype == DT_BF16 || t->dtype == DT_F16))
        return 0;
    float *copy = arena_array(&m->arena, n, sizeof *copy);
    if (!copy)
        return NUN_ENOMEM;
    p->dt = DT_F32;
    p->data = copy;
    return dtype_to_f32(t->dtype, t->data, copy, n);
}

/* Buffers that old checkpoints carry and that the arithmetic does not read. */
static bool is_buffer(const char *name)
{
    static const char *const tails[] = {"position_ids", "rotary_emb.inv_freq", "attn.masked_bias", NULL};
    for (int i = 0; tails[i]; i++)
        if (span_ends(span_str(name), span_str(tails[i])))
            return true;
    return false;
}

static int refuse_extra(const struct model *m, const char *place)
{
    struct map names;
    map_init(&names, MEM_MODEL);
    int rc = 0;
    for (int i = 0; i < m->n_params && rc >= 0; i++)
        rc = map_put(&names, span_str(m->params[i]->name), i, NULL);
    for (size_t i = 0; rc >= 0 && i < st_count(m->weights); i++) {
        const char *name = st_at(m->weights, i)->name;
        int64_t at;
        bool tied_head = m->text.facts.tied && span_ends(span_str(name), SPAN("lm_head.weight"));
        if (!map_get(&names, span_str(name), &at) && !is_buffer(name) && !tied_head && !quant_folder_part(m->quant, name))
            rc = err_set(NUN_EFORMAT, "%s: tensor %s is not part of %s", place, name, m->family->architecture);
    }
    map_free(&names);
    return rc < 0 ? rc : 0;
}

static int load_into(struct model *m, const char *folder)
{
    char path[4096];
    const struct stack_row *text, *vision;
    if (!(m->folder = arena_strdup(&m->arena, folder)))
        return NUN_ENOMEM;
    TRY(path_join(path, sizeof path, folder, "config.json"));
    TRY(json_load_file_limited(path, &m->config));
    TRY(model_read_config(m, path, &text, &vision));
    TRY(st_open(folder, &m->weights));
    TRY(quant_folder_open(m->config, path, m->weights, &m->arena, &m->quant));
    struct file_source src = {m->quant};
    struct weight_source ws = {take_from_file, in_file, &src};
    TRY(model_bind_weights(m, text, vision, &ws));
    return refuse_extra(m, folder);
}

static int model_new(struct model **out)
{
    *out = mem_calloc(MEM_MODEL, 1, sizeof **out);
    if (!*out)
        return NUN_ENOMEM;
    arena_init(&(*out)->arena, MEM_MODEL, 0);
    return 0;
}

int model_load(const char *folder, struct model **out)
{
    TRY(model_new(out));
    int rc = load_into(*out, folder);
    if (rc < 0) {
        model_free(*out);
        *out = NULL;
    }
    return rc;
}

static bool always(void *arg, const char *name)
{
    return true;
}

/* Normal values of the role's usual spread: a norm is 1, a bias 0, the rest initializer_range, with the
 * projections that write into the residual stream scaled by 1/sqrt(2 layers) (GPT-2). */
static int take_random(void *arg, struct model *m, enum nn_role role, const struct nn_facts *f, struct g_param *p)
{
    size_t n;
    TRY(shape_count(&p->shape, &n));
    float *v = arena_array(&m->arena, n, sizeof *v);
    if (!v)
        return NUN_ENOMEM;
    p->dt = DT_F32;
    p->data = v;
    const char *name = nn_roles[role].name;
    bool bias = span_ends(span_str(name), SPAN("_b")), norm = strstr(name, "norm") != NULL;
    if (role == NN_logit_scale)
        v[0] = 2.6592f;
    if (bias || p->shape.n == 0)
        return 0;
    float std = f->init_range > 0 ? f->init_range : 0.02f;
    if ((role == NN_attn_o_w || role == NN_down_w) && f->layers)
        std /= sqrtf(2.0f * (float)f->layers);
    if (p->shape.n >= 2 && role != NN_embed_w && role != NN_pos_w) {
        int64_t fan_in = (int64_t)n / p->shape.d[0];
        float by_width = sqrtf(1.0f / (float)fan_in); /* small models need more than 0.02 */
        std = by_width < std || f->hidden < 768 ? by_width * (std / (f->init_range > 0 ? f->init_range : 0.02f)) : std;
    }
    struct rng r = rng_at(*(const uint64_t *)arg, hash64(p->name, strlen(p->name), 0));
    for (size_t i = 0; i < n; i++)
        v[i] = norm ? 1.0f - f->norm_offset : std * rng_normal(&r);
    return 0;
}

int model_init(json_t *config, uint64_t seed, struct model **out)
{
    TRY(model_new(out));
    struct model *m = *out;
    const struct stack_row *text, *vision;
    m->config = json_incref(config);
    struct weight_source ws = {take_random, always, &seed};
    int rc = model_read_config(m, "config", &text, &vision);
    if (rc >= 0)
        rc = model_bind_weights(m, text, vision, &ws);
    if (rc < 0) {
        model_free(m);
        *out = NULL;
    }
    return rc;
}

struct emission { const struct g_param *p; enum dtype dt; };

static int emit_param(void *arg, struct sink *out)
{
    const struct emission *e = arg;
    size_t n;
    TRY(shape_count(&e->p->shape, &n));
    if (e->p->dt == e->dt) {
        size_t bytes;
        TRY(dtype_bytes(e->dt, n, &bytes));
        sink_write(out, e->p->data, bytes);
        return out->error;
    }
    float *v = mem_calloc(MEM_MODEL, n, sizeof *v);
    void *o = mem_calloc(MEM_MODEL, n, 4);
    int rc = v && o ? dtype_to_f32(e->p->dt, e->p->data, v, n) : NUN_ENOMEM;
    if (rc >= 0)
        rc = dtype_from_f32(e->dt, v, o, n);
    size_t bytes = 0;
    if (rc >= 0)
        rc = dtype_bytes(e->dt, n, &bytes);
    if (rc >= 0)
        sink_write(out, o, bytes);
    mem_free(v);
    mem_free(o);
    return rc;
}

int model_save(const struct model *m, const char *folder, enum dtype dt)
{
    char path[4096];
    TRY(file_mkdirs(folder));
    unsigned mark = json_mark();
    json_t *config = json_copy(m->config);
    json_object_del(config, "torch_dtype");
    json_object_del(config, "quantization_config"); /* what is written is whole */
    const char *torch = dt == DT_BF16 ? "bfloat16" : dt == DT_F16 ? "float16" : "float32";
    json_object_set_new(config, "dtype", json_string(torch));
    int rc = json_check(mark);
    if (rc >= 0)
        rc = path_join(path, sizeof path, folder, "config.json");
    if (rc >= 0)
        rc = json_write_file(path, config);
    json_decref(config);
    TRY(rc);
    size_t n = (size_t)m->n_params;
    struct st_item *items = mem_calloc(MEM_MODEL, n, sizeof *items);
    struct emission *em = mem_calloc(MEM_MODEL, n, sizeof *em);
    rc = items && em ? path_join(path, sizeof path, folder, "model.safetensors") : NUN_ENOMEM;
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        em[i] = (struct emission){m->params[i], dt};
        items[i] = (struct st_item){m->params[i]->name, dt, m->params[i]->shape, NULL, emit_param, &em[i]};
    }
    if (rc >= 0)
        rc = st_write(path, items, n, NULL);
    mem_free(items);
    mem_free(em);
    return rc;
}

void model_free(struct model *m)
{
    if (!m)
        return;
    json_decref(m->config);
    quant_folder_close(m->quant);
    st_close(m->weights);
    arena_free(&m->arena);
    mem_free(m);
}
