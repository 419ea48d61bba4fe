"""The native engine's instruction sets: which are chosen, and the kernels under sanitizers and valgrind."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from soilcast.errors import SoilcastError
from soilcast.models.native import VARIABLE, engine_name, engines

HERE = Path(__file__).parent / "engines"
SOURCES = Path(__file__).parents[2] / "src" / "soilcast" / "models" / "native"
KERNELS = ("portable.cpp", "avx2.cpp", "interface.cpp")

_AVX512 = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
FLAGS = {"avx2": {"avx2", "fma"}, "avx512": _AVX512, "amx": _AVX512 | {"avx512_bf16", "amx_bf16", "amx_tile"}}
"""What /proc/cpuinfo calls what each engine is compiled for."""


def processor_flags() -> set[str]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}


@pytest.mark.skipif(not engines(), reason="soilcast was installed without a compiler")
@pytest.mark.skipif(not processor_flags(), reason="the system does not say what this processor has")
def test_only_what_the_processor_has_is_chosen() -> None:
    there = processor_flags()
    assert engines() == ["portable", *(name for name, needed in FLAGS.items() if needed <= there)]


@pytest.mark.parametrize("name", engines())
def test_an_instruction_set_can_be_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert engine_name() == engines()[-1]
    for wanted in (name, "torch"):
        monkeypatch.setenv(VARIABLE, wanted)
        assert engine_name() == wanted


@pytest.mark.parametrize("name", ["avx1024", *(set(FLAGS) - set(engines()))])
def test_one_that_is_not_there_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, name)
    with pytest.raises(SoilcastError, match=rf"^SOILCAST_ENGINE={name}: here there is torch.*: use one of these"):
        engine_name()


def compiled(folder: Path, *options: str) -> Path:
    """The check of all engines, those of AVX-512 and AMX without their instructions."""
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    program = folder / "check"
    sources = (*(SOURCES / name for name in KERNELS), *(HERE / f"{name}.cpp" for name in ("wide", "tiles", "check")))
    command = ("g++", "-std=c++17", *options, "-Wno-psabi", *map(str, sources), "-o", str(program), "-lpthread")
    subprocess.run(command, check=True, cwd=folder)
    return program


@pytest.mark.slow
def test_kernels_keep_to_their_memory_and_do_nothing_undefined(tmp_path: Path) -> None:
    program = compiled(tmp_path, "-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 differences\n", "")


@pytest.mark.slow
def test_kernels_read_nothing_that_was_not_written(tmp_path: Path) -> None:
    if shutil.which("valgrind") is None:
        pytest.skip("no valgrind")
    program = compiled(tmp_path, "-O0")
    command = ("valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", str(program))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "0 differences\n"), done.stderr
