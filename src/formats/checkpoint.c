/* The writing half of the checkpoint store. The order of system calls is the whole point: every file
 * is synced, then the folder aside, then the rename, then the parent; only then is anything removed. */
/* SPDX-License-Identifier: MIT */
#include "formats/checkpoint.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "base/seam.h"
#include "formats/checkpoint_int.h"

struct ckpt_store { char dir[CKPT_PATH]; int keep; };

struct ckpt {
    struct ckpt_store *store;
    uint64_t step;
    char aside[CKPT_PATH];
    json_t *files; /* rows of the manifest */
    int error;     /* sticky */
};

/* ---- opening ------------------------------------------------------------------------------- */

static bool is_leftover(const char *name)
{
    return span_starts(span_str(name), SPAN("step-")) && span_ends(span_str(name), SPAN(CKPT_ASIDE));
}

static int sweep(const char *dir)
{
    char **names = NULL, path[CKPT_PATH];
    size_t n = 0;
    TRY(file_list(dir, &names, &n));
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (!is_leftover(names[i]))
            continue;
        log_warn("%s: removing %s, left by an interrupted run", dir, names[i]);
        rc = path_join(path, sizeof path, dir, names[i]);
        rc = rc ? rc : file_remove_tree(path);
    }
    mem_free(names);
    return rc;
}

/* The entry of a new folder reaches the disk with a sync of its parent. */
static int make_store_dir(const char *dir)
{
    char parent[CKPT_PATH];
    if (file_is_dir(dir))
        return 0;
    TRY(file_mkdirs(dir));
    return path_join(parent, sizeof parent, dir, "..") == 0 ? file_fsync_dir(parent) : 0;
}

int ckpt_open(const char *dir, int keep, struct ckpt_store **out)
{
    struct ckpt_store *s = mem_calloc(MEM_FORMAT, 1, sizeof *s);
    if (!s)
        return NUN_ENOMEM;
    s->keep = keep < CKPT_MIN_KEEP ? CKPT_MIN_KEEP : keep;
    int rc = 0;
    if (snprintf(s->dir, sizeof s->dir, "%s", dir) >= (int)sizeof s->dir)
        rc = err_set(NUN_ELIMIT, "%s: path over %zu bytes", dir, sizeof s->dir - 1);
    if (rc == 0)
        rc = make_store_dir(dir);
    if (rc == 0)
        rc = sweep(dir);
    if (rc)
        mem_free(s);
    else
        *out = s;
    return rc;
}

void ckpt_close(struct ckpt_store *store)
{
    mem_free(store);
}

int ckpt_latest(const struct ckpt_store *store, struct ckpt_info *out)
{
    return ckpt_latest_in(store->dir, out);
}

/* ---- writing ------------------------------------------------------------------------------- */

static int check_space(const char *dir, uint64_t bytes)
{
    int64_t have = seam_get()->free_bytes(dir);
    double need = 1.1 * (double)bytes;
    if (have < 0 || (double)have >= need)
        return 0;
    return err_set(NUN_EIO, "%s: expected %.0f bytes free for a checkpoint, found %" PRId64, dir, need, have);
}

/* A step that is there already must be a bad one: a good one is never replaced. */
static int check_absent(const struct ckpt_store *s, uint64_t step)
{
    char path[CKPT_PATH];
    TRY(ckpt_step_path(s->dir, step, "", path));
    if (file_exists(path) && ckpt_check(path, true, NULL) == 0)
        return err_set(NUN_EARG, "%s: a good checkpoint of this step is there already", path);
    return 0;
}

int ckpt_begin(struct ckpt_store *store, uint64_t step, uint64_t bytes, struct ckpt **out)
{
    TRY(check_absent(store, step));
    TRY(check_space(store->dir, bytes));
    struct ckpt *c = mem_calloc(MEM_FORMAT, 1, sizeof *c);
    if (!c)
        return NUN_ENOMEM;
    c->store = store;
    c->step = step;
    c->files = json_array();
    int rc = c->files ? ckpt_step_path(store->dir, step, CKPT_ASIDE, c->aside) : NUN_ENOMEM;
    if (rc == 0)
        rc = file_remove_tree(c->aside); /* an abandoned attempt of this very run */
    if (rc == 0 && seam_get()->mkdir(c->aside, 0777) != 0)
        rc = err_errno("%s: mkdir", c->aside);
    if (rc == 0) {
        *out = c;
        return 0;
    }
    json_decref(c->files);
    mem_free(c);
    return rc;
}

static int add_row(json_t *files, const char *name, uint64_t bytes, const struct digest *d)
{
    char hex[65];
    digest_hex(d, hex);
    json_t *row = json_pack("{s:s, s:I, s:s}", "name", name, "bytes", (json_int_t)bytes, "blake2b", hex);
    if (!row || json_array_append_new(files, row) != 0)
        return err_set(NUN_ENOMEM, "checkpoint manifest: out of memory");
    return 0;
}

static int add_file(struct ckpt *c, const char *name, int (*emit)(void *arg, struct sink *out), void *arg)
{
    char path[CKPT_PATH];
    struct sink out;
    struct digest d;
    if (!ckpt_plain_name(name))
        return err_set(NUN_EARG, "checkpoint file \"%s\": expected a name of letters, digits, '.', '_', '-'", name);
    TRY(path_join(path, sizeof path, c->aside, name));
    TRY(sink_open(&out, path));
    int rc = emit(arg, &out);
    if (rc) {
        sink_abort(&out);
        return rc;
    }
    uint64_t bytes = out.bytes;
    TRY(sink_close(&out, &d));
    return add_row(c->files, name, bytes, &d);
}

int ckpt_add_file(struct ckpt *c, const char *name, int (*emit)(void *arg, struct sink *out), void *arg)
{
    if (c->error)
        return c->error;
    c->error = add_file(c, name, emit, arg);
    if (c->error)
        err_at(c->error, "checkpoint of step %" PRIu64, c->step);
    return c->error;
}

static int emit_bytes(void *arg, struct sink *out)
{
    const struct span *s = arg;
    sink_write(out, s->ptr, s->len);
    return 0;
}

int ckpt_add_bytes(struct ckpt *c, const char *name, const void *p, size_t n)
{
    struct span s = span_of(p, n);
    return ckpt_add_file(c, name, emit_bytes, &s);
}

/* ---- committing ---------------------------------------------------------------------------- */

static int build_manifest(const struct ckpt *c, const struct ckpt_facts *f, json_t **out)
{
    char hex[65];
    const char *data = f && f->data_fingerprint ? f->data_fingerprint : "";
    const char *config = f && f->config_hash ? f->config_hash : "";
    int world = f && f->world_size > 0 ? f->world_size : 1;
    if (strlen(data) >= CKPT_TEXT || strlen(config) >= CKPT_TEXT)
        return err_set(NUN_EARG, "checkpoint facts: expected at most %d characters", CKPT_TEXT - 1);
    json_t *m = json_pack("{s:s, s:i, s:I, s:i, s:s, s:s, s:O}", "format", "nunchi-checkpoint", "version", 1, "step",
                          (json_int_t)c->step, "world_size", world, "data_fingerprint", data, "config_hash", config,
                          "files", c->files);
    int rc = m ? ckpt_manifest_checksum(m, hex) : NUN_ENOMEM;
    if (rc == 0 && json_object_set_new(m, "checksum", json_string(hex)) != 0)
        rc = NUN_ENOMEM;
    if (rc == 0) {
        *out = m;
        return 0;
    }
    json_decref(m);
    return rc == NUN_ENOMEM ? err_set(rc, "checkpoint manifest: out of memory") : rc;
}

static int write_manifest(const struct ckpt *c, const struct ckpt_facts *facts)
{
    char path[CKPT_PATH];
    json_t *m = NULL;
    TRY(path_join(path, sizeof path, c->aside, CKPT_MANIFEST));
    TRY(build_manifest(c, facts, &m));
    int rc = json_write_file(path, m); /* its fsync of the folder covers every file's entry */
    json_decref(m);
    return rc;
}

static int publish(const struct ckpt *c)
{
    char final[CKPT_PATH];
    TRY(ckpt_step_path(c->store->dir, c->step, "", final));
    if (file_exists(final)) {
        log_warn("%s: replacing an unusable checkpoint of the same step", final);
        TRY(file_remove_tree(final));
    }
    if (seam_get()->rename(c->aside, final) != 0)
        return err_errno("%s: rename", final);
    return file_fsync_dir(c->store->dir);
}

/* Renamed first, so that a half-removed step is never taken for a whole one. */
static int remove_step(const char *dir, uint64_t step)
{
    char path[CKPT_PATH], aside[CKPT_PATH];
    TRY(ckpt_step_path(dir, step, "", path));
    TRY(ckpt_step_path(dir, step, ".old" CKPT_ASIDE, aside));
    if (seam_get()->rename(path, aside) != 0)
        return err_errno("%s: rename", path);
    return file_remove_tree(aside);
}

/* From the newest back, `keep` good ones stay; what is older goes. */
static int prune(const struct ckpt_store *s)
{
    uint64_t *steps = NULL;
    size_t n = 0;
    int good = 0, rc = 0;
    TRY(ckpt_steps(s->dir, &steps, &n));
    while (n > 0 && rc == 0) {
        char path[CKPT_PATH];
        n--;
        if (good >= s->keep)
            rc = remove_step(s->dir, steps[n]);
        else if (ckpt_step_path(s->dir, steps[n], "", path) == 0)
            good += ckpt_check(path, false, NULL) == 0;
    }
    mem_free(steps);
    return rc;
}

int ckpt_commit(struct ckpt *c, const struct ckpt_facts *facts)
{
    struct ckpt_store *s = c->store;
    int rc = c->error;
    if (rc == 0)
        rc = write_manifest(c, facts);
    if (rc == 0)
        rc = ckpt_check(c->aside, true, NULL); /* read back before anything depends on it */
    if (rc == 0)
        rc = publish(c);
    if (rc) {
        char why[1024];
        snprintf(why, sizeof why, "%s", nun_error());
        ckpt_abort(c);
        return err_set(rc, "%s", why); /* not what the clean-up had to say */
    }
    json_decref(c->files);
    mem_free(c);
    if (prune(s) != 0)
        log_warn("%s: old checkpoints could not be removed: %s", s->dir, nun_error());
    return 0;
}

void ckpt_abort(struct ckpt *c)
{
    if (!c)
        return;
    if (file_exists(c->aside)) /* only our own; the sentence of the failure stays */
        file_remove_tree(c->aside);
    json_decref(c->files);
    mem_free(c);
}
