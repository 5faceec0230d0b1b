/* SPDX-License-Identifier: Apache-2.0 */
/* Reads samples and prints the class whenever it changes. Starts with the self-test, as firmware should. */
#include "basicmotions.h"
#include "basicmotions_selftest.h"

#include <stdio.h>

/* TO FILL IN: wait for the next sample (10 a second) and write it to x, in these units:
 *   x[0]  accelerometer x, unit unknown
 *   x[1]  accelerometer y, unit unknown
 *   x[2]  accelerometer z, unit unknown
 *   x[3]  gyroscope x, unit unknown
 *   x[4]  gyroscope y, unit unknown
 *   x[5]  gyroscope z, unit unknown
 * Return how many samples were lost before it: 0, or what the sensor's queue says.
 * This stub stands still at the training set's mean. */
static uint32_t read_sensor(float x[BASICMOTIONS_CHANNELS]) {
    static const float mean[BASICMOTIONS_CHANNELS] = BASICMOTIONS_MEAN;
    for (int j = 0; j < BASICMOTIONS_CHANNELS; j++) {
        x[j] = mean[j];
    }
    return 0;
}

/* TO FILL IN: 1 if the latest sample is the first of an event, as a button or a threshold says. This stub says so every 100 samples. */
static int event_starts(void) {
    static uint32_t samples = 0;
    return samples++ % 100u == 0;
}

static basicmotions_monitor_t monitor;
static basicmotions_reading_t readings[BASICMOTIONS_CHANNELS];

/* The signal is unlike the training signal. */
static void say_what_is_odd(int odd) {
    static const char *const names[] = BASICMOTIONS_CHANNEL_NAMES;
    for (int j = 0; j < BASICMOTIONS_CHANNELS; j++) {
        if (readings[j].odd != 0) {
            printf("%s: mean %ld, deviation %ld (1/1024 of training's deviation), %u of %u samples at the rails: check axis, sign, unit\n",
                   names[j], (long)readings[j].mean, (long)readings[j].deviation, (unsigned)readings[j].rails, (unsigned)BASICMOTIONS_MONITOR_SAMPLES);
        }
    }
    if ((odd & BASICMOTIONS_ODD_PACE) != 0) {
        printf("the signal changes faster or slower than in training: check the sample rate\n");
    }
}

int main(void) {
    const int wrong = basicmotions_selftest() + basicmotions_selftest_f32();
    if (wrong != 0) {
        printf("self-test failed: %d wrong logits\n", wrong);
        return 1;
    }
    printf("self-test passed\n");

    static basicmotions_stream_t stream;
    basicmotions_begin(&stream);
    int before = -1;
    for (uint32_t left = BASICMOTIONS_NOT_YET + 10; left > 0; left--) { /* firmware: for (;;) */
        float sample[BASICMOTIONS_CHANNELS];
        basicmotions_gap(&stream, read_sensor(sample));
        if (event_starts()) {
            basicmotions_begin(&stream);
            before = -1;
        }
        const int decision = basicmotions_push_f32(&stream, sample);
        if (decision >= 0 && decision != before) { /* -1: not yet */
            printf("%s\n", basicmotions_labels[decision]);
        }
        before = decision;
        const int odd = basicmotions_monitor_f32(&monitor, sample, readings);
        if (odd > 0) {
            say_what_is_odd(odd);
        }
    }
    return 0;
}
