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

/* Which cut the classes have, whether <s> and </s> go around, and their special tokens where no config names them
 * (in the order of the roles: bos eos pad unk sep cls mask, "-" for none). Others need their tokenizer.json. */
static const struct class { const char *name, *preset; bool ends; const char *roles; } classes[] = {
    {"", "gpt-2", false, "<|endoftext|> <|endoftext|> - <|endoftext|> - - -"},
    {"GPT2Tokenizer", "gpt-2", false, "<|endoftext|> <|endoftext|> - <|endoftext|> - - -"},
    {"CodeGenTokenizer", "gpt-2", false, "<|endoftext|> <|endoftext|> - <|endoftext|> - - -"},
    {"Qwen2Tokenizer", "qwen2", false, "- <|endoftext|> <|endoftext|> <|endoftext|> - - -"},
    {"RobertaTokenizer", "gpt-2", true, "<s> </s> <pad> <unk> </s> <s> <mask>"},
    {"BartTokenizer", "gpt-2", true, "<s> </s> <pad> <unk> </s> <s> <mask>"},
    {"LongformerTokenizer", "gpt-2", true, "<s> </s> <pad> <unk> </s> <s> <mask>"},
};

static void find_role(struct tok_raw *r, enum tok_role role, struct span text)
{
    for (size_t i = 0; text.len && i < r->n; i++)
        if (span_eq(r->piece[i].text, text)) {
            r->role[role] = (int32_t)i;
            r->piece[i].kind = TOK_KIND_CONTROL;
            return;
        }
}

/* The special tokens: of the config, else of the class. */
static void find_roles(struct tok_raw *r, const json_t *config, const char *defaults)
{
    for (int role = 0; role < TOK_ROLE_COUNT; role++, defaults += strcspn(defaults, " ") + 1) {
        const json_t *v = json_object_get(config, tok_role_key((enum tok_role)role));
        struct span text = tok_json_str(json_is_object(v) ? json_object_get(v, "content") : v);
        struct span usual = span_of(defaults, strcspn(defaults, " "));
        find_role(r, (enum tok_role)role, text.len || v ? text : span_is(usual, "-") ? (struct span){0} : usual);
    }
}

/* RoBERTa's mask takes the blank before it along. */
static int add_mask(json_t *config)
{
    if (json_object_get(config, "mask_token"))
        return 0;
    json_t *mask = json_pack("{s:s,s:b,s:b}", "content", "<mask>", "lstrip", 1, "normalized", 0);
    return json_object_set_new(config, "mask_token", mask) ? NUN_ENOMEM : 0;
}

static int apply_class(struct tok_raw *r, json_t *config, const char *path)
{
    static const char where[] = "tokenizer_config.json";
    struct span name = tok_json_str(json_object_get(config, "tokenizer_class"));
    const struct class *c = NULL;
    bool prefix = false;
    if (span_ends(name, SPAN("Fast")))
        name.len -= 4;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (span_is(name, classes[i].name))
            c = &classes[i];
    if (!c)
        return err_set(NUN_EUNSUP, "%s: tokenizer_class \"%.*s\" is not known without a tokenizer.json", path,
                       (int)name.len, name.ptr);
    r->preset = tok_preset_named(span_str(c->preset));
    r->add_bos = r->add_eos = c->ends;
    find_roles(r, config, c->roles);
    if (r->role[TOK_MASK] >= 0 && c->ends)
        TRY(add_mask(config));
    TRY(tok_json_bool(config, where, "add_prefix_space", &prefix));
    r->prefix = prefix ? TOK_PREPEND_ALWAYS : TOK_PREPEND_NEVER;
    return c->ends ? 0 : tok_json_bool(config, where, "add_bos_token", &r->add_bos);
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
            return err_set(NUN_EFORMAT, "%s: \"%s\" has the id %lld, expected each of %zu..%zu once", path, key,
                           (long long)v, base, base + n - 1);
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

static int read_bert_config(json_t *config, struct tok_raw *r)
{
    static const char where[] = "tokenizer_config.json", clean[] = "clean_up_tokenization_spaces";
    bool han = true, accents;
    TRY(tok_json_bool(config, where, "do_lower_case", &r->lowercase));
    accents = r->lowercase; /* unless told otherwise */
    TRY(tok_json_bool(config, where, "strip_accents", &accents));
    TRY(tok_json_bool(config, where, "tokenize_chinese_chars", &han));
    r->keep_accents = !accents;
    r->keep_han = !han;
    if (!json_object_get(config, clean) && json_object_set_new(config, clean, json_true()))
        return NUN_ENOMEM;
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
        rc = read_bert_config(config, &raw);
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
        sodium_base642bin(bytes, sizeof bytes, text.ptr, text.len, NULL, &n, &end, sodium_base64_VARIANT_ORIGINAL) ||
            end != text.ptr + text.len)
        return err_set(NUN_EFORMAT, "%s: line %zu: expected base64 and the rank %zu", path, r->n + 1, r->n);
    char *spelled = arena_alloc(&r->mem, 2 * n + 4);
    if (!spelled)
        return NUN_ENOMEM;
    for (size_t i = 0; i < n; i++)
        used += utf8_encode(tok_byte_char(bytes[i]), spelled + used);
    return tok_raw_push(r, span_of(spelled, used), (double)value, TOK_KIND_NORMAL);
}

/* Special tokens behind the ranks, which the files leave out. A config may list more. */
static const struct { size_t ranks, id; const char *text; enum tok_role role; } specials[] = {
    {50256, 50256, "<|endoftext|>", TOK_EOS},        {100256, 100257, "<|endoftext|>", TOK_EOS},
    {100256, 100258, "<|fim_prefix|>", TOK_NO_ROLE}, {100256, 100259, "<|fim_middle|>", TOK_NO_ROLE},
    {100256, 100260, "<|fim_suffix|>", TOK_NO_ROLE}, {100256, 100276, "<|endofprompt|>", TOK_NO_ROLE},
    {128000, 128000, "<|begin_of_text|>", TOK_BOS},  {128000, 128001, "<|end_of_text|>", TOK_EOS},
    {128000, 128006, "<|start_header_id|>", TOK_NO_ROLE}, {128000, 128007, "<|end_header_id|>", TOK_NO_ROLE},
    {128000, 128009, "<|eot_id|>", TOK_NO_ROLE},     {151643, 151643, "<|endoftext|>", TOK_EOS},
    {151643, 151644, "<|im_start|>", TOK_NO_ROLE},   {151643, 151645, "<|im_end|>", TOK_NO_ROLE},
    {199998, 199999, "<|endoftext|>", TOK_EOS},      {199998, 200018, "<|endofprompt|>", TOK_NO_ROLE},
};

/* Ids between them have no text. */
static int add_specials(struct tok_raw *r)
{
    size_t ranks = r->n;
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++) {
        if (specials[i].ranks != ranks)
            continue;
        while (r->n < specials[i].id)
            TRY(tok_raw_push(r, (struct span){0}, 0, TOK_KIND_UNUSED));
        if (specials[i].role != TOK_NO_ROLE)
            r->role[specials[i].role] = (int32_t)r->n;
        TRY(tok_raw_push(r, span_str(specials[i].text), 0, TOK_KIND_CONTROL));
    }
    return 0;
}

int tok_tiktoken_parse(struct span file, const char *path, struct tok_raw *r)
{
    struct span line;
    r->ranked = true;
    r->prefix = TOK_PREPEND_NEVER;
    while (next_line(&file, &line))
        if (line.len)
            TRY(read_rank(r, line, path));
    r->preset = tok_preset_ranked(r->n);
    if (!r->preset)
        return err_set(NUN_EUNSUP, "%s: %zu ranks belong to no family whose regex is known", path, r->n);
    TRY(add_specials(r));
    r->add_bos = (r->preset->on & PRESET_BOS) && r->role[TOK_BOS] >= 0;
    return 0;
}

int tok_read_tiktoken(const char *path, json_t *config, json_t **doc)
{
    struct buf text;
    struct tok_raw raw;
    buf_init(&text, MEM_TEXT, LIMIT_OF(json_bytes));
    tok_raw_init(&raw);
    int rc = file_read(path, &text);
    if (rc == 0)
        rc = tok_tiktoken_parse(buf_view(&text), path, &raw);
    if (rc == 0)
        rc = tok_raw_document(&raw, config, doc);
    tok_raw_free(&raw);
    buf_free(&text);
    return rc;
}
