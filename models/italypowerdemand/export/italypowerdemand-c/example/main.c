/* SPDX-License-Identifier: Apache-2.0 */
/* Reads samples and prints the class whenever it changes. Starts with the self-test, as firmware should. */
#include "italypowerdemand.h"
#include "italypowerdemand_selftest.h"

#include <stdio.h>

/* TO FILL IN: wait for the next sample and write it to x, in these units:
 *   x[0]  channel 0, unit unknown
 * Return how many samples were lost before it: 0, or what the sensor's queue says.
 * This stub stands still at the training set's mean. */
static uint32_t read_sensor(float x[ITALYPOWERDEMAND_CHANNELS]) {
    static const float mean[ITALYPOWERDEMAND_CHANNELS] = ITALYPOWERDEMAND_MEAN;
    for (int j = 0; j < ITALYPOWERDEMAND_CHANNELS; j++) {
        x[j] = mean[j];
    }
    return 0;
}

/* TO FILL IN: 1 if the latest sample is the first of an event, as a button or a threshold says. This stub says so every 24 samples. */
static int event_starts(void) {
    static uint32_t samples = 0;
    return samples++ % 24u == 0;
}

static italypowerdemand_monitor_t monitor;
static italypowerdemand_reading_t readings[ITALYPOWERDEMAND_CHANNELS];

/* The signal is unlike the training signal. */
static void say_what_is_odd(int odd) {
    static const char *const names[] = ITALYPOWERDEMAND_CHANNEL_NAMES;
    for (int j = 0; j < ITALYPOWERDEMAND_CHANNELS; j++) {
        if (readings[j].odd != 0) {
            printf("%s: mean %ld, deviation %ld (1/1024 of training's deviation), %u of %u samples at the rails: check axis, sign, unit\n",
                   names[j], (long)readings[j].mean, (long)readings[j].deviation, (unsigned)readings[j].rails, (unsigned)ITALYPOWERDEMAND_MONITOR_SAMPLES);
        }
    }
    if ((odd & ITALYPOWERDEMAND_ODD_PACE) != 0) {
        printf("the signal changes faster or slower than in training: check the sample rate\n");
    }
}

int main(void) {
    const int wrong = italypowerdemand_selftest() + italypowerdemand_selftest_f32();
    if (wrong != 0) {
        printf("self-test failed: %d wrong logits\n", wrong);
        return 1;
    }
    printf("self-test passed\n");

    static italypowerdemand_stream_t stream;
    italypowerdemand_begin(&stream);
    int before = -1;
    for (uint32_t left = ITALYPOWERDEMAND_NOT_YET + 10; left > 0; left--) { /* firmware: for (;;) */
        float sample[ITALYPOWERDEMAND_CHANNELS];
        italypowerdemand_gap(&stream, read_sensor(sample));
        if (event_starts()) {
            italypowerdemand_begin(&stream);
            before = -1;
        }
        const int decision = italypowerdemand_push_f32(&stream, sample);
        if (decision >= 0 && decision != before) { /* -1: not yet */
            printf("%s\n", italypowerdemand_labels[decision]);
        }
        before = decision;
        const int odd = italypowerdemand_monitor_f32(&monitor, sample, readings);
        if (odd > 0) {
            say_what_is_odd(odd);
        }
    }
    return 0;
}
