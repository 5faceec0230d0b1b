/* SPDX-License-Identifier: Apache-2.0 */
/* Reads samples and prints the class whenever it changes. Starts with the self-test, as firmware should. */
#include "natops.h"
#include "natops_selftest.h"

#include <stdio.h>

/* TO FILL IN: wait for the next sample and write it to x, in these units:
 *   x[0]  channel 0, unit unknown
 *   x[1]  channel 1, unit unknown
 *   x[2]  channel 2, unit unknown
 *   x[3]  channel 3, unit unknown
 *   x[4]  channel 4, unit unknown
 *   x[5]  channel 5, unit unknown
 *   x[6]  channel 6, unit unknown
 *   x[7]  channel 7, unit unknown
 *   x[8]  channel 8, unit unknown
 *   x[9]  channel 9, unit unknown
 *   x[10]  channel 10, unit unknown
 *   x[11]  channel 11, unit unknown
 *   x[12]  channel 12, unit unknown
 *   x[13]  channel 13, unit unknown
 *   x[14]  channel 14, unit unknown
 *   x[15]  channel 15, unit unknown
 *   x[16]  channel 16, unit unknown
 *   x[17]  channel 17, unit unknown
 *   x[18]  channel 18, unit unknown
 *   x[19]  channel 19, unit unknown
 *   x[20]  channel 20, unit unknown
 *   x[21]  channel 21, unit unknown
 *   x[22]  channel 22, unit unknown
 *   x[23]  channel 23, unit unknown
 * Return how many samples were lost before it: 0, or what the sensor's queue says.
 * This stub stands still at the training set's mean. */
static uint32_t read_sensor(float x[NATOPS_CHANNELS]) {
    static const float mean[NATOPS_CHANNELS] = NATOPS_MEAN;
    for (int j = 0; j < NATOPS_CHANNELS; j++) {
        x[j] = mean[j];
    }
    return 0;
}

/* TO FILL IN: 1 if the latest sample is the first of an event, as a button or a threshold says. This stub says so every 51 samples. */
static int event_starts(void) {
    static uint32_t samples = 0;
    return samples++ % 51u == 0;
}

static natops_monitor_t monitor;
static natops_reading_t readings[NATOPS_CHANNELS];

/* The signal is unlike the training signal. */
static void say_what_is_odd(int odd) {
    static const char *const names[] = NATOPS_CHANNEL_NAMES;
    for (int j = 0; j < NATOPS_CHANNELS; j++) {
        if (readings[j].odd != 0) {
            printf("%s: mean %ld, deviation %ld (1/1024 of training's deviation), %u of %u samples at the rails: check axis, sign, unit\n",
                   names[j], (long)readings[j].mean, (long)readings[j].deviation, (unsigned)readings[j].rails, (unsigned)NATOPS_MONITOR_SAMPLES);
        }
    }
    if ((odd & NATOPS_ODD_PACE) != 0) {
        printf("the signal changes faster or slower than in training: check the sample rate\n");
    }
}

int main(void) {
    const int wrong = natops_selftest() + natops_selftest_f32();
    if (wrong != 0) {
        printf("self-test failed: %d wrong logits\n", wrong);
        return 1;
    }
    printf("self-test passed\n");

    static natops_stream_t stream;
    natops_begin(&stream);
    int before = -1;
    for (uint32_t left = NATOPS_NOT_YET + 10; left > 0; left--) { /* firmware: for (;;) */
        float sample[NATOPS_CHANNELS];
        natops_gap(&stream, read_sensor(sample));
        if (event_starts()) {
            natops_begin(&stream);
            before = -1;
        }
        const int decision = natops_push_f32(&stream, sample);
        if (decision >= 0 && decision != before) { /* -1: not yet */
            printf("%s\n", natops_labels[decision]);
        }
        before = decision;
        const int odd = natops_monitor_f32(&monitor, sample, readings);
        if (odd > 0) {
            say_what_is_odd(odd);
        }
    }
    return 0;
}
