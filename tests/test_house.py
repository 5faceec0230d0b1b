# SPDX-License-Identifier: Apache-2.0
"""What holds for every file of the project."""

import subprocess

from tests.conftest import ROOT


def test_every_source_file_names_its_licence_at_the_top():
    patterns = ("*.py", "*.c", "*.h", "*.cc", "*.cpp", ":!models")  # models: as the version that made them wrote them
    files = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert files
    heads = {file: (ROOT / file).read_text().splitlines()[:2] for file in files}
    assert [file for file, head in heads.items() if not any("SPDX-License-Identifier: Apache-2.0" in line for line in head)] == []
