/* A model with adapters in its weights, as a folder of its own: weights and config written anew, the other
 * files of the folder copied. The command `merge` calls it. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "models/model.h"
#include "nunchi/nunchi.h"
#include "nunchi/tools.h"

#define PUBLIC __attribute__((visibility("default")))

/* Weights in any form, and what is written anew. */
static bool is_copied(const char *name)
{
    static const char *const not[] = {".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".gguf", ".pth", ".pt",
                                      ".h5", ".msgpack", ".onnx"};
    if (!strcmp(name, "config.json"))
        return false;
    for (size_t i = 0; i < sizeof not / sizeof not[0]; i++)
        if (span_ends(span_str(name), span_str(not[i])))
            return false;
    return true;
}

static int copy_file(const char *from, const char *to)
{
    struct buf bytes;
    buf_init(&bytes, MEM_RUNTIME, LIMIT_OF(text_bytes));
    int rc = file_read(from, &bytes);
    if (rc >= 0)
        rc = file_write_durable(to, bytes.ptr ? bytes.ptr : "", bytes.len);
    buf_free(&bytes);
    return rc;
}

static int copy_rest(const char *folder, const char *out)
{
    char from[4096], to[4096], **names;
    size_t n = 0;
    TRY(file_list(folder, &names, &n));
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0; i++) {
        if (!is_copied(names[i]))
            continue;
        rc = path_join(from, sizeof from, folder, names[i]);
        if (rc >= 0)
            rc = path_join(to, sizeof to, out, names[i]);
        if (rc >= 0 && !file_is_dir(from))
            rc = copy_file(from, to);
    }
    mem_free(names);
    return rc;
}

/* What the config says that the weights are; float32 where it says nothing. */
static int type_of(const struct model *m, enum dtype *out)
{
    const char *name = "float32";
    TRY(json_get_string(m->config, "config.json", "torch_dtype", &name));
    TRY(json_get_string(m->config, "config.json", "dtype", &name));
    TRY(dtype_parse(span_str(name), out));
    if (*out != DT_F32 && *out != DT_BF16 && *out != DT_F16)
        *out = DT_F32;
    return 0;
}

PUBLIC int nun_merge(const char *folder, const struct nun_lora *loras, size_t n, const char *out)
{
    struct model *m;
    enum dtype dt = DT_F32;
    char path[4096];
    if (!folder || !out || !loras || !n)
        return err_set(NUN_EARG, "merge: expected a model, adapters and a new folder");
    TRY(path_join(path, sizeof path, out, "config.json"));
    if (file_exists(path))
        return err_set(NUN_EARG, "merge: %s: there is a model already", out);
    if (!file_is_dir(folder) || span_ends(span_str(out), span_str(".gguf")))
        return err_set(NUN_EUNSUP, "merge: %s: expected a model folder; nunchi convert makes one of a GGUF file, and a GGUF file of one",
                       file_is_dir(folder) ? out : folder);
    struct model_lora *list = mem_calloc(MEM_RUNTIME, n, sizeof *list);
    if (!list)
        return NUN_ENOMEM;
    for (size_t i = 0; i < n; i++)
        list[i] = (struct model_lora){loras[i].folder, loras[i].scale};
    int rc = model_load_with(folder, list, n, &m);
    mem_free(list);
    TRY(rc);
    rc = type_of(m, &dt);
    if (rc >= 0)
        rc = model_save(m, out, dt);
    if (rc >= 0)
        rc = copy_rest(folder, out);
    model_free(m);
    return rc;
}
