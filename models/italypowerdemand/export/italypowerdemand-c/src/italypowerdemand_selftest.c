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
    {-747, -1429},
    {-1142, -1122},
    {-2354, 444},
    {-2075, 239},
    {-2143, -18},
    {-4723, 2695},
    {-7620, 6298},
    {-5859, 5196},
    {332, -1143},
    {-438, -1265},
    {-5558, 3271},
    {-11537, 9038},
    {-9097, 6744},
    {-12854, 9761},
    {-14070, 11512},
    {-11239, 9775},
    {-10678, 9328},
    {-11959, 9897},
    {-12416, 10866},
    {-13762, 13206},
    {-8448, 8984},
    {4550, -3626},
    {2463, -1810},
    {-16851, 15814},
};

/* The logits after each sample of samples_i8. */
static const int8_t logits_i8[STEPS][ITALYPOWERDEMAND_CLASSES] = {
    {-1, -6},
    {-4, -4},
    {-14, 8},
    {-12, 7},
    {-12, 5},
    {-33, 26},
    {-56, 55},
    {-42, 46},
    {7, -4},
    {1, -5},
    {-40, 32},
    {-87, 77},
    {-77, 69},
    {-98, 84},
    {-106, 98},
    {-80, 81},
    {-75, 76},
    {-88, 83},
    {-93, 92},
    {-104, 111},
    {-60, 76},
    {37, -19},
    {17, -2},
    {-117, 118},
};

/* The logits after each sample of samples_f32, in units of ITALYPOWERDEMAND_LOGIT_SCALE_I16. */
static const int16_t logits_f32[STEPS][ITALYPOWERDEMAND_CLASSES] = {
    {-747, -1429},
    {-1142, -1122},
    {-2354, 444},
    {-2075, 239},
    {-2143, -18},
    {-4723, 2695},
    {-7620, 6298},
    {-5859, 5196},
    {332, -1143},
    {-438, -1265},
    {-5558, 3271},
    {-11537, 9038},
    {-9097, 6744},
    {-12854, 9761},
    {-14070, 11512},
    {-11239, 9775},
    {-10678, 9328},
    {-11959, 9897},
    {-12416, 10866},
    {-13762, 13206},
    {-8448, 8984},
    {4550, -3626},
    {2463, -1810},
    {-16851, 15814},
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
