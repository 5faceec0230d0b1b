/* SPDX-License-Identifier: Apache-2.0 */
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
    {-6},
    {-20},
    {23},
    {-7},
    {-43},
    {7},
    {61},
    {9},
    {-53},
    {-84},
    {-48},
    {7},
    {-128},
    {-25},
    {31},
    {-54},
    {-84},
    {-31},
    {10},
    {46},
    {-20},
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
    {-1344, 216},
    {-778, -164},
    {-1913, 1210},
    {-822, 208},
    {1374, -1611},
    {-1379, 1959},
    {-6221, 7390},
    {-5611, 6496},
    {454, -165},
    {5402, -4771},
    {3345, -1546},
    {-6571, 9871},
    {-2652, 6117},
    {-9110, 13019},
    {-11153, 14471},
    {-10139, 13604},
    {-6720, 9897},
    {-8521, 11759},
    {-10670, 13768},
    {-12038, 14928},
    {-10815, 13251},
    {-1201, 3017},
    {2239, 404},
    {-8284, 10700},
};

/* The logits after each sample of samples_i8. */
static const int8_t logits_i8[STEPS][ITALYPOWERDEMAND_CLASSES] = {
    {-2, 11},
    {3, 8},
    {-6, 18},
    {3, 11},
    {20, -4},
    {-1, 24},
    {-40, 67},
    {-35, 60},
    {13, 8},
    {51, -28},
    {35, -3},
    {-43, 87},
    {-16, 61},
    {-63, 112},
    {-80, 124},
    {-71, 116},
    {-43, 85},
    {-57, 100},
    {-75, 117},
    {-86, 126},
    {-76, 113},
    {-6, 36},
    {32, 2},
    {-63, 104},
};

/* The logits after each sample of samples_f32, in units of ITALYPOWERDEMAND_LOGIT_SCALE_I16. */
static const int16_t logits_f32[STEPS][ITALYPOWERDEMAND_CLASSES] = {
    {-1344, 216},
    {-778, -164},
    {-1913, 1210},
    {-822, 208},
    {1374, -1611},
    {-1379, 1959},
    {-6221, 7390},
    {-5611, 6496},
    {454, -165},
    {5402, -4771},
    {3345, -1546},
    {-6571, 9871},
    {-2652, 6117},
    {-9110, 13019},
    {-11153, 14471},
    {-10139, 13604},
    {-6720, 9897},
    {-8521, 11759},
    {-10670, 13768},
    {-12038, 14928},
    {-10815, 13251},
    {-1201, 3017},
    {2239, 404},
    {-8284, 10700},
};

int italypowerdemand_selftest(void) {
    int wrong = italypowerdemand_damaged();
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
