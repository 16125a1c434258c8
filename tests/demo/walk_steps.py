"""What is done on the walk, step by step, and what the page says of it. A step waits for what it types to have happened; it decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["STEPS", "Step", "Walking"]


class Walking(Protocol):
    """What a step can do; :class:`tests.demo.walk.Walker` is it."""

    def opens(self) -> None: ...
    def leaves(self) -> None: ...
    def types(self, keys: str) -> None: ...
    def clears(self) -> None: ...
    def enters(self, line: str, *, sees: str = "") -> None: ...
    def begins(self, line: str, *, sees: str = "") -> None: ...
    def answers(self, keys: str, *, sees: str) -> None: ...
    def elsewhere(self, *arguments: str) -> None: ...
    def sees(self, text: str) -> None: ...
    def is_still(self) -> None: ...
    def is_red(self, text: str) -> bool: ...
    def shows(self, caption: str = "", *, last: int = 0) -> None: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One section of the page."""

    title: str
    text: str
    act: Callable[[Walking], None]


def _open(walker: Walking) -> None:
    walker.opens()
    walker.is_still()
    walker.shows()


def _deploy(walker: Walking) -> None:
    walker.begins("apply", sees="Do it?")
    walker.sees("(Ctrl-C cancels)")
    walker.is_still()
    walker.shows("The end of the plan, and a question:")
    walker.types("y\r")
    walker.sees("install release aviary")
    walker.sees("(Ctrl-C cancels)")
    walker.shows("While it is under way the bottom line says how far it is, and the prompt is free:", last=4)
    walker.sees("apply: done")
    walker.sees("processes 10/10")
    walker.is_still()
    walker.shows("Some time later:", last=4)


def _status(walker: Walking) -> None:
    walker.enters("status", sees="toucan-server")
    walker.shows()


def _complete(walker: Walking) -> None:
    walker.clears()
    walker.types("restart \t")
    walker.sees("toucan-engine")
    walker.is_still()
    walker.shows()
    walker.types("toueng")
    walker.sees("restart toueng")
    walker.is_still()
    walker.shows("Any letters of a name will do, in their order:")
    walker.types("\x03")


def _infer(walker: Walking) -> None:
    walker.enters("restart toucan-engine", sees="done")
    walker.shows()
    walker.enters("move toucan-engine", sees="TO is missing")
    walker.shows("What could be two things is not guessed:")
    walker.enters("restart toucan-sever", sees="did you mean")
    walker.shows("Nor is a word that is not known:")


def _set(walker: Walking) -> None:
    walker.enters("set max_order_quantity 200", sees="done")
    walker.shows()


def _tool(walker: Walking) -> None:
    walker.enters("tool toucan buy 500 AAPL @ 189.50 --tif ioc", sees="denied")
    walker.shows()


def _move(walker: Walking) -> None:
    walker.enters("move exchange b", sees="1 pending")
    walker.shows("It is only noted:")
    walker.enters("plan", sees="it moves to b")
    walker.shows("`plan` says what it comes to; `diff` would show the lines of the files:")
    walker.begins("apply", sees="Do it?")
    walker.types("y\r")
    walker.sees(" | apply ")
    walker.shows("Now it is done, in an order in which nothing runs without what it needs:", last=5)
    walker.sees("apply: done")
    walker.sees("processes 10/10")
    walker.is_still()
    walker.shows("And then:", last=5)


def _logs(walker: Walking) -> None:
    walker.enters("logs --grep coherent -n 1 cashy-master", sees="coherent")
    walker.shows()


def _run(walker: Walking) -> None:
    walker.enters("run -- sh -c 'systemctl is-active exchange.service'", sees="active")
    walker.shows()
    walker.enters("run --on @cache!c readlink /opt/aviary/current", sees="0.1.0")
    walker.shows("On a group of hosts, without one of them:")


def _partition(walker: Walking) -> None:
    walker.clears()
    walker.elsewhere("fault", "partition", "b")
    walker.sees("b lost")
    assert walker.is_red("b lost")
    walker.enters("status", sees="unknown (lost")
    walker.shows(
        "Some seconds later the bottom line is red, and `status` no longer claims to know what runs there:"
    )
    walker.enters("hosts", sees="lost")
    walker.shows("`hosts` says why:")
    walker.elsewhere("fault", "heal", "b")
    walker.sees("hosts 3/3")
    walker.sees("processes 10/10")
    walker.is_still()
    walker.shows("After `labtest fault heal b` nobody has to do anything:", last=2)


def _leave(walker: Walking) -> None:
    walker.clears()
    walker.types("quit\r")
    walker.leaves()
    walker.opens()
    walker.sees("processes 10/10")
    walker.enters("history -n 6", sees="apply")
    walker.shows()


def _down(walker: Walking) -> None:
    walker.begins("down", sees="Stop and remove")
    walker.sees("(Ctrl-C cancels)")
    walker.is_still()
    walker.shows("The end of its plan:")
    walker.types("y\r")
    walker.sees("down: done")
    walker.is_still()
    walker.shows("And then:", last=4)
    walker.enters("run ls -A /opt/aviary /etc/aviary", sees="cannot access")
    walker.shows("Nothing is left there:")
    walker.clears()
    walker.types("quit\r")
    walker.leaves()


STEPS = (
    Step(
        "Opening it",
        "`labtest up lab.toml` has booted the hosts, in about a second; nothing is installed on them. Then `labshell lab.toml`. The bottom line is "
        "always there: how many hosts answer, and how many processes run of those that should.",
        _open,
    ),
    Step(
        "A first deployment",
        "`apply` compares what is on the hosts with what the spec describes, shows the steps and the reason of each, and asks.",
        _deploy,
    ),
    Step(
        "What runs",
        "`status` is answered from what the hosts tell as it happens, so it never waits. The last column is the daemon's own line about itself.",
        _status,
    ),
    Step(
        "Completion",
        "Tab proposes what may stand there, with what is known of it at this moment.",
        _complete,
    ),
    Step(
        "What may be left out",
        "A parameter that can be only one thing is filled in, and the whole line is shown before it is done.",
        _infer,
    ),
    Step(
        "Changing a value",
        "`set` acts at once, and touches only what is made from the variable: here one file, and one process that reads it again without a restart.",
        _set,
    ),
    Step(
        "A tool of the environment",
        "The spec says what people use here, and with which addresses: `toucan`, on host b, as the trader of account ACC1. The limit that was "
        "just set is in force.",
        _tool,
    ),
    Step(
        "Moving a process",
        "What stops something somewhere is collected, and done by `apply`. The prompt says that something is pending.",
        _move,
    ),
    Step(
        "Logs of all hosts",
        "In the order of their times; `--grep` is carried out on the hosts. With `-f` it goes on until Ctrl-C.",
        _logs,
    ),
    Step(
        "A command on many hosts",
        "Hosts with the same output and the same exit status are shown together.",
        _run,
    ),
    Step(
        "A host is cut off",
        "In another terminal: `labtest fault partition b`. The prompt stays as quick as ever.",
        _partition,
    ),
    Step(
        "Leaving, and coming back",
        "`quit` leaves all of it running. What was set and moved is kept beside the spec, and so is who did what; another shell goes on from there.",
        _leave,
    ),
    Step(
        "Taking it down",
        "`down` takes away all that was put on the hosts for this environment. Its hosts, and the data of its daemons, stay.",
        _down,
    ),
)
