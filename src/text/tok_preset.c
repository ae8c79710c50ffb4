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

static const struct tok_preset presets[] = {
    {"gpt-2 phi-2 mpt olmo jais roberta-bpe", 50256, PRESET_GPT2, {NULL}},
    {"llama-bpe llama3 llama-v3 falcon3 pixtral lfm2", 128000, PRESET_WHOLE | PRESET_BOS,
     {CONTRACTIONS "|" LEAD "\\p{L}+|\\p{N}{1,3}|" SYMBOLS "|" SPACES}},
    {"dbrx smaug-bpe chatglm-bpe glm4 cl100k", 100256, 0, {CONTRACTIONS "|" LEAD "\\p{L}+|\\p{N}{1,3}|" SYMBOLS "|" SPACES}},
    {"qwen2", 151643, PRESET_NFC, {CONTRACTIONS "|" LEAD "\\p{L}+|\\p{N}|" SYMBOLS "|" SPACES}},
    {"stablelm2 hunyuan deepseek-r1-qwen megrez", 0, 0, {CONTRACTIONS "|" LEAD "\\p{L}+|\\p{N}|" SYMBOLS "|" SPACES}},
    {"gpt-4o llama4 o200k", 199998, 0,
     {LEAD WORDS_UPPER "*" WORDS_LOWER "+" CONTRACTIONS "?|" LEAD WORDS_UPPER "+" WORDS_LOWER "*" CONTRACTIONS "?|\\p{N}{1,3}|" SYMBOLS_SLASH "|" SPACES}},
    {"tekken", 0, PRESET_WHOLE,
     {LEAD WORDS_UPPER "*" WORDS_LOWER "+|" LEAD WORDS_UPPER "+" WORDS_LOWER "*|\\p{N}|" SYMBOLS_SLASH "|" SPACES}},
    {"starcoder refact command-r smollm codeshell exaone minerva-7b", 0, PRESET_GPT2, {"\\p{N}"}},
    {"falcon", 0, 0, {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {"deepseek-llm", 0, 0,
     {"[\\r\\n]", "\\s?" CASED "+", "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+", "\\s+$", HAN, "\\p{N}+"}},
    {"deepseek-coder", 0, 0, {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", HAN, "\\p{N}"}},
    {"deepseek-v3 hunyuan-dense", 0, 0,
     {"\\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES}},
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
