/* The public door to models: a folder opened with all that lies in it, and its texts turned into ids. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/pool.h"
#include "formats/gguf.h"
#include "models/gguf_model.h"
#include "kernels/attention.h"
#include "kernels/cpu.h"
#include "models/sight.h"
#include "models/tags.h"
#include "runtime/open.h"

/* ---- parts of the folder ------------------------------------------------------------------- */

static bool in_folder(const char *folder, const char *name)
{
    char path[4096];
    return path_join(path, sizeof path, folder, name) >= 0 && file_exists(path);
}

/* A GGUF file may come without a vocabulary. */
static int gguf_tokenizer(struct nun_model *m, const char *path)
{
    struct gguf *g;
    TRY(gguf_open(path, &g));
    bool there = gguf_value_find(g, "tokenizer.ggml.tokens") != NULL;
    gguf_close(g);
    return there ? tokenizer_load(path, &m->tokenizer) : 0;
}

static int open_tokenizer(struct nun_model *m, const char *folder)
{
    static const char *const files[] = {"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"};
    if (gguf_is_file(folder))
        return gguf_tokenizer(m, folder);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (in_folder(folder, files[i]))
            return tokenizer_load(folder, &m->tokenizer);
    return 0;
}

/* What a tile becomes in the prompt, for budgets in tokens, where no file of the processor says it. */
static void count_tile(struct nun_model *m)
{
    bool one_size = m->model->family->sight && model_image_size(m->model) > 0;
    int tokens = one_size ? model_features(m->model, NULL) - m->model->facts.newline : 0;
    if (one_size && tokens <= 0) {
        struct preprocess_plan square = sight_square_plan(m->model);
        tokens = sight_side_of(m->model, &square).rows;
    }
    if (!m->preprocess.tile_tokens)
        m->preprocess.tile_tokens = tokens > 0 ? tokens : 0;
    if (!m->video_preprocess.tile_tokens)
        m->video_preprocess.tile_tokens = tokens > 0 ? tokens : 0;
}

/* Facts of a folder without any are missing only when a picture comes. */
static int open_preprocess(struct nun_model *m, const char *folder)
{
    if (!m->model->family->sight && !m->model->vision.facts.layers && !m->model->conv.n_blocks)
        return 0;
    int rc = preprocess_open(folder, PREPROCESS_PICTURES, &m->preprocess);
    m->has_preprocess = rc >= 0;
    if (rc >= 0 && (m->model->facts.video_token || (m->model->family->sight && m->model->family->sight->videos_alike)))
        rc = preprocess_open(folder, PREPROCESS_VIDEOS, &m->video_preprocess);
    count_tile(m);
    return rc == NUN_EUNSUP && !m->has_preprocess ? 0 : rc;
}

static int open_words(struct nun_model *m, const char *folder)
{
    const struct sight_row *row = m->model->family->sight;
    char path[4096];
    if (!row || !row->words)
        return 0;
    TRY(path_join(path, sizeof path, folder, row->words));
    return tokenizer_load(path, &m->told);
}

static int processor_of(const char *mmproj, bool video, struct preprocess_facts *out)
{
    json_t *config;
    TRY(gguf_sight_processor(mmproj, video, &config));
    int rc = preprocess_read(config, mmproj, out);
    json_decref(config);
    return rc;
}

static int open_processor(struct nun_model *m, const char *mmproj)
{
    TRY(processor_of(mmproj, false, &m->preprocess));
    m->has_preprocess = true;
    if (m->preprocess.merge == 1 && m->model->facts.merge > 1) /* Pixtral's counts in squares of patches where there are some */
        m->preprocess.merge = m->model->facts.merge;
    if (m->model->facts.video_token)
        TRY(processor_of(mmproj, true, &m->video_preprocess));
    count_tile(m);
    return 0;
}

/* The tokenizer that has none gets the one that templates write; one that has it says it as any other special string. */
static int add_placeholder(struct nun_model *m)
{
    int32_t id = m->model->facts.image_token;
    return tokenizer_token(m->tokenizer, id).len ? 0 : tokenizer_add(m->tokenizer, SPAN("<image>"), id);
}

/* The placeholder's id, where the vocabulary alone has it. */
static int find_placeholder(struct nun_model *m)
{
    const struct sight_row *row = m->model->family->sight;
    if (m->tokenizer && model_is_behind(m->model, m->model->facts.image_token))
        return add_placeholder(m);
    if (!row || !row->token || !m->tokenizer)
        return 0;
    m->model->facts.image_token = tokenizer_id_of(m->tokenizer, span_str(row->token));
    if (m->model->facts.image_token >= 0)
        return 0;
    return err_set(NUN_EFORMAT, "tokenizer: expected the token %s for pictures, found none", row->token);
}

/* ---- opening ------------------------------------------------------------------------------- */

static int set_context(struct nun_model *m, int asked)
{
    const struct nn_facts *f = &m->model->text.facts;
    if (asked < 0)
        return err_set(NUN_EARG, "context: %d positions were asked for", asked);
    int reach = nn_reach(f);
    m->context = asked ? asked : reach > 0 ? reach : 4096;
    if (reach > 0 && m->context > reach) {
        if (m->model->text.w[NN_pos_w])
            return err_set(NUN_ECONTEXT, "context: %d positions were asked for, the model has %d", asked, reach);
        log_warn("context: %d positions, but the model was made for %d", m->context, reach);
    }
    return limit_check(LIMIT_context, (size_t)m->context, "context");
}

/* Of one position in one layer; of pictures beside the sequence, or of itself. */
static size_t kept_of(const struct nun_model *m, int layer, bool beside)
{
    struct nn_keep keep = nn_keep(&m->model->text.facts, layer);
    if (keep.beside != beside)
        return 0;
    return (size_t)keep.keys * attn_row_bytes(m->cache_k, keep.width) + (size_t)keep.values * attn_row_bytes(m->cache_v, keep.width);
}

static size_t kept_bytes(const void *model, int layer)
{
    return kept_of(model, layer, false);
}

static size_t side_bytes(const void *model, int layer)
{
    return kept_of(model, layer, true);
}

static int cache_format(const char *what, enum nun_cache asked, enum dtype *out)
{
    static const enum dtype formats[] = {[NUN_CACHE_F32] = DT_F32, [NUN_CACHE_BF16] = DT_BF16, [NUN_CACHE_Q8_0] = DT_Q8_0,
                                         [NUN_CACHE_Q4_0] = DT_Q4_0};
    if ((unsigned)asked >= sizeof formats / sizeof *formats)
        return err_set(NUN_EARG, "cache of %s: expected a format from 0 to %d, found %d", what, NUN_CACHE_Q4_0, (int)asked);
    *out = formats[asked];
    return 0;
}

static int set_cache(struct nun_model *m, const struct nun_model_options *o)
{
    const struct nn_facts *f = &m->model->text.facts;
    TRY(cache_format("keys", o->cache_k, &m->cache_k));
    TRY(cache_format("values", o->cache_v, &m->cache_v));
    if (f->alibi > 0 && m->cache_k != DT_F32)
        return err_set(NUN_EUNSUP, "cache: keys as %s were asked for, but this model keeps positions with them (ALiBi), which takes F32",
                       dtype_name(m->cache_k));
    TRY(page_pool_init(&m->sides, f->layers, side_bytes, m, o->state_bytes));
    return page_pool_init(&m->pages, f->layers, kept_bytes, m, o->state_bytes);
}

static int prepare(struct nun_model *m, const struct nun_model_options *o)
{
    const struct nn_facts *f = &m->model->text.facts;
    if (o->prefill_chunk < 0 || o->prefill_chunk > 8192)
        return err_set(NUN_EARG, "prefill chunk: expected 1..8192, found %d", o->prefill_chunk);
    m->compute = o->compute == NUN_F32 ? GEMM_F32 : GEMM_BF16;
    m->media = o->media;
    m->chunk = o->prefill_chunk ? o->prefill_chunk : ENGINE_CHUNK;
    TRY(pool_create(o->threads, &m->pool));
    m->threads = pool_threads(m->pool);
    TRY(set_context(m, o->context));
    TRY(set_cache(m, o));
    state_pool_init(&m->states, nn_state_floats(f, f->layers), o->state_bytes);
    return o->facts_only ? 0 : model_pack(m->model, m->compute, false, m->pool);
}

int engine_create(struct model *model, const struct nun_model_options *options, struct nun_model **out)
{
    static const struct nun_model_options defaults;
    struct nun_model *m = mem_calloc(MEM_RUNTIME, 1, sizeof *m);
    if (!m) {
        model_free(model);
        return NUN_ENOMEM;
    }
    m->model = model;
    pthread_mutex_init(&m->lock, NULL);
    int rc = prepare(m, options ? options : &defaults);
    if (rc < 0) {
        nun_model_close(m);
        return rc;
    }
    *out = m;
    return 0;
}

static int load_model(const char *folder, const struct nun_model_options *o, struct model **out)
{
    struct model_files files = {.folder = folder, .mmproj = o ? o->mmproj : NULL, .n_loras = o && !o->facts_only ? o->n_loras : 0,
                                .facts_only = o && o->facts_only};
    struct model_lora *list = mem_calloc(MEM_RUNTIME, files.n_loras + 1, sizeof *list);
    if (!list)
        return NUN_ENOMEM;
    for (size_t i = 0; i < files.n_loras; i++)
        list[i] = (struct model_lora){o->loras[i].folder, o->loras[i].scale};
    files.loras = list;
    int rc = model_load_files(&files, out);
    mem_free(list);
    return rc;
}

/* What stands beside the weights. */
static int open_folder(struct nun_model *m, const char *folder, const struct nun_model_options *o)
{
    TRY(open_tokenizer(m, folder));
    TRY(find_placeholder(m));
    TRY(m->tokenizer ? tags_check(m->model->config, folder, m->tokenizer) : 0);
    TRY(open_words(m, folder));
    TRY(o && o->mmproj ? open_processor(m, o->mmproj) : open_preprocess(m, folder));
    TRY(open_chat(m, folder, o ? o->chat_template : NULL));
    return open_defaults(m, folder);
}

int nun_model_open(const char *folder, const struct nun_model_options *options, struct nun_model **out)
{
    struct model *model;
    struct nun_model *m;
    if (!folder || !out)
        return err_set(NUN_EARG, "nun_model_open: no folder, or nowhere to put the model");
    TRY(load_model(folder, options, &model));
    TRY(engine_create(model, options, &m));
    int rc = options && options->facts_only ? 0 : open_folder(m, folder, options);
    if (rc < 0) {
        nun_model_close(m);
        return rc;
    }
    *out = m;
    return 0;
}

int engine_open_prompts(struct model *model, const char *folder, struct nun_model **out)
{
    enum { ENDLESS = 1 << 16 };
    struct nun_model_options o = {.facts_only = true, .threads = 1, .context = nn_reach(&model->text.facts) > 0 ? 0 : ENDLESS};
    struct nun_model *m = mem_calloc(MEM_RUNTIME, 1, sizeof *m);
    if (!m)
        return NUN_ENOMEM;
    m->model = model;
    pthread_mutex_init(&m->lock, NULL);
    int rc = prepare(m, &o);
    if (rc >= 0)
        rc = open_folder(m, folder, NULL);
    if (rc < 0) {
        engine_close_prompts(m);
        return rc;
    }
    *out = m;
    return 0;
}

void engine_close_prompts(struct nun_model *m)
{
    if (m)
        m->model = NULL; /* was lent */
    nun_model_close(m);
}

void nun_model_close(struct nun_model *m)
{
    if (!m)
        return;
    engine_plans_free(m);
    feature_cache_free(&m->features);
    page_pool_free(&m->pages);
    page_pool_free(&m->sides);
    state_pool_free(&m->states);
    close_chat(m);
    close_defaults(m);
    gram_vocab_free(m->words);
    gram_vocab_free(m->first_words);
    tokenizer_free(m->tokenizer);
    tokenizer_free(m->told);
    model_free(m->model);
    pool_free(m->pool);
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

static size_t matrix_values(const struct g_param *p)
{
    return p && p->shape.n == 2 ? (size_t)p->shape.d[0] * (size_t)p->shape.d[1] : 0;
}

static uint64_t token_parameters(const struct nn_stack *s)
{
    size_t n = matrix_values(s->w[s->facts.tied ? NN_embed_w : NN_lm_head_w]);
    for (int i = 0; i < s->facts.layers; i++)
        for (int r = 0; r < NN_ROLES; r++)
            n += matrix_values(s->layer[i][r]);
    return n;
}

void nun_model_info(const struct nun_model *m, struct nun_model_info *out)
{
    const struct nn_facts *f = &m->model->text.facts;
    bool sees = m->model->family->sight != NULL;
    *out = (struct nun_model_info){
        .folder = m->model->folder ? m->model->folder : "", .architecture = m->model->family->architecture,
        .parameters = m->model->n_values, .token_parameters = token_parameters(&m->model->text),
        .weight_bytes = m->model->weights ? st_total_bytes(m->model->weights) : 0,
        .prepared_bytes = model_panel_bytes(m->model, m->compute),
        .context = m->context, .trained_context = f->positions, .vocab = f->vocab, .layers = f->layers, .hidden = f->hidden,
        .image_tokens = sees ? model_features(m->model, NULL) : 0, .image_size = sees ? model_image_size(m->model) : 0,
        .state_bytes_per_token = page_block_bytes(&m->pages) / KV_PAGE, .has_tokenizer = m->tokenizer != NULL,
        .has_chat_template = m->chat.template != NULL, .threads = m->threads,
        .compute = m->compute == GEMM_F32 ? NUN_F32 : NUN_BF16};
}

int nun_isa(const char *list, char *active, size_t capacity)
{
    unsigned mask;
    if (list) {
        TRY(cpu_mask_parse(list, &mask));
        cpu_set_mask(mask);
    }
    if (active)
        cpu_mask_print(cpu_mask(), active, capacity);
    return 0;
}

/* ---- text ---------------------------------------------------------------------------------- */

static unsigned token_flags(unsigned flags)
{
    return (flags & NUN_TEXT_SPECIAL ? TOK_PARSE_SPECIAL : 0u) | (flags & NUN_TEXT_ADD_SPECIAL ? TOK_ADD_SPECIAL : 0u) |
           (flags & NUN_TEXT_SKIP_SPECIAL ? TOK_SKIP_SPECIAL : 0u);
}

static int need_tokenizer(const struct nun_model *m)
{
    return m->tokenizer ? 0 : err_set(NUN_EUNSUP, "%s: there is no tokenizer in this folder", m->model->folder ? m->model->folder : "model");
}

int nun_encode(const struct nun_model *m, const char *text, size_t len, unsigned flags, int32_t **ids, size_t *n)
{
    struct ids v = {0};
    TRY(need_tokenizer(m));
    TRY(ids_reserve(&v, 1)); /* never NULL, also for no text */
    int rc = tokenizer_encode(m->tokenizer, span_of(text, len), token_flags(flags), &v);
    if (rc < 0) {
        ids_free(&v);
        return rc;
    }
    *ids = v.at;
    *n = v.n;
    return 0;
}

int nun_decode(const struct nun_model *m, const int32_t *ids, size_t n, unsigned flags, char **text, size_t *len)
{
    struct buf b;
    TRY(need_tokenizer(m));
    buf_init(&b, MEM_RUNTIME, LIMIT_OF(text_bytes));
    buf_append(&b, "", 0);
    int rc = tokenizer_decode(m->tokenizer, ids, n, token_flags(flags), &b);
    size_t length = b.len;
    char *taken = rc < 0 ? NULL : b.ptr ? buf_take(&b) : mem_strdup(MEM_RUNTIME, "");
    if (!taken) {
        rc = rc < 0 ? rc : buf_error(&b) < 0 ? buf_error(&b) : NUN_ENOMEM;
        buf_free(&b);
        return rc;
    }
    *text = taken;
    if (len)
        *len = length;
    return 0;
}

void nun_free(void *p)
{
    mem_free(p);
}

int32_t nun_token_id(const struct nun_model *m, const char *piece)
{
    return m->tokenizer ? tokenizer_id_of(m->tokenizer, span_str(piece)) : -1;
}

bool nun_token_ends(const struct nun_model *m, int32_t id)
{
    for (int i = 0; i < m->n_ends; i++)
        if (m->ends[i] == id)
            return true;
    return false;
}
