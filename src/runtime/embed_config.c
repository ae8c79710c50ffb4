/* The files that sentence-transformers lays beside a model: modules, pooling, lengths, prompts. What would change
 * a vector and is not known is refused. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "formats/json.h"
#include "runtime/embed.h"

/* One of the folder's JSON files: 1 when it is not there. */
static int open_json(const char *folder, const char *name, char path[4096], json_t **out)
{
    TRY(path_join(path, 4096, folder, name));
    return file_exists(path) ? json_load_file_limited(path, out) : 1;
}

/* ---- the modules ------------------------------------------------------------------------------------------- */

static int read_transformer(const char *folder, struct arena *arena, struct embed_facts *out)
{
    char path[4096];
    json_t *json;
    int64_t most = 0;
    bool lower = false;
    if (!(out->transformer = arena_strdup(arena, folder)))
        return NUN_ENOMEM;
    int rc = open_json(folder, "sentence_bert_config.json", path, &json);
    if (rc)
        return rc < 0 ? rc : 0;
    rc = json_get_int(json, path, "max_seq_length", 1, 1 << 30, &most);
    if (rc >= 0)
        rc = json_get_bool(json, path, "do_lower_case", &lower);
    json_decref(json);
    TRY(rc);
    out->most = (int)most;
    return lower ? err_set(NUN_EUNSUP, "%s: do_lower_case: true is not supported: let the tokenizer do it", path) : 0;
}

static int read_pooling(const char *folder, struct arena *arena, struct embed_facts *out)
{
    char path[4096];
    json_t *json, *v;
    const char *key;
    int64_t width = 0;
    int rc = open_json(folder, "config.json", path, &json), modes = 0;
    if (rc)
        return rc < 0 ? rc : err_set(NUN_EIO, "%s: expected a file, which is not there", path);
    json_object_foreach(json, key, v) {
        const struct embed_pooling *p = embed_poolings;
        while (p->name && strcmp(p->key, key))
            p++;
        bool known = p->name || !strcmp(key, "word_embedding_dimension") || !strcmp(key, "include_prompt");
        if (!known && !json_is_false(v) && !json_is_null(v))
            rc = err_set(NUN_EUNSUP, "%s: %s is not supported", path, key);
        if (p->name && json_is_true(v)) {
            out->pooling = p;
            modes++;
        }
    }
    if (rc >= 0 && json_is_false(json_object_get(json, "include_prompt")))
        rc = err_set(NUN_EUNSUP, "%s: include_prompt: false is not supported", path);
    if (rc >= 0)
        rc = json_get_int(json, path, "word_embedding_dimension", 1, 1 << 20, &width);
    json_decref(json);
    TRY(rc);
    out->width = (int)width;
    return modes == 1 ? 0 : err_set(NUN_EUNSUP, "%s: expected one way of pooling, found %d", path, modes);
}

static int read_normalize(const char *folder, struct arena *arena, struct embed_facts *out)
{
    out->normalize = true;
    return 0;
}

/* By the last word of "type". */
static const struct module_row {
    const char *type;
    int (*read)(const char *folder, struct arena *arena, struct embed_facts *out);
} module_rows[] = {{"Transformer", read_transformer}, {"Pooling", read_pooling}, {"Normalize", read_normalize}};

static int read_module(const char *folder, const char *place, size_t i, const json_t *module, struct arena *arena,
                       struct embed_facts *out)
{
    char path[4096];
    const char *type = "", *where = "";
    TRY(json_get_string(module, place, "type", &type));
    TRY(json_get_string(module, place, "path", &where));
    if (strstr(where, "..") || *where == '/')
        return err_set(NUN_EFORMAT, "%s: path: expected a folder inside, found \"%s\"", place, where);
    TRY(path_join(path, sizeof path, folder, where));
    const char *last = strrchr(type, '.') ? strrchr(type, '.') + 1 : type;
    if (i < 3 && !strcmp(module_rows[i].type, last)) /* in this order only */
        return module_rows[i].read(*where ? path : folder, arena, out);
    return err_set(NUN_EUNSUP, "%s: module %zu: \"%s\" is not supported there", place, i, type);
}

static int read_modules(const char *folder, struct arena *arena, struct embed_facts *out)
{
    char path[4096];
    json_t *json, *module;
    size_t i;
    int rc = open_json(folder, "modules.json", path, &json);
    if (rc == 1)
        return 0;
    TRY(rc);
    if (!json_is_array(json) || !json_array_size(json))
        rc = err_set(NUN_EFORMAT, "%s: expected a list of modules", path);
    json_array_foreach(json, i, module)
        if (rc >= 0)
            rc = read_module(folder, path, i, module, arena, out);
    json_decref(json);
    return rc;
}

/* ---- prompts ----------------------------------------------------------------------------------------------- */

static int find_prompt(const json_t *json, const char *path, const char *name, struct arena *arena, struct embed_facts *out)
{
    const json_t *prompts = NULL;
    if (!name)
        TRY(json_get_string(json, path, "default_prompt_name", &name));
    if (!name)
        return 0;
    TRY(json_get_object(json, path, "prompts", &prompts));
    const char *text = json_string_value(json_object_get(prompts, name));
    if (!text)
        return err_set(NUN_EARG, "%s: there is no prompt \"%s\"", path, name);
    out->prompt = arena_strdup(arena, text);
    return out->prompt ? 0 : NUN_ENOMEM;
}

static int read_prompts(const char *folder, const char *name, struct arena *arena, struct embed_facts *out)
{
    char path[4096];
    json_t *json;
    int rc = open_json(folder, "config_sentence_transformers.json", path, &json);
    if (rc == 1)
        return name ? err_set(NUN_EARG, "%s: there is no prompt \"%s\"", folder, name) : 0;
    TRY(rc);
    rc = find_prompt(json, path, name, arena, out);
    json_decref(json);
    return rc < 0 ? rc : 0;
}

int embed_read(const char *folder, const char *prompt_name, struct arena *arena, struct embed_facts *out)
{
    *out = (struct embed_facts){.transformer = folder, .prompt = ""};
    TRY(read_modules(folder, arena, out));
    return read_prompts(folder, prompt_name, arena, out);
}
