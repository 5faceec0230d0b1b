# SPDX-License-Identifier: Apache-2.0
"""Every module imports by its plain name, in every form, as the first module of ours that a program imports."""

import subprocess
import sys

from tests.conftest import ROOT

# Each module in a process of its own, forked from one that has loaded the slow packages; it prints the modules that fail.
WALK = """
import os, pkgutil, sys, traceback
import aeon, jinja2, matplotlib, numba, numpy, onnx, rich, safetensors.torch, scipy.stats, torch, typer
sys.path.insert(0, sys.argv[1])
names = ["memkd_edge." + ".".join(path[:-3].split(os.sep)) for path in sys.argv[2:]]
names = ["memkd_edge", *(name.removesuffix(".__init__") for name in names)]
for name in names:
    parent, _, leaf = name.rpartition(".")
    child = os.fork()
    if child == 0:
        try:
            module = {}
            exec(f"import {name} as found", module)
            if parent:
                exec(f"from {parent} import {leaf} as again", module)
                assert module["again"] is module["found"], f"from {parent} import {leaf} gives {module['again']}"
            assert module["found"] is sys.modules[name], f"import {name} as m gives {module['found']}"
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        print(name)
print(len(names), "modules walked")
"""


def test_every_module_imports_by_its_plain_name_in_every_form():
    package = ROOT / "memkd_edge"
    paths = sorted(str(path.relative_to(package)) for path in package.rglob("*.py") if path != package / "__init__.py")
    done = subprocess.run([sys.executable, "-c", WALK, str(ROOT), *paths], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{len(paths) + 1} modules walked"], done.stderr
