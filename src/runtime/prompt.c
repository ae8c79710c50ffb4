/* The template sees what was typed, as the reference does, and the whole text is tokenised at once. But
 * typed text must not become a special token or a picture. So the text is rendered a second time with a
 * mark in place of every typed piece, and marked pieces are tokenised apart, without special strings. If
 * both ways agree on the special tokens, nobody typed one, and the first stands; else the second does. */
/* SPDX-License-Identifier: MIT */
#include "runtime/prompt.h"

#include <string.h>

#include "base/err.h"
#include "base/limits.h"

const char prompt_plain_template[] =
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '<|user|>' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% elif message['role'] == 'assistant' %}{{ '<|assistant|>' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/* Marks are made of noncharacters (U+FDD0 .. U+FDDB), which no text for interchange holds. */
#define MARK_BEGIN "\xEF\xB7\x90"
#define MARK_END "\xEF\xB7\x91"
enum { MARK_BYTES = 3, MARK_DIGIT = 0x92 };

bool prompt_wants_parts(struct span text)
{
    static const char *const signs[] = {"'type'", "\"type\"", ".type"};
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
        if (memmem(text.ptr, text.len, signs[i], strlen(signs[i])))
            return true;
    return false;
}

/* One rendering: which pieces are behind marks. */
struct rendering {
    const struct nun_model *m;
    const struct nun_chat *chat;
    bool mark_text;
    const struct nun_part **marked; /* by number */
    size_t n_marked;
};

static struct span part_text(const struct nun_part *p)
{
    return p->len ? span_of(p->text, p->len) : span_str(p->text ? p->text : "");
}

static size_t count_parts(const struct nun_chat *chat)
{
    size_t n = 0;
    for (size_t i = 0; i < chat->n_messages; i++)
        n += chat->messages[i].n_parts;
    return n;
}

/* ---- the template's variables -------------------------------------------------------------- */

static void put_mark(struct rendering *r, const struct nun_part *p, struct buf *out)
{
    char digits[32];
    size_t n = 0, number = r->n_marked;
    r->marked[r->n_marked++] = p;
    do
        digits[n++] = (char)(number % 10);
    while (number /= 10);
    buf_str(out, MARK_BEGIN);
    while (n--) {
        char digit[MARK_BYTES] = {(char)0xEF, (char)0xB7, (char)(MARK_DIGIT + digits[n])};
        buf_append(out, digit, sizeof digit);
    }
    buf_str(out, MARK_END);
}

static void put_part(struct rendering *r, const struct nun_part *p, struct buf *out)
{
    if (p->kind != NUN_PART_TEXT || r->mark_text)
        put_mark(r, p, out);
    else
        buf_span(out, part_text(p));
}

/* [{"type": "image"}, {"type": "text", "text": ...}] */
static int content_parts(struct rendering *r, const struct nun_message *msg, struct buf *work, json_t *list)
{
    for (size_t i = 0; i < msg->n_parts; i++) {
        const struct nun_part *p = &msg->parts[i];
        json_t *one = json_object();
        if (p->kind == NUN_PART_TEXT) {
            buf_reset(work);
            put_part(r, p, work);
            TRY(buf_error(work));
            json_object_set_new(one, "type", json_string("text"));
            json_object_set_new(one, "text", json_stringn(buf_cstr(work), work->len));
        } else {
            json_object_set_new(one, "type", json_string("image"));
        }
        json_array_append_new(list, one);
    }
    return 0;
}

static int content_string(struct rendering *r, const struct nun_message *msg, struct buf *work)
{
    buf_reset(work);
    for (size_t i = 0; i < msg->n_parts; i++)
        put_part(r, &msg->parts[i], work);
    return buf_error(work);
}

static int merge_json(json_t *into, const char *text, const char *place)
{
    json_t *more;
    if (!text)
        return 0;
    TRY(json_parse_span(span_str(text), place, &more));
    int rc = json_is_object(more) ? 0 : err_set(NUN_EARG, "%s: expected a JSON object", place);
    if (rc >= 0)
        json_object_update(into, more);
    json_decref(more);
    return rc;
}

static int message_json(struct rendering *r, const struct nun_message *msg, struct buf *work, json_t *out)
{
    json_object_set_new(out, "role", json_string(msg->role ? msg->role : "user"));
    if (r->m->chat_parts) {
        json_t *list = json_array();
        json_object_set_new(out, "content", list);
        TRY(content_parts(r, msg, work, list));
    } else {
        TRY(content_string(r, msg, work));
        json_object_set_new(out, "content", json_stringn(buf_cstr(work), work->len));
    }
    return merge_json(out, msg->more_json, "message");
}

static void special_variables(const struct nun_model *m, json_t *context)
{
    static const struct { const char *name; enum tok_role role; } rows[] = {
        {"bos_token", TOK_BOS}, {"eos_token", TOK_EOS}, {"pad_token", TOK_PAD}, {"unk_token", TOK_UNK}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct span piece = {0};
        int32_t id = m->tokenizer ? tokenizer_role(m->tokenizer, rows[i].role) : -1;
        if (id >= 0)
            piece = tokenizer_token(m->tokenizer, id);
        if (piece.ptr)
            json_object_set_new(context, rows[i].name, json_stringn(piece.ptr, piece.len));
    }
}

static int fill_context(struct rendering *r, struct buf *work, json_t *context)
{
    json_t *messages = json_array(), *tools = NULL;
    json_object_set_new(context, "messages", messages);
    for (size_t i = 0; i < r->chat->n_messages; i++) {
        json_t *one = json_object();
        json_array_append_new(messages, one);
        TRY(message_json(r, &r->chat->messages[i], work, one));
    }
    if (r->chat->tools_json)
        TRY(json_parse_span(span_str(r->chat->tools_json), "tools", &tools));
    json_object_set_new(context, "tools", tools ? tools : json_null());
    json_object_set_new(context, "documents", json_null());
    json_object_set_new(context, "add_generation_prompt", json_boolean(!r->chat->no_generation_prompt));
    special_variables(r->m, context);
    return merge_json(context, r->chat->more_json, "chat");
}

static int render(struct rendering *r, struct buf *out)
{
    struct buf work;
    json_t *context = json_object();
    if (!context)
        return err_nomem(0);
    buf_init(&work, MEM_RUNTIME, LIMIT_OF(text_bytes));
    r->n_marked = 0;
    unsigned mark = json_mark();
    int rc = fill_context(r, &work, context);
    if (rc >= 0)
        rc = json_check(mark);
    if (rc >= 0)
        rc = chat_render(r->m->chat, context, out);
    if (rc >= 0)
        rc = buf_error(out);
    buf_free(&work);
    json_decref(context);
    return rc;
}

/* ---- rendered text to ids ------------------------------------------------------------------ */

/* The part of the mark at the front of `s`, and how long the mark is; NULL when there is none. */
static const struct nun_part *read_mark(const struct rendering *r, struct span s, size_t *len)
{
    size_t number = 0, at = MARK_BYTES, digits = 0;
    if (!span_starts(s, SPAN(MARK_BEGIN)))
        return NULL;
    for (; at + MARK_BYTES <= s.len && digits < 9; at += MARK_BYTES, digits++) {
        unsigned digit = (unsigned char)s.ptr[at + 2] - (unsigned)MARK_DIGIT;
        if (span_starts(span_from(s, at), SPAN(MARK_END))) {
            *len = at + MARK_BYTES;
            return digits && number < r->n_marked ? r->marked[number] : NULL;
        }
        if (digit > 9 || memcmp(s.ptr + at, MARK_BEGIN, 2) != 0)
            return NULL;
        number = number * 10 + digit;
    }
    return NULL;
}

static struct span image_piece(const struct nun_model *m)
{
    int32_t id = m->model->facts.image_token;
    return id >= 0 && m->tokenizer ? tokenizer_token(m->tokenizer, id) : (struct span){0};
}

static int flush_template(const struct rendering *r, struct buf *text, struct ids *out)
{
    TRY(buf_error(text));
    if (text->len)
        TRY(tokenizer_encode(r->m->tokenizer, buf_view(text), TOK_PARSE_SPECIAL, out));
    buf_reset(text);
    return 0;
}

/* Template text with special strings, marked text without, marked pictures as the placeholder. */
static int encode_pieces(const struct rendering *r, struct span s, struct buf *text, struct ids *out)
{
    while (s.len) {
        const char *next = memmem(s.ptr, s.len, MARK_BEGIN, MARK_BYTES);
        size_t plain = next ? (size_t)(next - s.ptr) : s.len, len = MARK_BYTES;
        buf_append(text, s.ptr, plain);
        s = span_from(s, plain);
        if (!s.len)
            break;
        const struct nun_part *p = read_mark(r, s, &len);
        if (p && p->kind == NUN_PART_TEXT) {
            TRY(flush_template(r, text, out));
            TRY(tokenizer_encode(r->m->tokenizer, part_text(p), 0, out));
        } else if (p) {
            buf_span(text, image_piece(r->m));
        } else {
            buf_append(text, s.ptr, len);
        }
        s = span_from(s, len);
    }
    return flush_template(r, text, out);
}

static int encode_rendered(const struct rendering *r, struct span s, struct ids *out)
{
    struct buf text;
    buf_init(&text, MEM_RUNTIME, LIMIT_OF(text_bytes));
    int rc = encode_pieces(r, s, &text, out);
    buf_free(&text);
    return rc;
}

static int render_ids(struct rendering *r, struct ids *out)
{
    struct buf text;
    buf_init(&text, MEM_RUNTIME, LIMIT_OF(text_bytes));
    int rc = render(r, &text);
    if (rc >= 0)
        rc = encode_rendered(r, buf_view(&text), out);
    buf_free(&text);
    return rc;
}

static bool special(const struct nun_model *m, int32_t id)
{
    return id == m->model->facts.image_token || tokenizer_is_special(m->tokenizer, id);
}

static bool same_specials(const struct nun_model *m, const struct ids *a, const struct ids *b)
{
    size_t i = 0, k = 0;
    for (;; i++, k++) {
        while (i < a->n && !special(m, a->at[i]))
            i++;
        while (k < b->n && !special(m, b->at[k]))
            k++;
        if (i == a->n || k == b->n)
            return i == a->n && k == b->n;
        if (a->at[i] != b->at[k])
            return false;
    }
}

/* ---- a conversation ------------------------------------------------------------------------ */

static int check_chat(const struct nun_model *m, const struct nun_chat *chat)
{
    if (!m->chat || !m->tokenizer)
        return err_set(NUN_EUNSUP, "chat: this model's folder has no %s", m->tokenizer ? "chat template" : "tokenizer");
    for (size_t i = 0; i < chat->n_messages; i++)
        for (size_t k = 0; k < chat->messages[i].n_parts; k++) {
            const struct nun_part *p = &chat->messages[i].parts[k];
            struct span s = p->kind == NUN_PART_TEXT ? part_text(p) : (struct span){0};
            if (s.len && memmem(s.ptr, s.len, MARK_BEGIN, MARK_BYTES))
                return err_set(NUN_EARG, "message %zu: the noncharacter U+FDD0 is not text", i);
        }
    return 0;
}

static int chat_ids(struct rendering *r, struct ids *out)
{
    struct ids marked = {0};
    r->mark_text = true;
    int rc = render_ids(r, &marked);
    r->mark_text = false;
    if (rc >= 0)
        rc = render_ids(r, out);
    if (rc >= 0 && !same_specials(r->m, out, &marked)) {
        ids_free(out);
        *out = marked;
        marked = (struct ids){0};
    }
    ids_free(&marked);
    return rc;
}

/* The tokenizer's first token, unless the template wrote it. */
static int open_sequence(const struct nun_timeline *t, struct ids *v)
{
    int32_t bos = tokenizer_role(t->m->tokenizer, TOK_BOS);
    if (t->ids.n || bos < 0 || !tokenizer_adds_bos(t->m->tokenizer) || (v->n && v->at[0] == bos))
        return 0;
    TRY(ids_push(v, bos));
    memmove(v->at + 1, v->at, (v->n - 1) * sizeof *v->at);
    v->at[0] = bos;
    return 0;
}

static int load_pictures(const struct nun_model *m, const struct nun_chat *chat, struct picture **out, size_t *n)
{
    for (size_t i = 0; i < chat->n_messages; i++)
        for (size_t k = 0; k < chat->messages[i].n_parts; k++) {
            const struct nun_part *p = &chat->messages[i].parts[k];
            if (p->kind == NUN_PART_TEXT)
                continue;
            int rc = p->kind == NUN_PART_IMAGE_FILE ? picture_from_file(m, p->text ? p->text : "", &out[*n])
                                                    : picture_from_bytes(m, span_of(p->bytes, p->len), "picture", &out[*n]);
            if (rc < 0)
                return err_at(rc, "message %zu", i);
            ++*n;
        }
    return 0;
}

static int append_chat(struct nun_timeline *t, struct rendering *r, struct picture **pictures)
{
    struct ids v = {0};
    size_t n = 0;
    int rc = chat_ids(r, &v);
    if (rc >= 0)
        rc = open_sequence(t, &v);
    if (rc >= 0)
        rc = load_pictures(t->m, r->chat, pictures, &n);
    if (rc >= 0) {
        rc = timeline_append(t, v.at, v.n, pictures, n, true);
        n = 0; /* taken over */
    }
    while (n)
        picture_drop(pictures[--n]);
    ids_free(&v);
    return rc;
}

int nun_timeline_chat(struct nun_timeline *t, const struct nun_chat *chat)
{
    TRY(check_chat(t->m, chat));
    size_t parts = count_parts(chat) + 1;
    struct rendering r = {.m = t->m, .chat = chat};
    struct picture **pictures = mem_calloc(MEM_RUNTIME, parts, sizeof *pictures);
    r.marked = mem_calloc(MEM_RUNTIME, parts, sizeof *r.marked);
    int rc = pictures && r.marked ? append_chat(t, &r, pictures) : NUN_ENOMEM;
    mem_free(pictures);
    mem_free((void *)(uintptr_t)r.marked);
    return rc;
}

/* Marks of pictures become the placeholder's spelling. */
static void spell_out(const struct rendering *r, struct span s, struct buf *out)
{
    while (s.len) {
        size_t len = 1;
        const struct nun_part *p = read_mark(r, s, &len);
        if (p)
            buf_span(out, image_piece(r->m));
        else
            buf_append(out, s.ptr, len = 1);
        s = span_from(s, len);
    }
}

int nun_chat_render(const struct nun_model *m, const struct nun_chat *chat, char **text, size_t *len)
{
    TRY(check_chat(m, chat));
    struct rendering r = {.m = m, .chat = chat};
    struct buf raw, out;
    buf_init(&raw, MEM_RUNTIME, LIMIT_OF(text_bytes));
    buf_init(&out, MEM_RUNTIME, LIMIT_OF(text_bytes));
    r.marked = mem_calloc(MEM_RUNTIME, count_parts(chat) + 1, sizeof *r.marked);
    int rc = r.marked ? render(&r, &raw) : NUN_ENOMEM;
    if (rc >= 0) {
        spell_out(&r, buf_view(&raw), &out);
        buf_append(&out, "", 0);
        rc = buf_error(&out);
    }
    if (rc >= 0) {
        if (len)
            *len = out.len;
        *text = out.ptr ? buf_take(&out) : mem_strdup(MEM_RUNTIME, "");
        rc = *text ? 0 : NUN_ENOMEM;
    }
    buf_free(&raw);
    buf_free(&out);
    mem_free((void *)(uintptr_t)r.marked);
    return rc;
}
