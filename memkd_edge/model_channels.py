# SPDX-License-Identifier: Apache-2.0
"""Which of the channels that data have a model takes."""

from collections.abc import Callable, Sequence

from memkd_edge.errors import UsageError
from memkd_edge.metadata import Metadata


def channel_order(
    metadata: Metadata, channels: Sequence[str], units: Sequence[str], place: str, note: Callable[[str], None]
) -> list[int]:
    """Return where among `channels`, with their `units` ("" unknown), those of a model stand, in its order.

    Args:
        place: of the data, for messages.
        note: is told which channels are left over.

    Raises:
        UsageError: a channel is missing or in another unit.
    """
    lacking = [channel for channel in metadata.channels if channel not in channels]
    if lacking:
        raise UsageError(
            f"{place}: no channel {', '.join(lacking)}, which the model takes; there are {', '.join(channels)}: rename them"
        )
    order = [list(channels).index(channel) for channel in metadata.channels]
    for channel, unit, index in zip(metadata.channels, metadata.units, order, strict=True):
        if unit and units[index] and unit != units[index]:
            raise UsageError(f"{place}: channel {channel} is in {units[index]}, and the model takes {unit}; convert it")
    if extra := [channel for channel in channels if channel not in metadata.channels]:
        note(f"not used, as the model does not take them: {', '.join(extra)}")
    return order
