/* The door of verify: the forward cases, the training cases, one dump. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/err.h"
#include "base/file.h"
#include "runtime/verify_int.h"
#include "train/verify_train.h"

static int run(struct verify *v)
{
    char path[4096];
    TRY(verify_forward(v));
    TRY(verify_path(v, "train.json", path, sizeof path));
    if (!v->o->no_train && file_exists(path))
        TRY(verify_train(v, path));
    return v->o->dump ? st_write(v->o->dump, v->dump, v->n_dump, NULL) : 0;
}

int nun_verify(const char *folder, const struct nun_verify_options *options, struct nun_verify_summary *out)
{
    static const struct nun_verify_options defaults;
    const struct nun_verify_options *o = options ? options : &defaults;
    if (!folder)
        return err_set(NUN_EARG, "verify: no folder");
    struct verify v = {.o = o, .folder = folder, .cases = o->cases ? o->cases : folder};
    arena_init(&v.arena, MEM_RUNTIME, 0);
    int rc = run(&v);
    st_close(v.expected);
    json_decref(v.json);
    mem_free(v.dump);
    arena_free(&v.arena);
    if (out)
        *out = v.sum;
    return rc < 0 ? rc : v.sum.failed ? 1 : 0;
}
