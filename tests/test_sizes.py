"""The ledger's numbers against `os.stat`, the real gzip program and the libraries that wrote the files."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from segopt_callbacks import sizes

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=100_000).astype("float32")
CONTENTS = {
    "empty": b"",
    "text": b"one line of text\n" * 500,
    "random": RNG.bytes(70_000),
    "float32": KERNEL.tobytes(),
    "pruned": (KERNEL * (RNG.random(KERNEL.shape) > 0.8)).tobytes(),
    "clustered": RNG.normal(size=16).astype("float32")[RNG.integers(0, 16, 100_000)].tobytes(),
}
needs_gzip = pytest.mark.skipif(shutil.which("gzip") is None, reason="no gzip program")


def gzip_prints(path) -> int:
    return len(subprocess.run(["gzip", "-9", "-n", "-c", str(path)], check=True, stdout=subprocess.PIPE).stdout)


@needs_gzip
@pytest.mark.parametrize("name", CONTENTS)
def test_gzip_bytes_is_what_the_program_prints(tmp_path, name):
    file = tmp_path / f"{name} weights.bin"
    file.write_bytes(CONTENTS[name])
    assert sizes.gzip_bytes(file) == gzip_prints(file)
    assert sizes.file_bytes(file) == len(CONTENTS[name])


@pytest.mark.parametrize("name", CONTENTS)
def test_without_the_program_zlib_is_within_one_percent(tmp_path, name, monkeypatch):
    file = tmp_path / "weights.bin"
    file.write_bytes(CONTENTS[name])
    expected = sizes.gzip_bytes(file)
    monkeypatch.setattr(shutil, "which", lambda program: None)
    assert sizes.gzip_bytes(file) == pytest.approx(expected, rel=0.012)


@needs_gzip
def test_a_folder_is_the_sum_of_its_files(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    files = [tmp_path / "a" / "one", tmp_path / "a" / "b" / "two.gz"]
    for file, content in zip(files, (CONTENTS["text"], CONTENTS["random"]), strict=True):
        file.write_bytes(content)
    assert sizes.file_bytes(tmp_path) == len(CONTENTS["text"]) + len(CONTENTS["random"])
    with files[1].open("rb") as stream:
        second = len(subprocess.run(["gzip", "-9", "-n"], check=True, stdin=stream, stdout=subprocess.PIPE).stdout)
    assert sizes.gzip_bytes(tmp_path / "a") == gzip_prints(files[0]) + second


def test_options_of_the_users_own_do_not_count(tmp_path, monkeypatch):
    file = tmp_path / "weights.bin"
    file.write_bytes(CONTENTS["float32"])
    expected = sizes.gzip_bytes(file)
    monkeypatch.setenv("GZIP", "-1")
    assert sizes.gzip_bytes(str(file)) == expected


def test_nothing_there(tmp_path):
    for count in (sizes.file_bytes, sizes.gzip_bytes):
        with pytest.raises(FileNotFoundError, match="absent"):
            count(tmp_path / "absent")
