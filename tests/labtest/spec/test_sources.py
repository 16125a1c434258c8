"""The folder of a spec, on disk and in memory: both answer alike, and on a disk nothing outside is reached."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from labtest.core.folder import Folder, FolderContents, Found, SourceProblem
from labtest.spec import Sources
from labtest.spec import sources as sources_module

FILES = {
    "a.txt": b"a",
    "wheels/x-1.whl": b"x",
    "wheels/y-1.whl": b"y",
    "wheels/.hidden.whl": b"h",
    "bin/run": b"#!/bin/sh\n",
    "bin/deep/er/tool": b"t",
    "bin/.config": b"c",
    "[odd].txt": b"o",
}


def _on_disk(folder: Path) -> Folder:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "bin/run").chmod(0o755)
    return Sources(folder)


def _in_memory(_folder: Path) -> Folder:
    return FolderContents(FILES, frozenset({"bin/run"}))


both = pytest.mark.parametrize("make", [_on_disk, _in_memory], ids=["disk", "memory"])
_Make = Callable[[Path], Folder]


@both
@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a.txt", [Found("a.txt", "a.txt")]),
        ("wheels/*.whl", [Found("x-1.whl", "wheels/x-1.whl"), Found("y-1.whl", "wheels/y-1.whl")]),
        ("wheels/.h*", [Found(".hidden.whl", "wheels/.hidden.whl")]),
        ("w*/x-?.whl", [Found("x-1.whl", "wheels/x-1.whl")]),
        ("wheels/[xz]-1.whl", [Found("x-1.whl", "wheels/x-1.whl")]),
        (
            "bin",
            [
                Found("bin/.config", "bin/.config"),
                Found("bin/deep/er/tool", "bin/deep/er/tool"),
                Found("bin/run", "bin/run", True),
            ],
        ),
        ("bin/deep", [Found("deep/er/tool", "bin/deep/er/tool")]),
        ("bin/*/er", [Found("er/tool", "bin/deep/er/tool")]),
        ("./a.txt", [Found("a.txt", "a.txt")]),
        ("[[]odd].txt", [Found("[odd].txt", "[odd].txt")]),
        ("*.deb", []),
        ("a.txt/more", []),
        ("nowhere/*", []),
    ],
)
def test_pattern_finds(make: _Make, tmp_path: Path, pattern: str, found: list[Found]) -> None:
    assert list(make(tmp_path).find(pattern)) == found


@both
def test_file_is_read(make: _Make, tmp_path: Path) -> None:
    assert make(tmp_path).read("bin/deep/er/tool") == b"t"


@both
@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("b.txt", "there is no file 'b.txt' beside the spec; did you mean 'a.txt'?"),
        ("../a.txt", "'../a.txt' leads out of the spec's folder; sources are inside it"),
        ("bin/../../a.txt", "'bin/../../a.txt' leads out of the spec's folder; sources are inside it"),
        ("/etc/passwd", "'/etc/passwd' begins with '/'; sources are named relative to the spec's folder"),
        ("", "it is empty; name a file beside the spec"),
    ],
)
def test_what_cannot_be_read(make: _Make, tmp_path: Path, path: str, problem: str) -> None:
    with pytest.raises(SourceProblem) as caught:
        make(tmp_path).read(path)
    assert str(caught.value) == problem


@both
@pytest.mark.parametrize("pattern", ["../*", "/etc/*", "", "bin/**", "a\0b"])
def test_pattern_that_leads_elsewhere(make: _Make, tmp_path: Path, pattern: str) -> None:
    with pytest.raises(SourceProblem):
        make(tmp_path).find(pattern)


# On disk only


def _inside(tmp_path: Path) -> tuple[Path, Sources]:
    folder = tmp_path / "lab"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    return folder, Sources(folder)


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder, sources = _inside(tmp_path)
    (folder / "link").symlink_to("../secret")
    (folder / "up").symlink_to("..")
    for path in ("link", "up/secret"):
        with pytest.raises(SourceProblem, match=f"'{path}' is a link that leads out of the spec's folder"):
            sources.read(path)
    with pytest.raises(SourceProblem, match="'link' is a link that leads out"):
        sources.find("li*")
    with pytest.raises(SourceProblem, match="'up' is a link that leads out"):
        sources.find("up")
    with pytest.raises(SourceProblem, match="'up/secret' is a link that leads out"):
        sources.find("up/*ret")


def test_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    folder, sources = _inside(tmp_path)
    (folder / "real").write_bytes(b"content")
    (folder / "link").symlink_to("real")
    assert sources.read("link") == b"content"
    assert sources.find("link") == (Found("link", "link"),)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    folder, sources = _inside(tmp_path)
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    (folder / "loop").mkdir()
    (folder / "loop/again").symlink_to("../loop")
    with pytest.raises(SourceProblem, match="cannot read 'a'"):
        sources.read("a")
    with pytest.raises(
        SourceProblem, match="'loop/again' is a link to a folder, which could lead in a circle"
    ):
        sources.find("loop")


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    folder, sources = _inside(tmp_path)
    os.mkfifo(folder / "pipe")
    with pytest.raises(SourceProblem, match="'pipe' is not a regular file"):
        sources.read("pipe")
    (folder / "sub").mkdir()
    with pytest.raises(SourceProblem, match="'sub' is not a regular file"):
        sources.read("sub")


def test_folder_that_is_a_link_itself(tmp_path: Path) -> None:
    folder, _ = _inside(tmp_path)
    (folder / "a").write_bytes(b"a")
    (tmp_path / "link").symlink_to(folder)
    assert Sources(tmp_path / "link").read("a") == b"a"


def test_file_at_the_size_limit_and_one_past_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, sources = _inside(tmp_path)
    monkeypatch.setattr(sources_module, "SOURCE_BYTES_MAX", 100)
    (folder / "a").write_bytes(b"." * 100)
    assert len(sources.read("a")) == 100
    (folder / "a").write_bytes(b"." * 101)
    with pytest.raises(SourceProblem, match="'a' has more than the 100 bytes that are possible"):
        sources.read("a")


def test_number_of_files_at_the_limit_and_one_past_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, sources = _inside(tmp_path)
    monkeypatch.setattr(sources_module, "FOLDER_FILES_MAX", 3)
    for name in "abc":
        (folder / name).write_bytes(b"")
    assert len(sources.find("*")) == 3
    (folder / "d").write_bytes(b"")
    with pytest.raises(SourceProblem, match="leads to more than the 3 files that are possible"):
        sources.find("*")


def test_depth_at_the_limit_and_one_past_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, sources = _inside(tmp_path)
    monkeypatch.setattr(sources_module, "FOLDER_DEPTH_MAX", 2)
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/b/c").write_bytes(b"")
    assert len(sources.find("a")) == 1
    (folder / "a/b/d").mkdir()
    (folder / "a/b/d/e").write_bytes(b"")
    with pytest.raises(SourceProblem, match="is in too many folders"):
        sources.find("a")
