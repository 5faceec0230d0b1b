/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream.c: streams series through a generated model, for `memkd-edge verify`.
 *
 * Build with -DMODEL_HEADER='"gesture.h"' -DMODEL(x)=gesture_##x -DSIZE(x)=GESTURE_##x
 * -DENTRIES='ENTRY(i8,int8_t,int8_t) ENTRY(i16,int16_t,int16_t)': entries, types of a sample and of a logit.
 * stdin: jobs, each of four uint32_t (number of the entry, series, steps, 1 to keep the logits of every
 * step), then x [series][steps][channels]. stdout: for each series the logits kept, then the state as it lies
 * in memory. Each series starts from a reset.
 */
#include MODEL_HEADER

#include <stdio.h>

static int put(const void *data, size_t size) {
    return fwrite(data, size, 1, stdout) == 1 ? 0 : 1;
}

static int put_state(const MODEL(state_t) * state) {
    int failed = put(state->h, sizeof state->h);
#ifdef CELLS
    failed |= put(state->c, sizeof state->c);
#endif
    return failed;
}

#define ENTRY(name, x_type, logit_type)                                                                      \
    static int stream_##name(uint32_t series, uint32_t steps, uint32_t every) {                              \
        for (uint32_t n = 0; n < series; n++) {                                                              \
            static MODEL(state_t) state;                                                                     \
            MODEL(reset)(&state);                                                                            \
            for (uint32_t t = 0; t < steps; t++) {                                                           \
                x_type x[SIZE(CHANNELS)];                                                                    \
                logit_type logits[SIZE(CLASSES)];                                                            \
                if (fread(x, sizeof x, 1, stdin) != 1) {                                                     \
                    return 1;                                                                                \
                }                                                                                            \
                MODEL(step_##name)(&state, x, logits);                                                       \
                if ((every || t + 1 == steps) && put(logits, sizeof logits)) {                               \
                    return 1;                                                                                \
                }                                                                                            \
            }                                                                                                \
            if (put_state(&state)) {                                                                         \
                return 1;                                                                                    \
            }                                                                                                \
        }                                                                                                    \
        return 0;                                                                                            \
    }
ENTRIES
#undef ENTRY

#define ENTRY(name, x_type, logit_type) stream_##name,
static int (*const entries[])(uint32_t, uint32_t, uint32_t) = {ENTRIES};

int main(void) {
    uint32_t job[4];
    while (fread(job, sizeof job, 1, stdin) == 1) {
        if (entries[job[0]](job[1], job[2], job[3])) {
            return 1;
        }
    }
    return 0;
}
