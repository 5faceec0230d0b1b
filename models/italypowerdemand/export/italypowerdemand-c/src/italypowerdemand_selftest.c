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
    {6},
    {-7},
    {33},
    {5},
    {-27},
    {19},
    {67},
    {20},
    {-36},
    {-65},
    {-32},
    {18},
    {-119},
    {-11},
    {40},
    {-37},
    {-64},
    {-16},
    {21},
    {53},
    {-7},
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
    {-3339, 2699},
    {-3828, 3475},
    {-4698, 4648},
    {-4464, 4483},
    {-2839, 2820},
    {-3764, 4036},
    {-3749, 3779},
    {931, -2507},
    {10193, -13229},
    {10159, -11559},
    {3874, -2729},
    {-4429, 6779},
    {-2915, 5424},
    {-5924, 8676},
    {-8118, 11297},
    {-9210, 12995},
    {-8198, 11759},
    {-8691, 12209},
    {-9998, 13805},
    {-10678, 14634},
    {-11342, 15665},
    {-8100, 11761},
    {-6118, 8891},
    {-6110, 8108},
};

/* The logits after each sample of samples_i8. */
static const int8_t logits_i8[STEPS][ITALYPOWERDEMAND_CLASSES] = {
    {-7, 31},
    {-10, 36},
    {-16, 43},
    {-14, 42},
    {-5, 33},
    {-10, 40},
    {-10, 38},
    {19, -1},
    {78, -69},
    {78, -58},
    {38, -3},
    {-14, 56},
    {-4, 48},
    {-23, 68},
    {-37, 85},
    {-44, 96},
    {-38, 88},
    {-41, 91},
    {-49, 101},
    {-53, 106},
    {-57, 112},
    {-37, 88},
    {-28, 75},
    {-33, 77},
};

/* The logits after each sample of samples_f32, in units of ITALYPOWERDEMAND_LOGIT_SCALE_I16. */
static const int16_t logits_f32[STEPS][ITALYPOWERDEMAND_CLASSES] = {
    {-3339, 2699},
    {-3828, 3475},
    {-4698, 4648},
    {-4464, 4483},
    {-2839, 2820},
    {-3764, 4036},
    {-3749, 3779},
    {931, -2507},
    {10193, -13229},
    {10159, -11559},
    {3874, -2729},
    {-4429, 6779},
    {-2915, 5424},
    {-5924, 8676},
    {-8118, 11297},
    {-9210, 12995},
    {-8198, 11759},
    {-8691, 12209},
    {-9998, 13805},
    {-10678, 14634},
    {-11342, 15665},
    {-8100, 11761},
    {-6118, 8891},
    {-6110, 8108},
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
