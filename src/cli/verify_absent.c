/* Stands in for nun_verify until the runtime has it. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "nunchi/verify.h"

__attribute__((weak)) int nun_verify(const char *folder, const struct nun_verify_options *options, struct nun_verify_summary *out)
{
    return err_set(NUN_EUNSUP, "verify: not in this build yet");
}
