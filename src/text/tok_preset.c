/* The cuts of well-known byte-level families, for files that name them only (GGUF) or say nothing (tiktoken). */
/* SPDX-License-Identifier: MIT */
#include "text/tok_raw.h"

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORDS_UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define WORDS_LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define LEAD "[^\\r\\n\\p{L}\\p{N}]?"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define SYMBOLS " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define SYMBOLS_SLASH " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"
#define HAN "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"

/* The letters with case that DeepSeek's first tokenizer lists. */
#define CASED                                                                                                                  \
    "[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\\x{1f7d}ᾀ-ᾴᾶ-ᾼ\\x{1fbe}ῂ-ῄῆ-ῌ" \
    "ῐ-\\x{1fd3}ῖ-\\x{1fdb}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\\x{2126}ℨ\\x{212a}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⲲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ"         \
    "𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]"

#define LLAMA3 CONTRACTIONS "|" LEAD "\\p{L}+|\\p{N}{1,3}|" SYMBOLS "|" SPACES
#define QWEN CONTRACTIONS "|" LEAD "\\p{L}+|\\p{N}|" SYMBOLS "|" SPACES
#define GPT4O_WORDS LEAD WORDS_UPPER "*" WORDS_LOWER "+" CONTRACTIONS "?|" LEAD WORDS_UPPER "+" WORDS_LOWER "*" CONTRACTIONS "?"
#define GPT4O GPT4O_WORDS "|\\p{N}{1,3}|" SYMBOLS_SLASH "|" SPACES
#define KIMI_UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]"
#define KIMI_LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]"
#define BLOOM " ?[^(\\s|.,!?…。，、।۔،)]+"
#define DEEPSEEK_ASCII "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
#define DEEPSEEK_HAN "[一-龥\u3040-ゟ゠-ヿ]+"

static const struct tok_preset presets[] = {
    {"gpt-2 phi-2 mpt olmo jais trillion exaone4 granite-docling mellum modern-bert gigachat a.x-4.0 jina-es jina-de jina-v2-es jina-v2-de",
     50256, PRESET_GPT2, {NULL}},
    {"roberta-bpe jina-v1-en jina-v2-code", 0, PRESET_GPT2 | PRESET_BOS | PRESET_EOS, {NULL}},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano", 128000, PRESET_WHOLE | PRESET_BOS, {LLAMA3}},
    {"dbrx smaug-bpe chatglm-bpe glm4 cl100k", 100256, 0, {LLAMA3}},
    {"qwen2 kormo f2llmv2", 151643, PRESET_NFC, {QWEN}},
    {"stablelm2 hunyuan deepseek-r1-qwen megrez grok-2 solar-open", 0, 0, {QWEN}},
    {"qwen35", 0, PRESET_NFC,
     {CONTRACTIONS "|" LEAD "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES}},
    {"gpt-4o o200k kanana2 minimax-m2 talkie", 199998, 0, {GPT4O}},
    {"llama4", 200000, PRESET_BOS, {GPT4O}},
    {"granite-embed-multi-97m", 0, PRESET_WHOLE, {GPT4O}},
    {"tekken", 0, PRESET_WHOLE | PRESET_BOS,
     {LEAD WORDS_UPPER "*" WORDS_LOWER "+|" LEAD WORDS_UPPER "+" WORDS_LOWER "*|\\p{N}|" SYMBOLS_SLASH "|" SPACES}},
    {"kimi-k2", 163584, 0,
     {"[\\p{Han}]+|" LEAD KIMI_UPPER "*" KIMI_LOWER "+" CONTRACTIONS "?|" LEAD KIMI_UPPER "+" KIMI_LOWER "*" CONTRACTIONS "?|\\p{N}{1,3}|" SYMBOLS
      "|" SPACES}},
    {"bailingmoe bailingmoe2 llada-moe", 0, 0,
     {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
    {"seed-coder", 0, 0, {CONTRACTIONS "|" LEAD "\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" SPACES}},
    {"ufakzeka", 0, 0, {LEAD "\\p{L}+|\\p{N}|" SYMBOLS "|" SPACES}},
    {"laguna", 0, 0, {"[^\\n]+|[\\n]+", QWEN}},
    {"minicpm5", 0, PRESET_WHOLE, {"\\p{N}{1,3}", CONTRACTIONS "|" LEAD "\\p{L}+|\\p{N}+|" SYMBOLS "|" SPACES}},
    {"jais-2", 0, 0,
     {CONTRACTIONS "|" LEAD "\\p{L}+|\\p{N}{1,3}|" SYMBOLS "|\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|"
      "\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}"}},
    {"starcoder refact command-r smollm codeshell exaone minerva-7b mellum2", 0, PRESET_GPT2, {"\\p{N}"}},
    {"bloom poro-chat gpt3-finnish", 0, 0, {BLOOM}},
    {"viking", 0, 0, {BLOOM, "\\p{N}"}},
    {"chameleon", 0, PRESET_BOS | PRESET_GPT2,
     {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", "\\p{N}", "[\\p{P}!-/:-@\\[-`{-~]"}},
    {"falcon", 0, 0, {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {"deepseek-llm", 0, 0,
     {"[\\r\\n]", "\\s?" CASED "+", "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+", "\\s+$", HAN, "\\p{N}+"}},
    {"deepseek-coder", 0, 0, {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", HAN, "\\p{N}"}},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4", 0, 0,
     {"\\p{N}{1,3}", DEEPSEEK_HAN, DEEPSEEK_ASCII "| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES}},
    {"spark2_5", 0, 0,
     {"\\p{N}{1,3}", DEEPSEEK_HAN, DEEPSEEK_ASCII "| ?[\\p{P}\\p{S}]+|[\\r\\n]|\\s+(?!\\S)|\\s+", "\\p{N}"}},
    {"youtu", 0, PRESET_WHOLE,
     {"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" DEEPSEEK_HAN, GPT4O_WORDS "|\\p{N}|" SYMBOLS_SLASH "|" SPACES}},
    {"default", 0, 0, {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};
enum { PRESETS = sizeof presets / sizeof *presets };

static bool has_name(const char *names, struct span name)
{
    while (*names) {
        size_t n = strcspn(names, " ");
        if (span_eq(span_of(names, n), name))
            return true;
        names += n + (names[n] == ' ');
    }
    return false;
}

const struct tok_preset *tok_preset_named(struct span name)
{
    for (size_t i = 0; i < PRESETS; i++)
        if (has_name(presets[i].names, name))
            return &presets[i];
    return NULL;
}

const struct tok_preset *tok_preset_ranked(size_t ranks)
{
    for (size_t i = 0; i < PRESETS; i++)
        if (presets[i].ranks && presets[i].ranks == ranks)
            return &presets[i];
    return NULL;
}

const struct tok_preset *tok_preset_at(size_t i)
{
    return i < PRESETS ? &presets[i] : NULL;
}
