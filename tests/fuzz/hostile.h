/* Whether one fuzz target ends in time and memory linear in what it is fed, on a small stack: see hostile.c. */
/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FUZZ_HOSTILE_H
#define TESTS_FUZZ_HOSTILE_H

/* Every row of hostile.def for this parser; 0 when all held and there was one. */
int hostile_run(const char *parser);

#endif
