/* quantization_config to the row of its method, and weights to the readers of quant_packed.c and
 * quant_scaled.c. How a weight is stored is seen by the parts that it has, so modules that were left in
 * full precision need no list. Activations stay float: a setting that would round them is left aside. */
/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/map.h"
#include "models/quant_int.h"

/* What the config says, before it is understood. */
struct raw_settings {
    const char *method, *format, *version, *four_type;
    int bits, group, block[2], n_block;
    bool zero_point, marlin;
    const json_t *groups, *kv_cache, *sparsity, *transform, *dynamic;
};

struct quant_row {
    const char *method;
    const struct json_field *fields;
    size_t n_fields;
    const char *const *ignore;
    int (*settle)(const struct raw_settings *raw, const json_t *root, const char *place, struct quant_settings *s);
    const struct quant_form *const *forms; /* NULL-terminated */
};

struct quant_folder {
    const struct safetensors *st;
    const struct quant_row *row;     /* NULL: nothing is quantised */
    struct quant_settings s;
    struct arena *arena;
    struct map decoded;              /* name -> const struct st_tensor * */
};

/* ---- settings ----------------------------------------------------------------------------------------------- */

#define RAW(key, kind, member, lo, hi, def) \
    {key, kind, offsetof(struct raw_settings, member), false, lo, hi, def, NULL, NULL, 0, 0}
#define RAW_TEXT(key, member) RAW(key, JSON_KIND_STRING, member, 0, 0, 0)
#define RAW_NODE(key, member) RAW(key, JSON_KIND_NODE, member, 0, 0, 0)
#define ROWS_OF(table) table, sizeof(table) / sizeof(table)[0]
#define PLACE_KEY "quantization_config"

static int unsupported(const char *place, const char *key, const char *value)
{
    return err_set(NUN_EUNSUP, "%s: " PLACE_KEY ".%s: %s is not supported", place, key, value);
}

/* Keys that would change the arithmetic must be absent, null or empty. */
static int refuse_node(const char *place, const char *key, const json_t *v)
{
    bool empty = !v || json_is_null(v) || json_is_false(v) || (json_is_object(v) && !json_object_size(v)) ||
                 (json_is_array(v) && !json_array_size(v));
    return empty ? 0 : unsupported(place, key, "this setting");
}

/* bits that fill words; a group of -1 is all inputs */
static int settle_bits(const struct raw_settings *raw, const char *place, struct quant_settings *s)
{
    if (raw->bits != 2 && raw->bits != 3 && raw->bits != 4 && raw->bits != 8)
        return err_set(NUN_EUNSUP, "%s: " PLACE_KEY ": expected 2, 3, 4 or 8 bits, found %d", place, raw->bits);
    s->bits = raw->bits;
    s->group = raw->group < 1 ? 0 : raw->group;
    return 0;
}

static const struct json_field gptq_fields[] = {
    RAW_TEXT("quant_method", method), RAW_TEXT("checkpoint_format|format", format),
    RAW("bits", JSON_KIND_INT, bits, 1, 16, 4), RAW("group_size", JSON_KIND_INT, group, -1, 1 << 24, 128),
    RAW("is_marlin_format", JSON_KIND_BOOL, marlin, 0, 0, false), RAW_NODE("dynamic", dynamic),
};
static const char *const gptq_ignore[] = {
    "desc_act", "sym", "damp_percent", "damp_auto_increment", "static_groups", "true_sequential", "model_name_or_path",
    "model_file_base_name", "lm_head", "meta", "quantizer", "use_exllama", "disable_exllama", "exllama_config", "use_cuda_fp16",
    "cache_block_outputs", "model_seqlen", "block_name_to_quantize", "module_name_preceding_first_block", "batch_size",
    "pad_token_id", "tokenizer", "dataset", "max_input_length", "modules_in_block_to_quantize", "backend", "pack_dtype", NULL};

static int gptq_settle(const struct raw_settings *raw, const json_t *root, const char *place, struct quant_settings *s)
{
    bool v1 = !raw->format || !strcmp(raw->format, "gptq");
    if ((!v1 && strcmp(raw->format, "gptq_v2")) || raw->marlin)
        return unsupported(place, "checkpoint_format", raw->marlin ? "marlin" : raw->format);
    TRY(refuse_node(place, "dynamic", raw->dynamic));
    s->zero_shift = v1;
    return settle_bits(raw, place, s);
}

static const struct json_field awq_fields[] = {
    RAW_TEXT("quant_method", method), RAW_TEXT("version", version), RAW("bits|w_bit", JSON_KIND_INT, bits, 1, 16, 4),
    RAW("group_size|q_group_size", JSON_KIND_INT, group, -1, 1 << 24, 128),
    RAW("zero_point", JSON_KIND_BOOL, zero_point, 0, 0, true),
};
static const char *const awq_ignore[] = {"modules_to_not_convert", "backend", "do_fuse", "fuse_max_seq_len", "modules_to_fuse",
                                         "exllama_config", NULL};

static int awq_settle(const struct raw_settings *raw, const json_t *root, const char *place, struct quant_settings *s)
{
    if (raw->version && strcasecmp(raw->version, "gemm"))
        return unsupported(place, "version", raw->version);
    if (raw->bits != 4 || !raw->zero_point)
        return unsupported(place, raw->bits != 4 ? "bits" : "zero_point", raw->bits != 4 ? "anything but 4" : "false");
    return settle_bits(raw, place, s);
}

static const struct json_field bnb_fields[] = {RAW_TEXT("quant_method", method), RAW_TEXT("bnb_4bit_quant_type", four_type)};
static const char *const bnb_ignore[] = {"_load_in_4bit", "_load_in_8bit", "load_in_4bit", "load_in_8bit", "bnb_4bit_compute_dtype",
                                         "bnb_4bit_quant_storage", "bnb_4bit_use_double_quant", "llm_int8_*", NULL};

static int bnb_settle(const struct raw_settings *raw, const json_t *root, const char *place, struct quant_settings *s)
{
    if (raw->four_type && strcmp(raw->four_type, "nf4") && strcmp(raw->four_type, "fp4"))
        return unsupported(place, "bnb_4bit_quant_type", raw->four_type);
    return 0;
}

static const struct json_field fp8_fields[] = {
    RAW_TEXT("quant_method", method), RAW_TEXT("fmt", format),
    {"weight_block_size", JSON_KIND_INTS, offsetof(struct raw_settings, block), false, 1, 1 << 20, 0, NULL, NULL,
     offsetof(struct raw_settings, n_block), 2},
};
static const char *const fp8_ignore[] = {"activation_scheme", "modules_to_not_convert", "ignored_layers", NULL};

static int fp8_settle(const struct raw_settings *raw, const json_t *root, const char *place, struct quant_settings *s)
{
    if (raw->format && strcmp(raw->format, "e4m3"))
        return unsupported(place, "fmt", raw->format);
    if (raw->n_block == 1)
        return unsupported(place, "weight_block_size", "one number");
    memcpy(s->block, raw->block, sizeof s->block);
    return 0;
}

static const struct json_field mxfp4_fields[] = {RAW_TEXT("quant_method", method)};
static const char *const mxfp4_ignore[] = {"modules_to_not_convert", NULL};

static int mxfp4_settle(const struct raw_settings *raw, const json_t *root, const char *place, struct quant_settings *s)
{
    return 0;
}

/* compressed-tensors: config_groups.NAME.weights, the same in every group. */
static const struct json_field ct_fields[] = {
    RAW_TEXT("quant_method", method), RAW_TEXT("format", format), RAW_NODE("config_groups", groups),
    RAW_NODE("kv_cache_scheme", kv_cache), RAW_NODE("sparsity_config", sparsity), RAW_NODE("transform_config", transform),
};
static const char *const ct_ignore[] = {"quantization_status", "global_compression_ratio", "ignore", "version", NULL};

struct ct_weights { int bits, group; const char *type, *strategy; int block[2], n_block; bool symmetric; };
#define CT(key, kind, member, lo, hi, def) {key, kind, offsetof(struct ct_weights, member), false, lo, hi, def, NULL, NULL, 0, 0}
static const struct json_field ct_weight_fields[] = {
    CT("num_bits", JSON_KIND_INT, bits, 1, 16, 8), CT("type", JSON_KIND_STRING, type, 0, 0, 0),
    CT("strategy", JSON_KIND_STRING, strategy, 0, 0, 0), CT("group_size", JSON_KIND_INT, group, -1, 1 << 24, 0),
    CT("symmetric", JSON_KIND_BOOL, symmetric, 0, 0, true),
    {"block_structure", JSON_KIND_INTS, offsetof(struct ct_weights, block), false, 1, 1 << 20, 0, NULL, NULL,
     offsetof(struct ct_weights, n_block), 2},
};
static const char *const ct_weight_ignore[] = {"dynamic", "actorder", "observer", "observer_kwargs", "scale_dtype", "zp_dtype", NULL};

static int ct_group(const struct ct_weights *w, const char *place, bool packed, struct quant_settings *s)
{
    static const char *const strategies[] = {"tensor", "channel", "group", "block", NULL};
    int known = 0;
    while (w->strategy && strategies[known] && strcmp(strategies[known], w->strategy))
        known++;
    if (!w->strategy || !strategies[known])
        return unsupported(place, "config_groups.weights.strategy", w->strategy ? w->strategy : "none");
    if (packed && ((w->bits != 2 && w->bits != 4 && w->bits != 8) || (w->type && strcmp(w->type, "int"))))
        return unsupported(place, "config_groups.weights.num_bits", "anything but integers of 2, 4 or 8 bits");
    if (!packed && w->bits != 8)
        return unsupported(place, "config_groups.weights.num_bits", "anything but 8");
    *s = (struct quant_settings){.bits = w->bits, .group = !strcmp(w->strategy, "group") && w->group > 0 ? w->group : 0};
    if (!strcmp(w->strategy, "block"))
        memcpy(s->block, w->block, sizeof s->block);
    if (!packed && s->group)
        s->block[0] = 1, s->block[1] = s->group;
    return 0;
}

static int ct_settle(const struct raw_settings *raw, const json_t *root, const char *place, struct quant_settings *s)
{
    static const char *const formats[] = {"pack-quantized", "float-quantized", "int-quantized", "naive-quantized", NULL};
    const struct json_unknown unknown = {.strict = true, .ignore = ct_weight_ignore};
    const char *name;
    json_t *group;
    int known = 0;
    while (raw->format && formats[known] && strcmp(formats[known], raw->format))
        known++;
    if (!raw->format || !formats[known])
        return unsupported(place, "format", raw->format ? raw->format : "none");
    TRY(refuse_node(place, "kv_cache_scheme", raw->kv_cache));
    TRY(refuse_node(place, "transform_config", raw->transform));
    const char *sparse = json_string_value(json_object_get(raw->sparsity, "format"));
    if (sparse && strcmp(sparse, "dense"))
        return unsupported(place, "sparsity_config.format", sparse);
    if (!json_object_size(raw->groups))
        return unsupported(place, "config_groups", "no group");
    struct quant_settings first = {0};
    json_object_foreach((json_t *)(uintptr_t)raw->groups, name, group) {
        struct ct_weights w = {0};
        TRY(json_read(group, place, "weights", ROWS_OF(ct_weight_fields), &w, &unknown));
        TRY(ct_group(&w, place, known == 0, s));
        if (first.bits && memcmp(&first, s, sizeof first))
            return unsupported(place, "config_groups", "more than one way of storing weights");
        first = *s;
    }
    return 0;
}

static const struct quant_form *const gptq_forms[] = {&quant_gptq, NULL}, *const awq_forms[] = {&quant_awq, NULL};
static const struct quant_form *const bnb_forms[] = {&quant_bnb_nf4, &quant_bnb_fp4, &quant_bnb_int8, NULL};
static const struct quant_form *const ct_forms[] = {&quant_ct_pack, &quant_scale, NULL};
static const struct quant_form *const fp8_forms[] = {&quant_scale_inv, &quant_scale, NULL};
static const struct quant_form *const mxfp4_forms[] = {&quant_mxfp4, NULL};

static const struct quant_row quant_rows[] = {
    {"gptq", ROWS_OF(gptq_fields), gptq_ignore, gptq_settle, gptq_forms},
    {"awq", ROWS_OF(awq_fields), awq_ignore, awq_settle, awq_forms},
    {"bitsandbytes", ROWS_OF(bnb_fields), bnb_ignore, bnb_settle, bnb_forms},
    {"compressed-tensors", ROWS_OF(ct_fields), ct_ignore, ct_settle, ct_forms},
    {"fp8", ROWS_OF(fp8_fields), fp8_ignore, fp8_settle, fp8_forms},
    {"mxfp4", ROWS_OF(mxfp4_fields), mxfp4_ignore, mxfp4_settle, mxfp4_forms},
};

static int find_row(const json_t *config, const char *place, const struct quant_row **out)
{
    const char *method = json_string_value(json_dig(config, PLACE_KEY ".quant_method"));
    for (size_t i = 0; method && i < sizeof quant_rows / sizeof quant_rows[0]; i++)
        if (!strcmp(quant_rows[i].method, method)) {
            *out = &quant_rows[i];
            return 0;
        }
    return method ? unsupported(place, "quant_method", method) : json_missing(place, PLACE_KEY ".quant_method");
}

static int read_settings(struct quant_folder *q, const json_t *config, const char *place)
{
    const json_t *node = NULL;
    struct raw_settings raw = {0};
    int rc = json_get_object(config, place, PLACE_KEY, &node);
    if (rc)
        return rc < 0 ? rc : 0;
    TRY(find_row(config, place, &q->row));
    const struct json_unknown unknown = {.strict = true, .ignore = q->row->ignore};
    TRY(json_read(config, place, PLACE_KEY, q->row->fields, q->row->n_fields, &raw, &unknown));
    return q->row->settle(&raw, config, place, &q->s);
}

int quant_folder_open(const json_t *config, const char *place, const struct safetensors *st, struct arena *arena,
                      struct quant_folder **out)
{
    struct quant_folder *q = arena_alloc(arena, sizeof *q);
    if (!q)
        return NUN_ENOMEM;
    *q = (struct quant_folder){.st = st, .arena = arena};
    map_init(&q->decoded, MEM_MODEL);
    TRY(read_settings(q, config, place));
    *out = q;
    return 0;
}

void quant_folder_close(struct quant_folder *q)
{
    if (q)
        map_free(&q->decoded);
}

/* ---- parts --------------------------------------------------------------------------------------------------- */

enum { NAME_BYTES = 512 };

/* NULL when it would be too long to be in a file */
static const char *part_name(const char *stem, const char *tail, char out[NAME_BYTES])
{
    size_t a = strlen(stem), b = strlen(tail);
    if (a + b >= NAME_BYTES)
        return NULL;
    memcpy(out, stem, a);
    memcpy(out + a, tail, b + 1);
    return out;
}

bool quant_has_part(const struct quant_job *j, const char *tail)
{
    char name[NAME_BYTES];
    return part_name(j->stem, tail, name) && st_find(j->st, span_str(name));
}

int quant_refuse(const struct quant_job *j, const char *tail, const char *why)
{
    return err_set(NUN_EFORMAT, "%s: %s%s: %s", st_path(j->st), j->stem, tail, why);
}

int quant_part(const struct quant_job *j, const char *tail, enum dtype dt, const struct shape *shape,
               const struct st_tensor **out)
{
    char name[NAME_BYTES];
    const struct st_tensor *t;
    if (!part_name(j->stem, tail, name))
        return quant_refuse(j, tail, "the name is too long");
    TRY(st_need(j->st, span_str(name), shape, &t));
    if (dt != DT_COUNT && t->dtype != dt)
        return err_set(NUN_EFORMAT, "%s: %s: expected %s, file has %s", st_path(j->st), name, dtype_name(dt), dtype_name(t->dtype));
    if (!t->bytes)
        return quant_refuse(j, tail, "empty");
    *out = t;
    return 0;
}

int quant_floats(const struct quant_job *j, const char *tail, const struct shape *shape, const float **out)
{
    const struct st_tensor *t;
    size_t n = 0;
    TRY(quant_part(j, tail, DT_COUNT, shape, &t));
    TRY(shape_count(&t->shape, &n));
    float *v = arena_array(j->scratch, n, sizeof *v);
    if (!v)
        return NUN_ENOMEM;
    *out = v;
    return dtype_to_f32(t->dtype, t->data, v, n);
}

int quant_ints(const struct quant_job *j, const char *tail, int64_t count, const int32_t **out)
{
    const struct st_tensor *t;
    TRY(quant_part(j, tail, DT_I32, &SHAPE1(count), &t));
    int32_t *v = arena_array(j->scratch, (size_t)count, sizeof *v);
    if (!v)
        return NUN_ENOMEM;
    memcpy(v, t->data, t->bytes);
    *out = v;
    return 0;
}

/* ---- weights ------------------------------------------------------------------------------------------------- */

/* The form that this weight has in the file, and the stem of its parts; NULL: it is stored plainly. */
static const struct quant_form *form_of(const struct quant_folder *q, struct span name, char stem[NAME_BYTES])
{
    char full[NAME_BYTES];
    for (const struct quant_form *const *f = q->row ? q->row->forms : NULL; f && *f; f++) {
        size_t keep = name.len;
        if (!(*f)->whole && !span_ends(name, SPAN(".weight")))
            continue;
        if (!(*f)->whole)
            keep -= strlen("weight");
        if (keep >= NAME_BYTES)
            continue;
        memcpy(stem, name.ptr, keep);
        stem[keep] = 0;
        if (part_name(stem, (*f)->marker, full) && st_find(q->st, span_str(full)))
            return *f;
    }
    return NULL;
}

bool quant_folder_has(const struct quant_folder *q, struct span name)
{
    char stem[NAME_BYTES];
    return st_find(q->st, name) || form_of(q, name, stem);
}

/* Integers alone mean nothing, and nor do 8-bit floats whose scale was left out. */
static int plain_need(const struct quant_folder *q, struct span name, const struct shape *shape, const struct st_tensor **out)
{
    const struct st_tensor *t;
    TRY(st_need(q->st, name, shape, &t));
    bool eight = t->dtype == DT_F8_E4M3 || t->dtype == DT_F8_E5M2;
    bool blocks = dtype_table[t->dtype].block_values > 1; /* of a GGUF file, which say what they mean */
    if (!blocks && t->dtype != DT_F32 && t->dtype != DT_F16 && t->dtype != DT_BF16 && t->dtype != DT_F64 && (!eight || q->row))
        return err_set(NUN_EFORMAT, "%s: %s: expected floats, file has %s%s", st_path(q->st), t->name, dtype_name(t->dtype),
                       q->row ? " without the parts that its method needs" : ", and no " PLACE_KEY " says what they mean");
    *out = t;
    return 0;
}

static int decode(struct quant_folder *q, const struct quant_form *form, struct quant_job *j, const struct shape *shape,
                  const struct st_tensor **out)
{
    char want[SHAPE_TEXT], have[SHAPE_TEXT];
    size_t n = 0;
    TRY(form->size(j));
    if (shape && !shape_eq(shape, &j->shape))
        return err_set(NUN_EFORMAT, "%s: tensor \"%s\": expected %s, file has %s", st_path(q->st), j->name,
                       shape_format(shape, want), shape_format(&j->shape, have));
    TRY(shape_count(&j->shape, &n));
    struct st_tensor *t = arena_alloc(q->arena, sizeof *t);
    j->out = arena_array(q->arena, n, sizeof *j->out);
    if (!t || !j->out)
        return NUN_ENOMEM;
    TRY(form->decode(j));
    *t = (struct st_tensor){j->name, DT_F32, j->shape, j->out, n * sizeof *j->out};
    *out = t;
    return map_put(&q->decoded, span_str(t->name), (int64_t)(intptr_t)t, NULL);
}

int quant_folder_need(struct quant_folder *q, struct span name, const struct shape *shape, const struct st_tensor **out)
{
    char stem[NAME_BYTES];
    int64_t known;
    const struct quant_form *form = form_of(q, name, stem);
    if (!form)
        return plain_need(q, name, shape, out);
    if (map_get(&q->decoded, name, &known) && (!shape || shape_eq(shape, &((const struct st_tensor *)(intptr_t)known)->shape))) {
        *out = (const struct st_tensor *)(intptr_t)known;
        return 0;
    }
    struct arena scratch;
    arena_init(&scratch, MEM_MODEL, 0);
    struct quant_job j = {.st = q->st, .s = &q->s, .stem = stem, .scratch = &scratch};
    j.name = arena_strndup(q->arena, name.ptr, name.len);
    int rc = j.name ? decode(q, form, &j, shape, out) : NUN_ENOMEM;
    arena_free(&scratch);
    return rc < 0 ? rc : 0;
}

/* Biases that old writers left as zeros beside every quantised matrix. */
static bool zero_bias(const struct quant_folder *q, const char *name)
{
    const struct st_tensor *t = st_find(q->st, span_str(name));
    const char *at = t ? t->data : NULL;
    size_t n = 0;
    while (t && n < t->bytes && !at[n])
        n++;
    return t && n == t->bytes;
}

bool quant_folder_part(const struct quant_folder *q, const char *name)
{
    char weight[NAME_BYTES];
    int64_t known;
    struct span s = span_str(name);
    for (const struct quant_form *const *f = q->row ? q->row->forms : NULL; f && *f; f++)
        for (const char *const *p = (*f)->parts; *p; p++) {
            if (!span_ends(s, span_str(*p)) || s.len >= NAME_BYTES - sizeof "weight")
                continue;
            size_t keep = s.len - strlen(*p);
            memcpy(weight, name, keep);
            memcpy(weight + keep, "weight", sizeof "weight");
            weight[(*f)->whole ? keep : keep + strlen("weight")] = 0;
            if (map_get(&q->decoded, span_str(weight), &known))
                return true;
        }
    if (!span_ends(s, SPAN(".bias")) || s.len >= NAME_BYTES - sizeof "weight")
        return false;
    memcpy(weight, name, s.len - strlen("bias"));
    memcpy(weight + s.len - strlen("bias"), "weight", sizeof "weight");
    return map_get(&q->decoded, span_str(weight), &known) && zero_bias(q, name);
}
