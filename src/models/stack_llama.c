/* The Llama line of decoders: RMS norm, rotary positions, gated MLP, grouped heads. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "models/families.h"

const struct json_name family_acts[] = {
    {"silu", ACT_SILU}, {"swish", ACT_SILU}, {"gelu", ACT_GELU}, {"gelu_new", ACT_GELU_TANH},
    {"gelu_pytorch_tanh", ACT_GELU_TANH}, {"gelu_fast", ACT_GELU_TANH}, {"quick_gelu", ACT_QUICK_GELU},
    {"relu", ACT_RELU}, {"relu2", ACT_RELU2}, {"tanh", ACT_TANH}, {"sigmoid", ACT_SIGMOID}, {NULL, 0}};

const char *const family_harmless[] = {
    "architectures", "model_type", "auto_map", "dtype", "torch_dtype", "transformers_version", "use_cache", "bos_token_id",
    "eos_token_id", "pad_token_id", "initializer_factor", "attention_dropout", "_name_or_path", "pretraining_tp",
    "layer_types", "rope_scaling", "rope_parameters", "rope_theta", "num_channels", "tie_word_embeddings",
    "logit_scale_init_value", "projection_dim", "return_dict", "output_attentions", "output_hidden_states",
    "torchscript", "is_encoder_decoder", "_attn_implementation_autoset", "id2label", "label2id",
    "vision_config", "text_config", "dropout", "quantization_config",
    /* what every config of older writers carries: about generation, heads of other tasks, memory */
    "pruned_heads", "chunk_size_feed_forward", "is_decoder", "cross_attention_hidden_size", "add_cross_attention",
    "tie_encoder_decoder", "finetuning_task", "task_specific_params", "problem_type", "tokenizer_class", "prefix", "sep_token_id",
    "decoder_start_token_id", "return_dict_in_generate", "output_scores", "remove_invalid_values", "tf_legacy_loss", "use_bfloat16",
    "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty", "temperature",
    "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "forced_bos_token_id", "forced_eos_token_id",
    "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens", NULL};

static const struct json_field llama_fields[] = {
    FACT_INT("hidden_size", hidden, 4096, MAX_WIDTH),
    FACT_INT("num_hidden_layers", layers, 32, MAX_LAYERS),
    FACT_INT("num_attention_heads", heads, 32, MAX_WIDTH),
    FACT_INT("num_key_value_heads", kv_heads, 0, MAX_WIDTH),
    FACT_INT("head_dim", head_dim, 0, MAX_WIDTH),
    FACT_INT("intermediate_size", intermediate, 11008, MAX_WIDTH),
    FACT_INT("vocab_size", vocab, 32000, MAX_VOCAB),
    FACT_INT("max_position_embeddings", positions, 2048, MAX_VOCAB),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),
    FACT_FLOAT("rope_theta", rope[0].theta, 10000.0),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_BOOL("mlp_bias", mlp_bias, false),
    FACT_BOOL("tie_word_embeddings", tied, false),
    FACT_ACT(ACT_SILU),
};

static const struct weight_row llama_weights[] = {
    {NN_embed_w, "model.embed_tokens.weight", W_ALWAYS},
    {NN_norm1_w, "model.layers.%d.input_layernorm.weight", W_ALWAYS},
    {NN_attn_q_w, "model.layers.%d.self_attn.q_proj.weight", W_ALWAYS},
    {NN_attn_q_b, "model.layers.%d.self_attn.q_proj.bias", W_ATTENTION_BIAS},
    {NN_attn_k_w, "model.layers.%d.self_attn.k_proj.weight", W_ALWAYS},
    {NN_attn_k_b, "model.layers.%d.self_attn.k_proj.bias", W_ATTENTION_BIAS},
    {NN_attn_v_w, "model.layers.%d.self_attn.v_proj.weight", W_ALWAYS},
    {NN_attn_v_b, "model.layers.%d.self_attn.v_proj.bias", W_ATTENTION_BIAS},
    {NN_attn_o_w, "model.layers.%d.self_attn.o_proj.weight", W_ALWAYS},
    {NN_attn_o_b, "model.layers.%d.self_attn.o_proj.bias", W_ATTENTION_BIAS},
    {NN_norm2_w, "model.layers.%d.post_attention_layernorm.weight", W_ALWAYS},
    {NN_gate_w, "model.layers.%d.mlp.gate_proj.weight", W_ALWAYS},
    {NN_gate_b, "model.layers.%d.mlp.gate_proj.bias", W_MLP_BIAS},
    {NN_up_w, "model.layers.%d.mlp.up_proj.weight", W_ALWAYS},
    {NN_up_b, "model.layers.%d.mlp.up_proj.bias", W_MLP_BIAS},
    {NN_down_w, "model.layers.%d.mlp.down_proj.weight", W_ALWAYS},
    {NN_down_b, "model.layers.%d.mlp.down_proj.bias", W_MLP_BIAS},
    {NN_final_norm_w, "model.norm.weight", W_ALWAYS},
    {NN_lm_head_w, "lm_head.weight", W_UNTIED},
};

const struct stack_row stack_llama = {
    "llama", ROWS(llama_fields), NULL, ROWS(llama_weights),
    {.norm = NN_RMS, .gated = true, .causal = true, .rope[0].kind = NN_ROPE_default},
    family_finish};

const struct family_row family_llama = DECODER_FAMILY("LlamaForCausalLM", "llama");
