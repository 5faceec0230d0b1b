# SPDX-License-Identifier: Apache-2.0
"""How much flash a model's C takes on a Cortex-M4, as its compiler and linker say."""

from collections.abc import Mapping
from pathlib import Path

from memkd_edge import toolchain
from memkd_edge.errors import MissingToolError
from memkd_edge.scratch import scratch_folder

_TOOLS = "arm-none-eabi-"
_COMPILER = f"{_TOOLS}gcc"
_CORE = ("-mcpu=cortex-m4", "-mthumb")
# What a firmware calls; the linker drops the rest.
_PROBE = """#include "{name}.h"
#include "{name}_selftest.h"
void probe(volatile int16_t *io);
void probe(volatile int16_t *io) {{
#ifdef PUSH
    static {name}_stream_t stream;
    {name}_begin(&stream);
#else
    static {name}_state_t state;
    {name}_init(&state);
#endif
#ifdef SELFTEST
    *io = (int16_t){name}_selftest();
#endif
    for (;;) {{
        int16_t x[{upper}_CHANNELS], logits[{upper}_CLASSES];
        for (int j = 0; j < {upper}_CHANNELS; j++) {{
            x[j] = *io;
        }}
#ifdef PUSH
        (void)logits;
        {name}_gap(&stream, (uint32_t)*io);
        *io = (int16_t){name}_push_i16(&stream, x);
#else
        {name}_step_i16(&state, x, logits);
        *io = (int16_t){name}_argmax_i16(logits);
#endif
    }}
}}
"""


def flash_rows(sources: Mapping[str, str], name: str) -> list[dict[str, str]]:
    """Return rows of a table of memory, "what", "bytes" and "kind": the int16 entry in each form, and the self-test.

    Args:
        sources: of the model, its self-test and its runtime, by file name.
    """
    try:
        toolchain.find_library(_COMPILER, "nano.specs")
    except MissingToolError:
        return [{"what": "flash", "bytes": "?", "kind": f"not measured: {_COMPILER} or its newlib was not installed"}]
    compiler = toolchain.version(_COMPILER)
    rows = []
    forms = {"fast": ("-O2",), "medium": ("-O2", "-DMEMKD_MEDIUM"), "small": ("-Os", "-DMEMKD_SMALL")}
    for form, flags in forms.items():
        size = _flash(sources, name, (*_CORE, *flags))
        rows.append(
            {
                "what": f"flash, {form} form: model, runtime, tables",
                "bytes": str(size),
                "kind": f"emulated-exact: linked by {compiler} {' '.join((*_CORE[:1], *flags))}, int16 entry",
            }
        )
    added = _flash(sources, name, (*_CORE, "-O2", "-DPUSH")) - _flash(sources, name, (*_CORE, "-O2"))
    kind = "emulated-exact: the same, fast form"
    rows.append({"what": "flash, begin, push and gap on top of the model alone", "bytes": str(added), "kind": kind})
    added = self_test_flash(sources, name, (*_CORE, "-O2"))
    rows.append({"what": "flash, the self-test on top, if called", "bytes": str(added), "kind": kind})
    return rows


def self_test_flash(
    sources: Mapping[str, str], name: str, flags: tuple[str, ...], *, tools: str = _TOOLS, link: tuple[str, ...] = ()
) -> int:
    """Return how many bytes of flash the boot self-test adds to a firmware.

    Args:
        sources: as of `flash_rows`.
        name: of the model.
        flags: of the core and of the build.
        tools: prefix of compiler and binutils.
        link: what the image is linked with instead of `flags`, where no library is built for exactly these.
    """
    with_test, without = (_flash(sources, name, (*flags, *more), tools, link) for more in (("-DSELFTEST",), ()))
    return with_test - without


def _flash(sources: Mapping[str, str], name: str, flags: tuple[str, ...], tools: str = _TOOLS, link: tuple[str, ...] = ()) -> int:
    with scratch_folder() as folder:
        for file, text in sources.items():
            (folder / file).write_text(text)
        (folder / "probe.c").write_text(_PROBE.format(name=name, upper=name.upper()))
        files = [file for file in (*sources, "probe.c") if file.endswith(".c")]

        def run(program: str, *arguments: str) -> str:
            return toolchain.run([toolchain.find(f"{tools}{program}"), *arguments], timeout_s=120, cwd=folder)

        run("gcc", "-std=c99", *flags, "-ffunction-sections", "-fdata-sections", "-c", *files)
        objects = [str(Path(file).with_suffix(".o")) for file in files]
        library = link or (*flags, "-specs=nano.specs")
        run("gcc", *library, "-nostartfiles", "-Wl,--gc-sections,-e,probe", *objects, "-o", "image.elf")
        text, data = run("size", "image.elf").splitlines()[1].split()[:2]
        return int(text) + int(data)
