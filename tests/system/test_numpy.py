"""Arrays and data sets over objects, through a real daemon."""

from __future__ import annotations

import io
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cashy.numpy
from cashy.numpy import NPY_HEAD_BYTES_MAX, ObjectDataset, load_array, load_npy, parse_npy_head

from .harness import DevHost

pytestmark = pytest.mark.system

MIB = 1 << 20


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def cache(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[cashy.Cache]:
    with (
        DevHost(tmp_path_factory.mktemp("host"), f"file={files}", block="1MiB", workers=0) as host,
        host.connect() as made,
    ):
        yield made


def saved(files: Path, array: np.ndarray[Any, Any], **options: Any) -> str:
    path = files / f"{len(list(files.iterdir()))}.npy"
    np.save(path, array, **options)
    return f"file://{path}"


@pytest.mark.parametrize(
    "array",
    [
        np.arange(3 * MIB, dtype=np.float32).reshape(1024, -1),
        np.asfortranarray(np.random.default_rng(1).random((300, 700))),
        np.zeros((0, 5)),
        np.array(7, dtype=">i2"),
        np.array([(1, 2.5, b"abc")], dtype=[("n", "<i8"), ("x", "f4", (2,)), ("s", "S3")]),
        np.array(["2024-01-01"], dtype="datetime64[D]"),
    ],
)
def test_npy_is_read_without_a_copy(cache: cashy.Cache, files: Path, array: np.ndarray[Any, Any]) -> None:
    seen = load_npy(saved(files, array), cache=cache)
    np.testing.assert_array_equal(seen, array)
    assert seen.dtype == array.dtype
    assert seen.flags.f_contiguous == array.flags.f_contiguous
    assert not seen.flags.writeable
    assert not seen.flags.owndata


def test_raw_bytes_are_an_array(cache: cashy.Cache, files: Path) -> None:
    array = np.random.default_rng(2).random((5000, 40))
    (files / "raw").write_bytes(b"headhead" + array.tobytes())
    url = f"file://{files}/raw"
    seen = load_array(url, "f8", (-1, 40), offset=8, cache=cache)
    np.testing.assert_array_equal(seen, array)
    assert not seen.flags.owndata
    np.testing.assert_array_equal(load_array(url, "f8", 40, offset=8 + 40 * 8, cache=cache), array[1])
    np.testing.assert_array_equal(
        load_array(url, "f8", (40, 5000), offset=8, order="F", cache=cache), array.T
    )
    with pytest.raises(ValueError, match="takes 400,000,000"):
        load_array(url, "f8", (50_000, 1000), cache=cache)
    with pytest.raises(ValueError, match="no whole number"):
        load_array(url, "f8", offset=1, cache=cache)
    with pytest.raises(TypeError, match="Python objects"):
        load_array(url, "O", cache=cache)
    with pytest.raises(FileNotFoundError):
        load_array(f"{url}-missing", "f8", cache=cache)


def test_what_is_no_array_is_refused(cache: cashy.Cache, files: Path) -> None:
    with pytest.raises(TypeError, match="pickles"):
        load_npy(saved(files, np.array([{}], dtype=object)), cache=cache)
    (files / "text").write_text("no array")
    with pytest.raises(ValueError, match=r"text: this is no \.npy file"):
        load_npy(f"file://{files}/text", cache=cache)
    whole = Path(saved(files, np.arange(1000)).removeprefix("file://"))
    whole.write_bytes(whole.read_bytes()[:-8])
    with pytest.raises(ValueError, match="takes 8,000"):
        load_npy(f"file://{whole}", cache=cache)


def head_of(text: bytes, major: int = 1) -> bytes:
    return b"\x93NUMPY" + bytes((major, 0)) + len(text).to_bytes(2 if major == 1 else 4, "little") + text


def test_heads_at_the_limit_and_past_it() -> None:
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}"
    for major in (1, 2, 3):
        assert parse_npy_head(head_of(text.ljust(NPY_HEAD_BYTES_MAX), major))[1] == (3,)
        with pytest.raises(ValueError, match="longer than 10,000"):
            parse_npy_head(head_of(text.ljust(NPY_HEAD_BYTES_MAX + 1), major))
    with pytest.raises(ValueError, match="version 9"):
        parse_npy_head(head_of(text, 9))
    for bad in (
        b"{",
        b"[]",
        b"{'descr': 'nonsense', 'shape': (), 'fortran_order': False}",
        text.replace(b"3,", b"-3,"),
        b"(" * 5000,
    ):
        with pytest.raises(ValueError, match="its head"):
            parse_npy_head(head_of(bad))


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200) | st.binary(max_size=100).map(head_of))
def test_any_bytes_are_an_array_or_an_error(data: bytes) -> None:
    try:
        parse_npy_head(data)
    except (ValueError, TypeError):
        pass


@settings(max_examples=50, deadline=None)
@given(
    shape=st.lists(st.integers(0, 9), max_size=4),
    code=st.sampled_from(["<f8", ">i2", "u1", "<c16", "S5", "<U3"]),
)
def test_heads_say_what_numpy_wrote(shape: list[int], code: str) -> None:
    target = io.BytesIO()
    np.save(target, np.zeros(shape, code))
    kind, told, _order, offset = parse_npy_head(target.getvalue())
    assert (kind, list(told)) == (np.dtype(code), shape)
    assert len(target.getvalue()) - offset == kind.itemsize * int(np.prod(shape))


def sums(dataset: ObjectDataset, queue: Any) -> None:
    queue.put([int(item.sum()) for item in dataset])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_data_set_goes_on_in_workers(cache: cashy.Cache, files: Path) -> None:
    urls = []
    for number in range(20):
        (files / f"item-{number}").write_bytes(bytes([number]) * 1000)
        urls.append(f"file://{files}/item-{number}")
    dataset = ObjectDataset(urls, socket_path=cache.socket_path)
    assert dataset.prefetch([1, 2]) == 2
    assert dataset[3].tolist() == [3] * 1000
    assert [int(item[0]) for item in dataset[5:8]] == [5, 6, 7]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=sums, args=(dataset, queue))
    child.start()
    expected = [1000 * number for number in range(20)]
    assert queue.get(timeout=60) == expected
    child.join(60)
    queue.close()
    queue.join_thread()
    program = "import pickle, sys; print([int(item.sum()) for item in pickle.load(sys.stdin.buffer)])"
    spawned = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(dataset), stdout=subprocess.PIPE, check=True, timeout=60
    )  # fmt: skip
    assert spawned.stdout.decode().strip() == str(expected)
    assert ObjectDataset(urls, len, socket_path=cache.socket_path)[0] == 1000


def test_import_cashy_loads_no_numpy() -> None:
    assert cashy.numpy.__name__ == "cashy.numpy"
    program = "import sys, cashy; print('numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"
