/* PEFT's LoRA folders laid over the tensors of a model while it is loaded: W + scale * change, in float32. A tensor
 * is changed as it lies on disk, so that fused and turned weights need no rule of their own. The loader calls it;
 * it knows no roles and no graphs. arXiv:2106.09685, arXiv:2312.03732 (rsLoRA), arXiv:2402.09353 (DoRA). */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_LORA_H
#define MODELS_LORA_H
#include "base/arena.h"
#include "formats/safetensors.h"

struct model_lora { const char *folder; float scale; };
struct lora_set;

/* All of `list`, checked. Lives in the arena, as changed values do; lora_close frees the rest. */
int lora_open(const struct model_lora *list, size_t n, struct arena *arena, struct lora_set **out);
void lora_close(struct lora_set *l); /* NULL is fine */
/* The tensor with every adapter's change: itself where there is none, else F32. Changes are measured from the base,
 * so that the order of adapters means nothing. l may be NULL. */
int lora_apply(struct lora_set *l, const struct st_tensor *base, const struct st_tensor **out);
/* Every tensor of every adapter has changed something; else NUN_EFORMAT naming one. */
int lora_all_used(const struct lora_set *l);

#endif
