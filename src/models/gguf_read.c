/* A GGUF file seen as a folder: a config.json made from its metadata, and its tensors under the folder's
 * names and in the folder's layout. What only has another name or shape stays in the map; rows of q and k
 * that must be put in order are copied as they are, quantised or not; norms and the like become floats. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "models/gguf_map.h"
#include "models/gguf_model.h"

struct view {
    struct gguf *g;
    bool facts_only;
    const char *place;
    const struct gguf_arch *arch;
    struct gguf_sizes sizes;
    struct arena arena;         /* names, and values that were moved or computed */
    struct st_tensor *tensors;
    size_t n, cap;
};

static void view_free(void *arg)
{
    struct view *v = arg;
    gguf_close(v->g);
    mem_free(v->tensors);
    arena_free(&v->arena);
    mem_free(v);
}

/* ---- values ------------------------------------------------------------------------------------ */

static int move_rows(struct view *v, const struct gguf_piece *p, struct st_tensor *out)
{
    size_t rows = gguf_piece_rows(p), bytes = rows ? p->src[0]->bytes / rows : 0;
    char *copy = arena_alloc(&v->arena, p->src[0]->bytes + 1);
    if (!copy)
        return NUN_ENOMEM;
    for (size_t i = 0; i < rows; i++)
        memcpy(copy + i * bytes, gguf_piece_raw(p, i), bytes);
    out->data = copy;
    return 0;
}

/* A transposed matrix at once: by rows each block would be decoded for every value in it. */
static int transpose(struct view *v, const struct gguf_piece *p, float *out)
{
    size_t rows = gguf_piece_rows(p), cols = gguf_piece_cols(p);
    float *whole = mem_calloc(MEM_MODEL, rows * cols, sizeof *whole);
    if (!whole)
        return NUN_ENOMEM;
    int rc = dtype_to_f32(p->src[0]->dtype, p->src[0]->data, whole, rows * cols);
    for (size_t i = 0; rc >= 0 && i < rows; i++)
        for (size_t k = 0; k < cols; k++)
            out[i * cols + k] = whole[k * rows + i];
    mem_free(whole);
    return rc;
}

static int compute_rows(struct view *v, const struct gguf_piece *p, struct st_tensor *out)
{
    size_t rows = gguf_piece_rows(p), cols = gguf_piece_cols(p);
    float scratch[256], *values = arena_array(&v->arena, rows * cols + 1, sizeof *values);
    if (!values)
        return NUN_ENOMEM;
    out->dtype = DT_F32;
    out->data = values;
    out->bytes = rows * cols * sizeof *values;
    if (p->layout == GL_TRANSPOSED)
        return transpose(v, p, values);
    for (size_t i = 0; i < rows; i++)
        TRY(gguf_piece_row(p, i, scratch, values + i * cols));
    return 0;
}

static int push(struct view *v, const struct st_tensor *t)
{
    TRY(limit_check(LIMIT_tensors, v->n + 1, v->place));
    if (v->n == v->cap) {
        size_t cap = v->cap ? 2 * v->cap : 256;
        struct st_tensor *grown = mem_realloc(MEM_MODEL, v->tensors, cap * sizeof *grown);
        if (!grown)
            return NUN_ENOMEM;
        v->tensors = grown;
        v->cap = cap;
    }
    v->tensors[v->n++] = *t;
    return 0;
}

/* ---- one tensor -------------------------------------------------------------------------------- */

struct fit { const struct gguf_name *row; int n[2]; struct span rest; };

static bool find_row(const struct gguf_arch *arch, struct span name, struct fit *out)
{
    for (int s = 0; s < GGUF_SETS; s++)
        for (size_t i = 0; i < arch->names[s].n; i++)
            if (gguf_name_fits(arch->names[s].at[i].gguf, name, out->n, &out->rest)) {
                out->row = &arch->names[s].at[i];
                return true;
            }
    return false;
}

static int name_tensor(struct view *v, const struct fit *f, struct st_tensor *out)
{
    char name[256];
    TRY(gguf_name_make(f->row->hf, f->n, f->rest, name, sizeof name));
    out->name = arena_strdup(&v->arena, name);
    return out->name ? 0 : NUN_ENOMEM;
}

/* [experts, rows, cols] as one matrix each. */
static int push_experts(struct view *v, const struct st_tensor *t, struct fit *f)
{
    if (t->shape.n != 3 || t->shape.d[0] < 1)
        return err_set(NUN_EFORMAT, "%s: tensor \"%s\": expected [experts, rows, columns], found %d dimensions", v->place,
                       t->name, t->shape.n);
    size_t experts = (size_t)t->shape.d[0];
    TRY(limit_check(LIMIT_tensors, experts, t->name));
    for (size_t e = 0; e < experts; e++) {
        struct st_tensor one = {.dtype = t->dtype, .shape = SHAPE2(t->shape.d[1], t->shape.d[2]), .bytes = t->bytes / experts};
        one.data = (const char *)t->data + e * one.bytes;
        f->n[1] = (int)e;
        TRY(name_tensor(v, f, &one));
        TRY(push(v, &one));
    }
    return 0;
}

/* kv_b is made from two tensors; the second is found by the first. */
static int mla_partner(struct view *v, const struct fit *f, const struct st_tensor **src)
{
    char name[128];
    TRY(gguf_name_make("blk.%d.attn_v_b.weight", f->n, (struct span){0}, name, sizeof name));
    src[1] = gguf_find(v->g, span_str(name));
    return src[1] ? 0 : err_set(NUN_EFORMAT, "%s: tensor \"%s\": expected, not found", v->place, name);
}

static int push_tensor(struct view *v, const struct st_tensor *t)
{
    static const char *const aside[] = {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight",
                                       "v.token_embd.img_break"};
    struct fit f;
    for (size_t i = 0; i < sizeof aside / sizeof aside[0]; i++)
        if (!strcmp(t->name, aside[i]))
            return 0; /* read into the config; the last is a row of the decoder's embedding again */
    if (!find_row(v->arch, span_str(t->name), &f))
        return err_set(NUN_EUNSUP, "%s: tensor \"%s\" is not one that %s has", v->place, t->name, v->arch->architecture);
    if (gguf_name_holes(f.row->hf) > gguf_name_holes(f.row->gguf))
        return push_experts(v, t, &f);
    if (f.row->layout == GL_MLA_V)
        return 0; /* comes with k */
    const struct st_tensor *src[2] = {t, NULL};
    if (f.row->layout == GL_MLA_K)
        TRY(mla_partner(v, &f, src));
    struct gguf_piece p = {.layout = f.row->layout, .sizes = v->sizes, .src = src, .n_src = src[1] ? 2 : 1};
    struct st_tensor out = *t;
    int rc = gguf_piece_init(&p, t->name);
    if (rc < 0)
        return err_at(rc, "%s", v->place);
    out.shape = p.shape;
    TRY(name_tensor(v, &f, &out));
    bool moves = p.layout == GL_ROPE_Q || p.layout == GL_ROPE_K || p.layout == GL_NEOX_QKV;
    if (gguf_piece_rows(&p) && !gguf_piece_raw(&p, 0))
        TRY(compute_rows(v, &p, &out));
    else if (moves && !(v->facts_only && p.shape.n > 1))
        TRY(move_rows(v, &p, &out));
    return push(v, &out);
}

/* ---- the file ---------------------------------------------------------------------------------- */

static int read_view(struct view *v, json_t **config)
{
    TRY(gguf_arch_of_file(v->g, v->place, &v->arch));
    TRY(gguf_to_config(v->g, v->arch, v->place, config));
    int rc = gguf_sizes_of(*config, v->arch, &v->sizes);
    for (size_t i = 0; i < gguf_count(v->g) && rc >= 0; i++)
        rc = push_tensor(v, gguf_at(v->g, i));
    return rc;
}

/* Takes the file over, whatever happens. */
static int open_view(struct gguf *g, const char *place, bool facts_only, json_t **config, struct safetensors **weights)
{
    struct view *v = mem_calloc(MEM_MODEL, 1, sizeof *v);
    json_t *made = NULL;
    if (!v) {
        gguf_close(g);
        return NUN_ENOMEM;
    }
    v->g = g;
    v->facts_only = facts_only;
    arena_init(&v->arena, MEM_MODEL, 0);
    v->place = arena_strdup(&v->arena, place);
    int rc = v->place ? read_view(v, &made) : NUN_ENOMEM;
    if (rc >= 0)
        rc = st_open_views(place, v->tensors, v->n, v, view_free, weights);
    if (rc < 0) {
        json_decref(made);
        view_free(v);
        return rc;
    }
    *config = made;
    return 0;
}

int gguf_model_open(const char *path, bool facts_only, json_t **config, struct safetensors **weights)
{
    struct gguf *g;
    TRY(gguf_open(path, &g));
    return open_view(g, path, facts_only, config, weights);
}

int gguf_model_open_bytes(struct span file, const char *place, json_t **config, struct safetensors **weights)
{
    struct gguf *g;
    TRY(gguf_open_bytes(file, place, &g));
    return open_view(g, place, false, config, weights);
}
