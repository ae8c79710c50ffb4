/* The reading half of the checkpoint store: finding steps and proving them against their manifests. */
/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/seam.h"
#include "formats/checkpoint_int.h"

#define READ_BLOCK ((size_t)256 << 10)
#define STEP_DIGITS 8 /* at least; more when the number needs them */
#define VERSION 1

/* ---- names --------------------------------------------------------------------------------- */

int ckpt_step_path(const char *dir, uint64_t step, const char *suffix, char out[CKPT_PATH])
{
    char name[64];
    snprintf(name, sizeof name, "step-%0*" PRIu64 "%s", STEP_DIGITS, step, suffix);
    return path_join(out, CKPT_PATH, dir, name);
}

/* The step of a folder's name, exactly as ckpt_step_path spells it. */
static bool step_of(const char *name, uint64_t *step)
{
    char again[64];
    if (strncmp(name, "step-", 5) != 0 || !isdigit((unsigned char)name[5]))
        return false;
    *step = strtoull(name + 5, NULL, 10);
    snprintf(again, sizeof again, "step-%0*" PRIu64, STEP_DIGITS, *step);
    return strcmp(again, name) == 0;
}

static int by_step(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int ckpt_steps(const char *dir, uint64_t **steps, size_t *count)
{
    char **names = NULL;
    size_t n = 0, found = 0;
    TRY(file_list(dir, &names, &n));
    uint64_t *list = mem_calloc(MEM_FORMAT, n + 1, sizeof *list);
    for (size_t i = 0; list && i < n; i++)
        found += step_of(names[i], &list[found]);
    mem_free(names);
    if (!list)
        return NUN_ENOMEM;
    qsort(list, found, sizeof *list, by_step);
    *steps = list;
    *count = found;
    return 0;
}

bool ckpt_plain_name(const char *name)
{
    if (!*name || *name == '.' || strlen(name) > 200 || strcmp(name, CKPT_MANIFEST) == 0)
        return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
            return false;
    return true;
}

/* ---- contents ------------------------------------------------------------------------------ */

static int digest_fd(int fd, const char *path, unsigned char *block, uint64_t *bytes, struct digest *out)
{
    struct digest_state s;
    digest_begin(&s);
    *bytes = 0;
    for (;;) {
        ssize_t n = seam_get()->read(fd, block, READ_BLOCK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno("%s", path);
        if (n == 0)
            break;
        digest_update(&s, block, (size_t)n);
        *bytes += (uint64_t)n;
    }
    digest_end(&s, out);
    return 0;
}

static int digest_file(const char *path, uint64_t *bytes, struct digest *out)
{
    unsigned char *block = mem_alloc(MEM_FORMAT, READ_BLOCK);
    if (!block)
        return NUN_ENOMEM;
    int fd = seam_get()->open(path, O_RDONLY | O_CLOEXEC, 0);
    int rc = fd < 0 ? err_errno("%s", path) : digest_fd(fd, path, block, bytes, out);
    if (fd >= 0)
        seam_get()->close(fd);
    mem_free(block);
    return rc;
}

int ckpt_manifest_checksum(const json_t *manifest, char hex[65])
{
    struct buf text;
    struct digest d;
    unsigned mark = json_mark();
    json_t *bare = json_copy((json_t *)manifest); /* shallow */
    buf_init(&text, MEM_FORMAT, LIMIT_OF(json_bytes));
    if (bare)
        json_object_del(bare, "checksum");
    int rc = json_check(mark);
    if (rc == 0)
        rc = json_write(bare, JSON_TIGHT, &text);
    if (rc == 0) {
        digest_of(text.ptr, text.len, &d);
        digest_hex(&d, hex);
    }
    json_decref(bare);
    buf_free(&text);
    return rc;
}

static int check_file(const char *dir, const char *place, const json_t *row, bool contents)
{
    char path[CKPT_PATH], hex[65];
    const char *name = NULL, *want = NULL;
    int64_t want_bytes = -1;
    uint64_t bytes = 0;
    struct digest d;
    TRY(json_get_string(row, place, "name", &name));
    TRY(json_get_string(row, place, "blake2b", &want));
    TRY(json_get_int(row, place, "bytes", 0, INT64_MAX, &want_bytes));
    if (!name || !want || want_bytes < 0 || !ckpt_plain_name(name))
        return err_set(NUN_EFORMAT, "%s: files: expected name, bytes and blake2b", place);
    TRY(path_join(path, sizeof path, dir, name));
    int64_t found = file_size(path);
    if (found != want_bytes)
        return err_set(NUN_EFORMAT, "%s: expected %" PRId64 " bytes, found %" PRId64, path, want_bytes, found);
    if (!contents)
        return 0;
    TRY(digest_file(path, &bytes, &d));
    digest_hex(&d, hex);
    if (bytes != (uint64_t)want_bytes || strcmp(hex, want) != 0)
        return err_set(NUN_EFORMAT, "%s: expected checksum %.16s..., found %.16s...", path, want, hex);
    return 0;
}

static int check_head(const json_t *m, const char *place, struct ckpt_info *out)
{
    char hex[65];
    const char *format = "", *checksum = "", *data = "", *config = "";
    int64_t version = 0, world = 1, step = -1;
    TRY(json_get_string(m, place, "format", &format));
    TRY(json_get_int(m, place, "version", 0, INT64_MAX, &version));
    if (strcmp(format, "nunchi-checkpoint") != 0 || version != VERSION)
        return err_set(NUN_EUNSUP, "%s: expected nunchi-checkpoint version %d, found \"%s\" version %" PRId64, place,
                       VERSION, format, version);
    TRY(json_get_string(m, place, "checksum", &checksum));
    TRY(ckpt_manifest_checksum(m, hex));
    if (strcmp(hex, checksum) != 0)
        return err_set(NUN_EFORMAT, "%s: expected checksum %.16s..., found %.16s...", place, checksum, hex);
    TRY(json_get_int(m, place, "step", 0, INT64_MAX, &step));
    TRY(json_get_int(m, place, "world_size", 1, 1 << 20, &world));
    TRY(json_get_string(m, place, "data_fingerprint", &data));
    TRY(json_get_string(m, place, "config_hash", &config));
    if (step < 0 || strlen(data) >= CKPT_TEXT || strlen(config) >= CKPT_TEXT)
        return err_set(NUN_EFORMAT, "%s: step, data_fingerprint or config_hash out of range", place);
    out->step = (uint64_t)step;
    out->world_size = (int)world;
    snprintf(out->data_fingerprint, sizeof out->data_fingerprint, "%s", data);
    snprintf(out->config_hash, sizeof out->config_hash, "%s", config);
    return 0;
}

static int check_manifest(const char *dir, const char *place, const json_t *m, bool contents, struct ckpt_info *out)
{
    const json_t *files = NULL;
    TRY(check_head(m, place, out));
    TRY(json_get_array(m, place, "files", &files));
    if (!files)
        return json_missing(place, "files");
    for (size_t i = 0; i < json_array_size(files); i++)
        TRY(check_file(dir, place, json_array_get(files, i), contents));
    return 0;
}

int ckpt_check(const char *step_dir, bool contents, struct ckpt_info *out)
{
    char path[CKPT_PATH];
    struct ckpt_info info = {0};
    json_t *m = NULL;
    TRY(path_join(path, sizeof path, step_dir, CKPT_MANIFEST));
    TRY(json_load_file_limited(path, &m));
    int rc = json_is_object(m) ? check_manifest(step_dir, path, m, contents, &info)
                               : err_set(NUN_EFORMAT, "%s: expected an object", path);
    json_decref(m);
    TRY(rc);
    snprintf(info.path, sizeof info.path, "%s", step_dir);
    if (out)
        *out = info;
    return 0;
}

int ckpt_verify(const char *step_dir, struct ckpt_info *out)
{
    return ckpt_check(step_dir, true, out);
}

int ckpt_latest_in(const char *dir, struct ckpt_info *out)
{
    uint64_t *steps = NULL;
    size_t n = 0, skipped = 0;
    if (!file_is_dir(dir))
        return 1;
    TRY(ckpt_steps(dir, &steps, &n));
    int rc = 1;
    while (n > 0 && rc == 1) {
        char path[CKPT_PATH];
        struct ckpt_info info = {0};
        int bad = ckpt_step_path(dir, steps[--n], "", path);
        bad = bad ? bad : ckpt_check(path, true, &info);
        if (bad == NUN_ENOMEM) { /* says nothing about the files */
            rc = bad;
        } else if (bad || info.step != steps[n]) {
            log_write(LOG_ERROR, "checkpoint %s is NOT usable: %s", path,
                      bad ? nun_error() : "its manifest is another step's");
            skipped++;
        } else {
            *out = info;
            rc = 0;
        }
    }
    if (rc == 0 && skipped)
        log_write(LOG_ERROR, "FALLING BACK to the checkpoint of step %" PRIu64 ", %zu newer skipped", out->step,
                  skipped);
    mem_free(steps);
    return rc;
}
