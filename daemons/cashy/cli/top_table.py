"""The table of ``cashy top``: groups of columns, laid side by side as far as the terminal is wide, the rest below.

A group stays whole, and every section repeats the hosts' names: nothing is left out in a narrow terminal, and a wide one has one line a host. Widths
are fixed, so that figures do not jump about while they change; the sum over all hosts comes first, so that it is seen however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from cashy.core.activity import ClusterActivity, Figures, Flow, HostActivity, Shares

__all__ = ["amount", "duration", "percent", "print_once", "size", "table_lines"]

_GAP = " "
_GROUP_GAP = "  "
_NAME_WIDTH_MIN, _NAME_WIDTH_MAX = 5, 24
#: There is no figure, which is not 0.
_NOTHING = "-"
#: Lines of a section that are not hosts: titles, headings, the sum; and the empty one between two.
_SECTION_LINES = 3
_PIPED_WIDTH = 10_000

_UNITS = ("", "k", "M", "G", "T", "P", "E")


def amount(value: float) -> str:
    """A number in at most five characters: 0, 0.25, 7.3, 950, 12.5k (powers of 1000)."""
    return _scaled(value, 1000.0)


def size(size_bytes: float) -> str:
    """A size in at most five characters: 512, 64.0M, 1.5G (powers of 1024, as memory is configured)."""
    return _scaled(size_bytes, 1024.0)


def _scaled(value: float, base: float) -> str:
    step = 0
    while value >= base - 0.5 and step < len(_UNITS) - 1:
        value /= base
        step += 1
    if value >= 99.95 or (not step and value == int(value)):
        return f"{value:.0f}{_UNITS[step]}"
    return f"{value:.1f}{_UNITS[step]}" if value >= 0.995 or step else f"{value:.2f}".removesuffix(".00")


def percent(share: float) -> str:
    """A share in at most three characters; 0 and 100 are exact."""
    if 0 < share < 0.01:
        return "<1"
    if 0.99 < share < 1:
        return ">99"
    return f"{share * 100:.0f}"


def duration(seconds: float) -> str:
    """A short time in at most five characters: 7ms, 1.5s, 90s."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds:.1f}s" if seconds < 99.95 else f"{seconds:.0f}s"


@dataclass(frozen=True)
class _Column:
    heading: str
    width: int
    cell: Callable[[Figures], str]
    #: Whether the figure calls for attention.
    is_alarming: Callable[[Figures], bool] = lambda figures: False


@dataclass(frozen=True)
class _Group:
    title: str
    columns: tuple[_Column, ...]

    @property
    def width(self) -> int:
        return sum(column.width for column in self.columns) + len(_GAP) * (len(self.columns) - 1)


def _flow_columns(flow_of: Callable[[Figures], Flow | None]) -> tuple[_Column, ...]:
    def reads(figures: Figures) -> str:
        flow = flow_of(figures)
        return _NOTHING if flow is None else amount(flow.blocks)

    def megabytes(figures: Figures) -> str:
        flow = flow_of(figures)
        return _NOTHING if flow is None else amount(flow.bytes / 1e6)

    return _Column("r/s", 5, reads), _Column("MB/s", 5, megabytes)


def _tier(title: str, tier: str) -> _Group:
    return _Group(title, _flow_columns(lambda figures: figures.tiers[tier] if figures.tiers else None))


def _share_columns(shares_of: Callable[[Figures], Shares | None], *, with_ssd: bool) -> tuple[_Column, ...]:
    def column(heading: str, index: int) -> _Column:
        def cell(figures: Figures) -> str:
            shares = shares_of(figures)
            return _NOTHING if shares is None else percent(shares[index])

        return _Column(heading, 4, cell)

    columns = column("mem", 0), column("ssd", 1), column("peer", 2), column("orig", 3)
    return columns if with_ssd else (columns[0], *columns[2:])


def _groups(with_ssd: bool) -> tuple[_Group, ...]:
    """All groups in their order; those about SSDs only where a host has one, since room is scarce."""
    ssd = (_tier("ssd", "ssd"),) if with_ssd else ()
    return (
        _tier("memory", "memory"),
        *ssd,
        _tier("peers", "peer"),
        _tier("origin", "origin"),
        _Group("found in, %", _share_columns(lambda figures: figures.shares, with_ssd=with_ssd)),
        _Group("since start, %", _share_columns(lambda figures: figures.shares_since_start, with_ssd=with_ssd)),
        _Group(
            "origin load",
            (
                *_flow_columns(lambda figures: figures.origin_load),
                _Column("wait", 4, lambda figures: amount(figures.origin_waiting)),
                _Column("errors", 6, lambda figures: amount(figures.origin_errors), lambda figures: figures.new_errors > 0),
            ),
        ),
        _Group(
            "arena",
            (
                _Column("used", 5, lambda figures: size(figures.arena_used_bytes)),
                _Column("of", 5, lambda figures: size(figures.arena_bytes)),
            ),
        ),
        _Group("to peers", _flow_columns(lambda figures: figures.served)),
        _Group(
            "master",
            (
                _Column("clients", 7, lambda figures: amount(figures.clients)),
                _Column("failed", 6, lambda figures: amount(figures.failed), lambda figures: figures.new_failed > 0),
                _Column("stall", 5, lambda figures: duration(figures.stall_max_s)),
            ),
        ),
    )  # fmt: skip


def table_lines(
    activity: ClusterActivity, width: int, height: int | None = None, first_host: int = 0
) -> list[Text]:
    """The table in lines of at most ``width`` characters; from ``first_host`` on, as many hosts as there is ``height`` for."""
    all_groups = _groups(activity.total.has_ssd)
    name_width = _name_width(activity, all_groups, width)
    sections = _sections(all_groups, width - name_width)
    shown, left_out = _window(activity.hosts, first_host, len(sections), height)
    lines: list[Text] = []
    for groups in sections:
        if lines:
            lines.append(Text())
        lines += _headings(groups, name_width)
        if len(activity.hosts) > 1:
            lines.append(_figures_line("total", activity.total, groups, name_width, "bold"))
        lines += [_host_line(host, groups, name_width, width) for host in shown]
    if left_out:
        lines.append(Text(f"{left_out} more hosts (up, down)", style="dim"))
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return lines


def _name_width(activity: ClusterActivity, groups: Sequence[_Group], width: int) -> int:
    longest = max((len(host.name) for host in activity.hosts), default=0)
    widest = max(_NAME_WIDTH_MIN, width - max(group.width for group in groups) - len(_GROUP_GAP))
    return min(max(_NAME_WIDTH_MIN, longest), _NAME_WIDTH_MAX, widest)


def _sections(groups: Sequence[_Group], width: int) -> list[list[_Group]]:
    """Groups in order, as many to a section as fit beside the names; at least one."""
    sections: list[list[_Group]] = []
    left = 0
    for group in groups:
        needed = group.width + len(_GROUP_GAP)
        if not sections or needed > left:
            sections.append([])
            left = width
        sections[-1].append(group)
        left -= needed
    return sections


def _window(
    hosts: Sequence[HostActivity], first: int, sections: int, height: int | None
) -> tuple[Sequence[HostActivity], int]:
    """The hosts to show, and how many are left out."""
    if height is None:
        return hosts, 0
    room = (height + 1) // sections - _SECTION_LINES - 1
    if len(hosts) <= room:
        return hosts, 0
    room = max(1, (height - 1 + 1) // sections - _SECTION_LINES - 1)  # one line says what is missing
    first = max(0, min(first, len(hosts) - room))
    return hosts[first : first + room], max(0, len(hosts) - room)


def _headings(groups: Sequence[_Group], name_width: int) -> list[Text]:
    titles = Text(" " * name_width)
    headings = Text("host".ljust(name_width))
    for group in groups:
        titles.append(_GROUP_GAP)
        titles.append(group.title.rjust(group.width), style="cyan")
        headings.append(_GROUP_GAP)
        headings.append(_GAP.join(column.heading.rjust(column.width) for column in group.columns))
    headings.stylize("dim")
    return [titles, headings]


def _host_line(host: HostActivity, groups: Sequence[_Group], name_width: int, width: int) -> Text:
    if host.is_up:
        return _figures_line(host.name, host.figures, groups, name_width)
    return Text(
        f"{_fitted(host.name, name_width)}{_GROUP_GAP}down: {' '.join(host.error.split())}", style="red"
    )


def _figures_line(
    name: str, figures: Figures, groups: Sequence[_Group], name_width: int, style: str = ""
) -> Text:
    line = Text(_fitted(name, name_width), style=style)
    for group in groups:
        line.append(_GROUP_GAP)
        for number, column in enumerate(group.columns):
            line.append(_GAP if number else "")
            alarm = "red" if column.is_alarming(figures) else None
            line.append(column.cell(figures).rjust(column.width), style=alarm)
    return line


def _fitted(name: str, width: int) -> str:
    return name.ljust(width) if len(name) <= width else name[: width - 1] + "…"


def print_once(activity: ClusterActivity) -> None:
    """Prints the table; piped output is not folded at a terminal's width."""
    console = Console(highlight=False)
    width = console.width if console.is_terminal else _PIPED_WIDTH
    for line in table_lines(activity, width):
        console.print(line, soft_wrap=True)
