/* How much memory this process may still take: asked before large reservations, since the kernel grants
 * more than there is and kills later. */
/* SPDX-License-Identifier: MIT */
#ifndef BASE_AVAILABLE_H
#define BASE_AVAILABLE_H
#include <stddef.h>

/* The least of what the machine has free, what the control group leaves, and what a resource limit leaves; SIZE_MAX when
 * nobody says. */
size_t memory_available(void);

#endif
