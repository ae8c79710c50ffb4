/* Shapes of known models by name, and small ones of the same families: pure tables. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "models/random_model.h"

#define HEAD(arch, type) "{\"architectures\": [\"" arch "\"], \"model_type\": \"" type "\", \"bos_token_id\": 0, \"eos_token_id\": 1, "
#define SIZES(hidden, inner, layers, heads, kv, vocab)                                                                  \
    "\"hidden_size\": " #hidden ", \"intermediate_size\": " #inner ", \"num_hidden_layers\": " #layers                    \
    ", \"num_attention_heads\": " #heads ", \"num_key_value_heads\": " #kv ", \"vocab_size\": " #vocab ", "
#define LLAMA3_ROPE(factor)                                                                                             \
    "\"rope_theta\": 500000.0, \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": " #factor                        \
    ".0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 8192}, "
#define SILU "\"hidden_act\": \"silu\", "
#define END(context, eps, tied) "\"max_position_embeddings\": " #context ", \"rms_norm_eps\": " #eps ", \"tie_word_embeddings\": " #tied "}"
#define LLAMA HEAD("LlamaForCausalLM", "llama")
#define QWEN2 HEAD("Qwen2ForCausalLM", "qwen2")
#define QWEN3 HEAD("Qwen3ForCausalLM", "qwen3")
#define PHI3 HEAD("Phi3ForCausalLM", "phi3")
#define GEMMA2 HEAD("Gemma2ForCausalLM", "gemma2")
#define GEMMA_ACT "\"hidden_activation\": \"gelu_pytorch_tanh\", \"attn_logit_softcapping\": 50.0, \"final_logit_softcapping\": 30.0, "
#define MIXTRAL HEAD("MixtralForCausalLM", "mixtral")

static const struct { const char *name, *doc, *config; } shapes[] = {
    {"llama-1b", "Llama 3.2 1B", LLAMA SIZES(2048, 8192, 16, 32, 8, 128256) "\"head_dim\": 64, " LLAMA3_ROPE(32) SILU END(131072, 1e-05, true)},
    {"llama-3b", "Llama 3.2 3B", LLAMA SIZES(3072, 8192, 28, 24, 8, 128256) "\"head_dim\": 128, " LLAMA3_ROPE(32) SILU END(131072, 1e-05, true)},
    {"llama-8b", "Llama 3.1 8B", LLAMA SIZES(4096, 14336, 32, 32, 8, 128256) LLAMA3_ROPE(8) SILU END(131072, 1e-05, false)},
    {"smollm2-135m", "SmolLM2 135M", LLAMA SIZES(576, 1536, 30, 9, 3, 49152) "\"rope_theta\": 100000.0, " SILU END(8192, 1e-05, true)},
    {"qwen2-0.5b", "Qwen 2.5 0.5B", QWEN2 SIZES(896, 4864, 24, 14, 2, 151936) "\"rope_theta\": 1000000.0, " SILU END(32768, 1e-06, true)},
    {"qwen3-0.6b", "Qwen 3 0.6B", QWEN3 SIZES(1024, 3072, 28, 16, 8, 151936) "\"head_dim\": 128, \"rope_theta\": 1000000.0, " SILU END(40960, 1e-06, true)},
    {"phi3", "Phi-3 mini 4k", PHI3 SIZES(3072, 8192, 32, 32, 32, 32064) "\"rope_theta\": 10000.0, \"sliding_window\": 2047, "
     "\"original_max_position_embeddings\": 4096, " SILU END(4096, 1e-05, false)},
    {"gemma2", "Gemma 2 2B", GEMMA2 SIZES(2304, 9216, 26, 8, 4, 256000) "\"head_dim\": 256, \"query_pre_attn_scalar\": 256, "
     "\"sliding_window\": 4096, \"rope_theta\": 10000.0, " GEMMA_ACT END(8192, 1e-06, true)},
    {"mixtral", "Mixtral 8x7B", MIXTRAL SIZES(4096, 14336, 32, 32, 8, 32000) "\"num_local_experts\": 8, \"num_experts_per_tok\": 2, "
     "\"sliding_window\": null, \"rope_theta\": 1000000.0, " SILU END(32768, 1e-05, false)},
    {"llama-tiny", "Llama, small", LLAMA SIZES(256, 768, 4, 8, 4, 512) "\"rope_theta\": 10000.0, " SILU END(1024, 1e-05, false)},
    {"qwen2-tiny", "Qwen 2, small", QWEN2 SIZES(256, 768, 4, 8, 2, 512) "\"rope_theta\": 1000000.0, " SILU END(1024, 1e-06, true)},
    {"qwen3-tiny", "Qwen 3, small", QWEN3 SIZES(256, 768, 4, 8, 4, 512) "\"head_dim\": 64, \"rope_theta\": 1000000.0, " SILU END(1024, 1e-06, true)},
    {"phi3-tiny", "Phi-3, small", PHI3 SIZES(256, 768, 4, 8, 8, 512) "\"rope_theta\": 10000.0, \"sliding_window\": null, "
     "\"original_max_position_embeddings\": 1024, " SILU END(1024, 1e-05, false)},
    {"gemma2-tiny", "Gemma 2, small", GEMMA2 SIZES(256, 768, 4, 4, 2, 512) "\"head_dim\": 64, \"query_pre_attn_scalar\": 64, "
     "\"sliding_window\": 512, \"rope_theta\": 10000.0, " GEMMA_ACT END(1024, 1e-06, true)},
    {"mixtral-tiny", "Mixtral, small: 4 experts", MIXTRAL SIZES(256, 512, 4, 8, 4, 512) "\"num_local_experts\": 4, \"num_experts_per_tok\": 2, "
     "\"sliding_window\": null, \"rope_theta\": 1000000.0, " SILU END(1024, 1e-05, false)},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

const char *random_model_shape(size_t i, const char **doc)
{
    if (i >= SHAPES)
        return NULL;
    *doc = shapes[i].doc;
    return shapes[i].name;
}

int random_model_config(const char *name, json_t **out)
{
    char all[512];
    size_t at = 0;
    for (size_t i = 0; i < SHAPES; i++)
        if (!strcmp(name, shapes[i].name))
            return json_parse_span(span_str(shapes[i].config), name, out);
    for (size_t i = 0; i < SHAPES && at < sizeof all; i++)
        at += (size_t)snprintf(all + at, sizeof all - at, "%s%s", i ? " " : "", shapes[i].name);
    return err_set(NUN_EARG, "\"%s\" is neither a config.json nor a known shape; there are: %s", name, all);
}
