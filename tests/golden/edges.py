#!/usr/bin/env python3
"""The honest edges of the command line: what is missing, torn or of another kind is one sentence and status 2; JSON,
environment twins and quiet pipes everywhere; and the plumbing against other people's cases, line by line. One
function a case; run as `edges.py build/nunchi`."""
# SPDX-License-Identifier: MIT
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from driver import NUNCHI, ROOT, Skipped, check, contains, environment, mistake, nunchi, run_cases, shared  # noqa: E402

MODEL = ROOT / "models" / "scenes"
COMMANDS = re.findall(r"^COMMAND\((\w+)", (ROOT / "src/cli/commands.def").read_text(), re.M)
CONVERSATION = b'{"messages": [{"role": "user", "content": "hi"}]}'


def need_model():
    if not (MODEL / "model.safetensors").exists():
        raise Skipped("no weights in %s" % MODEL)


def tiny(folder):
    """A small random model with a tokenizer of bytes."""
    model = pathlib.Path(folder, "tiny")
    nunchi("init", "llama-tiny", model, "--dtype", "F32", "--seed", "5")
    return model


# ---- arguments -------------------------------------------------------------------------------------


def case_every_command_says_what_it_lacks():
    for command in COMMANDS:
        if command not in ("list", "help"):
            mistake(command, says=["nunchi: %s: expected " % command, "found nothing", "see nunchi %s -h" % command])
    for command in ("convert", "quantize", "init", "merge", "data"):
        mistake(command, "one", says=["%s: expected " % command])
    mistake("quantize", "in", "out", says=["expected a type, as Q4_K_M"])


def case_every_command_refuses_more():
    """One word too many is never left aside."""
    words = {"chat": 1, "train": 1, "bench": 1, "inspect": 1, "convert": 2, "quantize": 3, "init": 2, "tokenize": 1, "grammar": 0,
             "template": 1, "pull": 1, "list": 0, "help": 1}
    for command, n in words.items():
        mistake(command, *["a%d" % i for i in range(n)], "extra", says=["did not expect \"extra\""])


def rows():
    return json.loads(nunchi("help", "--json")[0])


def case_help_is_data_too():
    facts = rows()
    check([c["name"] for c in facts["commands"]] == COMMANDS, "commands")
    declared = re.findall(r"^OPTION\((\w+)", (ROOT / "src/cli/options.def").read_text(), re.M)
    check([o["name"].replace("-", "_") for o in facts["options"]] == declared, "options")
    one = json.loads(nunchi("help", "grammar", "--json")[0])
    check([c["name"] for c in one["commands"]] == ["grammar"], "one command")
    check({"regex", "threads"} <= {o["name"] for o in one["options"]} and "temp" not in {o["name"] for o in one["options"]}, "its options")
    check(json.loads(nunchi("grammar", "-h", "--json")[0]) == one, "-h --json")


def case_every_option_has_its_twin():
    """A value that the option would refuse is refused from the environment, by the variable's name."""
    wrong = {"flag": "maybe", "integer": "x", "number": "x", "seed": "-1", "choice": "no-such-choice"}
    for o in rows()["options"]:
        command, name = o["commands"][0], o["environment"]
        harmless = "-h" if o["name"] == "limits" else "--limits"
        check(name == "NUNCHI_" + o["name"].replace("-", "_").upper(), name)
        if o["kind"] in wrong:
            mistake(command, harmless, env={name: wrong[o["kind"]]}, says=[name, wrong[o["kind"]]])
        else:
            check(o["name"] == "cpu-mask" or nunchi(command, harmless, env={name: "x"})[1] == "", name)
        if "range" in o:
            mistake(command, harmless, env={name: str(int(o["range"][1]) + 1)}, says=[name, "expected"])


def case_twins_are_obeyed():
    """One option of each kind, by the answer that it changes."""
    check(nunchi("grammar", env={"NUNCHI_REGEX": "[0-9]+"}, stdin=b"12")[0] == "", "text")
    nunchi("grammar", env={"NUNCHI_REGEX": "[0-9]+"}, stdin=b"a", status=1)
    nunchi("grammar", "--regex", "a", env={"NUNCHI_REGEX": "[0-9]+"}, stdin=b"a")  # the line wins
    check(nunchi("grammar", env={"NUNCHI_REGEX": "a", "NUNCHI_JSON": "1"}, stdin=b"a")[0] == '{"accept": true}\n', "flag")
    check(nunchi("help", env={"NUNCHI_COMPLETIONS": "fish"})[0].startswith("complete -c nunchi"), "choice")
    with tempfile.TemporaryDirectory() as tmp:
        for i, (seed, side) in enumerate((("7", "64"), ("7", "64"), ("8", "96"))):
            nunchi("data", "scenes", "%s/%d" % (tmp, i), "--count", 1, "--format", "png", "-q",
                   env={"NUNCHI_SEED": seed, "NUNCHI_SIDE": side})
        a, b, c = (next(pathlib.Path(tmp, str(i), "images").iterdir()).read_bytes() for i in range(3))
        check(a == b and struct.unpack(">I", a[16:20]) == (64,) and struct.unpack(">I", c[16:20]) == (96,), "integer, seed")


# ---- what is no model ------------------------------------------------------------------------------

OPENERS = (("run", ["--raw", "hi"]), ("chat", []), ("bench", ["-p", "4", "-n", "1"]), ("eval", ["--count", "1"]), ("embed", ["hi"]),
           ("classify", ["examples/shapes.png"]), ("inspect", []), ("verify", []), ("convert", ["OUT"]), ("quantize", ["OUT", "Q8_0"]),
           ("tokenize", []), ("template", []), ("merge", ["LORA", "OUT"]))


def case_what_is_no_model():
    """Every command that opens a model names the path, once, and says one thing about it."""
    with tempfile.TemporaryDirectory() as tmp:
        t = pathlib.Path(tmp)
        (t / "empty-file").write_bytes(b"")
        (t / "text.gguf").write_text("hello")
        (t / "empty-folder").mkdir()
        (t / "circle").symlink_to("circle")
        (t / "cut.gguf").write_bytes(b"GGUF\3\0\0\0" + bytes(12))
        (t / "broken").mkdir()
        (t / "broken/config.json").write_text('{"architectures": [')
        for name in ("absent", "empty-file", "text.gguf", "empty-folder", "circle", "cut.gguf", "broken"):
            for command, more in OPENERS:
                more = [str(t / "out") if m == "OUT" else str(t / "lora") if m == "LORA" else m for m in more]
                err = mistake(command, t / name, *more, says=[name], stdin=b"{}")
                check(err.count(str(t / name)) == 1, "%s says its place more than once: %s" % (command, err))
                check(not (t / "out").exists(), "%s leaves something behind" % command)


def read_weights(path):
    data = path.read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:end]), data[end:]


def write_weights(path, head, data):
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


VICTIM = "model.layers.1.mlp.up_proj.weight"


def lose(head, data):
    begin, end = head.pop(VICTIM)["data_offsets"]
    for name, t in head.items():
        if name != "__metadata__" and t["data_offsets"][0] >= end:
            t["data_offsets"] = [x - (end - begin) for x in t["data_offsets"]]
    return data[:begin] + data[end:]


def gain(head, data):
    head["model.layers.1.mlp.odd_proj.weight"] = {"dtype": "F32", "shape": [2], "data_offsets": [len(data), len(data) + 8]}
    return data + bytes(8)


def turn(head, data):
    head[VICTIM]["shape"].reverse()
    return data


def retype(head, data):
    head[VICTIM]["dtype"] = "I32"
    return data


# what is done to the weights, and what the sentence must hold: place, expected, found
WRONG_WEIGHTS = {"missing": (lose, [VICTIM, "expected", "not found"]), "extra": (gain, ["odd_proj.weight", "not part of LlamaForCausalLM"]),
                 "shape": (turn, [VICTIM, "expected [96, 48]", "has [48, 96]"]), "type": (retype, [VICTIM, "expected floats", "has I32"]),
                 "cut": (lambda head, data: data[:len(data) // 2], ["model.safetensors", "expected offsets within", "found ["])}


def case_wrong_weights():
    source = shared("fixtures/llama")
    with tempfile.TemporaryDirectory() as tmp:
        for name, (change, says) in WRONG_WEIGHTS.items():
            folder = pathlib.Path(tmp, name)
            folder.mkdir()
            shutil.copy(source / "config.json", folder)
            head, data = read_weights(source / "model.safetensors")
            write_weights(folder / "model.safetensors", head, change(head, data))
            mistake("bench", folder, "-p", "4", "-n", "1", says=[str(folder), *says])
            mistake("run", folder, "--raw", "hi", says=[str(folder), *says])


def case_no_tokenizer():
    model = shared("fixtures/llama")
    for command, more in (("run", ["hi"]), ("run", ["--raw", "hi"]), ("embed", ["hi"]), ("eval", ["--count", "1"]), ("chat", [])):
        mistake(command, model, *more, says=[str(model), "no tokenizer in this folder"], stdin=b"hi\n")
    mistake("tokenize", model, says=[str(model), "no tokenizer.json, tokenizer.model or vocabulary"])
    mistake("template", model, says=[str(model), "no chat template"], stdin=b"{}")


def case_torn_gguf():
    """Cut anywhere: an error that names the file, never a crash."""
    whole = shared("vectors/stories260k/stories260K.gguf").read_bytes()
    with tempfile.TemporaryDirectory() as tmp:
        path = pathlib.Path(tmp, "cut.gguf")
        for n in (3, 7, 23, 24, 100, 5000, 20000, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:n])
            err = mistake("run", path, "--raw", "hi", says=[str(path)])
            check(err.count(str(path)) == 1, err)


# ---- JSON, pipes -----------------------------------------------------------------------------------


def case_json_everywhere():
    """Every command answers --json with JSON on stdout, whole or a value a line, and nothing else."""
    need_model()
    with tempfile.TemporaryDirectory() as tmp:
        model, recipe = tiny(tmp), pathlib.Path(tmp, "recipe.yaml")
        text = (ROOT / "tests/data/train/tiny.yaml").read_text().replace("build/test-train", tmp + "/train")
        recipe.write_text(text.replace("pictures: 24", "pictures: 4").replace("pictures: 32", "pictures: 8"))
        study = pathlib.Path(tmp, "study.yaml")
        study.write_text("name: s\noutput: %s/study\nseeds: [1]\ngroups:\n  - {name: g, baseline: a}\nvariants:\n"
                         "  - {name: a, groups: [g], recipe: %s, set: [test_pictures = 4]}\n" % (tmp, recipe))
        calls = {
            "study": ["study", study], "run": ["run", MODEL, "--image", "examples/shapes.png", "Is there a red circle?"], "chat": ["chat", MODEL],
            "train": ["train", recipe, "--stop-after", 1], "eval": ["eval", MODEL, "scenes", "--count", 1, "--questions", 1],
            "verify": ["verify", shared("fixtures/llama"), "--no-train"], "bench": ["bench", model, "-p", 4, "-n", 1, "-r", 1],
            "embed": ["embed", model, "hi"], "merge": ["merge", shared("fixtures/llama"), shared("fixtures/peft-lora"), tmp + "/merged"],
            "inspect": ["inspect", model], "convert": ["convert", model, tmp + "/x.gguf"], "quantize": ["quantize", model, tmp + "/q.gguf", "Q8_0"],
            "classify": ["classify", shared("fixtures/vit"), "examples/shapes.png"],
            "init": ["init", "llama-tiny", tmp + "/other"], "data": ["data", "scenes", tmp + "/d", "--count", 1],
            "tokenize": ["tokenize", model], "grammar": ["grammar", "--regex", "a"], "template": ["template", MODEL], "list": ["list"],
            "help": ["help"]}
        check(sorted([*calls, "pull"]) == sorted(COMMANDS), "a command without a row here")  # pull has a hub in folders.py
        inputs = {"chat": b"Is there a red circle?\n", "tokenize": b"hi", "grammar": b"a", "template": CONVERSATION}
        for name, call in calls.items():
            out, _ = nunchi(*call, "--json", stdin=inputs.get(name, b""))
            try:
                json.loads(out)
            except ValueError:
                lines = [json.loads(line) for line in out.splitlines()]
                check(lines, "%s: nothing" % name)
        check(json.loads(nunchi("tokenize", model, "-d", "--json", stdin=b"[40, 41]")[0]) != "", "tokenize -d")
        check(json.loads(nunchi("inspect", model, "--json", "--dump-tensors", tmp + "/t")[0]) == {"written": tmp + "/t"}, "dump")
        check(json.loads(nunchi("template", MODEL, "--json", stdin=CONVERSATION)[0])["text"], "template")
        out, err = nunchi("chat", MODEL, "--json", stdin=b"Is there a red circle?\n/frob\n")
        check(set(json.loads(out)) == {"role", "text", "finish_reason"} and "/frob" in err, out + err)


def case_pipes_are_quiet():
    """Whoever reads only the beginning is no error to speak of."""
    with tempfile.TemporaryDirectory() as tmp:
        model = tiny(tmp)
        for call in (["help", "--json"], ["help", "--man"], ["inspect", model], ["--limits"], ["inspect", model, "--json"],
                     ["tokenize", model, "--batch"], ["grammar", "--batch"], ["template", "--batch"]):
            run = subprocess.Popen([NUNCHI, *map(str, call)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=environment(), cwd=ROOT, restore_signals=True)
            run.stdout.close()
            err = run.communicate(b'"a"\n' * 100)[1] if "--batch" in call else run.communicate()[1]
            check(err == b"" and run.returncode in (0, -signal.SIGPIPE), "%s: %d %s" % (call, run.returncode, err))


# ---- plumbing --------------------------------------------------------------------------------------


def batch(*args, lines):
    """Every line's answer, asked one by one: what is not flushed at once would hang here."""
    run = subprocess.Popen([NUNCHI, *map(str, args), "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           env=environment(), cwd=ROOT)
    answers = []
    signal.alarm(90)
    for line in lines:
        run.stdin.write(json.dumps(line).encode() + b"\n")
        run.stdin.flush()
        answers.append(json.loads(run.stdout.readline() or b'"ended: nothing more comes"'))
    run.stdin.close()
    check(run.stdout.read() == b"" and run.stderr.read() == b"" and run.wait() == 0, "%s: more than answers" % (args,))
    signal.alarm(0)
    return answers


def case_tokenize_batch():
    """All vocabularies of Hugging Face's form, 176 texts each, and all GGUF vocabularies, 46 texts each."""
    folder, total = shared("vectors/tokenizers"), 0
    texts = json.loads((folder / "texts.json").read_text())
    ids = {"whisper.tiny": "whisper-tiny", "falcon-tokenizer": "falcon"}
    for path in sorted((folder / "hf").iterdir()):
        want = [json.loads(line) for line in (folder / (ids.get(path.name, path.name) + ".ids.jsonl")).read_text().splitlines()]
        got = batch("tokenize", path, "--no-special", lines=texts)
        check(got == want, "%s: %d differ" % (path.name, sum(a != b for a, b in zip(got, want))))
        total += len(got)
    for path in sorted((folder / "gguf").glob("*.gguf")):
        texts = path.with_suffix(".gguf.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")[:-1]
        want = [[int(i) for i in line.split()] for line in path.with_suffix(".gguf.out").read_text().splitlines()]
        got = batch("tokenize", path, "--no-special", lines=texts)
        check(got == want, "%s: %d differ" % (path.name, sum(a != b for a, b in zip(got, want))))
        total += len(got)
    check(total == 7 * 176 + 8 * 46, "%d texts" % total)


def case_template_batch():
    """Real templates with real conversations; those that print the day are left to test_jinja_vectors."""
    folder, seen = shared("vectors/templates"), {}
    contexts = json.loads((folder / "golden-contexts.json").read_text())
    for line in (folder / "goldens.jsonl").read_text().splitlines():
        case = json.loads(line)
        seen.setdefault((case["template"], case["context"]), []).append(case["expected"])
    lines, wanted = [], []
    for (template, context), expected in seen.items():
        text = (folder / template).read_text()
        text = json.loads(text)["chat_template"] if template.endswith(".json") else text
        if "strftime_now" not in text:
            lines.append({"template": text, "context": contexts[context]})
            wanted.append(expected)  # one of them, where several templates had one name
    got = batch("template", lines=lines)
    wrong = [i for i, (g, w) in enumerate(zip(got, wanted)) if g.get("text") not in w]
    print("%d of %d conversations byte-equal" % (len(got) - len(wrong), len(got)))
    check(len(seen) == 339 and len(lines) > 250 and not wrong, "%d of %d differ" % (len(wrong), len(lines)))


def case_grammar_batch():
    """A peer's lists of what fits and what does not."""
    lines, wanted = [], []
    for name in ("mainline-test_grammar.jsonl", "mainline-test_schema.jsonl"):
        for line in shared("vectors/grammar/" + name).read_text().splitlines():
            case = json.loads(line)
            way = {"grammar": case["grammar"]} if "grammar" in case else {"schema": json.loads(case["schema"])}
            lines.append({**way, "inputs": case["accept"] + case["reject"]})
            wanted.append({"accept": [True] * len(case["accept"]) + [False] * len(case["reject"])})
    got = batch("grammar", lines=lines)
    wrong = [i for i, (g, w) in enumerate(zip(got, wanted)) if g != w]
    print("%d texts of %d grammars" % (sum(len(w["accept"]) for w in wanted), len(lines)))
    check(len(lines) == 12 + 33 and not wrong, "differ: %s" % wrong)


def case_json_test_suite():
    """Whatever is JSON fits the schema true, and nothing else."""
    inputs, wanted = [], []
    for path in sorted(shared("vectors/json/JSONTestSuite/test_parsing").iterdir()):
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError:
            continue  # no JSON string could hold it
        if path.name[0] in "yn":
            inputs.append(text)
            wanted.append(path.name[0] == "y")
    (got,) = batch("grammar", lines=[{"schema": True, "inputs": inputs}])
    print("%d y_ accepted, %d n_ rejected" % (wanted.count(True), wanted.count(False)))
    check(got == {"accept": wanted} and len(wanted) > 260, "differ: %s" % got)


def case_schema_test_suite():
    """Every schema is refused with a sentence, or agrees with every test."""
    folder, lines, wanted = shared("vectors/json/JSON-Schema-Test-Suite/tests/draft2020-12"), [], []
    for path in sorted(folder.glob("*.json")):
        for group in json.loads(path.read_text()):
            lines.append({"schema": group["schema"], "inputs": [json.dumps(t["data"], ensure_ascii=False) for t in group["tests"]]})
            wanted.append([t["valid"] for t in group["tests"]])
    got = batch("grammar", lines=lines)
    wrong = [(i, g) for i, (g, w) in enumerate(zip(got, wanted)) if g.get("accept", w) != w or ("accept" in g) == ("error" in g)]
    supported = sum("accept" in g for g in got)
    print("%d of %d schemas supported, %d wrong" % (supported, len(lines), len(wrong)))
    check(not wrong and supported > 0.7 * len(lines), "wrong: %s" % wrong[:3])


def case_batches_answer_every_line():
    """A line that is no question is answered by an error, and the next one as if nothing had been."""
    got = batch("grammar", lines=[{"regex": "a+", "inputs": ["a", "b"]}, {"regex": "(", "inputs": []}, {"inputs": []}, [1],
                                  {"regex": "a", "grammar": "root ::= \"a\"", "inputs": []}, {"regex": "a", "inputs": [1]}, {"regex": "b", "inputs": ["b"]}])
    check(got[0] == {"accept": [True, False]} and got[-1] == {"accept": [True]}, str(got))
    check(all(set(g) == {"error"} and len(g["error"]) > 10 for g in got[1:-1]), str(got))
    got = batch("template", lines=[{"template": "{{ a", "context": {}}, {"template": "{{ a }}", "context": [1]}, {"template": "{{ a }}", "context": {"a": 2}}])
    check(set(got[0]) == set(got[1]) == {"error"} and got[2] == {"text": "2"}, str(got))


# ---- large files -----------------------------------------------------------------------------------


def peak(*args):
    """Most memory of a run, in bytes; its output."""
    with tempfile.TemporaryFile() as out:
        run = subprocess.Popen([NUNCHI, *map(str, args)], stdout=out, env=environment(), cwd=ROOT)
        _, status, used = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        check(run.returncode == 0, "%s: status %d" % (args, run.returncode))
        return used.ru_maxrss * 1024, out.read().decode()


def case_inspecting_reads_no_weights():
    """2.5 GB of weights are mapped, not read: the file is one hole behind its header."""
    widths = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
              "num_key_value_heads": 8, "vocab_size": 128256}
    shapes = {"model.embed_tokens.weight": [128256, 2048], "model.norm.weight": [2048]}
    for i in range(16):
        layer = {"self_attn.q_proj": [2048, 2048], "self_attn.k_proj": [512, 2048], "self_attn.v_proj": [512, 2048],
                 "self_attn.o_proj": [2048, 2048], "mlp.gate_proj": [8192, 2048], "mlp.up_proj": [8192, 2048], "mlp.down_proj": [2048, 8192],
                 "input_layernorm": [2048], "post_attention_layernorm": [2048]}
        shapes.update({"model.layers.%d.%s.weight" % (i, k): v for k, v in layer.items()})
    head, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        head[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "tie_word_embeddings": True,
                                                        "rms_norm_eps": 1e-5, "max_position_embeddings": 4096, **widths}))
        write_weights(folder / "model.safetensors", head, b"")
        os.truncate(folder / "model.safetensors", (folder / "model.safetensors").stat().st_size + at)
        used, out = peak("inspect", folder)
        contains(out, "LlamaForCausalLM", "2.5 GB", "memory:")
        least, _ = peak("--version")
        print("%d MB of weights: %d MB, %d MB of them before any file" % (at // 10**6, used // 10**6, least // 10**6))
        check(at > 2.4e9 and used - least < 50e6, "%d bytes at most, %d of a command that opens nothing" % (used, least))


if __name__ == "__main__":
    sys.exit(run_cases("edges", dict(globals())))
