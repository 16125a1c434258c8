"""The reference page ``docs/metrics.md``, from the table."""

from __future__ import annotations

from cashy.metrics.table import FAMILIES, Family

__all__ = ["metrics_page"]

_INTRO = """\
# Metrics of cashy

With `metrics.master` (or `cashy master --metrics HOST:PORT`) the master, and with `metrics.s3` (`cashy s3 --metrics HOST:PORT`) each
S3 worker, answers `GET /metrics` in the text format of Prometheus; further workers of a host take the next free ports. Nothing is
exposed unless asked for, and whoever can connect can read: give an address that only the monitoring reaches. Counters begin at 0
with each process. Units are bytes and seconds. Some questions and their answers:

| question | PromQL |
|---|---|
| share of blocks found in this host's memory | `sum(rate(cashy_blocks_total{tier="memory"}[5m])) / sum(rate(cashy_blocks_total[5m]))` |
| load on the origin, bytes a second, all hosts | `sum(rate(cashy_bytes_total{tier="origin"}[5m]))` |
| memory in use | `cashy_arena_used_bytes / (cashy_arena_used_bytes + cashy_arena_free_bytes)` |
| failing reads | `rate(cashy_fills_failed_total[5m]) > 0` |

Hits are counted by the clients themselves, in memory that the master reads: a block found without asking anybody is one, whoever
reads it (jobs or S3 workers). Clients that cannot hold blocks (no membarrier, or `CASHY_NO_PINS=1`) are not counted.
A block that is in memory, but whose object's metadata had to be asked for first, comes with that answer and counts in no tier.
"""

_SECTIONS = (("Both daemons", "both"), ("cashy master", "master"), ("cashy s3", "s3"))


def metrics_page() -> str:
    """The text of the page, without the line that says how it is made."""
    parts = [_INTRO]
    for title, daemon in _SECTIONS:
        parts.append(f"## {title}\n")
        parts.append("| metric | kind | labels | what it says |\n|---|---|---|---|")
        parts.extend(_row(family) for family in FAMILIES if family.daemon == daemon)
        parts.append("")
    return "\n".join(parts)


def _row(family: Family) -> str:
    return f"| `{family.name}` | {family.kind} | {_labels(family)} | {family.help_text} |"


def _labels(family: Family) -> str:
    """Each label, with its values where the table knows them."""
    shown = []
    for name in family.label_names:
        values = [source.labels[name] for source in family.sources if name in source.labels]
        shown.append(f"`{name}`" + (f" = {', '.join(values)}" if values else ""))
    return "; ".join(shown)
