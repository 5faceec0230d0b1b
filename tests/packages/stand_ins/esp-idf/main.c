/* SPDX-License-Identifier: Apache-2.0 */
#include "freertos/FreeRTOS.h"

int main(void) {
    app_main();
    return 0;
}
