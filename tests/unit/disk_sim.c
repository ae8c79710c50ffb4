/* The crashing disk: inodes with entry logs and block logs, replayed up to any call. */
/* SPDX-License-Identifier: MIT */
#include "disk_sim.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/rng.h"

enum { MAX_OPS = 8192, MAX_INODES = 1024, MAX_FDS = 1024, SECTOR = 512, FILE_CAP = 1 << 20, PATH_CAP = 1024 };

enum kind { OP_LINK, OP_UNLINK, OP_RENAME, OP_WRITE, OP_FSYNC };

struct op {
    enum kind kind;
    int dir, inode;              /* LINK, UNLINK, RENAME: the folder and the child; WRITE, FSYNC: inode */
    char name[96], to[96];
    size_t offset, len;
    unsigned char *data;
};

struct inode { bool is_dir; size_t size; };

static struct op ops[MAX_OPS];
static int op_count;
static struct inode inodes[MAX_INODES]; /* 0 is the root */
static int inode_count;
static int fd_inode[MAX_FDS];
static size_t fd_at[MAX_FDS];
static char root[PATH_CAP];

/* ---- the tree as the program sees it (all calls applied) ------------------------------------ */

struct entry { int dir, inode; char name[96]; };
struct tree { struct entry e[MAX_INODES]; int n; };
static struct tree live;

static int find(const struct tree *t, int dir, const char *name)
{
    for (int i = 0; i < t->n; i++)
        if (t->e[i].dir == dir && strcmp(t->e[i].name, name) == 0)
            return i;
    return -1;
}

static void drop(struct tree *t, int at)
{
    if (at >= 0)
        t->e[at] = t->e[--t->n];
}

static void apply(struct tree *t, const struct op *o)
{
    if (o->kind == OP_LINK) {
        drop(t, find(t, o->dir, o->name));
        t->e[t->n] = (struct entry){.dir = o->dir, .inode = o->inode};
        snprintf(t->e[t->n++].name, sizeof t->e[0].name, "%s", o->name);
    } else if (o->kind == OP_UNLINK) {
        drop(t, find(t, o->dir, o->name));
    } else if (o->kind == OP_RENAME) {
        drop(t, find(t, o->dir, o->name));
        drop(t, find(t, o->dir, o->to));
        t->e[t->n] = (struct entry){.dir = o->dir, .inode = o->inode};
        snprintf(t->e[t->n++].name, sizeof t->e[0].name, "%s", o->to);
    }
}

static void die(const char *why, const char *path)
{
    fprintf(stderr, "disk_sim: %s: %s\n", why, path);
    _exit(99);
}

/* The folder's inode of a path and its last name; -1 outside the root. */
static int locate(const char *path, char name[96])
{
    char part[PATH_CAP];
    int dir = 0;
    size_t n = strlen(root);
    if (strncmp(path, root, n) != 0 || (path[n] != '/' && path[n] != '\0'))
        return -1;
    name[0] = '\0';
    snprintf(part, sizeof part, "%s", path + n);
    for (char *save = NULL, *s = strtok_r(part, "/", &save); s; s = strtok_r(NULL, "/", &save)) {
        if (strcmp(s, "..") == 0)
            return -1;
        if (name[0]) {
            int at = find(&live, dir, name);
            if (at < 0)
                die("no such folder", path);
            dir = live.e[at].inode;
        }
        snprintf(name, 96, "%s", s);
    }
    return dir;
}

static int inode_at(const char *path)
{
    char name[96];
    int dir = locate(path, name);
    if (dir < 0)
        return -1;
    int at = name[0] ? find(&live, dir, name) : -1;
    return !name[0] ? 0 : at < 0 ? -1 : live.e[at].inode;
}

static struct op *add(enum kind kind, int dir, int inode, const char *name)
{
    if (op_count == MAX_OPS)
        die("too many calls", name);
    struct op *o = &ops[op_count++];
    *o = (struct op){.kind = kind, .dir = dir, .inode = inode};
    snprintf(o->name, sizeof o->name, "%s", name);
    return o;
}

static void link_new(const char *path, bool is_dir)
{
    char name[96];
    int dir = locate(path, name);
    if (dir < 0)
        return;
    if (inode_count == MAX_INODES)
        die("too many files", path);
    inodes[inode_count] = (struct inode){.is_dir = is_dir};
    apply(&live, add(OP_LINK, dir, inode_count++, name));
}

/* ---- the recording seam --------------------------------------------------------------------- */

static int rec_open(const char *path, int flags, mode_t mode)
{
    int before = inode_at(path);
    int fd = seam_real()->open(path, flags, mode);
    if (fd < 0 || fd >= MAX_FDS)
        return fd;
    if ((flags & O_CREAT) && before < 0)
        link_new(path, false);
    fd_inode[fd] = inode_at(path);
    fd_at[fd] = 0;
    return fd;
}

static ssize_t rec_write(int fd, const void *p, size_t n)
{
    ssize_t k = seam_real()->write(fd, p, n);
    if (k > 0 && fd_inode[fd] >= 0) {
        struct op *o = add(OP_WRITE, 0, fd_inode[fd], "");
        o->offset = fd_at[fd];
        o->len = (size_t)k;
        o->data = mem_alloc(MEM_TEST, (size_t)k);
        memcpy(o->data, p, (size_t)k);
        fd_at[fd] += (size_t)k;
    }
    return k;
}

static int rec_fsync(int fd)
{
    if (fd_inode[fd] >= 0)
        add(OP_FSYNC, 0, fd_inode[fd], "");
    return 0; /* the host's own disk may stay asleep */
}

static int rec_rename(const char *from, const char *to)
{
    char a[96], b[96];
    int dir = locate(from, a), other = locate(to, b), inode = inode_at(from);
    int rc = seam_real()->rename(from, to);
    if (rc == 0 && dir >= 0) {
        if (dir != other)
            die("rename across folders", to);
        struct op *o = add(OP_RENAME, dir, inode, a);
        snprintf(o->to, sizeof o->to, "%s", b);
        apply(&live, o);
    }
    return rc;
}

static void unlinked(const char *path)
{
    char name[96];
    int dir = locate(path, name);
    if (dir >= 0)
        apply(&live, add(OP_UNLINK, dir, inode_at(path), name));
}

static int rec_unlink(const char *path)
{
    int rc = seam_real()->unlink(path);
    if (rc == 0)
        unlinked(path);
    return rc;
}

static int rec_rmdir(const char *path)
{
    int rc = seam_real()->rmdir(path);
    if (rc == 0)
        unlinked(path);
    return rc;
}

static int rec_mkdir(const char *path, mode_t mode)
{
    int rc = seam_real()->mkdir(path, mode);
    if (rc == 0)
        link_new(path, true);
    return rc;
}

static struct seam recording;

void disk_record(const char *where)
{
    recording = *seam_real();
    recording.open = rec_open;
    recording.write = rec_write;
    recording.fsync = rec_fsync;
    recording.rename = rec_rename;
    recording.unlink = rec_unlink;
    recording.rmdir = rec_rmdir;
    recording.mkdir = rec_mkdir;
    snprintf(root, sizeof root, "%s", where);
    for (int i = 0; i < op_count; i++)
        mem_free(ops[i].data);
    op_count = 0;
    live.n = 0;
    inode_count = 1;
    inodes[0].is_dir = true;
    for (int i = 0; i < MAX_FDS; i++)
        fd_inode[i] = -1;
    seam_set(&recording);
}

static int no_fsync(int fd) { return 0; }

void disk_plain(void)
{
    static struct seam plain;
    plain = *seam_real();
    plain.fsync = no_fsync;
    seam_set(&plain);
}

int disk_stop(void)
{
    disk_plain();
    return op_count;
}

int disk_calls(void) { return op_count; }

/* ---- the states of a crash ------------------------------------------------------------------ */

/* Calls before `k` on an inode's own log that a sync makes certain: those before its last fsync. */
static int synced_until(int inode, int k)
{
    for (int i = k - 1; i >= 0; i--)
        if (ops[i].kind == OP_FSYNC && ops[i].inode == inode)
            return i;
    return 0;
}

static bool is_entry_op(const struct op *o) { return o->kind <= OP_RENAME; }

/* Each folder keeps its changes in order up to a cut of its own. */
static void replay_entries(int k, enum disk_loss loss, struct rng *r, struct tree *t)
{
    static int cut[MAX_INODES];
    for (int d = 0; d < inode_count; d++) {
        int sure = inodes[d].is_dir ? synced_until(d, k) : 0;
        cut[d] = loss == DISK_KEEP_ALL ? k : loss == DISK_LOSE_ALL ? sure : rng_range(r, sure, k);
    }
    t->n = 0;
    for (int i = 0; i < k; i++)
        if (is_entry_op(&ops[i]) && i < cut[ops[i].dir])
            apply(t, &ops[i]);
}

/* Sector by sector; the length may arrive without the bytes. */
static void replay_write(const struct op *o, bool sure, struct rng *r, unsigned char *bytes, size_t *size)
{
    for (size_t at = 0; at < o->len; at += SECTOR) {
        size_t n = o->len - at < SECTOR ? o->len - at : SECTOR, end = o->offset + at + n;
        if (end > FILE_CAP)
            die("file too large", "a recorded write");
        bool there = sure || rng_below(r, 2);
        if (there)
            memcpy(bytes + o->offset + at, o->data + at, n);
        if ((there || rng_below(r, 2)) && end > *size)
            *size = end;
    }
}

/* The bytes of a file: certain writes whole, the others sector by sector by chance. */
static void replay_file(int inode, int k, enum disk_loss loss, struct rng *r, const char *path)
{
    static unsigned char bytes[FILE_CAP];
    size_t size = 0;
    int sure = synced_until(inode, k);
    memset(bytes, 0, sizeof bytes);
    for (int i = 0; i < k; i++)
        if (ops[i].kind == OP_WRITE && ops[i].inode == inode && (loss != DISK_LOSE_ALL || i < sure))
            replay_write(&ops[i], i < sure || loss == DISK_KEEP_ALL, r, bytes, &size);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
        die("cannot build the state", path);
    close(fd);
}

static void build(const struct tree *t, int dir, int k, enum disk_loss loss, struct rng *r, const char *into)
{
    for (int i = 0; i < t->n; i++) {
        char path[PATH_CAP];
        if (t->e[i].dir != dir)
            continue;
        snprintf(path, sizeof path, "%s/%s", into, t->e[i].name);
        if (!inodes[t->e[i].inode].is_dir) {
            replay_file(t->e[i].inode, k, loss, r, path);
        } else {
            if (mkdir(path, 0777) != 0)
                die("cannot build the state", path);
            build(t, t->e[i].inode, k, loss, r, path);
        }
    }
}

void disk_crash(int k, enum disk_loss loss, uint64_t seed, const char *into)
{
    static struct tree t;
    struct rng r = rng_at(seed, (uint64_t)k);
    replay_entries(k, loss, &r, &t);
    build(&t, 0, k, loss, &r, into);
}

/* ---- a seam that fails ---------------------------------------------------------------------- */

static struct seam failing;
static int fail_n, fail_error, fail_forever, fail_seen;

static bool fails(void)
{
    fail_seen++;
    if (fail_seen == fail_n || (fail_forever && fail_n && fail_seen > fail_n))
        return errno = fail_error, true;
    return false;
}

static int bad_open(const char *path, int flags, mode_t mode)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY;
    return writes && fails() ? -1 : seam_real()->open(path, flags, mode);
}

static ssize_t bad_write(int fd, const void *p, size_t n)
{
    /* half of it goes down before the disk is full */
    return fails() ? (fail_error == ENOSPC && n > 1 && fail_seen == fail_n ? seam_real()->write(fd, p, n / 2) : -1)
                   : seam_real()->write(fd, p, n);
}

static int bad_fsync(int fd) { return fails() ? -1 : 0; }
static int bad_close(int fd) { return seam_real()->close(fd); }
static int bad_rename(const char *a, const char *b) { return fails() ? -1 : seam_real()->rename(a, b); }
static int bad_unlink(const char *p) { return fails() ? -1 : seam_real()->unlink(p); }
static int bad_mkdir(const char *p, mode_t m) { return fails() ? -1 : seam_real()->mkdir(p, m); }
static int bad_rmdir(const char *p) { return fails() ? -1 : seam_real()->rmdir(p); }

void disk_fail_at(int n, int error, int forever)
{
    failing = *seam_real();
    failing.open = bad_open;
    failing.write = bad_write;
    failing.fsync = bad_fsync;
    failing.close = bad_close;
    failing.rename = bad_rename;
    failing.unlink = bad_unlink;
    failing.mkdir = bad_mkdir;
    failing.rmdir = bad_rmdir;
    fail_n = n;
    fail_error = error;
    fail_forever = forever;
    fail_seen = 0;
    seam_set(&failing);
}

int disk_fail_calls(void) { return fail_seen; }
