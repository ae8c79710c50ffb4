#!/usr/bin/env python3
"""Makes tests/data/phi3v/: a small random Phi-3.5-Vision, and what it computes.

  reference_phi3v.py [FOLDER]

What the original's processor and its embedding of pictures do is written here once more in PIL and PyTorch, by their published
description: the HD transform, the order of features, numbers of pictures as negative ids. CLIP's tower and Phi 3's decoder are
those of transformers. Only sizes are small: tiles of 56 pixels where the original has 336, and the tower's own keys, which the
original's config leaves to the name of CLIP's model. Needs torch, transformers, tokenizers, safetensors, PIL; float32's numbers.
"""
# SPDX-License-Identifier: MIT
import json
import math
import pathlib
import re
import shutil
import sys

import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import CLIPVisionConfig, CLIPVisionModel, Phi3Config, Phi3ForCausalLM

SIDE, PATCH, CROPS, STEPS = 56, 14, 4, 12
HALF = SIDE // PATCH // 2                       # features along a tile's side
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
TOWER = dict(hidden_size=24, intermediate_size=36, num_hidden_layers=3, num_attention_heads=2, image_size=SIDE, patch_size=PATCH,
             layer_norm_eps=1e-5, hidden_act="quick_gelu")
TEXT = dict(hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=256, original_max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=10000.0,
            hidden_act="silu", tie_word_embeddings=False, sliding_window=256, initializer_range=0.02)
FACTORS = dict(short_factor=[1.0, 1.05, 1.2, 1.4], long_factor=[1.05, 1.5, 2.6, 4.5])
ROLES = ["<|endoftext|>", "<|assistant|>", "<|user|>", "<|system|>", "<|end|>"]
TEMPLATE = ("{% for message in messages %}{{ '<|' + message['role'] + '|>' + '\\n' + message['content'] + '<|end|>\\n' }}{% endfor %}"
            "{% if add_generation_prompt and messages[-1]['role'] != 'assistant' %}{{- '<|assistant|>\\n' -}}{% endif %}")
PICTURES = {"wide.png": (90, 40), "tall.png": (37, 83), "square.png": (61, 61), "strip.png": (150, 30)}
# (name, what one message after the other says; a file in brackets is a picture, pixels and sizes are stored)
CASES = [("one", [("user", "[wide.png]\nwhat is in it?")], True),
         ("tall", [("system", "say yes or no."), ("user", "[tall.png]\nis there a line?")], True),
         ("two", [("user", "first [square.png] then\n[strip.png]\nwhich is red?"), ("assistant", "the second."), ("user", "why?")], False),
         ("behind", [("user", "look:\n[wide.png]\n[tall.png]\n")], False),
         ("text", [("user", "how many stars are there?")], False)]


# ---- files --------------------------------------------------------------------------------------

def draw(folder):
    for name, (w, h) in PICTURES.items():
        image = Image.new("RGB", (w, h), (40, 90, 160))
        pen = ImageDraw.Draw(image)
        pen.ellipse((3, 5, w // 2, h - 4), fill=(230, 180, 30))
        pen.line((0, h, w, 0), fill=(250, 250, 250), width=3)
        pen.rectangle((w // 2, h // 3, w - 5, h // 2), fill=(150, 20, 60))
        image.save(folder / name)


def tokenizer(folder):
    """Llama's kind: a space before every text and in place of spaces, bytes for what there is no letter for."""
    words = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)] + ["\u2581"] + [chr(c) for c in range(33, 127)]
    merges = [("t", "h"), ("th", "e"), ("\u2581", "w"), ("i", "n"), ("\u2581", "i"), ("\u2581i", "s"), ("r", "e")]
    vocab = {w: i for i, w in enumerate(words + ["".join(m) for m in merges])}
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in ["<unk>", "<s>"]])
    t.add_special_tokens([AddedToken("</s>", special=True, normalized=False, rstrip=True)])
    t.add_special_tokens([AddedToken(s, special=True, normalized=False, rstrip=s != "<|endoftext|>") for s in ROLES])
    t.add_special_tokens([AddedToken("<|image|>", special=True, normalized=False, rstrip=True)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    t.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        dict(add_bos_token=True, add_eos_token=False, bos_token="<s>", eos_token="<|endoftext|>", unk_token="<unk>",
             chat_template=TEMPLATE, tokenizer_class="LlamaTokenizer"), indent=1) + "\n")
    return t


def configs(folder, words):
    config = dict(TEXT, architectures=["Phi3VForCausalLM"], model_type="phi3_v", vocab_size=words.get_vocab_size(), bos_token_id=1,
                  eos_token_id=words.token_to_id("<|endoftext|>"), torch_dtype="float32", attention_dropout=0.0, use_cache=True,
                  rope_scaling=dict(FACTORS, type="su"),
                  embd_layer=dict(embedding_cls="image", hd_transform_order="sub_glb", projection_cls="mlp", use_hd_transform=True,
                                  with_learnable_separator=True),
                  img_processor=dict(TOWER, name="clip_vision_model", model_name="openai/clip-vit-large-patch14-336",
                                     image_dim_out=TOWER["hidden_size"], num_img_tokens=HALF * HALF))
    processor = dict(image_processor_type="Phi3VImageProcessor", processor_class="Phi3VProcessor", image_mean=MEAN, image_std=STD,
                     num_crops=CROPS, num_img_tokens=HALF * HALF, size=dict(height=SIDE, width=SIDE))
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=1) + "\n")


# ---- pictures -----------------------------------------------------------------------------------

def hd_transform(image):
    """Stretched to whole tiles along the longer side, padded with white to whole tiles beside it; tall ones lie down for that."""
    tall = image.width < image.height
    image = image.transpose(Image.Transpose.TRANSPOSE) if tall else image
    ratio, scale = image.width / image.height, 1
    while scale * math.ceil(scale / ratio) <= CROPS:
        scale += 1
    width = (scale - 1) * SIDE
    height = int(width / ratio)
    padded = Image.new("RGB", (width, math.ceil(height / SIDE) * SIDE), (255, 255, 255))
    padded.paste(image.resize((width, height), Image.Resampling.BILINEAR), (0, (padded.height - height) // 2))
    return padded.transpose(Image.Transpose.TRANSPOSE) if tall else padded


def pixels_of(image):
    """-> [CROPS + 1, 3, SIDE, SIDE], the whole first, absent tiles zero; (height, width)"""
    canvas = hd_transform(image.convert("RGB"))
    data = torch.frombuffer(bytearray(canvas.tobytes()), dtype=torch.uint8).view(canvas.height, canvas.width, 3).permute(2, 0, 1)
    x = (data.float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    whole = torch.nn.functional.interpolate(x[None], size=(SIDE, SIDE), mode="bicubic")
    tiles = x.unfold(1, SIDE, SIDE).unfold(2, SIDE, SIDE).permute(1, 2, 0, 3, 4).reshape(-1, 3, SIDE, SIDE)
    absent = torch.zeros(CROPS - len(tiles), 3, SIDE, SIDE)
    return torch.cat([whole, tiles, absent]), (canvas.height, canvas.width)


def count_of(size):
    rows, columns = size[0] // SIDE, size[1] // SIDE
    return (rows * columns + 1) * HALF * HALF + 1 + (rows + 1) * HALF


# ---- the model ----------------------------------------------------------------------------------

def spread(shape, name):
    x = torch.randn(shape)
    if "norm" in name or "nrm" in name:
        return (1 if name.endswith("weight") else 0) + 0.1 * x
    if "_GN" in name:
        return 0.5 * x
    return 0.1 * x if len(shape) < 2 else x * (0.7 if "embed" in name else 1 / math.sqrt(math.prod(shape[1:])))


class Model:
    def __init__(self, vocab, dtype=torch.float32):
        wide, h = 4 * TOWER["hidden_size"], TEXT["hidden_size"]
        self.tower = CLIPVisionModel(CLIPVisionConfig(**TOWER, attn_implementation="eager")).eval()
        self.text = Phi3ForCausalLM(Phi3Config(**TEXT, vocab_size=vocab, rope_scaling=dict(FACTORS, type="longrope"), pad_token_id=0,
                                               attn_implementation="eager")).eval()
        torch.manual_seed(35)
        prefix = "model.vision_embed_tokens."
        self.w = {prefix + k: spread(s, k) for k, s in {
            "sub_GN": (1, 1, 1, wide), "glb_GN": (1, 1, wide), "img_projection.0.weight": (h, wide), "img_projection.0.bias": (h,),
            "img_projection.2.weight": (h, h), "img_projection.2.bias": (h,)}.items()}
        own = {k[len(prefix):]: v.to(dtype) for k, v in self.w.items()}
        for part, where in ((self.tower, prefix + "img_processor."), (self.text, "")):
            state = {k: spread(v.shape, k) for k, v in part.state_dict().items() if v.is_floating_point()}
            part.load_state_dict(state, strict=False)
            part.to(dtype)
            self.w.update({where + k: v for k, v in state.items()})
        self.dtype, self.own = dtype, own

    def squares(self, x, rows, columns):
        """Tiles' states [rows * columns, tokens, C] -> 2x2 side by side, the grid in reading order, each row ended."""
        c = x.shape[-1]
        x = x.reshape(rows, columns, HALF, 2, HALF, 2, c).permute(0, 2, 1, 4, 3, 5, 6).reshape(rows * HALF, columns * HALF, 4 * c)
        return torch.cat([x, self.own["sub_GN"][0].expand(rows * HALF, 1, -1)], 1).reshape(-1, 4 * c)

    def features(self, pixels, size):
        rows, columns = size[0] // SIDE, size[1] // SIDE
        x = self.tower(pixels[: 1 + rows * columns].to(self.dtype), output_hidden_states=True).hidden_states[-2][:, 1:]
        x = torch.cat([self.squares(x[1:], rows, columns), self.own["glb_GN"][0], self.squares(x[:1], 1, 1)])
        for i in (0, 2):
            x = torch.nn.functional.gelu(x) if i else x
            x = torch.nn.functional.linear(x, self.own[f"img_projection.{i}.weight"], self.own[f"img_projection.{i}.bias"])
        return x

    def logits(self, ids, pictures):
        ids = torch.tensor(ids)
        x = self.text.model.embed_tokens(ids.clamp(min=0))
        for i, (pixels, size) in enumerate(pictures):
            x[ids == -i - 1] = self.features(pixels, size)
        return self.text(inputs_embeds=x[None]).logits[0].float()


# ---- cases --------------------------------------------------------------------------------------

def converse(turns):
    """-> messages with parts, the prompt with numbered places, files"""
    files, messages, prompt = [], [], ""
    for role, said in turns:
        parts = []
        for piece in re.split(r"(\[[a-z]+\.png\])", said):
            if piece.startswith("["):
                files.append(piece[1:-1])
                said = said.replace(piece, f"<|image_{len(files)}|>", 1)
            if piece and piece != "\n":                       # a line end behind a picture comes by itself
                parts.append(dict(type="image") if piece.startswith("[") else dict(type="text", text=piece))
        messages.append(dict(role=role, content=parts))
        prompt += f"<|{role}|>\n{said}<|end|>\n"
    return messages, prompt + "<|assistant|>\n", files


def ids_of(words, prompt, pictures):
    """The text between places is tokenised piece by piece, each from the start of a text on."""
    pattern, ids = r"<\|image_(\d+)\|>", []
    for i, piece in enumerate(re.split(pattern, prompt)):
        ids += [-int(piece)] * count_of(pictures[int(piece) - 1][1]) if i % 2 else words.encode(piece).ids
    return ids


def greedy_of(model, ids, pictures):
    out, gaps, now = [], [], list(ids)
    for _ in range(STEPS):
        best = model.logits(now, pictures)[-1].topk(2)
        out.append(int(best.indices[0]))
        gaps.append(round(float(best.values[0] - best.values[1]), 4))
        now.append(out[-1])
    return out, gaps


def make_case(folder, words, model, rough, name, turns, whole, expected):
    messages, prompt, files = converse(turns)
    pictures = [pixels_of(Image.open(folder / "verify" / f)) for f in files]
    ids = ids_of(words, prompt, pictures)
    expected[f"{name}/logits"] = logits = model.logits(ids, pictures)
    keys = dict(logits=f"{name}/logits")
    if files:
        expected[f"{name}/image_sizes"] = torch.tensor([size for _, size in pictures])
        keys["image_sizes"] = f"{name}/image_sizes"
    if whole:
        expected[f"{name}/pixel_values"] = torch.stack([p for p, _ in pictures])
        keys["pixel_values"] = f"{name}/pixel_values"
    greedy, gaps = greedy_of(model, ids, pictures)
    other = rough.logits(ids, pictures)
    far = dict(min_row_cosine=round(float(torch.nn.functional.cosine_similarity(logits, other).min()), 6),
               max_abs=round(float((logits - other).abs().max()), 5))
    print(f"{name}: {len(ids)} tokens, sizes {[s for _, s in pictures]}, spread {logits.std():.2f}, least gap {min(gaps)}, bfloat16 {far}")
    image = words.token_to_id("<|image|>")
    return dict(name=name, input_ids=[image if i < 0 else i for i in ids], reference_ids=ids, images=files, messages=messages,
                add_generation_prompt=True, prompt=prompt, add_special_tokens=True, greedy=greedy, greedy_gaps=gaps, expected=keys,
                bfloat16=dict(logits=far))


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent / "tests/data/phi3v")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "verify").mkdir(parents=True)
    words = tokenizer(folder)
    configs(folder, words)
    draw(folder / "verify")
    model, rough = Model(words.get_vocab_size()), Model(words.get_vocab_size(), torch.bfloat16)
    save_file({k: v.contiguous() for k, v in model.w.items()}, folder / "model.safetensors", {"format": "pt"})
    expected = {}
    cases = [make_case(folder, words, model, rough, *case, expected) for case in CASES]
    save_file({k: v.contiguous() for k, v in expected.items()}, folder / "verify" / "expected.safetensors")
    (folder / "verify" / "case.json").write_text(json.dumps(dict(
        format=1, family="phi3_v", architecture="Phi3VForCausalLM", made_by=dict(script="scripts/reference_phi3v.py"),
        tolerance=dict(atol=5e-5, rtol=0), cases=cases,
        note="reference_ids are the processor's: a picture is minus its number; input_ids have <|image|> in its place")) + "\n")


if __name__ == "__main__":
    with torch.no_grad():
        main()
