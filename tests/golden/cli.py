#!/usr/bin/env python3
"""The command line as its users meet it: help, mistakes, exit codes, streams, and, where the bundled
model is, answers. One function a case; run as `cli.py build/nunchi [MODEL]`."""
# SPDX-License-Identifier: MIT
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from driver import NUNCHI, ROOT, Skipped, check, contains, mistake, nunchi, run_cases, shared  # noqa: E402

MODEL = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "models" / "scenes"
COMMANDS = re.findall(r"^COMMAND\((\w+)", (ROOT / "src/cli/commands.def").read_text(), re.M)


def need_model():
    if not (MODEL / "model.safetensors").exists():
        raise Skipped("no weights in %s" % MODEL)


# ---- help ------------------------------------------------------------------------------------------


def case_overview():
    out, err = nunchi("-h")
    contains(out, "Usage: nunchi COMMAND", *("\n  %s " % c for c in COMMANDS))
    check(err == "", "help talks on stderr: %r" % err)
    check(nunchi("--help")[0] == out and nunchi("help")[0] == out, "three ways to the overview differ")


def case_nothing_is_an_error():
    out, err = nunchi(status=2)
    check(out == "", "talk on stdout")
    contains(err, "Usage: nunchi COMMAND")


def case_help_of_every_command():
    for command in COMMANDS:
        short, full = nunchi(command, "-h")[0], nunchi(command, "--help")[0]
        contains(short, "Usage: nunchi %s [OPTION...]" % command, "Example:\n  ", "--threads N", "--json")
        check(len(full) > len(short), "%s: --help is not longer than -h" % command)
        contains(full, "NUNCHI_THREADS")
        check(nunchi("help", command)[0] == full, "help %s is not its --help" % command)


def case_help_shows_defaults_and_choices():
    contains(nunchi("eval", "-h")[0], "train|val|test|heldout [test]", "[2000]")


def case_no_letter_twice():
    for command in COMMANDS:
        letters = re.findall(r"^  -(\w), --", nunchi(command, "-h")[0], re.M)
        names = re.findall(r"^  (?:-\w, |    )--([\w-]+)", nunchi(command, "-h")[0], re.M)
        check(len(set(letters)) == len(letters), "%s: letters %s" % (command, letters))
        check(len(set(names)) == len(names) and len(names) >= 8, "%s: names %s" % (command, names))


def case_man_page():
    page = nunchi("help", "--man")[0]
    contains(page, ".TH NUNCHI 1", ".SS nunchi run", "\\-\\-top\\-p", "NUNCHI_TOP_P")
    check(not re.search(r"^-|[^\\]--", page, re.M), "a dash that roff would take for a hyphen")
    if shutil.which("man"):
        done = subprocess.run(["man", "--warnings", "-l", "-"], input=page.encode(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        check(done.stderr == b"", done.stderr.decode())


def case_completions():
    script = nunchi("help", "--completions", "bash")[0]
    lines = "%s\nCOMP_WORDS=(nunchi eval --spl) COMP_CWORD=2; _nunchi; echo \"${COMPREPLY[@]}\"\n" % script
    lines += "COMP_WORDS=(nunchi insp) COMP_CWORD=1; _nunchi; echo \"${COMPREPLY[@]}\"\n"
    lines += "COMP_WORDS=(nunchi eval --split h) COMP_CWORD=3; _nunchi; echo \"${COMPREPLY[@]}\"\n"
    done = subprocess.run(["bash", "-c", lines], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    check(done.stdout.split() == [b"--split", b"inspect", b"heldout"], "%s %s" % (done.stdout, done.stderr))
    contains(nunchi("help", "--completions", "zsh")[0], "#compdef nunchi", "--split[")
    contains(nunchi("help", "--completions", "fish")[0], "complete -c nunchi", "-l split", "'train val test heldout'")
    for shell in ("zsh", "fish"):
        if shutil.which(shell):
            text = nunchi("help", "--completions", shell)[0].encode()
            done = subprocess.run([shell, "-n", "/dev/stdin"], input=text, stderr=subprocess.PIPE)
            check(done.returncode == 0, done.stderr.decode())


def case_commands_page_is_not_stale():
    page = nunchi("help", "--markdown")[0]
    check((ROOT / "docs" / "commands.md").read_text() == page,
          "docs/commands.md is stale: build/nunchi help --markdown > docs/commands.md")


# ---- facts -----------------------------------------------------------------------------------------


def case_version():
    out, _ = nunchi("--version")
    check(re.match(r"nunchi \d+\.\d+\.\d+\nkernels: scalar", out), out)
    check(json.loads(nunchi("--version", "--json")[0])["kernels"].startswith("scalar"), "no kernels")


def case_limits():
    rows = {r["name"]: r for r in json.loads(nunchi("--limits", "--json")[0])}
    check(rows["image_side"]["unit"] == "pixels" and rows["json_depth"]["value"] == 128, str(rows))
    table = nunchi("--limits")[0]
    check(len(table.splitlines()) == len(rows), "the table and the JSON differ")
    declared = re.findall(r"^LIMIT\((\w+)", (ROOT / "src/base/limits.def").read_text(), re.M)
    check(sorted(declared) == sorted(rows), "not all limits are shown")


def case_cpu_mask():
    check(nunchi("--version", "--cpu-mask", "scalar")[0].endswith("kernels: scalar\n"), "the mask is not obeyed")
    out, _ = nunchi("--version", env={"NUNCHI_CPU_MASK": "scalar"})
    check(out.endswith("kernels: scalar\n"), "the environment twin is not obeyed")
    contains(nunchi("--version", "--cpu-mask", "mmx", status=2)[1], "--cpu-mask", "mmx")


# ---- mistakes --------------------------------------------------------------------------------------


def case_unknown_command():
    mistake("rnu", says=["unknown command rnu", "did you mean run?"])
    mistake("frobnicate", says=["unknown command frobnicate; see nunchi -h"])


def case_unknown_option():
    mistake("run", "--tmep", "1", says=["--tmep", "did you mean --temp?", "nunchi run -h"])
    mistake("run", "--temprature=1", says=["did you mean --temperature?"])
    mistake("run", "--resume", says=["unknown option --resume"])  # train's, not run's
    mistake("eval", "-Z", says=["unknown option -Z"])


def case_values():
    mistake("run", "--top-p", "1.5", says=["--top-p", "0 to 1", "1.5"])
    mistake("run", "--top-k", "many", says=["--top-k", "whole number", "many"])
    mistake("run", "-n", says=["-n", "expected N", "nothing"])
    mistake("eval", "m", "--split", "tset", says=["--split", "train|val|test|heldout", "tset"])
    mistake("run", "m", says=["NUNCHI_TOP_K", "whole number"], env={"NUNCHI_TOP_K": "x"})
    mistake("run", "--seed", "-1", says=["--seed", "-1"])


def case_arguments():
    mistake("run", says=["expected a model"])
    mistake("inspect", "a", "b", says=["did not expect \"b\""])
    mistake("data", says=["scenes, scenes-hd or lint", "nothing"])
    mistake("train", says=["expected a recipe"])
    mistake("train", "no-such-recipe.yaml", says=["no-such-recipe.yaml"])
    mistake("run", "no-such-model", "hello", says=["no-such-model"])
    mistake("run", "no-such-model", "no-such.png", says=["no-such.png", "no such picture"])
    mistake("run", "no-such-model", "--image", "no-such.png", "hi", says=["no-such.png"])
    mistake("run", "no-such-model", says=["a prompt or a picture"])


def case_environment_names():
    _, err = nunchi("--version", env={"NUNCHI_TEPM": "1"})
    contains(err, "NUNCHI_TEPM")
    _, err = nunchi("--version", env={"NUNCHI_TEMP": "1"})
    check(err == "", err)


def case_spellings():
    """--name=value, --name value, -nV, -n V and the environment mean the same; the line wins."""
    with tempfile.TemporaryDirectory() as tmp:
        ways = [(["--count=2"], {}), (["--count", "2"], {}), ([], {"NUNCHI_COUNT": "2"}),
                (["--count", "2"], {"NUNCHI_COUNT": "9"})]
        for i, (args, env) in enumerate(ways):
            out, _ = nunchi("data", "scenes", "%s/%d" % (tmp, i), "--json", *args, env=env)
            check(json.loads(out) == {"pictures": 2}, "%s %s: %s" % (args, env, out))


# ---- data ------------------------------------------------------------------------------------------


def case_data():
    with tempfile.TemporaryDirectory() as tmp:
        make = ["data", "scenes", tmp + "/a", "--count", "6", "--split", "val", "--seed", "5", "--questions", "3"]
        out, err = nunchi(*make)
        check(out == "" and "6 pictures of split val, seed 5" in err, out + err)
        nunchi("data", "scenes", tmp + "/b", *make[3:], "-q")
        for name in sorted(os.listdir(tmp + "/a/images")) + ["../data.json"]:
            a, b = (pathlib.Path(tmp, d, "images", name).read_bytes() for d in "ab")
            check(a == b, "the same seed, another %s" % name)
        kinds = {name.split(".")[1] for name in os.listdir(tmp + "/a/images")}
        check(kinds == {"png", "jpg", "webp"}, str(kinds))
        facts = json.loads(nunchi("data", "lint", tmp + "/a", "--json")[0])
        check(facts["samples"] == 6 and facts["pictures"] == 6 and facts["problems"] == 0, str(facts))
        mistake(*make, says=["data.json"])
        os.remove(tmp + "/b/images/" + sorted(os.listdir(tmp + "/b/images"))[0])
        _, err = nunchi("data", "lint", tmp + "/b", status=1)
        contains(err, "data.json:2: sample ")


def case_pipe_closed():
    """A reader that has had enough is no error to speak of."""
    done = subprocess.run(["sh", "-c", '"%s" help --markdown | head -n 1' % NUNCHI], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    check(done.stdout == b"# Commands\n" and done.stderr == b"", str(done))


def case_full_disk():
    if not os.path.exists("/dev/full"):
        raise Skipped("no /dev/full")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([NUNCHI, "--limits"], stdout=full, stderr=subprocess.PIPE)
    check(done.returncode == 2 and b"No space left" in done.stderr, str(done))


# ---- files that others made ------------------------------------------------------------------------


def safetensors(path):
    data = pathlib.Path(path).read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    head = json.loads(data[8:end])
    return {k: (v["shape"], data[end + v["data_offsets"][0]:end + v["data_offsets"][1]]) for k, v in head.items()
            if k != "__metadata__"}


def case_dump_tensors():
    """Every GGUF format as float32, bit for bit as the format's own library has it."""
    folder = shared("fixtures/gguf/types")
    with tempfile.TemporaryDirectory() as tmp:
        out, _ = nunchi("inspect", folder / "types.gguf", "--dump-tensors", tmp + "/t.safetensors")
        check(out == "", out)
        got, want = safetensors(tmp + "/t.safetensors"), safetensors(folder / "expected.safetensors")
    want.pop("source")  # what they were made of
    check(sorted(got) == sorted(want) and len(got) >= 25, "other names: %s" % sorted(set(got) ^ set(want)))
    for name in want:
        check(got[name][1] == want[name][1], "%s differs" % name)


def case_inspect_gguf():
    facts = json.loads(nunchi("inspect", shared("fixtures/gguf/types/types.gguf"), "--json")[0])
    check(facts["format"] == "gguf" and len(facts["tensors"]) >= 25, str(facts)[:300])
    check(sum(facts["dtypes"].values()) == facts["bytes"], "bytes do not add up")


def case_inspect_memory():
    """Matrices in the file's format and in the kernels': of Q4_0 18 bytes for 32 values, then 2 or 4 bytes a value."""
    with tempfile.TemporaryDirectory() as tmp:
        nunchi("init", "llama-tiny", tmp + "/t.gguf", "--dtype", "Q8_0")
        parts = [json.loads(nunchi("inspect", tmp + "/t.gguf", "--json", *more)[0])["memory"] for more in ([], ["--compute", "f32", "-c", "64"])]
        check(parts[1]["prepared_bytes"] == 2 * parts[0]["prepared_bytes"] > parts[0]["weight_bytes"], str(parts))
        check(parts[1]["context"] == 64 and parts[1]["state_bytes_full_context"] == 64 * parts[1]["state_bytes_per_token"], str(parts))


def case_inspect_adapter():
    folder = shared("fixtures/peft-lora")
    facts = json.loads(nunchi("inspect", folder, "--json")[0])
    check(facts["format"] == "adapter" and facts["architecture"] == "LORA" and facts["memory"] is None, str(facts)[:300])
    check(facts["config"]["r"] == 8 and all("lora_" in t["name"] for t in facts["tensors"]), str(facts)[:300])
    contains(nunchi("inspect", folder)[0], "goes on top of ../llama", "--lora")


def made(folder, *more):
    """a small random model, and the ids that it says next"""
    model = pathlib.Path(folder) / "tiny"
    nunchi("init", "llama-tiny", model, "--dtype", "F32", "--seed", "5", *more)
    return model


def says(model):
    return json.loads(nunchi("run", model, "--raw", "--json", "--compute", "f32", "--temp", "0", "-n", "12", "Hello")[0])["tokens"]


def case_convert_there_and_back():
    with tempfile.TemporaryDirectory() as d:
        model, d = made(d), pathlib.Path(d)
        nunchi("convert", model, d / "tiny.gguf")
        nunchi("convert", d / "tiny.gguf", d / "back")
        first, again = (p / "model.safetensors" for p in (model, d / "back"))
        check(first.read_bytes() == again.read_bytes(), "weights differ after GGUF and back")
        check(says(model) == says(d / "tiny.gguf") == says(d / "back"), "a conversion changes what the model says")
        ids = [nunchi("tokenize", m, stdin="a\u00e9 \U0001f600".encode())[0] for m in (model, d / "tiny.gguf", d / "back")]
        check(ids[0] == ids[1] == ids[2], "tokenizers differ: %s" % ids)
        mistake("convert", model, d / "tiny.gguf", says=["is there already"])
        mistake("convert", model, says=["where to put it"])
        mistake("convert", model, d / "x.gguf", "--dtype", "Q9", says=["Q4_K_M"])
        mistake("convert", model, d / "x", "--dtype", "Q4_0", says=["F32, F16 or BF16"])
        check(not (d / "x.gguf").exists() and not (d / "x").exists(), "a refused conversion leaves something behind")


def case_quantize():
    with tempfile.TemporaryDirectory() as d:
        model, d = made(d), pathlib.Path(d)
        sizes = []
        for kind in ("F16", "Q8_0", "Q6_K", "Q4_K_M", "Q2_K"):
            nunchi("quantize", model, d / (kind + ".gguf"), kind)
            sizes.append((d / (kind + ".gguf")).stat().st_size)
            check(len(says(d / (kind + ".gguf"))) == 12, "%s does not run" % kind)
        check(sizes == sorted(sizes, reverse=True), "sizes: %s" % sizes)
        tensors = {t["name"]: t["dtype"] for t in json.loads(nunchi("inspect", d / "Q4_K_M.gguf", "--json")[0])["tensors"]}
        check(tensors["blk.0.ffn_up.weight"] == "Q4_K" and tensors["output.weight"] == "Q6_K" and tensors["output_norm.weight"] == "F32",
              str(tensors))
        mistake("quantize", model, d / "y.gguf", says=["Q4_K_M"])


def case_init():
    with tempfile.TemporaryDirectory() as d:
        model = made(d)
        d = pathlib.Path(d)
        nunchi("init", model / "config.json", d / "again", "--dtype", "F32", "--seed", "5", "--threads", "1")
        nunchi("init", "llama-tiny", d / "other", "--dtype", "F32", "--seed", "6")
        a, b, c = ((p / "model.safetensors").read_bytes() for p in (model, d / "again", d / "other"))
        check(a == b, "the same seed gives other weights")
        check(a != c, "another seed gives the same weights")
        mistake("init", "llama-9z", d / "z", says=["llama-tiny"])


def case_verify():
    folder = shared("fixtures/llama")
    with tempfile.TemporaryDirectory() as tmp:
        out, err = nunchi("verify", folder, "--no-train", "--dump", tmp + "/d.safetensors")
        check(re.search(r"^ok .*llama len7 f32  worst \d\.\d+e-0\d  greedy 16/16$", out, re.M) and err == "", out + err)
        want, got = safetensors(folder / "verify/expected.safetensors"), safetensors(tmp + "/d.safetensors")
        check("len7/greedy" in got and set(want) & set(got), "what was computed is not there: %s" % sorted(got))
        cases = json.loads(nunchi("verify", folder, "--no-train", "--json")[0])
        check(all(c["ok"] for c in cases) and {c["path"] for c in cases} >= {"f32", "bf16"}, str(cases)[:500])
        shutil.copytree(folder, tmp + "/broken")
        config = pathlib.Path(tmp, "broken/config.json")
        config.write_text(config.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-02'))
        out, _ = nunchi("verify", tmp + "/broken", "--no-train", status=1)
        contains(out, "FAILED")
    mistake("verify", "no-such-model", says=["no-such-model"])


def case_tokenize_as_others_do():
    texts = json.loads(shared("vectors/tokenizers/texts.json").read_text())
    lines = "".join(json.dumps(t) + "\n" for t in texts).encode()
    for folder, ids in (("phi-2", "phi-2"), ("llama2", "llama2"), ("t5-small", "t5-small")):
        want = [json.loads(line) for line in shared("vectors/tokenizers/%s.ids.jsonl" % ids).read_text().splitlines()]
        got = nunchi("tokenize", shared("vectors/tokenizers/hf/" + folder), "--batch", "--no-special", stdin=lines)[0]
        check([json.loads(line) for line in got.splitlines()] == want, "%s: other ids" % folder)
    mistake("tokenize", shared("vectors/tokenizers/hf/phi-2"), "--batch", says=["JSON string"], stdin=b"[1]\n")


def case_template():
    """One context, a batch, and every way in which a template can be found."""
    jinja = b"{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    context = {"messages": [{"role": "user", "content": "2 < 3\n"}]}
    with tempfile.TemporaryDirectory() as tmp:
        files = {"a.jinja": jinja, "b/chat_template.jinja": jinja, "c/chat_template.json":
                 json.dumps({"chat_template": jinja.decode()}).encode(),
                 "d/tokenizer_config.json": json.dumps({"bos_token": {"content": "<d>"}, "chat_template": [
                     {"name": "default", "template": jinja.decode()},
                     {"name": "tool_use", "template": "tools: {{ tools | length }}"}]}).encode(),
                 "e/processor_config.json": json.dumps({"chat_template": jinja.decode()}).encode()}
        for name, data in files.items():
            path = pathlib.Path(tmp, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        pathlib.Path(tmp, "b/tokenizer_config.json").write_text('{"bos_token": "<b>"}')
        for path, bos in (("a.jinja", ""), ("b", "<b>"), ("c", ""), ("d", "<d>"), ("e", "")):
            out = nunchi("template", tmp + "/" + path, stdin=json.dumps(context).encode())[0]
            check(out == bos + "[user] 2 < 3\n\n", "%s: %r" % (path, out))
        out = nunchi("template", tmp + "/d", "--template-name", "tool_use", stdin=b'{"tools": [1, 2]}')[0]
        check(out == "tools: 2", out)
        mistake("template", tmp + "/b", "--template-name", "rag", says=["no chat template called rag"], stdin=b"{}")
        lines = [{"template": "{{ a }}", "context": {"a": "\u00e9\n"}}, {"template": "{% foo %}", "context": {}}, {"context": context},
                 {"template": "{{ raise_exception('no') }}", "context": {}}, [1]]
        batch = "".join(json.dumps(line) + "\n" for line in lines).encode()
        got = [json.loads(line) for line in nunchi("template", tmp + "/b", "--batch", stdin=batch)[0].splitlines()]
        check(got[0] == {"text": "\u00e9\n"} and got[2] == {"text": "<b>[user] 2 < 3\n\n"}, str(got))
        contains(got[1]["error"], "template:1:4", "foo")
        contains(got[3]["error"], "no")
        check(len(got) == 5 and "error" in got[4], str(got))
        (alone,) = nunchi("template", "--batch", stdin=json.dumps({"context": {}}).encode())[0].splitlines()
        contains(json.loads(alone)["error"], '"template"')
    mistake("template", says=["expected a model"])
    mistake("template", "no-such-model", says=["no-such-model"], stdin=b"{}")
    mistake("template", shared("vectors/templates/jinja/Qwen-Qwen3-0.6B.jinja"), says=["JSON object"], stdin=b"[]")


def case_template_as_others_do():
    """Other people's cases, byte for byte, as a script would compare them."""
    text = shared("vectors/templates/mainline-test-jinja.jsonl").read_text()
    cases = [json.loads(line) for line in text.splitlines()]
    lines = "".join(json.dumps({"template": c["template"], "context": c["context"]}) + "\n" for c in cases)
    got = [json.loads(line) for line in nunchi("template", "--batch", stdin=lines.encode())[0].splitlines()]
    wrong = [c["name"] for c, g in zip(cases, got) if g != {"text": c["expected"]}]
    check(len(got) == len(cases) == 290 and not wrong, "%d differ: %s" % (len(wrong), wrong[:5]))


def case_template_of_gguf():
    """A template inside a GGUF file, and the tokens that it names by id."""
    def text(s):
        return len(s).to_bytes(8, "little") + s

    def strings(*values):
        return (8).to_bytes(4, "little") + len(values).to_bytes(8, "little") + b"".join(map(text, values))
    pairs = [(b"general.architecture", 8, text(b"llama")), (b"tokenizer.ggml.model", 8, text(b"llama")),
             (b"tokenizer.ggml.tokens", 9, strings(b"<unk>", b"<begin>", b"<end>")),
             (b"tokenizer.ggml.bos_token_id", 4, (1).to_bytes(4, "little")),
             (b"tokenizer.ggml.eos_token_id", 4, (2).to_bytes(4, "little")),
             (b"tokenizer.chat_template", 8, text(b"{{ bos_token }}{{ messages[0].content }}{{ eos_token }}")),
             (b"tokenizer.chat_template.rag", 8, text(b"rag"))]
    head = b"GGUF" + (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + len(pairs).to_bytes(8, "little")
    data = head + b"".join(text(k) + t.to_bytes(4, "little") + v for k, t, v in pairs)
    with tempfile.TemporaryDirectory() as tmp:
        path = pathlib.Path(tmp, "m.gguf")
        path.write_bytes(data)
        out = nunchi("template", path, stdin=b'{"messages": [{"content": "hi"}]}')[0]
        check(out == "<begin>hi<end>", out)
        check(nunchi("template", path, "--template-name", "rag", stdin=b"{}")[0] == "rag", "not the one of that name")


def case_sampling_page_names_every_row():
    page = (ROOT / "docs" / "sampling.md").read_text()
    for name in re.findall(r"^SAMPLER\((\w+)", (ROOT / "src/runtime/sampler.def").read_text(), re.M):
        contains(page, "| `%s` |" % name)


# ---- the bundled model -----------------------------------------------------------------------------


def case_tokenize():
    need_model()
    ids = json.loads(nunchi("tokenize", MODEL, stdin=b"a red circle")[0])
    text = nunchi("tokenize", MODEL, "--decode", "--no-special", stdin=json.dumps(ids).encode())[0]
    check(text == "a red circle", text)
    lines = nunchi("tokenize", MODEL, "--batch", "--no-special", stdin=b'"a red circle"\n"two\\nlines"\n')[0]
    lines = lines.splitlines()
    check(json.loads(lines[0]) == ids[1:] and len(lines) == 2, "%s %s" % (lines, ids))


def case_inspect():
    need_model()
    facts = json.loads(nunchi("inspect", MODEL, "--json")[0])
    check(facts["architecture"] == "LlavaForConditionalGeneration" and facts["memory"]["runs"], str(facts)[:500])
    size = sum(t["bytes"] for t in facts["tensors"])
    check(size == facts["bytes"] and size < (MODEL / "model.safetensors").stat().st_size, "bytes do not add up")
    contains(nunchi("inspect", MODEL)[0], "LlavaForConditionalGeneration", "memory:", "vision_tower.")


def answer(*args, **more):
    return json.loads(nunchi("run", MODEL, "--json", *args, **more)[0])


def case_run():
    need_model()
    a = answer("--image", "examples/shapes.png", "Is there a red circle?")
    check(a["text"] == "yes" and a["finish_reason"] == "stop", str(a))
    usage = a["usage"]
    check(usage["prompt_tokens"] > 64 and usage["completion_tokens"] == len(a["tokens"]), str(usage))
    check(usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], str(usage))
    check(a["timings"]["prefill_s"] > 0, str(a["timings"]))
    out, err = nunchi("run", MODEL, "--image", "examples/shapes.png", "Is there a red circle?")
    check(out == "yes\n" and err == "", out + err)


def case_cache_types():
    need_model()

    def state(*args):
        return json.loads(nunchi("inspect", MODEL, "--json", *args)[0])["memory"]["state_bytes_per_token"]

    whole = state()
    check(whole == state("--cache-type", "f32") == 2 * state("--cache-type", "bf16"), "bf16 is not half of f32")
    check(state("-ctk", "q8_0") == state("--cache-type-k=q8_0") == state("-ctk=q8_0"), "spellings differ")
    check(state("--cache-type", "q8_0") * 64 == whole * 17, "34 bytes for 32 values: %d of %d" % (state("--cache-type", "q8_0"), whole))
    check(state("--cache-type", "f32", "-ctv", "q4_0") * 128 == whole * (64 + 9), "values alone have 18 bytes for 32")
    for how in ("-ctk", "bf16", "-ctv", "bf16"), ("--cache-type", "q8_0"):
        a = answer("--image", "examples/shapes.png", *how, "Is there a red circle?")
        check(a["text"] == "yes", "%s: %s" % (how, a))
    contains(nunchi("run", MODEL, "-ctk", "q5", "hi", status=2)[1], "-ctk: expected one of f32|bf16|q8_0|q4_0, found \"q5\"")


def case_run_takes_words_and_stdin():
    need_model()
    question, picture = "How many stars are there?", "examples/stars.png"
    want = answer("--image", picture, question)["tokens"]
    ways = [((picture, question), {}), ((picture + " " + question,), {}), (("--image", picture, "-p", question), {}),
            (("--image", picture), {"stdin": question.encode() + b"\n"}),
            ((picture, "-"), {"stdin": question.encode()}),
            (("--image", "-", question), {"stdin": (ROOT / picture).read_bytes()})]
    for args, more in ways:
        check(answer(*args, **more)["tokens"] == want, "%s: another answer" % (args,))


def case_same_request_same_bytes():
    need_model()
    ask = ["--image", "examples/mixed.webp", "List the objects as JSON."]
    want = answer(*ask)["tokens"]
    for more in (["-t", "1"], ["-t", "2"], ["-c", "512"]):
        check(answer(*ask, *more)["tokens"] == want, "%s changes the answer" % more)
    sampled = [answer(*ask, "--temp", "4", "--seed", s)["tokens"] for s in (1, 1, 2)]
    check(sampled[0] == sampled[1] and sampled[0] != sampled[2], "the seed is not obeyed")


def case_logprobs():
    need_model()
    a = answer("--image", "examples/shapes.png", "Is there a red circle?", "--logprobs", "3")
    check([t["id"] for t in a["logprobs"]] == a["tokens"], str(a["logprobs"]))
    for t in a["logprobs"]:
        top = [x["logprob"] for x in t["top"]]
        check(len(top) == 3 and top == sorted(top, reverse=True) and t["top"][0]["id"] == t["id"], str(t))
        check(abs(t["logprob"] - top[0]) < 1e-6 and top[0] <= 0, str(t))
        check(isinstance(t["text"], str), str(t))


def case_sampling_options():
    need_model()
    ask = ["--image", "examples/shapes.png", "Describe the picture.", "-n", "12"]
    greedy = answer(*ask)["tokens"]
    for more in (["--temp", "2", "--top-k", "1"], ["--temp", "2", "--top-p", "1e-6"], ["--temp", "2", "--min-p", "1"],
                 ["--temp", "2", "--top-n-sigma", "1e-6"], ["--temp", "2", "--typical-p", "1", "--samplers", "top_k"]):
        if "--samplers" in more:
            more += ["--top-k", "1"]
        check(answer(*ask, *more)["tokens"] == greedy, "%s is not greedy" % more)
    other = answer(*ask, "--logit-bias", "%d-1000" % greedy[0])["tokens"]
    check(other[0] != greedy[0], "the bias is not obeyed")
    for more in (["--temp", "1", "--mirostat", "2"], ["--temp", "1.5", "--xtc-probability", "1", "--xtc-threshold", "0.05"]):
        check(answer(*ask, *more, "--seed", "3")["tokens"] == answer(*ask, *more, "--seed", "3")["tokens"], "%s" % more)
    mistake("run", MODEL, "hi", "--logit-bias", "7", says=["--logit-bias", "15+2.5", '"7"'])
    mistake("run", MODEL, "hi", "--samplers", "top_k,top_q", says=["top_q"])


def case_generation_config():
    """Settings of the model are the defaults, the line wins, and what is not followed is told."""
    need_model()
    ask = ["--image", "examples/shapes.png", "Describe the picture."]
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp, "m")
        shutil.copytree(MODEL, folder)
        path = folder / "generation_config.json"
        plain = json.loads(path.read_text())

        def run(config, *more):
            path.write_text(json.dumps({**plain, **config}))
            out, err = nunchi("run", folder, "--json", *ask, *more)
            return json.loads(out), err
        greedy, err = run({})
        check(err == "", err)
        check(run({"max_new_tokens": 3})[0]["usage"]["completion_tokens"] == 3, "max_new_tokens")
        check(run({"max_new_tokens": 3}, "-n", "2")[0]["usage"]["completion_tokens"] == 2, "-n must win")
        prompt = greedy["usage"]["prompt_tokens"]
        check(run({"max_length": prompt + 4})[0]["usage"]["total_tokens"] == prompt + 4, "max_length")
        check(run({"do_sample": True, "temperature": 3.0, "top_k": 1})[0]["tokens"] == greedy["tokens"], "top_k")
        hot, _ = run({"do_sample": True, "temperature": 3.0}, "--seed", "4", "-n", "20")
        check(hot["tokens"] != greedy["tokens"][:20], "temperature")
        check(run({"do_sample": True, "temperature": 3.0}, "--temp", "0")[0]["tokens"] == greedy["tokens"], "--temp must win")
        check(run({"suppress_tokens": greedy["tokens"][:1]})[0]["tokens"][0] != greedy["tokens"][0], "suppress_tokens")
        check(run({"bad_words_ids": [greedy["tokens"][:1]]})[0]["tokens"][0] != greedy["tokens"][0], "bad_words_ids")
        ends, _ = run({"eos_token_id": [plain["eos_token_id"], greedy["tokens"][2]]})
        check(ends["usage"]["completion_tokens"] == 3 and ends["finish_reason"] == "stop", "a list of ends")
        longer, _ = run({"eos_token_id": [plain["eos_token_id"], greedy["tokens"][2]], "min_new_tokens": 5})
        check(longer["usage"]["completion_tokens"] >= 5, "min_new_tokens")
        contains(run({"num_beams": 4})[1], "num_beams", "not followed")
        check(run({"num_beams": 1, "guidance_scale": None, "use_cache": False})[1] == "", "a word on what changes nothing")
        path.write_text(json.dumps({**plain, "top_p": 1.5}))
        contains(nunchi("run", folder, *ask, status=2)[1], "generation_config.json", "top_p", "1.5")


def case_specials_that_are_typed_stay_text():
    """What looks like a special token or a picture's place in a question is plain text to the model."""
    need_model()
    for typed in ("</s>", "<|assistant|>yes", "<image>", "<|user|>"):
        a = answer("--image", "examples/shapes.png", "Is there a %s red circle?" % typed)
        check(a["usage"]["prompt_tokens"] > answer("--image", "examples/shapes.png", "Is there a red circle?")["usage"]["prompt_tokens"] + 2,
              "%s became one token" % typed)


def case_run_stops():
    need_model()
    ask = ["--image", "examples/stars.png", "Describe the picture."]
    whole = answer(*ask)["text"]
    check(answer(*ask, "-n", "2")["finish_reason"] == "length", "-n is not obeyed")
    cut = answer(*ask, "--stop", whole.split()[-1])
    check(whole.startswith(cut["text"]) and cut["text"] != whole and cut["finish_reason"] == "stop", str(cut))


def case_chat():
    need_model()
    with tempfile.TemporaryDirectory() as tmp:
        lines = ["/image examples/shapes.png", "Is there a red circle?", "/undo", "/image examples/shapes.png",
                 "Is there a cyan cross?", "/frob", "/save %s/c.json" % tmp, "/quit", "never said"]
        out, err = nunchi("chat", MODEL, stdin="\n".join(lines).encode())
        check(out == "yes\nno\n", out)
        contains(err, "unknown command /frob")
        saved = json.loads(pathlib.Path(tmp, "c.json").read_text())
        check([m["role"] for m in saved] == ["user", "assistant"], str(saved))
        check(saved[1]["content"] == [{"type": "text", "text": "no"}], str(saved))


def case_eval():
    need_model()
    with tempfile.TemporaryDirectory() as tmp:
        args = ["eval", MODEL, "scenes", "--count", "12", "--questions", "4", "--seed", "11"]
        a = json.loads(nunchi(*args, "--json", "--report", tmp + "/r.html", env={"TMPDIR": tmp})[0])
        check(a["questions"] == a["all"]["asked"] > 24 and a["pictures"] == 12, str(a))
        check(a["all"]["share"] > 0.7 and a["all"]["low"] < a["all"]["share"] <= a["all"]["high"], str(a["all"]))
        check(sum(k["asked"] for k in a["kinds"].values()) == a["questions"], "kinds do not add up")
        check(os.listdir(tmp) == ["r.html"], "left behind: %s" % os.listdir(tmp))
        contains(pathlib.Path(tmp, "r.html").read_text(), "<svg", "data:image/", "Wilson")
        for more in (["--parallel", "1"], ["-t", "1"]):
            b = json.loads(nunchi(*args, "--json", *more)[0])
            same = b["kinds"] == a["kinds"] and b["generated_tokens"] == a["generated_tokens"]
            check(same, "%s changes answers" % more)
        contains(nunchi(*args)[0], "95 % interval", "\nall ")


def case_init_names_no_family():
    """llama.cpp treats files whose name has phi3 in it as having Phi-3's vocabulary, and fails."""
    with tempfile.TemporaryDirectory() as tmp:
        nunchi("init", "phi3-tiny", tmp + "/phi3.gguf", "--dtype", "Q8_0")
        name = json.loads(nunchi("inspect", tmp + "/phi3.gguf", "--json")[0])["config"]["general.name"]
        check("phi" not in name.lower(), name)


def case_answers_go_on():
    """A text that is continued keeps the blank before its next word; log probabilities spell tokens as they stand."""
    model = shared("vectors/stories260k/stories260K.gguf")
    a = json.loads(nunchi("run", model, "--raw", "--json", "--temp", "0", "-n", "4", "--logprobs", "2", "Once upon")[0])
    check(a["text"] == " a time, there", a["text"])
    check("".join(t["text"] for t in a["logprobs"]) == a["text"], str(a["logprobs"]))
    check(a["logprobs"][0]["top"][0]["text"] == " a", str(a["logprobs"][0]))
    contains(nunchi("run", model, "--raw", "--logprobs", "2", "Once upon", status=2)[1], "--logprobs", "--json")


def case_merge_says_what_it_takes():
    with tempfile.TemporaryDirectory() as tmp:
        contains(nunchi("merge", made(tmp), shared("fixtures/peft-lora"), tmp + "/x.gguf", status=2)[1], "x.gguf", "model folder")
        contains(nunchi("merge", shared("vectors/stories260k/stories260K.gguf"), shared("fixtures/peft-lora"), tmp + "/y", status=2)[1],
                 "stories260K.gguf", "model folder")
        nunchi("merge", shared("fixtures/llama"), shared("fixtures/peft-lora"), tmp + "/z")
        contains(nunchi("merge", shared("fixtures/llama"), shared("fixtures/peft-lora"), tmp + "/z", status=2)[1], "/z: there is a model already")


def case_perplexity():
    """What a text surprises more than its beginning is what its tokens were given; windows change little."""
    model = shared("vectors/stories260k/stories260K.gguf")
    start = "Once upon a time"
    told = json.loads(nunchi("run", model, "--raw", "--json", "--compute", "f32", "--temp", "0", "-n", "120", "--logprobs", "1", start)[0])

    def surprise(text, *more):
        with tempfile.NamedTemporaryFile("w") as f:
            f.write(text)
            f.flush()
            return json.loads(nunchi("eval", model, "perplexity", "-f", f.name, "--compute", "f32", "--json", *more)[0])

    whole, begin = surprise(start + told["text"]), surprise(start)
    check(whole["tokens"] == begin["tokens"] + 120, "%s %s" % (whole, begin))
    got = whole["surprise"] * whole["tokens"] - begin["surprise"] * begin["tokens"]
    want = -sum(t["logprob"] for t in told["logprobs"])
    check(abs(got - want) < 1e-3, "expected %g, found %g" % (want, got))
    short = surprise(start + told["text"], "-c", "32")
    check(short["tokens"] == whole["tokens"] and whole["perplexity"] < short["perplexity"] < 2 * whole["perplexity"], "%s %s" % (whole, short))
    contains(nunchi("eval", model, "perplexity", status=2)[1], "--text")


def case_foreign_pictures():
    """Pictures drawn by another program after docs/scenes.md."""
    need_model()
    a = json.loads(nunchi("eval", MODEL, "scenes", "--data", "tests/data/scenes-foreign", "--json")[0])
    check(a["all"]["share"] >= 0.85, "foreign pictures: %s" % a["all"])


if __name__ == "__main__":
    sys.exit(run_cases("cli", dict(globals())))
