/* Chat templates over the Jinja engine, and where a model's folder keeps them. */
/* SPDX-License-Identifier: MIT */
#include "text/chat.h"

#include <stdio.h>

#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "formats/json.h"
#include "text/jinja.h"

struct chat_template { struct jinja *jinja; };

int chat_template_parse(struct span text, const char *place, struct chat_template **out)
{
    struct chat_template *t = mem_calloc(MEM_TEXT, 1, sizeof *t);
    if (!t)
        return NUN_ENOMEM;
    int rc = jinja_parse(text, place, &t->jinja);
    if (rc < 0) {
        mem_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void chat_template_free(struct chat_template *t)
{
    if (t)
        jinja_free(t->jinja);
    mem_free(t);
}

int chat_render(const struct chat_template *t, const json_t *context, struct buf *out)
{
    return jinja_render(t->jinja, context, out);
}

/* ---- where templates are ------------------------------------------------------------------------------ */

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
    {"chat_template.json", true, from_json},
    {"chat_template.json", false, from_json},
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

int chat_template_find(const char *folder, const char *name, char place[CHAT_PATH], struct buf *text)
{
    const char *wanted = name ? name : "default";
    bool is_default = span_is(SPAN("default"), wanted);
    if (strchr(wanted, '/'))
        return err_set(NUN_EARG, "the name of a template: \"%s\" has a slash", wanted);
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

int chat_special_tokens(const char *folder, json_t *context)
{
    static const char *const files[] = {"tokenizer_config.json", "special_tokens_map.json"};
    char path[CHAT_PATH];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        TRY(path_join(path, sizeof path, folder, files[i]));
        TRY(add_tokens(path, context));
    }
    return 0;
}
