/* Models in, models out: folders and GGUF files read through one view of named tensors, and written as either.
 * Tokenizer, chat template and the other small files go along. The commands convert, quantize and init. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "formats/gguf_write.h"
#include "formats/json.h"
#include "models/gguf_model.h"
#include "models/random_model.h"
#include "models/tags.h"
#include "nunchi/tools.h"
#include "text/chat.h"
#include "text/tok_to_gguf.h"

#define PUBLIC __attribute__((visibility("default")))
enum { PATH_BYTES = 4096 };

struct source {
    const char *path, *name;     /* name: general.name in GGUF */
    bool gguf;
    json_t *config;
    struct safetensors *weights;
};

static void source_close(struct source *s)
{
    st_close(s->weights);
    json_decref(s->config);
}

static int source_open(const char *path, const char *name, struct source *s)
{
    char file[PATH_BYTES];
    *s = (struct source){.path = path, .name = name, .gguf = gguf_is_file(path)};
    if (s->gguf)
        return gguf_model_open(path, false, &s->config, &s->weights);
    TRY(path_join(file, sizeof file, path, "config.json"));
    TRY(json_load_file_limited(file, &s->config));
    int rc = st_open(path, &s->weights);
    if (rc < 0)
        source_close(s);
    return rc;
}

/* ---- to GGUF --------------------------------------------------------------------------------------- */

static bool has_tokenizer(const char *folder)
{
    static const char *const files[] = {"tokenizer.json", "tokenizer.model", "vocab.json"};
    char path[PATH_BYTES];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (path_join(path, sizeof path, folder, files[i]) >= 0 && file_exists(path))
            return true;
    return false;
}

static int folder_tokenizer(const struct source *s, struct gguf_meta *meta)
{
    struct tokenizer *t;
    int64_t vocab = 0;
    TRY(tokenizer_load(s->path, &t));
    int rc = json_get_int(s->config, s->path, "vocab_size", 1, INT32_MAX, &vocab);
    if (rc >= 0)
        rc = tok_gguf_meta(t, (size_t)vocab, meta);
    tokenizer_free(t);
    return rc;
}

static int folder_template(const struct source *s, struct gguf_meta *meta)
{
    char place[CHAT_PATH];
    struct buf text;
    buf_init(&text, MEM_RUNTIME, LIMIT_OF(template_bytes));
    int rc = chat_template_find(s->path, NULL, place, &text);
    if (rc == 0)
        gguf_set_string(meta, "tokenizer.chat_template", buf_view(&text));
    buf_free(&text);
    return rc < 0 ? rc : 0;
}

/* A turn's end that is not the text's end: the other id of generation_config.json. */
static int turn_end(const struct source *s, struct gguf_meta *meta)
{
    char path[PATH_BYTES];
    json_t *config;
    int ids[16], n = 0;
    int64_t eos = -1;
    TRY(path_join(path, sizeof path, s->path, "generation_config.json"));
    if (!file_exists(path))
        return 0;
    TRY(json_load_file_limited(path, &config));
    int rc = json_get_ints(config, path, "eos_token_id", -1, INT32_MAX, ids, 16, &n);
    if (rc >= 0)
        rc = json_get_int(s->config, s->path, "eos_token_id", -1, INT32_MAX, &eos) < 0 ? 0 : rc; /* it may be a list */
    for (int i = 0; i < n && rc >= 0 && n > 1; i++)
        if (ids[i] != eos)
            gguf_set_int(meta, "tokenizer.ggml.eot_token_id", ids[i]); /* the first; later ones keep it */
    json_decref(config);
    return rc < 0 ? rc : 0;
}

static int add_tokenizer(void *arg, void *meta)
{
    const struct source *s = arg;
    struct gguf *g;
    if (s->gguf) {
        TRY(gguf_open(s->path, &g));
        gguf_meta_copy(meta, g, "tokenizer.");
        gguf_meta_copy(meta, g, "general.");
        gguf_close(g);
        return 0;
    }
    if (!has_tokenizer(s->path)) {
        gguf_set_string(meta, "tokenizer.ggml.model", SPAN("no_vocab"));
        return 0;
    }
    TRY(folder_tokenizer(s, meta));
    TRY(turn_end(s, meta));
    return folder_template(s, meta);
}

static enum dtype keep(void *arg, const struct st_item *tensor) { return tensor->dtype; }

/* general.file_type of weights left as they are: that of the largest tensor's format. */
static int file_type_of(const struct source *s)
{
    const struct st_tensor *largest = st_at(s->weights, 0);
    const struct gguf_mix *mix;
    for (size_t i = 0; i < st_count(s->weights); i++)
        if (st_at(s->weights, i)->bytes > largest->bytes)
            largest = st_at(s->weights, i);
    if (!largest || gguf_mix_find(dtype_name(largest->dtype), &mix) < 0) {
        err_clear();
        return 0;
    }
    return gguf_mix_file_type(mix);
}

static int to_gguf(struct source *s, const char *out, const struct gguf_mix *mix, const struct nun_convert_options *o,
                   struct pool *pool)
{
    int64_t layers = 1;
    bool tied = false;
    TRY(json_get_int(s->config, s->path, "num_hidden_layers", 1, INT32_MAX, &layers));
    TRY(json_get_int(s->config, s->path, "n_layer", 1, INT32_MAX, &layers));
    tied = !st_find(s->weights, SPAN("lm_head.weight")) && !st_find(s->weights, SPAN("embed_out.weight"));
    struct gguf_mixing mixing = {mix, (int)layers, tied};
    struct gguf_model_plan plan = {
        .name = s->name, .choose = mix ? gguf_mix_choose : keep, .arg = &mixing, .tokenizer = add_tokenizer,
        .tokenizer_arg = s, .file_type = mix ? gguf_mix_file_type(mix) : file_type_of(s), .pool = pool,
        .progress = o->progress, .progress_arg = o->arg};
    return gguf_model_write(out, s->config, s->path, s->weights, &plan);
}

/* ---- to a folder ----------------------------------------------------------------------------------- */

struct emission { const struct st_tensor *from; enum dtype dt; };

static int emit(void *arg, struct sink *out)
{
    enum { CHUNK = 1 << 16 };
    const struct emission *e = arg;
    const struct dtype_info *d = &dtype_table[e->from->dtype], *to = &dtype_table[e->dt];
    size_t n, piece = CHUNK / d->block_values * d->block_values;
    TRY(shape_count(&e->from->shape, &n));
    float *values = mem_alloc(MEM_RUNTIME, 2 * CHUNK * sizeof *values);
    if (!values)
        return NUN_ENOMEM;
    for (size_t at = 0; at < n; at += piece) {
        size_t take = n - at < piece ? n - at : piece;
        d->decode((const char *)e->from->data + at / d->block_values * d->block_bytes, values, take);
        to->encode(values, values + CHUNK, take);
        sink_write(out, values + CHUNK, take * to->block_bytes);
    }
    mem_free(values);
    return out->error;
}

/* As they are, but for formats that a folder has no name for: these become bfloat16. */
static enum dtype folder_type(const struct st_tensor *t, const struct gguf_mix *mix)
{
    if (mix)
        return gguf_mix_base(mix);
    return *dtype_table[t->dtype].st_name ? t->dtype : DT_BF16;
}

static int write_weights(const struct source *s, const char *path, const struct gguf_mix *mix)
{
    size_t n = st_count(s->weights);
    struct st_item *items = mem_calloc(MEM_RUNTIME, n + 1, sizeof *items);
    struct emission *e = mem_calloc(MEM_RUNTIME, n + 1, sizeof *e);
    for (size_t i = 0; items && e && i < n; i++) {
        const struct st_tensor *t = st_at(s->weights, i);
        e[i] = (struct emission){t, folder_type(t, mix)};
        items[i] = (struct st_item){t->name, e[i].dt, t->shape, e[i].dt == t->dtype ? t->data : NULL, emit, &e[i]};
    }
    int rc = items && e ? st_write(path, items, n, NULL) : NUN_ENOMEM;
    mem_free(items);
    mem_free(e);
    return rc;
}

static int copy_file(const char *from, const char *to)
{
    struct buf bytes;
    buf_init(&bytes, MEM_RUNTIME, LIMIT_OF(text_bytes));
    int rc = file_read(from, &bytes);
    if (rc >= 0)
        rc = file_write_durable(to, bytes.ptr ? bytes.ptr : "", bytes.len);
    buf_free(&bytes);
    return rc;
}

/* The small files that belong to a model: tokenizers, templates, processors. */
static bool goes_along(const char *name)
{
    static const char *const tails[] = {".json", ".jinja", ".model", ".txt", ".tiktoken"};
    if (!strcmp(name, "config.json") || span_ends(span_str(name), SPAN(".index.json")))
        return false;
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++)
        if (span_ends(span_str(name), span_str(tails[i])))
            return true;
    return false;
}

static int copy_small_files(const char *folder, const char *out)
{
    char from[PATH_BYTES], to[PATH_BYTES], **names;
    size_t n = 0;
    int rc = 0;
    TRY(file_list(folder, &names, &n));
    for (size_t i = 0; i < n && rc >= 0; i++) {
        if (!goes_along(names[i]))
            continue;
        rc = path_join(from, sizeof from, folder, names[i]);
        if (rc >= 0)
            rc = path_join(to, sizeof to, out, names[i]);
        if (rc >= 0)
            rc = copy_file(from, to);
    }
    mem_free(names);
    return rc < 0 ? rc : 0;
}

/* The tokenizer and template of a GGUF file as the files of a folder. */
static int unpack_text(const char *gguf, const char *out)
{
    struct gguf *g;
    struct tokenizer *t;
    char path[PATH_BYTES];
    struct span template = {0};
    TRY(path_join(path, sizeof path, out, "chat_template.jinja"));
    TRY(gguf_open(gguf, &g));
    bool words = gguf_value_find(g, "tokenizer.ggml.tokens") != NULL;
    int rc = gguf_get_string(g, "tokenizer.chat_template", &template);
    if (rc == 0)
        rc = file_write_durable(path, template.ptr, template.len);
    gguf_close(g);
    if (rc < 0 || !words)
        return rc < 0 ? rc : 0;
    TRY(tokenizer_load(gguf, &t));
    rc = tokenizer_save(t, out);
    tokenizer_free(t);
    return rc;
}

static int to_folder(struct source *s, const char *out, const struct gguf_mix *mix)
{
    char path[PATH_BYTES];
    const struct st_tensor *first = st_at(s->weights, 0);
    if (mix && !*dtype_table[gguf_mix_base(mix)].st_name)
        return err_set(NUN_EARG, "%s: a folder takes F32, F16 or BF16", dtype_name(gguf_mix_base(mix)));
    if (json_dig(s->config, "quantization_config"))
        return err_set(NUN_EUNSUP, "%s: quantization_config: a quantised folder is not converted", s->path);
    enum dtype dt = first ? folder_type(first, mix) : DT_F32;
    TRY(file_mkdirs(out));
    json_object_del(s->config, "dtype");
    const char *name = dt == DT_BF16 ? "bfloat16" : dt == DT_F16 ? "float16" : "float32";
    if (json_object_set_new(s->config, "torch_dtype", json_string(name)))
        return err_nomem(0);
    TRY(path_join(path, sizeof path, out, "config.json"));
    TRY(json_write_file(path, s->config));
    TRY(path_join(path, sizeof path, out, "model.safetensors"));
    TRY(write_weights(s, path, mix));
    return s->gguf ? unpack_text(s->path, out) : copy_small_files(s->path, out);
}

/* ---- the doors --------------------------------------------------------------------------------------- */

static int wants_gguf(const char *out, const char *format, bool *yes)
{
    *yes = format ? !strcmp(format, "gguf") : span_ends(span_str(out), SPAN(".gguf"));
    if (format && !*yes && strcmp(format, "hf") != 0)
        return err_set(NUN_EARG, "format \"%s\": expected gguf or hf", format);
    return 0;
}

static int convert(const char *in, const char *name, const char *out, bool gguf, const struct gguf_mix *mix, const struct nun_convert_options *o)
{
    struct source s;
    struct pool *pool;
    TRY(source_open(in, name, &s));
    int rc = pool_create(o->threads, &pool);
    if (rc >= 0) {
        rc = gguf ? to_gguf(&s, out, mix, o, pool) : to_folder(&s, out, mix);
        pool_free(pool);
    }
    source_close(&s);
    return rc;
}

PUBLIC int nun_convert(const char *in, const char *out, const struct nun_convert_options *options)
{
    static const struct nun_convert_options defaults;
    const struct nun_convert_options *o = options ? options : &defaults;
    const struct gguf_mix *mix = NULL;
    bool gguf;
    if (!in || !out)
        return err_set(NUN_EARG, "convert: expected a model and where to put it");
    TRY(wants_gguf(out, o->format, &gguf));
    if (o->type)
        TRY(gguf_mix_find(o->type, &mix));
    if (file_exists(out))
        return err_set(NUN_EARG, "%s: is there already", out);
    return convert(in, path_base(in), out, gguf, mix, o);
}

PUBLIC const char *nun_convert_type(size_t i, const char **doc) { return gguf_mix_name(i, doc); }
PUBLIC const char *nun_init_shape(size_t i, const char **doc) { return random_model_shape(i, doc); }

/* 256 bytes and two ends: every text has ids, whatever the size of the vocabulary. */
static int byte_tokenizer(struct tokenizer **out)
{
    static const struct tok_special ends[] = {{"<s>", TOK_BOS}, {"</s>", TOK_EOS}};
    return tokenizer_train_bpe(NULL, 0, &(struct tok_train){.vocab_size = 258, .special = ends, .n_special = 2}, out);
}

static int write_folder(json_t *config, const char *shape, const char *folder, uint64_t seed, enum dtype dt, struct pool *pool)
{
    struct tokenizer *tok;
    TRY(byte_tokenizer(&tok));
    int rc = tags_fit(config, shape, tok);
    if (rc >= 0)
        rc = random_model_write(config, seed, dt, folder, pool);
    if (rc >= 0)
        rc = tokenizer_save(tok, folder);
    tokenizer_free(tok);
    return rc;
}

static int make_folder(const char *shape, const char *folder, uint64_t seed, enum dtype dt, int threads)
{
    json_t *config;
    struct pool *pool;
    TRY(file_exists(shape) ? json_load_file_limited(shape, &config) : random_model_config(shape, &config));
    int rc = pool_create(threads, &pool);
    if (rc >= 0) {
        rc = write_folder(config, shape, folder, seed, dt, pool);
        pool_free(pool);
    }
    json_decref(config);
    return rc;
}

PUBLIC int nun_init_model(const char *shape, const char *out, uint64_t seed, const struct nun_convert_options *options)
{
    static const struct nun_convert_options defaults;
    const struct nun_convert_options *o = options ? options : &defaults;
    const struct gguf_mix *mix = NULL;
    char aside[PATH_BYTES];
    bool gguf;
    if (!shape || !out)
        return err_set(NUN_EARG, "init: expected a shape and where to put it");
    TRY(wants_gguf(out, o->format, &gguf));
    TRY(gguf_mix_find(o->type ? o->type : "BF16", &mix));
    if (file_exists(out))
        return err_set(NUN_EARG, "%s: is there already", out);
    if (!gguf && !*dtype_table[gguf_mix_base(mix)].st_name)
        return err_set(NUN_EARG, "init: a folder takes F32, F16 or BF16");
    if (!gguf)
        return make_folder(shape, out, seed, gguf_mix_base(mix), o->threads);
    snprintf(aside, sizeof aside, "%s.folder", out);
    enum dtype dt = *dtype_table[gguf_mix_base(mix)].st_name ? gguf_mix_base(mix) : DT_BF16;
    int rc = make_folder(shape, aside, seed, dt, o->threads);
    if (rc >= 0)
        rc = convert(aside, "random weights", out, true, mix, o); /* named after no family: readers take a name for more than it is */
    int removed = file_remove_tree(aside);
    return rc < 0 ? rc : removed;
}
