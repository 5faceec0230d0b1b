/* SPDX-License-Identifier: Apache-2.0 */
/* A stand-in for Zephyr's kernel: sleeping ends the program after 64 calls. */
#ifndef STAND_IN_ZEPHYR_KERNEL_H
#define STAND_IN_ZEPHYR_KERNEL_H

#include <stdint.h>
#include <stdlib.h>

static inline int32_t k_msleep(int32_t milliseconds) {
    static int calls = 0;
    if (++calls > 64) {
        exit(0);
    }
    return milliseconds - milliseconds;
}

#endif
