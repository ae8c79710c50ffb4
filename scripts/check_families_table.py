"""The models that check_families.py makes: a row a config variant. Small, with odd head counts, windows shorter than the
prompt, every boolean key that changes the arithmetic both ways."""
# SPDX-License-Identifier: MIT
import json

import torch
import transformers as t
from safetensors.torch import load_file, save_file


def row(config, model, note="", **more):
    return {"config": config, "model": model, "note": note, **more}


BASE = dict(hidden_size=48, intermediate_size=88, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=3,
            vocab_size=199, max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=2)


def base(**more):
    return {**BASE, **more}


def falcon():
    def f(**more):
        return row(t.FalconConfig(**{**dict(vocab_size=199, hidden_size=60, num_hidden_layers=3, num_attention_heads=5,
                                            max_position_embeddings=128, bos_token_id=1, eos_token_id=2), **more}),
                   t.FalconForCausalLM, refuse={"apply_residual_connection_post_layernorm": True, "colour": 1})
    new = dict(new_decoder_architecture=True, hidden_size=96, num_attention_heads=6)
    old = dict(multi_query=False, alibi=True, bias=True)
    return {
        "falcon-7b": f(),
        "falcon-7b-bias": f(bias=True, tie_word_embeddings=False, ffn_hidden_size=100),
        "falcon-7b-serial": f(parallel_attn=False),
        "falcon-40b": f(**new, num_kv_heads=2),
        "falcon-40b-bias": f(**new, num_kv_heads=3, bias=True, activation="gelu_pytorch_tanh"),
        "falcon-11b": f(**new, num_kv_heads=2, num_ln_in_parallel_attn=1),
        "falcon-40b-kv-default": f(**new),
        "falcon-heads": f(multi_query=False),
        "falcon-rw": f(**old, parallel_attn=False),
        "falcon-rw-parallel": f(**old, parallel_attn=True),
        "falcon-rw-8heads": f(**old, parallel_attn=False, hidden_size=64, num_attention_heads=8),
        "falcon-linear": f(rope_scaling={"rope_type": "linear", "factor": 2.0}, rope_theta=5000.0),
    }


def alibi():
    def mpt(attn=None, **more):
        c = dict(d_model=60, n_heads=5, n_layers=3, vocab_size=199, max_seq_len=128)
        return row(t.MptConfig(**{**c, **more, "attn_config": attn or {}}), t.MptForCausalLM,
                   refuse={"attn_config.prefix_lm": True, "attn_config.qk_ln": True, "no_bias": False,
                           "attn_config.alibi": False, "logit_scale": 0.5})

    def bloom(**more):
        c = dict(hidden_size=60, n_layer=3, n_head=5, vocab_size=199)
        return row(t.BloomConfig(**{**c, **more}), t.BloomForCausalLM,
                   refuse={"apply_residual_connection_post_layernorm": True})
    return {
        "mpt": mpt(),
        "mpt-clip": mpt({"clip_qkv": 0.7, "softmax_scale": 0.4}, tie_word_embeddings=False),
        "mpt-8heads": mpt(d_model=64, n_heads=8),
        "bloom": bloom(),
        "bloom-8heads": bloom(hidden_size=64, n_head=8),
        "bloom-untied": bloom(tie_word_embeddings=False),
    }


def layer_norms():
    def stable(**more):
        return row(t.StableLmConfig(**base(**{**dict(partial_rotary_factor=0.5), **more})), t.StableLmForCausalLM)

    def nemotron(**more):
        return row(t.NemotronConfig(**base(**more)), t.NemotronForCausalLM)

    def cohere(**more):
        return row(t.CohereConfig(**base(**more)), t.CohereForCausalLM)

    def cohere2(**more):
        return row(t.Cohere2Config(**base(**{**dict(num_hidden_layers=5, sliding_window=9), **more})), t.Cohere2ForCausalLM)
    return {
        "stablelm": stable(),
        "stablelm-qk": stable(qk_layernorm=True, use_qkv_bias=True),
        "stablelm-parallel": stable(use_parallel_residual=True, tie_word_embeddings=True),
        "stablelm-parallel-qk": stable(use_parallel_residual=True, qk_layernorm=True, partial_rotary_factor=0.25),
        "stablelm-gelu": stable(hidden_act="gelu", use_qkv_bias=True, rope_scaling={"rope_type": "linear", "factor": 3.0}),
        "nemotron": nemotron(),
        "nemotron-bias": nemotron(attention_bias=True, mlp_bias=True, head_dim=10, tie_word_embeddings=True,
                                  partial_rotary_factor=0.4),
        "nemotron-gelu": nemotron(hidden_act="gelu", partial_rotary_factor=1.0, num_key_value_heads=6),
        "cohere": cohere(),
        "cohere-qk": cohere(use_qk_norm=True, logit_scale=0.3, tie_word_embeddings=False),
        "cohere-bias": cohere(attention_bias=True, rope_scaling={"rope_type": "dynamic", "factor": 4.0},
                              max_position_embeddings=20),
        "cohere2": cohere2(),
        "cohere2-bias": cohere2(attention_bias=True, logit_scale=0.4, layer_types=["full_attention", "sliding_attention"] * 2 + [
            "sliding_attention"]),
    }


def glms():
    def glm(**more):
        return row(t.GlmConfig(**base(**{**dict(head_dim=16), **more})), t.GlmForCausalLM)

    def glm4(**more):
        return row(t.Glm4Config(**base(**{**dict(head_dim=16), **more})), t.Glm4ForCausalLM)

    def moe(**more):
        c = dict(head_dim=16, num_hidden_layers=3, n_routed_experts=8, num_experts_per_tok=3, moe_intermediate_size=24,
                 first_k_dense_replace=1, routed_scaling_factor=1.7)
        return row(t.Glm4MoeConfig(**base(**{**c, **more})), t.Glm4MoeForCausalLM)
    return {
        "glm": glm(),
        "glm-plain": glm(attention_bias=False, tie_word_embeddings=True, partial_rotary_factor=0.25, rope_theta=5000.0),
        "glm4": glm4(),
        "glm4-plain": glm4(attention_bias=False, partial_rotary_factor=1.0, head_dim=20, tie_word_embeddings=True),
        "glm4-moe": moe(),
        "glm4-moe-groups": moe(n_group=4, topk_group=2, num_experts_per_tok=2, use_qk_norm=True, attention_bias=True,
                               n_shared_experts=2, norm_topk_prob=False),
        "glm4-moe-sparse": moe(first_k_dense_replace=0, n_group=2, topk_group=1, tie_word_embeddings=True,
                               rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}),
        "exaone4": row(t.Exaone4Config(**base(num_hidden_layers=5, sliding_window=9)), t.Exaone4ForCausalLM),
        "exaone4-every2": row(t.Exaone4Config(**base(num_hidden_layers=5, sliding_window=9, sliding_window_pattern=2,
                                                     tie_word_embeddings=True)), t.Exaone4ForCausalLM),
        "exaone4-full": row(t.Exaone4Config(**base(sliding_window=None, layer_types=["full_attention"] * 3, head_dim=20, rope_scaling={
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32})), t.Exaone4ForCausalLM),
    }


def ernies():
    def moe(**more):
        c = dict(num_hidden_layers=4, moe_num_experts=8, moe_k=3, moe_intermediate_size=24)
        return row(t.Ernie4_5_MoeConfig(**base(**{**c, **more})), t.Ernie4_5_MoeForCausalLM,
                   refuse={"use_bias": True, "moe_norm_min": 0.9})
    return {
        "ernie45": row(t.Ernie4_5Config(**base(head_dim=16)), t.Ernie4_5ForCausalLM),
        "ernie45-bias": row(t.Ernie4_5Config(**base(head_dim=20, use_bias=True, tie_word_embeddings=False)),
                            t.Ernie4_5ForCausalLM),
        "ernie45-moe": moe(),
        "ernie45-moe-step": moe(moe_layer_start_index=0, moe_layer_interval=2, moe_num_shared_experts=1,
                                tie_word_embeddings=False),
        "ernie45-moe-end": moe(moe_layer_start_index=1, moe_layer_end_index=2, moe_num_shared_experts=0),
        "hunyuan": row(t.HunYuanDenseV1Config(**base(head_dim=8)), t.HunYuanDenseV1ForCausalLM),
        "hunyuan-bias": row(t.HunYuanDenseV1Config(**base(attention_bias=True, head_dim=20, tie_word_embeddings=True,
                                                          rope_scaling={"type": "dynamic", "alpha": 50.0, "factor": 1.0})),
                            t.HunYuanDenseV1ForCausalLM),
    }


def granites():
    c = dict(intermediate_size=24, num_local_experts=8, num_experts_per_tok=3)
    scales = dict(embedding_multiplier=6.0, logits_scaling=3.0, residual_multiplier=0.4, attention_multiplier=0.2)
    return {
        "granitemoe": row(t.GraniteMoeConfig(**base(**c)), t.GraniteMoeForCausalLM),
        "granitemoe-scales": row(t.GraniteMoeConfig(**base(**c, **scales, attention_bias=True, tie_word_embeddings=True)),
                                 t.GraniteMoeForCausalLM),
        "granitemoeshared": row(t.GraniteMoeSharedConfig(**base(**c, **scales, shared_intermediate_size=40)),
                                t.GraniteMoeSharedForCausalLM),
        "granitemoeshared-none": row(t.GraniteMoeSharedConfig(**base(**c, shared_intermediate_size=0)),
                                     t.GraniteMoeSharedForCausalLM),
    }


def encoders():
    def xlm(**more):
        c = dict(vocab_size=199, hidden_size=60, num_hidden_layers=2, num_attention_heads=5, intermediate_size=80,
                 max_position_embeddings=130, pad_token_id=1, type_vocab_size=1)
        return row(t.XLMRobertaConfig(**{**c, **more}), t.XLMRobertaForMaskedLM)
    return {"xlm-roberta": xlm(), "xlm-roberta-relu": xlm(hidden_act="relu", tie_word_embeddings=False, layer_norm_eps=1e-5)}


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}


def llamas():
    def arcee(**more):
        return row(t.ArceeConfig(**base(**more)), t.ArceeForCausalLM)

    def seed(**more):
        return row(t.SeedOssConfig(**base(**{**dict(head_dim=16), **more})), t.SeedOssForCausalLM)

    def apertus(**more):
        return row(t.ApertusConfig(**base(**more)), t.ApertusForCausalLM, refuse={"hidden_act": "silu", "post_norm": True})

    def gemma(**more):
        return row(t.GemmaConfig(**base(**{**dict(head_dim=20), **more})), t.GemmaForCausalLM)

    def olmo(**more):
        return row(t.OlmoConfig(**base(**more)), t.OlmoForCausalLM)
    slides = ["sliding_attention", "full_attention", "sliding_attention"]
    return {
        "arcee": arcee(),
        "arcee-bias": arcee(attention_bias=True, mlp_bias=True, head_dim=10, tie_word_embeddings=True, rope_scaling=YARN),
        "arcee-gelu": arcee(hidden_act="gelu"),
        "seed-oss": seed(),
        "seed-oss-bias": seed(attention_out_bias=True, mlp_bias=True, tie_word_embeddings=True),
        "seed-oss-plain": seed(attention_bias=False, attention_out_bias=True, head_dim=8),
        "apertus": apertus(rope_scaling=LLAMA3),
        "apertus-bias": apertus(rope_scaling=None, attention_bias=True, tie_word_embeddings=True, head_dim=10),
        "gemma": gemma(),
        "gemma-bias": gemma(attention_bias=True, tie_word_embeddings=False, num_key_value_heads=1, hidden_act="gelu"),
        "olmo": olmo(),
        "olmo-clip": olmo(clip_qkv=0.8, attention_bias=True, tie_word_embeddings=True),
        "ministral": row(t.MinistralConfig(**base(sliding_window=9, head_dim=8, layer_types=slides)), t.MinistralForCausalLM),
        "ministral-all": row(t.MinistralConfig(**base(sliding_window=9, head_dim=20)), t.MinistralForCausalLM),
        "helium": row(t.HeliumConfig(**base(head_dim=8)), t.HeliumForCausalLM),
        "helium-bias": row(t.HeliumConfig(**base(head_dim=16, num_attention_heads=3, attention_bias=True, mlp_bias=True,
                                                        tie_word_embeddings=True)),
                           t.HeliumForCausalLM),
    }


def hybrids():
    def lfm2(**more):
        c = dict(num_hidden_layers=4, layer_types=["conv", "full_attention", "conv", "conv"], block_multiple_of=8)
        return row(t.Lfm2Config(**base(**{**c, **more})), t.Lfm2ForCausalLM)

    def granite(**more):
        c = dict(intermediate_size=24, num_local_experts=8, num_experts_per_tok=3, num_hidden_layers=4, shared_intermediate_size=40,
                 layer_types=["mamba", "mamba", "attention", "mamba"], mamba_n_heads=6, mamba_d_state=10, mamba_d_head=16)
        return row(t.GraniteMoeHybridConfig(**base(**{**c, **more})), t.GraniteMoeHybridForCausalLM,
                   refuse={"mamba_n_groups": 2, "position_embedding_type": "learned"})

    def qnext(**more):
        c = dict(num_hidden_layers=5, head_dim=16, linear_key_head_dim=8, linear_value_head_dim=12, linear_num_key_heads=2,
                 linear_num_value_heads=6, moe_intermediate_size=24, shared_expert_intermediate_size=40, num_experts=8,
                 num_experts_per_tok=3)
        return row(t.Qwen3NextConfig(**base(**{**c, **more})), t.Qwen3NextForCausalLM, gain=0.5,
                   note="Milder weights: with wider ones the reference's two orders of summation differ by 1e-4.")
    scales = dict(embedding_multiplier=6.0, logits_scaling=3.0, residual_multiplier=0.4, attention_multiplier=0.2)
    return {
        "lfm2": lfm2(),
        "lfm2-bias": lfm2(conv_bias=True, conv_L_cache=4, tie_word_embeddings=False, block_auto_adjust_ff_dim=False),
        "lfm2-factor": lfm2(block_ffn_dim_multiplier=1.3, layer_types=None, full_attn_idxs=[1, 3]),
        "granite-hybrid": granite(**scales),
        "granite-hybrid-rope": granite(position_embedding_type="rope", attention_bias=True, tie_word_embeddings=True,
                                       mamba_proj_bias=True, mamba_conv_bias=False),
        "granite-hybrid-dense": granite(num_local_experts=0, position_embedding_type="nope", **scales),
        "qwen3-next": qnext(),
        "qwen3-next-plain": qnext(norm_topk_prob=False, mlp_only_layers=[1], tie_word_embeddings=True, attention_bias=True,
                                  layer_types=["linear_attention", "full_attention"] * 2 + ["linear_attention"]),
        "qwen3-next-heads": qnext(linear_num_key_heads=3, linear_num_value_heads=3, linear_conv_kernel_dim=3,
                                  decoder_sparse_step=2, partial_rotary_factor=0.5, linear_key_head_dim=20),
    }


MXFP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def mxfp4_parts(w):
    """[E, in, out] -> nibbles [E, out, in / 32, 32], exponents [E, out, in / 32] (127: 1)"""
    x = w.transpose(1, 2).reshape(w.shape[0], w.shape[2], -1, 32)
    exponent = torch.floor(torch.log2(x.abs().amax(-1).clamp(min=1e-20))) - 2
    scaled = (x / torch.exp2(exponent)[..., None]).unsqueeze(-1)
    return (scaled - MXFP4).abs().argmin(-1), (exponent + 127).to(torch.uint8)


def mxfp4_values(model):
    for name, p in model.named_parameters():
        if name.endswith(("gate_up_proj", "down_proj")):
            nibbles, exponent = mxfp4_parts(p.data)
            x = MXFP4[nibbles] * torch.exp2(exponent.float() - 127)[..., None]
            p.data.copy_(x.reshape(p.shape[0], p.shape[2], -1).transpose(1, 2))


def mxfp4_files(folder):
    tensors = load_file(folder / "model.safetensors")
    for name in [n for n in tensors if n.endswith(("gate_up_proj", "down_proj"))]:
        nibbles, exponent = mxfp4_parts(tensors.pop(name).float())
        tensors[name + "_blocks"] = (nibbles[..., 0::2] | nibbles[..., 1::2] << 4).to(torch.uint8).contiguous()
        tensors[name + "_scales"] = exponent.contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}
    (folder / "config.json").write_text(json.dumps(config))


def phimoe():
    def phi(**more):
        c = dict(intermediate_size=24, num_local_experts=8, router_jitter_noise=0.3)
        return row(t.PhimoeConfig(**base(**{**c, **more})), t.PhimoeForCausalLM,
                   refuse={"num_experts_per_tok": 3, "router_jitter_noise": 0.0})
    scaling = {"type": "longrope", "short_factor": [1.1, 1.2, 1.5, 2.0], "long_factor": [1.0, 2.0, 4.0, 8.0], "short_mscale": 1.24,
               "long_mscale": 1.24, "original_max_position_embeddings": 100}
    return {
        "phimoe": phi(),
        "phimoe-bias": phi(attention_bias=True, lm_head_bias=True, sliding_window=9, router_jitter_noise=0.01),
        "phimoe-longrope": phi(rope_scaling=scaling, tie_word_embeddings=True),
    }


def oss():
    def gpt(**more):
        c = dict(head_dim=16, intermediate_size=24, num_local_experts=8, num_experts_per_tok=3, sliding_window=9,
                 num_hidden_layers=3, rope_scaling={**YARN, "truncate": False, "beta_fast": 32.0, "beta_slow": 1.0})
        return row(t.GptOssConfig(**base(**{**c, **more})), t.GptOssForCausalLM)
    return {
        "gpt-oss": gpt(),
        "gpt-oss-tied": gpt(tie_word_embeddings=True, head_dim=10, num_attention_heads=5, num_key_value_heads=5,
                            layer_types=["full_attention", "sliding_attention", "sliding_attention"]),
        "gpt-oss-mxfp4": {**gpt(intermediate_size=64, hidden_size=96), "prepare": mxfp4_values, "rewrite": mxfp4_files,
                          "note": "Experts as MXFP4 blocks, as published."},
        "gpt-oss-wide": gpt(intermediate_size=64, hidden_size=96, rope_theta=5000.0),
    }


GROUPS = [llamas, hybrids, oss, phimoe, falcon, alibi, layer_norms, glms, ernies, granites, encoders]


def rows():
    out = {}
    for group in GROUPS:
        out.update(group())
    return out
