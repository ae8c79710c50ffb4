/* What a model folder or file says about itself, as JSON, from headers alone. Reads safetensors and
 * GGUF through the same tensor views; knows no family, so that files nobody can run are shown too. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "formats/gguf.h"
#include "formats/json.h"
#include "nunchi/tools.h"

#define PUBLIC __attribute__((visibility("default")))

enum { ITEMS_SHOWN = 8, PATH_BYTES = 4096 };

/* One of the two is open. */
struct weights {
    struct safetensors *st;
    struct gguf *gguf;
};

/* A folder's file; false where it has none of that name. */
static bool in_folder(const char *folder, const char *name, char path[PATH_BYTES])
{
    return file_is_dir(folder) && path_join(path, PATH_BYTES, folder, name) >= 0 && file_exists(path);
}

/* A PEFT folder. */
static bool is_adapter(const char *path)
{
    char file[PATH_BYTES];
    return !in_folder(path, "config.json", file) && in_folder(path, "adapter_config.json", file);
}

static int weights_open(const char *path, struct weights *w)
{
    char file[PATH_BYTES];
    *w = (struct weights){0};
    if (gguf_is_file(path))
        return gguf_open(path, &w->gguf);
    return st_open(is_adapter(path) && in_folder(path, "adapter_model.safetensors", file) ? file : path, &w->st);
}

static void weights_close(struct weights *w)
{
    st_close(w->st);
    gguf_close(w->gguf);
}

static size_t weights_count(const struct weights *w)
{
    return w->gguf ? gguf_count(w->gguf) : st_count(w->st);
}

static const struct st_tensor *weights_at(const struct weights *w, size_t i)
{
    return w->gguf ? gguf_at(w->gguf, i) : st_at(w->st, i);
}

/* ---- facts ------------------------------------------------------------------------------------- */

static json_t *tensor_facts(const struct st_tensor *t)
{
    json_t *shape = json_array();
    for (int i = 0; i < t->shape.n; i++)
        json_array_append_new(shape, json_integer(t->shape.d[i]));
    return json_pack("{s:s, s:s, s:o, s:I}", "name", t->name, "dtype", dtype_name(t->dtype), "shape", shape, "bytes",
                     (json_int_t)t->bytes);
}

static void add_to(json_t *object, const char *key, size_t n)
{
    json_int_t before = json_integer_value(json_object_get(object, key));
    json_object_set_new(object, key, json_integer(before + (json_int_t)n));
}

static int tensor_list(json_t *root, const struct weights *w)
{
    json_t *list = json_array(), *dtypes = json_object();
    size_t values = 0, bytes = 0;
    for (size_t i = 0; i < weights_count(w); i++) {
        const struct st_tensor *t = weights_at(w, i);
        size_t n = 0;
        int rc = shape_count(&t->shape, &n);
        if (rc < 0) {
            json_decref(list);
            json_decref(dtypes);
            return rc;
        }
        values += n;
        bytes += t->bytes;
        add_to(dtypes, dtype_name(t->dtype), t->bytes);
        json_array_append_new(list, tensor_facts(t));
    }
    json_object_set_new(root, "parameters", json_integer((json_int_t)values));
    json_object_set_new(root, "bytes", json_integer((json_int_t)bytes));
    json_object_set_new(root, "dtypes", dtypes);
    json_object_set_new(root, "tensors", list);
    return 0;
}

/* ---- folders ----------------------------------------------------------------------------------- */

static int folder_facts(json_t *root, const char *path)
{
    char file[PATH_BYTES];
    json_t *config;
    bool adapter = is_adapter(path);
    if (!in_folder(path, adapter ? "adapter_config.json" : "config.json", file))
        return 0;
    TRY(json_load_file_limited(file, &config));
    json_t *name = adapter ? json_object_get(config, "peft_type") : json_array_get(json_object_get(config, "architectures"), 0);
    if (json_is_string(name))
        json_object_set(root, "architecture", name);
    json_object_set_new(root, "config", config);
    return 0;
}

/* ---- GGUF -------------------------------------------------------------------------------------- */

static json_t *text_json(struct span s)
{
    json_t *text = json_stringn(s.ptr, s.len);
    return text ? text : json_string("(not UTF-8)");
}

static json_t *item_json(const struct gguf_value *v, size_t i)
{
    if (v->type == GGUF_F32 || v->type == GGUF_F64) {
        json_t *real = json_real(gguf_item_double(v, i));
        return real ? real : json_string("NaN");
    }
    return v->type == GGUF_BOOL ? json_boolean(gguf_item_bool(v, i)) : json_integer(gguf_item_int(v, i));
}

/* Long arrays (vocabularies) are shown by their beginning and their length. */
static json_t *value_json(const struct gguf_value *v)
{
    size_t at = 0, shown = v->count < ITEMS_SHOWN ? v->count : ITEMS_SHOWN;
    struct span text;
    if (!v->is_array && v->type == GGUF_STRING)
        return gguf_next_string(v, &at, &text) ? text_json(text) : json_null();
    if (!v->is_array)
        return item_json(v, 0);
    json_t *list = json_array();
    for (size_t i = 0; i < shown && v->type != GGUF_ARRAY; i++)
        if (v->type != GGUF_STRING)
            json_array_append_new(list, item_json(v, i));
        else if (gguf_next_string(v, &at, &text))
            json_array_append_new(list, text_json(text));
    if (v->count <= ITEMS_SHOWN && v->type != GGUF_ARRAY)
        return list;
    return json_pack("{s:I, s:o}", "items", (json_int_t)v->count, "first", list);
}

static int gguf_facts(json_t *root, const struct gguf *g)
{
    json_t *config = json_object();
    struct span name;
    for (size_t i = 0; i < gguf_value_count(g); i++) {
        const struct gguf_value *v = gguf_value_at(g, i);
        json_object_setn_new(config, v->key.ptr, v->key.len, value_json(v));
    }
    if (gguf_get_string(g, "general.architecture", &name) == 0)
        json_object_set_new(root, "architecture", text_json(name));
    json_object_set_new(root, "version", json_integer(gguf_version(g)));
    json_object_set_new(root, "config", config);
    return 0;
}

static int facts(json_t *root, const char *path)
{
    struct weights w;
    int rc = weights_open(path, &w);
    if (rc >= 0) {
        json_object_set_new(root, "format", json_string(w.gguf ? "gguf" : is_adapter(path) ? "adapter" : "safetensors"));
        rc = w.gguf ? gguf_facts(root, w.gguf) : folder_facts(root, path);
    }
    if (rc >= 0)
        rc = tensor_list(root, &w);
    weights_close(&w);
    return rc;
}

PUBLIC int nun_inspect(const char *path, char **json, size_t *len)
{
    unsigned mark = json_mark();
    json_t *root = json_pack("{s:s}", "path", path);
    if (!root)
        return json_check(mark) < 0 ? NUN_ENOMEM : err_set(NUN_EARG, "inspect: expected a path in UTF-8");
    struct buf b;
    buf_init(&b, MEM_RUNTIME, SIZE_MAX / 2);
    int rc = facts(root, path);
    if (rc >= 0)
        rc = json_check(mark);
    if (rc >= 0)
        rc = json_write(root, JSON_LINE, &b);
    json_decref(root);
    size_t n = b.len;
    char *text = rc >= 0 ? buf_take(&b) : NULL;
    buf_free(&b);
    if (rc < 0 || !text)
        return rc < 0 ? rc : NUN_ENOMEM;
    *json = text;
    if (len)
        *len = n;
    return 0;
}

/* ---- all tensors as float32 -------------------------------------------------------------------- */

static int emit_f32(void *arg, struct sink *out)
{
    enum { CHUNK = 1 << 16 };
    const struct st_tensor *t = arg;
    const struct dtype_info *d = &dtype_table[t->dtype];
    size_t n, blocks = CHUNK / d->block_values, at = 0;
    TRY(shape_count(&t->shape, &n));
    float *values = mem_alloc(MEM_RUNTIME, CHUNK * sizeof *values);
    int rc = values ? 0 : NUN_ENOMEM;
    for (; at < n && rc >= 0;) {
        size_t take = n - at < blocks * d->block_values ? n - at : blocks * d->block_values;
        const char *from = (const char *)t->data + at / d->block_values * d->block_bytes;
        rc = dtype_to_f32(t->dtype, from, values, take);
        if (rc >= 0)
            sink_write(out, values, take * sizeof *values);
        at += take;
    }
    mem_free(values);
    return rc;
}

PUBLIC int nun_dump_tensors(const char *path, const char *out)
{
    struct weights w;
    int rc = weights_open(path, &w);
    size_t n = rc >= 0 ? weights_count(&w) : 0;
    struct st_item *items = rc >= 0 ? mem_calloc(MEM_RUNTIME, n, sizeof *items) : NULL;
    if (rc >= 0 && !items)
        rc = NUN_ENOMEM;
    for (size_t i = 0; i < n && items; i++) {
        const struct st_tensor *t = weights_at(&w, i);
        items[i] = (struct st_item){t->name, DT_F32, t->shape, NULL, emit_f32, (void *)(uintptr_t)t};
    }
    if (rc >= 0)
        rc = st_write(out, items, n, NULL);
    mem_free(items);
    weights_close(&w);
    return rc;
}
