/* Opening, making, saving and closing models. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/rng.h"
#include "models/conv_rows.h"
#include "models/loader.h"
#include "formats/gguf.h"
#include "models/gguf_model.h"
#include "models/lora.h"
#include "models/quant_folder.h"

/* Small tensors are float32 in memory whatever the file has: kernels other than linear and embedding
 * read nothing else. */
static bool as_float32(enum nn_role role, const struct shape *s)
{
    static const enum nn_role floats[] = {
        NN_unit_group_w,
        NN_pos_w, NN_latents_w, NN_queries_w, NN_conn_pos_w, NN_near_w, NN_q_norm_w, NN_k_norm_w, NN_expert_gate_b, NN_expert_up_b, NN_expert_down_b, NN_choice_b,
        NN_conv_w, NN_ssm_a, NN_lru_x_b, NN_lru_a_b, NN_mix_k, NN_mix_v, NN_mix_r, NN_mix2_k, NN_mix2_r};
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++)
        if (floats[i] == role)
            return true;
    for (int d = 0; d + 1 < s->n; d++)
        if (s->d[d] != 1)
            return false;
    return true;
}

struct file_source { struct quant_folder *files; struct lora_set *loras; };

static bool in_file(void *arg, const char *name)
{
    struct file_source *f = arg;
    return quant_folder_has(f->files, span_str(name));
}

/* What a tensor on disk is read as: formats that the kernels take are left as they are. */
static enum dtype memory_type(enum nn_role role, const struct g_param *p, const struct model_piece *k, enum dtype dt)
{
    bool blocks = dtype_table[dt].block_values > 1;
    bool known = dt == DT_F32 || dt == DT_BF16 || dt == DT_F16 || (blocks && !k->transposed && role != NN_unit_w && k->cols % dtype_table[dt].block_values == 0);
    return known && !as_float32(role, &p->shape) ? dt : DT_F32;
}

/* One piece into the weight's own memory, whose format is p->dt. */
static int copy_piece(const struct model_piece *k, const struct st_tensor *t, void *to)
{
    size_t n;
    if (t->dtype == k->p->dt)
        return model_piece_take(k, k->p->dt, t->data, to);
    TRY(shape_count(&t->shape, &n));
    float *values = mem_calloc(MEM_MODEL, n ? n : 1, sizeof *values);
    int rc = values ? dtype_to_f32(t->dtype, t->data, values, n) : NUN_ENOMEM;
    if (rc >= 0)
        rc = model_piece_take(k, DT_F32, values, to);
    mem_free(values);
    return rc;
}

/* The tensor of a piece, found and checked. */
static int need_piece(const struct file_source *src, const struct model_piece *k, const struct st_tensor **t)
{
    size_t n = 0, have = 0;
    TRY(shape_count(&k->shape, &n));
    TRY(quant_folder_need(src->files, span_str(k->name), n == 1 ? NULL : &k->shape, t));
    TRY(lora_apply(src->loras, *t, t));
    TRY(shape_count(&(*t)->shape, &have));
    if (n != have) /* scalars are stored as [] or [1] */
        return err_set(NUN_EFORMAT, "%s: expected one value, file has %zu", k->name, have);
    return 0;
}

static int take_from_file(void *arg, struct model *m, enum nn_role role, const struct nn_facts *f, struct g_param *p)
{
    struct file_source *src = arg;
    const struct st_tensor *t;
    int n;
    const struct model_piece *k = model_pieces_of(m, p, &n);
    size_t values, bytes;
    TRY(need_piece(src, k, &t));
    TRY(shape_count(&p->shape, &values));
    p->dt = memory_type(role, p, k, t->dtype);
    if (n == 1 && p->dt == t->dtype && model_piece_run(k) >= 0) {
        TRY(dtype_bytes(p->dt, (size_t)model_piece_run(k), &bytes));
        p->data = (const char *)t->data + bytes;
        return 0;
    }
    for (int i = 1; i < n; i++) { /* pieces of several formats become float32 */
        TRY(need_piece(src, &k[i], &t));
        p->dt = memory_type(role, p, &k[i], t->dtype) == p->dt ? p->dt : DT_F32;
    }
    TRY(dtype_bytes(p->dt, values, &bytes));
    void *copy = arena_alloc(&m->arena, bytes ? bytes : 1);
    if (!copy)
        return NUN_ENOMEM;
    p->data = copy;
    for (int i = 0; i < n; i++) {
        TRY(need_piece(src, &k[i], &t));
        TRY(copy_piece(&k[i], t, copy));
    }
    return 0;
}

static bool ends_with(const char *const *list, const char *name)
{
    for (; list && *list; list++)
        if (span_ends(span_str(name), span_str(*list)))
            return true;
    return false;
}

/* Layers beyond the last, and ERNIE's mtp_ parts: they guess tokens further ahead, and nothing here asks them. */
static bool is_ahead(const struct model *m, const char *name)
{
    int64_t more = json_integer_value(json_object_get(m->config, "num_nextn_predict_layers"));
    const char *at = strstr(name, "layers.");
    char *end = NULL;
    long layer = at ? strtol(at + 7, &end, 10) : -1;
    if (at && *end == '.' && layer >= m->text.facts.layers && layer < m->text.facts.layers + more)
        return true;
    return more > 0 && strstr(name, ".mtp_") != NULL;
}

/* Tensors that no arithmetic reads: buffers of old checkpoints, the stack's own, a head where it is tied. */
static bool is_left(const struct model *m, const struct stack_row *row, const char *name)
{
    static const char *const buffers[] = {"position_ids", "rotary_emb.inv_freq", "attn.masked_bias", NULL};
    if (is_ahead(m, name) || ends_with(buffers, name) || ends_with(row ? row->leave : m->family->conv ? m->family->conv->leave : NULL, name))
        return true;
    for (size_t i = 0; row && m->text.facts.tied && i < row->n_weights; i++)
        if (row->weights[i].when == W_UNTIED && span_ends(span_str(name), span_str(row->weights[i].name)))
            return true;
    return false;
}

static int refuse_extra(const struct model *m, const struct stack_row *text, const struct stack_row *vision, const char *place)
{
    struct map names;
    map_init(&names, MEM_MODEL);
    int rc = 0;
    for (int i = 0; i < m->n_pieces && rc >= 0; i++)
        rc = map_put(&names, span_str(m->pieces[i].name), i, NULL);
    for (size_t i = 0; rc >= 0 && i < st_count(m->weights); i++) {
        const char *name = st_at(m->weights, i)->name;
        int64_t at;
        if (!map_get(&names, span_str(name), &at) && !is_left(m, text, name) && !is_left(m, vision, name) && !quant_folder_part(m->quant, name))
            rc = err_set(NUN_EFORMAT, "%s: tensor %s is not part of %s", place, name, m->family->architecture);
    }
    map_free(&names);
    return rc < 0 ? rc : 0;
}

/* Config and weights are open: what lies over them, and every weight in its place. */
static int bind_all(struct model *m, const char *place, const struct stack_row *text, const struct stack_row *vision,
                    const struct model_lora *loras, size_t n_loras)
{
    TRY(quant_folder_open(m->config, place, m->weights, &m->arena, &m->quant));
    if (n_loras)
        TRY(lora_open(loras, n_loras, &m->arena, &m->loras));
    struct file_source src = {m->quant, m->loras};
    struct weight_source ws = {take_from_file, in_file, &src};
    TRY(model_bind_weights(m, text, vision, &ws));
    TRY(lora_all_used(m->loras));
    return refuse_extra(m, text, vision, m->folder);
}

static int load_into(struct model *m, const char *folder, const struct model_lora *loras, size_t n_loras, bool facts_only)
{
    char path[4096];
    const struct stack_row *text, *vision;
    if (!(m->folder = arena_strdup(&m->arena, folder)))
        return NUN_ENOMEM;
    if (gguf_is_file(folder)) {
        snprintf(path, sizeof path, "%s", folder);
        TRY(gguf_model_open(folder, facts_only, &m->config, &m->weights));
        TRY(model_read_config(m, path, &text, &vision));
    } else if (!file_is_dir(folder)) {
        return err_set(NUN_EFORMAT, "%s: expected a model folder or a GGUF file, found %s", folder,
                       file_exists(folder) ? "another file" : "neither");
    } else {
        TRY(path_join(path, sizeof path, folder, "config.json"));
        TRY(json_load_file_limited(path, &m->config));
        TRY(model_read_config(m, path, &text, &vision));
        TRY(st_open(folder, &m->weights));
    }
    return bind_all(m, path, text, vision, loras, n_loras);
}

/* A GGUF file and that of its tower. */
static int load_pair(struct model *m, const struct model_files *files)
{
    const struct stack_row *text, *vision;
    if (!gguf_is_file(files->folder))
        return err_set(NUN_EARG, "%s: a tower of its own (%s) goes with a GGUF file", files->folder, files->mmproj);
    if (!(m->folder = arena_strdup(&m->arena, files->folder)))
        return NUN_ENOMEM;
    TRY(gguf_model_open(files->folder, files->facts_only, &m->config, &m->weights));
    TRY(gguf_sight_add(files->folder, files->mmproj, &m->config, &m->weights));
    TRY(model_read_config(m, files->mmproj, &text, &vision));
    return bind_all(m, files->folder, text, vision, files->loras, files->n_loras);
}

static int model_new(struct model **out)
{
    *out = mem_calloc(MEM_MODEL, 1, sizeof **out);
    if (!*out)
        return NUN_ENOMEM;
    arena_init(&(*out)->arena, MEM_MODEL, 0);
    return 0;
}

int model_load_files(const struct model_files *files, struct model **out)
{
    TRY(model_new(out));
    int rc = files->mmproj ? load_pair(*out, files) : load_into(*out, files->folder, files->loras, files->n_loras, files->facts_only);
    if (rc < 0) {
        model_free(*out);
        *out = NULL;
    }
    return rc;
}

int model_load(const char *folder, struct model **out)
{
    return model_load_files(&(struct model_files){.folder = folder}, out);
}

int model_load_with(const char *folder, const struct model_lora *loras, size_t n, struct model **out)
{
    return model_load_files(&(struct model_files){.folder = folder, .loras = loras, .n_loras = n}, out);
}

int model_load_facts(const char *folder, struct model **out)
{
    return model_load_files(&(struct model_files){.folder = folder, .facts_only = true}, out);
}

static bool always(void *arg, const char *name)
{
    return true;
}

/* x [1 + side * side, hidden]: none for the first token; a quarter each of the width the sines and cosines of the column,
 * then of the row, with frequencies from 1 to 1/10000. */
static int waves(const struct nn_facts *f, float *x)
{
    int side = f->image_size / f->patch, quarter = f->hidden / 4;
    if (f->hidden % 4)
        return err_set(NUN_EUNSUP, "positions: expected a width that is a multiple of 4, found %d", f->hidden);
    memset(x, 0, (size_t)f->hidden * sizeof *x);
    for (int p = 0; p < side * side; p++)
        for (int i = 0; i < quarter; i++) {
            double omega = pow(10000, -(double)i / quarter), column = omega * (p % side), row = omega * (p / side);
            float *at = x + (size_t)(1 + p) * (size_t)f->hidden + i;
            at[0] = (float)sin(column);
            at[quarter] = (float)cos(column);
            at[2 * quarter] = (float)sin(row);
            at[3 * quarter] = (float)cos(row);
        }
    return 0;
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
    if (role == NN_logit_scale) /* as the papers begin: 1 / 0.07; with a sigmoid 10, and almost all pairs told apart */
        v[0] = m->facts.sigmoid ? 2.302585f : 2.6592f;
    if (role == NN_logit_bias)
        v[0] = -10.0f;
    if (role == NN_pos_w && f->waves)
        return waves(f, v);
    bool learnt = role == NN_logit_scale || role == NN_logit_bias, closed = f->closed_gates && (role == NN_gate1_w || role == NN_gate2_w);
    if (learnt || closed || bias || p->shape.n == 0)
        return 0;
    float std = f->init_range > 0 ? f->init_range : 0.02f;
    if ((role == NN_attn_o_w || role == NN_down_w || role == NN_expert_down_w || role == NN_shared_down_w) && f->layers)
        std /= sqrtf(2.0f * (float)f->layers);
    if (p->shape.n >= 2 && role != NN_embed_w && role != NN_pos_w) {
        int64_t fan_in = p->stacked ? p->shape.d[2] : (int64_t)n / p->shape.d[0];
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

void model_free(struct model *m)
{
    if (!m)
        return;
    json_decref(m->config);
    lora_close(m->loras);
    quant_folder_close(m->quant);
    st_close(m->weights);
    arena_free(&m->arena);
    mem_free(m);
}
