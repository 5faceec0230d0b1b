/* SPDX-License-Identifier: Apache-2.0 */
/* memkd_state.h: used by the generated <name>.c; applications call <name>_state_save and <name>_state_load.
 */
#ifndef MEMKD_STATE_H
#define MEMKD_STATE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A saved state: 32-bit words in the device's byte order: format, model, the state, a CRC-32 of all before
 * it. It is valid for the same model on the same kind of device.
 */
void memkd_save(const void *state, uint32_t bytes, uint32_t model, uint8_t *saved);

/* Returns 0, or -1: no saved state of this format, -2: of another model, -3: damaged. The state is written on
 * 0 only. */
int memkd_load(void *state, uint32_t bytes, uint32_t model, const uint8_t *saved);

#ifdef __cplusplus
}
#endif

#endif
