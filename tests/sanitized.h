/* What sanitizers cost: their checks take time, and the red zones in their frames take stack. Bounds in tests are for
 * the build without them and are multiplied with these. */
/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SANITIZED_H
#define TESTS_SANITIZED_H

#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED_TIME = 12, SANITIZED_STACK = 4 };
#else
enum { SANITIZED_TIME = 1, SANITIZED_STACK = 1 };
#endif
enum { SMALL_STACK = (256 << 10) * SANITIZED_STACK }; /* where whatever reads input must get by */

#endif
