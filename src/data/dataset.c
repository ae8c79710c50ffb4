/* LLaVA's JSON in and out. Every string is copied into the dataset's arena, the JSON tree is let go
 * sample by sample (.jsonl) or at the end (.json). */
/* SPDX-License-Identifier: MIT */
#include "data/dataset.h"
#include <stdio.h>
#include <string.h>
#include "base/arena.h"
#include "base/ck.h"
#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "formats/json.h"

#define IMAGE_MARK "<image>"

struct dataset {
    struct arena arena;
    char *root;
    struct data_sample *sample;
    size_t count, cap;
};

/* Where an error is: the file and the sample's number. */
struct reader { struct dataset *d; const char *path; size_t at; };

static int refuse(const struct reader *r, const char *key, const char *expected, const json_t *found)
{
    static const char *const types[] = {"an object", "a list", "a string", "an integer",
                                        "a real",    "true",   "false",    "null"};
    return err_set(NUN_EFORMAT, "%s: sample %zu: %s: expected %s, found %s", r->path, r->at, key, expected,
                   found ? types[json_typeof(found)] : "nothing");
}

static int check_keys(const struct reader *r, const json_t *obj, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)obj, key, value) {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key))
            i++;
        if (!known[i])
            return err_set(NUN_EUNSUP, "%s: sample %zu: expected no key \"%s\"", r->path, r->at, key);
    }
    return 0;
}

static int copy_string(struct reader *r, const char *key, const json_t *value, const char **out)
{
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
        return refuse(r, key, "a string", value);
    *out = arena_strndup(&r->d->arena, json_string_value(value), json_string_length(value));
    return *out ? 0 : NUN_ENOMEM;
}

static int copy_optional(struct reader *r, const json_t *obj, const char *key, const char **out)
{
    const json_t *value = json_object_get(obj, key);
    return value && !json_is_null(value) ? copy_string(r, key, value, out) : 0;
}

/* A picture's path may not leave the data's folder. */
static int read_image_path(struct reader *r, const json_t *value, const char **out)
{
    TRY(copy_string(r, "image", value, out));
    const char *p = *out;
    bool leaves = p[0] == '/' || !p[0];
    for (const char *part = p; part; part = strchr(part, '/')) {
        part += *part == '/';
        leaves = leaves || (!strncmp(part, "..", 2) && (part[2] == '/' || !part[2]));
    }
    if (leaves)
        return err_set(NUN_EFORMAT, "%s: sample %zu: image: expected a path inside the data's folder, found \"%s\"",
                       r->path, r->at, p);
    return 0;
}

static int read_images(struct reader *r, const json_t *obj, struct data_sample *s)
{
    json_t *value = json_object_get(obj, "image");
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value) && !json_is_array(value))
        return refuse(r, "image", "a path or a list of paths", value);
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    TRY(limit_check(LIMIT_sample_images, n, r->path));
    const char **image = arena_array(&r->d->arena, n, sizeof *image);
    if (!image)
        return NUN_ENOMEM;
    for (size_t i = 0; i < n; i++)
        TRY(read_image_path(r, json_is_array(value) ? json_array_get(value, i) : value, &image[i]));
    s->image = image;
    s->images = (int)n;
    return 0;
}

/* Take the marks out of a question, and the line breaks that set them off. */
static int cut_marks(struct reader *r, struct data_turn *t)
{
    char *text = arena_strdup(&r->d->arena, t->question);
    if (!text)
        return NUN_ENOMEM;
    char *to = text;
    for (const char *from = t->question; *from;) {
        if (strncmp(from, IMAGE_MARK, strlen(IMAGE_MARK))) {
            *to++ = *from++;
            continue;
        }
        from += strlen(IMAGE_MARK);
        t->images++;
        if (to == text && *from == '\n')
            from++;
        else if (!*from && to > text && to[-1] == '\n')
            to--;
    }
    *to = 0;
    t->question = text;
    if (strstr(text, IMAGE_MARK)) /* "<ima<image>ge>" */
        return err_set(NUN_EFORMAT, "%s: sample %zu: expected marks %s apart, found one within another", r->path, r->at,
                       IMAGE_MARK);
    return 0;
}

static int read_message(struct reader *r, const json_t *message, const char *from, const char **value)
{
    static const char *const known[] = {"from", "value", "kind", "negative", NULL};
    if (!json_is_object(message))
        return refuse(r, "conversations", "objects", message);
    TRY(check_keys(r, message, known));
    const char *found = json_string_value(json_object_get(message, "from"));
    if (!found || strcmp(found, from))
        return err_set(NUN_EFORMAT, "%s: sample %zu: from: expected \"%s\" here, found \"%s\"", r->path, r->at, from,
                       found ? found : "");
    return copy_string(r, "value", json_object_get(message, "value"), value);
}

static int read_turns(struct reader *r, const json_t *list, struct data_sample *s)
{
    if (!json_is_array(list))
        return refuse(r, "conversations", "a list", list);
    size_t n = json_array_size(list), at = 0;
    const char *first = json_string_value(json_object_get(json_array_get(list, 0), "from"));
    if (first && !strcmp(first, "system"))
        TRY(read_message(r, json_array_get(list, at++), "system", &s->system));
    size_t pairs = (n - at) / 2;
    if (n == at || (n - at) % 2)
        return err_set(NUN_EFORMAT, "%s: sample %zu: conversations: expected pairs of human and gpt, found %zu",
                       r->path, r->at, n - at);
    TRY(limit_check(LIMIT_sample_turns, pairs, r->path));
    struct data_turn *turn = arena_array(&r->d->arena, pairs, sizeof *turn);
    if (!turn)
        return NUN_ENOMEM;
    int marks = 0;
    for (size_t i = 0; i < pairs; i++, at += 2) {
        const json_t *reply = json_array_get(list, at + 1);
        TRY(read_message(r, json_array_get(list, at), "human", &turn[i].question));
        TRY(read_message(r, reply, "gpt", &turn[i].answer));
        TRY(copy_optional(r, reply, "kind", &turn[i].kind));
        TRY(copy_optional(r, reply, "negative", &turn[i].negative));
        TRY(cut_marks(r, &turn[i]));
        marks += turn[i].images;
    }
    if (marks != s->images)
        return err_set(NUN_EFORMAT, "%s: sample %zu: expected %d marks %s for its pictures, found %d", r->path, r->at,
                       s->images, IMAGE_MARK, marks);
    s->turn = turn;
    s->turns = (int)pairs;
    return 0;
}

static int read_id(struct reader *r, const json_t *value, const char **out)
{
    if (!json_is_integer(value))
        return copy_string(r, "id", value, out);
    *out = arena_printf(&r->d->arena, "%lld", (long long)json_integer_value(value));
    return *out ? 0 : NUN_ENOMEM;
}

static int add_sample(struct reader *r, const json_t *obj)
{
    static const char *const known[] = {"id", "image", "conversations", "source", "model", NULL};
    struct dataset *d = r->d;
    if (!json_is_object(obj))
        return refuse(r, "sample", "an object", obj);
    TRY(check_keys(r, obj, known));
    struct data_sample s = {0};
    TRY(read_id(r, json_object_get(obj, "id"), &s.id));
    TRY(read_images(r, obj, &s));
    TRY(read_turns(r, json_object_get(obj, "conversations"), &s));
    if (d->count == d->cap) {
        size_t cap = d->cap ? d->cap : 256, bytes;
        if (d->cap && ck_mul(d->cap, 2, &cap))
            return err_nomem(SIZE_MAX);
        if (ck_mul(cap, sizeof *d->sample, &bytes))
            return err_nomem(SIZE_MAX);
        struct data_sample *grown = mem_realloc(MEM_DATA, d->sample, bytes);
        if (!grown)
            return NUN_ENOMEM;
        d->sample = grown;
        d->cap = cap;
    }
    d->sample[d->count++] = s;
    r->at++;
    return 0;
}

static int read_array(struct reader *r, struct span text)
{
    json_t *root = NULL;
    TRY(json_parse_span(text, r->path, &root));
    int rc = json_is_array(root) ? 0 : refuse(r, "the file", "a list of samples", root);
    size_t n = rc == 0 ? json_array_size(root) : 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = add_sample(r, json_array_get(root, i));
    json_decref(root);
    return rc;
}

static int read_line(struct reader *r, struct span line)
{
    char place[64];
    snprintf(place, sizeof place, "sample %zu", r->at);
    json_t *obj = NULL;
    int rc = json_parse_span(line, place, &obj);
    if (rc < 0)
        return err_at(rc, "%s", r->path);
    rc = add_sample(r, obj);
    json_decref(obj);
    return rc;
}

static int read_lines(struct reader *r, struct span rest)
{
    while (rest.len) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        size_t n = end ? (size_t)(end - rest.ptr) : rest.len;
        if (n)
            TRY(read_line(r, span_of(rest.ptr, n)));
        rest = span_from(rest, n + 1);
    }
    return 0;
}

/* The folder of a path: what stands before the last slash. */
static char *folder_of(struct arena *a, const char *path)
{
    size_t n = (size_t)(path_base(path) - path);
    return n ? arena_strndup(a, path, n > 1 ? n - 1 : 1) : arena_strdup(a, ".");
}

int dataset_parse(struct span text, bool lines, const char *place, const char *image_root, struct dataset **out)
{
    *out = NULL;
    struct dataset *d = mem_calloc(MEM_DATA, 1, sizeof *d);
    if (!d)
        return NUN_ENOMEM;
    arena_init(&d->arena, MEM_DATA, 0);
    struct reader r = {d, place, 0};
    d->root = image_root ? arena_strdup(&d->arena, image_root) : folder_of(&d->arena, place);
    int rc = !d->root ? NUN_ENOMEM : lines ? read_lines(&r, text) : read_array(&r, text);
    if (rc == 0 && !d->count)
        rc = err_set(NUN_EFORMAT, "%s: expected samples, found none", place);
    if (rc < 0) {
        dataset_close(d);
        return rc;
    }
    *out = d;
    return 0;
}

int dataset_open(const char *path, const char *image_root, struct dataset **out)
{
    *out = NULL;
    char inside[4096];
    if (file_is_dir(path)) {
        TRY(path_join(inside, sizeof inside, path, "data.json"));
        path = inside;
    }
    struct file_map map;
    TRY(file_map(path, &map));
    bool lines = span_ends(span_str(path), SPAN(".jsonl"));
    int rc = dataset_parse(span_of(map.ptr, map.len), lines, path, image_root, out);
    file_unmap(&map);
    return rc;
}

void dataset_close(struct dataset *d)
{
    if (!d)
        return;
    mem_free(d->sample);
    arena_free(&d->arena);
    mem_free(d);
}

size_t dataset_count(const struct dataset *d) { return d->count; }
const struct data_sample *dataset_at(const struct dataset *d, size_t i) { return i < d->count ? &d->sample[i] : NULL; }

int dataset_image_path(const struct dataset *d, const struct data_sample *s, int k, char *out, size_t cap)
{
    if (k < 0 || k >= s->images)
        return err_set(NUN_EARG, "sample %s: expected picture 0 to %d, found %d", s->id, s->images - 1, k);
    return path_join(out, cap, d->root, s->image[k]);
}

static void write_member(struct buf *out, const char *before, const char *value)
{
    buf_str(out, before);
    json_write_string(span_str(value), out);
}

static void write_turn(const struct data_turn *t, struct buf *out)
{
    struct buf text;
    buf_init(&text, MEM_DATA, LIMIT_OF(text_bytes));
    for (int i = 0; i < t->images; i++)
        buf_str(&text, IMAGE_MARK "\n");
    buf_str(&text, t->question);
    write_member(out, "{\"from\":\"human\",\"value\":", buf_cstr(&text));
    write_member(out, "},{\"from\":\"gpt\",\"value\":", t->answer);
    if (t->kind)
        write_member(out, ",\"kind\":", t->kind);
    if (t->negative)
        write_member(out, ",\"negative\":", t->negative);
    buf_char(out, '}');
    if (buf_error(&text) && !out->error)
        out->error = buf_error(&text);
    buf_free(&text);
}

void data_sample_write(const struct data_sample *s, struct buf *out)
{
    write_member(out, "{\"id\":", s->id);
    if (s->images == 1)
        write_member(out, ",\"image\":", s->image[0]);
    for (int i = 0; s->images > 1 && i < s->images; i++)
        write_member(out, i ? "," : ",\"image\":[", s->image[i]);
    buf_str(out, s->images > 1 ? "],\"conversations\":[" : ",\"conversations\":[");
    if (s->system) {
        write_member(out, "{\"from\":\"system\",\"value\":", s->system);
        buf_str(out, "},");
    }
    for (int i = 0; i < s->turns; i++) {
        if (i)
            buf_char(out, ',');
        write_turn(&s->turn[i], out);
    }
    buf_str(out, "]}");
}
