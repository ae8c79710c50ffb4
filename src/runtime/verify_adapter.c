/* LoRA folders under verify: the base that case.json names, with the adapter and without. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "runtime/verify_int.h"

static bool is_adapter(const struct verify *v)
{
    char path[4096];
    return path_join(path, sizeof path, v->folder, "adapter_config.json") >= 0 && file_exists(path);
}

static int base_path(const struct verify *v, char *out, size_t cap)
{
    const char *base = NULL;
    TRY(json_get_string(v->json, "case.json", "base", &base));
    return base ? path_join(out, cap, v->folder, base) : json_missing("case.json", "base");
}

int verify_open(const struct verify *v, const struct nun_model_options *o, struct nun_model **out)
{
    char base[4096];
    const struct nun_lora lora = {v->folder, 1};
    struct nun_model_options with = *o;
    if (!is_adapter(v))
        return nun_model_open(v->folder, o, out);
    TRY(base_path(v, base, sizeof base));
    with.loras = &lora;
    with.n_loras = 1;
    return nun_model_open(base, &with, out);
}

int verify_base_logits(struct verify_case *c, struct arena *arena)
{
    static const char *const name = "logits_without_adapter";
    char base[4096];
    struct nun_model *with = c->m;
    const struct nun_model_options o = {.threads = c->v->o->threads, .compute = c->fast ? NUN_BF16 : NUN_F32};
    if (!is_adapter(c->v) || !json_object_get(json_object_get(c->json, "expected"), name))
        return 0;
    TRY(base_path(c->v, base, sizeof base));
    TRY(nun_model_open(base, &o, &c->m));
    int rc = verify_logits(c, json_object_get(c->json, "input_ids"), name, arena);
    nun_model_close(c->m);
    c->m = with;
    return rc;
}
