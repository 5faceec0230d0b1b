/* SPDX-License-Identifier: Apache-2.0 */
/* Reads samples and prints decisions. Starts with the self-test, as firmware should. */
#include "basicmotions.h"
#include "basicmotions_selftest.h"

#include <stdio.h>

/* TO FILL IN: wait for the next sample (10 a second) and write it to x, in these units:
 *   x[0]  accelerometer x
 *   x[1]  accelerometer y
 *   x[2]  accelerometer z
 *   x[3]  gyroscope x
 *   x[4]  gyroscope y
 *   x[5]  gyroscope z
 * This stub stands still at the training set's mean. */
static void read_sensor(float x[BASICMOTIONS_CHANNELS]) {
    static const float mean[BASICMOTIONS_CHANNELS] = BASICMOTIONS_MEAN;
    for (int j = 0; j < BASICMOTIONS_CHANNELS; j++) {
        x[j] = mean[j];
    }
}

int main(void) {
    const int wrong = basicmotions_selftest() + basicmotions_selftest_f32();
    if (wrong != 0) {
        printf("self-test failed: %d wrong logits\n", wrong);
        return 1;
    }
    printf("self-test passed\n");

    basicmotions_state_t state;
    basicmotions_init(&state);
    int warm_up = BASICMOTIONS_WARM_UP; /* the first decisions after a reset rest on too little signal */
    for (int left = warm_up + 10; left > 0; left--) { /* firmware: for (;;) */
        float sample[BASICMOTIONS_CHANNELS], logits[BASICMOTIONS_CLASSES];
        read_sensor(sample);
        basicmotions_step_f32(&state, sample, logits);
        if (warm_up > 0) {
            warm_up--;
        } else {
            printf("%s\n", basicmotions_labels[basicmotions_argmax_f32(logits)]);
        }
    }
    return 0;
}
