# SPDX-License-Identifier: Apache-2.0
"""The name under which a model leaves the project: that of files, C functions, a header, an archive, a library, a CMake target.

    export_name("50 Words") == "model_50_words"
    export_name("test") == "model_test"             # CMake has a target of that name
    check_export_name("test")                       # UsageError: it is reserved, and by what

One name serves every format and package, so what any of them reserves is reserved.
"""

import re

from memkd_edge.errors import UsageError

LONGEST = 41  # characters, to which functions and files append up to 14
FORM = "lower-case letters, digits and single underscores between them, a letter first"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")  # ESP-IDF's rule for components is the strictest
_PREFIXES = {"memkd_": "this project's runtime", "esp_": "ESP-IDF, for its components", "idf_": "ESP-IDF, for its components"}

# What each reserves, among names of that form: what ISO C23 and C++23, POSIX.1-2024, newlib 4, CMake 3.31 (CMP0037, CTest), the
# AVR, SAMD, ESP32 and mbed cores of Arduino, the components of ESP-IDF 5, and Kconfig and CMake of Zephyr 3.7 define.
_RESERVED = {
    "this project's runtime": "memkd",
    "C and C++, as a word": """
        alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t char8_t class
        co_await co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype
        default delete do double dynamic_cast else enum explicit export extern false float for friend goto i386 if
        inline int linux long main mips mutable namespace new noexcept not not_eq nullptr operator or or_eq private
        protected public register reinterpret_cast requires restrict return short signed sizeof sparc static
        static_assert static_cast std struct sun switch template tflite this thread_local throw true try typedef
        typeid typename typeof typeof_unqual union unix unsigned using virtual void volatile wchar_t while xor xor_eq
    """,
    "C, as a function or variable": """
        abort abs accept access acos acosh alarm asctime asin asinh atan atan2 atanh atexit atof atoi atol atoll bcmp
        bcopy bind bsearch bzero cabs calloc cbrt ceil chdir chmod chown clearerr clock close conj connect copysign
        cos cosh ctime daylight difftime div dup dup2 environ erf erfc exit exp exp2 expm1 fabs fclose fdim feof
        ferror fflush ffs fgetc fgetpos fgets floor fma fmax fmin fmod fopen fork fprintf fputc fputs fread free
        freopen frexp fscanf fseek fsetpos fsync ftell fwrite gamma getc getchar getenv getopt getpid gets gmtime
        htonl htons hypot ilogb index ioctl isalnum isalpha isatty isblank iscntrl isdigit isgraph islower isprint
        ispunct isspace isupper isxdigit j0 j1 jn kill labs ldexp ldiv lgamma link listen llabs lldiv llrint llround
        localtime log log10 log1p log2 logb longjmp lrint lround lseek malloc memchr memcmp memcpy memmove memset
        mkdir mktime mmap modf nan nearbyint nextafter nice ntohl ntohs open pause perror pipe poll pow printf putc
        putchar puts qsort raise rand random read realloc recv remainder remove remquo rename rewind rindex rint rmdir
        round sbrk scalbln scalbn scanf select send setbuf setjmp setvbuf signal signgam sin sinh sleep snprintf
        socket sprintf sqrt srand srandom sscanf stat stderr stdin stdout stpcpy strcat strchr strcmp strcoll strcpy
        strcspn strdup strerror strftime strlen strncat strncmp strncpy strpbrk strrchr strspn strstr strtod strtof
        strtok strtol strtold strtoll strtoul strtoull strxfrm swab symlink sync system tan tanh tgamma time timezone
        tmpfile tmpnam tolower toupper trunc truncate ungetc unlink usleep va_arg va_copy va_end va_start vfprintf
        vprintf vscanf vsnprintf vsprintf wait write y0 y1 yn
    """,
    "C, POSIX or newlib, as a header": """
        aio alloca ar argz assert byteswap complex cpio crypt ctype dirent dlfcn elf endian envz err errno error
        execinfo fcntl features fenv float fmtmsg fnmatch ftw getopt glob grp iconv ieeefp inttypes iso646 langinfo
        libgen libintl limits link locale malloc math memory monetary mqueue ndbm ndir netdb newlib nl_types obstack
        paths poll process pthread pwd reent regdef regex resolv sched search semaphore setjmp sgtty shadow signal
        spawn stdalign stdarg stdatomic stdbit stdbool stdckdint stddef stdint stdio stdlib stdnoreturn string strings
        stropts syslog tar termio termios tgmath threads time trace uchar ulimit unctrl unistd utime utmp utmpx values
        wait wchar wctype wordexp
    """,
    "the linker, as an archive": """
        anl asan atomic bfd c c_nano crypt dl g g_nano gcc gcc_eh gcc_s gcov gloss gomp iberty itm lsan m mvec nosys
        nsl objc pthread quadmath rdimon rdimon_nano resolv rt semihost ssp ssp_nonshared stdcxx supcxx tsan ubsan
        util z
    """,
    "CMake, as a target": """
        all all_build clean continuous depend edit_cache experimental help install list_install_components nightly
        package package_source preinstall rebuild_cache run_tests test zero_check
    """,
    "Arduino, as a header or library": """
        abi adafruit_sensor api arduino audio avr_debugger binary bluetoothserial bridge can canbus client common
        compat console deprecated display dma eeprom ethernet firmata gsm hardwareserial hid i2s interrupts ipaddress
        itoa keyboard libraries lowpower mouse nan new pdm pins pins_arduino platform print printable pulse_asm
        ringbuffer robot_control rpc rtc rtczero scheduler sd serial serialusb server servo softwareserial spi spiffs
        stepper stream stringbuffer tft tone udp usbapi usbcore usbdesc usbhost variant wcharacter wdt wifi wire
        wiring wiring_analog wiring_digital wiring_private wmath wprogram wstring
    """,
    "ESP-IDF, as a component": """
        app_trace app_update bootloader bootloader_support bt cmock console cxx driver efuse esptool_py fatfs freertos
        hal heap http_parser ieee802154 json linux log lwip main mbedtls mqtt newlib nvs_flash nvs_sec_provider
        openthread partition_table perfmon protobuf_c protocomm pthread riscv rt sdmmc soc spi_flash spiffs
        tcp_transport tcpip_adapter touch_element ulp unity usb vfs wear_levelling wifi_provisioning wpa_supplicant
        xtensa
    """,
    "Zephyr, as a configuration symbol or target": """
        adc app arc arch_cache arm arm64 assert atomic_operations_c audio auxdisplay base64 bbram board boards bt
        cache can charger clock_control coap comparator console counter cpp crc crypto dac dai debug disk_access
        display dma dsp edac eeprom entropy espi events fcb file_system flash flash_map footprint fpga fpu fuel_gauge
        gnss gpio guiconfig haptics hawkbit hwinfo hwspinlock i2c i2s i3c init_stacks input ipc_service ipm kernel
        kscan led led_strip linker llext log lora lorawan lvgl mbedtls mbox mcumgr mdio memc menuconfig mfd mips
        modbus modem mpu mspi multithreading networking nios2 nvs offsets openthread pcie peci picolibc pinctrl pm
        poll posix posix_api printk ps2 ptp pwm ram_report reboot regulator reset retention ring_buffer riscv
        rom_report rtc rtio run sd sdhc semihost sensing sensor serial settings shell sip_svc smbus smf smp soc sparc
        spi stats stream_flash syscon tee test timing_functions tracing uart_console updatehub usb usbc userspace
        video w1 watchdog wifi winstream wm_csp x86 xen xip xtensa zbus zephyr zms ztest
    """,
}
# The least specific kind comes last: who asks why is told the first.
_RESERVED_BY = {name: kind for kind, names in reversed(_RESERVED.items()) for name in names.split()}


def reserved_by(name: str) -> str:
    """Return who reserves a name, in words; "" when nobody does."""
    return _RESERVED_BY.get(name) or next((who for prefix, who in _PREFIXES.items() if name.startswith(prefix)), "")


def check_export_name(name: str, *, where: str = "") -> None:
    """Check a name that a user chose.

    Args:
        where: the option that it came from, for the message.

    Raises:
        UsageError: it has another form, is too long, or is reserved; the message says by what.
    """
    start = f"{where} {name!r:.80}".lstrip()
    if not _NAME.fullmatch(name):
        raise UsageError(f"{start} cannot name an exported model; use {FORM}")
    if len(name) > LONGEST:
        raise UsageError(f"{start} cannot name an exported model: it has {len(name)} characters, at most {LONGEST} are taken")
    if reserved_by(name):
        raise UsageError(f"{start} cannot name an exported model: reserved by {reserved_by(name)}; choose another with --name")


def export_name(name: str) -> str:
    """Return the name under which a model called `name` is exported: fit for `check_export_name`, the same every time."""
    stem = _stem(name)
    if not re.match(r"[a-z]", stem) or reserved_by(stem):
        stem = f"model_{stem}".rstrip("_")
    return stem[:LONGEST].rstrip("_")


def rename_note(name: str) -> str:
    """Say under which name a model called `name` is exported, where it cannot keep its own; "" where it can."""
    stem = _stem(name)
    if stem == export_name(name):
        return ""
    if reserved_by(stem):
        why = f"{stem!r} is reserved by {reserved_by(stem)}"
    elif len(stem) > LONGEST:
        why = f"names have at most {LONGEST} characters"
    else:
        why = "names begin with a letter"
    return f"exports will be named {export_name(name)} ({why}); export --name chooses another"


def _stem(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
