/* safetensors reader. A file is: 8 bytes of header length N, N bytes of JSON, then the data. Every
 * number is proved against the file before anything depends on it: the data ranges must tile the rest
 * of the file, without overlap or hole, and match dtype times shape. */
/* SPDX-License-Identifier: MIT */
#include "formats/safetensors.h"
#include <stdlib.h>
#include "base/arena.h"
#include "base/ck.h"
#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/map.h"
#include "formats/json.h"

#define INDEX_NAME "model.safetensors.index.json"
#define SINGLE_NAME "model.safetensors"
#define PATH_BYTES 4096

struct shard { const char *name, *path; struct file_map map; struct span bytes; };

struct safetensors {
    struct arena arena;  /* names, paths, metadata */
    const char *path;
    struct shard *shards;
    size_t shard_count;
    struct st_tensor *tensors;
    size_t count, cap, total;
    struct map by_name;  /* name -> index of tensors */
    struct map metadata; /* key -> const char * */
    void *owner;         /* of views */
    void (*drop)(void *owner);
};

/* ---- one entry of a header ----------------------------------------------------------------- */

static int entry_bad(const char *place, const char *name, const char *why)
{
    return err_set(NUN_EFORMAT, "%s: tensor \"%s\": %s", place, name, why);
}

/* A JSON integer in [0, INT64_MAX]; floats and strings are refused. */
static bool as_size(const json_t *v, uint64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static int parse_shape(const char *place, const char *name, const json_t *v, struct shape *out)
{
    if (!json_is_array(v))
        return entry_bad(place, name, "expected \"shape\" to be an array of integers");
    size_t n = json_array_size(v), most = LIMIT_OF(tensor_dims);
    if (n > most || n > SHAPE_MAX_DIMS)
        return err_set(NUN_ELIMIT, "%s: tensor \"%s\": expected at most %zu dimensions, found %zu", place, name, most,
                       n);
    *out = (struct shape){.n = (int)n};
    for (size_t i = 0; i < n; i++) {
        uint64_t dim;
        if (!as_size(json_array_get(v, i), &dim))
            return entry_bad(place, name, "expected every dimension to be an integer from 0");
        out->d[i] = (int64_t)dim;
    }
    return 0;
}

static int parse_offsets(const char *place, const char *name, const json_t *v, size_t data_len, struct st_tensor *t,
                         const char *data)
{
    uint64_t begin, end;
    if (json_array_size(v) != 2 || !as_size(json_array_get(v, 0), &begin) || !as_size(json_array_get(v, 1), &end))
        return entry_bad(place, name, "expected \"data_offsets\" to be two integers from 0");
    if (begin > end || end > data_len)
        return err_set(NUN_EFORMAT, "%s: tensor \"%s\": expected offsets within the %zu data bytes, found [%llu, %llu]",
                       place, name, data_len, (unsigned long long)begin, (unsigned long long)end);
    t->data = data + begin;
    t->bytes = (size_t)(end - begin);
    return 0;
}

static int check_size(const char *place, const struct st_tensor *t)
{
    char text[SHAPE_TEXT];
    size_t count, bytes;
    int rc = shape_count(&t->shape, &count);
    if (rc == 0)
        rc = dtype_bytes(t->dtype, count, &bytes);
    if (rc)
        return err_at(rc, "%s: tensor \"%s\"", place, t->name);
    if (bytes == t->bytes)
        return 0;
    return err_set(NUN_EFORMAT, "%s: tensor \"%s\": expected %zu bytes for %s %s, found offsets %zu apart", place,
                   t->name, bytes, dtype_name(t->dtype), shape_format(&t->shape, text), t->bytes);
}

static int parse_entry(const char *place, const char *name, const json_t *v, struct span data, struct st_tensor *t)
{
    const json_t *dtype = json_object_get(v, "dtype");
    if (json_object_size(v) != 3 || !dtype)
        return entry_bad(place, name, "expected an object of \"dtype\", \"shape\" and \"data_offsets\"");
    if (!json_is_string(dtype))
        return entry_bad(place, name, "expected \"dtype\" to be a string");
    int rc = dtype_parse_st(span_of(json_string_value(dtype), json_string_length(dtype)), &t->dtype);
    if (rc)
        return err_at(rc, "%s: tensor \"%s\"", place, name);
    TRY(parse_shape(place, name, json_object_get(v, "shape"), &t->shape));
    TRY(parse_offsets(place, name, json_object_get(v, "data_offsets"), data.len, t, data.ptr));
    t->name = name;
    return check_size(place, t);
}

/* ---- one file ------------------------------------------------------------------------------ */

static int by_offset(const void *a, const void *b)
{
    const struct st_tensor *x = a, *y = b;
    if (x->data != y->data)
        return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* The sorted ranges tile the data: no overlap, no hole, nothing left over. */
static int check_tiling(const char *place, const struct st_tensor *t, size_t n, struct span data)
{
    const char *at = data.ptr;
    for (size_t i = 0; i < n; i++) {
        const char *begin = t[i].data;
        if (begin != at)
            return err_set(NUN_EFORMAT, "%s: tensor \"%s\": expected offset %zu, the end of the one before, found %zu",
                           place, t[i].name, (size_t)(at - data.ptr), (size_t)(begin - data.ptr));
        at = begin + t[i].bytes;
    }
    if (at == data.ptr + data.len)
        return 0;
    return err_set(NUN_EFORMAT, "%s: expected tensors to cover the %zu data bytes, found them to cover %zu", place,
                   data.len, (size_t)(at - data.ptr));
}

static int reserve(struct safetensors *st, size_t more, const char *place)
{
    size_t need, cap = st->cap ? 2 * st->cap : 64;
    if (ck_add(st->count, more, &need))
        return err_set(NUN_ELIMIT, "%s: too many tensors", place);
    TRY(limit_check(LIMIT_tensors, need, place));
    if (need <= st->cap)
        return 0;
    cap = cap < need ? need : cap;
    struct st_tensor *grown = mem_realloc(MEM_FORMAT, st->tensors, cap * sizeof *grown);
    if (!grown)
        return NUN_ENOMEM;
    st->tensors = grown;
    st->cap = cap;
    return 0;
}

/* "__metadata__": strings only. Only the first file's are kept. */
static int take_metadata(struct safetensors *st, const char *place, json_t *v, bool keep)
{
    if (!json_is_object(v))
        return err_set(NUN_EFORMAT, "%s: expected __metadata__ to be an object", place);
    for (void *it = json_object_iter(v); it; it = json_object_iter_next(v, it)) {
        const json_t *value = json_object_iter_value(it);
        const char *key = json_object_iter_key(it);
        if (!json_is_string(value))
            return err_set(NUN_EFORMAT, "%s: expected __metadata__ values to be strings, \"%s\" is not", place, key);
        if (!keep)
            continue;
        char *k = arena_strdup(&st->arena, key), *text = arena_strdup(&st->arena, json_string_value(value));
        if (!k || !text)
            return NUN_ENOMEM;
        TRY(map_put(&st->metadata, span_str(k), (int64_t)(intptr_t)text, NULL));
    }
    return 0;
}

static int take_entries(struct safetensors *st, const char *place, json_t *header, struct span data, bool first)
{
    for (void *it = json_object_iter(header); it; it = json_object_iter_next(header, it)) {
        const char *key = json_object_iter_key(it);
        if (strcmp(key, "__metadata__") == 0) {
            TRY(take_metadata(st, place, json_object_iter_value(it), first));
            continue;
        }
        const char *name = arena_strdup(&st->arena, key);
        if (!name)
            return NUN_ENOMEM;
        TRY(parse_entry(place, name, json_object_iter_value(it), data, &st->tensors[st->count]));
        st->count++;
    }
    return 0;
}

static int name_entries(struct safetensors *st, const char *place, size_t from)
{
    TRY(map_reserve(&st->by_name, st->count));
    for (size_t i = from; i < st->count; i++) {
        int rc = map_put(&st->by_name, span_str(st->tensors[i].name), (int64_t)i, NULL);
        if (rc > 0)
            return entry_bad(place, st->tensors[i].name, "found in two files");
        TRY(rc);
        st->total += st->tensors[i].bytes;
    }
    return 0;
}

static int split(struct span file, const char *place, struct span *header, struct span *data)
{
    if (file.len < 8)
        return err_set(NUN_EFORMAT, "%s: expected at least 8 bytes, found %zu", place, file.len);
    uint64_t n = span_u64(file.ptr);
    if (n > LIMIT_OF(safetensors_header))
        return err_set(NUN_ELIMIT, "%s: header of %llu bytes is over the limit of %zu", place, (unsigned long long)n,
                       LIMIT_OF(safetensors_header));
    if (n > file.len - 8)
        return err_set(NUN_EFORMAT, "%s: expected a header of %llu bytes, found %zu bytes after its length", place,
                       (unsigned long long)n, file.len - 8);
    *header = span_of(file.ptr + 8, (size_t)n);
    *data = span_from(file, 8 + (size_t)n);
    return 0;
}

static int read_file(struct safetensors *st, const char *place, struct span file, bool first)
{
    struct span text = {0}, data = {0};
    json_t *header = NULL;
    size_t from = st->count;
    TRY(split(file, place, &text, &data));
    TRY(json_parse_span(text, place, &header));
    int rc = 0;
    if (!json_is_object(header))
        rc = err_set(NUN_EFORMAT, "%s: expected the header to be an object", place);
    if (rc == 0)
        rc = reserve(st, json_object_size(header), place);
    if (rc == 0)
        rc = take_entries(st, place, header, data, first);
    json_decref(header);
    TRY(rc);
    struct st_tensor *own = st->count > from ? st->tensors + from : NULL;
    if (own)
        qsort(own, st->count - from, sizeof *own, by_offset);
    TRY(check_tiling(place, own, st->count - from, data));
    return name_entries(st, place, from);
}

static int read_shard(struct safetensors *st, struct shard *s, bool first)
{
    TRY(file_map(s->path, &s->map));
    s->bytes = span_of(s->map.ptr, s->map.len);
    return read_file(st, s->path, s->bytes, first);
}

/* ---- an index and its shards --------------------------------------------------------------- */

static bool plain_name(const char *s)
{
    return *s && !strchr(s, '/') && strcmp(s, "..") != 0 && strlen(s) < 256;
}

/* The shards named by the index, each once, in order of appearance. */
static int collect_shards(struct safetensors *st, const char *dir, const char *place, json_t *weight_map)
{
    struct map seen;
    char path[PATH_BYTES];
    int rc = 0;
    map_init(&seen, MEM_FORMAT);
    st->shards = arena_array(&st->arena, json_object_size(weight_map) + 1, sizeof *st->shards);
    if (!st->shards)
        rc = NUN_ENOMEM;
    for (void *it = json_object_iter(weight_map); it && rc >= 0; it = json_object_iter_next(weight_map, it)) {
        const char *file = json_string_value(json_object_iter_value(it));
        int64_t known;
        if (!file || !plain_name(file)) {
            rc = err_set(NUN_EFORMAT, "%s: weight_map: \"%s\": expected the name of a file in the same folder", place,
                         json_object_iter_key(it));
            break;
        }
        if (map_get(&seen, span_str(file), &known))
            continue;
        struct shard *s = &st->shards[st->shard_count];
        rc = path_join(path, sizeof path, dir, file);
        s->name = rc ? NULL : arena_strdup(&st->arena, file);
        s->path = rc ? NULL : arena_strdup(&st->arena, path);
        if (rc == 0)
            rc = s->name && s->path ? map_put(&seen, span_str(s->name), (int64_t)st->shard_count++, NULL) : NUN_ENOMEM;
    }
    map_free(&seen);
    return rc < 0 ? rc : 0;
}

/* Every tensor of the index is in the shard that the index says. Tensors that the index forgot stay
 * readable: they are in the files. */
static int check_index(const struct safetensors *st, const char *place, json_t *weight_map)
{
    for (void *it = json_object_iter(weight_map); it; it = json_object_iter_next(weight_map, it)) {
        const char *name = json_object_iter_key(it), *file = json_string_value(json_object_iter_value(it));
        const struct st_tensor *t = st_find(st, span_str(name));
        const struct shard *home = NULL;
        for (size_t i = 0; t && !home && i < st->shard_count; i++)
            if (strcmp(st->shards[i].name, file) == 0)
                home = &st->shards[i];
        const char *at = t ? t->data : NULL;
        if (!home || at < home->bytes.ptr || at > home->bytes.ptr + home->bytes.len)
            return err_set(NUN_EFORMAT, "%s: tensor \"%s\": expected in %s, not found there", place, name, file);
    }
    return 0;
}

static int open_index(struct safetensors *st, const char *index)
{
    size_t n = (size_t)(path_base(index) - index);
    char *dir = n ? arena_strndup(&st->arena, index, n) : arena_strdup(&st->arena, ".");
    json_t *root = NULL, *weight_map;
    if (!dir)
        return NUN_ENOMEM;
    TRY(json_load_file_limited(index, &root));
    weight_map = json_object_get(root, "weight_map");
    int rc = 0;
    if (!json_is_object(weight_map))
        rc = err_set(NUN_EFORMAT, "%s: weight_map: expected an object", index);
    if (rc == 0)
        rc = collect_shards(st, dir, index, weight_map);
    for (size_t i = 0; rc == 0 && i < st->shard_count; i++)
        rc = read_shard(st, &st->shards[i], i == 0);
    if (rc == 0)
        rc = check_index(st, index, weight_map);
    json_decref(root);
    return rc;
}

static int open_single(struct safetensors *st, const char *path)
{
    st->shards = arena_array(&st->arena, 1, sizeof *st->shards);
    if (!st->shards)
        return NUN_ENOMEM;
    st->shard_count = 1;
    st->shards[0] = (struct shard){.name = "", .path = path};
    return read_shard(st, &st->shards[0], true);
}

/* Weights of other kinds that folders carry. */
static int no_weights(const char *dir)
{
    static const char *const pickles[] = {"pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth"};
    static const char *const others[] = {"tf_model.h5", "flax_model.msgpack", "model.onnx"};
    char path[PATH_BYTES];
    for (size_t i = 0; i < sizeof pickles / sizeof pickles[0]; i++)
        if (path_join(path, sizeof path, dir, pickles[i]) >= 0 && file_exists(path))
            return err_set(NUN_EUNSUP, "%s: pickled weights can run code while they are read, so they are not: convert "
                           "them to safetensors", path);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (path_join(path, sizeof path, dir, others[i]) >= 0 && file_exists(path))
            return err_set(NUN_EUNSUP, "%s: only safetensors weights are read, expected " SINGLE_NAME " or " INDEX_NAME, path);
    return err_set(NUN_EIO, "%s: expected " SINGLE_NAME " or " INDEX_NAME ", found neither", dir);
}

static int open_folder(struct safetensors *st, const char *dir)
{
    char path[PATH_BYTES];
    TRY(path_join(path, sizeof path, dir, INDEX_NAME));
    bool sharded = file_exists(path);
    if (!sharded)
        TRY(path_join(path, sizeof path, dir, SINGLE_NAME));
    if (!sharded && !file_exists(path))
        return no_weights(dir);
    const char *own = arena_strdup(&st->arena, path);
    if (!own)
        return NUN_ENOMEM;
    return sharded ? open_index(st, own) : open_single(st, own);
}

/* ---- the door ------------------------------------------------------------------------------ */

static struct safetensors *create(const char *path)
{
    struct safetensors *st = mem_calloc(MEM_FORMAT, 1, sizeof *st);
    if (!st)
        return NULL;
    arena_init(&st->arena, MEM_FORMAT, 0);
    map_init(&st->by_name, MEM_FORMAT);
    map_init(&st->metadata, MEM_FORMAT);
    st->path = arena_strdup(&st->arena, path);
    if (st->path)
        return st;
    st_close(st);
    return NULL;
}

int st_open(const char *path, struct safetensors **out)
{
    struct safetensors *st = create(path);
    if (!st)
        return NUN_ENOMEM;
    int rc = file_is_dir(path)                                ? open_folder(st, st->path)
             : span_ends(span_str(path), SPAN(".json")) ? open_index(st, st->path)
                                                              : open_single(st, st->path);
    if (rc == 0)
        *out = st;
    else
        st_close(st);
    return rc;
}

int st_open_bytes(struct span file, const char *place, struct safetensors **out)
{
    struct safetensors *st = create(place);
    if (!st)
        return NUN_ENOMEM;
    int rc = read_file(st, st->path, file, true);
    if (rc == 0)
        *out = st;
    else
        st_close(st);
    return rc;
}

static int add_views(struct safetensors *st, const struct st_tensor *tensors, size_t n)
{
    TRY(limit_check(LIMIT_tensors, n, st->path));
    st->tensors = mem_calloc(MEM_FORMAT, n, sizeof *st->tensors);
    if (!st->tensors)
        return NUN_ENOMEM;
    for (st->cap = n; st->count < n; st->count++) {
        struct st_tensor *t = &st->tensors[st->count];
        *t = tensors[st->count];
        TRY(check_size(st->path, t));
        int rc = map_put(&st->by_name, span_str(t->name), (int64_t)st->count, NULL);
        if (rc > 0)
            return entry_bad(st->path, t->name, "the name is there twice");
        TRY(rc);
        if (ck_add(st->total, t->bytes, &st->total))
            return entry_bad(st->path, t->name, "the sum of all sizes does not fit");
    }
    return 0;
}

int st_open_views(const char *place, const struct st_tensor *tensors, size_t n, void *owner, void (*drop)(void *owner),
                  struct safetensors **out)
{
    struct safetensors *st = create(place);
    if (!st)
        return NUN_ENOMEM;
    int rc = add_views(st, tensors, n);
    if (rc < 0) {
        st_close(st);
        return rc;
    }
    st->owner = owner;
    st->drop = drop;
    *out = st;
    return 0;
}

void st_close(struct safetensors *st)
{
    if (!st)
        return;
    if (st->drop)
        st->drop(st->owner);
    for (size_t i = 0; i < st->shard_count; i++)
        file_unmap(&st->shards[i].map);
    map_free(&st->by_name);
    map_free(&st->metadata);
    mem_free(st->tensors);
    arena_free(&st->arena);
    mem_free(st);
}

size_t st_count(const struct safetensors *st) { return st->count; }
size_t st_total_bytes(const struct safetensors *st) { return st->total; }
const char *st_path(const struct safetensors *st) { return st->path; }
const struct st_tensor *st_at(const struct safetensors *st, size_t i) { return i < st->count ? &st->tensors[i] : NULL; }

const struct st_tensor *st_find(const struct safetensors *st, struct span name)
{
    int64_t i;
    return map_get(&st->by_name, name, &i) ? &st->tensors[i] : NULL;
}

int st_need(const struct safetensors *st, struct span name, const struct shape *shape, const struct st_tensor **out)
{
    char want[SHAPE_TEXT], have[SHAPE_TEXT];
    const struct st_tensor *t = st_find(st, name);
    if (!t)
        return err_set(NUN_EFORMAT, "%s: tensor \"%.*s\": expected, not found", st->path, (int)name.len, name.ptr);
    if (shape && !shape_eq(shape, &t->shape))
        return err_set(NUN_EFORMAT, "%s: tensor \"%s\": expected %s, file has %s", st->path, t->name,
                       shape_format(shape, want), shape_format(&t->shape, have));
    *out = t;
    return 0;
}

const char *st_metadata(const struct safetensors *st, const char *key)
{
    int64_t value;
    return map_get(&st->metadata, span_str(key), &value) ? (const char *)(intptr_t)value : NULL;
}
