/* Fetching a model folder: the list of files from the hub, each file's hash and size from its headers, its bytes into
 * blobs/HASH.incomplete and on from there after a break, checked, renamed, and linked into the snapshot. The ref is
 * written last, so that a name always means a whole folder. */
/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/seam.h"
#include "formats/json.h"
#include "runtime/hub_int.h"

#define PUBLIC __attribute__((visibility("default")))
#define ENDPOINT "https://huggingface.co"

enum { ATTEMPTS = 5 };

struct pull {
    const struct nun_hub_options *o;
    const char *repo, *endpoint;
    char commit[64];
};

/* One file on its way. */
struct fetch {
    struct pull *p;
    const char *name;
    char etag[HUB_NAME];
    int64_t size;                /* -1 unknown */
    int fd;
    int64_t done;                /* bytes in the file */
    bool checked;                /* this answer continues where the file ends */
};

/* ---- which files ------------------------------------------------------------------------------------------ */

static const char *const default_files[] = {"*.json", "*.jinja", "*.txt", "*.model", "*.safetensors", NULL};
static const char *const other_runtimes[] = {"onnx/*", "openvino/*", "original/*", "coreml/*", "*.index.fp32.json", NULL};

static bool any_match(const char *const *globs, size_t n, const char *name)
{
    for (size_t i = 0; globs && (n ? i < n : globs[i] != NULL); i++)
        if (!fnmatch(globs[i], name, 0))
            return true;
    return false;
}

static bool is_wanted(const struct pull *p, const char *name)
{
    if (p->o->n_include)
        return any_match(p->o->include, p->o->n_include, name);
    return any_match(default_files, 0, name) && !any_match(other_runtimes, 0, name);
}

/* ---- one file --------------------------------------------------------------------------------------------- */

static int file_url(const struct fetch *f, struct buf *out)
{
    buf_printf(out, "%s/%s/resolve/%s/", f->p->endpoint, f->p->repo, f->p->commit);
    hub_escape(f->name, out);
    return buf_error(out);
}

static int read_headers(struct fetch *f, const char *url)
{
    struct hub_answer a;
    const struct hub_request r = {.url = url, .token = f->p->o->token, .head = true};
    TRY(hub_http(&r, &a));
    if (a.status < 200 || a.status > 399)
        return err_set(NUN_EIO, "%s: the server answered %ld", url, a.status);
    snprintf(f->etag, sizeof f->etag, "%s", *a.linked_etag ? a.linked_etag : a.etag);
    f->size = a.linked_size >= 0 ? a.linked_size : a.status < 300 ? a.length : -1;
    if (*a.commit && strcmp(a.commit, f->p->commit))
        return err_set(NUN_EFORMAT, "%s: expected commit %s, the server has %s", url, f->p->commit, a.commit);
    return hub_etag_ok(f->etag) ? 0 : err_set(NUN_EFORMAT, "%s: expected an ETag to know the file by, found \"%s\"", url, f->etag);
}

static int take_bytes(void *arg, const struct hub_answer *a, const void *p, size_t n)
{
    struct fetch *f = arg;
    if (!f->checked && (a->status == 200 || a->from != f->done)) { /* from the start after all */
        if (a->status == 206 && a->from != 0)
            return err_set(NUN_EFORMAT, "%s: asked for bytes from %lld, the server sent from %lld", f->name, (long long)f->done,
                           (long long)a->from);
        if (ftruncate(f->fd, 0) || lseek(f->fd, 0, SEEK_SET))
            return err_errno("%s", f->name);
        f->done = 0;
    }
    f->checked = true;
    if (f->size >= 0 && (int64_t)n > f->size - f->done)
        return err_set(NUN_EFORMAT, "%s: expected %lld bytes, the server sends more", f->name, (long long)f->size);
    for (size_t at = 0; at < n;) {
        ssize_t k = seam_get()->write(f->fd, (const char *)p + at, n - at);
        if (k < 0 && errno != EINTR)
            return err_errno("%s: write", f->name);
        at += k > 0 ? (size_t)k : 0;
    }
    f->done += (int64_t)n;
    if (f->p->o->progress)
        f->p->o->progress(f->p->o->arg, &(struct nun_hub_file){f->name, f->done, f->size});
    return 0;
}

/* One request for what is missing. 1: broken off, worth another try. */
static int attempt(struct fetch *f, const char *url)
{
    struct hub_answer a;
    const struct hub_request r = {.url = url, .token = f->p->o->token, .from = f->done, .take = take_bytes, .arg = f};
    f->checked = false;
    int rc = hub_http(&r, &a);
    if (rc == NUN_EIO && (f->size < 0 || f->done < f->size))
        return 1;
    TRY(rc);
    if (a.status == 416 && f->size != f->done) { /* what is there is no beginning of it */
        f->done = 0;
        return ftruncate(f->fd, 0) || lseek(f->fd, 0, SEEK_SET) ? err_errno("%s", f->name) : 1;
    }
    if (a.status != 200 && a.status != 206 && a.status != 416) {
        rc = err_set(NUN_EIO, "%s: the server answered %ld", url, a.status);
        return a.status == 429 || a.status >= 500 ? 1 : rc;
    }
    if (f->size < 0 || f->done == f->size)
        return 0;
    (void)err_set(NUN_EIO, "the server sent too little");
    return 1;
}

static int transfer(struct fetch *f, const char *url)
{
    int rc = f->size >= 0 && f->done == f->size ? 0 : 1;
    for (int i = 0; i < ATTEMPTS && rc == 1; i++) {
        int64_t before = f->done;
        if (i)
            seam_get()->sleep_ns(((uint64_t)100 << 2 * i) * 1000000);
        rc = attempt(f, url);
        if (rc == 1 && f->done > before)
            i = 0; /* it gets on */
    }
    if (rc != 1)
        return rc;
    return err_at(NUN_EIO, "%s: broken off at %lld of %lld bytes, pull again to go on", f->name, (long long)f->done, (long long)f->size);
}

/* Large files are named by the SHA-256 of their bytes. */
static int check_bytes(const struct fetch *f, const char *path)
{
    struct file_map map;
    unsigned char hash[crypto_hash_sha256_BYTES];
    char hex[2 * sizeof hash + 1];
    if (f->size >= 0 && file_size(path) != f->size)
        return err_set(NUN_EFORMAT, "%s: expected %lld bytes, have %lld", f->name, (long long)f->size, (long long)file_size(path));
    if (strlen(f->etag) != 2 * sizeof hash || strspn(f->etag, "0123456789abcdef") != 2 * sizeof hash)
        return 0;
    TRY(file_map(path, &map));
    crypto_hash_sha256(hash, map.ptr, map.len);
    file_unmap(&map);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    if (!strcmp(hex, f->etag))
        return 0;
    unlink(path); /* no use going on from it */
    return err_set(NUN_EFORMAT, "%s: expected SHA-256 %s, the bytes have %s", f->name, f->etag, hex);
}

static int fetch_blob(struct fetch *f, const char *url, const char *blob)
{
    char part[HUB_PATH];
    if (snprintf(part, sizeof part, "%s.incomplete", blob) >= (int)sizeof part)
        return err_set(NUN_ELIMIT, "%s: the path is too long", blob);
    TRY(hub_mkdir_of(blob));
    f->fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (f->fd < 0)
        return err_errno("%s", part);
    int rc = flock(f->fd, LOCK_EX | LOCK_NB) ? err_set(NUN_EIO, "%s: another program is fetching it", f->name) : 0;
    if (rc >= 0) {
        off_t end = lseek(f->fd, 0, SEEK_END);
        f->done = end > 0 ? end : 0;
        rc = transfer(f, url);
    }
    if (rc >= 0 && fsync(f->fd))
        rc = err_errno("%s", part);
    if (rc >= 0)
        rc = check_bytes(f, part);
    if (rc >= 0 && rename(part, blob))
        rc = err_errno("%s", blob);
    close(f->fd);
    return rc;
}

/* snapshots/COMMIT/a/b -> ../../../blobs/HASH */
static int link_blob(const struct fetch *f)
{
    char path[HUB_PATH], to[HUB_PATH], name[HUB_PATH];
    size_t n = 0;
    snprintf(name, sizeof name, "%s/%s", f->p->commit, f->name);
    TRY(hub_path(f->p->o->cache, f->p->repo, "snapshots", name, path));
    TRY(hub_mkdir_of(path));
    for (const char *c = name; *c; c++)
        if (*c == '/')
            n += (size_t)snprintf(to + n, sizeof to - n, "../");
    snprintf(to + n, sizeof to - n, "../blobs/%s", f->etag);
    unlink(path);
    return symlink(to, path) ? err_errno("%s", path) : 0;
}

static int pull_file(struct pull *p, const char *name)
{
    struct fetch f = {.p = p, .name = name, .fd = -1};
    struct buf url;
    char blob[HUB_PATH];
    buf_init(&url, MEM_RUNTIME, HUB_PATH);
    int rc = file_url(&f, &url);
    if (rc >= 0)
        rc = read_headers(&f, buf_cstr(&url));
    if (rc >= 0)
        rc = hub_path(p->o->cache, p->repo, "blobs", f.etag, blob);
    if (rc >= 0 && !file_exists(blob))
        rc = fetch_blob(&f, buf_cstr(&url), blob);
    if (rc >= 0)
        rc = link_blob(&f);
    buf_free(&url);
    return rc;
}

/* ---- the folder ------------------------------------------------------------------------------------------- */

static int read_listing(struct pull *p, const char *revision, json_t **out)
{
    struct buf url, text;
    buf_init(&url, MEM_RUNTIME, HUB_PATH);
    buf_init(&text, MEM_RUNTIME, LIMIT_OF(json_bytes));
    buf_printf(&url, "%s/api/models/%s/revision/", p->endpoint, p->repo);
    hub_escape(revision, &url);
    int rc = buf_error(&url);
    if (rc >= 0)
        rc = hub_http_text(buf_cstr(&url), p->o->token, &text);
    if (rc >= 0)
        rc = json_parse_span(buf_view(&text), buf_cstr(&url), out);
    buf_free(&url);
    buf_free(&text);
    return rc;
}

static int pull_listed(struct pull *p, const json_t *listing)
{
    const char *commit = json_string_value(json_object_get(listing, "sha"));
    json_t *files = json_object_get(listing, "siblings"), *one;
    size_t i, wanted = 0;
    if (!commit || !hub_commit_ok(commit) || !json_is_array(files))
        return err_set(NUN_EFORMAT, "%s: the hub's answer has no commit or no list of files", p->repo);
    snprintf(p->commit, sizeof p->commit, "%s", commit);
    json_array_foreach(files, i, one) {
        const char *name = json_string_value(json_object_get(one, "rfilename"));
        if (!name || !hub_file_ok(name))
            return err_set(NUN_EFORMAT, "%s: the hub names a file \"%.100s\"", p->repo, name ? name : "");
        if (!is_wanted(p, name))
            continue;
        TRY(pull_file(p, name));
        wanted++;
    }
    return wanted ? 0 : err_set(NUN_EUNSUP, "%s: none of its %zu files %s", p->repo, json_array_size(files),
                                p->o->n_include ? "matches" : "is a config, a tokenizer or safetensors: choose with --include");
}

static int write_ref(const struct pull *p, const char *revision)
{
    char path[HUB_PATH];
    if (!strcmp(revision, p->commit))
        return 0;
    TRY(hub_path(p->o->cache, p->repo, "refs", revision, path));
    TRY(hub_mkdir_of(path));
    return file_write_durable(path, p->commit, strlen(p->commit));
}

PUBLIC int nun_hub_pull(const char *repo, const struct nun_hub_options *options, char *out, size_t capacity)
{
    struct pull p = {.o = options, .repo = repo};
    json_t *listing = NULL;
    if (!repo || !options || !options->cache || !out)
        return err_set(NUN_EARG, "pull: expected a model and a cache");
    const char *revision = options->revision ? options->revision : "main";
    p.endpoint = options->endpoint ? options->endpoint : ENDPOINT;
    if (!hub_repo_ok(repo) || !hub_revision_ok(revision))
        return err_set(NUN_EARG, "pull: expected org/name and a revision, found \"%s\" and \"%s\"", repo, revision);
    TRY(read_listing(&p, revision, &listing));
    int rc = pull_listed(&p, listing);
    json_decref(listing);
    if (rc >= 0)
        rc = write_ref(&p, revision);
    char path[HUB_PATH];
    if (rc >= 0)
        rc = hub_path(options->cache, repo, "snapshots", p.commit, path);
    TRY(rc);
    return snprintf(out, capacity, "%s", path) < (int)capacity ? 0 : err_set(NUN_ELIMIT, "%s: the path is too long", path);
}
