/* The bytes of one token, at the beginning of a text or behind another token: what grammars over tokens need
 * to know. Decoders may look at their neighbours, so the difference of two decodings tells. */
/* SPDX-License-Identifier: MIT */
#include "text/tok_int.h"

enum { ALONE = TOK_SKIP_SPECIAL | TOK_RAW_BYTES };

static bool gives_text(const struct tokenizer *t, int32_t id)
{
    return tokenizer_token(t, id).ptr && !t->vocab[id].special;
}

static int decode(struct tok_work *w, const int32_t *ids, size_t n, struct buf *out)
{
    const struct tokenizer *t = w->t;
    for (size_t i = 0; i < n; i++)
        TRY(tok_pieces_push(&w->now, (struct tok_piece){tokenizer_token(t, ids[i]), ids[i], false}));
    for (size_t i = 0; i < t->decoder.n; i++) {
        TRY(t->decoder.at[i].row->run.decode(&t->decoder.at[i], w));
        tok_swap_pieces(w);
    }
    for (size_t i = 0; i < w->now.n; i++) {
        if (i && !t->decoder.n)
            buf_char(out, ' '); /* words of a model without a decoder */
        buf_span(out, w->now.at[i].text);
    }
    return buf_error(out);
}

static int raw_bytes(const struct tokenizer *t, const int32_t *ids, size_t n, struct buf *out)
{
    struct tok_work w;
    TRY(tok_work_begin(&w, t, ALONE));
    int rc = decode(&w, ids, n, out);
    tok_work_end(&w);
    return rc;
}

int tokenizer_bytes(const struct tokenizer *t, int32_t behind, int32_t id, struct buf *out)
{
    const int32_t both[] = {behind, id};
    struct buf one, two;
    if (!gives_text(t, id))
        return 0;
    if (behind < 0)
        return raw_bytes(t, &id, 1, out);
    buf_init(&one, MEM_TEXT, LIMIT_OF(text_bytes));
    buf_init(&two, MEM_TEXT, LIMIT_OF(text_bytes));
    int rc = raw_bytes(t, both, 1, &one);
    if (rc == 0)
        rc = raw_bytes(t, both, 2, &two);
    if (rc == 0 && span_starts(buf_view(&two), buf_view(&one)))
        buf_span(out, span_from(buf_view(&two), one.len));
    buf_free(&one);
    buf_free(&two);
    return rc < 0 ? rc : buf_error(out);
}

int32_t tokenizer_plain_token(const struct tokenizer *t)
{
    static const char *const plain[] = {"a", "0", "e", ".", ","};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        int32_t id = tokenizer_id_of(t, span_str(plain[i]));
        if (id >= 0 && gives_text(t, id))
            return id;
    }
    return -1;
}
