"""Reference numbers for the task `masked`: a tiny ViTMAEForPreTraining in PyTorch, float32 on one thread. Writes
tests/data/train/mae: the model at the start (config.json, model.safetensors), and reference.safetensors with pixels, noise,
mask, loss, the gradient of every weight that learns and all weights after AdamW steps on the one batch. Usage:
python3 tests/scripts/make_mae.py (needs torch, transformers, safetensors)."""
# SPDX-License-Identifier: MIT
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import ViTMAEConfig, ViTMAEForPreTraining

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "train", "mae")
STEPS, RATE, BATCH = 5, 1e-3, 3

CONFIG = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, image_size=32, patch_size=8,
              decoder_hidden_size=16, decoder_num_hidden_layers=1, decoder_num_attention_heads=2, decoder_intermediate_size=32,
              mask_ratio=0.75, norm_pix_loss=True, hidden_act="gelu", layer_norm_eps=1e-12, attn_implementation="eager")


def pictures(generator):
    """Ramps with noise on them: no patch is even."""
    ramp = torch.linspace(-1, 1, 32)
    shades = torch.randn(BATCH, 3, 1, 1, generator=generator) * ramp.view(1, 1, 1, 32) + ramp.view(1, 1, 32, 1)
    return shades + 0.3 * torch.randn(BATCH, 3, 32, 32, generator=generator)


def spread(model, generator):
    """Weights as they may be after training: none at its beginning, where biases are 0 and norms 1."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn(p.shape, generator=generator))


def main():
    torch.set_num_threads(1)
    torch.manual_seed(5)
    generator = torch.Generator().manual_seed(6)
    model = ViTMAEForPreTraining(ViTMAEConfig(**CONFIG)).eval()
    model.decoder.initialize_weights(16)  # from_pretrained does, a new model has none
    spread(model, generator)
    model.save_pretrained(OUT)
    pixels, noise = pictures(generator), torch.rand(BATCH, 16, generator=generator)
    learning = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=RATE, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    out, losses = {"pixels": pixels, "noise": noise}, []
    for step in range(STEPS + 1):
        optimiser.zero_grad()
        result = model(pixels, noise=noise)
        losses.append(float(result.loss.detach()))
        if step == STEPS:
            break
        result.loss.backward()
        if step == 0:
            out["mask"] = result.mask
            for name, p in model.named_parameters():
                if p.requires_grad:
                    out["gradient." + name] = p.grad.clone()
        optimiser.step()
    out["losses"] = torch.tensor(losses)
    for name, p in model.named_parameters():
        out["final." + name] = p.detach().clone()
    save_file({k: v.contiguous().float() for k, v in out.items()}, os.path.join(OUT, "reference.safetensors"))
    print(*("%.6f" % loss for loss in losses), file=sys.stdout)


main()
