/* SPDX-License-Identifier: Apache-2.0 */
/* Reads samples and prints decisions. Starts with the self-test, as firmware should. */
#include "natops.h"
#include "natops_selftest.h"

#include <stdio.h>

/* TO FILL IN: wait for the next sample and write it to x, in these units:
 *   x[0]  channel 0
 *   x[1]  channel 1
 *   x[2]  channel 2
 *   x[3]  channel 3
 *   x[4]  channel 4
 *   x[5]  channel 5
 *   x[6]  channel 6
 *   x[7]  channel 7
 *   x[8]  channel 8
 *   x[9]  channel 9
 *   x[10]  channel 10
 *   x[11]  channel 11
 *   x[12]  channel 12
 *   x[13]  channel 13
 *   x[14]  channel 14
 *   x[15]  channel 15
 *   x[16]  channel 16
 *   x[17]  channel 17
 *   x[18]  channel 18
 *   x[19]  channel 19
 *   x[20]  channel 20
 *   x[21]  channel 21
 *   x[22]  channel 22
 *   x[23]  channel 23
 * This stub stands still at the training set's mean. */
static void read_sensor(float x[NATOPS_CHANNELS]) {
    static const float mean[NATOPS_CHANNELS] = NATOPS_MEAN;
    for (int j = 0; j < NATOPS_CHANNELS; j++) {
        x[j] = mean[j];
    }
}

int main(void) {
    const int wrong = natops_selftest() + natops_selftest_f32();
    if (wrong != 0) {
        printf("self-test failed: %d wrong logits\n", wrong);
        return 1;
    }
    printf("self-test passed\n");

    natops_state_t state;
    natops_init(&state);
    int warm_up = NATOPS_WARM_UP; /* the first decisions after a reset rest on too little signal */
    for (int left = warm_up + 10; left > 0; left--) { /* firmware: for (;;) */
        float sample[NATOPS_CHANNELS], logits[NATOPS_CLASSES];
        read_sensor(sample);
        natops_step_f32(&state, sample, logits);
        if (warm_up > 0) {
            warm_up--;
        } else {
            printf("%s\n", natops_labels[natops_argmax_f32(logits)]);
        }
    }
    return 0;
}
