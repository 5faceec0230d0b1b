/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STAND_IN_ZEPHYR_PRINTK_H
#define STAND_IN_ZEPHYR_PRINTK_H

#include <stdio.h>

#define printk printf

#endif
