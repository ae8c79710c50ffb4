/* Where a hub cache keeps things, and which names from outside may become part of a path. */
/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"
#include "runtime/hub_int.h"

#define PUBLIC __attribute__((visibility("default")))
#define PREFIX "models--"

/* ---- names ------------------------------------------------------------------------------------------------ */

static bool all_of(const char *s, size_t most, const char *more)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && !strchr(more, c))
            return false;
    }
    return n && n <= most;
}

bool hub_repo_ok(const char *repo)
{
    const char *slash = strchr(repo, '/');
    return all_of(repo, 200, "-_./") && *repo != '/' && *repo != '.' && !strstr(repo, "--") && !strstr(repo, "..") &&
           (!slash || (slash[1] && slash[1] != '.' && !strchr(slash + 1, '/')));
}

bool hub_file_ok(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < 32 || name[i] == '\\' || name[i] == 127)
            return false;
    bool dots = !strncmp(name, "../", 3) || strstr(name, "/../") || span_ends(span_str(name), SPAN("/..")) || !strcmp(name, "..");
    return n && n < 1024 && *name != '/' && !dots && !strstr(name, "//") && name[n - 1] != '/';
}

bool hub_commit_ok(const char *commit)
{
    return strlen(commit) == 40 && strspn(commit, "0123456789abcdef") == 40;
}

bool hub_etag_ok(const char *etag)
{
    return all_of(etag, 128, "-_");
}

bool hub_revision_ok(const char *revision)
{
    return all_of(revision, 200, "-_./") && hub_file_ok(revision) && *revision != '.';
}

/* ---- paths ------------------------------------------------------------------------------------------------ */

int hub_path(const char *cache, const char *repo, const char *what, const char *name, char out[HUB_PATH])
{
    const char *slash = strchr(repo, '/');
    int n = slash ? snprintf(out, HUB_PATH, "%s/" PREFIX "%.*s--%s", cache, (int)(slash - repo), repo, slash + 1)
                  : snprintf(out, HUB_PATH, "%s/" PREFIX "%s", cache, repo);
    if (n > 0 && n < HUB_PATH && what)
        n += snprintf(out + n, (size_t)(HUB_PATH - n), "/%s", what);
    if (n > 0 && n < HUB_PATH && name)
        n += snprintf(out + n, (size_t)(HUB_PATH - n), "/%s", name);
    return n > 0 && n < HUB_PATH ? 0 : err_set(NUN_ELIMIT, "%s: the path is longer than %d bytes", repo, HUB_PATH);
}

int hub_mkdir_of(const char *path)
{
    char dir[HUB_PATH];
    snprintf(dir, sizeof dir, "%.*s", (int)(path_base(path) - path), path);
    return file_mkdirs(dir);
}

int hub_read_ref(const char *cache, const char *repo, const char *revision, char out[64])
{
    char path[HUB_PATH];
    struct buf text;
    TRY(hub_path(cache, repo, "refs", revision, path));
    if (!file_exists(path))
        return 1;
    buf_init(&text, MEM_RUNTIME, 256);
    int rc = file_read(path, &text);
    size_t n = strcspn(buf_cstr(&text), " \r\n");
    if (rc >= 0)
        snprintf(out, 64, "%.*s", (int)(n < 63 ? n : 63), buf_cstr(&text));
    buf_free(&text);
    TRY(rc);
    return hub_commit_ok(out) ? 0 : err_set(NUN_EFORMAT, "%s: expected a commit, found \"%s\"", path, out);
}

PUBLIC int nun_hub_find(const char *cache, const char *repo, char *out, size_t capacity)
{
    char name[HUB_NAME], path[HUB_PATH], commit[64];
    const char *at = strchr(repo, '@'), *revision = at ? at + 1 : "main";
    size_t n = at ? (size_t)(at - repo) : strlen(repo);
    if (n >= sizeof name)
        return 1;
    memcpy(name, repo, n);
    name[n] = '\0';
    if (!hub_repo_ok(name) || !hub_revision_ok(revision))
        return 1;
    snprintf(commit, sizeof commit, "%.63s", hub_commit_ok(revision) ? revision : "");
    if (!*commit) {
        int rc = hub_read_ref(cache, name, revision, commit);
        if (rc)
            return rc;
    }
    TRY(hub_path(cache, name, "snapshots", commit, path));
    if (!file_is_dir(path))
        return 1;
    return snprintf(out, capacity, "%s", path) < (int)capacity ? 0 : err_set(NUN_ELIMIT, "%s: the path is too long", path);
}

/* ---- list ------------------------------------------------------------------------------------------------- */

static uint64_t tree_bytes(const char *dir, int depth)
{
    char **names, path[HUB_PATH];
    size_t n;
    uint64_t sum = 0;
    struct stat st;
    if (depth > 8 || file_list(dir, &names, &n) < 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (path_join(path, sizeof path, dir, names[i]) >= 0 && !stat(path, &st))
            sum += S_ISDIR(st.st_mode) ? tree_bytes(path, depth + 1) : (uint64_t)st.st_size;
    mem_free(names);
    return sum;
}

/* The refs that name the commit, else the commit's first digits. */
static void revisions_of(const char *cache, const char *repo, const char *commit, struct buf *out)
{
    char refs[HUB_PATH], **names, found[64];
    size_t n;
    if (hub_path(cache, repo, "refs", NULL, refs) >= 0 && file_is_dir(refs) && file_list(refs, &names, &n) >= 0) {
        for (size_t i = 0; i < n; i++)
            if (hub_read_ref(cache, repo, names[i], found) == 0 && !strcmp(found, commit))
                buf_printf(out, "%s%s", out->len ? "," : "", names[i]);
        mem_free(names);
    }
    if (!out->len)
        buf_printf(out, "%.12s", commit);
}

static int list_repo(const char *cache, const char *repo, void (*emit)(void *arg, const struct nun_hub_entry *entry), void *arg)
{
    char dir[HUB_PATH], folder[HUB_PATH], **commits;
    size_t n;
    TRY(hub_path(cache, repo, "snapshots", NULL, dir));
    if (!file_is_dir(dir))
        return 0;
    TRY(file_list(dir, &commits, &n));
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0; i++) {
        struct buf revision;
        buf_init(&revision, MEM_RUNTIME, 4096);
        rc = path_join(folder, sizeof folder, dir, commits[i]);
        revisions_of(cache, repo, commits[i], &revision);
        const struct nun_hub_entry e = {repo, buf_cstr(&revision), folder, rc >= 0 ? tree_bytes(folder, 0) : 0};
        if (rc >= 0)
            emit(arg, &e);
        buf_free(&revision);
    }
    mem_free(commits);
    return rc;
}

PUBLIC int nun_hub_list(const char *cache, void (*emit)(void *arg, const struct nun_hub_entry *entry), void *arg)
{
    char **names, repo[HUB_NAME];
    size_t n;
    if (!file_is_dir(cache))
        return 0;
    TRY(file_list(cache, &names, &n));
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0; i++) {
        if (!span_starts(span_str(names[i]), SPAN(PREFIX)) || strlen(names[i]) >= sizeof repo)
            continue;
        snprintf(repo, sizeof repo, "%s", names[i] + strlen(PREFIX));
        char *dash = strstr(repo, "--");
        if (dash) {
            *dash = '/';
            memmove(dash + 1, dash + 2, strlen(dash + 2) + 1);
        }
        if (hub_repo_ok(repo))
            rc = list_repo(cache, repo, emit, arg);
    }
    mem_free(names);
    return rc;
}
