/* Where models keep their chat templates and the special tokens that these write: the files of a folder in
 * the order in which the transformers library looks, the metadata of a GGUF file, or a Jinja file alone.
 * Knows nothing of templates' language; the runtime and the command line come here through chat.h. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "formats/gguf.h"
#include "formats/json.h"
#include "text/chat.h"

/* ---- templates in a folder ----------------------------------------------------------------------------- */

/* Append the template named `name` in "chat_template": a text is the one called "default", else it is a
 * list of {"name", "template"}. 1: none of that name. */
static int named_template(const json_t *config, const char *name, struct buf *out)
{
    const json_t *t = json_object_get(config, "chat_template"), *one;
    size_t i;
    if (json_is_string(t) && span_is(SPAN("default"), name)) {
        buf_append(out, json_string_value(t), json_string_length(t));
        return buf_error(out);
    }
    json_array_foreach(t, i, one) {
        const json_t *text = json_object_get(one, "template");
        if (!json_is_string(text) || !json_is_string(json_object_get(one, "name")) ||
            !span_is(span_str(name), json_string_value(json_object_get(one, "name"))))
            continue;
        buf_append(out, json_string_value(text), json_string_length(text));
        return buf_error(out);
    }
    return 1;
}

static int from_json(const char *path, const char *name, struct buf *out)
{
    json_t *config;
    TRY(json_load_file_limited(path, &config));
    int rc = named_template(config, name, out);
    json_decref(config);
    return rc;
}

static int from_text(const char *path, const char *name, struct buf *out)
{
    return file_read(path, out);
}

/* In the order in which the transformers library looks. */
static const struct {
    const char *file;  /* "%s": the template's name */
    bool for_default;  /* else for templates with other names only */
    int (*read)(const char *path, const char *name, struct buf *out);
} sources[] = {
    {"chat_template.jinja", true, from_text},
    {"additional_chat_templates/%s.jinja", false, from_text},
    {"additional_chat_templates/default.jinja", true, from_text},
    {"chat_template.json", true, from_json},
    {"chat_template.json", false, from_json},
    {"processor_config.json", true, from_json},
    {"processor_config.json", false, from_json},
    {"tokenizer_config.json", true, from_json},
    {"tokenizer_config.json", false, from_json},
};

static int source_path(const char *folder, const char *pattern, const char *name, char place[CHAT_PATH])
{
    char file[CHAT_PATH];
    const char *hole = strstr(pattern, "%s");
    int n = hole ? snprintf(file, sizeof file, "%.*s%s%s", (int)(hole - pattern), pattern, name, hole + 2)
                 : snprintf(file, sizeof file, "%s", pattern);
    if (n < 0 || (size_t)n >= sizeof file)
        return err_set(NUN_ELIMIT, "the name of a template: longer than %zu bytes", sizeof file);
    return path_join(place, CHAT_PATH, folder, file);
}

static int find_in_folder(const char *folder, const char *wanted, char place[CHAT_PATH], struct buf *text)
{
    bool is_default = span_is(SPAN("default"), wanted);
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        if (sources[i].for_default != is_default)
            continue;
        TRY(source_path(folder, sources[i].file, wanted, place));
        if (!file_exists(place))
            continue;
        int rc = sources[i].read(place, wanted, text);
        if (rc <= 0)
            return rc;
    }
    return 1;
}

/* ---- templates in one file ----------------------------------------------------------------------------- */

/* "tokenizer.chat_template", and with ".NAME" behind it those of other names. */
static int find_in_gguf(const char *path, const char *wanted, struct buf *text)
{
    struct gguf *g;
    char key[CHAT_PATH];
    struct span found;
    bool is_default = span_is(SPAN("default"), wanted);
    snprintf(key, sizeof key, "tokenizer.chat_template%s%s", is_default ? "" : ".", is_default ? "" : wanted);
    TRY(gguf_open(path, &g));
    int rc = gguf_get_string(g, key, &found);
    if (rc == 0) {
        buf_span(text, found);
        rc = buf_error(text);
    }
    gguf_close(g);
    return rc;
}

int chat_template_find(const char *path, const char *name, char place[CHAT_PATH], struct buf *text)
{
    const char *wanted = name ? name : "default";
    if (strchr(wanted, '/'))
        return err_set(NUN_EARG, "the name of a template: \"%s\" has a slash", wanted);
    if (file_is_dir(path))
        return find_in_folder(path, wanted, place, text);
    if (snprintf(place, CHAT_PATH, "%s", path) >= CHAT_PATH)
        return err_set(NUN_ELIMIT, "the path of a template: longer than %d bytes", CHAT_PATH);
    if (gguf_is_file(path) || span_ends(span_str(path), SPAN(".gguf"))) /* one that is torn is no template */
        return find_in_gguf(path, wanted, text);
    return span_is(SPAN("default"), wanted) ? file_read(path, text) : 1;
}

/* ---- special tokens ------------------------------------------------------------------------------------ */

static const char *const special_names[] = {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token",
                                            "mask_token"};

/* A token is a text, or an object that has it as "content". */
static int add_tokens(const char *path, json_t *context)
{
    json_t *config;
    if (!file_exists(path))
        return 0;
    TRY(json_load_file_limited(path, &config));
    for (size_t i = 0; i < sizeof special_names / sizeof special_names[0]; i++) {
        json_t *v = json_object_get(config, special_names[i]), *text = json_is_object(v) ? json_object_get(v, "content") : v;
        if (json_is_string(text) && !json_object_get(context, special_names[i]))
            json_object_set(context, special_names[i], text);
    }
    json_decref(config);
    return 0;
}

static int folder_tokens(const char *folder, json_t *context)
{
    static const char *const files[] = {"tokenizer_config.json", "special_tokens_map.json"};
    char path[CHAT_PATH];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        TRY(path_join(path, sizeof path, folder, files[i]));
        TRY(add_tokens(path, context));
    }
    return 0;
}

/* Piece number `id` of the vocabulary. */
static int gguf_piece(const struct gguf *g, int64_t id, struct span *out)
{
    const struct gguf_value *tokens = NULL;
    size_t at = 0;
    TRY(gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STRING, &tokens));
    for (int64_t i = 0; tokens && gguf_next_string(tokens, &at, out); i++)
        if (i == id)
            return 0;
    return 1;
}

static int gguf_tokens(const struct gguf *g, json_t *context)
{
    static const struct { const char *name, *key; } rows[] = {
        {"bos_token", "tokenizer.ggml.bos_token_id"}, {"eos_token", "tokenizer.ggml.eos_token_id"},
        {"unk_token", "tokenizer.ggml.unknown_token_id"}, {"pad_token", "tokenizer.ggml.padding_token_id"}};
    struct span piece;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t id = -1;
        TRY(gguf_get_int(g, rows[i].key, 0, INT32_MAX, &id));
        if (id < 0 || json_object_get(context, rows[i].name))
            continue;
        int rc = gguf_piece(g, id, &piece);
        if (rc < 0)
            return rc;
        if (rc == 0)
            json_object_set_new(context, rows[i].name, json_stringn(piece.ptr, piece.len));
    }
    return 0;
}

int chat_special_tokens(const char *path, json_t *context)
{
    struct gguf *g;
    if (file_is_dir(path))
        return folder_tokens(path, context);
    if (!gguf_is_file(path))
        return 0;
    TRY(gguf_open(path, &g));
    int rc = gguf_tokens(g, context);
    gguf_close(g);
    return rc;
}
