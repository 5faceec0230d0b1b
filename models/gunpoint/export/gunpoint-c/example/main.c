/* SPDX-License-Identifier: Apache-2.0 */
/* Reads samples and prints decisions. Starts with the self-test, as firmware should. */
#include "gunpoint.h"
#include "gunpoint_selftest.h"

#include <stdio.h>

/* TO FILL IN: wait for the next sample and write it to x, in these units:
 *   x[0]  channel 0
 * This stub stands still at the training set's mean. */
static void read_sensor(float x[GUNPOINT_CHANNELS]) {
    static const float mean[GUNPOINT_CHANNELS] = GUNPOINT_MEAN;
    for (int j = 0; j < GUNPOINT_CHANNELS; j++) {
        x[j] = mean[j];
    }
}

int main(void) {
    const int wrong = gunpoint_selftest() + gunpoint_selftest_f32();
    if (wrong != 0) {
        printf("self-test failed: %d wrong logits\n", wrong);
        return 1;
    }
    printf("self-test passed\n");

    gunpoint_state_t state;
    gunpoint_init(&state);
    int warm_up = GUNPOINT_WARM_UP; /* the first decisions after a reset rest on too little signal */
    for (int left = warm_up + 10; left > 0; left--) { /* firmware: for (;;) */
        float sample[GUNPOINT_CHANNELS], logits[GUNPOINT_CLASSES];
        read_sensor(sample);
        gunpoint_step_f32(&state, sample, logits);
        if (warm_up > 0) {
            warm_up--;
        } else {
            printf("%s\n", gunpoint_labels[gunpoint_argmax_f32(logits)]);
        }
    }
    return 0;
}
