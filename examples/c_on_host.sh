#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The generated C on this machine: self-test, then its example program. No data set is needed: a ready-made student is exported.
#     sh c_on_host.sh ../models/gunpoint/export/gunpoint-c
set -eu
make -s -C "$1" check
