/* SPDX-License-Identifier: Apache-2.0 */
/* Reads samples and prints the class whenever it changes. Starts with the self-test, as firmware should. */
#include "spsw_smartwatch.h"
#include "spsw_smartwatch_selftest.h"

#include <stdio.h>

/* TO FILL IN: wait for the next sample (100 a second) and write it to x, in these units:
 *   x[0]  channel 0, unit unknown
 *   x[1]  channel 1, unit unknown
 *   x[2]  channel 2, unit unknown
 *   x[3]  channel 3, unit unknown
 *   x[4]  channel 4, unit unknown
 *   x[5]  channel 5, unit unknown
 * Return how many samples were lost before it: 0, or what the sensor's queue says.
 * This stub stands still at the training set's mean. */
static uint32_t read_sensor(float x[SPSW_SMARTWATCH_CHANNELS]) {
    static const float mean[SPSW_SMARTWATCH_CHANNELS] = SPSW_SMARTWATCH_MEAN;
    for (int j = 0; j < SPSW_SMARTWATCH_CHANNELS; j++) {
        x[j] = mean[j];
    }
    return 0;
}

int main(void) {
    const int wrong = spsw_smartwatch_selftest() + spsw_smartwatch_selftest_f32();
    if (wrong != 0) {
        printf("self-test failed: %d wrong logits\n", wrong);
        return 1;
    }
    printf("self-test passed\n");

    static spsw_smartwatch_stream_t stream;
    spsw_smartwatch_begin(&stream);
    int before = -1;
    for (uint32_t left = SPSW_SMARTWATCH_NOT_YET + 10; left > 0; left--) { /* firmware: for (;;) */
        float sample[SPSW_SMARTWATCH_CHANNELS];
        spsw_smartwatch_gap(&stream, read_sensor(sample));
        const int decision = spsw_smartwatch_push_f32(&stream, sample);
        if (decision >= 0 && decision != before) { /* -1: not yet */
            printf("%s\n", spsw_smartwatch_labels[decision]);
        }
        before = decision;
    }
    return 0;
}
