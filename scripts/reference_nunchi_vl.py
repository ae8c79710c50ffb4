#!/usr/bin/env python3
"""Makes tests/data/nunchi_vl/: small random models of every way in which nunchi_vl sees, and what they compute.

  reference_nunchi_vl.py [FOLDER [NAME...]]

The decoder, its gated layers of cross-attention, connectors, masks and the order of rows are written here once more, in
PyTorch and by the page docs/nunchi-vl.md, not by the C code; towers, blocks of connectors with queries and the image processor
are those of transformers. With FOLDER NAME... only these. Needs
torch, transformers, tokenizers, safetensors, PIL. The numbers are float32's.
"""
# SPDX-License-Identifier: MIT
import json
import math
import pathlib
import shutil
import sys

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (Blip2QFormerConfig, Blip2QFormerModel, CLIPVisionConfig, CLIPVisionModel, Dinov2Config, Dinov2Model,
                          GotOcr2ImageProcessor, SiglipVisionConfig, SiglipVisionModel)
from transformers.models.idefics2.configuration_idefics2 import Idefics2PerceiverConfig
from transformers.models.idefics2.modeling_idefics2 import Idefics2PerceiverResampler

SIDE, HIDDEN, STEPS = 56, 32, 8
TEXT = dict(model_type="nunchi_vl_text", hidden_size=HIDDEN, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=512, rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu")
SIGLIP = dict(model_type="siglip_vision_model", hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=2,
              image_size=SIDE, patch_size=14, vision_use_head=False)
CLIP = dict(model_type="clip_vision_model", hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=2,
            image_size=SIDE, patch_size=14)
DINO = dict(model_type="dinov2", hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=70, patch_size=14,
            mlp_ratio=2)
FOLDERS = {
    "decoder": dict(paradigm="decoder", connector="pixel_shuffle", tile_tags="1d", vision_config=SIGLIP),
    "cross": dict(paradigm="cross", connector="mlp", tile_tags="2d", vision_config=CLIP, vision_feature_layer=-2,
                  vision_feature_norm=False, cross=[1]),
    "hybrid": dict(paradigm="hybrid", connector="pixel_shuffle", tile_tags="1d", vision_config=SIGLIP, cross=[0, 1]),
    "patches": dict(paradigm="decoder", connector="mlp", tile_tags="none", vision_config=None, image_size=SIDE, patch_size=14),
    "patches-beside": dict(paradigm="cross", connector="average_pool", tile_tags="none", vision_config=None, image_size=SIDE, patch_size=14,
                           cross=[0]),
    "hybrid-box": dict(paradigm="hybrid", connector="average_pool", tile_tags="box", vision_config=DINO, image_size=SIDE, cross=[1]),
    "perceiver": dict(paradigm="cross", connector="perceiver", tile_tags="box", vision_config=None, image_size=SIDE, patch_size=14, cross=[1],
                      queries=3, connector_layers=2, connector_heads=4),
    "qformer": dict(paradigm="decoder", connector="qformer", tile_tags="2d", vision_config=SIGLIP, queries=5, connector_layers=2,
                    connector_heads=2, connector_norm_eps=1e-5),
    "hybrid-linear": dict(paradigm="hybrid", connector="linear", tile_tags="2d", vision_config=None, image_size=SIDE, patch_size=28, cross=[0]),
    "hybrid-queries": dict(paradigm="hybrid", connector="perceiver", tile_tags="none", vision_config=CLIP, cross=[1], queries=2,
                           connector_layers=1, connector_heads=2),
}
TOWERS = {"siglip_vision_model": (SiglipVisionConfig, SiglipVisionModel, ""), "clip_vision_model": (CLIPVisionConfig, CLIPVisionModel, ""),
          "dinov2": (Dinov2Config, Dinov2Model, "dinov2.")}
MOST = 4
PROCESSOR = dict(image_processor_type="GotOcr2ImageProcessor", crop_to_patches=True, do_resize=True, do_rescale=True, do_normalize=True,
                 do_convert_rgb=True, size=dict(height=SIDE, width=SIDE), min_patches=1, max_patches=MOST, resample=3,
                 rescale_factor=1 / 255, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5])
CASES = [("tiles", ["wide.png"], "what is it?"), ("one-tile", ["small.png"], "a cross?"), ("pictures", ["tall.png", "small.png"], "and?")]


# ---- files --------------------------------------------------------------------------------------

def draw(folder):
    for name, (w, h) in {"wide.png": (80, 40), "tall.png": (30, 66), "small.png": (40, 37)}.items():
        image = Image.new("RGB", (w, h), (40, 90, 160))
        pen = ImageDraw.Draw(image)
        pen.ellipse((3, 5, w // 2, h - 4), fill=(230, 180, 30))
        pen.line((0, h, w, 0), fill=(250, 250, 250), width=3)
        pen.rectangle((w // 2, h // 3, w - 5, h // 2), fill=(150, 20, 60))
        image.save(folder / name)


def tokenizer(folder, config):
    """Bytes of printable ASCII; tags are tokens of their own with tile_tags 1d, and spelled out else."""
    letters = [chr(c) for c in range(33, 127)] + ["\u0120", "\u010a"]
    t = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<image>"]
    if config["tile_tags"] == "1d":
        special += ["<tile_global>"] + [f"<tile_{i + 1}>" for i in range(MOST)]
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in special])
    t.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"}, indent=1) + "\n")
    return t


def tag(kind, x, y, number):
    return {"none": "", "1d": f"<tile_{number}>", "2d": f"<tile_x{x}_y{y}>",
            "box": f"<box> ({x * SIDE}, {y * SIDE}), ({(x + 1) * SIDE}, {(y + 1) * SIDE}) </box>"}[kind]


def make_config(spec, words):
    text = dict(TEXT, vocab_size=words.get_vocab_size(), tie_word_embeddings=spec["paradigm"] == "cross")
    config = dict(architectures=["NunchiVLForConditionalGeneration"], model_type="nunchi_vl", dtype="float32",
                  bos_token_id=words.token_to_id("<s>"), eos_token_id=words.token_to_id("</s>"),
                  image_token_id=words.token_to_id("<image>"), max_tiles=MOST, thumbnail=True, downsample=2)
    config.update({k: v for k, v in spec.items() if k != "cross"})
    if "cross" in spec:
        text["cross_attention_layers"] = spec["cross"]
    if spec["paradigm"] == "hybrid" and spec["tile_tags"] != "none":
        places = [(k, 0) for k in range(MOST)] if spec["tile_tags"] == "1d" else [(k % MOST, k // MOST) for k in range(MOST * MOST)]
        config["tile_tag_ids"] = [words.encode(tag(spec["tile_tags"], x, y, x + 1)).ids for x, y in places]
    config["text_config"] = text
    return config


# ---- weights ------------------------------------------------------------------------------------

def spread(shape, name):
    x = torch.randn(shape)
    if name.endswith("_gate"):
        return 0.8 + 0.1 * x
    if "norm" in name or "lambda" in name:
        return (1 if name.endswith(("weight", "lambda1")) else 0) + 0.1 * x
    if len(shape) < 2:
        return 0.1 * x
    return x * (0.7 if "embed" in name or "positions" in name else 1 / math.sqrt(math.prod(shape[1:])))


def make_tower(config, weights):
    if not config:
        return None
    kind, build, base = TOWERS[config["model_type"]]
    tower = build(kind(**{k: v for k, v in config.items() if k != "model_type"}, attn_implementation="eager")).eval()
    state = {k: spread(v.shape, k) for k, v in tower.state_dict().items() if v.is_floating_point()}
    tower.load_state_dict(state, strict=False)
    weights.update({f"vision_tower.{base}{k}": v for k, v in state.items() if "mask_token" not in k})
    return tower


def make_blocks(config, weights):
    """Of connectors with queries."""
    kind, layers, heads = config["connector"], config.get("connector_layers"), config.get("connector_heads")
    if kind == "perceiver":
        blocks = Idefics2PerceiverResampler(Idefics2PerceiverConfig(
            hidden_act="silu", hidden_size=HIDDEN, rms_norm_eps=TEXT["rms_norm_eps"], resampler_n_latents=config["queries"],
            resampler_depth=layers, resampler_n_heads=heads, resampler_head_dim=HIDDEN // heads, num_key_value_heads=heads,
            attn_implementation="eager"))
    elif kind == "qformer":
        blocks = Blip2QFormerModel(Blip2QFormerConfig(
            hidden_act="gelu", hidden_size=HIDDEN, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=4 * HIDDEN,
            cross_attention_frequency=1, encoder_hidden_size=HIDDEN, layer_norm_eps=config["connector_norm_eps"]))
        weights["connector.queries"] = torch.randn(1, config["queries"], HIDDEN)
    else:
        return None
    state = {k: spread(v.shape, k) for k, v in blocks.state_dict().items() if v.is_floating_point()}
    blocks.eval().load_state_dict(state)
    weights.update({f"connector.{kind}.{k}": v for k, v in state.items()})
    return blocks


def block_shapes(prefix, cross):
    h, kv, d, inner = HIDDEN, 16, 8, TEXT["intermediate_size"]
    attention = "cross_attn" if cross else "self_attn"
    shapes = {f"{attention}.q_proj.weight": (h, h), f"{attention}.k_proj.weight": (kv, h), f"{attention}.v_proj.weight": (kv, h),
              f"{attention}.o_proj.weight": (h, h), "mlp.gate_proj.weight": (inner, h), "mlp.up_proj.weight": (inner, h),
              "mlp.down_proj.weight": (h, inner), "input_layernorm.weight": (h,), "post_attention_layernorm.weight": (h,)}
    if cross:
        shapes.update({"cross_attn.q_norm.weight": (d,), "cross_attn.k_norm.weight": (d,), "cross_attn_attn_gate": (1,),
                       "cross_attn_mlp_gate": (1,)})
    return {prefix + k: v for k, v in shapes.items()}


def make_weights(config):
    text, vision = config["text_config"], config["vision_config"]
    width = vision["hidden_size"] if vision else 3 * config["patch_size"] ** 2
    two = config["connector"] in ("mlp", "pixel_shuffle", "qformer")
    shapes = {"language_model.model.embed_tokens.weight": (text["vocab_size"], HIDDEN), "language_model.model.norm.weight": (HIDDEN,),
              "connector.linear_1.weight": (HIDDEN, width * (4 if config["connector"] == "pixel_shuffle" else 1)),
              "connector.linear_1.bias": (HIDDEN,)}
    if two:
        shapes.update({"connector.linear_2.weight": (HIDDEN, HIDDEN), "connector.linear_2.bias": (HIDDEN,)})
    if not vision and (config["paradigm"] != "decoder" or "queries" in config):
        shapes["connector.positions"] = ((SIDE // config["patch_size"]) ** 2, width)
    if not text["tie_word_embeddings"]:
        shapes["language_model.lm_head.weight"] = (text["vocab_size"], HIDDEN)
    for i in range(text["num_hidden_layers"]):
        shapes.update(block_shapes(f"language_model.model.layers.{i}.", False))
    for i in range(len(text.get("cross_attention_layers", []))):
        shapes.update(block_shapes(f"language_model.model.cross_layers.{i}.", True))
    return {k: spread(s, k) for k, s in shapes.items()}


# ---- the model ----------------------------------------------------------------------------------

class Model:
    def __init__(self, config):
        self.c, self.t = config, config["text_config"]
        self.w = make_weights(config)
        self.tower = make_tower(config["vision_config"], self.w)
        self.blocks = make_blocks(config, self.w)

    def linear(self, name, x):
        return F.linear(x, self.w[name + ".weight"], self.w.get(name + ".bias"))

    def norm(self, name, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.t["rms_norm_eps"]) * self.w[name + ".weight"]

    def states(self, pixels):
        """Tiles [n, 3, S, S] -> [n, side, side, width]."""
        if self.tower is None:
            p, n = self.c["patch_size"], pixels.shape[0]
            x = pixels.unfold(2, p, p).unfold(3, p, p).permute(0, 2, 3, 4, 5, 1).reshape(n, -1, p * p * 3)
            x = x + self.w["connector.positions"] if "connector.positions" in self.w else x
        else:
            layer = self.c.get("vision_feature_layer", -1)
            kind = self.c["vision_config"]["model_type"]
            x = self.tower(pixels, output_hidden_states=True).hidden_states[layer]
            if self.c.get("vision_feature_norm", True):
                x = (self.tower.layernorm if kind == "dinov2" else self.tower.vision_model.post_layernorm)(x)
            x = x if kind == "siglip_vision_model" else x[:, 1:]
        side = math.isqrt(x.shape[1])
        return x.reshape(x.shape[0], side, side, -1)

    def connect(self, x):
        """-> [n, rows, hidden]"""
        n, side, _, width = x.shape
        kind, s = self.c["connector"], self.c["downsample"]
        if kind in ("pixel_shuffle", "average_pool"):
            x = x.reshape(n, side // s, s, side // s, s, width).permute(0, 1, 3, 2, 4, 5).reshape(n, (side // s) ** 2, s * s, width)
            x = x.flatten(2) if kind == "pixel_shuffle" else x.mean(2)
        x = self.linear("connector.linear_1", x.reshape(n, -1, x.shape[-1]))
        if kind == "perceiver":
            return self.blocks(x, torch.ones(x.shape[:2]))
        if kind == "qformer":
            seen = self.blocks(query_embeds=self.w["connector.queries"].expand(n, -1, -1), encoder_hidden_states=x).last_hidden_state
            return self.linear("connector.linear_2", seen)
        return self.linear("connector.linear_2", F.gelu(x)) if "connector.linear_2.weight" in self.w else x

    def heads(self, x, n):
        return x.view(x.shape[0], n, -1).transpose(0, 1)

    def attend(self, q, k, v, seen):
        """q [H, T, D], k and v [K, R, D], seen [T, R]; who sees nothing gets nothing."""
        k, v = (z.repeat_interleave(q.shape[0] // z.shape[0], 0) for z in (k, v))
        score = (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).masked_fill(~seen, -math.inf)
        weight = torch.softmax(score, -1).nan_to_num(0)
        return (weight @ v).transpose(0, 1).reshape(q.shape[1], -1)

    def rope(self, x):
        d, n = x.shape[-1], x.shape[1]
        angle = torch.arange(n)[:, None] * self.t["rope_theta"] ** (-torch.arange(0, d, 2) / d)
        cos, sin = torch.cat([angle, angle], -1).cos(), torch.cat([angle, angle], -1).sin()
        return x * cos + torch.cat([-x[..., d // 2:], x[..., : d // 2]], -1) * sin

    def mlp(self, p, x):
        return self.linear(p + "mlp.down_proj", F.silu(self.linear(p + "mlp.gate_proj", x)) * self.linear(p + "mlp.up_proj", x))

    def own(self, i, x):
        p, a = f"language_model.model.layers.{i}.", f"language_model.model.layers.{i}.self_attn."
        h, H, K = self.norm(p + "input_layernorm", x), self.t["num_attention_heads"], self.t["num_key_value_heads"]
        q, k = self.rope(self.heads(self.linear(a + "q_proj", h), H)), self.rope(self.heads(self.linear(a + "k_proj", h), K))
        seen = torch.ones(len(x), len(x), dtype=torch.bool).tril()
        x = x + self.linear(a + "o_proj", self.attend(q, k, self.heads(self.linear(a + "v_proj", h), K), seen))
        return x + self.mlp(p, self.norm(p + "post_attention_layernorm", x))

    def cross(self, i, x, rows, seen):
        p, a = f"language_model.model.cross_layers.{i}.", f"language_model.model.cross_layers.{i}.cross_attn."
        h, H, K = self.norm(p + "input_layernorm", x), self.t["num_attention_heads"], self.t["num_key_value_heads"]
        q = self.norm(a + "q_norm", self.heads(self.linear(a + "q_proj", h), H))
        k = self.norm(a + "k_norm", self.heads(self.linear(a + "k_proj", rows), K))
        y = self.linear(a + "o_proj", self.attend(q, k, self.heads(self.linear(a + "v_proj", rows), K), seen))
        x = x + torch.tanh(self.w[p + "cross_attn_attn_gate"]) * y
        y = self.mlp(p, self.norm(p + "post_attention_layernorm", x)) * seen.any(1, keepdim=True)
        return x + torch.tanh(self.w[p + "cross_attn_mlp_gate"]) * y

    def logits(self, ids, pictures):
        embed = self.w["language_model.model.embed_tokens.weight"]
        x, ids = embed[ids].clone(), torch.tensor(ids)
        inside, rows, seen = self.lay(ids, pictures)
        if len(inside):
            x[ids == self.c["image_token_id"]] = inside
        at = self.t.get("cross_attention_layers", [])
        for i in range(self.t["num_hidden_layers"]):
            if i in at:
                x = self.cross(at.index(i), x, rows, seen)
            x = self.own(i, x)
        head = embed if self.t["tie_word_embeddings"] else self.w["language_model.lm_head.weight"]
        return self.norm("language_model.model.norm", x) @ head.T

    def lay(self, ids, pictures):
        """Rows in the sequence, rows beside it, and who sees which of these."""
        inside, beside, marks = [], [], (ids == self.c["image_token_id"]).nonzero().flatten().tolist()
        spans = []                                  # of tokens [from, to): rows [from, to)
        for p in pictures:
            tiles = self.connect(self.states(p["pixels"]))
            n, each, first = len(tiles), tiles.shape[1], sum(len(r) for r in beside)
            if self.c["paradigm"] == "decoder":
                inside.append(tiles.flatten(0, 1))
                continue
            if self.c["paradigm"] == "cross":
                beside.append(tiles.flatten(0, 1))
                opens = self.c["tile_tags"] != "none"
                own, marks = marks[: n + opens], marks[n + opens:]
                stops = own[1:] if opens else own
                begin = own[0]
                for k, stop in enumerate(stops):
                    spans.append((begin, stop + 1, first + k * each, first + (k + 1) * each))
                    begin = stop + 1
            else:
                inside.append(tiles[-1])            # the thumbnail, or the only tile
                parts = []
                for k in range(max(1, n - 1)):
                    x, y = k % p["columns"], k // p["columns"]
                    tag_ids = self.c.get("tile_tag_ids", [[]] * MOST * MOST)[k if self.c["tile_tags"] == "1d" else y * MOST + x]
                    parts += [self.w["language_model.model.embed_tokens.weight"][tag_ids], tiles[k]]
                beside.append(torch.cat(parts))
                begin, marks = marks[0], marks[each:]
            spans.append((begin, len(ids), 0, first + len(beside[-1])))
        rows = torch.cat(beside) if beside else torch.zeros(0, HIDDEN)
        seen = torch.zeros(len(ids), len(rows), dtype=torch.bool)
        for a, b, lo, hi in spans:
            seen[a:b] = False
            seen[a:b, lo:hi] = True
        return torch.cat(inside) if inside else [], rows, seen


# ---- cases --------------------------------------------------------------------------------------

def grid(processor, image):
    n = processor.get_number_of_image_patches(image.height, image.width, {"min_patches": 1, "max_patches": MOST})
    if n == 1:
        return 1, 1
    from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas
    return get_optimal_tiled_canvas((image.height, image.width), (SIDE, SIDE), 1, MOST)


def spell(config, picture):
    kind, mark, n, columns = config["tile_tags"], "<image>", len(picture["pixels"]), picture["columns"]
    whole = "" if kind == "none" else "<tile_global>"
    each = picture["rows"]
    if config["paradigm"] == "hybrid":
        return whole + mark * each
    out = mark if config["paradigm"] == "cross" and kind != "none" else ""
    for k in range(n):
        out += whole if k == n - 1 else tag(kind, k % columns, k // columns, k + 1)
        out += mark * (1 if config["paradigm"] == "cross" else each)
    return out


def make(root, name, spec):
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "verify").mkdir(parents=True)
    torch.manual_seed(sum(name.encode()))
    words = tokenizer(folder, spec)
    config = make_config(spec, words)
    model = Model(config)
    draw(folder / "verify")
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR, indent=1) + "\n")
    save_file({k: v.contiguous() for k, v in model.w.items()}, folder / "model.safetensors", {"format": "pt"})
    processor = GotOcr2ImageProcessor(**{k: v for k, v in PROCESSOR.items() if k != "image_processor_type"})
    cases, expected = [], {}
    for case, files, question in CASES:
        pictures = []
        for f in files:
            image = Image.open(folder / "verify" / f)
            columns, _ = grid(processor, image)
            pixels = processor(image, return_tensors="pt").pixel_values
            pictures.append(dict(pixels=pixels, columns=columns, rows=model.connect(model.states(pixels[:1])).shape[1]))
        text = "<s>look: " + "".join(spell(config, p) for p in pictures) + question
        ids = words.encode(text, add_special_tokens=False).ids
        expected[f"{case}/logits"] = logits = model.logits(ids, pictures)
        greedy, gaps, now = [], [], list(ids)
        for _ in range(STEPS):
            best = model.logits(now, pictures)[-1].topk(2)
            greedy.append(int(best.indices[0]))
            gaps.append(round(float(best.values[0] - best.values[1]), 4))
            now.append(greedy[-1])
        parts = [dict(type="text", text="look: ")] + [dict(type="image")] * len(files) + [dict(type="text", text=question)]
        cases.append(dict(name=case, input_ids=ids, prompt="<s>look: " + "<image>" * len(files) + question, images=files,
                          messages=[dict(role="user", content=parts)], add_special_tokens=False, greedy=greedy, greedy_gaps=gaps,
                          expected=dict(logits=f"{case}/logits")))
        print(f"{name} {case}: {[len(p['pixels']) for p in pictures]} tiles, {len(ids)} tokens, spread {logits.std():.2f}, gaps {min(gaps)}")
    save_file(expected, folder / "verify" / "expected.safetensors")
    (folder / "verify" / "case.json").write_text(json.dumps(dict(
        format=1, family="nunchi_vl", architecture="NunchiVLForConditionalGeneration", made_by=dict(script="scripts/reference_nunchi_vl.py"),
        tolerance=dict(atol=5e-5, rtol=0), cases=cases)) + "\n")


if __name__ == "__main__":
    with torch.no_grad():
        target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent / "tests/data/nunchi_vl")
        for folder_name in sys.argv[2:] or FOLDERS:
            make(target, folder_name, FOLDERS[folder_name])
