/* SPDX-License-Identifier: Apache-2.0 */
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
    {-290, 1260},
    {-433, 1463},
    {-989, 2030},
    {-1295, 2411},
    {-1129, 2252},
    {-1571, 2710},
    {-2451, 3511},
    {-2932, 4105},
    {-2589, 3730},
    {-1387, 2116},
    {-1086, 1794},
    {-1596, 2367},
    {369, -657},
    {402, -581},
    {-499, 507},
    {-115, -107},
    {314, -775},
    {-39, -348},
    {-722, 453},
    {-1590, 1501},
    {-1498, 1215},
    {-469, -566},
    {-588, -855},
    {-1133, 1868},
};

/* The logits after each sample of samples_i8. */
static const int8_t logits_i8[STEPS][GUNPOINT_CLASSES] = {
    {-3, 7},
    {-4, 8},
    {-7, 12},
    {-9, 14},
    {-8, 13},
    {-11, 16},
    {-17, 22},
    {-20, 25},
    {-18, 23},
    {-10, 13},
    {-8, 11},
    {-11, 14},
    {1, -5},
    {2, -5},
    {-4, 2},
    {-2, -2},
    {1, -6},
    {-1, -3},
    {-6, 2},
    {-11, 9},
    {-11, 7},
    {-4, -4},
    {-2, -8},
    {-16, 13},
};

/* The logits after each sample of samples_f32, in units of GUNPOINT_LOGIT_SCALE_I16. */
static const int16_t logits_f32[STEPS][GUNPOINT_CLASSES] = {
    {-290, 1260},
    {-433, 1463},
    {-989, 2030},
    {-1295, 2411},
    {-1129, 2252},
    {-1571, 2710},
    {-2451, 3511},
    {-2932, 4105},
    {-2589, 3730},
    {-1387, 2116},
    {-1086, 1794},
    {-1596, 2367},
    {369, -657},
    {402, -581},
    {-499, 507},
    {-115, -107},
    {314, -775},
    {-39, -348},
    {-722, 453},
    {-1590, 1501},
    {-1498, 1215},
    {-469, -566},
    {-588, -855},
    {-1133, 1868},
};

int gunpoint_selftest(void) {
    int wrong = gunpoint_damaged();
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
