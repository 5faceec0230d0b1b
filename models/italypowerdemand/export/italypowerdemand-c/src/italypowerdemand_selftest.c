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
    {-19, -2101},
    {-288, -1859},
    {-324, -1489},
    {1398, -3265},
    {2195, -4402},
    {432, -2752},
    {-2768, 908},
    {247, -1899},
    {5177, -7540},
    {5303, -8039},
    {3171, -6440},
    {-4121, -160},
    {2727, -6373},
    {-3665, -1157},
    {-16654, 10711},
    {-15160, 9818},
    {-7234, 3066},
    {-8392, 4010},
    {-15684, 10845},
    {-21092, 16602},
    {-16391, 12597},
    {5481, -7820},
    {5816, -8527},
    {-21838, 17208},
};

/* The logits after each sample of samples_i8. */
static const int8_t logits_i8[STEPS][ITALYPOWERDEMAND_CLASSES] = {
    {13, -1},
    {11, 1},
    {11, 3},
    {22, -9},
    {28, -16},
    {16, -6},
    {-6, 19},
    {15, 0},
    {47, -37},
    {48, -41},
    {34, -30},
    {-15, 12},
    {27, -27},
    {-17, 10},
    {-102, 88},
    {-91, 81},
    {-34, 33},
    {-39, 36},
    {-87, 81},
    {-127, 123},
    {-97, 97},
    {38, -28},
    {41, -36},
    {-121, 115},
};

/* The logits after each sample of samples_f32, in units of ITALYPOWERDEMAND_LOGIT_SCALE_I16. */
static const int16_t logits_f32[STEPS][ITALYPOWERDEMAND_CLASSES] = {
    {-19, -2101},
    {-288, -1859},
    {-324, -1489},
    {1398, -3265},
    {2195, -4402},
    {432, -2752},
    {-2768, 908},
    {247, -1899},
    {5177, -7540},
    {5303, -8039},
    {3171, -6440},
    {-4121, -160},
    {2727, -6373},
    {-3665, -1157},
    {-16654, 10711},
    {-15160, 9818},
    {-7234, 3066},
    {-8392, 4010},
    {-15684, 10845},
    {-21092, 16602},
    {-16391, 12597},
    {5481, -7820},
    {5816, -8527},
    {-21838, 17208},
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
