# SPDX-License-Identifier: Apache-2.0
"""Freed memory stays with the process while it trains, and no longer."""

import resource

import pytest
import torch

from memkd_edge.freed_memory import freed_memory_kept

MIB = 2**20


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def test_large_blocks_are_used_again_instead_of_being_cleared_anew() -> None:
    def taken(times: int) -> int:
        before = faults()
        for _ in range(times):
            torch.empty(80 * MIB, dtype=torch.uint8).fill_(1)
        return faults() - before

    pages = 80 * MIB // resource.getpagesize()
    if taken(2) < pages:
        pytest.skip("this allocator keeps large blocks anyway")
    with freed_memory_kept():
        taken(20)  # until no block lies between others any more
        assert taken(5) < pages // 2
    assert taken(2) >= pages
