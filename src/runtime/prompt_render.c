/* A conversation rendered by the model's chat template. Where asked, what was typed stands behind marks:
 * numbered noncharacters that the template passes through and that no text for interchange holds. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "formats/json.h"
#include "models/sight.h"
#include "runtime/prompt.h"

const char prompt_plain_template[] =
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '<|user|>' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% elif message['role'] == 'assistant' %}{{ '<|assistant|>' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/* Of LLaVA 1.5, whose old files have none: arXiv:2310.03744 on Vicuna's form of a conversation. */
const char prompt_llava_template[] =
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'] | upper }}: {% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>\n' }}{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}";

int prompt_guess_takes(struct span text)
{
    static const char *const signs[] = {"'type'", "\"type\"", ".type"};
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
        if (memmem(text.ptr, text.len, signs[i], strlen(signs[i])))
            return CHAT_TAKES_PARTS;
    return CHAT_TAKES_STRING;
}

void prompt_init(struct prompt *p, const struct nun_model *m, const struct nun_chat *chat)
{
    *p = (struct prompt){.m = m, .chat = chat};
    arena_init(&p->arena, MEM_RUNTIME, LIMIT_OF(text_bytes));
}

void prompt_free(struct prompt *p)
{
    while (p->pictures)
        picture_drop(p->picture[--p->pictures]);
    mem_free(p->picture);
    mem_free(p->piece);
    arena_free(&p->arena);
    p->piece = NULL;
    p->picture = NULL;
    p->n = p->cap = 0;
}

struct span prompt_token_text(const struct nun_model *m, int32_t id)
{
    return id >= 0 && m->tokenizer ? tokenizer_token(m->tokenizer, id) : (struct span){0};
}

struct span prompt_mark_text(const struct nun_model *m, bool video)
{
    const struct sight_row *row = m->model->family->sight;
    const char *mark = !row ? NULL : video ? row->video_mark : row->mark;
    int32_t id = video ? m->model->facts.video_token : m->model->facts.image_token;
    if (mark)
        return span_str(mark);
    return row && (!video || id > 0) ? prompt_token_text(m, id) : (struct span){0};
}

/* ---- marks ------------------------------------------------------------------------------------- */

/* U+FDD0, decimal digits as U+FDD2 .. U+FDDB, U+FDD1. */
#define MARK_BEGIN "\xEF\xB7\x90"
#define MARK_END "\xEF\xB7\x91"
enum { MARK_BYTES = 3, MARK_DIGIT = 0x92, MARK_DIGITS = 9 };

static int put_mark(struct prompt *p, struct prompt_piece piece, struct buf *out)
{
    char digits[32];
    size_t n = 0, number = p->n;
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 16;
        struct prompt_piece *more = mem_realloc(MEM_RUNTIME, p->piece, cap * sizeof *more);
        if (!more)
            return NUN_ENOMEM;
        p->piece = more;
        p->cap = cap;
    }
    p->piece[p->n++] = piece;
    do
        digits[n++] = (char)(number % 10);
    while (number /= 10);
    buf_str(out, MARK_BEGIN);
    while (n--) {
        char digit[MARK_BYTES] = {(char)0xEF, (char)0xB7, (char)(MARK_DIGIT + digits[n])};
        buf_append(out, digit, sizeof digit);
    }
    buf_str(out, MARK_END);
    return buf_error(out);
}

/* The piece of the mark at the front of `s`, and how long the mark is; NULL when there is none. */
static const struct prompt_piece *read_mark(const struct prompt *p, struct span s, size_t *len)
{
    size_t number = 0, at = MARK_BYTES, digits = 0;
    for (; at + MARK_BYTES <= s.len && digits <= MARK_DIGITS; at += MARK_BYTES, digits++) {
        unsigned digit = (unsigned char)s.ptr[at + 2] - (unsigned)MARK_DIGIT;
        if (span_starts(span_from(s, at), SPAN(MARK_END))) {
            *len = at + MARK_BYTES;
            return digits && number < p->n ? &p->piece[number] : NULL;
        }
        if (digit > 9 || memcmp(s.ptr + at, MARK_BEGIN, 2) != 0)
            return NULL;
        number = number * 10 + digit;
    }
    return NULL;
}

size_t prompt_next_mark(const struct prompt *p, struct span s, size_t *len, const struct prompt_piece **out)
{
    for (size_t at = 0; at < s.len; at += MARK_BYTES) {
        const char *next = memmem(s.ptr + at, s.len - at, MARK_BEGIN, MARK_BYTES);
        if (!next)
            break;
        at = (size_t)(next - s.ptr);
        if ((*out = read_mark(p, span_from(s, at), len)))
            return at;
    }
    return s.len;
}

static int check_typed(struct span s)
{
    if (s.len && memmem(s.ptr, s.len, MARK_BEGIN, MARK_BYTES))
        return err_set(NUN_EARG, "the noncharacter U+FDD0 is not text");
    return 0;
}

/* The first string of `s` that must not become a special token or a picture. */
static size_t find_special(const struct prompt *p, struct span s, size_t *len)
{
    size_t at = tokenizer_find_special(p->m->tokenizer, s, len);
    for (int video = 0; video < 2; video++) {
        struct span mark = prompt_mark_text(p->m, video);
        const char *found = mark.len ? memmem(s.ptr, at, mark.ptr, mark.len) : NULL;
        if (!found)
            continue;
        *len = mark.len;
        at = (size_t)(found - s.ptr);
    }
    return at;
}

static int put_typed(struct prompt *p, struct span s, struct buf *out)
{
    TRY(check_typed(s));
    while (p->marks != PROMPT_PLAIN && s.len) {
        size_t len = 0, at = find_special(p, s, &len);
        buf_append(out, s.ptr, at);
        if (at < s.len) {
            char *copy = arena_strndup(&p->arena, s.ptr + at, len);
            if (!copy)
                return NUN_ENOMEM;
            TRY(put_mark(p, (struct prompt_piece){.text = span_of(copy, len)}, out));
        }
        s = span_from(s, at + len);
    }
    buf_span(out, s);
    return buf_error(out);
}

/* ---- values that were typed ---------------------------------------------------------------------- */

static int typed_string(struct prompt *p, struct span s, json_t **out)
{
    struct buf work;
    buf_init(&work, MEM_RUNTIME, LIMIT_OF(text_bytes));
    int rc = put_typed(p, s, &work);
    if (rc >= 0)
        *out = json_stringn(buf_cstr(&work), work.len);
    buf_free(&work);
    return rc < 0 ? rc : *out ? 0 : err_nomem(s.len);
}

static int typed_json(struct prompt *p, const json_t *v, size_t depth, json_t **out);

static int typed_member(struct prompt *p, const char *key, const json_t *v, size_t depth, json_t *object)
{
    json_t *name = NULL, *one = NULL;
    int rc = typed_string(p, span_str(key), &name);
    if (rc >= 0)
        rc = typed_json(p, v, depth, &one);
    if (rc >= 0 && json_object_set_new(object, json_string_value(name), one))
        rc = err_nomem(0);
    json_decref(name);
    return rc;
}

static int typed_items(struct prompt *p, const json_t *v, size_t depth, json_t *made)
{
    const char *key;
    json_t *item, *one;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)v, key, item)
        TRY(typed_member(p, key, item, depth, made));
    json_array_foreach(v, i, item) {
        TRY(typed_json(p, item, depth, &one));
        if (json_array_append_new(made, one))
            return err_nomem(0);
    }
    return 0;
}

/* The same value with every string put as typed. The parser has bounded the depth, and so do we. */
static int typed_json(struct prompt *p, const json_t *v, size_t depth, json_t **out)
{
    TRY(limit_check(LIMIT_json_depth, depth, "a value for the template"));
    if (json_is_string(v))
        return typed_string(p, span_of(json_string_value(v), json_string_length(v)), out);
    if (!json_is_object(v) && !json_is_array(v)) {
        *out = json_incref((json_t *)(uintptr_t)v);
        return 0;
    }
    json_t *made = json_is_object(v) ? json_object() : json_array();
    int rc = made ? typed_items(p, v, depth + 1, made) : err_nomem(0);
    if (rc < 0)
        json_decref(made);
    else
        *out = made;
    return rc;
}

static int typed_text(struct prompt *p, const char *text, const char *place, json_t **out)
{
    json_t *parsed;
    TRY(json_parse_span(span_str(text), place, &parsed));
    int rc = typed_json(p, parsed, 0, out);
    json_decref(parsed);
    return rc < 0 ? err_at(rc, "%s", place) : 0;
}

/* Further keys, which win over those that are there. */
static int merge_typed(struct prompt *p, const char *text, const char *place, json_t *into)
{
    json_t *more;
    if (!text)
        return 0;
    TRY(typed_text(p, text, place, &more));
    int rc = json_is_object(more) ? 0 : err_set(NUN_EARG, "%s: expected a JSON object", place);
    if (rc >= 0 && json_object_update(into, more))
        rc = err_nomem(0);
    json_decref(more);
    return rc;
}

/* ---- messages -------------------------------------------------------------------------------------- */

static struct span part_text(const struct nun_part *part)
{
    return part->len ? span_of(part->text, part->len) : span_str(part->text ? part->text : "");
}

static int put_part(struct prompt *p, const struct nun_part *part, struct buf *out)
{
    if (part->kind != NUN_PART_TEXT)
        return put_mark(p, (struct prompt_piece){.picture = part}, out);
    if (p->marks != PROMPT_WHOLE)
        return put_typed(p, part_text(part), out);
    TRY(check_typed(part_text(part)));
    return put_mark(p, (struct prompt_piece){.text = part_text(part)}, out);
}

/* Does a line end, or another space, stand behind part i? */
static bool goes_apart(const struct nun_message *msg, size_t i)
{
    struct span next = i + 1 < msg->n_parts && msg->parts[i + 1].kind == NUN_PART_TEXT ? part_text(&msg->parts[i + 1]) : (struct span){0};
    return next.len && strchr(" \t\r\n", *next.ptr);
}

/* One string: pictures are where their parts stand, on a line of their own unless the text says otherwise. */
static int content_string(struct prompt *p, const struct nun_message *msg, json_t **out)
{
    struct buf work;
    int rc = 0;
    buf_init(&work, MEM_RUNTIME, LIMIT_OF(text_bytes));
    for (size_t i = 0; i < msg->n_parts && rc >= 0; i++) {
        rc = put_part(p, &msg->parts[i], &work);
        if (msg->parts[i].kind != NUN_PART_TEXT && !goes_apart(msg, i))
            buf_char(&work, '\n');
    }
    if (rc >= 0)
        rc = buf_error(&work);
    if (rc >= 0)
        *out = json_stringn(buf_cstr(&work), work.len);
    buf_free(&work);
    return rc < 0 ? rc : *out ? 0 : err_nomem(0);
}

/* {"type": "image"} or {"type": "text", "text": ...} */
static int content_part(struct prompt *p, const struct nun_part *part, json_t **out)
{
    struct nun_message alone = {.parts = part, .n_parts = 1};
    json_t *text = NULL;
    if (part->kind == NUN_PART_TEXT)
        TRY(content_string(p, &alone, &text));
    *out = text ? json_pack("{s:s, s:o}", "type", "text", "text", text)
                : json_pack("{s:s}", "type", part->kind == NUN_PART_FRAME_FILES ? "video" : "image");
    return *out ? 0 : err_nomem(0);
}

static int content_list(struct prompt *p, const struct nun_message *msg, json_t **out)
{
    json_t *list = json_array(), *one;
    int rc = list ? 0 : err_nomem(0);
    for (size_t i = 0; i < msg->n_parts && rc >= 0; i++) {
        rc = content_part(p, &msg->parts[i], &one);
        if (rc >= 0 && json_array_append_new(list, one))
            rc = err_nomem(0);
    }
    if (rc < 0)
        json_decref(list);
    else
        *out = list;
    return rc;
}

static bool has_picture(const struct nun_message *msg)
{
    for (size_t i = 0; i < msg->n_parts; i++)
        if (msg->parts[i].kind != NUN_PART_TEXT)
            return true;
    return false;
}

static bool has_video(const struct nun_chat *chat)
{
    for (size_t i = 0; i < chat->n_messages; i++)
        for (size_t k = 0; k < chat->messages[i].n_parts; k++)
            if (chat->messages[i].parts[k].kind == NUN_PART_FRAME_FILES)
                return true;
    return false;
}

/* The template in use: a model may have one of its own for tools, or for videos. */
static const struct engine_chat *chat_of(const struct prompt *p)
{
    if (p->m->video_chat.template && has_video(p->chat))
        return &p->m->video_chat;
    return p->chat->tools_json && p->m->tool_chat.template ? &p->m->tool_chat : &p->m->chat;
}

/* A list where there are pictures or nothing else is taken: a string is what templates of text know best. */
static bool as_list(const struct prompt *p, const struct nun_message *msg)
{
    int takes = chat_of(p)->takes;
    return (takes & CHAT_TAKES_PARTS) && (!(takes & CHAT_TAKES_STRING) || has_picture(msg));
}

static int fill_message(struct prompt *p, const struct nun_message *msg, json_t *out)
{
    json_t *role, *content;
    TRY(typed_string(p, span_str(msg->role ? msg->role : "user"), &role));
    if (json_object_set_new(out, "role", role))
        return err_nomem(0);
    TRY(as_list(p, msg) ? content_list(p, msg, &content) : content_string(p, msg, &content));
    if (json_object_set_new(out, "content", content))
        return err_nomem(0);
    return merge_typed(p, msg->more_json, "message", out);
}

static int fill_messages(struct prompt *p, json_t *list)
{
    for (size_t i = 0; i < p->chat->n_messages; i++) {
        json_t *one = json_object();
        if (!one || json_array_append_new(list, one))
            return err_nomem(0);
        int rc = fill_message(p, &p->chat->messages[i], one);
        if (rc < 0)
            return err_at(rc, "message %zu", i);
    }
    return 0;
}

/* ---- the template's variables ------------------------------------------------------------------------ */

static int fill_context(struct prompt *p, json_t *context)
{
    json_t *messages = json_array(), *tools = NULL;
    if (!messages || json_object_set_new(context, "messages", messages))
        return err_nomem(0);
    TRY(fill_messages(p, messages));
    if (p->chat->tools_json)
        TRY(typed_text(p, p->chat->tools_json, "tools", &tools));
    unsigned mark = json_mark();
    json_object_set_new(context, "tools", tools ? tools : json_null());
    json_object_set_new(context, "documents", json_null());
    json_object_set_new(context, "add_generation_prompt", json_boolean(!p->chat->no_generation_prompt));
    if (p->m->specials)
        json_object_update(context, p->m->specials);
    TRY(json_check(mark));
    return merge_typed(p, p->chat->more_json, "chat", context);
}

int prompt_render(struct prompt *p, enum prompt_marks marks, struct buf *out)
{
    json_t *context = json_object();
    if (!context)
        return err_nomem(0);
    p->marks = marks;
    p->n = 0;
    int rc = fill_context(p, context);
    if (rc >= 0)
        rc = chat_render(chat_of(p)->template, context, out);
    if (rc >= 0)
        rc = buf_error(out);
    json_decref(context);
    return rc;
}
