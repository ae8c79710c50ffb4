/* Mixtures of formats by name: most matrices in one, those that a model is most sensitive to (values,
 * the way down, the output) in a wider one. The choices are the ones that files of these names have. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "models/gguf_model.h"

/* Which layers a rule is for: i of n. */
enum which { ALL, FIRST_2, FIRST_4, FIRST_8TH, FIRST_16TH, SPREAD /* the first and last eighth, and each third between */ };

struct rule { const char *part; enum which which; enum dtype dtype; };
enum { RULES = 8 };

struct gguf_mix {
    const char *name;
    int file_type;
    enum dtype base, output;
    struct rule rules[RULES]; /* the first that fits */
    const char *doc;
};

static const struct gguf_mix mixes[] = {
    {"F32", 0, DT_F32, DT_F32, {{0}}, "nothing lost, 4 bytes a weight"},
    {"F16", 1, DT_F16, DT_F16, {{0}}, "half precision"},
    {"BF16", 32, DT_BF16, DT_BF16, {{0}}, "what most models are trained in"},
    {"Q8_0", 7, DT_Q8_0, DT_Q8_0, {{0}}, "8.5 bits: hardly to be told from F16"},
    {"Q6_K", 18, DT_Q6_K, DT_Q6_K, {{0}}, "6.6 bits"},
    {"Q5_K_M", 17, DT_Q5_K, DT_Q6_K,
     {{"attn_v", SPREAD, DT_Q6_K}, {"ffn_down", SPREAD, DT_Q6_K}, {"attn_qkv", ALL, DT_Q6_K}}, "5.7 bits: Q5_K with Q6_K where it counts"},
    {"Q5_K_S", 16, DT_Q5_K, DT_Q6_K, {{0}}, "5.5 bits"},
    {"Q5_1", 9, DT_Q5_1, DT_Q6_K, {{0}}, "6 bits, blocks of 32"},
    {"Q5_0", 8, DT_Q5_0, DT_Q6_K, {{0}}, "5.5 bits, blocks of 32"},
    {"Q4_K_M", 15, DT_Q4_K, DT_Q6_K,
     {{"attn_v", SPREAD, DT_Q6_K}, {"ffn_down", SPREAD, DT_Q6_K}, {"attn_qkv", ALL, DT_Q5_K}}, "4.8 bits: Q4_K with Q6_K where it counts; the usual choice"},
    {"Q4_K_S", 14, DT_Q4_K, DT_Q6_K, {{"attn_v", FIRST_4, DT_Q5_K}, {"ffn_down", FIRST_8TH, DT_Q5_K}}, "4.6 bits"},
    {"Q4_1", 3, DT_Q4_1, DT_Q6_K, {{0}}, "5 bits, blocks of 32"},
    {"Q4_0", 2, DT_Q4_0, DT_Q6_K, {{0}}, "4.5 bits, blocks of 32: the fastest"},
    {"Q3_K_L", 13, DT_Q3_K, DT_Q6_K,
     {{"attn_v", ALL, DT_Q5_K}, {"ffn_down", ALL, DT_Q5_K}, {"attn_output", ALL, DT_Q5_K}, {"attn_qkv", ALL, DT_Q5_K}}, "4.3 bits"},
    {"Q3_K_M", 12, DT_Q3_K, DT_Q6_K,
     {{"attn_v", FIRST_2, DT_Q5_K}, {"attn_v", ALL, DT_Q4_K}, {"ffn_down", FIRST_16TH, DT_Q5_K}, {"ffn_down", SPREAD, DT_Q4_K},
      {"attn_output", ALL, DT_Q4_K}, {"attn_qkv", ALL, DT_Q4_K}}, "3.9 bits"},
    {"Q3_K_S", 11, DT_Q3_K, DT_Q6_K, {{0}}, "3.5 bits"},
    {"Q2_K", 10, DT_Q2_K, DT_Q6_K,
     {{"attn_v", ALL, DT_Q4_K}, {"ffn_down", ALL, DT_Q3_K}, {"attn_output", ALL, DT_Q3_K}, {"attn_qkv", ALL, DT_Q3_K}}, "3.2 bits: it talks, and errs"},
};
enum { MIXES = sizeof mixes / sizeof mixes[0] };

const char *gguf_mix_name(size_t i, const char **doc)
{
    if (i >= MIXES)
        return NULL;
    *doc = mixes[i].doc;
    return mixes[i].name;
}

int gguf_mix_find(const char *name, const struct gguf_mix **out)
{
    static const struct { const char *name, *of; } others[] = {
        {"Q4_K", "Q4_K_M"}, {"Q5_K", "Q5_K_M"}, {"Q3_K", "Q3_K_M"}, {"float32", "F32"}, {"float16", "F16"}, {"bfloat16", "BF16"}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (!strcasecmp(name, others[i].name))
            name = others[i].of;
    for (size_t i = 0; i < MIXES; i++)
        if (!strcasecmp(name, mixes[i].name)) {
            *out = &mixes[i];
            return 0;
        }
    char all[512];
    for (size_t i = 0, at = 0; i < MIXES && at < sizeof all; i++)
        at += (size_t)snprintf(all + at, sizeof all - at, "%s%s", i ? " " : "", mixes[i].name);
    return err_set(NUN_EARG, "\"%s\" is no format to write; there are: %s", name, all);
}

int gguf_mix_file_type(const struct gguf_mix *mix) { return mix->file_type; }
enum dtype gguf_mix_base(const struct gguf_mix *mix) { return mix->base; }

static bool layer_fits(enum which which, int i, int n)
{
    switch (which) {
    case FIRST_2: return i < 2;
    case FIRST_4: return i < 4;
    case FIRST_8TH: return i < n / 8;
    case FIRST_16TH: return i < n / 16;
    case SPREAD: return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
    case ALL: break;
    }
    return true;
}

/* "blk.7.attn_v.weight" is of part attn_v, and so are its experts' tensors. */
static bool is_part(const char *name, const char *part, int *layer)
{
    int at = 0;
    if (sscanf(name, "blk.%d.%n", layer, &at) != 1 || !at)
        return false;
    size_t n = strlen(part);
    return !strncmp(name + at, part, n) && (name[at + n] == '.' || !strncmp(name + at + n, "_exps", 5));
}

/* The next wider format in blocks of 32, and then whole values. */
static enum dtype fitting(enum dtype dt, const struct shape *s)
{
    static const struct { enum dtype dt, instead; } rows[] = {
        {DT_Q2_K, DT_Q4_0}, {DT_Q3_K, DT_Q4_0}, {DT_Q4_K, DT_Q5_0}, {DT_Q5_K, DT_Q5_1}, {DT_Q6_K, DT_Q8_0}};
    int64_t cols = s->n ? s->d[s->n - 1] : 1;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (dt == rows[i].dt && cols % (int64_t)dtype_table[dt].block_values)
            dt = rows[i].instead;
    return cols % (int64_t)dtype_table[dt].block_values ? DT_F16 : dt;
}

enum dtype gguf_mix_choose(void *arg, const struct st_item *tensor)
{
    const struct gguf_mixing *k = arg;
    int layer = 0;
    bool output = !strcmp(tensor->name, "output.weight") || (k->tied && !strcmp(tensor->name, "token_embd.weight"));
    if (output)
        return fitting(k->mix->output, &tensor->shape);
    for (int i = 0; i < RULES && k->mix->rules[i].part; i++)
        if (is_part(tensor->name, k->mix->rules[i].part, &layer) && layer_fits(k->mix->rules[i].which, layer, k->layers))
            return fitting(k->mix->rules[i].dtype, &tensor->shape);
    return fitting(k->mix->base, &tensor->shape);
}
