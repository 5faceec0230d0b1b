/* SPDX-License-Identifier: Apache-2.0 */
/* A stand-in for the Arduino core: prints to standard output; the loop ends after 64 rounds. */
#ifndef STAND_IN_ARDUINO_H
#define STAND_IN_ARDUINO_H

#include <stdint.h>
#include <stdio.h>

struct SerialPort {
    void begin(long) {
    }
    void print(const char *text) {
        printf("%s", text);
    }
    void print(double number, int digits) {
        printf("%.*f", digits, number);
    }
    void print(int number) {
        printf("%d", number);
    }
    void println(const char *text) {
        printf("%s\n", text);
    }
    void println(int number) {
        printf("%d\n", number);
    }
};

extern SerialPort Serial;

void delay(unsigned long milliseconds);
void setup();
void loop();

#endif
