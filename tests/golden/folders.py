#!/usr/bin/env python3
"""Model folders as their users meet them: adapters, vectors, and a hub that is a server of this test, with its
redirects, breaks and lies. One function a case; run as `folders.py build/nunchi`."""
# SPDX-License-Identifier: MIT
import hashlib
import http.server
import json
import os
import pathlib
import sys
import tempfile
import threading

sys.dont_write_bytecode = True
from driver import check, fixture, nunchi, run_cases  # noqa: E402

COMMIT = "0123456789abcdef0123456789abcdef01234567"


# ---- adapters --------------------------------------------------------------------------------------


def case_verify_takes_adapters():
    out, _ = nunchi("verify", fixture("peft-dora"), "--json")
    cases = json.loads(out)
    check([c["case"] for c in cases] == ["logits", "merged"] * 2 and all(c["ok"] for c in cases), out)
    names = {o["name"] for o in cases[0]["outputs"]}
    check(names == {"logits", "logits_without_adapter"}, names)


def case_merge():
    with tempfile.TemporaryDirectory() as tmp:
        merged = pathlib.Path(tmp) / "merged"
        nunchi("merge", fixture("llama"), fixture("peft-dora"), merged)
        check({p.name for p in merged.iterdir()} >= {"config.json", "model.safetensors"}, "files of the merged folder")
        out, _ = nunchi("verify", merged, "--cases", fixture("peft-dora"), "--json", status=1)
        cases = {(c["case"], c["path"]): c for c in json.loads(out)}
        check(cases["merged", "f32"]["ok"] and cases["merged", "f32"]["max_abs"] < 1e-4, out)
        _, err = nunchi("merge", fixture("llama"), fixture("peft-dora"), merged, status=2)
        check("already" in err, err)
        _, err = nunchi("merge", fixture("llama"), merged, status=2)
        check("expected MODEL LORA... OUT" in err, err)
        _, err = nunchi("merge", fixture("llama"), fixture("llama"), merged.parent / "x", status=2)
        check("adapter_config.json" in err, err)


def case_lora_option():
    plain = nunchi("bench", fixture("llama"), "-p", 8, "-n", 2, "-r", 1, "--json")[0]
    check(json.loads(plain), "bench")
    nunchi("bench", fixture("llama"), "-p", 8, "-n", 2, "-r", 1, "--lora", fixture("peft-lora"), "--lora",
           "%s:0.5" % fixture("peft-dora"))
    _, err = nunchi("bench", fixture("llama"), "-p", 8, "--lora", "/no/such:2", status=2)
    check("/no/such/adapter_config.json" in err, err)


# ---- vectors ---------------------------------------------------------------------------------------


def encoder(folder):
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((fixture("bert-encoder") / name).read_bytes())
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "unk_token": "t0", "vocab": {"t%d" % i: i for i in range(300)}}}))


def case_embed():
    with tempfile.TemporaryDirectory() as tmp:
        model = pathlib.Path(tmp) / "encoder"
        encoder(model)
        words = nunchi("embed", model, "t5 t6", "t7", "--json")[0].splitlines()
        lines = nunchi("embed", model, "--json", stdin=b"t5 t6\nt7\n")[0].splitlines()
        check(words == lines and len(words) == 2, "words and lines differ")
        first = json.loads(words[0])
        check(first["text"] == "t5 t6" and first["tokens"] == 2 and len(first["embedding"]) == 48, words[0])
        plain = [float(x) for x in nunchi("embed", model, "t5 t6")[0].split()]
        check(max(abs(a - b) for a, b in zip(plain, first["embedding"])) < 1e-6, "text and JSON differ")
        unit = json.loads(nunchi("embed", model, "t5 t6", "--json", "--normalize", "yes")[0])["embedding"]
        length = sum(x * x for x in plain) ** 0.5
        check(max(abs(a / length - b) for a, b in zip(plain, unit)) < 1e-6, "length 1")
        cls = json.loads(nunchi("embed", model, "t5 t6", "--json", "--pooling", "cls")[0])["embedding"]
        check(cls != first["embedding"], "pooling changes nothing")
        _, err = nunchi("embed", model, "t1 " * 65, status=2)
        check("65 tokens, at most 64" in err, err)
        nunchi("embed", model, "t1 " * 65, "--truncate")
        _, err = nunchi("embed", model, "t1", "--prompt-name", "query", status=2)
        check("query" in err, err)


# ---- a hub -----------------------------------------------------------------------------------------


class Hub(http.server.BaseHTTPRequestHandler):
    """Serves `files` as models org/name at COMMIT; large ones from another path, under their SHA-256."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for key, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub = self.server
        hub.requests.append((self.command, self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        if self.path.startswith("/api/models/org/name/revision/"):
            return self.answer(200, json.dumps({"sha": COMMIT, "siblings": [{"rfilename": n} for n in hub.listed]}).encode())
        start = "/org/name/resolve/%s/" % COMMIT
        if self.path.startswith(start) and self.path[len(start):] in hub.files:
            return self.resolve(self.path[len(start):])
        if self.path.startswith("/cdn/"):
            return self.content(hub.files[self.path[5:]])
        return self.answer(404, b"not found")

    def resolve(self, name):
        body = self.server.files[name]
        if name.endswith(".safetensors"):
            etag = hashlib.sha256(self.server.true.get(name, body)).hexdigest()
            return self.answer(302, Location="http://127.0.0.1:%d/cdn/%s" % (self.server.server_port, name), X_Repo_Commit=COMMIT,
                               X_Linked_Etag='"%s"' % etag, X_Linked_Size=len(body))
        if self.command == "HEAD":
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"%s"' % hashlib.sha1(body).hexdigest())
            self.send_header("X-Repo-Commit", COMMIT)
            return self.end_headers()
        return self.content(body)

    def content(self, body):
        asked, begin = self.headers.get("Range"), 0
        if asked and self.server.ranges:
            begin = int(asked[len("bytes="):].split("-")[0])
        if begin >= len(body) and begin:
            return self.answer(416)
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body) - begin))
        if begin:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (begin, len(body) - 1, len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return None
        part = body[begin:]
        if self.server.breaks and len(part) > 1000:
            self.server.breaks -= 1
            self.wfile.write(part[:len(part) // 2])
            self.wfile.flush()
            self.close_connection = True
            return self.connection.shutdown(2)
        return self.wfile.write(part)


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # breaking off is what these tests do


class Serving:
    def __init__(self, files, listed=None):
        self.hub = Server(("127.0.0.1", 0), Hub)
        self.hub.files, self.hub.listed, self.hub.true = files, listed or list(files), {}
        self.hub.requests, self.hub.breaks, self.hub.ranges = [], 0, True
        self.hub.daemon_threads = True

    def __enter__(self):
        threading.Thread(target=self.hub.serve_forever, daemon=True).start()
        self.tmp = tempfile.TemporaryDirectory()
        self.home = pathlib.Path(self.tmp.name)
        self.env = {"HF_ENDPOINT": "http://127.0.0.1:%d" % self.hub.server_port, "HF_HOME": str(self.home)}
        self.repo = self.home / "hub" / "models--org--name"
        return self

    def __exit__(self, *args):
        self.hub.shutdown()
        self.hub.server_close()
        self.tmp.cleanup()

    def pull(self, *args, status=0, **env):
        return nunchi("pull", "org/name", *args, status=status, env={**self.env, **env})


def model_files():
    llama = fixture("llama")
    return {n: (llama / n).read_bytes() for n in ("config.json", "model.safetensors")}


def case_pull_as_huggingface_hub_keeps_it():
    files = {**model_files(), "1_Pooling/config.json": b"{}", "pytorch_model.bin": b"x" * 9, "onnx/model.json": b"{}"}
    with Serving(files) as s:
        folder = pathlib.Path(s.pull()[0].strip())
        check(folder == s.repo / "snapshots" / COMMIT, folder)
        check((s.repo / "refs" / "main").read_text() == COMMIT, "ref")
        got = {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}
        check(got == {"config.json", "model.safetensors", "1_Pooling/config.json"}, got)
        for name in got:
            link = os.readlink(folder / name)
            check((folder / name).read_bytes() == files[name] and link.startswith("../../" + "../" * name.count("/") + "blobs/"), link)
        sha = hashlib.sha256(files["model.safetensors"]).hexdigest()
        check((s.repo / "blobs" / sha).exists(), "large files are named by their SHA-256")
        check(not list((s.repo / "blobs").glob("*.incomplete")), "leftovers")
        before = len(s.hub.requests)
        check(json.loads(s.pull("--json")[0]) == {"model": "org/name", "folder": str(folder)}, "pull --json")
        check(all(r[0] == "HEAD" or "/api/" in r[1] for r in s.hub.requests[before:]), "fetched again what is there")
        listing = json.loads(nunchi("list", "--json", env=s.env)[0])
        check(len(listing) == 1 and listing[0]["model"] == "org/name" and listing[0]["revision"] == "main" and
              listing[0]["bytes"] == sum(len(files[n]) for n in got), listing)
        check(nunchi("list", env=s.env)[0].startswith("org/name "), "list")
        s.hub.shutdown()
        out = nunchi("inspect", "org/name", "--json", env=s.env)[0]
        check(json.loads(out)["architecture"] == "LlamaForCausalLM", "a name stands for its folder")
        nunchi("inspect", "org/name@main", env=s.env)
        nunchi("inspect", "org/name@" + COMMIT, env=s.env)
        nunchi("inspect", "org/other", env=s.env, status=2)
        threading.Thread(target=s.hub.serve_forever, daemon=True).start()


def case_pull_goes_on():
    files = model_files()
    with Serving(files) as s:
        s.hub.breaks = 3
        s.pull()
        ranges = [r[2] for r in s.hub.requests if r[2]]
        check(len(ranges) >= 2, "no Range was asked for: %s" % s.hub.requests)
        check((s.repo / "snapshots" / COMMIT / "model.safetensors").read_bytes() == files["model.safetensors"], "bytes")
    for ranges in (True, False):
        with Serving(files) as s:  # a part of an earlier run; servers may send the whole all the same
            s.hub.ranges = ranges
            sha = hashlib.sha256(files["model.safetensors"]).hexdigest()
            (s.repo / "blobs").mkdir(parents=True)
            (s.repo / "blobs" / (sha + ".incomplete")).write_bytes(files["model.safetensors"][:5000])
            s.pull()
            check(any(r[2] == "bytes=5000-" for r in s.hub.requests), "it began anew")
            check((s.repo / "blobs" / sha).read_bytes() == files["model.safetensors"], "bytes")


def case_pull_checks():
    files = model_files()
    with Serving(files) as s:
        s.hub.true["model.safetensors"] = b"something else"
        _, err = s.pull(status=2)
        check("expected SHA-256" in err, err)
        check(not (s.repo / "refs" / "main").exists(), "a broken folder has a name")
        nunchi("inspect", "org/name", env=s.env, status=2)
    for name in ("../evil.json", "/etc/evil.json", "a/../../evil.json", "a\\b.json", ""):
        with Serving(files, listed=["config.json", name]) as s:
            _, err = s.pull(status=2)
            check("names a file" in err, err)
    with Serving(files) as s:
        for bad in ("org", "../x/y", "org/name/more", "org/na--me", ".org/name"):
            nunchi("pull", bad, env=s.env, status=2)
        _, err = nunchi("pull", "org/none", env=s.env, status=2)
        check("404" in err, err)
        _, err = s.pull(status=2, HF_HUB_OFFLINE="1")
        check("HF_HUB_OFFLINE" in err, err)
        _, err = s.pull("--include", "*.gguf", status=2)
        check("none of its 2 files matches" in err, err)


def case_list_of_nothing():
    with tempfile.TemporaryDirectory() as tmp:
        out, err = nunchi("list", env={"HF_HUB_CACHE": tmp})
        check(out == "" and tmp in err and "nunchi pull" in err, out + err)
        check(json.loads(nunchi("list", "--json", env={"HF_HUB_CACHE": tmp})[0]) == [], "a list of nothing")


def case_pull_options():
    with Serving({**model_files(), "notes.md": b"hello"}) as s:
        folder = pathlib.Path(s.pull("--include", "*.md", "--revision", "v1.0", HF_TOKEN="secret")[0].strip())
        check([p.name for p in folder.iterdir()] == ["notes.md"], "globs")
        check((s.repo / "refs" / "v1.0").read_text() == COMMIT, "ref of the revision")
        check(all(r[3] == "Bearer secret" for r in s.hub.requests), "token")
        cache = s.home / "elsewhere"
        folder = s.pull(HF_HUB_CACHE=str(cache))[0].strip()
        check(folder.startswith(str(cache)), folder)


if __name__ == "__main__":
    sys.exit(run_cases("folders", dict(globals())))
