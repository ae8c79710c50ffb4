/* Checkpoints of a run: weights, optimiser states, position and log, as files of one step. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "train/trainer.h"

#define BASE " base " /* in the facts of a checkpoint: the digest of weights that it does not have */

static int emit_weights(void *arg, struct sink *out)
{
    const struct trainer *t = arg;
    size_t n = 0;
    struct st_item *items = mem_calloc(MEM_TRAIN, (size_t)t->model->n_params, sizeof *items);
    if (!items)
        return NUN_ENOMEM;
    for (int i = 0; i < t->model->n_params; i++) {
        const struct g_param *p = t->model->params[i];
        if (p->grad) /* the others are where they came from, and the facts of the checkpoint say which they were */
            items[n++] = (struct st_item){.name = p->name, .dtype = DT_F32, .shape = p->shape, .data = p->data};
    }
    int rc = st_write_to(out, items, n, NULL);
    mem_free(items);
    return rc;
}

/* "<parameter>/<state>" for every state array. */
static int emit_states(void *arg, struct sink *out)
{
    const struct trainer *t = arg;
    struct arena names;
    arena_init(&names, MEM_TRAIN, 0);
    size_t n = 0;
    struct st_item *items = arena_array(&names, (size_t)t->optim->n * OPTIM_STATES, sizeof *items);
    int rc = items ? 0 : NUN_ENOMEM;
    for (int i = 0; rc >= 0 && i < t->optim->n; i++) {
        const struct optim_slot *s = &t->optim->slots[i];
        const struct optim_row *row = &optim_rows[s->kind];
        for (int k = 0; k < row->n_states; k++) {
            const char *name = arena_printf(&names, "%s/%s", s->param->name, row->state_names[k]);
            if (!name)
                rc = NUN_ENOMEM;
            items[n++] = (struct st_item){.name = name, .dtype = DT_F32, .shape = s->param->shape, .data = s->state[k]};
        }
    }
    if (rc >= 0)
        rc = st_write_to(out, items, n, NULL);
    arena_free(&names);
    return rc;
}

static int position_json(const struct trainer *t, struct buf *out)
{
    unsigned mark = json_mark();
    json_t *updates = json_array();
    for (int i = 0; i < t->optim->n; i++)
        json_array_append_new(updates, json_integer(t->optim->slots[i].updates));
    const struct train_effort *e = &t->effort;
    json_t *o = json_pack("{s:I,s:I,s:I,s:I,s:o,s:[f,f,f,f,f,f,f]}", "stage", (json_int_t)t->at.stage, "stage_step",
                          (json_int_t)t->at.stage_step, "step", (json_int_t)t->at.step, "seen", (json_int_t)t->at.seen, "updates", updates,
                          "effort", e->seconds, e->flops, e->rows, e->tokens, e->placeholders, e->side_rows, (double)e->memory);
    if (!o)
        return err_nomem(0);
    int rc = json_check(mark);
    if (rc >= 0)
        rc = json_write(o, JSON_PRETTY, out);
    json_decref(o);
    return rc;
}

int train_save(struct trainer *t)
{
    struct ckpt *c;
    struct buf text;
    uint64_t bytes = 1 << 20;
    for (int i = 0; i < t->optim->n; i++)
        bytes += t->optim->slots[i].count * 4 * 3;
    TRY(ckpt_begin(t->store, t->at.step, bytes, &c));
    buf_init(&text, MEM_TRAIN, 16u << 20);
    int rc = position_json(t, &text);
    if (rc >= 0)
        rc = ckpt_add_file(c, "model.safetensors", emit_weights, t);
    if (rc >= 0)
        rc = ckpt_add_file(c, "optimizer.safetensors", emit_states, t);
    if (rc >= 0)
        rc = ckpt_add_bytes(c, "position.json", text.ptr, text.len);
    if (rc >= 0)
        rc = ckpt_add_bytes(c, "log.jsonl", buf_cstr(&t->log), t->log.len);
    if (rc >= 0)
        rc = ckpt_add_bytes(c, "scores.jsonl", buf_cstr(&t->scores), t->scores.len);
    buf_free(&text);
    if (rc < 0) {
        ckpt_abort(c);
        return rc;
    }
    char facts[CKPT_TEXT];
    snprintf(facts, sizeof facts, "%.48s seed %llu" BASE "%s", t->recipe->name, (unsigned long long)t->recipe->seed, t->base);
    return ckpt_commit(c, &(struct ckpt_facts){.data_fingerprint = t->source.world.row ? t->source.world.row->name : "files", .config_hash = facts});
}

static int read_tensor(const struct safetensors *st, const char *name, const struct shape *shape, float *to)
{
    const struct st_tensor *x;
    size_t n;
    TRY(st_need(st, span_str(name), shape, &x));
    TRY(shape_count(shape, &n));
    return dtype_to_f32(x->dtype, x->data, to, n);
}

static int read_weights(struct trainer *t, const char *path)
{
    struct safetensors *st;
    TRY(st_open(path, &st));
    int rc = 0;
    for (int i = 0; rc >= 0 && i < t->model->n_params; i++) {
        struct g_param *p = t->model->params[i];
        if (p->grad)
            rc = read_tensor(st, p->name, &p->shape, (float *)(uintptr_t)p->data);
    }
    st_close(st);
    return rc;
}

static int read_states(struct trainer *t, const char *path)
{
    struct safetensors *st;
    TRY(st_open(path, &st));
    int rc = 0;
    char name[512];
    for (int i = 0; rc >= 0 && i < t->optim->n; i++) {
        struct optim_slot *s = &t->optim->slots[i];
        for (int k = 0; rc >= 0 && k < optim_rows[s->kind].n_states; k++) {
            snprintf(name, sizeof name, "%s/%s", s->param->name, optim_rows[s->kind].state_names[k]);
            rc = read_tensor(st, name, &s->param->shape, s->state[k]);
        }
    }
    st_close(st);
    return rc;
}

static int read_position(struct trainer *t, const char *path)
{
    json_t *o;
    TRY(json_load_file_limited(path, &o));
    int64_t stage = 0, stage_step = 0, step = 0, seen = 0;
    int rc = json_get_int(o, path, "stage", 0, 1000, &stage);
    if (rc >= 0)
        rc = json_get_int(o, path, "stage_step", 0, INT64_MAX, &stage_step);
    if (rc >= 0)
        rc = json_get_int(o, path, "step", 0, INT64_MAX, &step);
    if (rc >= 0)
        rc = json_get_int(o, path, "seen", 0, INT64_MAX, &seen);
    const json_t *updates = json_object_get(o, "updates");
    if (rc >= 0 && (int)json_array_size(updates) != t->optim->n)
        rc = err_set(NUN_EFORMAT, "%s: %zu update counts for %d parameters", path, json_array_size(updates), t->optim->n);
    for (int i = 0; rc >= 0 && i < t->optim->n; i++)
        t->optim->slots[i].updates = json_integer_value(json_array_get(updates, (size_t)i));
    const json_t *effort = json_object_get(o, "effort");
    double *parts[] = {&t->effort.seconds, &t->effort.flops, &t->effort.rows, &t->effort.tokens, &t->effort.placeholders,
                       &t->effort.side_rows};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        *parts[i] = json_number_value(json_array_get(effort, i));
    t->effort.memory = (uint64_t)json_number_value(json_array_get(effort, sizeof parts / sizeof parts[0]));
    json_decref(o);
    if (rc < 0)
        return rc;
    t->at = (struct train_position){(uint64_t)stage, (uint64_t)stage_step, (uint64_t)step, (uint64_t)seen};
    return 0;
}

int train_resume(struct trainer *t)
{
    struct ckpt_info info;
    char path[CKPT_PATH];
    int rc = ckpt_latest(t->store, &info);
    if (rc)
        return rc;
    const char *base = strstr(info.config_hash, BASE);
    if (base && strcmp(base + strlen(BASE), t->base))
        return err_set(NUN_EFORMAT, "%s: it was made over frozen weights of digest %s, here they are %s", info.path, base + strlen(BASE),
                       t->base);
    TRY(path_join(path, sizeof path, info.path, "model.safetensors"));
    TRY(read_weights(t, path));
    TRY(path_join(path, sizeof path, info.path, "optimizer.safetensors"));
    TRY(read_states(t, path));
    TRY(path_join(path, sizeof path, info.path, "log.jsonl"));
    buf_reset(&t->log);
    TRY(file_read(path, &t->log));
    TRY(path_join(path, sizeof path, info.path, "scores.jsonl"));
    buf_reset(&t->scores);
    if (file_exists(path))
        TRY(file_read(path, &t->scores));
    TRY(path_join(path, sizeof path, info.path, "position.json"));
    TRY(read_position(t, path));
    log_info("resumed from %s", info.path);
    return 0;
}
