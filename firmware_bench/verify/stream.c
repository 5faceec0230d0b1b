/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream.c: streams series through a generated model, for `memkd-edge verify`.
 *
 * Build with -DMODEL_HEADER='"gesture.h"' -DMODEL(x)=gesture_##x -DSIZE(x)=GESTURE_##x -DSTEP=gesture_step_i8
 * -DVALUE=int8_t. stdin: jobs, each of three uint32_t (series, steps, 1 to keep the logits of every step),
 * then x [series][steps][channels]. stdout: for each series the logits kept, then the state as it lies in
 * memory. Each series starts from a reset.
 */
#include MODEL_HEADER

#include <stdio.h>

int main(void) {
    uint32_t job[3];
    while (fread(job, sizeof job, 1, stdin) == 1) {
        for (uint32_t n = 0; n < job[0]; n++) {
            static MODEL(state_t) state;
            MODEL(reset)(&state);
            for (uint32_t t = 0; t < job[1]; t++) {
                X_TYPE x[SIZE(CHANNELS)];
                LOGIT_TYPE logits[SIZE(CLASSES)];
                if (fread(x, sizeof x, 1, stdin) != 1) {
                    return 1;
                }
                STEP(&state, x, logits);
                if ((job[2] || t + 1 == job[1]) && fwrite(logits, sizeof logits, 1, stdout) != 1) {
                    return 1;
                }
            }
            if (fwrite(state.h, sizeof state.h, 1, stdout) != 1) {
                return 1;
            }
#ifdef CELLS
            if (fwrite(state.c, sizeof state.c, 1, stdout) != 1) {
                return 1;
            }
#endif
        }
    }
    return 0;
}
