/* nunchi inspect: what a model folder or file holds: facts, a table of tensors, memory. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <string.h>

#include "cli/cli.h"
#include "nunchi/nunchi.h"
#include "nunchi/tools.h"

static const char *text_of(const json_t *root, const char *key)
{
    const char *s = json_string_value(json_object_get(root, key));
    return s ? s : "?";
}

static double number_of(const json_t *root, const char *key)
{
    return json_number_value(json_object_get(root, key));
}

static const char *shape_text(const json_t *shape, char *out, size_t cap)
{
    size_t n = 0;
    int at = snprintf(out, cap, "[");
    for (; n < json_array_size(shape) && at < (int)cap; n++)
        at += snprintf(out + at, cap - (size_t)at, "%s%" JSON_INTEGER_FORMAT, n ? ", " : "",
                       json_integer_value(json_array_get(shape, n)));
    if (at < (int)cap)
        snprintf(out + at, cap - (size_t)at, "]");
    return out;
}

/* Scalars of a config, one a line; objects inside by their dotted path. */
static void print_config(const json_t *object, const char *prefix, int depth)
{
    enum { DEPTH_MAX = 8 };
    const char *key;
    json_t *value;
    char path[512];
    if (depth > DEPTH_MAX)
        return;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        if (snprintf(path, sizeof path, "%s%s%s", prefix, *prefix ? "." : "", key) >= (int)sizeof path)
            continue;
        if (json_is_object(value)) {
            print_config(value, path, depth + 1);
            continue;
        }
        printf("  %-44s ", path);
        json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
        putchar('\n');
    }
}

static void print_facts(const json_t *root)
{
    char size[32];
    const char *name;
    json_t *bytes;
    printf("%s: %s, %s\n", text_of(root, "path"), text_of(root, "format"), text_of(root, "architecture"));
    printf("%.0f parameters in %zu tensors, %s\n", number_of(root, "parameters"),
           json_array_size(json_object_get(root, "tensors")), term_bytes(number_of(root, "bytes"), size));
    json_object_foreach(json_object_get(root, "dtypes"), name, bytes)
        printf("  %-8s %s\n", name, term_bytes(json_number_value(bytes), size));
}

static void print_tensors(const json_t *list)
{
    char shape[256], size[32];
    size_t i;
    json_t *t;
    printf("\n%-72s %-8s %-22s %10s\n", "tensor", "dtype", "shape", "bytes");
    json_array_foreach((json_t *)(uintptr_t)list, i, t)
        printf("%-72s %-8s %-22s %10s\n", text_of(t, "name"), text_of(t, "dtype"),
               shape_text(json_object_get(t, "shape"), shape, sizeof shape), term_bytes(number_of(t, "bytes"), size));
}

/* What running it takes, where this build can open it. */
static json_t *memory_of(struct cli *c, const char *path)
{
    struct nun_model_options o = {.threads = cli_int(c, OPT_threads), .compute = (enum nun_compute)cli_int(c, OPT_compute),
                                  .context = cli_int(c, OPT_ctx_size), .facts_only = true};
    struct nun_model *m;
    struct nun_model_info info;
    ask_cache(c, &o);
    if (nun_model_open(path, &o, &m) < 0)
        return json_pack("{s:b, s:s}", "runs", 0, "why", nun_error());
    nun_model_info(m, &info);
    json_int_t state = (json_int_t)info.state_bytes_per_token;
    json_t *out = json_pack("{s:b, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I}", "runs", 1, "context", info.context,
                            "layers", info.layers, "hidden", info.hidden, "image_tokens", info.image_tokens,
                            "image_size", info.image_size, "weight_bytes", (json_int_t)info.weight_bytes,
                            "prepared_bytes", (json_int_t)info.prepared_bytes,
                            "state_bytes_per_token", state, "state_bytes_full_context", state * info.context);
    nun_model_close(m);
    return out;
}

static void print_memory(const json_t *memory)
{
    char weights[32], prepared[32], token[32], whole[32];
    double state = number_of(memory, "state_bytes_per_token"), full = number_of(memory, "state_bytes_full_context");
    if (!json_is_true(json_object_get(memory, "runs"))) {
        printf("not run by this build: %s\n", text_of(memory, "why"));
        return;
    }
    printf("memory: weights %s in the file, %s as they are computed with; state %s a token, %s for a context of %.0f\n",
           term_bytes(number_of(memory, "weight_bytes"), weights), term_bytes(number_of(memory, "prepared_bytes"), prepared),
           term_bytes(state, token), term_bytes(full, whole), number_of(memory, "context"));
    if (number_of(memory, "image_tokens") > 0)
        printf("pictures: %.0f x %.0f pixels, %.0f tokens each\n", number_of(memory, "image_size"),
               number_of(memory, "image_size"), number_of(memory, "image_tokens"));
}

static int show(struct cli *c, const char *path)
{
    char *text;
    size_t len;
    TRY(nun_inspect(path, &text, &len));
    json_t *root = json_loadb(text, len, 0, NULL);
    nun_free(text);
    if (!root)
        return err_set(NUN_ENOMEM, "inspect: %s: too large to show", path);
    bool adapter = !strcmp(text_of(root, "format"), "adapter");
    json_t *memory = adapter ? json_null() : memory_of(c, path);
    if (c->json) {
        json_object_set(root, "memory", memory);
        cli_print_json(json_incref(root), true);
    } else {
        print_facts(root);
        if (adapter)
            printf("goes on top of %s: --lora %s, or nunchi merge\n",
                   text_of(json_object_get(root, "config"), "base_model_name_or_path"), path);
        else
            print_memory(memory);
        puts("\nconfig");
        print_config(json_object_get(root, "config"), "", 0);
        print_tensors(json_object_get(root, "tensors"));
    }
    json_decref(memory);
    json_decref(root);
    return 0;
}

int cmd_inspect(struct cli *c)
{
    const char *path;
    TRY(cli_model(c, &path));
    TRY(cli_no_more_words(c));
    if (!cli_text(c, OPT_dump_tensors))
        return show(c, path);
    TRY(nun_dump_tensors(path, cli_text(c, OPT_dump_tensors)));
    if (c->json)
        cli_print_json(json_pack("{s:s}", "written", cli_text(c, OPT_dump_tensors)), false);
    else
        cli_say(c, "%s written\n", cli_text(c, OPT_dump_tensors));
    return 0;
}
