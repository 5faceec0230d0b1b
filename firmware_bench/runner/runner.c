/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures one model: feeds it known inputs and reports its outputs, stack and time as `key=value` lines.
 *
 *   protocol=1       first line; a second one means that the device was reset
 *   steps=64         time steps of one pass
 *   arena=1952       of a model in an interpreter: the least bytes it can be planned in, 0 if it is refused
 *   arena_used=1616  and the bytes in use after planning
 *   state_bytes=32   size of the model's state
 *   stack=112        bytes of stack below the caller of a step, at the deepest
 *   logits.7=-3 12   outputs of step 7 from reset; float outputs as 8 hexadecimal digits of their bits
 *   overhead=3       ticks of an empty measurement
 *   ticks=961        one line per step of every timed pass
 *   done=1b2c3d4e    last line: FNV-1a hash of all lines above, line ends included
 *
 * bench_model.h, written for each measurement, names the model (MODEL_*) and its inputs (BENCH_*).
 */
#include "bench_model.h"
#include "port.h"

static const model_value_t inputs[BENCH_STEPS][MODEL_CHANNELS] = BENCH_INPUTS;
static model_state_t state;
static model_value_t logits[MODEL_CLASSES];
static uint32_t ticks[BENCH_STEPS];
#ifdef MODEL_ARENA_BYTES
static uint8_t arena[MODEL_ARENA_BYTES] __attribute__((aligned(16)));
#endif
static uint32_t hash = 2166136261u;

/* The markers open and close a window for the instruction counter. Equal bodies would be merged into one. */
__attribute__((noinline)) void bench_begin(void);
__attribute__((noinline)) void bench_end(void);

void bench_begin(void) {
    __asm__ volatile("/* begin */" ::: "memory");
}

void bench_end(void) {
    __asm__ volatile("/* end */" ::: "memory");
}

static void output(const char *text) {
    for (const char *c = text; *c != '\0'; c++) {
        hash = (hash ^ (uint8_t)*c) * 16777619u;
    }
    port_output(text);
}

static void output_hex(uint32_t value) {
    char text[9];
    for (int i = 7; i >= 0; i--) {
        text[i] = "0123456789abcdef"[value & 15u];
        value >>= 4;
    }
    text[8] = '\0';
    output(text);
}

/* Decimal without a division, so that the runner pulls nothing from a library into the image it measures. */
static void output_unsigned(uint32_t value) {
    static const uint32_t powers[] = {1000000000u, 100000000u, 10000000u, 1000000u, 100000u,
                                      10000u,      1000u,      100u,      10u,      1u};
    char text[11];
    int length = 0;
    for (int i = 0; i < 10; i++) {
        char digit = '0';
        while (value >= powers[i]) {
            value -= powers[i];
            digit++;
        }
        if (length > 0 || digit != '0' || i == 9) {
            text[length++] = digit;
        }
    }
    text[length] = '\0';
    output(text);
}

static void output_line(const char *key, uint32_t value) {
    output(key);
    output("=");
    output_unsigned(value);
    output("\n");
}

static void output_logits(uint32_t step) {
    output("logits.");
    output_unsigned(step);
    for (uint32_t k = 0; k < MODEL_CLASSES; k++) {
        output(k == 0 ? "=" : " ");
#if MODEL_FLOAT
        union {
            float value;
            uint32_t bits;
        } word = {logits[k]};
        output_hex(word.bits);
#else
        const int32_t value = logits[k];
        if (value < 0) {
            output("-");
        }
        output_unsigned((uint32_t)(value < 0 ? -value : value));
#endif
    }
    output("\n");
}

static uint32_t measure_stack(void) {
    model_reset(&state);
    port_paint_stack();
    for (uint32_t t = 0; t < BENCH_STEPS; t++) {
        model_step(&state, inputs[t], logits);
    }
    return port_stack_used();
}

static void check_outputs(void) {
    model_reset(&state);
    for (uint32_t t = 0; t < BENCH_STEPS; t++) {
        model_step(&state, inputs[t], logits);
        output_logits(t);
    }
}

/* The least of several empty measurements: the first ones meet cold caches. */
static uint32_t time_nothing(void) {
    uint32_t least = PORT_TICKS_MASK;
    for (int i = 0; i < 8; i++) {
        const uint32_t start = port_ticks();
        bench_begin();
        bench_end();
        const uint32_t elapsed = (port_ticks() - start) & PORT_TICKS_MASK;
        least = elapsed < least ? elapsed : least;
    }
    return least;
}

static void time_pass(void) {
    model_reset(&state);
    for (uint32_t t = 0; t < BENCH_STEPS; t++) {
        const uint32_t start = port_ticks();
        bench_begin();
        model_step(&state, inputs[t], logits);
        bench_end();
        ticks[t] = (port_ticks() - start) & PORT_TICKS_MASK;
    }
    for (uint32_t t = 0; t < BENCH_STEPS; t++) {
        output_line("ticks", ticks[t]);
    }
}

void bench_run(void) {
    port_start_ticks();
    output_line("protocol", 1);
    output_line("steps", BENCH_STEPS);
#ifdef MODEL_ARENA_BYTES
    output_line("arena", model_begin(arena, sizeof arena));
    output_line("arena_used", model_arena_used());
#endif
    output_line("state_bytes", (uint32_t)sizeof(model_state_t));
    output_line("stack", measure_stack());
    check_outputs();
    output_line("overhead", time_nothing());
    for (uint32_t pass = 0; pass < BENCH_PASSES; pass++) {
        time_pass();
    }
    const uint32_t final_hash = hash;
    output("done=");
    output_hex(final_hash);
    output("\n");
}
