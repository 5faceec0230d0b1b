/* SPDX-License-Identifier: Apache-2.0 */
/* Reads samples and prints decisions. Starts with the self-test, as firmware should. */
#include "japanesevowels_eq.h"
#include "japanesevowels_eq_selftest.h"

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
 * This stub stands still at the training set's mean. */
static void read_sensor(float x[JAPANESEVOWELS_EQ_CHANNELS]) {
    static const float mean[JAPANESEVOWELS_EQ_CHANNELS] = JAPANESEVOWELS_EQ_MEAN;
    for (int j = 0; j < JAPANESEVOWELS_EQ_CHANNELS; j++) {
        x[j] = mean[j];
    }
}

int main(void) {
    const int wrong = japanesevowels_eq_selftest() + japanesevowels_eq_selftest_f32();
    if (wrong != 0) {
        printf("self-test failed: %d wrong logits\n", wrong);
        return 1;
    }
    printf("self-test passed\n");

    japanesevowels_eq_state_t state;
    japanesevowels_eq_init(&state);
    int warm_up = JAPANESEVOWELS_EQ_WARM_UP; /* the first decisions after a reset rest on too little signal */
    for (int left = warm_up + 10; left > 0; left--) { /* firmware: for (;;) */
        float sample[JAPANESEVOWELS_EQ_CHANNELS], logits[JAPANESEVOWELS_EQ_CLASSES];
        read_sensor(sample);
        japanesevowels_eq_step_f32(&state, sample, logits);
        if (warm_up > 0) {
            warm_up--;
        } else {
            printf("%s\n", japanesevowels_eq_labels[japanesevowels_eq_argmax_f32(logits)]);
        }
    }
    return 0;
}
