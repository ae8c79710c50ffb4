/* Ids to text, all at once or as a stream that never gives half a character. The decoders themselves are rows of
 * tok_decoder.c. */
/* SPDX-License-Identifier: MIT */
#include "text/tok_int.h"

/* ---- ids to text ---- */

static bool gives_text(const struct tokenizer *t, int32_t id, unsigned flags)
{
    return tokenizer_token(t, id).ptr && !((flags & TOK_SKIP_SPECIAL) && t->vocab[id].special);
}

static int gather(const struct tokenizer *t, const int32_t *ids, size_t n, unsigned flags, struct tok_pieces *out)
{
    TRY(tok_pieces_reserve(out, n));
    for (size_t i = 0; i < n; i++)
        if (gives_text(t, ids[i], flags))
            TRY(tok_pieces_push(out, (struct tok_piece){tokenizer_token(t, ids[i]), ids[i], false}));
    return 0;
}

static int decode_pieces(const struct tokenizer *t, struct tok_work *w)
{
    for (size_t i = 0; i < t->decoder.n; i++) {
        TRY(t->decoder.at[i].row->run.decode(&t->decoder.at[i], w));
        tok_swap_pieces(w);
    }
    return 0;
}

int tok_decode_raw(struct tok_work *w, const int32_t *ids, size_t n, struct buf *out)
{
    tok_work_again(w);
    TRY(gather(w->t, ids, n, w->flags, &w->now));
    TRY(decode_pieces(w->t, w));
    for (size_t i = 0; i < w->now.n; i++) {
        if (i && !w->t->decoder.n)
            buf_char(out, ' '); /* words of a model without a decoder */
        buf_span(out, w->now.at[i].text);
    }
    return buf_error(out);
}

/* How many bytes one U+FFFD stands for: the longest start of a character, at least one byte. */
static size_t broken_bytes(struct span s)
{
    size_t n = s.len < 4 ? s.len : 4;
    for (; n > 1; n--)
        if (utf8_incomplete_tail(s.ptr, n) == n)
            return n;
    return 1;
}

void tok_append_lossy(struct buf *out, struct span s)
{
    while (s.len) {
        uint32_t cp;
        size_t n = 0;
        while (n < s.len) {
            size_t len = utf8_decode(s.ptr + n, s.len - n, &cp);
            if (!len)
                break;
            n += len;
        }
        buf_append(out, s.ptr, n);
        s = span_from(s, n);
        if (s.len) {
            buf_str(out, "\xef\xbf\xbd");
            s = span_from(s, broken_bytes(s));
        }
    }
}

/* Bytes that end with a whole character, as text, cleaned up where the tokenizer does that. */
static int append_text(struct tok_work *w, struct tok_cleaner *cleaner, struct span bytes, bool last, struct buf *out)
{
    if (!w->t->clean_up) {
        tok_append_lossy(out, bytes);
        return buf_error(out);
    }
    buf_reset(&w->joined);
    tok_append_lossy(&w->joined, bytes);
    TRY(buf_error(&w->joined));
    return tok_clean(cleaner, buf_view(&w->joined), last, out);
}

int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, unsigned flags, struct buf *out)
{
    struct buf raw;
    struct tok_work w;
    struct tok_cleaner cleaner = {0};
    TRY(tok_work_begin(&w, t, flags));
    buf_init(&raw, MEM_TEXT, LIMIT_OF(text_bytes));
    int rc = tok_decode_raw(&w, ids, n, &raw);
    if (rc == 0)
        rc = append_text(&w, &cleaner, buf_view(&raw), true, out);
    buf_free(&raw);
    tok_work_end(&w);
    return rc;
}

/* ---- streams ---- */

/* Decoders look at neighbours (a leading blank goes, a word's end becomes a blank), so a new id is decoded
 * together with a few before it. */
enum { WINDOW = 16 };

struct tok_stream {
    const struct tokenizer *t;
    unsigned flags;
    struct ids ids;
    size_t out; /* bytes of the window's text that were given out */
    struct buf text;
    struct tok_work work; /* kept, so that a step asks the heap for nothing */
    struct tok_cleaner cleaner;
};

int tok_stream_create(const struct tokenizer *t, unsigned flags, struct tok_stream **out)
{
    struct tok_stream *s = mem_calloc(MEM_TEXT, 1, sizeof *s);
    if (!s)
        return NUN_ENOMEM;
    s->t = t;
    s->flags = flags;
    buf_init(&s->text, MEM_TEXT, LIMIT_OF(text_bytes));
    int rc = tok_work_begin(&s->work, t, flags | TOK_RAW_BYTES);
    if (rc >= 0) /* all at once: no step of a window that fills asks for one more */
        rc = tok_pieces_reserve(&s->work.now, WINDOW);
    if (rc < 0) {
        tok_stream_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

static int decode_window(struct tok_stream *s, size_t n)
{
    buf_reset(&s->text);
    return tok_decode_raw(&s->work, s->ids.at, n, &s->text);
}

static size_t whole_chars(const struct tok_stream *s)
{
    return s->text.len - utf8_incomplete_tail(buf_cstr(&s->text), s->text.len);
}

/* Drop ids from the front, keeping the last few for context: more than one character can need. */
static int shorten(struct tok_stream *s)
{
    size_t keep = WINDOW / 2, drop = s->ids.n - keep;
    memmove(s->ids.at, s->ids.at + drop, keep * sizeof *s->ids.at);
    s->ids.n = keep;
    TRY(decode_window(s, keep));
    s->out = whole_chars(s);
    return 0;
}

int tok_stream_after(struct tok_stream *s, int32_t id)
{
    if (!gives_text(s->t, id, s->flags))
        return 0; /* a text of its own begins behind a special token */
    TRY(ids_push(&s->ids, id));
    TRY(decode_window(s, s->ids.n));
    s->out = whole_chars(s);
    return 0;
}

int tok_stream_push(struct tok_stream *s, int32_t id, struct buf *out)
{
    if (!gives_text(s->t, id, s->flags))
        return 0; /* not even context: the window is of pieces that are seen */
    TRY(ids_push(&s->ids, id));
    TRY(decode_window(s, s->ids.n));
    size_t whole = whole_chars(s);
    if (whole > s->out) {
        TRY(append_text(&s->work, &s->cleaner, span_of(s->text.ptr + s->out, whole - s->out), false, out));
        s->out = whole;
    }
    return s->ids.n >= WINDOW ? shorten(s) : 0;
}

int tok_stream_end(struct tok_stream *s, struct buf *out)
{
    TRY(decode_window(s, s->ids.n));
    TRY(append_text(&s->work, &s->cleaner, span_from(buf_view(&s->text), s->out), true, out));
    s->ids.n = 0;
    s->out = 0;
    return 0;
}

void tok_stream_free(struct tok_stream *s)
{
    if (!s)
        return;
    ids_free(&s->ids);
    tok_work_end(&s->work);
    buf_free(&s->text);
    mem_free(s);
}
