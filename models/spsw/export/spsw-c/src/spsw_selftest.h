/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spsw_selftest.h: does this build of spsw compute what it must?
 *
 * Each function streams 24 samples of seeded noise from reset and compares all logits with those of the reference. It
 * takes 24 steps of time, no memory but its stack, and leaves no trace. Call one at boot: anything but 0 means that this build
 * is wrong (a compiler flag, a damaged flash, a file of another export) and its decisions must not be used.
 */
#ifndef SPSW_SELFTEST_H
#define SPSW_SELFTEST_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Number of wrong logits, 0..240, through the int16 and the int8 entry, and one for the weights and one for the tables
 * if their CRC-32 is wrong. No floating point.
 */
int spsw_selftest(void);

/* Number of wrong logits, 0..120, through the float entry: normalisation and rounding included. */
int spsw_selftest_f32(void);

#ifdef __cplusplus
}
#endif

#endif
