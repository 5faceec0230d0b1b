/* SPDX-License-Identifier: Apache-2.0 */
/* Reads samples and prints the class whenever it changes. Starts with the self-test, as firmware should. */
#include "spsw.h"
#include "spsw_selftest.h"

#include <stdio.h>

/* TO FILL IN: wait for the next sample (104 a second) and write it to x, in these units:
 *   x[0]  x_acc, m/s2
 *   x[1]  y_acc, m/s2
 *   x[2]  z_acc, m/s2
 *   x[3]  x_gyro, rad/s
 *   x[4]  y_gyro, rad/s
 *   x[5]  z_gyro, rad/s
 * Return how many samples were lost before it: 0, or what the sensor's queue says.
 * This stub stands still at the training set's mean. */
static uint32_t read_sensor(float x[SPSW_CHANNELS]) {
    static const float mean[SPSW_CHANNELS] = SPSW_MEAN;
    for (int j = 0; j < SPSW_CHANNELS; j++) {
        x[j] = mean[j];
    }
    return 0;
}

static spsw_monitor_t monitor;
static spsw_reading_t readings[SPSW_CHANNELS];

/* The signal is unlike the training signal. */
static void say_what_is_odd(int odd) {
    static const char *const names[] = SPSW_CHANNEL_NAMES;
    for (int j = 0; j < SPSW_CHANNELS; j++) {
        if (readings[j].odd != 0) {
            printf("%s: mean %ld, deviation %ld (1/1024 of training's deviation), %u of %u samples at the rails: check axis, sign, unit\n",
                   names[j], (long)readings[j].mean, (long)readings[j].deviation, (unsigned)readings[j].rails, (unsigned)SPSW_MONITOR_SAMPLES);
        }
    }
    if ((odd & SPSW_ODD_PACE) != 0) {
        printf("the signal changes faster or slower than in training: check the sample rate\n");
    }
}

int main(void) {
    const int wrong = spsw_selftest() + spsw_selftest_f32();
    if (wrong != 0) {
        printf("self-test failed: %d wrong logits\n", wrong);
        return 1;
    }
    printf("self-test passed\n");

    static spsw_stream_t stream;
    spsw_begin(&stream);
    int before = -1;
    for (uint32_t left = SPSW_NOT_YET + 10; left > 0; left--) { /* firmware: for (;;) */
        float sample[SPSW_CHANNELS];
        spsw_gap(&stream, read_sensor(sample));
        const int decision = spsw_push_f32(&stream, sample);
        if (decision >= 0 && decision != before) { /* -1: not yet */
            printf("%s\n", spsw_labels[decision]);
        }
        before = decision;
        const int odd = spsw_monitor_f32(&monitor, sample, readings);
        if (odd > 0) {
            say_what_is_odd(odd);
        }
    }
    return 0;
}
