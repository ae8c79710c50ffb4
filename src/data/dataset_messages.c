/* OpenAI's format: {"messages": [{"role": ..., "content": text or parts}]}, system first, then user and assistant in
 * turn. Pictures are parts of type image_url whose url is a path in the data's folder, with or without "file:". */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "data/dataset_int.h"

/* Pictures of the sample as they come. */
struct pictures { const char **at; int n; };

static int add_picture(struct reader *r, const json_t *part, struct pictures *p)
{
    static const char *const known[] = {"type", "image_url", NULL}, *const inside[] = {"url", "detail", NULL};
    const json_t *image = json_object_get(part, "image_url"), *url = json_object_get(image, "url");
    TRY(data_check_keys(r, part, known));
    if (!json_is_object(image))
        return data_refuse(r, "image_url", "an object", image);
    TRY(data_check_keys(r, image, inside));
    if (!json_is_string(url))
        return data_refuse(r, "image_url.url", "a string", url);
    const char *text = json_string_value(url), *scheme = strstr(text, ":");
    if (!strncmp(text, "file:", 5))
        text += strncmp(text, "file://", 7) ? 5 : 7;
    else if (scheme && scheme < text + 8 && !strchr("/.", text[0]))
        return data_bad(r, NUN_EUNSUP, "image_url: expected a file of the data's folder, found \"%.32s\"", text);
    json_t *path = json_string(text);
    int rc = path ? data_image_path(r, path, &p->at[p->n]) : NUN_ENOMEM;
    json_decref(path);
    p->n += rc >= 0;
    return rc;
}

/* Parts to one text; pictures stand before it. */
static int join_parts(struct reader *r, const json_t *list, struct pictures *p, struct buf *text, int *images)
{
    static const char *const known[] = {"type", "text", NULL};
    const json_t *part;
    size_t i;
    json_array_foreach(list, i, part) {
        const char *type = json_string_value(json_object_get(part, "type"));
        if (type && !strcmp(type, "image_url")) {
            if (text->len)
                return data_bad(r, NUN_EUNSUP, "content: expected pictures before the text of a message, found one behind it");
            TRY(add_picture(r, part, p));
            ++*images;
        } else if (type && !strcmp(type, "text")) {
            const char *piece;
            TRY(data_check_keys(r, part, known));
            TRY(data_copy_string(r, "text", json_object_get(part, "text"), &piece));
            buf_str(text, piece);
        } else {
            return data_bad(r, NUN_EUNSUP, "content: expected parts of type text or image_url, found %s", type ? type : "none");
        }
    }
    return buf_error(text);
}

static int read_content(struct reader *r, const json_t *content, struct pictures *p, const char **out, int *images)
{
    struct buf text;
    *images = 0;
    if (!json_is_array(content))
        return data_copy_string(r, "content", content, out);
    buf_init(&text, MEM_DATA, LIMIT_OF(text_bytes));
    int rc = join_parts(r, content, p, &text, images);
    if (rc >= 0 && !(*out = arena_strndup(r->arena, text.len ? text.ptr : "", text.len)))
        rc = NUN_ENOMEM;
    buf_free(&text);
    return rc;
}

static int read_message(struct reader *r, const json_t *message, const char *role, struct pictures *p, const char **text, int *images)
{
    static const char *const known[] = {"role", "content", "weight", NULL};
    if (!json_is_object(message))
        return data_refuse(r, "messages", "objects", message);
    TRY(data_check_keys(r, message, known));
    const char *found = json_string_value(json_object_get(message, "role"));
    bool first = !strcmp(role, "system") && found && !strcmp(found, "developer");
    if (!found || (strcmp(found, role) && !first))
        return data_bad(r, NUN_EFORMAT, "role: expected \"%s\" here, found \"%s\"", role, found ? found : "");
    const json_t *weight = json_object_get(message, "weight");
    if (weight && json_number_value(weight) != 1)
        return data_bad(r, NUN_EUNSUP, "weight: expected 1, found %g", json_number_value(weight));
    TRY(read_content(r, json_object_get(message, "content"), p, text, images));
    if (strstr(*text, IMAGE_MARK)) /* which is a picture where this is written as LLaVA's format has it */
        return data_bad(r, NUN_EFORMAT, "content: expected no mark " IMAGE_MARK " in text, found one");
    return *images && strcmp(role, "user") ? data_bad(r, NUN_EFORMAT, "content: a picture of the %s", role) : 0;
}

static size_t count_parts(const json_t *list)
{
    const json_t *message;
    size_t i, n = 0;
    json_array_foreach(list, i, message)
        n += json_array_size(json_object_get(message, "content"));
    return n;
}

static int read_turns(struct reader *r, const json_t *list, struct pictures *p, struct data_sample *s)
{
    const char *first = json_string_value(json_object_get(json_array_get(list, 0), "role"));
    size_t n = json_array_size(list), at = 0;
    int images;
    if (first && (!strcmp(first, "system") || !strcmp(first, "developer")))
        TRY(read_message(r, json_array_get(list, at++), "system", p, &s->system, &images));
    size_t pairs = (n - at) / 2;
    if (n == at || (n - at) % 2)
        return data_bad(r, NUN_EFORMAT, "messages: expected pairs of user and assistant, found %zu", n - at);
    TRY(limit_check(LIMIT_sample_turns, pairs, r->path));
    struct data_turn *turn = arena_array(r->arena, pairs, sizeof *turn);
    if (!turn)
        return NUN_ENOMEM;
    for (size_t i = 0; i < pairs; i++, at += 2) {
        TRY(read_message(r, json_array_get(list, at), "user", p, &turn[i].question, &turn[i].images));
        TRY(read_message(r, json_array_get(list, at + 1), "assistant", p, &turn[i].answer, &images));
    }
    s->turn = turn;
    s->turns = (int)pairs;
    return 0;
}

int data_read_messages(struct reader *r, const json_t *obj, struct data_sample *s)
{
    static const char *const known[] = {"id", "messages", NULL};
    const json_t *list = json_object_get(obj, "messages"), *id = json_object_get(obj, "id");
    TRY(data_check_keys(r, obj, known));
    if (!json_is_array(list))
        return data_refuse(r, "messages", "a list", list);
    size_t parts = count_parts(list);
    struct pictures p = {arena_array(r->arena, parts + 1, sizeof *p.at), 0};
    s->id = id ? NULL : arena_printf(r->arena, "%zu", r->at);
    if (!p.at || (!id && !s->id))
        return NUN_ENOMEM;
    if (id)
        TRY(data_read_id(r, id, &s->id));
    TRY(read_turns(r, list, &p, s));
    TRY(limit_check(LIMIT_sample_images, (size_t)p.n, r->path));
    s->image = p.at;
    s->images = p.n;
    return 0;
}
