/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A workload of the kind that general processor benchmarks use: list, matrix, state machine, checksum. It has
 * the interface of a model, so that the same runner counts it; tests/benchmark/test_cycle_model.py says what
 * is learnt from it.
 */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include <stdint.h>

#define WORKLOAD_CHANNELS 1
#define WORKLOAD_CLASSES 4
#define WORKLOAD_NODES 40
#define WORKLOAD_SIZE 9

typedef struct workload_node {
    struct workload_node *next;
    int16_t value;
    int16_t index;
} workload_node_t;

typedef struct {
    workload_node_t nodes[WORKLOAD_NODES];
    int16_t a[WORKLOAD_SIZE][WORKLOAD_SIZE];
    int16_t b[WORKLOAD_SIZE][WORKLOAD_SIZE];
    int32_t product[WORKLOAD_SIZE][WORKLOAD_SIZE];
} workload_state_t;

void workload_reset(workload_state_t *state);

/* Runs every kernel once on data that depend on x[0]; logits: the bytes of a checksum over all results. */
void workload_step_i8(workload_state_t *state, const int8_t x[WORKLOAD_CHANNELS],
                      int8_t logits[WORKLOAD_CLASSES]);

#endif
