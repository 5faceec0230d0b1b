/* gunpoint_selftest.c: samples and the logits that belong to them. Generated; do not edit. */
#include "gunpoint_selftest.h"

#include "gunpoint.h"

enum { STEPS = 24 };

static const int16_t samples_i16[STEPS][GUNPOINT_CHANNELS] = {
    {1030},
    {-1082},
    {5246},
    {859},
    {-4388},
    {2962},
    {10682},
    {3237},
    {-5765},
    {-10366},
    {-5106},
    {2911},
    {-19047},
    {-1792},
    {6422},
    {-5999},
    {-10314},
    {-2591},
    {3372},
    {8540},
    {-1053},
    {-20573},
    {-32768},
    {32767},
};

static const int8_t samples_i8[STEPS][GUNPOINT_CHANNELS] = {
    {15},
    {0},
    {45},
    {14},
    {-23},
    {29},
    {83},
    {31},
    {-32},
    {-64},
    {-28},
    {28},
    {-125},
    {-5},
    {53},
    {-34},
    {-64},
    {-10},
    {32},
    {68},
    {1},
    {-128},
    {-128},
    {127},
};

/* Physical units. */
static const float samples_f32[STEPS][GUNPOINT_CHANNELS] = {
    {0.12531042f},
    {-0.13166377f},
    {0.6382843f},
    {0.10454986f},
    {-0.53388083f},
    {0.3603877f},
    {1.299646f},
    {0.39380276f},
    {-0.7013855f},
    {-1.2611963f},
    {-0.6211934f},
    {0.35418615f},
    {-2.3172677f},
    {-0.21806113f},
    {0.7813578f},
    {-0.72982234f},
    {-1.2548616f},
    {-0.31524405f},
    {0.41025612f},
    {1.0390325f},
    {-0.12810549f},
    {-2.5029972f},
    {-5.303789f},
    {5.451227f},
};

/* The logits after each sample of samples_i16. */
static const int16_t logits_i16[STEPS][GUNPOINT_CLASSES] = {
    {-780, -444},
    {-651, -570},
    {-591, -624},
    {-514, -680},
    {-445, -743},
    {-443, -742},
    {-459, -749},
    {-458, -701},
    {-454, -663},
    {-459, -655},
    {-561, -542},
    {-621, -488},
    {-787, -310},
    {-964, -117},
    {-1019, -82},
    {-1473, 470},
    {-1915, 988},
    {-2212, 1319},
    {-2345, 1449},
    {-2299, 1353},
    {-2926, 2114},
    {-3939, 3229},
    {-4801, 3658},
    {-2371, 1081},
};

/* The logits after each sample of samples_i8. */
static const int8_t logits_i8[STEPS][GUNPOINT_CLASSES] = {
    {-9, -7},
    {-8, -8},
    {-8, -8},
    {-7, -9},
    {-7, -9},
    {-7, -9},
    {-7, -9},
    {-7, -9},
    {-7, -9},
    {-7, -8},
    {-8, -8},
    {-8, -7},
    {-9, -6},
    {-11, -5},
    {-11, -5},
    {-14, -1},
    {-17, 3},
    {-19, 5},
    {-20, 6},
    {-19, 5},
    {-24, 10},
    {-31, 18},
    {-38, 25},
    {-30, 15},
};

/* The logits after each sample of samples_f32, in units of GUNPOINT_LOGIT_SCALE_I16. */
static const int16_t logits_f32[STEPS][GUNPOINT_CLASSES] = {
    {-780, -444},
    {-651, -570},
    {-591, -624},
    {-514, -680},
    {-445, -743},
    {-443, -742},
    {-459, -749},
    {-458, -701},
    {-454, -663},
    {-459, -655},
    {-561, -542},
    {-621, -488},
    {-787, -310},
    {-964, -117},
    {-1019, -82},
    {-1473, 470},
    {-1915, 988},
    {-2212, 1319},
    {-2345, 1449},
    {-2299, 1353},
    {-2926, 2114},
    {-3939, 3229},
    {-4801, 3658},
    {-2371, 1081},
};

int gunpoint_selftest(void) {
    int wrong = 0;
    gunpoint_state_t state;
    int16_t wide[GUNPOINT_CLASSES];
    int8_t narrow[GUNPOINT_CLASSES];
    gunpoint_reset(&state);
    for (int t = 0; t < STEPS; t++) {
        gunpoint_step_i16(&state, samples_i16[t], wide);
        for (int k = 0; k < GUNPOINT_CLASSES; k++) {
            wrong += wide[k] != logits_i16[t][k];
        }
    }
    gunpoint_reset(&state);
    for (int t = 0; t < STEPS; t++) {
        gunpoint_step_i8(&state, samples_i8[t], narrow);
        for (int k = 0; k < GUNPOINT_CLASSES; k++) {
            wrong += narrow[k] != logits_i8[t][k];
        }
    }
    return wrong;
}

int gunpoint_selftest_f32(void) {
    int wrong = 0;
    gunpoint_state_t state;
    float logits[GUNPOINT_CLASSES];
    gunpoint_reset(&state);
    for (int t = 0; t < STEPS; t++) {
        gunpoint_step_f32(&state, samples_f32[t], logits);
        for (int k = 0; k < GUNPOINT_CLASSES; k++) {
            const float expected = (float)logits_f32[t][k] * GUNPOINT_LOGIT_SCALE_I16;
            wrong += logits[k] < expected || logits[k] > expected;
        }
    }
    return wrong;
}
