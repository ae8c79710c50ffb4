/* SentencePiece's tokenizer.model: a protobuf of pieces with scores and kinds, the trainer's and the normalizer's
 * settings. Every length is checked; unknown fields are skipped, as protobuf has it. */
/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "text/tok_raw.h"

/* ---- protobuf ---- */

struct field { uint32_t number, wire; uint64_t value; struct span bytes; };
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static bool varint(struct span *in, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < in->len && i < 10; i++) {
        unsigned char c = (unsigned char)in->ptr[i];
        *out |= (uint64_t)(c & 0x7f) << (7 * i);
        if (c < 0x80) {
            *in = span_from(*in, i + 1);
            return true;
        }
    }
    return false;
}

static bool take(struct span *in, size_t n, struct span *out)
{
    if (n > in->len)
        return false;
    *out = span_of(in->ptr, n);
    *in = span_from(*in, n);
    return true;
}

/* The next field of a message; false when it is malformed. */
static bool next_field(struct span *in, struct field *f)
{
    uint64_t tag, len = 0;
    if (!varint(in, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX)
        return false;
    *f = (struct field){.number = (uint32_t)(tag >> 3), .wire = (uint32_t)(tag & 7)};
    switch (f->wire) {
    case VARINT: return varint(in, &f->value);
    case BYTES: return varint(in, &len) && len <= in->len && take(in, (size_t)len, &f->bytes);
    case FIXED64: return take(in, 8, &f->bytes);
    case FIXED32: return take(in, 4, &f->bytes);
    default: return false;
    }
}

static float as_float(const struct field *f)
{
    float v = 0;
    if (f->wire == FIXED32)
        memcpy(&v, f->bytes.ptr, 4);
    return v;
}

/* ---- the model ---- */

struct spm {
    struct tok_raw *raw;
    const char *place;
    uint64_t model_type;
    int64_t ids[4]; /* unk, bos, eos, pad as the trainer wrote them */
};
enum { SPM_UNIGRAM = 1, SPM_BPE = 2 };

typedef int field_fn(struct spm *m, const struct field *f);

static int each_field(struct spm *m, struct span message, field_fn *fn)
{
    while (message.len) {
        struct field f;
        if (!next_field(&message, &f))
            return err_set(NUN_EFORMAT, "%s: malformed protobuf, %zu bytes before the end of a message", m->place,
                           message.len);
        TRY(fn(m, &f));
    }
    return 0;
}

/* Piece: 1 text, 2 score, 3 kind. */
static int read_piece(struct spm *m, struct span message)
{
    struct tok_raw_piece p = {.kind = TOK_KIND_NORMAL};
    while (message.len) {
        struct field f;
        if (!next_field(&message, &f))
            return err_set(NUN_EFORMAT, "%s: piece %zu is malformed", m->place, m->raw->n);
        if (f.number == 1 && f.wire == BYTES)
            p.text = f.bytes;
        else if (f.number == 2)
            p.score = as_float(&f);
        else if (f.number == 3)
            p.kind = (enum tok_kind)f.value;
    }
    if (p.kind < TOK_KIND_NORMAL || p.kind > TOK_KIND_BYTE)
        return err_set(NUN_EUNSUP, "%s: piece %zu has the unknown kind %d", m->place, m->raw->n, (int)p.kind);
    return tok_raw_push(m->raw, p.text, p.score, p.kind);
}

static int trainer_field(struct spm *m, const struct field *f)
{
    if (f->number == 3)
        m->model_type = f->value;
    else if (f->number == 24 && f->value)
        return err_set(NUN_EUNSUP, "%s: treat_whitespace_as_suffix", m->place);
    else if (f->number == 35)
        m->raw->byte_fallback = f->value;
    else if (f->number >= 40 && f->number <= 43)
        m->ids[f->number - 40] = (int32_t)f->value;
    return 0;
}

static int normalizer_field(struct spm *m, const struct field *f)
{
    if (f->number == 2 && f->wire == BYTES)
        m->raw->charsmap = f->bytes;
    else if (f->number == 3)
        m->raw->prefix = f->value ? TOK_PREPEND_ALWAYS : TOK_PREPEND_NEVER;
    else if (f->number == 4)
        m->raw->collapse_spaces = f->value;
    else if (f->number == 5 && !f->value)
        return err_set(NUN_EUNSUP, "%s: escape_whitespaces = false", m->place);
    return 0;
}

/* ModelProto: 1 pieces, 2 trainer, 3 normalizer. */
static int model_field(struct spm *m, const struct field *f)
{
    if (f->wire != BYTES)
        return 0;
    if (f->number == 1)
        return read_piece(m, f->bytes);
    if (f->number == 2)
        return each_field(m, f->bytes, trainer_field);
    return f->number == 3 ? each_field(m, f->bytes, normalizer_field) : 0;
}

int tok_spm_parse(struct span file, const char *place, struct tok_raw *out)
{
    static const enum tok_role roles[4] = {TOK_UNK, TOK_BOS, TOK_EOS, TOK_PAD};
    struct spm m = {out, place, SPM_UNIGRAM, {0, 1, 2, -1}};
    out->collapse_spaces = true;
    TRY(each_field(&m, file, model_field));
    if (m.model_type != SPM_UNIGRAM && m.model_type != SPM_BPE)
        return err_set(NUN_EUNSUP, "%s: model_type %llu, expected 1 (unigram) or 2 (BPE)", place,
                       (unsigned long long)m.model_type);
    out->model = m.model_type == SPM_BPE ? TOK_RAW_BPE : TOK_RAW_UNIGRAM;
    if (!out->n)
        return err_set(NUN_EFORMAT, "%s: no pieces", place);
    for (int i = 0; i < 4; i++)
        if (m.ids[i] >= 0 && (size_t)m.ids[i] < out->n)
            out->role[roles[i]] = (int32_t)m.ids[i];
    for (size_t i = 0; i < out->n; i++) /* the piece's own word counts more than the trainer's */
        if (out->piece[i].kind == TOK_KIND_UNKNOWN)
            out->role[TOK_UNK] = (int32_t)i;
    return 0;
}

/* What slow tokenizers of these classes add around a text, and how many <extra_id_N> behind their pieces, where the
 * config does not say. */
static const struct { const char *name; bool bos, eos; size_t extra; } classes[] = {
    {"LlamaTokenizer", true, false, 0}, {"CodeLlamaTokenizer", true, false, 0}, {"GemmaTokenizer", true, false, 0},
    {"InternLM2Tokenizer", true, false, 0}, {"T5Tokenizer", false, true, 100}, {"MT5Tokenizer", false, true, 100},
    {"SiglipTokenizer", false, true, 0},
};

/* <extra_id_99> ... <extra_id_0>, which T5 puts behind the pieces; newer configs list them. */
static int add_extra(struct tok_raw *r, size_t n)
{
    for (size_t i = n; i-- > 0;) {
        const char *text = arena_printf(&r->mem, "<extra_id_%zu>", i);
        if (!text)
            return NUN_ENOMEM;
        TRY(tok_raw_push(r, span_str(text), 0, TOK_KIND_CONTROL));
    }
    return 0;
}

/* Others (XLM-RoBERTa, MBart, ...) shift ids or add other tokens: they need their tokenizer.json. */
static int apply_class(struct tok_raw *r, const json_t *config, const char *place)
{
    static const char where[] = "tokenizer_config.json";
    struct span name = tok_json_str(json_object_get(config, "tokenizer_class"));
    bool known = !name.len || span_is(name, "PreTrainedTokenizerFast"), legacy = true,
        prefix = r->prefix != TOK_PREPEND_NEVER;
    size_t extra = 0;
    r->add_bos = !name.len && r->model == TOK_RAW_BPE && r->role[TOK_BOS] >= 0;
    if (span_ends(name, SPAN("Fast")))
        name.len -= 4;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (span_is(name, classes[i].name)) {
            r->add_bos = classes[i].bos;
            r->add_eos = classes[i].eos;
            extra = classes[i].extra;
            known = true;
        }
    if (!known)
        return err_set(NUN_EUNSUP, "%s: tokenizer_class \"%.*s\" is not known without a tokenizer.json", place,
                       (int)name.len, name.ptr);
    TRY(tok_json_bool(config, where, "add_bos_token", &r->add_bos));
    TRY(tok_json_bool(config, where, "add_eos_token", &r->add_eos));
    TRY(tok_json_bool(config, where, "legacy", &legacy));
    TRY(tok_json_bool(config, where, "add_prefix_space", &prefix));
    TRY(tok_json_size(config, where, "extra_ids", &extra));
    r->prefix = !prefix ? TOK_PREPEND_NEVER : legacy ? TOK_PREPEND_ALWAYS : TOK_PREPEND_FIRST;
    return json_object_get(config, "added_tokens_decoder") ? 0 : add_extra(r, extra);
}

int tok_read_spm(const char *path, json_t *config, json_t **doc)
{
    struct file_map file;
    struct tok_raw raw;
    TRY(file_map(path, &file));
    tok_raw_init(&raw);
    int rc = tok_spm_parse(span_of(file.ptr, file.len), path, &raw);
    if (rc == 0)
        rc = apply_class(&raw, config, path);
    if (rc == 0)
        rc = tok_raw_document(&raw, config, doc);
    tok_raw_free(&raw);
    file_unmap(&file);
    return rc;
}
