/* SPDX-License-Identifier: Apache-2.0 */
/* memkd_state.c: checksums, and saving and loading the state of any model. */
#include "memkd_state.h"

#include <string.h>

static const uint32_t save_format = 0x4D4B4430u + MEMKD_LAYOUT_VERSION; /* "MKD1" */

static uint32_t crc_byte(uint32_t crc, uint8_t byte) {
    crc ^= byte;
    for (int bit = 0; bit < 8; bit++) {
        crc = crc >> 1 ^ ((crc & 1u) != 0 ? 0xEDB88320u : 0u);
    }
    return crc;
}

static uint32_t crc_bytes(const uint8_t *data, uint32_t bytes) {
    uint32_t crc = 0xFFFFFFFFu;
    for (uint32_t i = 0; i < bytes; i++) {
        crc = crc_byte(crc, data[i]);
    }
    return ~crc;
}

uint32_t memkd_crc(uint32_t crc, uint32_t word) {
    crc = ~crc;
    for (int place = 0; place < 32; place += 8) {
        crc = crc_byte(crc, (uint8_t)(word >> place));
    }
    return ~crc;
}

void memkd_save(const void *state, uint32_t bytes, uint32_t model, uint8_t *saved) {
    memcpy(saved, &save_format, 4);
    memcpy(saved + 4, &model, 4);
    memcpy(saved + 8, state, (size_t)bytes);
    const uint32_t crc = crc_bytes(saved, bytes + 8);
    memcpy(saved + 8 + bytes, &crc, 4);
}

int memkd_load(void *state, uint32_t bytes, uint32_t model, const uint8_t *saved) {
    uint32_t word;
    memcpy(&word, saved, 4);
    if (word != save_format) {
        return -1;
    }
    memcpy(&word, saved + 4, 4);
    if (word != model) {
        return -2;
    }
    memcpy(&word, saved + 8 + bytes, 4);
    if (word != crc_bytes(saved, bytes + 8)) {
        return -3;
    }
    memcpy(state, saved + 8, (size_t)bytes);
    return 0;
}
