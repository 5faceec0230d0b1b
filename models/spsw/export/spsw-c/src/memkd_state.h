/* SPDX-License-Identifier: Apache-2.0 */
/* memkd_state.h: checksums and saved states, for the generated <name>.c and its self-test. */
#ifndef MEMKD_STATE_H
#define MEMKD_STATE_H

#include <stdint.h>

/* Of all memkd_ files together: it changes with anything that a generated <name>.c relies on. */
#define MEMKD_RUNTIME_VERSION 1

/* Of saved states and streams: it changes with the memory of either. A save of another one is refused. */
#define MEMKD_LAYOUT_VERSION 1

#ifdef __cplusplus
extern "C" {
#endif

/* CRC-32 of words, each least significant byte first on every machine. crc: 0, or that of the words before.
 */
uint32_t memkd_crc(uint32_t crc, uint32_t word);

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
