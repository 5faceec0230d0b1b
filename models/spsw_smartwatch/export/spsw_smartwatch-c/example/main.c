/* SPDX-License-Identifier: Apache-2.0 */
/* Reads samples and prints decisions. Starts with the self-test, as firmware should. */
#include "spsw_smartwatch.h"
#include "spsw_smartwatch_selftest.h"

#include <stdio.h>

/* TO FILL IN: wait for the next sample (100 a second) and write it to x, in these units:
 *   x[0]  channel 0
 *   x[1]  channel 1
 *   x[2]  channel 2
 *   x[3]  channel 3
 *   x[4]  channel 4
 *   x[5]  channel 5
 * This stub stands still at the training set's mean. */
static void read_sensor(float x[SPSW_SMARTWATCH_CHANNELS]) {
    static const float mean[SPSW_SMARTWATCH_CHANNELS] = SPSW_SMARTWATCH_MEAN;
    for (int j = 0; j < SPSW_SMARTWATCH_CHANNELS; j++) {
        x[j] = mean[j];
    }
}

int main(void) {
    const int wrong = spsw_smartwatch_selftest() + spsw_smartwatch_selftest_f32();
    if (wrong != 0) {
        printf("self-test failed: %d wrong logits\n", wrong);
        return 1;
    }
    printf("self-test passed\n");

    spsw_smartwatch_state_t state;
    spsw_smartwatch_init(&state);
    int warm_up = SPSW_SMARTWATCH_WARM_UP; /* the first decisions after a reset rest on too little signal */
    for (int left = warm_up + 10; left > 0; left--) { /* firmware: for (;;) */
        float sample[SPSW_SMARTWATCH_CHANNELS], logits[SPSW_SMARTWATCH_CLASSES];
        read_sensor(sample);
        spsw_smartwatch_step_f32(&state, sample, logits);
        if (warm_up > 0) {
            warm_up--;
        } else {
            printf("%s\n", spsw_smartwatch_labels[spsw_smartwatch_argmax_f32(logits)]);
        }
    }
    return 0;
}
