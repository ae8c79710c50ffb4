/* Weight rows that families with experts spell alike. Included by stack_*.c only. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_EXPERT_ROWS_H
#define MODELS_EXPERT_ROWS_H
#include "models/decoder_rows.h"

/* The MLP of layers that are no mixtures. */
#define ROWS_DENSE(p)                                                          \
    {NN_gate_w, p "gate_proj.weight", .in = IN_CHANNEL(mlp)},                  \
    {NN_up_w, p "up_proj.weight", .in = IN_CHANNEL(mlp)},                      \
    {NN_down_w, p "down_proj.weight", .in = IN_CHANNEL(mlp)}

/* A router, and a tensor for each expert. */
#define ROWS_EXPERTS(p, gate, up, down)                                                  \
    {NN_router_w, p "gate.weight", .in = IN_CHANNEL(moe)},                               \
    {NN_expert_gate_w, p "experts.%e." gate ".weight", .in = IN_CHANNEL(moe)},           \
    {NN_expert_up_w, p "experts.%e." up ".weight", .in = IN_CHANNEL(moe)},               \
    {NN_expert_down_w, p "experts.%e." down ".weight", .in = IN_CHANNEL(moe)}
#define ROWS_EXPERT_PROJ(p) ROWS_EXPERTS(p, "gate_proj", "up_proj", "down_proj")

#define ROWS_SHARED(p, when)                                                   \
    {NN_shared_gate_w, p "gate_proj.weight", when, .in = IN_CHANNEL(moe)},     \
    {NN_shared_up_w, p "up_proj.weight", when, .in = IN_CHANNEL(moe)},         \
    {NN_shared_down_w, p "down_proj.weight", when, .in = IN_CHANNEL(moe)}

#endif
