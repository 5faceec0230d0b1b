/* SPDX-License-Identifier: Apache-2.0 */
/* Reads samples and prints the class whenever it changes. Starts with the self-test, as firmware should. */
#include "japanesevowels_eq.h"
#include "japanesevowels_eq_selftest.h"

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
 * Return how many samples were lost before it: 0, or what the sensor's queue says.
 * This stub stands still at the training set's mean. */
static uint32_t read_sensor(float x[JAPANESEVOWELS_EQ_CHANNELS]) {
    static const float mean[JAPANESEVOWELS_EQ_CHANNELS] = JAPANESEVOWELS_EQ_MEAN;
    for (int j = 0; j < JAPANESEVOWELS_EQ_CHANNELS; j++) {
        x[j] = mean[j];
    }
    return 0;
}

/* TO FILL IN: 1 if the latest sample is the first of an event, as a button or a threshold says. This stub says so every 25 samples. */
static int event_starts(void) {
    static uint32_t samples = 0;
    return samples++ % 25u == 0;
}

static japanesevowels_eq_monitor_t monitor;
static japanesevowels_eq_reading_t readings[JAPANESEVOWELS_EQ_CHANNELS];

/* The signal is unlike the training signal. */
static void say_what_is_odd(int odd) {
    static const char *const names[] = JAPANESEVOWELS_EQ_CHANNEL_NAMES;
    for (int j = 0; j < JAPANESEVOWELS_EQ_CHANNELS; j++) {
        if (readings[j].odd != 0) {
            printf("%s: mean %ld, deviation %ld (1/1024 of training's deviation), %u of %u samples at the rails: check axis, sign, unit\n",
                   names[j], (long)readings[j].mean, (long)readings[j].deviation, (unsigned)readings[j].rails, (unsigned)JAPANESEVOWELS_EQ_MONITOR_SAMPLES);
        }
    }
    if ((odd & JAPANESEVOWELS_EQ_ODD_PACE) != 0) {
        printf("the signal changes faster or slower than in training: check the sample rate\n");
    }
}

int main(void) {
    const int wrong = japanesevowels_eq_selftest() + japanesevowels_eq_selftest_f32();
    if (wrong != 0) {
        printf("self-test failed: %d wrong logits\n", wrong);
        return 1;
    }
    printf("self-test passed\n");

    static japanesevowels_eq_stream_t stream;
    japanesevowels_eq_begin(&stream);
    int before = -1;
    for (uint32_t left = JAPANESEVOWELS_EQ_NOT_YET + 10; left > 0; left--) { /* firmware: for (;;) */
        float sample[JAPANESEVOWELS_EQ_CHANNELS];
        japanesevowels_eq_gap(&stream, read_sensor(sample));
        if (event_starts()) {
            japanesevowels_eq_begin(&stream);
            before = -1;
        }
        const int decision = japanesevowels_eq_push_f32(&stream, sample);
        if (decision >= 0 && decision != before) { /* -1: not yet */
            printf("%s\n", japanesevowels_eq_labels[decision]);
        }
        before = decision;
        const int odd = japanesevowels_eq_monitor_f32(&monitor, sample, readings);
        if (odd > 0) {
            say_what_is_odd(odd);
        }
    }
    return 0;
}
