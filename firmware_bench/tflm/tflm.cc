/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A .tflite file in TFLite Micro as a model for runner.c. The header of the model, written for each
 * measurement, has the file (tflm_file), the sizes (TFLM_*) and the operators. As in the package that
 * `memkd-edge export --package tflm` writes, the state lives outside the arena, where inputs and outputs
 * share bytes.
 */
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>

#include "bench_model.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace {

using Operators = tflite::MicroMutableOpResolver<TFLM_OPERATORS>;

constexpr std::size_t ARENA_STEP = 16; // bytes, the arena's alignment

// Made by model_begin: static objects would need constructors to run before main.
alignas(Operators) std::uint8_t operators_memory[sizeof(Operators)];
alignas(tflite::MicroInterpreter) std::uint8_t interpreter_memory[sizeof(tflite::MicroInterpreter)];
tflite::MicroInterpreter *interpreter;

tflite::MicroInterpreter *plan(const Operators &operators, std::uint8_t *arena, std::size_t bytes) {
    const tflite::Model *model = tflite::GetModel(tflm_file);
    auto *made = new (interpreter_memory) tflite::MicroInterpreter(model, operators, arena, bytes);
    if (made->AllocateTensors() == kTfLiteOk) {
        return made;
    }
    made->~MicroInterpreter();
    return nullptr;
}

} // namespace

std::uint32_t model_begin(std::uint8_t *arena, std::uint32_t bytes) {
    auto *operators = new (operators_memory) Operators;
    if (!TFLM_ADD_OPERATORS(operators)) {
        return 0;
    }
    interpreter = plan(*operators, arena, bytes);
    if (interpreter == nullptr) {
        return 0;
    }
    // Planning takes more than what is used afterwards: the least that suffices is found by trying.
    std::size_t least = (interpreter->arena_used_bytes() + ARENA_STEP - 1) / ARENA_STEP * ARENA_STEP;
    interpreter->~MicroInterpreter();
    // A plan that does not fit is destroyed by `plan`.
    while ((interpreter = plan(*operators, arena, least)) == nullptr) {
        least += ARENA_STEP;
    }
    return static_cast<std::uint32_t>(least);
}

std::uint32_t model_arena_used() {
    return interpreter == nullptr ? 0 : static_cast<std::uint32_t>(interpreter->arena_used_bytes());
}

void model_reset(model_state_t *state) {
    std::memset(state, 0, sizeof *state);
}

void model_step(model_state_t *state, const model_value_t x[], model_value_t logits[]) {
    if (interpreter == nullptr) {
        return;
    }
    std::memcpy(interpreter->input(0)->data.raw, x, sizeof(model_value_t) * MODEL_CHANNELS);
    for (std::size_t s = 0; s < TFLM_STATES; s++) {
        std::memcpy(interpreter->input(1 + s)->data.raw, state->values[s], sizeof state->values[s]);
    }
    if (interpreter->Invoke() != kTfLiteOk) {
        return; // logits and state stay as they are, which the comparison with the reference notices
    }
    std::memcpy(logits, interpreter->output(0)->data.raw, sizeof(model_value_t) * MODEL_CLASSES);
    for (std::size_t s = 0; s < TFLM_STATES; s++) {
        std::memcpy(state->values[s], interpreter->output(1 + s)->data.raw, sizeof state->values[s]);
    }
}
