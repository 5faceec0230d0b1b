# SPDX-License-Identifier: Apache-2.0
"""Which recordings are held out: whole subjects, or whole recordings where subjects are not known, never samples."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from memkd_edge.config import DataConfig
from memkd_edge.data.recording_files import Note
from memkd_edge.data.recordings import Recording, Recordings, class_counts, whole_name
from memkd_edge.data.splits import group_count, hold_out_groups
from memkd_edge.errors import UsageError
from memkd_edge.options import first_of

SPLIT_SEED = 0  # fixed, so that files always give the same data set


def split_recordings(
    stretches: list[Recording], labels: tuple[str, ...], options: DataConfig, note: Note
) -> tuple[list[Recording], list[Recording], str]:
    """Hold subjects out for the test, or recordings where fewer than two subjects are known."""
    subjects = Counter(stretch.subject for stretch in stretches)
    by_subject = len(subjects) > 1 and "" not in subjects
    what = "subject" if by_subject else "recording"
    key: Callable[[Recording], str] = (lambda one: one.subject) if by_subject else (lambda one: whole_name(one.name))
    groups = list(dict.fromkeys(key(stretch) for stretch in stretches))
    if options.test_subjects:
        unknown = [subject for subject in options.test_subjects if subject not in subjects]
        if unknown or not by_subject:
            raise UsageError(
                f"--test-subjects {','.join(options.test_subjects)}: the subjects are {', '.join(subjects) or 'unknown'}"
            )
        chosen = list(options.test_subjects)
        how = "as --test-subjects says"
    else:
        chosen = _chosen(stretches, labels, groups, key, what, options)
        how = f"by {what}, seed {SPLIT_SEED}"
    if not by_subject:
        who = "one subject is known" if len(subjects) == 1 and "" not in subjects else "subjects are not known"
        note(f"{who}: the test is on other recordings, and does not tell how it goes with new people")
    train = [stretch for stretch in stretches if key(stretch) not in chosen]
    test = [stretch for stretch in stretches if key(stretch) in chosen]
    share = sum(len(stretch.x) for stretch in test) / sum(len(stretch.x) for stretch in stretches)
    ordered = [group for group in groups if group in chosen]
    return train, test, f"{what}s {first_of(ordered, 8)} ({len(ordered)} of {len(groups)}, {share:.0%} of the samples), {how}"


def _chosen(
    stretches: list[Recording],
    labels: tuple[str, ...],
    groups: list[str],
    key: Callable[[Recording], str],
    what: str,
    options: DataConfig,
) -> list[str]:
    """Return the groups held out for the test."""
    if len(groups) < 2:
        raise UsageError(
            f"there is a single {what}, {groups[0]!r}; two are needed, so that one can be held out for the test: tell them apart "
            "with a column `recording`, or record more"
        )
    amounts = np.zeros((len(groups), len(labels)))
    for stretch in stretches:
        amounts[groups.index(key(stretch))] += class_counts([stretch], len(labels))
    for index, label in enumerate(labels):
        having = np.flatnonzero(amounts[:, index])
        if having.size < 2:
            raise UsageError(
                f"class {label!r} stands in {what} {groups[having[0]]!r} alone; a split by {what} cannot have it on both sides: "
                f"record it with others, or leave it out with --ignore {label!r}"
            )
    chosen = hold_out_groups(amounts, options.test_fraction, SPLIT_SEED)
    if chosen is None:
        raise UsageError(
            f"no choice of {group_count(len(groups), options.test_fraction)} of {len(groups)} {what}s leaves every class on both "
            "sides; give another --test-fraction, or --ignore a rare class"
        )
    return [groups[index] for index in chosen]


def leave_one_subject_out(recordings: Recordings) -> Iterator[Recordings]:
    """Yield the data set once for each subject, who alone is in the test part then.

    Raises:
        UsageError: fewer than two subjects, a recording without one, or a class that one subject alone has.
    """
    everything = (*recordings.train, *recordings.test)
    subjects = list(dict.fromkeys(recording.subject for recording in everything))
    if len(subjects) < 2 or "" in subjects:
        raise UsageError(f"{recordings.name}: to leave one subject out, every recording needs one, and two are needed at least")
    for subject in subjects:
        yield replace(
            recordings,
            train=tuple(recording for recording in everything if recording.subject != subject),
            test=tuple(recording for recording in everything if recording.subject == subject),
            split=f"subject {subject} left out",
        )
