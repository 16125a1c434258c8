"""The prompt answers keys while plans are made and carried out: nothing of it is waited for between two keys.

Each key must be seen before the next is pressed. How long that took is printed and fails nothing: a machine that is busy with other tests is slower
than any shell, and the figure that counts is the benchmark ``key_to_screen``.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from tests.labshell.app.latency import press, read_for
from tests.labshell.app.person import Person
from tests.labshell.commands.floor import Floor
from tests.labtest.namespaces.support import need_labs

from labtest.namespaces import Lab

#: Of releases such as a real environment has: wheels of this size altogether.
RELEASE_BYTES = 90 * 2**20
RELEASE = """
[releases.big]
version = "{version}"
source = ["big/*"]
"""


def write_release(floor: Floor, version: str) -> None:
    (floor.folder / "big").mkdir(exist_ok=True)
    content = os.urandom(1024)
    for part in range(9):
        path = floor.folder / "big" / f"part{part}"
        path.write_bytes(content * (RELEASE_BYTES // 9 // len(content)) + version.encode())
    text = floor.spec.read_text().partition("\n[releases.big]")[0]
    if "releases" not in text:
        text = text.replace('files = ["page"]', 'files = ["page"]\nreleases = ["big"]')
    floor.spec.write_text(text + RELEASE.format(version=version))


def test_keys_are_echoed_while_plans_are_made_and_carried_out(tmp_path: Path) -> None:
    need_labs()
    name = f"quick-{os.getpid()}"
    with Lab(name, ["a", "b"]) as lab:
        floor = Floor(tmp_path / "floor", lab, name)
        assert floor.do("apply --yes").code == 0
        write_release(floor, "1")
        person = Person(
            tmp_path, command=[sys.executable, "-m", "labshell", str(floor.spec)], rows=24, columns=100
        )
        try:
            person.sees("hosts 2/2")
            times: list[float] = []
            for line, ends in (
                ("plan", "2 hosts"),
                ("apply --yes", "apply: done"),
                ("plan", "nothing to do"),
            ):
                before = len(person.raw)
                person.enter(line)
                deadline_s = time.monotonic() + 60
                while ends.encode() not in person.raw[before:] or len(times) % 20:
                    assert time.monotonic() < deadline_s, person.raw[before:]
                    read_for(person, 0.03)
                    times.append(press(person, "QWXZKVJY"[len(times) % 8]))
                    if len(times) % 20 == 0:
                        person.type("\x15")
        finally:
            person.close()
    times.sort()
    p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
    print(f"{len(times)} keys: p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {times[-1]:.1f} ms")
