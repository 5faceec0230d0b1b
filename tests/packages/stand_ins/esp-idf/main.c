#include "freertos/FreeRTOS.h"

int main(void) {
    app_main();
    return 0;
}
