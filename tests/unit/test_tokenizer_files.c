/* Older vocabularies (SentencePiece, GGUF, vocab.json with merges.txt, vocab.txt, tiktoken) and the configs
 * beside them: against ids that SentencePiece gave, and on small files written here whose ids are worked out by
 * hand. */
/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "base/file.h"
#include "base/rng.h"
#include "../check.h"
#include "formats/gguf.h"
#include "formats/json.h"
#include "text/tok_raw.h"
#include "../sanitized.h"
#include "../torture.h"

#define MARK "\xe2\x96\x81"

static char dir[64]; /* one folder, emptied before each test */

static int fresh_dir(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/test_tokenizer_files_XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
    return file_remove_tree(dir);
}

static void put_file(const char *name, struct span bytes)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes.ptr, 1, bytes.len, f), bytes.len);
    fclose(f);
}

static void put_text(const char *name, const char *text)
{
    put_file(name, span_str(text));
}

static struct tokenizer *loaded(void)
{
    struct tokenizer *t = NULL;
    check_ok(tokenizer_load(dir, &t));
    return t;
}

/* Nothing that a user types is special, but for what is unknown. */
static void stays_text(const struct tokenizer *t, const char *text)
{
    struct ids ids = {0};
    check_ok(tokenizer_encode(t, span_str(text), 0, &ids));
    for (size_t i = 0; i < ids.n; i++)
        if (tokenizer_is_special(t, ids.at[i]) && ids.at[i] != tokenizer_role(t, TOK_UNK))
            fail_msg("\"%s\" as plain text gives the special id %d", text, ids.at[i]);
    ids_free(&ids);
}

/* The pieces of a text, joined by '|'. */
static void pieces_are(const struct tokenizer *t, const char *text, unsigned flags, const char *want)
{
    struct ids ids = {0};
    struct buf got;
    buf_init(&got, MEM_TEST, 1 << 20);
    check_ok(tokenizer_encode(t, span_str(text), flags, &ids));
    for (size_t i = 0; i < ids.n; i++) {
        buf_str(&got, i ? "|" : "");
        buf_span(&got, tokenizer_token(t, ids.at[i]));
    }
    assert_string_equal(buf_cstr(&got), want);
    buf_free(&got);
    ids_free(&ids);
    stays_text(t, text);
    stays_text(t, "<s></s><unk>[X][CLS][SEP][PAD]<|endoftext|><0x41>");
}

/* At once and as a stream. */
static void text_is(const struct tokenizer *t, const int32_t *ids, size_t n, unsigned flags, struct span want)
{
    struct buf all, streamed;
    struct tok_stream *s;
    buf_init(&all, MEM_TEST, 1 << 20);
    buf_init(&streamed, MEM_TEST, 1 << 20);
    check_ok(tokenizer_decode(t, ids, n, flags, &all));
    if (!span_eq(buf_view(&all), want))
        fail_msg("decoded \"%s\", expected \"%.*s\"", buf_cstr(&all), (int)want.len, want.ptr);
    check_ok(tok_stream_create(t, flags, &s));
    for (size_t i = 0; i < n; i++) {
        check_ok(tok_stream_push(s, ids[i], &streamed));
        assert_int_equal(utf8_incomplete_tail(buf_cstr(&streamed), streamed.len), 0);
    }
    check_ok(tok_stream_end(s, &streamed));
    if (!span_eq(buf_view(&streamed), want))
        fail_msg("streamed \"%s\", expected \"%.*s\"", buf_cstr(&streamed), (int)want.len, want.ptr);
    tok_stream_free(s);
    buf_free(&streamed);
    buf_free(&all);
}

static void decodes_to(const struct tokenizer *t, const char *text, unsigned flags, const char *want)
{
    struct ids ids = {0};
    check_ok(tokenizer_encode(t, span_str(text), 0, &ids));
    text_is(t, ids.at, ids.n, flags, span_str(want));
    ids_free(&ids);
}

/* ---- SentencePiece ---- */

/* A piece of a tokenizer.model, as protobuf has it. */
static void put_piece(struct buf *b, const char *text, float score, enum tok_kind kind)
{
    size_t n = strlen(text);
    buf_char(b, 0x0a);
    buf_char(b, (char)(n + 2 + 5 + 2));
    buf_char(b, 0x0a);
    buf_char(b, (char)n);
    buf_str(b, text);
    buf_char(b, 0x15);
    buf_append(b, &score, 4);
    buf_char(b, 0x18);
    buf_char(b, (char)kind);
}

/* unk 0, <s> 1, </s> 2 and the pieces given; model_type 1 is unigram, 2 BPE. */
static void put_model(int model_type, const char *const *pieces, const float *scores, size_t n)
{
    struct buf b;
    buf_init(&b, MEM_TEST, 1 << 16);
    put_piece(&b, "<unk>", 0, TOK_KIND_UNKNOWN);
    put_piece(&b, "<s>", 0, TOK_KIND_CONTROL);
    put_piece(&b, "</s>", 0, TOK_KIND_CONTROL);
    for (size_t i = 0; i < n; i++)
        put_piece(&b, pieces[i], scores[i], TOK_KIND_NORMAL);
    buf_append(&b, "\x12\x02\x18", 3);
    buf_char(&b, (char)model_type);
    buf_append(&b, "\x1a\x02\x20\x00", 4); /* blanks are not collapsed */
    check_ok(buf_error(&b));
    put_file("tokenizer.model", buf_view(&b));
    buf_free(&b);
}

/* "bc" and "ab" are as good: the leftmost place wins, not the smaller id. */
static void test_spm_ties(void **state)
{
    static const char *const pieces[] = {"a", "b", "c", MARK, "bc", "ab"};
    static const float scores[] = {-9, -9, -9, -9, -1, -1};
    put_model(2, pieces, scores, 6);
    struct tokenizer *t = loaded();
    pieces_are(t, "abc", 0, MARK "|ab|c");
    pieces_are(t, "cbca", TOK_ADD_SPECIAL, "<s>|" MARK "|c|bc|a");
    pieces_are(t, "", TOK_ADD_SPECIAL, "<s>");
    pieces_are(t, "xy<s>", 0, MARK "|<unk>");
    pieces_are(t, "a</s>a", TOK_PARSE_SPECIAL, MARK "|a|</s>|" MARK "|a");
    tokenizer_free(t);
}

static void test_spm_configs(void **state)
{
    static const struct { const char *config, *text; unsigned flags; const char *pieces; } examples[] = {
        {"{\"tokenizer_class\":\"LlamaTokenizer\"}", "ab", TOK_ADD_SPECIAL, "<s>|" MARK "a|b"},
        {"{\"tokenizer_class\":\"LlamaTokenizerFast\",\"add_eos_token\":true,\"add_bos_token\":false}", "ab",
         TOK_ADD_SPECIAL, MARK "a|b|</s>"},
        {"{\"tokenizer_class\":\"LlamaTokenizer\",\"legacy\":false}", "a</s>a", TOK_PARSE_SPECIAL, MARK "a|</s>|a"},
        {"{\"tokenizer_class\":\"LlamaTokenizer\",\"legacy\":true}", "a</s>a", TOK_PARSE_SPECIAL,
         MARK "a|</s>|" MARK "a"},
        {"{\"tokenizer_class\":\"LlamaTokenizer\",\"add_prefix_space\":false}", "ab", 0, "a|b"},
        {"{\"tokenizer_class\":\"T5Tokenizer\",\"extra_ids\":2}", "a<extra_id_1>",
         TOK_PARSE_SPECIAL | TOK_ADD_SPECIAL, MARK "a|<extra_id_1>|</s>"},
        {"{\"added_tokens_decoder\":{\"7\":{\"content\":\"[X]\",\"special\":true}}}", "a[X]", TOK_PARSE_SPECIAL,
         MARK "a|[X]"},
        {"{\"pad_token\":\"[PAD]\"}", "[PAD]", TOK_PARSE_SPECIAL, "[PAD]"},
    };
    static const char *const pieces[] = {"a", "b", MARK, MARK "a"};
    static const float scores[] = {-9, -9, -9, -1};
    struct tokenizer *t;
    for (int model = 1; model <= 2; model++) {
        put_model(model, pieces, scores, 4);
        for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
            put_text("tokenizer_config.json", examples[i].config);
            t = loaded();
            pieces_are(t, examples[i].text, examples[i].flags, examples[i].pieces);
            tokenizer_free(t);
        }
    }
    put_text("tokenizer_config.json", "{\"tokenizer_class\":\"XLMRobertaTokenizer\"}");
    check_fails(NUN_EUNSUP, "XLMRobertaTokenizer", tokenizer_load(dir, &t));
    put_text("tokenizer_config.json", "{}");
    put_model(3, pieces, scores, 4);
    check_fails(NUN_EUNSUP, "model_type 3", tokenizer_load(dir, &t));
    put_text("tokenizer.model", "\n\x7f");
    check_fails(NUN_EFORMAT, "malformed protobuf", tokenizer_load(dir, &t));
}

/* Models that SentencePiece trained on a few lines, with what it makes of texts. */
static void test_spm_trained(void **state)
{
    static const char *const names[] = {"bpe", "bpe_blanks", "unigram", "unigram_bytes"};
    for (size_t m = 0; m < 4; m++) {
        char path[256];
        json_t *rows = NULL;
        struct tokenizer *t = NULL;
        snprintf(path, sizeof path, "tests/data/tokenizers/%s.model", names[m]);
        check_ok(tokenizer_load(path, &t));
        snprintf(path, sizeof path, "tests/data/tokenizers/%s.json", names[m]);
        check_ok(json_load_file_limited(path, &rows));
        assert_int_equal(json_array_size(rows), 60);
        for (size_t i = 0; i < json_array_size(rows); i++) {
            const json_t *row = json_array_get(rows, i), *want = json_array_get(row, 1);
            struct ids got = {0};
            check_ok(tokenizer_encode(t, tok_json_str(json_array_get(row, 0)), 0, &got));
            bool same = got.n == json_array_size(want);
            for (size_t k = 0; same && k < got.n; k++)
                same = got.at[k] == json_integer_value(json_array_get(want, k));
            if (!same)
                fail_msg("%s: text %zu \"%s\" gives other ids", names[m], i, json_string_value(json_array_get(row, 0)));
            text_is(t, got.at, got.n, 0, tok_json_str(json_array_get(row, 2)));
            ids_free(&got);
        }
        json_decref(rows);
        tokenizer_free(t);
    }
}

/* ---- vocab.json, vocab.txt ---- */

#define VOCAB                                                                                                  \
    "{\"a\":0,\"b\":1,\"ab\":2,\"\xc4\xa0\":3,\"\xc4\xa0" "ab\":4,\"<|endoftext|>\":5,\"<s>\":6,\"</s>\":7,\"<mask>\":8}"

static void test_vocab_json(void **state)
{
    static const struct { const char *config, *text; unsigned flags; const char *pieces; } examples[] = {
        {"{}", "ab ab<|endoftext|>", TOK_PARSE_SPECIAL, "ab|\xc4\xa0" "ab|<|endoftext|>"},
        {"{\"tokenizer_class\":\"GPT2TokenizerFast\",\"add_prefix_space\":true}", "ab", 0, "\xc4\xa0" "ab"},
        {"{\"tokenizer_class\":\"GPT2Tokenizer\",\"add_bos_token\":true,\"bos_token\":\"</s>\"}", "ab",
         TOK_ADD_SPECIAL, "</s>|ab"},
        {"{\"tokenizer_class\":\"RobertaTokenizer\"}", "ab <mask>", TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL,
         "<s>|ab|<mask>|</s>"},
        {"{\"tokenizer_class\":\"Qwen2Tokenizer\"}", "ab ab", TOK_ADD_SPECIAL, "ab|\xc4\xa0" "ab"},
    };
    struct tokenizer *t;
    put_text("vocab.json", VOCAB);
    put_text("merges.txt", "#version: 0.2\na b\n\xc4\xa0 ab\n");
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        put_text("tokenizer_config.json", examples[i].config);
        t = loaded();
        pieces_are(t, examples[i].text, examples[i].flags, examples[i].pieces);
        tokenizer_free(t);
    }
    put_text("added_tokens.json", "{\"[X]\":9}");
    t = loaded();
    pieces_are(t, "ab[X]", 0, "ab|[X]");
    tokenizer_free(t);
    put_text("added_tokens.json", "{\"[X]\":10}");
    check_fails(NUN_EFORMAT, "\"[X]\" has the id 10", tokenizer_load(dir, &t));
    put_text("tokenizer_config.json", "{\"tokenizer_class\":\"CLIPTokenizer\"}");
    put_text("added_tokens.json", "{}");
    check_fails(NUN_EUNSUP, "CLIPTokenizer", tokenizer_load(dir, &t));
    put_text("merges.txt", "a b\nb c\n");
    put_text("tokenizer_config.json", "{}");
    check_fails(NUN_EFORMAT, "model.merges[1]", tokenizer_load(dir, &t));
}

static void test_vocab_txt(void **state)
{
    struct tokenizer *t;
    put_text("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\nA\n\xc3\xa1\n.\n");
    t = loaded();
    pieces_are(t, "AB \xc3\x81[SEP]", TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, "[CLS]|a|##b|a|[SEP]|[SEP]");
    assert_int_equal(tokenizer_role(t, TOK_MASK), 4);
    text_is(t, (const int32_t[]){5, 6, 9, 5}, 4, 0, SPAN("ab. a"));
    tokenizer_free(t);
    put_text("tokenizer_config.json", "{\"do_lower_case\":false}");
    t = loaded();
    pieces_are(t, "A \xc3\xa1 c", 0, "A|\xc3\xa1|[UNK]");
    tokenizer_free(t);
}

/* ---- tiktoken ---- */

static void put_rank(struct buf *b, const char *bytes, size_t n, size_t rank)
{
    char text[64];
    sodium_bin2base64(text, sizeof text, (const unsigned char *)bytes, n, sodium_base64_VARIANT_ORIGINAL);
    buf_printf(b, "%s %zu\n", text, rank);
}

/* 256 bytes, then pairs in order of their bytes, as many as GPT-2 has ranks. "abc": "ab" comes before "bc". */
static void test_tiktoken(void **state)
{
    struct buf b;
    struct tokenizer *t;
    buf_init(&b, MEM_TEST, 4 << 20);
    for (size_t rank = 0; rank < 50256; rank++) {
        size_t pair = rank - 256;
        char bytes[2] = {(char)(rank < 256 ? rank : pair / 256), (char)(pair % 256)};
        put_rank(&b, bytes, rank < 256 ? 1 : 2, rank);
    }
    check_ok(buf_error(&b));
    put_file("x.tiktoken", buf_view(&b));
    t = loaded();
    assert_int_equal(tokenizer_vocab_size(t), 50257);
    assert_int_equal(tokenizer_role(t, TOK_EOS), 50256);
    pieces_are(t, "abc", 0, "ab|c");
    pieces_are(t, "bcab", 0, "bc|ab"); /* "ab" is merged first, and leaves "bc" whole */
    pieces_are(t, "cab d<|endoftext|>", TOK_PARSE_SPECIAL, "c|ab|\xc4\xa0" "d|<|endoftext|>");
    decodes_to(t, "\xe6\x97\xa5 abc", 0, "\xe6\x97\xa5 abc");
    tokenizer_free(t);
    struct tok_raw raw;
    tok_raw_init(&raw);
    check_fails(NUN_EUNSUP, "2 ranks belong to no family", tok_tiktoken_parse(SPAN("YQ== 0\nYg== 1\n"), "x", &raw));
    tok_raw_free(&raw);
    tok_raw_init(&raw);
    check_fails(NUN_EFORMAT, "line 2: expected base64 and the rank 1",
                tok_tiktoken_parse(SPAN("YQ== 0\nYg== 2\n"), "x", &raw));
    tok_raw_free(&raw);
    buf_free(&b);
}

/* ---- GGUF ---- */

static void put_u32(struct buf *b, uint32_t v) { buf_append(b, &v, 4); }
static void put_u64(struct buf *b, uint64_t v) { buf_append(b, &v, 8); }

static void put_string(struct buf *b, const char *s)
{
    put_u64(b, strlen(s));
    buf_str(b, s);
}

static void put_key(struct buf *b, const char *key, uint32_t type)
{
    char full[128];
    snprintf(full, sizeof full, "tokenizer.ggml.%s", key);
    put_string(b, full);
    put_u32(b, type);
}

/* Strings separated by blanks; "_" stands for a blank in one. */
static void put_strings(struct buf *b, const char *key, const char *list)
{
    char word[256];
    size_t count = 0;
    for (const char *p = list; *p; p += strcspn(p, " ") + (strchr(p, ' ') != NULL))
        count++;
    put_key(b, key, 9);
    put_u32(b, 8);
    put_u64(b, count);
    for (const char *p = list; *p; p += strcspn(p, " ") + (strchr(p, ' ') != NULL)) {
        size_t n = 0;
        for (; p[n] && p[n] != ' ' && n + 1 < sizeof word; n++)
            word[n] = p[n] == '_' ? ' ' : p[n];
        word[n] = '\0';
        put_string(b, word);
    }
}

static void put_id(struct buf *b, const char *key, int id)
{
    put_key(b, key, 4);
    put_u32(b, (uint32_t)id);
}

struct vocabulary {
    const char *model, *pre, *tokens, *merges;
    const int *types;
    const float *scores;
    size_t n; /* of types and scores */
    int bos, unk, eos;
};

static void put_gguf(const struct vocabulary *v)
{
    struct buf b;
    buf_init(&b, MEM_TEST, 1 << 16);
    buf_str(&b, "GGUF");
    put_u32(&b, 3);
    put_u64(&b, 0);
    put_u64(&b, 2 + (v->pre != NULL) + (v->merges != NULL) + (v->types != NULL) + (v->scores != NULL) + (v->bos >= 0) +
                    (v->unk > 0) + (v->eos > 0));
    put_key(&b, "model", 8);
    put_string(&b, v->model);
    put_strings(&b, "tokens", v->tokens);
    if (v->pre) {
        put_key(&b, "pre", 8);
        put_string(&b, v->pre);
    }
    if (v->merges)
        put_strings(&b, "merges", v->merges);
    if (v->types) {
        put_key(&b, "token_type", 9);
        put_u32(&b, 5);
        put_u64(&b, v->n);
        buf_append(&b, v->types, v->n * sizeof *v->types);
    }
    if (v->scores) {
        put_key(&b, "scores", 9);
        put_u32(&b, 6);
        put_u64(&b, v->n);
        buf_append(&b, v->scores, v->n * sizeof *v->scores);
    }
    if (v->bos >= 0)
        put_id(&b, "bos_token_id", v->bos);
    if (v->unk > 0)
        put_id(&b, "unknown_token_id", v->unk);
    if (v->eos > 0)
        put_id(&b, "eos_token_id", v->eos);
    check_ok(buf_error(&b));
    put_file("x.gguf", buf_view(&b));
    buf_free(&b);
}

static void test_gguf_models(void **state)
{
    static const int types[] = {2, 3, 3, 1, 1, 1, 1, 4};
    static const float scores[] = {0, 0, 0, -9, -9, -9, -1, 0};
    static const struct { struct vocabulary v; const char *text, *pieces; } examples[] = {
        {{"llama", NULL, "<unk> <s> </s> a b " MARK " " MARK "a [x]", NULL, types, scores, 8, -1, 0, 0}, "ab[x]</s>",
         "<s>|" MARK "a|b|[x]|</s>"},
        {{"t5", NULL, "<unk> <s> </s> a b " MARK " " MARK "a [x]", NULL, types, scores, 8, -1, 0, 0}, "ab  a",
         MARK "a|b|" MARK "a|<s>"},
        {{"gpt2", "llama-bpe", "a b ab \xc4\xa0 \xc4\xa0" "ab <s>", "a_b \xc4\xa0_ab", NULL, NULL, 6, 5, 0, 0},
         "ab ab", "<s>|ab|\xc4\xa0" "ab"},
        {{"gpt2", "qwen2", "a b ab \xc4\xa0 \xc4\xa0" "ab", "a_b \xc4\xa0_ab", NULL, NULL, 5, -1, 0, 0}, "abb", "ab|b"},
        {{"bert", NULL, "[PAD] [UNK] [CLS] [SEP] " MARK "a b x", NULL, NULL, NULL, 7, 2, 1, 3}, "aB y",
         "[CLS]|a|##b|[UNK]|[SEP]"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        put_gguf(&examples[i].v);
        struct tokenizer *t = loaded();
        pieces_are(t, examples[i].text, TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, examples[i].pieces);
        tokenizer_free(t);
    }
}

/* A config in the same folder belongs to another file. */
static void test_gguf_alone(void **state)
{
    put_gguf(&(struct vocabulary){"gpt2", "gpt-2", "a b <s>", "", NULL, NULL, 3, 2, 0, 0});
    put_text("tokenizer_config.json", "{\"tokenizer_class\":\"LlamaTokenizer\",\"pad_token\":\"[PAD]\"}");
    struct tokenizer *t = loaded();
    assert_int_equal(tokenizer_vocab_size(t), 3);
    pieces_are(t, "a", TOK_ADD_SPECIAL, "a");
    tokenizer_free(t);
}

static void test_gguf_refusals(void **state)
{
    static const int odd[] = {1, 9};
    static const struct { struct vocabulary v; int code; const char *sentence; } examples[] = {
        {{"gpt2", "nope", "a b", "", NULL, NULL, 2, -1, 0, 0}, NUN_EUNSUP, "pre is \"nope\""},
        {{"rwkv", NULL, "a b", NULL, NULL, NULL, 2, -1, 0, 0}, NUN_EUNSUP, "model is \"rwkv\""},
        {{"gpt2", "gpt-2", "a b", NULL, NULL, NULL, 2, -1, 0, 0}, NUN_EFORMAT, "no tokenizer.ggml.merges"},
        {{"gpt2", "gpt-2", "a b", "a_c", NULL, NULL, 2, -1, 0, 0}, NUN_EFORMAT, "model.merges[0]"},
        {{"llama", NULL, "a b", NULL, odd, NULL, 2, -1, 0, 0}, NUN_EFORMAT, "unknown type 9"},
        {{"llama", NULL, "a b", NULL, odd, NULL, 1, -1, 0, 0}, NUN_EFORMAT, "2 tokens, 0 scores, 1 types"},
        {{"llama", NULL, "a b", NULL, NULL, NULL, 2, 7, 0, 0}, NUN_EFORMAT, "bos_token_id is 7, there are 2 tokens"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct tokenizer *t;
        put_gguf(&examples[i].v);
        check_fails(examples[i].code, examples[i].sentence, tokenizer_load(dir, &t));
    }
}

/* ---- configs beside a tokenizer.json ---- */

#define JSON(splitter)                                                                                         \
    "{\"added_tokens\":[{\"id\":6,\"content\":\"<s>\",\"special\":true,\"normalized\":false},"                 \
    "{\"id\":7,\"content\":\"[X]\",\"special\":false}],\"pre_tokenizer\":" splitter                            \
    ",\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\","                                       \
    "\"vocab\":{\"a\":0,\"b\":1,\".\":2,\"\xc4\xa0\":3,\"'\":4,\"s\":5},\"merges\":[]}}"
#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":false}"

static void test_configs(void **state)
{
    static const struct { const char *config, *text, *pieces, *back; } examples[] = {
        {"{}", "a .", "\xc4\xa0|a|\xc4\xa0|.", " a ."},
        {"{\"tokenizer_class\":\"X\"}", "a .", "a|\xc4\xa0|.", "a ."},
        {"{\"add_prefix_space\":true}", "a .", "\xc4\xa0|a|\xc4\xa0|.", " a ."},
        {"{\"clean_up_tokenization_spaces\":true}", "a .  .a ' b 's ' s '",
         "a|\xc4\xa0|.|\xc4\xa0|\xc4\xa0|.|a|\xc4\xa0|'|\xc4\xa0|b|\xc4\xa0|'|s|\xc4\xa0|'|\xc4\xa0|s|\xc4\xa0|'",
         "a. .a'b's's '"},
        {"{\"tokenizer_class\":\"LlamaTokenizer\",\"eos_token\":\"[X]\",\"add_eos_token\":true}", "a", "<s>|a|[X]",
         NULL},
        {"{\"tokenizer_class\":\"GPTNeoXTokenizerFast\"}", "a", "a", "a"},
        {"{\"added_tokens_decoder\":{\"7\":{\"content\":\"[X]\",\"lstrip\":true,\"special\":false}}}", "a [X]",
         "a|[X]", "a[X]"},
        {"{\"sep_token\":\"[SEP]\"}", "a[SEP]", "a|[SEP]", NULL},
        {"{\"additional_special_tokens\":[\"[X]\",\"[Y]\"]}", "[Y]a[X]", "[Y]|a|[X]", NULL},
        {"{\"extra_special_tokens\":{\"image_token\":\"[I]\"}}", "a[I]", "a|[I]", NULL},
    };
    put_text("tokenizer.json", JSON(BYTE_LEVEL));
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        put_text("tokenizer_config.json", examples[i].config);
        struct tokenizer *t = loaded();
        pieces_are(t, examples[i].text, TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, examples[i].pieces);
        if (examples[i].back)
            decodes_to(t, examples[i].text, 0, examples[i].back);
        tokenizer_free(t);
    }
}

/* All that the replacements do, on whole texts and one after the other. */
static void clean_slowly(char *text)
{
    static const char *const rules[][2] = {
        {" .", "."},     {" ?", "?"},   {" !", "!"},   {" ,", ","},     {" ' ", "'"},
        {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        for (char *p = text; (p = strstr(p, rules[i][0])); p += strlen(rules[i][1])) {
            size_t from = strlen(rules[i][0]), to = strlen(rules[i][1]);
            memcpy(p, rules[i][1], to);
            memmove(p + to, p + from, strlen(p + from) + 1);
        }
}

static void test_clean(void **state)
{
    static const char letters[] = "    ''.,?!ntmsver";
    for (uint64_t seed = 0; seed < 20000; seed++) {
        struct rng r = rng_at(seed, 1);
        struct tok_cleaner cleaner = {0};
        struct buf out;
        char text[32] = "", want[32];
        size_t n = rng_below(&r, sizeof text - 1);
        for (size_t i = 0; i < n; i++)
            text[i] = letters[rng_below(&r, sizeof letters - 1)];
        buf_init(&out, MEM_TEST, 1 << 10);
        for (size_t at = 0, len; at < n; at += len) {
            len = 1 + rng_below(&r, (uint32_t)(n - at));
            check_ok(tok_clean(&cleaner, span_of(text + at, len), false, &out));
        }
        check_ok(tok_clean(&cleaner, SPAN(""), true, &out));
        memcpy(want, text, sizeof want);
        clean_slowly(want);
        assert_string_equal(buf_cstr(&out), want);
        buf_free(&out);
    }
}

/* A text behind many ids that are not shown keeps its blank. */
static void test_hidden_ids(void **state)
{
    static const char *const pieces[] = {MARK "a"};
    static const float scores[] = {-1};
    int32_t ids[42];
    put_model(2, pieces, scores, 1);
    struct tokenizer *t = loaded();
    for (int i = 0; i < 42; i++)
        ids[i] = i == 0 || i == 41 ? 3 : i % 2 ? 2 : 999;
    text_is(t, ids, 42, TOK_SKIP_SPECIAL, SPAN("a a"));
    tokenizer_free(t);
}

/* ---- time, on a small stack ---- */

/* Linear takes well under a second, quadratic minutes. */
enum { MILLISECONDS = 10000 * SANITIZED_TIME };

struct trial { const struct tokenizer *t; struct span text; uint64_t ms; int rc; };

static void *encode_trial(void *arg)
{
    struct trial *trial = arg;
    struct ids ids = {0};
    struct timespec used; /* of this thread alone: other programs do not count */
    trial->rc = tokenizer_encode(trial->t, trial->text, TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, &ids);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    trial->ms = (uint64_t)used.tv_sec * 1000 + (uint64_t)used.tv_nsec / 1000000;
    ids_free(&ids);
    return NULL;
}

/* `unit` again and again, one `last` character behind it. */
static void check_time(const char *what, const struct tokenizer *t, size_t bytes, const char *unit, const char *last)
{
    size_t len = strlen(unit), n = bytes / len * len;
    char *text = mem_alloc(MEM_TEST, n + strlen(last));
    pthread_attr_t small;
    pthread_t thread;
    for (size_t i = 0; i < n; i++)
        text[i] = unit[i % len];
    memcpy(text + n, last, strlen(last));
    struct trial trial = {t, span_of(text, n + strlen(last)), 0, 0};
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, SMALL_STACK);
    assert_int_equal(pthread_create(&thread, &small, encode_trial, &trial), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&small);
    mem_free(text);
    if (trial.rc < 0)
        fail_msg("%s: \"%s\" repeated: code %d", what, unit, trial.rc);
    if (trial.ms > MILLISECONDS)
        fail_msg("%s: \"%s\" repeated took %llu ms", what, unit, (unsigned long long)trial.ms);
}

static const char *const hostile[][2] = {
    {"a", ""}, {"A", "1"}, {" ", ""}, {" ", "x"}, {" ", "1"}, {"\n", ""}, {"\n ", "x"}, {"\t", "x"}, {"'", ""}, {"!", "a"},
    {"1", ""}, {"1", "a"}, {"\xe6\x97\xa5", ""}, {"\xcc\x81", ""}, {"Aa", ""}, {"a ", ""}, {MARK, ""}, {" .", ""},
    {"<|", ""}, {"IMGIMGA", ""}, {"(", ""},
};

static void test_hostile_models(void **state)
{
    static const char *const pieces[] = {"a", "aa", MARK, "aaaa", " ", "1"};
    static const float scores[] = {-1, -2, -1, -3, -1, -1};
    for (int model = 1; model <= 3; model++) {
        if (model < 3)
            put_model(model, pieces, scores, 6);
        else {
            char path[128];
            snprintf(path, sizeof path, "%s/tokenizer.model", dir);
            assert_int_equal(remove(path), 0);
            put_text("vocab.txt", "[UNK]\n[CLS]\n[SEP]\na\n##a\n##aa\n1\n##1\n");
        }
        struct tokenizer *t = loaded();
        for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++)
            check_time(model == 1 ? "unigram" : model == 2 ? "bpe" : "wordpiece", t, 1 << 20, hostile[i][0],
                       hostile[i][1]);
        tokenizer_free(t);
    }
}

/* Every cut that has a name compiles, and is done with every bait. */
static void test_hostile_presets(void **state)
{
    const struct tok_preset *p;
    for (size_t i = 0; (p = tok_preset_at(i)); i++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(p->names, " "), p->names);
        put_gguf(&(struct vocabulary){"gpt2", name, "a aa A 1 ! \xc4\xa0 \xc4\xa0\xc4\xa0", "a_a \xc4\xa0_\xc4\xa0",
                                      NULL, NULL, 7, 0, 0, 1});
        struct tokenizer *t = loaded();
        for (size_t k = 0; k < sizeof hostile / sizeof *hostile; k++)
            check_time(name, t, 1 << 17, hostile[k][0], hostile[k][1]);
        tokenizer_free(t);
    }
}

/* ---- every allocation fails in turn ---- */

static int load_and_use(void *arg)
{
    struct tokenizer *t = NULL;
    struct ids ids = {0};
    struct buf out;
    buf_init(&out, MEM_TEST, 1 << 16);
    int rc = tokenizer_load(dir, &t);
    if (rc == 0)
        rc = tokenizer_encode(t, SPAN("a b"), TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, &ids);
    if (rc == 0)
        rc = tokenizer_decode(t, ids.at, ids.n, 0, &out);
    buf_free(&out);
    ids_free(&ids);
    tokenizer_free(t);
    return rc;
}

static void test_torture_spm(void **state)
{
    static const char *const pieces[] = {"a", "b", MARK, MARK "a"};
    static const float scores[] = {-9, -9, -9, -1};
    put_text("tokenizer_config.json",
             "{\"tokenizer_class\":\"LlamaTokenizer\",\"pad_token\":\"[PAD]\",\"clean_up_tokenization_spaces\":true}");
    put_model(2, pieces, scores, 4);
    torture_run("bpe", load_and_use, NULL, 1);
    put_model(1, pieces, scores, 4);
    torture_run("unigram", load_and_use, NULL, 1);
}

static void test_torture_vocab(void **state)
{
    put_text("vocab.txt", "[UNK]\n[CLS]\n[SEP]\na\nb\n");
    put_text("tokenizer_config.json", "{\"added_tokens_decoder\":{\"5\":{\"content\":\"[X]\"}}}");
    torture_run("vocab.txt", load_and_use, NULL, 1);
}

static void test_torture_gguf(void **state)
{
    static const int types[] = {2, 3, 3, 1, 1, 1, 1};
    static const float scores[] = {0, 0, 0, -9, -9, -9, -1};
    put_gguf(&(struct vocabulary){"llama", NULL, "<unk> <s> </s> a b " MARK " " MARK "a", NULL, types, scores, 7, 1,
                                  0, 2});
    torture_run("gguf", load_and_use, NULL, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh_dir, drop_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_spm_ties), TEST(test_spm_configs), TEST(test_spm_trained), TEST(test_vocab_json),
            TEST(test_vocab_txt),
        TEST(test_tiktoken), TEST(test_gguf_models), TEST(test_gguf_alone), TEST(test_gguf_refusals),
            TEST(test_configs), TEST(test_clean), TEST(test_hidden_ids),
        TEST(test_hostile_models), TEST(test_hostile_presets), TEST(test_torture_spm), TEST(test_torture_vocab),
            TEST(test_torture_gguf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
