"""Named random streams that are independent and never change; files that are whole or not there."""

import errno
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anrot_lib.core import paths, randomness

# --- streams ---


def test_the_raw_stream_is_the_one_of_the_first_release():
    """Manifests, splits and synthetic images stand on these numbers: they may never change."""
    assert randomness.draw_raw(0, "episodes", 3).tolist() == [
        11093815007230612681,
        11651428036892914414,
        1776262504650644888,
    ]
    assert randomness.make_stream_key(0, "episodes") == 13026525680620928206


@given(st.integers(-(2**40), 2**70), st.text(max_size=20))
def test_any_seed_and_name_give_a_stream_that_repeats(seed, name):
    first, second = (randomness.draw_raw(seed, name, 4) for _ in range(2))
    assert first.dtype == np.uint64
    assert np.array_equal(first, second)
    a, b = (torch.rand(3, generator=randomness.make_generator(seed, name)) for _ in range(2))
    assert torch.equal(a, b)


def test_seeds_and_names_give_different_streams():
    keys = {
        randomness.make_stream_key(s, n) for s in range(20) for n in ("init", "attack", "noise", "episodes", "1/init")
    }
    assert len(keys) == 100
    numbers = [
        torch.rand(1, generator=randomness.make_generator(s, n)).item() for s in (0, 1) for n in ("init", "attack")
    ]
    assert len(set(numbers)) == 4


def test_streams_are_not_correlated():
    a, b = (randomness.draw_raw(0, n, 20_000) / 2.0**64 for n in ("episodes", "attack"))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.04
    assert a.mean() == pytest.approx(0.5, abs=0.02)


def test_no_global_generator_is_touched():
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    torch.rand(5, generator=randomness.make_generator(0, "init"))
    randomness.draw_raw(0, "episodes", 5)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002


# --- files ---


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_there_only_after_the_block(tmp_path):
    path = tmp_path / "new" / "deep" / "file.txt"
    with paths.write_atomically(path) as temporary:
        temporary.write_text("all of it")
        assert not path.exists()
        assert temporary.parent == path.parent, "renaming is atomic only within a file system"
    assert path.read_text() == "all of it"
    assert names(path.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_block_that_fails_keeps_the_old_file_and_leaves_nothing(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(error), paths.write_atomically(path) as temporary:
        temporary.write_text("new, but only ha")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_a_full_disk_at_the_last_moment_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), paths.write_atomically(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append("fsync") or fsync(fd))
    monkeypatch.setattr(Path, "replace", lambda a, b: calls.append("rename") or replace(a, b))
    with paths.write_atomically(tmp_path / "x") as temporary:
        temporary.write_text("x")
    assert calls == ["fsync", "rename"]


@pytest.mark.skipif(sys.platform == "win32", reason="no umask there")
def test_written_files_have_the_usual_permissions(tmp_path):
    with paths.write_atomically(tmp_path / "ours") as temporary:
        temporary.write_text("x")
    (tmp_path / "usual").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_json_is_sorted_readable_and_ends_with_a_newline(tmp_path):
    paths.write_json(tmp_path / "x.json", {"b": [1, 2.5], "a": "Grüße"})
    text = (tmp_path / "x.json").read_text("utf-8")
    assert text == '{\n "a": "Grüße",\n "b": [\n  1,\n  2.5\n ]\n}\n'
    assert json.loads(text) == {"a": "Grüße", "b": [1, 2.5]}
    with pytest.raises(TypeError):
        paths.write_json(tmp_path / "x.json", {"a": object()})
    assert (tmp_path / "x.json").read_text("utf-8") == text


# --- places ---


def test_the_root_follows_the_variable_and_never_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert paths.root() == (tmp_path / "home").resolve()
    places = (paths.raw_dir(), paths.packed_dir(), paths.checkpoints_dir(), paths.results_dir(), paths.runs_dir())
    assert len(set(places)) == 5
    assert all(p.parent == paths.root() for p in places)
    monkeypatch.delenv("ANROT_HOME")
    before = paths.root()
    monkeypatch.chdir("/")
    assert paths.root() == before
    assert tmp_path not in before.parents


def test_a_tilde_in_the_variable_is_the_users_home(monkeypatch):
    monkeypatch.setenv("ANROT_HOME", "~/somewhere")
    assert paths.root() == (Path.home() / "somewhere").resolve()


def test_a_checkout_keeps_its_data_and_an_installed_package_does_not(tmp_path, monkeypatch):
    monkeypatch.delenv("ANROT_HOME")
    package = tmp_path / "anrot_lib" / "core"
    package.mkdir(parents=True)
    monkeypatch.setattr(paths, "__file__", str(package / "paths.py"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert paths.root() == tmp_path / "share" / "anrot"
    (tmp_path / "pyproject.toml").touch()
    assert paths.root() == tmp_path / "data"


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_is_filled_whole_or_not_at_all(tmp_path, there):
    folder = tmp_path / "class" / "students"
    if there:
        folder.mkdir(parents=True)
    with pytest.raises(OSError, match="No space left"), paths.fill_atomically(folder) as made:
        (made / "half.ipynb").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert folder.exists() == there and not list((tmp_path / "class").rglob("*.ipynb"))
    with paths.fill_atomically(folder) as made:
        (made / "whole.ipynb").write_text("whole")
    assert [path.name for path in folder.iterdir()] == ["whole.ipynb"]
    assert [path.name for path in folder.parent.iterdir()] == ["students"]
