/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU TCG plugin: counts instructions between two marker functions, exactly, with a profile per address.
 *
 * Arguments:
 *   out=FILE         where the result goes
 *   begin=ADDRESS    windows open when the function there is called ...
 *   end=ADDRESS      ... and close when the function there is; both functions' own first blocks do not count
 *   syscall=NUMBER   instead of begin and end: each such system call closes a window and opens the next
 *
 * Result, one item a line:
 *   window COUNT             instructions of each window, in order
 *   at ADDRESS COUNT TAKEN   an instruction inside windows: how often it ran, how often it branched away
 *
 * QEMU calls back once per translation block, not per instruction: a block runs to its end, since only its
 * last instruction can branch. Distributions ship QEMU without its plugin header, so the few functions used
 * are declared here; PLUGIN_API is the version that the installed QEMU speaks (1 before QEMU 9, then 2).
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PLUGIN_API
#define PLUGIN_API 1
#endif

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id_t;
typedef struct qemu_plugin_tb translation_block_t;
typedef struct qemu_plugin_insn instruction_t;
enum register_access { NO_REGISTERS };

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id_t, void (*)(plugin_id_t, translation_block_t *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(translation_block_t *, void (*)(unsigned int, void *),
                                                 enum register_access, void *);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id_t,
                                                 void (*)(plugin_id_t, unsigned int, int64_t, uint64_t,
                                                          uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                          uint64_t, uint64_t));
extern void qemu_plugin_register_atexit_cb(plugin_id_t, void (*)(plugin_id_t, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const translation_block_t *);
extern instruction_t *qemu_plugin_tb_get_insn(const translation_block_t *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const instruction_t *);
extern size_t qemu_plugin_insn_size(const instruction_t *);
extern int qemu_plugin_version;
extern int qemu_plugin_install(plugin_id_t, const void *, int, char **);

EXPORT int qemu_plugin_version = PLUGIN_API;

/* A translated block. QEMU may translate the same code more than once: each translation has a record. */
typedef struct block {
    struct block *next;
    uint64_t executions;
    uint64_t branches; /* executions after which the program did not go on right behind the block */
    uint64_t end;      /* address behind the last instruction */
    size_t length;
    uint64_t addresses[];
} block_t;

static block_t *blocks;
static block_t *previous;
static uint64_t *windows;
static size_t window_count, window_capacity;
static uint64_t window_instructions;
static bool window_open;
static uint64_t begin_address, end_address; /* equal (0) when windows are marked by a system call */
static int64_t window_syscall = -1;
static char *result_path;

static void *checked(void *memory) {
    if (memory == NULL) {
        fputs("count plugin: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void open_window(void) {
    window_open = true;
    window_instructions = 0;
    previous = NULL;
}

static void close_window(void) {
    if (!window_open) {
        return;
    }
    if (window_count == window_capacity) {
        window_capacity = 2 * window_capacity + 64;
        windows = checked(realloc(windows, window_capacity * sizeof *windows));
    }
    windows[window_count++] = window_instructions;
    window_open = false;
}

static void on_block(unsigned int cpu, void *data) {
    (void)cpu;
    block_t *block = data;
    const uint64_t start = block->addresses[0];
    if (start == begin_address && begin_address != end_address) {
        open_window();
        return;
    }
    if (start == end_address && begin_address != end_address) {
        close_window();
        return;
    }
    if (!window_open) {
        return;
    }
    if (previous != NULL && previous->end != start) {
        previous->branches++;
    }
    block->executions++;
    window_instructions += block->length;
    previous = block;
}

static void on_translation(plugin_id_t id, translation_block_t *tb) {
    (void)id;
    const size_t length = qemu_plugin_tb_n_insns(tb);
    block_t *block = checked(calloc(1, sizeof *block + length * sizeof block->addresses[0]));
    for (size_t i = 0; i < length; i++) {
        const instruction_t *instruction = qemu_plugin_tb_get_insn(tb, i);
        block->addresses[i] = qemu_plugin_insn_vaddr(instruction);
        block->end = block->addresses[i] + qemu_plugin_insn_size(instruction);
    }
    block->length = length;
    block->next = blocks;
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, NO_REGISTERS, block);
}

static void on_syscall(plugin_id_t id, unsigned int cpu, int64_t number, uint64_t a1, uint64_t a2,
                       uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    (void)id, (void)cpu, (void)a1, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number == window_syscall) {
        close_window();
        open_window();
    }
}

static void on_exit_write_result(plugin_id_t id, void *unused) {
    (void)id, (void)unused;
    FILE *file = checked(fopen(result_path, "w"));
    for (size_t i = 0; i < window_count; i++) {
        fprintf(file, "window %" PRIu64 "\n", windows[i]);
    }
    for (const block_t *block = blocks; block != NULL; block = block->next) {
        for (size_t i = 0; block->executions > 0 && i < block->length; i++) {
            const uint64_t taken = i + 1 == block->length ? block->branches : 0;
            fprintf(file, "at %" PRIx64 " %" PRIu64 " %" PRIu64 "\n", block->addresses[i], block->executions,
                    taken);
        }
    }
    fclose(file);
}

EXPORT int qemu_plugin_install(plugin_id_t id, const void *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        value = value == NULL ? "" : value + 1;
        if (strncmp(argv[i], "begin=", 6) == 0) {
            begin_address = strtoull(value, NULL, 0);
        } else if (strncmp(argv[i], "end=", 4) == 0) {
            end_address = strtoull(value, NULL, 0);
        } else if (strncmp(argv[i], "syscall=", 8) == 0) {
            window_syscall = strtoll(value, NULL, 0);
        } else if (strncmp(argv[i], "out=", 4) == 0) {
            result_path = checked(strdup(value));
        }
    }
    if (result_path == NULL) {
        fputs("count plugin: out=FILE is missing\n", stderr);
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    if (window_syscall >= 0) {
        qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    }
    qemu_plugin_register_atexit_cb(id, on_exit_write_result, NULL);
    return 0;
}
