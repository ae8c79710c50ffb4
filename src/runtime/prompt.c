/* The template sees what was typed, as the reference does, and the whole text is tokenised at once. But
 * typed text must not become a special token or a picture. So the text is rendered a second time with a
 * mark in place of every typed piece, and marked pieces are tokenised apart, without special strings. If
 * both ways agree on the special tokens, nobody typed one, and the first stands. Else a third rendering has
 * only the special strings behind marks, so that templates that look into what was typed still can. */
/* SPDX-License-Identifier: MIT */
#include "runtime/prompt.h"

#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "models/sight.h"

/* ---- rendered text to ids ------------------------------------------------------------------ */

static int flush_template(const struct prompt *p, struct buf *text, unsigned flags, struct ids *out)
{
    TRY(buf_error(text));
    if (text->len)
        TRY(tokenizer_encode(p->m->tokenizer, buf_view(text), flags, out));
    buf_reset(text);
    return 0;
}

/* The next picture of the conversation, as the family spells it; the mark itself when there is none left. */
static int put_picture(struct prompt *p, struct span mark, struct buf *out)
{
    size_t i = p->found++;
    if (i < p->pictures)
        return picture_spell(p->m, p->picture[i], (int)i, (int)p->pictures, out);
    buf_span(out, mark);
    return buf_error(out);
}

/* Text that the template wrote: its places for pictures become them. */
static int put_template(struct prompt *p, struct span s, struct buf *out)
{
    struct span marks[2] = {prompt_mark_text(p->m, false), prompt_mark_text(p->m, true)};
    while (s.len) {
        size_t at = s.len, len = 0;
        for (int i = 0; i < 2; i++) {
            const char *found = marks[i].len ? memmem(s.ptr, at, marks[i].ptr, marks[i].len) : NULL;
            len = found ? marks[i].len : len;
            at = found ? (size_t)(found - s.ptr) : at;
        }
        buf_append(out, s.ptr, at);
        if (at < s.len)
            TRY(put_picture(p, span_of(s.ptr + at, len), out));
        s = span_from(s, at + len);
    }
    return buf_error(out);
}

/* Template text with special strings and pictures, marked text without. */
static int encode_pieces(struct prompt *p, struct span s, struct buf *text, struct ids *out)
{
    const struct prompt_piece *piece;
    unsigned flags = TOK_PARSE_SPECIAL;
    p->found = 0;
    while (s.len) {
        size_t len = 0, at = prompt_next_mark(p, s, &len, &piece);
        TRY(put_template(p, span_of(s.ptr, at), text));
        if (at < s.len && piece->picture)
            TRY(put_picture(p, prompt_mark_text(p->m, false), text));
        if (at < s.len && !piece->picture) {
            TRY(flush_template(p, text, flags, out));
            flags |= out->n ? TOK_GOES_ON : 0;
            TRY(tokenizer_encode(p->m->tokenizer, piece->text, flags & TOK_GOES_ON, out));
            flags |= out->n ? TOK_GOES_ON : 0;
        }
        s = span_from(s, at + len);
    }
    return flush_template(p, text, flags, out);
}

static int render_ids(struct prompt *p, enum prompt_marks marks, struct ids *out)
{
    struct buf rendered, text;
    buf_init(&rendered, MEM_RUNTIME, LIMIT_OF(text_bytes));
    buf_init(&text, MEM_RUNTIME, LIMIT_OF(text_bytes));
    int rc = prompt_render(p, marks, &rendered);
    if (rc >= 0)
        rc = encode_pieces(p, buf_view(&rendered), &text, out);
    buf_free(&text);
    buf_free(&rendered);
    return rc;
}

static bool special(const struct nun_model *m, int32_t id)
{
    return (id == m->model->facts.image_token && id >= 0) || tokenizer_is_special(m->tokenizer, id);
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

static int check_chat(const struct nun_model *m)
{
    if (m->chat.template && m->tokenizer)
        return 0;
    return err_set(NUN_EUNSUP, "%s: there is no %s in this folder", m->model->folder ? m->model->folder : "model",
                   m->tokenizer ? "chat template" : "tokenizer");
}

static void swap_ids(struct ids *a, struct ids *b)
{
    struct ids swap = *a;
    *a = *b;
    *b = swap;
}

/* Without the special strings in it alone, or else without any typed text. */
static int safe_ids(struct prompt *p, struct ids *whole, struct ids *out)
{
    struct ids escaped = {0};
    int rc = render_ids(p, PROMPT_ESCAPED, &escaped);
    if (rc >= 0)
        swap_ids(out, p->found == prompt_count(p->chat) && same_specials(p->m, &escaped, whole) ? &escaped : whole);
    ids_free(&escaped);
    return rc;
}

static int chat_ids(struct prompt *p, struct ids *out)
{
    struct ids whole = {0};
    size_t given = prompt_count(p->chat);
    int rc = render_ids(p, PROMPT_WHOLE, &whole);
    if (rc >= 0 && p->found != given)
        rc = err_set(NUN_EARG, "pictures: %zu given, but the chat template has places for %zu", given, p->found);
    if (rc >= 0)
        rc = render_ids(p, PROMPT_PLAIN, out);
    if (rc >= 0 && (p->found != given || !same_specials(p->m, out, &whole)))
        rc = safe_ids(p, &whole, out);
    ids_free(&whole);
    return rc;
}

/* The tokenizer's first token, unless the template wrote it; pictures may stand before it. */
static int open_sequence(const struct nun_model *m, struct ids *v)
{
    int32_t bos = tokenizer_role(m->tokenizer, TOK_BOS), image = m->model->facts.image_token;
    size_t first = 0;
    while (image >= 0 && first < v->n && v->at[first] == image)
        first++;
    if (bos < 0 || !tokenizer_adds_bos(m->tokenizer) || (first < v->n && v->at[first] == bos))
        return 0;
    TRY(ids_push(v, bos));
    memmove(v->at + 1, v->at, (v->n - 1) * sizeof *v->at);
    v->at[0] = bos;
    return 0;
}

size_t prompt_count(const struct nun_chat *chat)
{
    size_t n = 0;
    for (size_t i = 0; i < chat->n_messages; i++)
        for (size_t k = 0; k < chat->messages[i].n_parts; k++)
            n += chat->messages[i].parts[k].kind != NUN_PART_TEXT;
    return n;
}

static int load_picture(const struct nun_model *m, const struct nun_part *part, int together, struct picture **out)
{
    const char *place = part->kind == NUN_PART_IMAGE_BYTES ? "picture" : part->text ? part->text : "";
    struct span bytes = span_of(part->bytes, part->len);
    if (part->kind == NUN_PART_IMAGE_BYTES)
        return picture_make(m, &(struct picture_source){&bytes, &place, 1, 0, together, part->media}, out);
    if (part->kind == NUN_PART_IMAGE_FILE)
        return picture_from_files(m, &place, 1, 0, together, &part->media, out);
    if (!part->n_files || part->fps <= 0)
        return err_set(NUN_EARG, "video: %zu frames at %g a second", part->n_files, part->fps);
    return picture_from_files(m, part->files, (int)part->n_files, 1 / part->fps, together, &part->media, out);
}

static int load_pictures(struct prompt *p)
{
    const struct nun_chat *chat = p->chat;
    int together = (int)prompt_count(chat);
    if (!(p->picture = mem_calloc(MEM_RUNTIME, (size_t)together + 1, sizeof *p->picture)))
        return NUN_ENOMEM;
    for (size_t i = 0; i < chat->n_messages; i++)
        for (size_t k = 0; k < chat->messages[i].n_parts; k++) {
            if (chat->messages[i].parts[k].kind == NUN_PART_TEXT)
                continue;
            int rc = load_picture(p->m, &chat->messages[i].parts[k], together, &p->picture[p->pictures]);
            if (rc < 0)
                return err_at(rc, "message %zu", i);
            p->pictures++;
        }
    return 0;
}

int prompt_load(struct prompt *p)
{
    TRY(check_chat(p->m));
    return load_pictures(p);
}

/* All that was typed, in order. */
static int tell_pictures(struct prompt *p)
{
    struct buf text;
    int rc = 0;
    buf_init(&text, MEM_RUNTIME, LIMIT_OF(text_bytes));
    for (size_t i = 0; i < p->chat->n_messages; i++)
        for (size_t k = 0; k < p->chat->messages[i].n_parts; k++) {
            const struct nun_part *part = &p->chat->messages[i].parts[k];
            if (part->kind == NUN_PART_TEXT)
                buf_span(&text, part->len ? span_of(part->text, part->len) : span_str(part->text ? part->text : ""));
        }
    rc = buf_error(&text);
    for (size_t i = 0; i < p->pictures && rc >= 0; i++)
        rc = picture_tell(p->m, p->picture[i], buf_view(&text));
    buf_free(&text);
    return rc;
}

int prompt_ids(struct prompt *p, bool first, struct ids *out)
{
    TRY(chat_ids(p, out));
    return first ? open_sequence(p->m, out) : 0;
}

static int append_chat(struct nun_timeline *t, struct prompt *p)
{
    struct ids v = {0};
    int rc = prompt_load(p);
    if (rc >= 0 && p->m->told)
        rc = tell_pictures(p);
    if (rc >= 0)
        rc = prompt_ids(p, t->ids.n == 0, &v);
    if (rc >= 0) {
        rc = timeline_append(t, v.at, v.n, p->picture, p->pictures);
        p->pictures = 0; /* taken over */
    }
    ids_free(&v);
    return rc;
}

int nun_timeline_chat(struct nun_timeline *t, const struct nun_chat *chat)
{
    struct prompt p;
    prompt_init(&p, t->m, chat);
    int rc = append_chat(t, &p);
    prompt_free(&p);
    return rc;
}

/* ---- a prompt as it stands ----------------------------------------------------------------- */

/* Where the first mark of `s` is; s.len: there is none. */
static size_t find_mark(struct span s, struct span mark)
{
    const char *found = mark.len ? memmem(s.ptr, s.len, mark.ptr, mark.len) : NULL;
    return found ? (size_t)(found - s.ptr) : s.len;
}

static size_t count_marks(struct span s, struct span mark)
{
    size_t n = 0;
    for (size_t at; (at = find_mark(s, mark)) < s.len; n++)
        s = span_from(s, at + mark.len);
    return n;
}

static int marked_ids(struct prompt *p, struct span s, struct ids *out)
{
    struct span mark = prompt_mark_text(p->m, false);
    struct buf text;
    int rc = 0;
    buf_init(&text, MEM_RUNTIME, LIMIT_OF(text_bytes));
    while (s.len && rc >= 0) {
        size_t at = find_mark(s, mark);
        unsigned on = out->n ? TOK_GOES_ON : 0;
        rc = at ? tokenizer_encode(p->m->tokenizer, span_of(s.ptr, at), on, out) : 0;
        if (rc >= 0 && at < s.len)
            rc = put_picture(p, mark, &text);
        if (rc >= 0)
            rc = flush_template(p, &text, TOK_PARSE_SPECIAL | (out->n ? TOK_GOES_ON : 0u), out);
        s = span_from(s, at < s.len ? at + mark.len : at);
    }
    buf_free(&text);
    return rc;
}

static int append_marked(struct nun_timeline *t, struct prompt *p, struct span s)
{
    struct ids v = {0};
    int rc = load_pictures(p);
    for (size_t i = 0; p->m->told && i < p->pictures && rc >= 0; i++)
        rc = picture_tell(p->m, p->picture[i], s);
    if (rc >= 0)
        rc = marked_ids(p, s, &v);
    if (rc >= 0)
        rc = t->ids.n == 0 ? open_sequence(p->m, &v) : 0;
    if (rc >= 0) {
        rc = timeline_append(t, v.at, v.n, p->picture, p->pictures);
        p->pictures = 0; /* taken over */
    }
    ids_free(&v);
    return rc;
}

/* No marks: pictures first. */
static int append_before(struct nun_timeline *t, struct span s, const struct nun_part *pictures, size_t n)
{
    for (size_t i = 0; i < n; i++)
        TRY(pictures[i].kind == NUN_PART_IMAGE_FILE ? nun_timeline_image_file(t, pictures[i].text)
                                                    : nun_timeline_image_bytes(t, pictures[i].bytes, pictures[i].len));
    return nun_timeline_text(t, s.ptr, s.len, NUN_TEXT_ADD_SPECIAL);
}

int nun_timeline_marked(struct nun_timeline *t, const char *text, size_t len, const struct nun_part *pictures, size_t n)
{
    struct span s = span_of(text, len);
    size_t marks = count_marks(s, prompt_mark_text(t->m, false));
    const struct nun_message message = {.role = "user", .parts = pictures, .n_parts = n};
    const struct nun_chat chat = {.messages = &message, .n_messages = 1};
    struct prompt p;
    for (size_t i = 0; i < n; i++)
        if (pictures[i].kind != NUN_PART_IMAGE_FILE && pictures[i].kind != NUN_PART_IMAGE_BYTES)
            return err_set(NUN_EARG, "pictures: expected files or bytes, found part %zu of another kind", i);
    if (!marks || !t->m->tokenizer)
        return append_before(t, s, pictures, n);
    if (marks != n)
        return err_set(NUN_EARG, "pictures: %zu given, but the prompt has places for %zu", n, marks);
    prompt_init(&p, t->m, &chat);
    int rc = append_marked(t, &p, s);
    prompt_free(&p);
    return rc;
}

/* Marks of pictures become the placeholder's spelling. */
static int spell_out(const struct prompt *p, struct span s, struct buf *out)
{
    const struct prompt_piece *piece;
    while (s.len) {
        size_t len = 0, at = prompt_next_mark(p, s, &len, &piece);
        buf_append(out, s.ptr, at);
        if (at < s.len)
            buf_span(out, piece->picture ? prompt_mark_text(p->m, piece->picture->kind == NUN_PART_FRAME_FILES) : piece->text);
        s = span_from(s, at + len);
    }
    buf_append(out, "", 0);
    return buf_error(out);
}

int nun_chat_render(const struct nun_model *m, const struct nun_chat *chat, char **text, size_t *len)
{
    struct prompt p;
    struct buf raw, out;
    TRY(check_chat(m));
    prompt_init(&p, m, chat);
    buf_init(&raw, MEM_RUNTIME, LIMIT_OF(text_bytes));
    buf_init(&out, MEM_RUNTIME, LIMIT_OF(text_bytes));
    int rc = prompt_render(&p, PROMPT_PLAIN, &raw);
    if (rc >= 0)
        rc = spell_out(&p, buf_view(&raw), &out);
    if (rc >= 0) {
        if (len)
            *len = out.len;
        *text = out.ptr ? buf_take(&out) : mem_strdup(MEM_RUNTIME, "");
        rc = *text ? 0 : NUN_ENOMEM;
    }
    buf_free(&raw);
    buf_free(&out);
    prompt_free(&p);
    return rc;
}
