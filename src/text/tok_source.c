/* Where tokenizers come from: a table of files, each read into one tokenizer.json document. What the files beside
 * it add is the business of tok_config.c. */
/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "formats/json.h"
#include "text/tok_raw.h"

/* ---- sources ---- */

static int read_tokenizer_json(const char *path, json_t *config, json_t **doc)
{
    TRY(json_load_file_limited(path, doc));
    int rc = tok_config_prefix(*doc, config);
    if (rc < 0)
        json_decref(*doc);
    return rc;
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
static const struct source {
    const char *name;
    int (*read)(const char *path, json_t *config, json_t **doc);
    bool alone; /* says all itself: configs beside it are not for it */
} sources[] = {
    {"tokenizer.json", read_tokenizer_json, false},
    {"tokenizer.model", read_model, false},
    {"spiece.model", tok_read_spm, false},
    {"vocab.json", tok_read_vocab_json, false},
    {"vocab.txt", tok_read_vocab_txt, false},
    {"*.tiktoken", tok_read_tiktoken, false},
    {"*.model", read_model, false},
    {"*.gguf", tok_read_gguf, true},
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
    int rc = *out ? path_join(file, cap, dir, names[best])
                  : err_set(NUN_EIO, "%s: no tokenizer.json, tokenizer.model or vocabulary", dir);
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

/* ---- loading ---- */

static void folder_of(const char *path, char *dir, size_t cap)
{
    size_t n = (size_t)(path_base(path) - path);
    snprintf(dir, cap, "%.*s", n ? (int)n : 1, n ? path : ".");
}

static int load(const char *path, const struct source *source, json_t *config, struct tokenizer **out)
{
    json_t *doc;
    TRY(source->read(path, config, &doc));
    int rc = tok_config_merge(doc, config);
    if (rc < 0) {
        json_decref(doc);
        return rc;
    }
    struct tokenizer *t = NULL;
    TRY(tok_from_doc(doc, &t));
    rc = tok_config_apply(t, config);
    if (rc < 0)
        tokenizer_free(t);
    else
        *out = t;
    return rc;
}

int tokenizer_load(const char *path, struct tokenizer **out)
{
    char file[4096], dir[4096];
    const struct source *source;
    TRY(find_source(path, file, sizeof file, &source));
    folder_of(file, dir, sizeof dir);
    json_t *config = source->alone ? json_object() : NULL;
    if (!config)
        TRY(source->alone ? NUN_ENOMEM : tok_config_read(dir, &config));
    int rc = load(file, source, config, out);
    json_decref(config);
    return rc < 0 ? err_at(rc, "%s", file) : 0;
}
