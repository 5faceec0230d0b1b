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
    {-308, 1963},
    {1130, 530},
    {-3003, 4118},
    {55, 1128},
    {7963, -6436},
    {6048, -4311},
    {-5623, 6820},
    {-11523, 12627},
    {-2999, 4375},
    {8560, -7105},
    {5776, -4061},
    {-840, 2738},
    {1813, 192},
    {-7267, 8774},
    {-16042, 17680},
    {-14773, 16165},
    {-7172, 8772},
    {-3756, 5450},
    {-8350, 9529},
    {-12172, 13361},
    {-3968, 4672},
    {11175, -10856},
    {4360, -3940},
    {-9008, 10460},
};

/* The logits after each sample of samples_i8. */
static const int8_t logits_i8[STEPS][ITALYPOWERDEMAND_CLASSES] = {
    {-8, 7},
    {1, -2},
    {-26, 21},
    {-5, 1},
    {48, -49},
    {35, -35},
    {-43, 39},
    {-83, 78},
    {-26, 23},
    {51, -53},
    {32, -32},
    {-13, 14},
    {2, 0},
    {-58, 56},
    {-115, 114},
    {-105, 103},
    {-54, 52},
    {-27, 26},
    {-55, 51},
    {-87, 83},
    {-37, 30},
    {72, -81},
    {60, -68},
    {-41, 33},
};

/* The logits after each sample of samples_f32, in units of ITALYPOWERDEMAND_LOGIT_SCALE_I16. */
static const int16_t logits_f32[STEPS][ITALYPOWERDEMAND_CLASSES] = {
    {-308, 1963},
    {1130, 530},
    {-3003, 4118},
    {55, 1128},
    {7963, -6436},
    {6048, -4311},
    {-5623, 6820},
    {-11523, 12627},
    {-2999, 4375},
    {8560, -7105},
    {5776, -4061},
    {-840, 2738},
    {1813, 192},
    {-7267, 8774},
    {-16042, 17680},
    {-14773, 16165},
    {-7172, 8772},
    {-3756, 5450},
    {-8350, 9529},
    {-12172, 13361},
    {-3968, 4672},
    {11175, -10856},
    {4360, -3940},
    {-9008, 10460},
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
