/* Datasets in and out: files of samples, in one list or one a line. Every string is copied into the dataset's arena, the
 * JSON tree is let go sample by sample (.jsonl) or at the end (.json). */
/* SPDX-License-Identifier: MIT */
#include "data/dataset.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/ck.h"
#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "data/dataset_int.h"
#include "formats/json.h"

struct dataset {
    struct arena arena;
    char *root, *path;
    struct data_sample *sample;
    size_t count, cap;
};

/* ---- for formats --------------------------------------------------------------------------- */

int data_bad(const struct reader *r, int code, const char *fmt, ...)
{
    char what[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return err_set(code, "%s:%zu: sample %zu: %s", r->path, r->line, r->at, what);
}

int data_refuse(const struct reader *r, const char *key, const char *expected, const json_t *found)
{
    static const char *const types[] = {"an object", "a list", "a string", "an integer",
                                        "a real",    "true",   "false",    "null"};
    return data_bad(r, NUN_EFORMAT, "%s: expected %s, found %s", key, expected, found ? types[json_typeof(found)] : "nothing");
}

int data_check_keys(const struct reader *r, const json_t *obj, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)obj, key, value) {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key))
            i++;
        if (!known[i])
            return data_bad(r, NUN_EUNSUP, "expected no key \"%s\"", key);
    }
    return 0;
}

int data_copy_string(struct reader *r, const char *key, const json_t *value, const char **out)
{
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
        return data_refuse(r, key, "a string", value);
    *out = arena_strndup(r->arena, json_string_value(value), json_string_length(value));
    return *out ? 0 : NUN_ENOMEM;
}

int data_image_path(struct reader *r, const json_t *value, const char **out)
{
    TRY(data_copy_string(r, "image", value, out));
    const char *p = *out;
    bool leaves = p[0] == '/' || !p[0];
    for (const char *part = p; part; part = strchr(part, '/')) {
        part += *part == '/';
        leaves = leaves || (!strncmp(part, "..", 2) && (part[2] == '/' || !part[2]));
    }
    return leaves ? data_bad(r, NUN_EFORMAT, "image: expected a path inside the data's folder, found \"%s\"", p) : 0;
}

int data_read_id(struct reader *r, const json_t *value, const char **out)
{
    if (!json_is_integer(value))
        return data_copy_string(r, "id", value, out);
    *out = arena_printf(r->arena, "%lld", (long long)json_integer_value(value));
    return *out ? 0 : NUN_ENOMEM;
}

/* ---- samples ------------------------------------------------------------------------------- */

static const struct dataset_format formats[] = {{"conversations", data_read_llava}, {"messages", data_read_messages}};

static int read_sample(struct reader *r, const json_t *obj, struct data_sample *s)
{
    if (!json_is_object(obj))
        return data_refuse(r, "sample", "an object", obj);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (json_object_get(obj, formats[i].key))
            return formats[i].read(r, obj, s);
    return data_read_llava(r, obj, s); /* says what is missing */
}

static int keep_sample(struct dataset *d, const struct data_sample *s)
{
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
    d->sample[d->count++] = *s;
    return 0;
}

/* rc < 0: the sample could not be read. With a lint it is told, and the reading goes on. */
static int settle(struct reader *r, int rc, const struct data_sample *s)
{
    if (rc >= 0)
        rc = keep_sample(r->d, s);
    else if (rc != NUN_ENOMEM && r->lint) {
        r->lint->emit(r->lint->arg, nun_error());
        rc = 0;
    }
    r->at++;
    return rc;
}

/* Behind the value that begins at `i`: strings, and what is nested in it, are stepped over. */
static size_t skip_value(struct span s, size_t i)
{
    size_t depth = 0;
    for (bool quoted = false; i < s.len; i++) {
        char c = s.ptr[i];
        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && (depth == 0 || --depth == 0)) {
            return depth == 0 && i < s.len ? i + 1 : i;
        }
    }
    return i;
}

/* The lines that the elements of a list begin in; the list was parsed, so it is well formed. */
struct lines { struct span text; size_t at, line; };
static size_t next_line(struct lines *l)
{
    while (l->at < l->text.len && l->text.ptr[l->at] != '{') {
        l->line += l->text.ptr[l->at] == '\n';
        l->at++;
    }
    size_t line = l->line, end = skip_value(l->text, l->at);
    for (; l->at < end; l->at++)
        l->line += l->text.ptr[l->at] == '\n';
    return line;
}

static int read_array(struct reader *r, struct span text)
{
    json_t *root = NULL;
    struct lines lines = {text, 0, 1};
    TRY(json_parse_span(text, r->path, &root));
    int rc = json_is_array(root) ? 0 : data_refuse(r, "the file", "a list of samples", root);
    size_t n = rc == 0 ? json_array_size(root) : 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct data_sample s = {0};
        const json_t *obj = json_array_get(root, i);
        if (json_is_object(obj))
            r->line = next_line(&lines);
        s.line = r->line;
        rc = settle(r, read_sample(r, obj, &s), &s);
    }
    json_decref(root);
    return rc;
}

static int read_line(struct reader *r, struct span line)
{
    char place[64];
    struct data_sample s = {.line = r->line};
    snprintf(place, sizeof place, "%zu: sample %zu", r->line, r->at);
    json_t *obj = NULL;
    int rc = json_parse_span(line, place, &obj);
    if (rc < 0)
        return settle(r, err_at(rc, "%s", r->path), &s);
    rc = settle(r, read_sample(r, obj, &s), &s);
    json_decref(obj);
    return rc;
}

static int read_lines(struct reader *r, struct span rest)
{
    for (r->line = 1; rest.len; r->line++) {
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

/* ---- whole sets ----------------------------------------------------------------------------- */

static int parse(struct span text, bool lines, const char *place, const char *image_root, const struct dataset_lint *lint,
                 struct dataset **out)
{
    *out = NULL;
    struct dataset *d = mem_calloc(MEM_DATA, 1, sizeof *d);
    if (!d)
        return NUN_ENOMEM;
    arena_init(&d->arena, MEM_DATA, 0);
    struct reader r = {d, &d->arena, place, 0, 1, lint};
    d->root = image_root ? arena_strdup(&d->arena, image_root) : folder_of(&d->arena, place);
    d->path = arena_strdup(&d->arena, place);
    int rc = !d->root || !d->path ? NUN_ENOMEM : lines ? read_lines(&r, text) : read_array(&r, text);
    if (rc == 0 && !d->count && !lint)
        rc = err_set(NUN_EFORMAT, "%s: expected samples, found none", place);
    if (rc < 0) {
        dataset_close(d);
        return rc;
    }
    *out = d;
    return 0;
}

int dataset_parse(struct span text, bool lines, const char *place, const char *image_root, struct dataset **out)
{
    return parse(text, lines, place, image_root, NULL, out);
}

static int open_file(const char *path, const char *image_root, const struct dataset_lint *lint, struct dataset **out)
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
    int rc = parse(span_of(map.ptr, map.len), lines, path, image_root, lint, out);
    file_unmap(&map);
    return rc;
}

int dataset_open(const char *path, const char *image_root, struct dataset **out)
{
    return open_file(path, image_root, NULL, out);
}

int dataset_open_lint(const char *path, const char *image_root, const struct dataset_lint *lint, struct dataset **out)
{
    return open_file(path, image_root, lint, out);
}

void dataset_close(struct dataset *d)
{
    if (!d)
        return;
    mem_free(d->sample);
    arena_free(&d->arena);
    mem_free(d);
}

const char *dataset_path(const struct dataset *d) { return d->path; }
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
    if (t->detail)
        write_member(out, ",\"detail\":", t->detail);
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
