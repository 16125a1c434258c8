"""The example environment of this folder (``lab.toml``) for tests: a copy of it, an operator at its prompt, and what its hosts say themselves."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
from tests.labshell.app.person import Person

from labtest.core.environment import Environment
from labtest.core.resolve import resolve
from labtest.core.target import Target
from labtest.namespaces import Lab, addresses, find
from labtest.spec import Sources

__all__ = ["HOSTS", "Floor", "Operator", "Reader", "copied_floor", "rebuilt_wheel"]

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "tests/system"
BIN = Path(sys.executable).parent
HOSTS = ("a", "b", "c")
#: Of what hosts are waited for; a loaded machine takes several times as long as an idle one.
DEADLINE_S = 120.0
#: Parts of the source that go into a wheel.
_SOURCES = ("daemons", "ipc", "shell", "systemd")
_PROJECT = ("pyproject.toml", "README.md", "LICENSE")


@contextmanager
def copied_floor(folder: Path, name: str) -> Iterator[Floor]:
    """The example in a folder of its own and under a name of its own, so that it can run beside a developer's. Its lab is taken down at the end."""
    lock = REPOSITORY / "build/lab-files.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as held:
        # One at a time: what it makes lies in the repository.
        fcntl.flock(held, fcntl.LOCK_EX)
        _run(["make", "--no-print-directory", "lab-files"], REPOSITORY)
        shutil.copytree(EXAMPLE / "lab", folder / "lab", copy_function=_linked_or_copied)
    text = (EXAMPLE / "lab.toml").read_text()
    changed = re.sub(r'^name = ".*"$', f'name = "{name}"', text, count=1, flags=re.MULTILINE)
    assert changed != text
    (folder / "lab.toml").write_text(changed)
    floor = Floor(folder, name)
    try:
        yield floor
    finally:
        subprocess.run([BIN / "labtest", "down", floor.spec], timeout=60, check=False, capture_output=True)


def _linked_or_copied(source: str, target: str) -> None:
    """Wheels are large, and nobody writes to them."""
    try:
        if not source.endswith(".whl"):
            raise OSError
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def rebuilt_wheel(folder: Path, version: str, target: Path) -> None:
    """Builds the product of this source once more, as another version, into ``target``."""
    for name in _SOURCES:
        shutil.copytree(
            REPOSITORY / name,
            folder / name,
            copy_function=os.symlink,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for name in _PROJECT:
        text = (REPOSITORY / name).read_text()
        (folder / name).write_text(re.sub(r'(?m)^version = ".*"$', f'version = "{version}"', text, count=1))
    _run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)], folder
    )


def _run(argv: Sequence[str | Path], folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        argv, cwd=folder, timeout=300, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment
    )  # fmt: skip
    assert done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"


class Floor:
    """The environment: commands as a user types them in his own shell, and facts from its hosts that do not go through labshell."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.spec = folder / "lab.toml"

    # --- as a user ---

    def labtest(self, *arguments: str) -> str:
        """What a command of labtest prints; it must succeed."""
        done = subprocess.run(
            [BIN / "labtest", *arguments], cwd=self.folder, timeout=DEADLINE_S, check=False, capture_output=True, text=True
        )  # fmt: skip
        assert done.returncode == 0, f"labtest {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def fault(self, *words: str) -> None:
        """``labtest fault …`` on this lab."""
        self.labtest("fault", words[0], "--lab", str(self.spec), *words[1:])

    def labshell(self, line: str, exit_code: int = 0) -> str:
        """What ``labshell SPEC -c LINE`` prints, errors included."""
        done = subprocess.run(
            [BIN / "labshell", self.spec, "-c", line], timeout=DEADLINE_S, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == exit_code, f"{line}: {done.returncode}\n{done.stdout}"
        return done.stdout

    @contextmanager
    def script(self) -> Iterator[subprocess.Popen[str]]:
        """A labshell that takes its commands from a pipe."""
        process = subprocess.Popen(
            [BIN / "labshell", self.spec], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )  # fmt: skip
        with process:
            try:
                yield process
            finally:
                process.kill()

    def target(self, environment: Environment) -> Target:
        """What an environment comes to on the hosts."""
        return resolve(environment, Sources(self.folder), addresses(self.lab)).target

    # --- what hosts say ---

    @property
    def lab(self) -> Lab:
        """As it is now: hosts that were booted again have other processes."""
        return find(self.name)

    def on(self, host: str, *command: str) -> str:
        """Standard output of a command on a host; it must succeed."""
        done = self.lab.hosts[host].run(list(command), timeout_s=DEADLINE_S, check=False)
        assert done.returncode == 0, f"{host}: {command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return str(done.stdout)

    def show(self, host: str, unit: str, *names: str) -> list[str]:
        """Values of a unit's properties."""
        asked = [f"--property={name}" for name in names]
        lines = self.on(host, "systemctl", "show", "--timestamp=us+utc", unit, *asked).splitlines()
        values = dict(line.split("=", 1) for line in lines)
        return [values[name] for name in names]

    def lives(self) -> dict[tuple[str, str], str]:
        """Host and unit to what systemd calls this run of it, for all units of the floor that run."""
        found = {}
        for host in HOSTS:
            units = self.on(
                host, "systemctl", "list-units", "--plain", "--no-legend", "--state=active", "--type=service",
                "cashy-*", "toucan-*", "store.service", "exchange.service",
            ).split("\n")  # fmt: skip
            for unit in (line.split()[0] for line in units if line):
                (found[host, unit],) = self.show(host, unit, "InvocationID")
        return found

    def metric(self, host: str, name: str, *labels: str) -> float:
        """The sum of a metric's samples of a host's master that have these labels (``tier="peer"``)."""
        page = self.on(host, "/opt/aviary/current/bin/python", "-c", _GET_METRICS)
        samples = [line for line in page.splitlines() if re.match(rf"{name}[ {{]", line)]
        return sum(float(line.split()[-1]) for line in samples if all(label in line for label in labels))

    def s3(self, host: str, attempts: int = 1) -> Any:
        """An S3 client on this machine for a host's endpoint. ``attempts``: 1 for one that does not try again."""
        return boto3.client(
            "s3", endpoint_url=f"http://{self.lab.hosts[host].address}:9000", region_name="us-east-1",
            aws_access_key_id="FLOORREADER", aws_secret_access_key="floor-reader-secret",
            config=botocore.config.Config(
                retries={"mode": "standard", "total_max_attempts": attempts}, connect_timeout=10, read_timeout=30,
                s3={"addressing_style": "path"},
            ),
        )  # fmt: skip


_GET_METRICS = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9201/metrics').read().decode())"


class Operator(Person):
    """Somebody at the prompt of a floor, on a terminal with room for all that a command says."""

    patience_s = DEADLINE_S

    def __init__(self, floor: Floor) -> None:
        self._prompt = re.compile(rf"{re.escape(floor.name)}( \[.*\])?>$")
        #: Each bottom line that was seen since the last command was typed.
        self._bars: list[str] = []
        super().__init__(floor.folder, rows=60, columns=150, command=[str(BIN / "labshell"), str(floor.spec)])

    def look(self, wait_s: float = 0.01) -> bool:
        """Takes what has been shown meanwhile, and remembers what the bottom line said."""
        is_running = super().look(wait_s)
        if self.bar not in self._bars[-1:]:
            self._bars.append(self.bar)
        return is_running

    @property
    def is_at_prompt(self) -> bool:
        """Whether what is typed next is a new command."""
        return any(self._prompt.match(line) for line in self.lines[-4:])

    @property
    def bar(self) -> str:
        """The line at the bottom."""
        return self.lines[-1] if self.lines else ""

    def at_prompt(self) -> Operator:
        """Waits until a command can be typed, and the bar is there."""
        self.waits(lambda: self.is_at_prompt and "hosts" in self.bar, "there is no prompt")
        return self

    def says(self, line: str, *answers: str) -> str:
        """Clears the screen, types a command, and waits until all of the answers are there; the screen."""
        self.at_prompt()
        self.type("\x0c")
        self.waits(lambda: self.lines and self._prompt.match(self.lines[0]), "the screen was not cleared")
        self._bars.clear()
        self.enter(line)
        return self.sees_all(*answers)

    def asks_until(self, line: str, *answers: str) -> None:
        """Types a command again and again, a second apart, until all of the answers are there: what others do is seen when it is seen."""
        deadline_s = time.monotonic() + self.patience_s
        while True:
            self.says(line)
            again_s = time.monotonic() + 1
            while time.monotonic() < again_s:
                self.look()
                if all(text in self.screen for text in answers):
                    return
            assert time.monotonic() < deadline_s, (
                f"{line} never said {answers}; on the screen is:\n{self.screen}"
            )

    def sees_all(self, *texts: str) -> str:
        """Waits until all texts are there; the screen."""
        self.waits(lambda: all(text in self.screen for text in texts), f"not all of {texts} was shown")
        return self.screen

    def sees_bar(self, *texts: str) -> None:
        """Waits until all texts are in the bottom line."""
        self.waits(
            lambda: all(text in self.bar for text in texts), f"not all of {texts} was in the bottom line"
        )

    def saw_bar(self, text: str) -> None:
        """Waits until a text has been in the bottom line for a moment at least."""
        self.waits(lambda: any(text in bar for bar in self._bars), f"{text!r} was never in the bottom line")

    def row(self, *cells: str) -> str:
        """The line of the screen that begins with these cells; empty if there is none."""
        pattern = re.compile(r"\s+".join(map(re.escape, cells)) + r"(\s|$)")
        return next((line for line in self.lines if pattern.match(line)), "")

    def applies(self, *answers: str) -> str:
        """``apply``, looks at the plan, and says yes."""
        self.says("apply", *answers, "Do it? [y/N]")
        plan = self.screen
        self.enter("y")
        self.sees_all("apply: done")
        return plan


class Reader:
    """Reads an object through all endpoints, again and again on a thread of its own, and compares each byte.

    As S3 clients do by default, a request that failed is sent again, twice at most: a worker that ends closes connections that are idle, and a
    request may be on its way at that moment.
    """

    def __init__(self, floor: Floor, bucket: str, key: str, body: bytes) -> None:
        self._clients = [floor.s3(host, attempts=3) for host in HOSTS]
        self._place = {"Bucket": bucket, "Key": key}
        self._body = body
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        #: ``ok``, or what went wrong, to how often.
        self.outcomes: Counter[str] = Counter()
        #: Requests that were sent again.
        self.sent_again = 0

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        for client in self._clients:
            client.close()

    def _run(self) -> None:
        while not self._is_over.is_set():
            for host, client in zip(HOSTS, self._clients, strict=True):
                self.outcomes[self._one(host, client)] += 1

    def _one(self, host: str, client: Any) -> str:
        try:
            answer = client.get_object(**self._place)
            body = answer["Body"].read()
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            return f"{host}: {error!r}"
        self.sent_again += answer["ResponseMetadata"]["RetryAttempts"]
        return "ok" if body == self._body else f"{host}: other bytes"
