/* Tokenizers: every stage on small documents written here, training, saving, streams, hostile input. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/file.h"
#include "base/limits.h"
#include "base/seam.h"
#include "base/utf8.h"
#include "../check.h"
#include "text/tok_int.h"
#include "../torture.h"

#define DOC(normalizer, splitter, post, decoder, model, added)                                                          \
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[" added "],\"normalizer\":" normalizer   \
    ",\"pre_tokenizer\":" splitter ",\"post_processor\":" post ",\"decoder\":" decoder ",\"model\":" model "}"

static struct tokenizer *made(const char *json)
{
    struct tokenizer *t = NULL;
    check_ok(tokenizer_from_json(span_str(json), &t));
    return t;
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
}

static void text_is(const struct tokenizer *t, const int32_t *ids, size_t n, unsigned flags, const char *want)
{
    struct buf all, streamed;
    struct tok_stream *s;
    buf_init(&all, MEM_TEST, 1 << 20);
    buf_init(&streamed, MEM_TEST, 1 << 20);
    check_ok(tokenizer_decode(t, ids, n, flags, &all));
    assert_string_equal(buf_cstr(&all), want);
    check_ok(tok_stream_create(t, flags, &s));
    for (size_t i = 0; i < n; i++) {
        check_ok(tok_stream_push(s, ids[i], &streamed));
        assert_int_equal(utf8_incomplete_tail(buf_cstr(&streamed), streamed.len), 0);
    }
    check_ok(tok_stream_end(s, &streamed));
    assert_string_equal(buf_cstr(&streamed), want);
    tok_stream_free(s);
    buf_free(&streamed);
    buf_free(&all);
}

/* ---- splitters and normalizers ---- */

/* WordLevel shows cuts: it knows the words below, any other piece is <unk>. */
#define WORDS "{\"type\":\"WordLevel\",\"unk_token\":\"<unk>\",\"vocab\":{\"<unk>\":0,\"a\":1,\"b\":2,\"ab\":3,\" \":4,\" b\":5,\"a \":6," \
    "\"1\":7,\"12\":8,\"!\":9,\"!!\":10,\"▁a\":11,\"▁b\":12,\"▁\":13,\"Ġb\":14,\"é\":15,\"e\":16,\"Ã©\":17,\"<s>\":18,\"</s>\":19,\"中\":20," \
    "\"A\":21,\"- a\":22,\"-\":23,\"a-\":24,\"-b\":25,\"--\":26}}"
#define SPLIT(regex, behavior, invert) \
    DOC("null", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"" behavior "\",\"invert\":" invert "}", "null", "null", WORDS, "")
#define SPLITTER(row) DOC("null", row, "null", "null", WORDS, "")
#define NORMALIZER(row) DOC(row, "null", "null", "null", WORDS, "")

struct example { const char *json, *text, *pieces; };

static void test_splitters(void **state)
{
    static const struct example examples[] = {
        {SPLIT("-", "Isolated", "false"), "a-b", "a|-|b"},
        {SPLIT("-", "Removed", "false"), "a--b", "a|b"},
        {SPLIT("-", "MergedWithPrevious", "false"), "a-b", "a-|b"},
        {SPLIT("-", "MergedWithNext", "false"), "a-b", "a|-b"},
        {SPLIT("-", "Contiguous", "false"), "a--b", "a|--|b"},
        {SPLIT("[ab]+", "Removed", "true"), "ab-a-b", "ab|a|b"},
        {SPLIT("a*", "Isolated", "false"), "ab", "a|b"},
        {SPLIT("[a-z&&[^a]]", "Isolated", "false"), "ab", "a|b"},
        {SPLIT("\\\\s+", "Removed", "false"), "a\xc2\x85" "b \xc2\xa0" "a", "a|b|a"},
        {SPLITTER("{\"type\":\"WhitespaceSplit\"}"), " a  b\n", "a|b"},
        {SPLITTER("{\"type\":\"Whitespace\"}"), "a!! b", "a|!!|b"},
        {SPLITTER("{\"type\":\"BertPreTokenizer\"}"), "a!! b", "a|!|!|b"},
        {SPLITTER("{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}"), "a!!b", "a|!!|b"},
        {SPLITTER("{\"type\":\"Digits\",\"individual_digits\":true}"), "a12b", "a|1|<unk>|b"},
        {SPLITTER("{\"type\":\"Digits\",\"individual_digits\":false}"), "a12b", "a|12|b"},
        {SPLITTER("{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"always\",\"split\":true}"), "a b", "▁a|▁b"},
        {SPLITTER("{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"never\",\"split\":true}"), "a b", "a|▁b"},
        {SPLITTER("{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"add_prefix_space\":false}"), " a", "▁a"},
        {SPLITTER("{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"), "a b", "a|Ġb"},
        {SPLITTER("{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}"), "b", "Ġb"},
        {SPLITTER("{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"), "é", "Ã©"},
        {SPLITTER("{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"-\"}"), "a-b", "a|b"},
        {SPLITTER("{\"type\":\"FixedLength\",\"length\":2}"), "ab12!", "ab|12|!"},
        {SPLITTER("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},{\"type\":\"Punctuation\"}]}"), "a! b", "a|!|b"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct tokenizer *t = made(examples[i].json);
        pieces_are(t, examples[i].text, 0, examples[i].pieces);
        tokenizer_free(t);
    }
}

static void test_normalizers(void **state)
{
    static const struct example examples[] = {
        {NORMALIZER("{\"type\":\"NFC\"}"), "e\xcc\x81", "é"},
        {NORMALIZER("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"StripAccents\"}]}"), "é", "e"},
        {NORMALIZER("{\"type\":\"NFKC\"}"), "\xef\xbd\x81", "a"},
        {NORMALIZER("{\"type\":\"NFKD\"}"), "\xc2\xb9\xc2\xb2", "12"},
        {NORMALIZER("{\"type\":\"Lowercase\"}"), "AB", "ab"},
        {NORMALIZER("{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true}"), " \t ab \n", "ab"},
        {NORMALIZER("{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":false}"), " a ", "a "},
        {NORMALIZER("{\"type\":\"Prepend\",\"prepend\":\"▁\"}"), "a", "▁a"},
        {NORMALIZER("{\"type\":\"Replace\",\"pattern\":{\"String\":\"-\"},\"content\":\"!\"}"), "--", "!!"},
        {NORMALIZER("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"[0-9]+\"},\"content\":\"1\"}"), "2345", "1"},
        {NORMALIZER("{\"type\":\"ByteLevel\"}"), "é", "Ã©"},
        {NORMALIZER("{\"type\":\"Nmt\"}"), "a\t\x01", "a "},
        {NORMALIZER("{\"type\":\"Precompiled\",\"precompiled_charsmap\":null}"), "a", "a"},
        {DOC("{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":true}",
             "{\"type\":\"BertPreTokenizer\"}", "null", "null", WORDS, ""), "A中É\x07", "a|中|e"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct tokenizer *t = made(examples[i].json);
        pieces_are(t, examples[i].text, 0, examples[i].pieces);
        tokenizer_free(t);
    }
}

/* ---- models ---- */

#define BPE(switches, merges)                                                                                              \
    "{\"type\":\"BPE\",\"unk_token\":\"<unk>\"," switches "\"vocab\":{\"<unk>\":0,\"a\":1,\"b\":2,\"c\":3,\"ab\":4,\"bc\":5,\"abc\":6,"   \
    "\"<0xC3>\":7,\"<0xA9>\":8,\" \":9,\"a b\":10,\"a \":11,\"b</w>\":12,\"ab</w>\":13,\"##b\":14,\"a##b\":15,\"ac\":16},\"merges\":[" merges "]}"
#define BPE_DOC(switches, merges) DOC("null", "null", "null", "null", BPE(switches, merges), "")

static void test_bpe(void **state)
{
    static const struct example examples[] = {
        {BPE_DOC("", "\"b c\",\"a b\",\"a bc\""), "abc", "abc"},
        {BPE_DOC("", "\"a b\",\"b c\",\"a bc\""), "abc", "ab|c"},
        {BPE_DOC("", "[\"a\",\"b\"]"), "aab", "a|ab"},
        {BPE_DOC("", "\"a  \",\"a  b\""), "a b", "a b"}, /* a blank inside of a piece */
        {BPE_DOC("\"fuse_unk\":true,", "\"a b\""), "xyab", "<unk>|ab"},
        {BPE_DOC("\"fuse_unk\":false,", "\"a b\""), "xyab", "<unk>|<unk>|ab"},
        {BPE_DOC("\"byte_fallback\":true,", "\"a b\""), "éab", "<0xC3>|<0xA9>|ab"},
        {BPE_DOC("\"byte_fallback\":true,", "\"a b\""), "ñ", "<unk>"},
        {BPE_DOC("\"ignore_merges\":true,", "\"a b\""), "abc", "abc"},
        {BPE_DOC("\"ignore_merges\":false,", "\"a b\""), "abc", "ab|c"},
        {BPE_DOC("\"end_of_word_suffix\":\"</w>\",", "\"a b</w>\""), "ab", "ab</w>"},
        {BPE_DOC("\"continuing_subword_prefix\":\"##\",", "\"a ##b\""), "ab", "ab"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct tokenizer *t = made(examples[i].json);
        pieces_are(t, examples[i].text, 0, examples[i].pieces);
        tokenizer_free(t);
    }
}

static void test_other_models(void **state)
{
    static const struct example examples[] = {
        {DOC("null", "null", "null", "null",
             "{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],[\"a\",-1],[\"b\",-1.5],[\"ab\",-2],[\"aba\",-9]]}", ""),
         "abaxyb", "ab|a|<unk>|b"},
        {DOC("null", "null", "null", "null",
             "{\"type\":\"Unigram\",\"unk_id\":0,\"byte_fallback\":true,\"vocab\":[[\"<unk>\",0],[\"a\",-1],[\"<0xC3>\",-9],[\"<0xA9>\",-9]]}", ""),
         "aé", "a|<0xC3>|<0xA9>"},
        {DOC("null", "{\"type\":\"WhitespaceSplit\"}", "null", "null",
             "{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":5,"
             "\"vocab\":{\"[UNK]\":0,\"a\":1,\"ab\":2,\"##c\":3,\"##cd\":4}}", ""),
         "abcd ac abx aaaaaa", "ab|##cd|a|##c|[UNK]|[UNK]"},
        {DOC("null", "null", "null", "null", "{\"vocab\":{\"a\":0,\"[UNK]\":1},\"unk_token\":\"[UNK]\"}", ""), "a", "a"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct tokenizer *t = made(examples[i].json);
        pieces_are(t, examples[i].text, 0, examples[i].pieces);
        tokenizer_free(t);
    }
}

/* ---- added tokens ---- */

#define ADDED(id, text, keys) "{\"id\":" #id ",\"content\":\"" text "\"" keys "}"
#define ADDED_DOC(list) DOC("{\"type\":\"Lowercase\"}", "{\"type\":\"WhitespaceSplit\"}", "null", "null", WORDS, list)

static void test_added(void **state)
{
    static const struct { const char *json, *text; unsigned flags; const char *pieces; } examples[] = {
        {ADDED_DOC(ADDED(18, "<s>", ",\"special\":true,\"normalized\":false")), "a<s>b", TOK_PARSE_SPECIAL, "a|<s>|b"},
        {ADDED_DOC(ADDED(18, "<s>", ",\"special\":true,\"normalized\":false")), "a <s> b", 0, "a|<unk>|b"},
        {ADDED_DOC(ADDED(18, "<s>", ",\"special\":false,\"normalized\":false")), "a<s>b", 0, "a|<s>|b"},
        {ADDED_DOC(ADDED(27, "<S>", ",\"normalized\":false")), "a<s>b", 0, "<unk>"},
        {ADDED_DOC(ADDED(27, "<S>", ",\"normalized\":true")), "a<s>b", 0, "a|<S>|b"},
        {ADDED_DOC(ADDED(27, "xx", "") "," ADDED(28, "xxx", "")), "axxxb", 0, "a|xxx|b"},
        {ADDED_DOC(ADDED(27, "xx", ",\"single_word\":true")), "a xx xxb", 0, "a|xx|<unk>"},
        {SPLITTER("null"), "a ", 0, "a "},
        {DOC("null", "null", "null", "null", WORDS, ADDED(27, "xx", ",\"lstrip\":true")), "a xx b", 0, "a|xx| b"},
        {DOC("null", "null", "null", "null", WORDS, ADDED(27, "xx", ",\"rstrip\":true")), "a xx b", 0, "a |xx|b"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct tokenizer *t = made(examples[i].json);
        pieces_are(t, examples[i].text, examples[i].flags, examples[i].pieces);
        tokenizer_free(t);
    }
}

/* Whatever the model could do with it, plain text gives no special id. */
static void test_no_injection(void **state)
{
    static const char *const models[] = {
        "{\"type\":\"BPE\",\"ignore_merges\":true,\"vocab\":{\"<\":0,\"s\":1,\">\":2,\"<s\":3,\"<s>\":4},\"merges\":[\"< s\",\"<s >\"]}",
        "{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"?\",0],[\"<\",-9],[\"s\",-9],[\">\",-9],[\"<s>\",0]]}",
        "{\"type\":\"WordPiece\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"<\":1,\"s\":2,\">\":3,\"<s>\":4}}",
        "{\"type\":\"WordLevel\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"<\":1,\"s\":2,\">\":3,\"<s>\":4}}",
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char json[1024];
        snprintf(json, sizeof json, "{\"added_tokens\":[{\"id\":4,\"content\":\"<s>\",\"special\":true}],\"model\":%s}", models[i]);
        struct tokenizer *t = made(json);
        struct ids ids = {0};
        check_ok(tokenizer_encode(t, SPAN("<s>"), 0, &ids));
        assert_true(ids.n > 0);
        for (size_t k = 0; k < ids.n; k++)
            assert_int_not_equal(ids.at[k], 4);
        ids.n = 0;
        check_ok(tokenizer_encode(t, SPAN("<s>"), TOK_PARSE_SPECIAL, &ids));
        assert_int_equal(ids.n, 1);
        assert_int_equal(ids.at[0], 4);
        ids_free(&ids);
        tokenizer_free(t);
    }
}

static void test_posts(void **state)
{
#define ENDS ADDED(18, "<s>", ",\"special\":true") "," ADDED(19, "</s>", ",\"special\":true")
#define POST(row) DOC("null", "{\"type\":\"WhitespaceSplit\"}", row, "null", WORDS, ENDS)
    static const struct example examples[] = {
        {POST("{\"type\":\"BertProcessing\",\"sep\":[\"</s>\",19],\"cls\":[\"<s>\",18]}"), "a b", "<s>|a|b|</s>"},
        {POST("{\"type\":\"RobertaProcessing\",\"sep\":[\"</s>\",19],\"cls\":[\"<s>\",18],\"trim_offsets\":true,\"add_prefix_space\":false}"), "a", "<s>|a|</s>"},
        {POST("{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],"
              "\"pair\":[],\"special_tokens\":{\"x\":{\"id\":\"x\",\"ids\":[18,19],\"tokens\":[\"<s>\",\"</s>\"]}}}"), "a", "<s>|</s>|a"},
        {POST("{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},{\"type\":\"BertProcessing\",\"sep\":[\"</s>\",19],\"cls\":[\"<s>\",18]}]}"), "", "<s>|</s>"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct tokenizer *t = made(examples[i].json);
        pieces_are(t, examples[i].text, TOK_ADD_SPECIAL, examples[i].pieces);
        tokenizer_free(t);
    }
}

/* ---- decoders ---- */

static void test_decoders(void **state)
{
#define SPELLS "{\"type\":\"WordLevel\",\"unk_token\":\"a\",\"vocab\":{\"a\":0,\"##b\":1,\"▁a\":2,\"▁\":3,\"<0xC3>\":4,\"<0xA9>\":5,\"Ġ\":6,\"Ã\":7,\"©\":8," \
    "\"b</w>\":9,\"|\":10,\"!\":11,\"中\":12}}"
#define DECODER(row) DOC("null", "null", "null", row, SPELLS, ADDED(13, "<s>", ",\"special\":true"))
    static const struct { const char *json; int32_t ids[6]; size_t n; const char *text; } examples[] = {
        {DECODER("null"), {0, 1}, 2, "a ##b"},
        {DECODER("{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}"), {0, 1, 11, 0}, 4, "ab! a"},
        {DECODER("{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":false}"), {0, 1, 11}, 3, "ab !"},
        {DECODER("{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"always\",\"split\":true}"), {2, 2}, 2, "a a"},
        {DECODER("{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"never\",\"split\":true}"), {2, 2}, 2, " a a"},
        {DECODER("{\"type\":\"ByteLevel\"}"), {0, 6, 7, 8}, 4, "a \xc3\xa9"},
        {DECODER("{\"type\":\"ByteLevel\"}"), {7, 12, 7}, 3, "\xef\xbf\xbd中\xef\xbf\xbd"},
        {DECODER("{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}"), {0, 9, 0, 9}, 4, "ab ab"},
        {DECODER("{\"type\":\"CTC\",\"pad_token\":\"!\",\"word_delimiter_token\":\"|\",\"cleanup\":true}"), {0, 0, 11, 0, 10, 0}, 6, "aa a"},
        {DECODER("{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]}"), {0, 4, 5}, 3, "a\xc3\xa9"},
        {DECODER("{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]}"), {4, 0}, 2, "\xef\xbf\xbd" "a"},
        {DECODER("{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"▁\"},\"content\":\" \"},{\"type\":\"Fuse\"},"
                 "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}"), {2, 3, 2}, 3, "a  a"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct tokenizer *t = made(examples[i].json);
        text_is(t, examples[i].ids, examples[i].n, 0, examples[i].text);
        tokenizer_free(t);
    }
    struct tokenizer *t = made(DECODER("{\"type\":\"Fuse\"}"));
    text_is(t, (int32_t[]){13, 0, 99, -1, 13}, 5, TOK_SKIP_SPECIAL, "a");
    text_is(t, (int32_t[]){13, 0}, 2, 0, "<s>a");
    tokenizer_free(t);
}

/* Characters of four bytes, one byte a token, over many windows of the stream. */
static void test_stream(void **state)
{
    struct tokenizer *t;
    struct ids ids = {0};
    char text[401] = "";
    for (int i = 0; i < 100; i++)
        memcpy(text + 4 * i, i % 3 ? "\xf0\x9f\x99\x82" : "abc ", 4);
    struct tok_train how = {.vocab_size = 256};
    check_ok(tokenizer_train_bpe(NULL, 0, &how, &t));
    check_ok(tokenizer_encode(t, span_str(text), 0, &ids));
    assert_int_equal(ids.n, 400);
    text_is(t, ids.at, ids.n, 0, text);
    text_is(t, ids.at + 4, 3, 0, "\xef\xbf\xbd");
    ids_free(&ids);
    tokenizer_free(t);
}

/* ---- training and saving ---- */

static const struct tok_special specials[] = {{"<s>", TOK_BOS}, {"</s>", TOK_EOS}, {"<image>", TOK_NO_ROLE}};

static struct tokenizer *trained(size_t size)
{
    static const char *const texts[] = {"aaab aaab ab ab ab", "the cat the hat the", "été 日本 日本 <s>"};
    struct span spans[3];
    struct tokenizer *t;
    for (int i = 0; i < 3; i++)
        spans[i] = span_str(texts[i]);
    struct tok_train how = {.vocab_size = size, .special = specials, .n_special = 3, .add_bos = true};
    check_ok(tokenizer_train_bpe(spans, 3, &how, &t));
    return t;
}

/* Worked out by hand: "ab" is there five times; then "h e", "t h" and "Ġ ab" three times each, and h < t < Ġ; "t he"
 * now has three too and comes before "Ġ ab". */
static void test_train(void **state)
{
    struct tokenizer *t = trained(263);
    assert_int_equal(tokenizer_vocab_size(t), 263);
    assert_true(span_is(tokenizer_token(t, 259), "ab"));
    assert_true(span_is(tokenizer_token(t, 260), "he"));
    assert_true(span_is(tokenizer_token(t, 261), "the"));
    assert_true(span_is(tokenizer_token(t, 262), "Ġab"));
    assert_int_equal(tokenizer_role(t, TOK_BOS), 0);
    assert_int_equal(tokenizer_role(t, TOK_EOS), 1);
    assert_int_equal(tokenizer_role(t, TOK_PAD), -1);
    assert_true(tokenizer_is_special(t, 2));
    assert_true(tokenizer_adds_bos(t));
    pieces_are(t, " ab", TOK_ADD_SPECIAL, "<s>|Ġab");
    pieces_are(t, "<image> ab", TOK_PARSE_SPECIAL, "<image>|Ġab");
    tokenizer_free(t);
    struct tokenizer *most = trained(4096); /* stops when no pair is seen twice */
    assert_true(tokenizer_vocab_size(most) < 300);
    tokenizer_free(most);
    struct tok_train small = {.vocab_size = 255};
    check_fails(NUN_EARG, "expected at least 256", tokenizer_train_bpe(NULL, 0, &small, &t));
}

static void test_save(void **state)
{
    char dir[] = "/tmp/test_tokenizer_XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct tokenizer *a = trained(280), *b;
    struct ids x = {0}, y = {0};
    struct span text = SPAN("<s> the cat été 日本\n\n  aaab</s>");
    check_ok(tokenizer_save(a, dir));
    check_ok(tokenizer_load(dir, &b));
    assert_int_equal(tokenizer_vocab_size(a), tokenizer_vocab_size(b));
    for (int r = 0; r < TOK_ROLE_COUNT; r++)
        assert_int_equal(tokenizer_role(a, (enum tok_role)r), tokenizer_role(b, (enum tok_role)r));
    check_ok(tokenizer_encode(a, text, TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, &x));
    check_ok(tokenizer_encode(b, text, TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, &y));
    assert_int_equal(x.n, y.n);
    assert_memory_equal(x.at, y.at, x.n * sizeof *x.at);
    text_is(b, x.at + 1, x.n - 1, 0, "<s> the cat été 日本\n\n  aaab</s>");
    ids_free(&x);
    ids_free(&y);
    tokenizer_free(a);
    tokenizer_free(b);
    check_ok(file_remove_tree(dir));
}

/* ---- refusals ---- */

static void test_refusals(void **state)
{
    static const struct { const char *json; int code; const char *sentence; } examples[] = {
        {"{}", NUN_EFORMAT, "model: expected an object"},
        {"{\"model\":{\"type\":\"X\",\"vocab\":{}}}", NUN_EUNSUP, "unknown model \"X\""},
        {"{\"modell\":{}}", NUN_EUNSUP, "tokenizer.json.modell: unknown key"},
        {"{\"version\":\"2.0\",\"model\":{}}", NUN_EUNSUP, "found 2.0"},
        {SPLITTER("{\"type\":\"Nope\"}"), NUN_EUNSUP, "pre_tokenizer.type: unknown pre_tokenizer \"Nope\""},
        {SPLITTER("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"odd\":1}]}"), NUN_EUNSUP, "pre_tokenizer.pretokenizers[0].odd: unknown key"},
        {SPLIT("(", "Isolated", "false"), NUN_EFORMAT, "pre_tokenizer.pattern: regex at byte 1"},
        {SPLIT("a", "Sideways", "false"), NUN_EUNSUP, "pre_tokenizer.behavior: unknown value"},
        {NORMALIZER("{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\",\"Regex\":\"b\"},\"content\":\"\"}"), NUN_EFORMAT, "one of String and Regex"},
        {NORMALIZER("{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"////\"}"), NUN_EFORMAT, "expected at least 4 bytes"},
        {NORMALIZER("{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"/////w==\"}"), NUN_EFORMAT, "trie of 4294967295 bytes"},
        {DOC("null", "null", "{\"type\":\"BertProcessing\",\"sep\":[\"x\",99],\"cls\":[\"a\",1]}", "null", WORDS, ""), NUN_EFORMAT, "post_processor.sep: expected the id"},
        {DOC("null", "null", "null", "null", WORDS, ADDED(3, "<s>", "")), NUN_EFORMAT, "\"<s>\" has the id 3 here and 18 before"},
        {DOC("null", "null", "null", "null", WORDS, ADDED(3, "new", "")), NUN_EFORMAT, "id 3 is both \"ab\" and \"new\""},
        {DOC("null", "null", "null", "null", WORDS, ADDED(3000000, "far", "")), NUN_ELIMIT, "id 3000000"},
        {BPE_DOC("\"dropout\":0.1,", ""), NUN_EUNSUP, "model.dropout"},
        {BPE_DOC("", "\"a x\""), NUN_EFORMAT, "model.merges[0]"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":7,\"vocab\":[[\"a\",0]]}}", NUN_EFORMAT, "model.unk_id: 7"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct tokenizer *t;
        check_fails(examples[i].code, examples[i].sentence, tokenizer_from_json(span_str(examples[i].json), &t));
    }
    struct tokenizer *t = made(SPLITTER("null"));
    struct ids ids = {0};
    check_ok(ids_push(&ids, 5));
    check_fails(NUN_EARG, "expected UTF-8", tokenizer_encode(t, SPAN("a\xff"), 0, &ids));
    assert_int_equal(ids.n, 1);
    ids_free(&ids);
    tokenizer_free(t);
}

/* A mebibyte that is one piece, one word, one run of marks: time must stay near linear. */
static void test_hostile(void **state)
{
    enum { BYTES = 1 << 20 };
    static const char *const units[] = {"a", "ab", " ", "\n", "<", "\xcc\x81\xcc\xa3", "日", "\xf0\x9f\x99\x82", "'s", "1", ".", "\xc2\xa0"};
    struct tokenizer *t[2] = {trained(280), made(DOC("{\"type\":\"NFC\"}", "null", "null", "null", BPE("", "\"a b\",\"b c\""), ""))};
    char *text = mem_alloc(MEM_TEST, BYTES);
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t len = strlen(units[u]), n = BYTES / len * len;
        for (size_t i = 0; i < n; i++)
            text[i] = units[u][i % len];
        for (int k = 0; k < 2; k++) {
            struct ids ids = {0};
            uint64_t start = seam_now_ns();
            check_ok(tokenizer_encode(t[k], span_of(text, n), TOK_PARSE_SPECIAL, &ids));
            if (seam_now_ns() - start > 20000000000u)
                fail_msg("\"%s\" repeated took more than 20 s", units[u]);
            ids_free(&ids);
        }
    }
    mem_free(text);
    tokenizer_free(t[0]);
    tokenizer_free(t[1]);
}

/* ---- every allocation fails in turn ---- */

static int scenario(void *arg)
{
    struct tokenizer *t = NULL;
    struct ids ids = {0};
    struct buf out;
    buf_init(&out, MEM_TEST, 1 << 16);
    json_t *doc = json_deep_copy(arg);
    int rc = doc ? tok_from_doc(doc, &t) : NUN_ENOMEM;
    if (rc == 0)
        rc = tokenizer_encode(t, SPAN("A b é <s>"), TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, &ids);
    if (rc == 0)
        rc = tokenizer_decode(t, ids.at, ids.n, 0, &out);
    buf_free(&out);
    ids_free(&ids);
    tokenizer_free(t);
    return rc;
}

static void torture_document(const char *name, const char *json)
{
    json_error_t e;
    json_t *doc = json_loads(json, 0, &e);
    if (!doc)
        fail_msg("%s: %s", name, e.text);
    torture_run(name, scenario, doc, 1);
    json_decref(doc);
}

/* From the document on: jansson 2.14's parser and growing tables free twice when memory fails, so objects have at most
 * seven keys. No regexes: without memory for their machine code they run interpreted, which is no failure. */
static void test_torture(void **state)
{
    torture_document("bpe",
                "{\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"use_regex\":false},\"decoder\":{\"type\":\"ByteLevel\"},"
                "\"model\":{\"type\":\"BPE\",\"vocab\":{\"A\":0,\"Ġ\":1,\"b\":2,\"Ġb\":3},\"merges\":[\"Ġ b\"]}}");
    torture_document("words",
                "{\"added_tokens\":[{\"id\":1,\"content\":\"<s>\",\"special\":true}],\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
                "\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"<s>\",1],\"cls\":[\"<s>\",1]},\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\"},"
                "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"u\",\"vocab\":{\"u\":0,\"A\":2}}}");
    torture_document("unigram",
                "{\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"▁\"},"
                "\"decoder\":{\"type\":\"CTC\",\"pad_token\":\"u\",\"word_delimiter_token\":\"▁\"},"
                "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"u\",0],[\"▁\",-1],[\"a\",-1]]}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_splitters), cmocka_unit_test(test_normalizers), cmocka_unit_test(test_bpe),
        cmocka_unit_test(test_other_models), cmocka_unit_test(test_added), cmocka_unit_test(test_no_injection),
        cmocka_unit_test(test_posts), cmocka_unit_test(test_decoders), cmocka_unit_test(test_stream),
        cmocka_unit_test(test_train), cmocka_unit_test(test_save), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_hostile), cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
