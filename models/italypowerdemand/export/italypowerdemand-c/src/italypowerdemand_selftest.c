/* italypowerdemand_selftest.c: samples and the logits that belong to them. Generated; do not edit. */
#include "italypowerdemand_selftest.h"

#include "italypowerdemand.h"

enum { STEPS = 24 };

static const int16_t samples_i16[STEPS][ITALYPOWERDEMAND_CHANNELS] = {
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

static const int8_t samples_i8[STEPS][ITALYPOWERDEMAND_CHANNELS] = {
    {-9},
    {-24},
    {21},
    {-10},
    {-47},
    {5},
    {60},
    {7},
    {-57},
    {-90},
    {-52},
    {5},
    {-128},
    {-29},
    {30},
    {-59},
    {-90},
    {-35},
    {8},
    {45},
    {-24},
    {-128},
    {-128},
    {127},
};

/* Physical units. */
static const float samples_f32[STEPS][ITALYPOWERDEMAND_CHANNELS] = {
    {0.12308297f},
    {-0.1293234f},
    {0.6269386f},
    {0.10269144f},
    {-0.5243909f},
    {0.35398167f},
    {1.2765443f},
    {0.38680276f},
    {-0.6889181f},
    {-1.238778f},
    {-0.6101514f},
    {0.34789035f},
    {-2.2760773f},
    {-0.21418501f},
    {0.76746887f},
    {-0.7168495f},
    {-1.232556f},
    {-0.30964047f},
    {0.40296367f},
    {1.0205632f},
    {-0.12582837f},
    {-2.4585054f},
    {-5.209512f},
    {5.3543296f},
};

/* The logits after each sample of samples_i16. */
static const int16_t logits_i16[STEPS][ITALYPOWERDEMAND_CLASSES] = {
    {-3322, 2706},
    {-3808, 3478},
    {-4680, 4652},
    {-4449, 4491},
    {-2831, 2835},
    {-3765, 4066},
    {-3765, 3830},
    {867, -2405},
    {10087, -13093},
    {10053, -11408},
    {3786, -2602},
    {-4486, 6865},
    {-2938, 5480},
    {-5938, 8715},
    {-8124, 11329},
    {-9215, 13027},
    {-8195, 11781},
    {-8689, 12229},
    {-9999, 13830},
    {-10675, 14656},
    {-11338, 15686},
    {-8082, 11765},
    {-6096, 8888},
    {-6101, 8121},
};

/* The logits after each sample of samples_i8. */
static const int8_t logits_i8[STEPS][ITALYPOWERDEMAND_CLASSES] = {
    {-19, 22},
    {-22, 28},
    {-28, 36},
    {-27, 35},
    {-16, 24},
    {-22, 32},
    {-22, 31},
    {9, -11},
    {71, -83},
    {72, -73},
    {29, -13},
    {-27, 51},
    {-20, 46},
    {-39, 66},
    {-53, 83},
    {-60, 94},
    {-52, 85},
    {-56, 88},
    {-64, 99},
    {-69, 104},
    {-73, 111},
    {-57, 91},
    {-48, 79},
    {-50, 77},
};

/* The logits after each sample of samples_f32, in units of ITALYPOWERDEMAND_LOGIT_SCALE_I16. */
static const int16_t logits_f32[STEPS][ITALYPOWERDEMAND_CLASSES] = {
    {-3322, 2706},
    {-3808, 3478},
    {-4680, 4652},
    {-4449, 4491},
    {-2831, 2835},
    {-3765, 4066},
    {-3765, 3830},
    {867, -2405},
    {10087, -13093},
    {10053, -11408},
    {3786, -2602},
    {-4486, 6865},
    {-2938, 5480},
    {-5938, 8715},
    {-8124, 11329},
    {-9215, 13027},
    {-8195, 11781},
    {-8689, 12229},
    {-9999, 13830},
    {-10675, 14656},
    {-11338, 15686},
    {-8082, 11765},
    {-6096, 8888},
    {-6101, 8121},
};

int italypowerdemand_selftest(void) {
    int wrong = 0;
    italypowerdemand_state_t state;
    int16_t wide[ITALYPOWERDEMAND_CLASSES];
    int8_t narrow[ITALYPOWERDEMAND_CLASSES];
    italypowerdemand_reset(&state);
    for (int t = 0; t < STEPS; t++) {
        italypowerdemand_step_i16(&state, samples_i16[t], wide);
        for (int k = 0; k < ITALYPOWERDEMAND_CLASSES; k++) {
            wrong += wide[k] != logits_i16[t][k];
        }
    }
    italypowerdemand_reset(&state);
    for (int t = 0; t < STEPS; t++) {
        italypowerdemand_step_i8(&state, samples_i8[t], narrow);
        for (int k = 0; k < ITALYPOWERDEMAND_CLASSES; k++) {
            wrong += narrow[k] != logits_i8[t][k];
        }
    }
    return wrong;
}

int italypowerdemand_selftest_f32(void) {
    int wrong = 0;
    italypowerdemand_state_t state;
    float logits[ITALYPOWERDEMAND_CLASSES];
    italypowerdemand_reset(&state);
    for (int t = 0; t < STEPS; t++) {
        italypowerdemand_step_f32(&state, samples_f32[t], logits);
        for (int k = 0; k < ITALYPOWERDEMAND_CLASSES; k++) {
            const float expected = (float)logits_f32[t][k] * ITALYPOWERDEMAND_LOGIT_SCALE_I16;
            wrong += logits[k] < expected || logits[k] > expected;
        }
    }
    return wrong;
}
