/* LLaVA's format: human and gpt in turn, pictures at the marks "<image>" of questions. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "data/dataset_int.h"

static int copy_optional(struct reader *r, const json_t *obj, const char *key, const char **out)
{
    const json_t *value = json_object_get(obj, key);
    return value && !json_is_null(value) ? data_copy_string(r, key, value, out) : 0;
}

static int read_images(struct reader *r, const json_t *obj, struct data_sample *s)
{
    json_t *value = json_object_get(obj, "image");
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value) && !json_is_array(value))
        return data_refuse(r, "image", "a path or a list of paths", value);
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    TRY(limit_check(LIMIT_sample_images, n, r->path));
    const char **image = arena_array(r->arena, n, sizeof *image);
    if (!image)
        return NUN_ENOMEM;
    for (size_t i = 0; i < n; i++)
        TRY(data_image_path(r, json_is_array(value) ? json_array_get(value, i) : value, &image[i]));
    s->image = image;
    s->images = (int)n;
    return 0;
}

/* Take the marks out of a question, and the line breaks that set them off. */
static int cut_marks(struct reader *r, struct data_turn *t)
{
    char *text = arena_strdup(r->arena, t->question);
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
        return data_bad(r, NUN_EFORMAT, "expected marks %s apart, found one within another", IMAGE_MARK);
    return 0;
}

static int read_message(struct reader *r, const json_t *message, const char *from, const char **value)
{
    static const char *const known[] = {"from", "value", "kind", "negative", "detail", NULL};
    if (!json_is_object(message))
        return data_refuse(r, "conversations", "objects", message);
    TRY(data_check_keys(r, message, known));
    const char *found = json_string_value(json_object_get(message, "from"));
    if (!found || strcmp(found, from))
        return data_bad(r, NUN_EFORMAT, "from: expected \"%s\" here, found \"%s\"", from,
                       found ? found : "");
    return data_copy_string(r, "value", json_object_get(message, "value"), value);
}

static int read_turns(struct reader *r, const json_t *list, struct data_sample *s)
{
    if (!json_is_array(list))
        return data_refuse(r, "conversations", "a list", list);
    size_t n = json_array_size(list), at = 0;
    const char *first = json_string_value(json_object_get(json_array_get(list, 0), "from"));
    if (first && !strcmp(first, "system"))
        TRY(read_message(r, json_array_get(list, at++), "system", &s->system));
    size_t pairs = (n - at) / 2;
    if (n == at || (n - at) % 2)
        return data_bad(r, NUN_EFORMAT, "conversations: expected pairs of human and gpt, found %zu", n - at);
    TRY(limit_check(LIMIT_sample_turns, pairs, r->path));
    struct data_turn *turn = arena_array(r->arena, pairs, sizeof *turn);
    if (!turn)
        return NUN_ENOMEM;
    int marks = 0;
    for (size_t i = 0; i < pairs; i++, at += 2) {
        const json_t *reply = json_array_get(list, at + 1);
        TRY(read_message(r, json_array_get(list, at), "human", &turn[i].question));
        TRY(read_message(r, reply, "gpt", &turn[i].answer));
        TRY(copy_optional(r, reply, "kind", &turn[i].kind));
        TRY(copy_optional(r, reply, "negative", &turn[i].negative));
        TRY(copy_optional(r, reply, "detail", &turn[i].detail));
        TRY(cut_marks(r, &turn[i]));
        marks += turn[i].images;
    }
    if (marks != s->images)
        return data_bad(r, NUN_EFORMAT, "expected %d marks %s for its pictures, found %d", s->images, IMAGE_MARK, marks);
    s->turn = turn;
    s->turns = (int)pairs;
    return 0;
}

int data_read_llava(struct reader *r, const json_t *obj, struct data_sample *s)
{
    static const char *const known[] = {"id", "image", "conversations", "source", "model", NULL};
    TRY(data_check_keys(r, obj, known));
    TRY(data_read_id(r, json_object_get(obj, "id"), &s->id));
    TRY(read_images(r, obj, s));
    return read_turns(r, json_object_get(obj, "conversations"), s);
}
