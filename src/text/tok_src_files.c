/* Older vocabulary files: vocab.json with merges.txt (GPT-2 and its kin), vocab.txt (BERT), tiktoken ranks. */
/* SPDX-License-Identifier: MIT */
#include <sodium.h>
#include "base/file.h"
#include "formats/json.h"
#include "text/tok_raw.h"

/* The next line without its end; false when there is none. */
static bool next_line(struct span *in, struct span *line)
{
    if (!in->len)
        return false;
    const char *end = memchr(in->ptr, '\n', in->len);
    *line = span_of(in->ptr, end ? (size_t)(end - in->ptr) : in->len);
    *in = span_from(*in, line->len + (end != NULL));
    if (span_ends(*line, SPAN("\r")))
        line->len--;
    return true;
}

/* ---- vocab.json, merges.txt ---- */

/* Which cut the classes have, and whether <s> and </s> go around. Others need their tokenizer.json. */
static const struct { const char *name, *preset; bool ends; } classes[] = {
    {"", "gpt-2", false}, {"GPT2Tokenizer", "gpt-2", false}, {"CodeGenTokenizer", "gpt-2", false}, {"Qwen2Tokenizer", "qwen2", false},
    {"RobertaTokenizer", "gpt-2", true}, {"BartTokenizer", "gpt-2", true}, {"LongformerTokenizer", "gpt-2", true},
};

static int apply_class(struct tok_raw *r, const json_t *config, const char *path)
{
    struct span name = tok_json_str(json_object_get(config, "tokenizer_class"));
    if (span_ends(name, SPAN("Fast")))
        name.len -= 4;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (span_is(name, classes[i].name)) {
            r->preset = tok_preset_named(span_str(classes[i].preset));
            r->add_bos = r->add_eos = classes[i].ends;
            return 0;
        }
    return err_set(NUN_EUNSUP, "%s: tokenizer_class \"%.*s\" is not known without a tokenizer.json", path, (int)name.len, name.ptr);
}

/* {"piece": id}: pieces in the order of ids, which must leave no gap. */
static int read_ids(struct tok_raw *r, const json_t *vocab, enum tok_kind kind, const char *path)
{
    size_t base = r->n, n = json_object_size(vocab);
    const char *key;
    json_t *id;
    for (size_t i = 0; i < n; i++)
        TRY(tok_raw_push(r, (struct span){0}, 0, kind));
    json_object_foreach((json_t *)vocab, key, id) {
        json_int_t v = json_integer_value(id);
        if (!json_is_integer(id) || v < (json_int_t)base || (size_t)v >= base + n || r->piece[v].text.ptr)
            return err_set(NUN_EFORMAT, "%s: \"%s\" has the id %lld, expected each of %zu..%zu once", path, key, (long long)v, base, base + n - 1);
        const char *copy = arena_strdup(&r->mem, key);
        if (!copy)
            return NUN_ENOMEM;
        r->piece[v].text = span_str(copy);
    }
    return 0;
}

static int read_object(const char *path, json_t **out)
{
    TRY(json_load_file_limited(path, out));
    if (json_is_object(*out))
        return 0;
    json_decref(*out);
    return err_set(NUN_EFORMAT, "%s: expected an object", path);
}

static int beside(const char *path, const char *name, char *out, size_t cap)
{
    size_t dir = (size_t)(path_base(path) - path);
    int n = snprintf(out, cap, "%.*s%s", (int)dir, path, name);
    return n > 0 && (size_t)n < cap ? 0 : err_set(NUN_ELIMIT, "%s: path too long", path);
}

static int read_merges(struct tok_raw *r, const char *path)
{
    struct buf text;
    struct span rest, line;
    buf_init(&text, MEM_TEXT, LIMIT_OF(json_bytes));
    r->merges = json_array();
    int rc = r->merges ? file_read(path, &text) : NUN_ENOMEM;
    rest = buf_view(&text);
    for (size_t i = 1; rc == 0 && next_line(&rest, &line); i++) {
        if (!line.len || (i == 1 && span_starts(line, SPAN("#version"))))
            continue;
        if (json_array_append_new(r->merges, json_stringn(line.ptr, line.len)))
            rc = err_set(NUN_EFORMAT, "%s: line %zu is not UTF-8", path, i);
    }
    buf_free(&text);
    return rc;
}

/* added_tokens.json beside it: {"token": id}, ids going on after the vocabulary's. */
static int read_added(struct tok_raw *r, const char *path)
{
    json_t *added;
    if (!file_exists(path))
        return 0;
    TRY(read_object(path, &added));
    int rc = read_ids(r, added, TOK_KIND_USER, path);
    json_decref(added);
    return rc;
}

int tok_read_vocab_json(const char *path, json_t *config, json_t **doc)
{
    char merges[4096], added[4096];
    json_t *vocab;
    struct tok_raw raw;
    TRY(beside(path, "merges.txt", merges, sizeof merges));
    TRY(beside(path, "added_tokens.json", added, sizeof added));
    TRY(read_object(path, &vocab));
    tok_raw_init(&raw);
    int rc = read_ids(&raw, vocab, TOK_KIND_NORMAL, path);
    if (rc == 0)
        rc = read_merges(&raw, merges);
    if (rc == 0)
        rc = read_added(&raw, added);
    if (rc == 0)
        rc = apply_class(&raw, config, path);
    for (size_t i = 0; rc == 0 && i < raw.n; i++) { /* the names that these classes' special tokens have */
        if (span_is(raw.piece[i].text, "<s>") && raw.add_bos)
            raw.role[TOK_BOS] = (int32_t)i;
        if (span_is(raw.piece[i].text, "</s>") && raw.add_eos)
            raw.role[TOK_EOS] = (int32_t)i;
    }
    if (rc == 0)
        rc = tok_raw_document(&raw, config, doc);
    tok_raw_free(&raw);
    json_decref(vocab);
    return rc;
}

/* ---- vocab.txt ---- */

static int read_lines(struct tok_raw *r, struct span text)
{
    static const struct { const char *text; enum tok_role role; } names[] = {
        {"[UNK]", TOK_UNK}, {"[CLS]", TOK_CLS}, {"[SEP]", TOK_SEP}, {"[PAD]", TOK_PAD}, {"[MASK]", TOK_MASK},
    };
    struct span line;
    while (next_line(&text, &line)) {
        enum tok_kind kind = TOK_KIND_NORMAL;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (span_is(line, names[i].text)) {
                r->role[names[i].role] = (int32_t)r->n;
                kind = TOK_KIND_CONTROL;
            }
        TRY(tok_raw_push(r, line, 0, kind));
    }
    return 0;
}

int tok_read_vocab_txt(const char *path, json_t *config, json_t **doc)
{
    struct buf text;
    struct tok_raw raw;
    buf_init(&text, MEM_TEXT, LIMIT_OF(json_bytes));
    tok_raw_init(&raw);
    raw.model = TOK_RAW_WORDPIECE;
    raw.lowercase = raw.add_bos = raw.add_eos = true;
    int rc = file_read(path, &text);
    if (rc == 0)
        rc = tok_json_bool(config, "tokenizer_config.json", "do_lower_case", &raw.lowercase);
    if (rc == 0)
        rc = read_lines(&raw, buf_view(&text));
    if (rc == 0)
        rc = tok_raw_document(&raw, config, doc);
    tok_raw_free(&raw);
    buf_free(&text);
    return rc;
}

/* ---- tiktoken: "base64 rank" a line ---- */

static int read_rank(struct tok_raw *r, struct span line, const char *path)
{
    unsigned char bytes[1024];
    size_t n = 0, used = 0;
    const char *blank = memchr(line.ptr, ' ', line.len), *end = NULL;
    char digits[24] = "", *stop = digits;
    struct span text = span_of(line.ptr, blank ? (size_t)(blank - line.ptr) : 0), rank = span_from(line, text.len + 1);
    if (rank.len && rank.len < sizeof digits) {
        memcpy(digits, rank.ptr, rank.len);
        digits[rank.len] = '\0';
    }
    unsigned long long value = strtoull(digits, &stop, 10);
    if (!text.len || stop == digits || *stop || value != r->n ||
        sodium_base642bin(bytes, sizeof bytes, text.ptr, text.len, NULL, &n, &end, sodium_base64_VARIANT_ORIGINAL) || end != text.ptr + text.len)
        return err_set(NUN_EFORMAT, "%s: line %zu: expected base64 and the rank %zu", path, r->n + 1, r->n);
    char *spelled = arena_alloc(&r->mem, 2 * n + 4);
    if (!spelled)
        return NUN_ENOMEM;
    for (size_t i = 0; i < n; i++)
        used += utf8_encode(tok_byte_char(bytes[i]), spelled + used);
    return tok_raw_push(r, span_of(spelled, used), (double)value, TOK_KIND_NORMAL);
}

int tok_read_tiktoken(const char *path, json_t *config, json_t **doc)
{
    struct buf text;
    struct tok_raw raw;
    struct span rest, line;
    buf_init(&text, MEM_TEXT, LIMIT_OF(json_bytes));
    tok_raw_init(&raw);
    raw.ranked = true;
    int rc = file_read(path, &text);
    rest = buf_view(&text);
    while (rc == 0 && next_line(&rest, &line))
        rc = line.len ? read_rank(&raw, line, path) : 0;
    raw.preset = tok_preset_ranked(raw.n);
    if (rc == 0 && !raw.preset)
        rc = err_set(NUN_EUNSUP, "%s: %zu ranks belong to no family whose regex is known", path, raw.n);
    if (rc == 0)
        rc = tok_raw_document(&raw, config, doc);
    tok_raw_free(&raw);
    buf_free(&text);
    return rc;
}
