/* What families with recurrent layers share: weight rows, and sizes derived and checked. Included by stack_mamba.c,
 * stack_jamba.c, stack_zamba.c, stack_griffin.c and stack_rwkv.c. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_SSM_ROWS_H
#define MODELS_SSM_ROWS_H
#include "models/decoder_rows.h"

/* Positions that a purely recurrent model reaches: its state has one size for all. */
enum { SSM_POSITIONS = 1 << 20 };

/* Mamba, tensors under p, in layers of `where`. */
#define ROWS_MAMBA(p, where)                                                   \
    {NN_ssm_in_w, p "in_proj.weight", .in = where},                            \
    {NN_ssm_in_b, p "in_proj.bias", W_SSM_BIAS, .in = where},                  \
    {NN_conv_w, p "conv1d.weight", .in = where},                               \
    {NN_conv_b, p "conv1d.bias", W_CONV_BIAS, .in = where},                    \
    {NN_ssm_x_w, p "x_proj.weight", .in = where},                              \
    {NN_ssm_dt_w, p "dt_proj.weight", .in = where},                            \
    {NN_ssm_dt_b, p "dt_proj.bias", .in = where},                              \
    {NN_ssm_a, p "A_log", .in = where},                                        \
    {NN_ssm_d, p "D", .in = where},                                            \
    {NN_ssm_out_w, p "out_proj.weight", .in = where},                          \
    {NN_ssm_out_b, p "out_proj.bias", W_SSM_BIAS, .in = where}

/* Mamba-2. */
#define ROWS_MAMBA2(p, where)                                                  \
    {NN_ssm_in_w, p "in_proj.weight", .shape = "zH", .in = where},             \
    {NN_ssm_in_b, p "in_proj.bias", W_SSM_BIAS, .shape = "z", .in = where},    \
    {NN_conv_w, p "conv1d.weight", .shape = "y1k", .in = where},               \
    {NN_conv_b, p "conv1d.bias", W_CONV_BIAS, .shape = "y", .in = where},      \
    {NN_ssm_dt_b, p "dt_bias", .shape = "d", .in = where},                     \
    {NN_ssm_a, p "A_log", .shape = "d", .in = where},                          \
    {NN_ssm_d, p "D", .shape = "d", .in = where},                              \
    {NN_ssm_norm_w, p "norm.weight", W_SSM_NORM, .in = where},                 \
    {NN_ssm_out_w, p "out_proj.weight", .in = where},                          \
    {NN_ssm_out_b, p "out_proj.bias", W_SSM_BIAS, .in = where}

/* inner = config[key], or hidden times config[expand] where that is absent or null. */
int ssm_inner(const struct stack_read *r, const char *key, const char *expand, int64_t def);
/* rank = config[key]: a number, or "auto": hidden / 16, rounded up. */
int ssm_rank(const struct stack_read *r, const char *key);
/* Heads, groups and config[key], the width of a head (a number, "auto" or absent), fit inner; step sizes are limited
 * as time_step_limit says. */
int ssm_heads(const struct stack_read *r, const char *key);

#endif
