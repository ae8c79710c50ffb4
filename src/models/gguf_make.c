/* A folder's tensors written as one GGUF file: the rows of gguf_rows.c read from the other side. Values pass
 * through memory a few rows at a time, decoded, put in order and encoded by all threads. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/ck.h"
#include "base/err.h"
#include "base/limits.h"
#include "models/gguf_map.h"
#include "models/gguf_model.h"

struct making {
    const struct gguf_model_plan *plan;
    const struct safetensors *st;
    const struct gguf_arch *arch;
    struct gguf_sizes sizes;
    struct arena arena;
    bool tied;
    bool *used;              /* [st_count] */
    int layers, experts;
    struct st_item *items;
    size_t n, cap;
};

/* ---- values ------------------------------------------------------------------------------------ */

enum { CHUNK_VALUES = 1 << 20 };
struct emission { const struct making *m; struct gguf_piece piece; struct st_item *item; };

struct chunk {
    const struct emission *e;
    size_t first, rows, row_bytes;
    float *floats;           /* [threads, cols + scratch] */
    char *bytes;             /* [rows, row_bytes] */
    int bad;                 /* 0, or a code; threads agree that the last one wins */
};

static bool all_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

static void encode_rows(void *arg, int ith, int nth)
{
    struct chunk *c = arg;
    const struct gguf_piece *p = &c->e->piece;
    size_t cols = gguf_piece_cols(p), lo, hi;
    float *row = c->floats + (size_t)ith * (cols + gguf_piece_scratch(p));
    pool_share(c->rows, 1, ith, nth, &lo, &hi);
    for (size_t i = lo; i < hi; i++) {
        char *to = c->bytes + i * c->row_bytes;
        const void *raw = gguf_piece_raw(p, c->first + i);
        if (raw && c->e->item->dtype == p->src[0]->dtype) {
            memcpy(to, raw, c->row_bytes);
            continue;
        }
        int rc = gguf_piece_row(p, c->first + i, row + cols, row);
        if (rc >= 0 && !all_finite(row, cols))
            rc = NUN_ENUMERIC;
        if (rc >= 0)
            dtype_table[c->e->item->dtype].encode(row, to, cols);
        else
            __atomic_store_n(&c->bad, rc, __ATOMIC_RELAXED);
    }
}

static int emit_rows(const struct emission *e, struct chunk *c, size_t most, struct sink *out)
{
    size_t rows = gguf_piece_rows(&e->piece);
    struct pool *pool = e->m->plan->pool;
    for (c->first = 0; c->first < rows && !c->bad && !out->error; c->first += c->rows) {
        c->rows = rows - c->first < most ? rows - c->first : most;
        if (pool && c->rows > 1)
            pool_run(pool, encode_rows, c);
        else
            encode_rows(c, 0, 1);
        if (!c->bad)
            sink_write(out, c->bytes, c->rows * c->row_bytes);
    }
    if (c->bad == NUN_ENUMERIC)
        return err_set(NUN_ENUMERIC, "one of its values is not finite");
    return c->bad ? c->bad : out->error;
}

static int emit(void *arg, struct sink *out)
{
    const struct emission *e = arg;
    const struct gguf_model_plan *plan = e->m->plan;
    struct chunk c = {.e = e};
    size_t cols = gguf_piece_cols(&e->piece), threads = plan->pool ? (size_t)pool_threads(plan->pool) : 1, most;
    if (plan->progress)
        plan->progress(plan->progress_arg, (size_t)(e->item - e->m->items), e->m->n, e->item->name);
    if (!cols || !gguf_piece_rows(&e->piece))
        return 0;
    TRY(dtype_bytes(e->item->dtype, cols, &c.row_bytes));
    most = CHUNK_VALUES / cols ? CHUNK_VALUES / cols : 1;
    c.floats = mem_calloc(MEM_MODEL, threads * (cols + gguf_piece_scratch(&e->piece)), sizeof *c.floats);
    c.bytes = mem_calloc(MEM_MODEL, most, c.row_bytes);
    int rc = c.floats && c.bytes ? emit_rows(e, &c, most, out) : NUN_ENOMEM;
    mem_free(c.floats);
    mem_free(c.bytes);
    return rc;
}

/* ---- which tensors ------------------------------------------------------------------------------- */

/* Always float32: every engine reads these so, and they are small. */
static bool is_small(const char *name, const struct shape *s)
{
    static const char *const parts[] = {"_norm.", "ffn_gate_inp", "ssm_conv1d", "ssm_a", "position_embd"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strstr(name, parts[i]))
            return true;
    return s->n <= 1 || span_ends(span_str(name), SPAN(".ssm_d"));
}

/* GPT-2's folders have its prefix or not. */
static const struct st_tensor *find(const struct making *m, const char *name)
{
    static const char prefix[] = "transformer.";
    const struct st_tensor *t = st_find(m->st, span_str(name));
    if (!t && !strncmp(name, prefix, sizeof prefix - 1))
        t = st_find(m->st, span_str(name + sizeof prefix - 1));
    return t;
}

static bool is_used(const struct making *m, const struct st_tensor *t) { return m->used[t - st_at(m->st, 0)]; }

static int add_item(struct making *m, const char *name, const struct gguf_piece *p)
{
    if (m->n == m->cap)
        return err_set(NUN_ELIMIT, "%s: more tensors than the tables have", name);
    struct st_item *it = &m->items[m->n];
    struct emission *e = arena_alloc(&m->arena, sizeof *e);
    if (!e || !(it->name = arena_strdup(&m->arena, name)))
        return NUN_ENOMEM;
    *e = (struct emission){m, *p, it};
    it->dtype = p->src[0]->dtype;
    it->shape = p->shape;
    it->emit = emit;
    it->arg = e;
    it->dtype = is_small(name, &p->shape) ? DT_F32 : m->plan->choose(m->plan->arg, it);
    if (!dtype_table[it->dtype].encode && it->dtype != p->src[0]->dtype)
        return err_set(NUN_EUNSUP, "%s: %s is only read, not written", name, dtype_name(it->dtype));
    for (size_t i = 0; i < p->n_src; i++)
        m->used[p->src[i] - st_at(m->st, 0)] = true;
    m->n++;
    return 0;
}

/* One GGUF tensor by its row, layer and suffix, when the folder has what it is made from. */
static int add_tensor(struct making *m, const struct gguf_name *row, int layer, const char *suffix)
{
    char name[256];
    int numbers[2] = {layer, 0}, parts = gguf_name_holes(row->hf) == 2 ? m->experts : 1, n = 0;
    struct span rest = span_str(suffix);
    const struct st_tensor **src = arena_array(&m->arena, (size_t)parts + 1, sizeof *src);
    if (!src)
        return NUN_ENOMEM;
    for (; n < parts; n++) {
        numbers[1] = n;
        TRY(gguf_name_make(row->hf, numbers, rest, name, sizeof name));
        if (!(src[n] = find(m, name)))
            break;
    }
    if (n && n < parts)
        return err_set(NUN_EFORMAT, "%s: tensor \"%s\": expected, not found", st_path(m->st), name);
    if (!n || (is_used(m, src[0]) && row->layout != GL_MLA_V))
        return 0;
    struct gguf_piece p = {.layout = row->layout, .to_gguf = true, .sizes = m->sizes, .src = src, .n_src = (size_t)parts};
    TRY(gguf_piece_init(&p, name));
    TRY(gguf_name_make(row->gguf, numbers, rest, name, sizeof name));
    return add_item(m, name, &p);
}

static int add_row(struct making *m, const struct gguf_name *row)
{
    static const char *const suffixes[] = {"", ".weight", ".bias"};
    if (gguf_name_holes(row->gguf) == 2)
        return 0; /* an old spelling, only read */
    int layers = gguf_name_holes(row->gguf) ? m->layers : 1;
    for (int layer = 0; layer < layers; layer++)
        for (size_t s = 0; s < 3; s++)
            TRY(add_tensor(m, row, layer, suffixes[s]));
    return 0;
}

/* What may be left over: buffers, and a head that the embedding stands for. */
static int check_used(const struct making *m, const char *place)
{
    static const char *const tails[] = {"inv_freq", "masked_bias", ".attn.bias", "attention.bias", "position_ids"};
    for (size_t i = 0; i < st_count(m->st); i++) {
        struct span name = span_str(st_at(m->st, i)->name);
        bool fine = m->used[i] || (m->tied && (span_is(name, "lm_head.weight") || span_is(name, "embed_out.weight")));
        for (size_t k = 0; k < sizeof tails / sizeof tails[0]; k++)
            fine = fine || span_ends(name, span_str(tails[k]));
        if (!fine)
            return err_set(NUN_EUNSUP, "%s: tensor \"%.*s\" has no name in GGUF's %s", place, (int)name.len, name.ptr, m->arch->name);
    }
    return 0;
}

static int list_tensors(struct making *m, const char *place)
{
    size_t count = st_count(m->st);
    m->used = arena_array(&m->arena, count + 1, sizeof *m->used);
    m->cap = 2 * count + 8;
    m->items = arena_array(&m->arena, m->cap, sizeof *m->items);
    if (!m->used || !m->items)
        return NUN_ENOMEM;
    if (m->tied) /* the head, where a file has it all the same, is the embedding */
        for (size_t i = 0; i < count; i++)
            m->used[i] = !strcmp(st_at(m->st, i)->name, "lm_head.weight");
    for (int s = 0; s < GGUF_SETS; s++)
        for (size_t i = 0; i < m->arch->names[s].n; i++)
            TRY(add_row(m, &m->arch->names[s].at[i]));
    return check_used(m, place);
}

static int add_extras(struct making *m, const struct gguf_out *out)
{
    for (int i = 0; i < out->n_extra; i++) {
        const struct gguf_extra *e = &out->extra[i];
        float *copy = arena_array(&m->arena, (size_t)e->n, sizeof *copy);
        if (!copy)
            return NUN_ENOMEM;
        memcpy(copy, e->at, (size_t)e->n * sizeof *copy);
        m->items[m->n++] = (struct st_item){e->name, DT_F32, SHAPE1(e->n), copy, NULL, NULL};
    }
    return 0;
}

/* ---- the file ------------------------------------------------------------------------------------ */

static int read_counts(struct making *m, const json_t *config, const char *place)
{
    int64_t layers = gguf_config_int(config, "num_hidden_layers", gguf_config_int(config, "n_layer", 0));
    int64_t experts = gguf_config_int(config, "num_local_experts", gguf_config_int(config, "num_experts",
                                      gguf_config_int(config, "n_routed_experts", 0)));
    const json_t *tied = json_object_get(config, "tie_word_embeddings");
    bool default_tied = !strcmp(m->arch->name, "gpt2") || !strncmp(m->arch->name, "gemma", 5) || !strcmp(m->arch->name, "mamba") ||
                        !strcmp(m->arch->name, "starcoder2");
    m->tied = json_is_boolean(tied) ? json_is_true(tied) : default_tied;
    if (ck_int(layers, 1, (int)LIMIT_OF(layers), &m->layers) || ck_int(experts, 0, 1 << 16, &m->experts))
        return err_set(NUN_EFORMAT, "%s: %lld layers, %lld experts", place, (long long)layers, (long long)experts);
    return 0;
}

static int make(struct making *m, const char *path, const json_t *config, const char *place, struct gguf_out *out)
{
    if (json_dig(config, "quantization_config"))
        return err_set(NUN_EUNSUP, "%s: quantization_config: a quantised folder cannot be written as GGUF", place);
    TRY(gguf_arch_of_config(config, place, &m->arch));
    out->arch = m->arch;
    TRY(gguf_sizes_of(config, m->arch, &m->sizes));
    TRY(read_counts(m, config, place));
    gguf_set_string(out->meta, "general.architecture", span_str(m->arch->name));
    if (m->plan->name)
        gguf_set_string(out->meta, "general.name", span_str(m->plan->name));
    TRY(gguf_from_config(out));
    gguf_set_int(out->meta, "general.file_type", m->plan->file_type);
    if (m->plan->tokenizer)
        TRY(m->plan->tokenizer(m->plan->tokenizer_arg, out->meta));
    TRY(list_tensors(m, place));
    TRY(add_extras(m, out));
    return gguf_write(path, out->meta, m->items, m->n);
}

int gguf_model_write(const char *path, const json_t *config, const char *place, const struct safetensors *weights,
                     const struct gguf_model_plan *plan)
{
    struct making m = {.plan = plan, .st = weights};
    struct gguf_meta meta;
    struct gguf_out *out = mem_calloc(MEM_MODEL, 1, sizeof *out);
    if (!out)
        return NUN_ENOMEM;
    arena_init(&m.arena, MEM_MODEL, 0);
    gguf_meta_init(&meta);
    *out = (struct gguf_out){.place = place, .config = config, .meta = &meta};
    int rc = make(&m, path, config, place, out);
    gguf_meta_free(&meta);
    arena_free(&m.arena);
    mem_free(out);
    return rc;
}
