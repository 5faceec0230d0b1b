/* SPDX-License-Identifier: Apache-2.0 */
/* Reads samples and prints decisions. Starts with the self-test, as firmware should. */
#include "racketsports.h"
#include "racketsports_selftest.h"

#include <stdio.h>

/* TO FILL IN: wait for the next sample and write it to x, in these units:
 *   x[0]  channel 0
 *   x[1]  channel 1
 *   x[2]  channel 2
 *   x[3]  channel 3
 *   x[4]  channel 4
 *   x[5]  channel 5
 * This stub stands still at the training set's mean. */
static void read_sensor(float x[RACKETSPORTS_CHANNELS]) {
    static const float mean[RACKETSPORTS_CHANNELS] = RACKETSPORTS_MEAN;
    for (int j = 0; j < RACKETSPORTS_CHANNELS; j++) {
        x[j] = mean[j];
    }
}

int main(void) {
    const int wrong = racketsports_selftest() + racketsports_selftest_f32();
    if (wrong != 0) {
        printf("self-test failed: %d wrong logits\n", wrong);
        return 1;
    }
    printf("self-test passed\n");

    racketsports_state_t state;
    racketsports_init(&state);
    int warm_up = RACKETSPORTS_WARM_UP; /* the first decisions after a reset rest on too little signal */
    for (int left = warm_up + 10; left > 0; left--) { /* firmware: for (;;) */
        float sample[RACKETSPORTS_CHANNELS], logits[RACKETSPORTS_CLASSES];
        read_sensor(sample);
        racketsports_step_f32(&state, sample, logits);
        if (warm_up > 0) {
            warm_up--;
        } else {
            printf("%s\n", racketsports_labels[racketsports_argmax_f32(logits)]);
        }
    }
    return 0;
}
