/* SPDX-License-Identifier: Apache-2.0 */
/* Reads samples and prints the class whenever it changes. Starts with the self-test, as firmware should. */
#include "racketsports.h"
#include "racketsports_selftest.h"

#include <stdio.h>

/* TO FILL IN: wait for the next sample and write it to x, in these units:
 *   x[0]  channel 0, unit unknown
 *   x[1]  channel 1, unit unknown
 *   x[2]  channel 2, unit unknown
 *   x[3]  channel 3, unit unknown
 *   x[4]  channel 4, unit unknown
 *   x[5]  channel 5, unit unknown
 * Return how many samples were lost before it: 0, or what the sensor's queue says.
 * This stub stands still at the training set's mean. */
static uint32_t read_sensor(float x[RACKETSPORTS_CHANNELS]) {
    static const float mean[RACKETSPORTS_CHANNELS] = RACKETSPORTS_MEAN;
    for (int j = 0; j < RACKETSPORTS_CHANNELS; j++) {
        x[j] = mean[j];
    }
    return 0;
}

/* TO FILL IN: 1 if the latest sample is the first of an event, as a button or a threshold says. This stub says so every 30 samples. */
static int event_starts(void) {
    static uint32_t samples = 0;
    return samples++ % 30u == 0;
}

static racketsports_monitor_t monitor;
static racketsports_reading_t readings[RACKETSPORTS_CHANNELS];

/* The signal is unlike the training signal. */
static void say_what_is_odd(int odd) {
    static const char *const names[] = RACKETSPORTS_CHANNEL_NAMES;
    for (int j = 0; j < RACKETSPORTS_CHANNELS; j++) {
        if (readings[j].odd != 0) {
            printf("%s: mean %ld, deviation %ld (1/1024 of training's deviation), %u of %u samples at the rails: check axis, sign, unit\n",
                   names[j], (long)readings[j].mean, (long)readings[j].deviation, (unsigned)readings[j].rails, (unsigned)RACKETSPORTS_MONITOR_SAMPLES);
        }
    }
    if ((odd & RACKETSPORTS_ODD_PACE) != 0) {
        printf("the signal changes faster or slower than in training: check the sample rate\n");
    }
}

int main(void) {
    const int wrong = racketsports_selftest() + racketsports_selftest_f32();
    if (wrong != 0) {
        printf("self-test failed: %d wrong logits\n", wrong);
        return 1;
    }
    printf("self-test passed\n");

    static racketsports_stream_t stream;
    racketsports_begin(&stream);
    int before = -1;
    for (uint32_t left = RACKETSPORTS_NOT_YET + 10; left > 0; left--) { /* firmware: for (;;) */
        float sample[RACKETSPORTS_CHANNELS];
        racketsports_gap(&stream, read_sensor(sample));
        if (event_starts()) {
            racketsports_begin(&stream);
            before = -1;
        }
        const int decision = racketsports_push_f32(&stream, sample);
        if (decision >= 0 && decision != before) { /* -1: not yet */
            printf("%s\n", racketsports_labels[decision]);
        }
        before = decision;
        const int odd = racketsports_monitor_f32(&monitor, sample, readings);
        if (odd > 0) {
            say_what_is_odd(odd);
        }
    }
    return 0;
}
