/* Where tokenizers come from: a table of files, each read into one tokenizer.json document, and the facts of the files
 * beside it (tokenizer_config.json, special_tokens_map.json). */
/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "formats/json.h"
#include "text/tok_raw.h"

static const char *const role_keys[TOK_ROLE_COUNT] = {
    "bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token",
};

const char *tok_role_key(enum tok_role role)
{
    return role >= 0 && role < TOK_ROLE_COUNT ? role_keys[role] : NULL;
}

/* ---- sources ---- */

static int read_tokenizer_json(const char *path, json_t *config, json_t **doc)
{
    return json_load_file_limited(path, doc);
}

/* Two kinds of file have this name: SentencePiece's protobuf begins with the tag of a piece, tiktoken's is lines. */
static int read_model(const char *path, json_t *config, json_t **doc)
{
    struct file_map file;
    TRY(file_map(path, &file));
    bool protobuf = file.len && file.ptr[0] == '\n';
    file_unmap(&file);
    return protobuf ? tok_read_spm(path, config, doc) : tok_read_tiktoken(path, config, doc);
}

/* In the order in which a folder is searched. A name that begins with '*' is the end of one. */
static const struct source { const char *name; int (*read)(const char *path, json_t *config, json_t **doc); } sources[] = {
    {"tokenizer.json", read_tokenizer_json}, {"tokenizer.model", read_model},     {"spiece.model", tok_read_spm},
    {"vocab.json", tok_read_vocab_json},     {"vocab.txt", tok_read_vocab_txt},   {"*.tiktoken", tok_read_tiktoken},
    {"*.model", read_model},                 {"*.gguf", tok_read_gguf},
};
enum { SOURCES = sizeof sources / sizeof *sources };

static const struct source *source_named(const char *name)
{
    for (size_t i = 0; i < SOURCES; i++) {
        const char *want = sources[i].name;
        if (*want == '*' ? span_ends(span_str(name), span_str(want + 1)) : strcmp(name, want) == 0)
            return &sources[i];
    }
    return NULL;
}

/* The file of a folder that comes first in the table. */
static int search_folder(const char *dir, char *file, size_t cap, const struct source **out)
{
    char **names = NULL;
    size_t n = 0, best = 0;
    *out = NULL;
    TRY(file_list(dir, &names, &n));
    for (size_t i = 0; i < n; i++) {
        const struct source *s = source_named(names[i]);
        if (s && (!*out || s < *out)) {
            *out = s;
            best = i;
        }
    }
    int rc = *out ? path_join(file, cap, dir, names[best]) : err_set(NUN_EIO, "%s: no tokenizer.json, tokenizer.model or vocabulary", dir);
    mem_free(names);
    return rc;
}

static int find_source(const char *path, char *file, size_t cap, const struct source **out)
{
    if (file_is_dir(path))
        return search_folder(path, file, cap, out);
    if (snprintf(file, cap, "%s", path) >= (int)cap)
        return err_set(NUN_ELIMIT, "path of %zu bytes, limit %zu", strlen(path), cap - 1);
    *out = source_named(path_base(path));
    *out = *out ? *out : &sources[0]; /* any other file must be a tokenizer.json by content */
    return 0;
}

/* ---- facts beside it ---- */

/* A token in a config: "text" or {"content": "text", ...}. */
static struct span token_text(const json_t *v)
{
    return tok_json_str(json_is_object(v) ? json_object_get(v, "content") : v);
}

static bool is_listed(const json_t *added, struct span text)
{
    for (size_t i = 0; i < json_array_size(added); i++)
        if (span_eq(token_text(json_array_get(added, i)), text))
            return true;
    return false;
}

/* Tokens that only the config lists: {"32000": {content, lstrip, ...}}. */
static int merge_listed(json_t *added, const json_t *decoder)
{
    const char *key;
    json_t *o;
    json_object_foreach((json_t *)decoder, key, o) {
        char *end;
        long id = strtol(key, &end, 10);
        struct span text = token_text(o);
        if (!text.len || *end || end == key)
            return err_set(NUN_EFORMAT, "added_tokens_decoder.%s: expected an id with a token", key);
        if (is_listed(added, text))
            continue;
        unsigned mark = json_mark();
        json_t *copy = json_copy(o);
        if (json_check(mark) < 0 || json_object_set_new(copy, "id", json_integer(id)) || json_array_append_new(added, copy))
            return NUN_ENOMEM;
        json_object_del(copy, "__type");
    }
    return 0;
}

/* A piece of the model that a config calls bos, eos, ... is special even when tokenizer.json does not say so. */
static int merge_role(json_t *doc, json_t *added, struct span text)
{
    const json_t *id = json_object_getn(json_object_get(json_object_get(doc, "model"), "vocab"), text.ptr, text.len);
    if (!text.len || !json_is_integer(id) || is_listed(added, text))
        return 0;
    json_t *o = json_pack("{s:I,s:s%,s:b,s:b}", "id", json_integer_value(id), "content", text.ptr, text.len,
                          "special", 1, "normalized", 0);
    return o && !json_array_append_new(added, o) ? 0 : NUN_ENOMEM;
}

static int merge_config(json_t *doc, const json_t *config)
{
    json_t *added = json_object_get(doc, "added_tokens");
    if (!json_is_array(added)) {
        added = json_array();
        if (!added || json_object_set_new(doc, "added_tokens", added))
            return NUN_ENOMEM;
    }
    TRY(merge_listed(added, json_object_get(config, "added_tokens_decoder")));
    for (int r = 0; r < TOK_ROLE_COUNT; r++)
        TRY(merge_role(doc, added, token_text(json_object_get(config, role_keys[r]))));
    return 0;
}

static void set_roles(struct tokenizer *t, const json_t *config)
{
    for (int r = 0; r < TOK_ROLE_COUNT; r++) {
        struct span text = token_text(json_object_get(config, role_keys[r]));
        if (text.len && tokenizer_id_of(t, text) >= 0)
            t->role[r] = tokenizer_id_of(t, text);
    }
}

/* tokenizer_config.json with the roles of special_tokens_map.json where it has none; an empty object without files. */
static int read_config(const char *dir, json_t **out)
{
    static const char *const names[] = {"tokenizer_config.json", "special_tokens_map.json"};
    char path[4096];
    unsigned mark = json_mark();
    json_t *all = json_object();
    int rc = all ? 0 : NUN_ENOMEM;
    for (size_t i = 0; rc == 0 && i < 2; i++) {
        json_t *one = NULL;
        rc = path_join(path, sizeof path, dir, names[i]);
        if (rc < 0 || !file_exists(path))
            continue;
        rc = json_load_file_limited(path, &one);
        if (rc == 0 && !json_is_object(one))
            rc = err_set(NUN_EFORMAT, "%s: expected an object", path);
        if (rc == 0) {
            json_object_update_missing(all, one);
            rc = json_check(mark);
        }
        json_decref(one);
    }
    if (rc < 0)
        json_decref(all);
    else
        *out = all;
    return rc;
}

static void folder_of(const char *path, char *dir, size_t cap)
{
    size_t n = (size_t)(path_base(path) - path);
    snprintf(dir, cap, "%.*s", n ? (int)n : 1, n ? path : ".");
}

static int load(const char *path, const struct source *source, json_t *config, struct tokenizer **out)
{
    json_t *doc;
    TRY(source->read(path, config, &doc));
    int rc = merge_config(doc, config);
    if (rc < 0) {
        json_decref(doc);
        return rc;
    }
    TRY(tok_from_doc(doc, out));
    set_roles(*out, config);
    (*out)->config = json_incref(config);
    return 0;
}

int tokenizer_load(const char *path, struct tokenizer **out)
{
    char file[4096], dir[4096];
    const struct source *source;
    json_t *config;
    TRY(find_source(path, file, sizeof file, &source));
    folder_of(file, dir, sizeof dir);
    TRY(read_config(dir, &config));
    int rc = load(file, source, config, out);
    json_decref(config);
    return rc < 0 ? err_at(rc, "%s", file) : 0;
}
