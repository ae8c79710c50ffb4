/* Writing models: config.json and model.safetensors, tensors as the family's tables name and lay them out. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/map.h"
#include "models/loader.h"

/* One tensor of the file. */
struct emission { const struct model *m; const struct model_piece *first; enum dtype dt; };

static int emit_floats(const struct emission *e, struct sink *out, float *v, void *o, size_t n)
{
    struct shape shape;
    size_t bytes;
    TRY(model_gather(e->m, e->first->name, false, &shape, v));
    TRY(dtype_from_f32(e->dt, v, o, n));
    TRY(dtype_bytes(e->dt, n, &bytes));
    sink_write(out, o, bytes);
    return out->error;
}

static int emit_tensor(void *arg, struct sink *out)
{
    const struct emission *e = arg;
    const struct g_param *p = e->first->p;
    size_t n, bytes;
    TRY(shape_count(&e->first->shape, &n));
    if (p->dt == e->dt && shape_eq(&p->shape, &e->first->shape) && model_piece_run(e->first) == 0) {
        TRY(dtype_bytes(e->dt, n, &bytes));
        sink_write(out, p->data, bytes);
        return out->error;
    }
    float *v = mem_calloc(MEM_MODEL, n ? n : 1, sizeof *v);
    void *o = mem_calloc(MEM_MODEL, n ? n : 1, 4);
    int rc = v && o ? emit_floats(e, out, v, o, n) : NUN_ENOMEM;
    mem_free(v);
    mem_free(o);
    return rc;
}

static int write_config(const struct model *m, const char *folder, enum dtype dt)
{
    char path[4096];
    unsigned mark = json_mark();
    json_t *config = json_copy(m->config);
    json_object_del(config, "torch_dtype");
    json_object_del(config, "quantization_config"); /* what is written is whole */
    const char *torch = dt == DT_BF16 ? "bfloat16" : dt == DT_F16 ? "float16" : "float32";
    json_object_set_new(config, "dtype", json_string(torch));
    int rc = json_check(mark);
    if (rc >= 0)
        rc = path_join(path, sizeof path, folder, "config.json");
    if (rc >= 0)
        rc = json_write_file(path, config);
    json_decref(config);
    return rc;
}

/* The tensors of the file, each once, in the order of the tables. */
static int list_tensors(const struct model *m, enum dtype dt, struct st_item *items, struct emission *em, size_t *n)
{
    struct map names;
    map_init(&names, MEM_MODEL);
    int rc = 0;
    for (int i = 0; rc >= 0 && i < m->n_pieces; i++) {
        const struct model_piece *k = &m->pieces[i];
        int64_t at;
        if (map_get(&names, span_str(k->name), &at))
            continue;
        em[*n] = (struct emission){m, k, dt};
        items[*n] = (struct st_item){k->name, dt, k->shape, NULL, emit_tensor, &em[*n]};
        rc = map_put(&names, span_str(k->name), (int64_t)(*n)++, NULL);
    }
    map_free(&names);
    return rc < 0 ? rc : 0;
}

int model_save(const struct model *m, const char *folder, enum dtype dt)
{
    char path[4096];
    size_t n = 0, most = (size_t)m->n_pieces;
    TRY(file_mkdirs(folder));
    TRY(write_config(m, folder, dt));
    TRY(path_join(path, sizeof path, folder, "model.safetensors"));
    struct st_item *items = mem_calloc(MEM_MODEL, most, sizeof *items);
    struct emission *em = mem_calloc(MEM_MODEL, most, sizeof *em);
    int rc = items && em ? list_tensors(m, dt, items, em, &n) : NUN_ENOMEM;
    if (rc >= 0)
        rc = st_write(path, items, n, NULL);
    mem_free(items);
    mem_free(em);
    return rc;
}
