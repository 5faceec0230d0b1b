/* SPDX-License-Identifier: Apache-2.0 */
#include "workload.h"

#include <stddef.h>

static uint16_t checksum_byte(uint16_t crc, uint8_t data) {
    for (int i = 0; i < 8; i++) {
        const uint16_t carry = (uint16_t)((crc ^ data) & 1u);
        data = (uint8_t)(data >> 1);
        crc = (uint16_t)(crc >> 1);
        if (carry != 0) {
            crc = (uint16_t)(crc ^ 0xA001u);
        }
    }
    return crc;
}

static uint16_t checksum(uint16_t crc, uint32_t word) {
    for (int i = 0; i < 4; i++) {
        crc = checksum_byte(crc, (uint8_t)(word >> (8 * i)));
    }
    return crc;
}

/* Merge sort of a linked list, in place. */
static workload_node_t *sort(workload_node_t *list) {
    for (int run = 1;; run *= 2) {
        workload_node_t *rest = list;
        workload_node_t *tail = NULL;
        int merges = 0;
        list = NULL;
        while (rest != NULL) {
            workload_node_t *left = rest;
            workload_node_t *right = rest;
            int left_size = 0;
            int right_size = run;
            merges++;
            while (left_size < run && right != NULL) {
                left_size++;
                right = right->next;
            }
            while (left_size > 0 || (right_size > 0 && right != NULL)) {
                workload_node_t *taken;
                if (left_size > 0 && (right_size == 0 || right == NULL || left->value <= right->value)) {
                    taken = left;
                    left = left->next;
                    left_size--;
                } else {
                    taken = right;
                    right = right->next;
                    right_size--;
                }
                if (tail == NULL) {
                    list = taken;
                } else {
                    tail->next = taken;
                }
                tail = taken;
            }
            rest = right;
        }
        if (tail == NULL) {
            return NULL; /* an empty list */
        }
        tail->next = NULL;
        if (merges <= 1) {
            return list;
        }
    }
}

static uint16_t list_kernel(workload_state_t *state, int seed) {
    uint32_t random = (uint32_t)seed * 2654435761u + 1u;
    for (int i = 0; i < WORKLOAD_NODES; i++) {
        random = random * 1664525u + 1013904223u;
        state->nodes[i].value = (int16_t)(random >> 16);
        state->nodes[i].index = (int16_t)i;
        state->nodes[i].next = i + 1 < WORKLOAD_NODES ? &state->nodes[i + 1] : NULL;
    }
    workload_node_t *list = sort(state->nodes);
    uint16_t found = 0;
    for (int target = 0; target < WORKLOAD_NODES; target += 3) {
        const workload_node_t *node = list;
        while (node != NULL && node->index != target) {
            node = node->next;
            found++;
        }
    }
    uint16_t crc = found;
    for (const workload_node_t *node = list; node != NULL; node = node->next) {
        crc = checksum(crc, (uint16_t)node->value);
    }
    return crc;
}

static uint16_t matrix_kernel(workload_state_t *state, int seed) {
    for (int i = 0; i < WORKLOAD_SIZE; i++) {
        for (int j = 0; j < WORKLOAD_SIZE; j++) {
            state->a[i][j] = (int16_t)(seed + i * 7 - j * 3);
            state->b[i][j] = (int16_t)(seed * 3 - i + j * 5);
        }
    }
    int32_t total = 0;
    for (int i = 0; i < WORKLOAD_SIZE; i++) {
        for (int j = 0; j < WORKLOAD_SIZE; j++) {
            int32_t sum = 0;
            for (int k = 0; k < WORKLOAD_SIZE; k++) {
                sum += state->a[i][k] * state->b[k][j];
            }
            state->product[i][j] = sum;
            total += ((sum >> 2) & 15) * ((sum >> 5) & 127);
        }
    }
    return checksum(0, (uint32_t)total);
}

/* Recognises numbers such as "-12.5e3" and counts each kind. */
static uint16_t text_kernel(int seed) {
    static const char text[] = "5012,1.25,-874,+122.5e9,0x7f,-110.700,.25e-3,T0.3e-1F,99999999,1e+07,";
    enum { START, SIGN, INTEGER, FRACTION, EXPONENT, EXPONENT_DIGITS, INVALID, STATES } state = START;
    uint16_t counts[STATES] = {0};
    for (uint32_t i = 0; i + 1 < sizeof text; i++) {
        const char c = (char)(text[i] == (char)('0' + (seed & 7)) ? 'e' : text[i]);
        const int digit = c >= '0' && c <= '9';
        if (c == ',') {
            counts[state]++;
            state = START;
            continue;
        }
        switch (state) {
        case START:
            state = digit ? INTEGER : (c == '-' || c == '+') ? SIGN : c == '.' ? FRACTION : INVALID;
            break;
        case SIGN:
            state = digit ? INTEGER : c == '.' ? FRACTION : INVALID;
            break;
        case INTEGER:
            state = digit ? INTEGER : c == '.' ? FRACTION : c == 'e' ? EXPONENT : INVALID;
            break;
        case FRACTION:
            state = digit ? FRACTION : c == 'e' ? EXPONENT : INVALID;
            break;
        case EXPONENT:
            state = digit || c == '-' || c == '+' ? EXPONENT_DIGITS : INVALID;
            break;
        case EXPONENT_DIGITS:
            state = digit ? EXPONENT_DIGITS : INVALID;
            break;
        default:
            break;
        }
    }
    uint16_t crc = 0;
    for (int i = 0; i < STATES; i++) {
        crc = checksum(crc, counts[i]);
    }
    return crc;
}

void workload_reset(workload_state_t *state) {
    (void)state; /* every step fills what it reads */
}

void workload_step_i8(workload_state_t *state, const int8_t x[WORKLOAD_CHANNELS],
                      int8_t logits[WORKLOAD_CLASSES]) {
    uint16_t crc = list_kernel(state, x[0]);
    crc = checksum(crc, matrix_kernel(state, x[0]));
    crc = checksum(crc, text_kernel(x[0]));
    for (int i = 0; i < WORKLOAD_CLASSES; i++) {
        logits[i] = (int8_t)((crc >> (4 * i)) & 15u);
    }
}
