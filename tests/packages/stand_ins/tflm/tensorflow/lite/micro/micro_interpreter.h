/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in for TFLite Micro's interpreter with its treacherous side: inputs and outputs share bytes of the
 * arena. The model is the generated C of stand_in_model.h, which the test writes. STAND_IN_FORGETS: kernels
 * that lose the cell state.
 */
#ifndef STAND_IN_INTERPRETER_H
#define STAND_IN_INTERPRETER_H

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "stand_in_model.h"

#ifndef STAND_IN_ARENA_USED
#define STAND_IN_ARENA_USED STAND_IN_ARENA_BYTES
#endif

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };

struct TfLiteTensor {
    union {
        char *raw;
    } data;
    std::size_t bytes;
};

namespace tflite {

struct Model {
    const void *file;
};

inline const Model *GetModel(const void *file) {
    static Model model;
    model.file = file;
    return &model;
}

class MicroOpResolver {};

class MicroInterpreter {
  public:
    MicroInterpreter(const Model *, const MicroOpResolver &, std::uint8_t *arena, std::size_t bytes)
        : arena_(arena), bytes_(bytes) {
    }

    /* The real one follows pointers in the object: a fault where there is none, or a dead one. */
    ~MicroInterpreter() {
        if (alive_ != ALIVE) {
            __builtin_trap();
        }
        alive_ = 0;
    }

    TfLiteStatus AllocateTensors() {
        if (bytes_ < STAND_IN_ARENA_BYTES || reinterpret_cast<std::uintptr_t>(arena_) % 16 != 0) {
            return kTfLiteError;
        }
        const std::size_t state = sizeof(MODEL_STATE::h) / MODEL_LAYERS;
        Place(inputs_, sizeof(MODEL_VALUE) * MODEL_CHANNELS, state);
        Place(outputs_, sizeof(MODEL_VALUE) * MODEL_CLASSES, state);
        return kTfLiteOk;
    }

    TfLiteStatus Invoke() {
        MODEL_STATE state;
        MODEL_VALUE x[MODEL_CHANNELS], logits[MODEL_CLASSES];
        std::memcpy(x, inputs_[0].data.raw, sizeof x);
        for (int layer = 0; layer < MODEL_LAYERS; layer++) {
            std::memcpy(state.h[layer], inputs_[1 + 2 * layer].data.raw, sizeof state.h[layer]);
            std::memcpy(state.c[layer], inputs_[2 + 2 * layer].data.raw, sizeof state.c[layer]);
        }
        MODEL_STEP(&state, x, logits);
#ifdef STAND_IN_FORGETS
        std::memset(state.c, 0, sizeof state.c);
#endif
        std::memcpy(outputs_[0].data.raw, logits, sizeof logits);
        for (int layer = 0; layer < MODEL_LAYERS; layer++) {
            std::memcpy(outputs_[1 + 2 * layer].data.raw, state.h[layer], sizeof state.h[layer]);
            std::memcpy(outputs_[2 + 2 * layer].data.raw, state.c[layer], sizeof state.c[layer]);
        }
        return kTfLiteOk;
    }

    TfLiteTensor *input(std::size_t index) {
        return &inputs_[index];
    }
    TfLiteTensor *output(std::size_t index) {
        return &outputs_[index];
    }
    std::size_t arena_used_bytes() const {
        return STAND_IN_ARENA_USED;
    }

  private:
    /* Inputs and outputs from the start of the arena alike: each Invoke overwrites its own inputs. */
    void Place(TfLiteTensor *tensors, std::size_t first, std::size_t others) {
        std::size_t at = 0;
        for (int t = 0; t < 1 + 2 * MODEL_LAYERS; t++) {
            tensors[t].data.raw = reinterpret_cast<char *>(arena_ + at);
            tensors[t].bytes = t == 0 ? first : others;
            at += tensors[t].bytes;
        }
    }

    static constexpr std::uint32_t ALIVE = 0x600DB0D7u;
    volatile std::uint32_t alive_ = ALIVE;
    std::uint8_t *arena_;
    std::size_t bytes_;
    TfLiteTensor inputs_[1 + 2 * MODEL_LAYERS];
    TfLiteTensor outputs_[1 + 2 * MODEL_LAYERS];
};

} // namespace tflite

#endif
