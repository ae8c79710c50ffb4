/* Byte-pair encoding: a piece becomes its characters, then the pair of lowest rank merges until none is
 * left. A heap of (rank, position) over a linked list keeps that at O(n log n) whatever the text. */
/* SPDX-License-Identifier: MIT */
#include "text/tok_int.h"

enum { CHARS = 0x180 }; /* characters with a direct id: all of the byte-level alphabet */

struct tok_symbol {
    int32_t id;
    uint32_t prev, next; /* positions, NONE at the ends */
    uint32_t rank;       /* of the pair (this, next), NONE when they do not merge or this is gone */
    int32_t merged;      /* what that pair becomes */
};
#define NONE UINT32_MAX
enum { WHOLE = 32 }; /* symbols: shorter pieces are not worth cutting */

struct bpe {
    struct tok_pairs pairs;  /* (left, right) -> rank, id */
    struct tok_pairs inside; /* characters (first, second) that stand side by side in some piece */
    int32_t (*order)[2];     /* [n_order] merges by rank, for saving */
    size_t n_order;
    struct span prefix, suffix;
    int32_t unk, byte[256], direct[CHARS];
    bool fuse_unk, byte_fallback, ignore_merges, affixes;
};

/* ---- reading ---- */

static bool in_model(const struct tokenizer *t, struct span piece, int32_t *id)
{
    int64_t at;
    if (!map_get(&t->by_text, piece, &at) || !t->vocab[at].in_model)
        return false;
    *id = (int32_t)at;
    return true;
}

/* What two pieces become: the prefix of inner pieces is written once. */
static struct span join(const struct bpe *b, struct span l, struct span r, struct buf *room)
{
    buf_reset(room);
    buf_span(room, l);
    buf_span(room, span_from(r, span_starts(r, b->prefix) ? b->prefix.len : 0));
    return buf_view(room);
}

struct merge { int32_t left, right, id; uint32_t rank; };

static bool resolve(const struct tokenizer *t, struct span l, struct span r, struct buf *room, struct merge *out)
{
    bool parts = l.len && r.len && in_model(t, l, &out->left) && in_model(t, r, &out->right);
    return parts && in_model(t, join(t->model_data, l, r, room), &out->id);
}

/* "left right", or ["left", "right"], or as the readers of older files write it ["left", "right", rank]. Some
 * vocabularies have pieces with blanks in them: then the blank counts at which both sides and the whole are
 * pieces, of the first so many. */
enum { BLANKS = 256 };

static int read_merge(const struct tokenizer *t, const json_t *m, size_t at, struct buf *room, struct merge *out)
{
    struct span s = tok_json_str(m), l = tok_json_str(json_array_get(m, 0)), r = tok_json_str(json_array_get(m, 1));
    const json_t *rank = json_array_get(m, 2);
    json_int_t value = rank ? json_integer_value(rank) : (json_int_t)at;
    bool found = false;
    if (l.ptr && r.ptr && json_array_size(m) <= 3 && (!rank || json_is_integer(rank)) && value >= 0 &&
        value < INT32_MAX)
        found = resolve(t, l, r, room, out);
    for (size_t i = 1, blanks = 0; i < s.len && !found && blanks < BLANKS; i++) {
        found = s.ptr[i] == ' ' && resolve(t, span_of(s.ptr, i), span_from(s, i + 1), room, out);
        blanks += s.ptr[i] == ' ';
    }
    TRY(buf_error(room));
    out->rank = (uint32_t)value;
    if (found)
        return 0;
    return err_set(NUN_EFORMAT,
                   "model.merges[%zu]: expected two pieces of the vocabulary that make a third, found \"%.*s%.*s\"",
                   at, (int)(s.ptr ? s.len : l.len), s.ptr ? s.ptr : l.ptr, (int)r.len, r.ptr);
}

static int add_merge(const struct tokenizer *t, struct bpe *b, const json_t *m, size_t at, struct buf *room)
{
    struct merge is;
    bool made;
    TRY(read_merge(t, m, at, room, &is));
    b->order[at][0] = is.left;
    b->order[at][1] = is.right;
    if (t->vocab[is.id].special)
        return 0; /* plain text never becomes a control token */
    struct tok_pair *p = tok_pairs_put(&b->pairs, (uint32_t)is.left, (uint32_t)is.right, &made);
    if (!p)
        return NUN_ENOMEM;
    p->x = is.rank; /* a repeated pair keeps its last rank, as in the reference implementation */
    p->y = (uint32_t)is.id;
    return 0;
}

static int parse_merges(const struct tokenizer *t, struct bpe *b, const json_t *merges)
{
    size_t n = json_array_size(merges);
    if (!json_is_array(merges))
        return err_set(NUN_EFORMAT, "model.merges: expected an array");
    TRY(limit_check(LIMIT_vocab, n, "model.merges"));
    TRY(tok_pairs_reserve(&b->pairs, n));
    b->order = mem_calloc(MEM_TEXT, n, sizeof *b->order);
    if (!b->order)
        return NUN_ENOMEM;
    b->n_order = n;
    struct buf room;
    buf_init(&room, MEM_TEXT, 4 * LIMIT_OF(token_bytes));
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = add_merge(t, b, json_array_get(merges, i), i, &room);
    buf_free(&room);
    return rc;
}

static bool is_byte(const struct tokenizer *t, int32_t id)
{
    struct span text = t->vocab[id].text;
    return text.len == 6 && span_starts(text, SPAN("<0x"));
}

static int32_t first_char(const struct tokenizer *t, int32_t id)
{
    struct span text = t->vocab[id].text;
    uint32_t cp;
    return tok_model_id(t, span_of(text.ptr, tok_char_at(text, 0, &cp)));
}

static int32_t last_char(const struct tokenizer *t, int32_t id)
{
    struct span text = t->vocab[id].text;
    size_t at = text.len - 1;
    while (at > 0 && ((unsigned char)text.ptr[at] & 0xc0) == 0x80)
        at--;
    return tok_model_id(t, span_from(text, at));
}

/* Which characters stand side by side in pieces: where two do not, no merge ever reaches over. Merges of byte
 * pieces are not of characters; with them the table stays empty and nothing is cut. */
static int fill_inside(const struct tokenizer *t, struct bpe *b)
{
    for (size_t i = 0; !b->affixes && i < b->n_order; i++)
        if (is_byte(t, b->order[i][0]) || is_byte(t, b->order[i][1]))
            return 0;
    for (size_t i = 0; !b->affixes && i < b->n_order; i++) {
        bool made;
        int32_t l = last_char(t, b->order[i][0]), r = first_char(t, b->order[i][1]);
        if (l >= 0 && r >= 0 && !tok_pairs_put(&b->inside, (uint32_t)l, (uint32_t)r, &made))
            return NUN_ENOMEM;
    }
    return 0;
}

/* May a merge reach from one symbol of the spelling to the next? */
static bool may_meet(const struct bpe *b, int32_t l, int32_t r)
{
    return !b->inside.n || tok_pairs_get(&b->inside, (uint32_t)l, (uint32_t)r);
}

static void fill_direct(const struct tokenizer *t, struct bpe *b)
{
    char text[8];
    for (uint32_t c = 0; c < CHARS; c++)
        b->direct[c] = tok_model_id(t, span_of(text, utf8_encode(c, text)));
    tok_byte_ids(t, b->byte);
}

static int parse_switches(struct tokenizer *t, struct bpe *b, const json_t *o)
{
    const json_t *dropout = json_object_get(o, "dropout");
    if (dropout && !json_is_null(dropout) && json_number_value(dropout) != 0)
        return err_set(NUN_EUNSUP, "model.dropout: encoding is deterministic here, expected null or 0");
    TRY(tok_json_bool(o, "model", "fuse_unk", &b->fuse_unk));
    TRY(tok_json_bool(o, "model", "byte_fallback", &b->byte_fallback));
    TRY(tok_json_bool(o, "model", "ignore_merges", &b->ignore_merges));
    struct span unk = {0};
    TRY(tok_json_span(o, "model", "unk_token", &unk));
    b->unk = unk.ptr ? tokenizer_id_of(t, unk) : -1;
    if (unk.len && b->unk < 0)
        return err_set(NUN_EFORMAT, "model.unk_token: \"%.*s\" is not in the vocabulary", (int)unk.len, unk.ptr);
    TRY(tok_json_span(o, "model", "continuing_subword_prefix", &b->prefix));
    TRY(tok_json_span(o, "model", "end_of_word_suffix", &b->suffix));
    TRY(limit_check(LIMIT_affix_bytes, b->prefix.len, "model.continuing_subword_prefix"));
    TRY(limit_check(LIMIT_affix_bytes, b->suffix.len, "model.end_of_word_suffix"));
    TRY(tok_copy(t, b->prefix, &b->prefix));
    TRY(tok_copy(t, b->suffix, &b->suffix));
    b->affixes = b->prefix.len || b->suffix.len;
    return 0;
}

static int parse_bpe(struct tokenizer *t, const json_t *o, const char *path)
{
    struct bpe *b = mem_calloc(MEM_TEXT, 1, sizeof *b);
    if (!b)
        return NUN_ENOMEM;
    t->model_data = b;
    TRY(parse_switches(t, b, o));
    fill_direct(t, b);
    TRY(parse_merges(t, b, json_object_get(o, "merges")));
    return fill_inside(t, b);
}

static int save_bpe(const struct tokenizer *t, json_t *model)
{
    const struct bpe *b = t->model_data;
    json_t *list = json_array();
    int bad = list ? json_object_set_new(model, "merges", list) : -1;
    for (size_t i = 0; !bad && i < b->n_order; i++) {
        struct span l = t->vocab[b->order[i][0]].text, r = t->vocab[b->order[i][1]].text;
        bad = json_array_append_new(list, json_pack("[s%s%]", l.ptr, l.len, r.ptr, r.len));
    }
    return bad ? NUN_ENOMEM : 0;
}

static void free_bpe(struct tokenizer *t)
{
    struct bpe *b = t->model_data;
    if (!b)
        return;
    tok_pairs_free(&b->pairs);
    tok_pairs_free(&b->inside);
    mem_free(b->order);
    mem_free(b);
}

/* ---- characters ---- */

static int reserve_symbols(struct tok_work *w, size_t n)
{
    size_t cap = n < 64 ? 64 : n;
    if (n <= w->symbols_cap)
        return 0;
    struct tok_symbol *grown = mem_realloc(MEM_TEXT, w->symbols, cap * sizeof *grown);
    if (!grown)
        return NUN_ENOMEM;
    w->symbols = grown;
    w->symbols_cap = cap;
    return 0;
}

/* For n symbols: n - 1 pairs at first, and each of as many merges takes one and adds two at most. */
static int reserve_heap(struct tok_work *w, size_t n)
{
    size_t cap = 2 * (n < 64 ? 64 : n);
    if (2 * n <= w->heap_cap)
        return 0;
    uint64_t *grown = mem_realloc(MEM_TEXT, w->heap, cap * sizeof *grown);
    if (!grown)
        return NUN_ENOMEM;
    w->heap = grown;
    w->heap_cap = cap;
    return 0;
}

struct speller { const struct bpe *b; struct tok_work *w; size_t n; bool unk_pending; };

static void add_symbol(struct speller *p, int32_t id)
{
    p->w->symbols[p->n++] = (struct tok_symbol){.id = id};
}

static void flush_unk(struct speller *p)
{
    if (p->unk_pending)
        add_symbol(p, p->b->unk);
    p->unk_pending = false;
}

/* A character that is no piece: its bytes, or the unknown token, or nothing. */
static void add_unknown(struct speller *p, struct span c)
{
    bool bytes = p->b->byte_fallback;
    for (size_t i = 0; bytes && i < c.len; i++)
        bytes = p->b->byte[(unsigned char)c.ptr[i]] >= 0;
    if (bytes) {
        flush_unk(p);
        for (size_t i = 0; i < c.len; i++)
            add_symbol(p, p->b->byte[(unsigned char)c.ptr[i]]);
    } else if (p->b->unk >= 0) {
        if (!p->b->fuse_unk)
            flush_unk(p);
        p->unk_pending = true;
    }
}

/* The character with the prefix of inner ones and the suffix of the last one. */
static struct span dress(const struct bpe *b, struct span c, bool inner, bool last, char *room)
{
    size_t n = 0;
    struct span parts[3] = {inner ? b->prefix : (struct span){0}, c, last ? b->suffix : (struct span){0}};
    for (int i = 0; i < 3; i++) {
        if (parts[i].len)
            memcpy(room + n, parts[i].ptr, parts[i].len);
        n += parts[i].len;
    }
    return span_of(room, n);
}

static int spell(const struct tokenizer *t, struct tok_work *w, struct span text, size_t *n)
{
    const struct bpe *b = t->model_data;
    struct speller p = {b, w, 0, false};
    char *room = NULL;
    if (b->affixes && !(room = arena_alloc(&w->mem, b->prefix.len + b->suffix.len + 4)))
        return NUN_ENOMEM;
    TRY(reserve_symbols(w, text.len + (b->byte_fallback ? b->prefix.len * text.len + b->suffix.len : 0)));
    for (size_t i = 0, len; i < text.len; i += len) {
        uint32_t cp = 0;
        len = utf8_decode(text.ptr + i, text.len - i, &cp);
        len = len ? len : 1;
        struct span c = span_of(text.ptr + i, len);
        if (b->affixes)
            c = dress(b, c, i > 0, i + len == text.len, room);
        int32_t id = cp < CHARS && !b->affixes ? b->direct[cp] : tok_model_id(t, c);
        if (id < 0) {
            add_unknown(&p, c);
        } else {
            flush_unk(&p);
            add_symbol(&p, id);
        }
    }
    flush_unk(&p);
    *n = p.n;
    return 0;
}

/* ---- merging ---- */

struct heap { uint64_t *at; size_t n; }; /* rank << 32 | position, smallest on top */

static void heap_push(struct heap *h, uint64_t key)
{
    size_t i = h->n++;
    for (; i > 0 && h->at[(i - 1) / 2] > key; i = (i - 1) / 2)
        h->at[i] = h->at[(i - 1) / 2];
    h->at[i] = key;
}

static uint64_t heap_pop(struct heap *h)
{
    uint64_t top = h->at[0], key = h->at[--h->n];
    size_t i = 0;
    for (size_t kid; (kid = 2 * i + 1) < h->n; i = kid) {
        if (kid + 1 < h->n && h->at[kid + 1] < h->at[kid])
            kid++;
        if (h->at[kid] >= key)
            break;
        h->at[i] = h->at[kid];
    }
    h->at[i] = key;
    return top;
}

/* Look the pair (at, its next) up anew: does it merge? */
static bool look_up(const struct bpe *b, struct tok_symbol *s, uint32_t at)
{
    uint32_t next = s[at].next;
    const struct tok_pair *p = next == NONE ? NULL : tok_pairs_get(&b->pairs, (uint32_t)s[at].id, (uint32_t)s[next].id);
    s[at].rank = p ? p->x : NONE;
    if (p)
        s[at].merged = (int32_t)p->y;
    return p;
}

static void consider(const struct bpe *b, struct tok_symbol *s, uint32_t at, struct heap *h)
{
    if (look_up(b, s, at))
        heap_push(h, (uint64_t)s[at].rank << 32 | at);
}

static void merge_queued(const struct bpe *b, struct tok_symbol *s, struct heap *h)
{
    while (h->n) {
        uint64_t top = heap_pop(h);
        uint32_t at = (uint32_t)top, gone;
        if (s[at].rank != top >> 32)
            continue; /* the pair changed since it was queued */
        gone = s[at].next;
        s[at].id = s[at].merged;
        s[at].next = s[gone].next;
        s[gone].rank = NONE;
        if (s[gone].next != NONE)
            s[s[gone].next].prev = at;
        consider(b, s, at, h);
        if (s[at].prev != NONE)
            consider(b, s, s[at].prev, h);
    }
}

static int merge_all(const struct bpe *b, struct tok_work *w, struct tok_symbol *s, uint32_t n)
{
    bool any = false;
    for (uint32_t i = 0; i < n; i++) {
        s[i].prev = i ? i - 1 : NONE;
        s[i].next = i + 1 < n ? i + 1 : NONE;
        any = look_up(b, s, i) || any;
    }
    if (!any)
        return 0; /* a long text of which nothing merges needs no heap */
    TRY(reserve_heap(w, n));
    struct heap h = {w->heap, 0};
    for (uint32_t i = 0; i < n; i++)
        if (s[i].rank != NONE)
            heap_push(&h, (uint64_t)s[i].rank << 32 | i);
    merge_queued(b, s, &h);
    return 0;
}

static int run_bpe(const struct tokenizer *t, struct tok_work *w, struct span text, struct ids *out)
{
    const struct bpe *b = t->model_data;
    size_t n;
    int32_t whole = b->ignore_merges ? tok_model_id(t, text) : -1;
    if (whole >= 0)
        return ids_push(out, whole);
    TRY(spell(t, w, text, &n));
    struct tok_symbol *s = w->symbols;
    for (size_t from = 0, to; from < n; from = to) { /* a long text falls into parts that never meet */
        for (to = from + 1; to < n && (n < WHOLE || may_meet(b, s[to - 1].id, s[to].id)); to++)
            ;
        TRY(merge_all(b, w, s + from, (uint32_t)(to - from)));
        for (uint32_t i = 0; i != NONE; i = s[from + i].next)
            TRY(ids_push(out, s[from + i].id));
    }
    return 0;
}

const struct tok_model tok_model_bpe = {
    "BPE",
    "dropout unk_token continuing_subword_prefix end_of_word_suffix fuse_unk byte_fallback ignore_merges vocab merges",
    false, parse_bpe, run_bpe, save_bpe, free_bpe,
};
