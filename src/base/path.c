/* Paths and folders: joining, listing, making, removing. The other half of base/file.h; knows no file
 * contents. */
/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/ck.h"
#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/seam.h"

bool file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool file_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int64_t file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

int path_join(char *out, size_t cap, const char *dir, const char *name)
{
    size_t n = strlen(dir);
    const char *slash = n == 0 || dir[n - 1] == '/' ? "" : "/";
    int len = snprintf(out, cap, "%s%s%s", dir, slash, name);
    if (len < 0 || (size_t)len >= cap)
        return err_set(NUN_ELIMIT, "path %s%s%s: expected under %zu bytes, found %d", dir, slash, name, cap, len);
    return 0;
}

const char *path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int file_mkdirs(const char *path)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n >= sizeof part)
        return err_set(NUN_ELIMIT, "%s: path over %zu bytes", path, sizeof part - 1);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        char kept = part[i];
        part[i] = '\0';
        if (seam_get()->mkdir(part, 0777) != 0 && !(errno == EEXIST && file_is_dir(part)))
            return err_errno("%s: mkdir", part);
        part[i] = kept;
    }
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    const struct seam *os = seam_get();
    return type == FTW_DP || type == FTW_D || type == FTW_DNR ? os->rmdir(path) : os->unlink(path);
}

int file_remove_tree(const char *path)
{
    enum { OPEN_FOLDERS = 16 };
    if (nftw(path, remove_entry, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT)
        return 0;
    return err_errno("%s: remove", path);
}

/* All names in the folder, each with its NUL. */
static int names_read(const char *dir, struct buf *text, size_t *count)
{
    DIR *d = opendir(dir);
    if (!d)
        return err_errno("%s", dir);
    int rc = 0;
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e)
            break;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        buf_append(text, e->d_name, strlen(e->d_name) + 1);
        ++*count;
    }
    if (errno)
        rc = err_errno("%s", dir);
    closedir(d);
    return rc ? rc : buf_error(text);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* One block: the pointers [count], then the bytes they point to. */
static char **names_pack(const struct buf *text, size_t count)
{
    size_t head, total;
    if (ck_mul(count, sizeof(char *), &head) || ck_add(head, text->len, &total))
        return NULL;
    char **names = mem_alloc(MEM_BASE, total);
    if (!names)
        return NULL;
    char *at = (char *)names + head;
    if (text->len)
        memcpy(at, text->ptr, text->len);
    for (size_t i = 0; i < count; i++, at += strlen(at) + 1)
        names[i] = at;
    if (count)
        qsort(names, count, sizeof *names, by_bytes);
    return names;
}

int file_list(const char *dir, char ***names, size_t *count)
{
    struct buf text;
    size_t n = 0;
    buf_init(&text, MEM_BASE, LIMIT_OF(folder_bytes));
    int rc = names_read(dir, &text, &n);
    char **packed = rc ? NULL : names_pack(&text, n);
    buf_free(&text);
    if (!packed)
        return rc ? rc : NUN_ENOMEM;
    *names = packed;
    *count = n;
    return 0;
}
