/* SPDX-License-Identifier: Apache-2.0 */
#include <cstdlib>

#include "Arduino.h"

SerialPort Serial;

static int delays = 0;

void delay(unsigned long) {
    if (++delays > 64) {
        exit(0);
    }
}

int main() {
    setup();
    for (;;) {
        loop();
    }
}
