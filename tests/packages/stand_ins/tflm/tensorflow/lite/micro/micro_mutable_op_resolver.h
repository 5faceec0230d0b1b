/* SPDX-License-Identifier: Apache-2.0 */
/* A stand-in for TFLite Micro's resolver: counts the operators it is given. */
#ifndef STAND_IN_RESOLVER_H
#define STAND_IN_RESOLVER_H

#include "tensorflow/lite/micro/micro_interpreter.h"

namespace tflite {

template <unsigned kOperators> class MicroMutableOpResolver : public MicroOpResolver {
  public:
    TfLiteStatus AddAdd() {
        return Add();
    }
    TfLiteStatus AddCast() {
        return Add();
    }
    TfLiteStatus AddConcatenation() {
        return Add();
    }
    TfLiteStatus AddFullyConnected() {
        return Add();
    }
    TfLiteStatus AddLogistic() {
        return Add();
    }
    TfLiteStatus AddMul() {
        return Add();
    }
    TfLiteStatus AddQuantize() {
        return Add();
    }
    TfLiteStatus AddSplit() {
        return Add();
    }
    TfLiteStatus AddSub() {
        return Add();
    }
    TfLiteStatus AddTanh() {
        return Add();
    }

  private:
    TfLiteStatus Add() {
        return ++added_ <= kOperators ? kTfLiteOk : kTfLiteError;
    }
    unsigned added_ = 0;
};

} // namespace tflite

#endif
