/* SPDX-License-Identifier: Apache-2.0 */
/* A stand-in for FreeRTOS: ticks are milliseconds. */
#ifndef STAND_IN_FREERTOS_H
#define STAND_IN_FREERTOS_H

#include <stdint.h>

typedef uint32_t TickType_t;
#define pdMS_TO_TICKS(milliseconds) ((TickType_t)(milliseconds))

void app_main(void);

#endif
