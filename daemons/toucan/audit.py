"""``toucan audit``: who did what when, from the journal; and whether the journal is whole.

The search goes over a SQLite projection beside the journal that is brought up to date at each call and can be thrown away. It reads what is
committed, also while the engine runs, and needs no server: whoever may read the folder may audit.
"""

from __future__ import annotations

import datetime
import json
import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from toucan.core import events as ev
from toucan.core.order import Client
from toucan.core.records import UnreadableRecord, decode
from toucan.engine.recovery import recover
from toucan.errors import ToucanError
from toucan.journal.core.frame import Record
from toucan.journal.errors import JournalError
from toucan.journal.projection import Projection
from toucan.journal.projection_schema import AuditQuery, AuditRow
from toucan.journal.reader import committed_seq
from toucan.journal.repair import repair
from toucan.journal.verify import Report, verify
from toucan.settings import CONFIG_PATH, load_settings

__all__ = [
    "audit_group",
    "open_projection",
    "repair_command",
    "replay_command",
    "search_command",
    "verify_command",
]

#: Of the decoder below; with another one the projection is made anew.
_DECODER_VERSION = "2"
_ROWS_DEFAULT = 100


class _Decoder:
    """Makes rows of records. Which account and symbol an order is for is said once, when it is accepted."""

    def __init__(self) -> None:
        self.projection: Projection | None = None
        self._orders: dict[int, tuple[str, str]] = {}
        self._staged: dict[int, tuple[str, str]] = {}

    def __call__(self, record: Record) -> list[AuditRow]:
        try:
            events = decode(record.payload)
        except UnreadableRecord as error:
            return [AuditRow(record.first_seq, record.at_ns, "Unreadable", text=str(error))]
        return [self._row(seq, record.at_ns, event) for seq, event in enumerate(events, record.first_seq)]

    def _row(self, seq: int, at_ns: int, event: ev.Event) -> AuditRow:
        facts = {"user": "", "session": "", "account": "", "symbol": "", "order_id": "", "staged_id": ""}
        who = next((getattr(event, name) for name in ("owner", "by", "client") if hasattr(event, name)), None)
        if isinstance(who, Client):
            facts |= {"user": who.user, "session": who.session}
        elif isinstance(who, str):
            facts["user"] = who
        order_id = getattr(event, "order_id", None)
        staged_id = getattr(event, "staged_id", None)
        terms = getattr(event, "terms", None)
        if terms is not None and not isinstance(event, ev.ReplaceRequested):
            facts |= {"account": terms.account, "symbol": terms.symbol}
            if isinstance(event, (ev.OrderAccepted, ev.OrderAdopted)):
                self._orders[event.order_id] = (terms.account, terms.symbol)
            elif isinstance(event, ev.OrderStaged):
                self._staged[event.staged_id] = (terms.account, terms.symbol)
        elif staged_id:
            facts["account"], facts["symbol"] = self._of_staged(staged_id)
        elif order_id:
            facts["account"], facts["symbol"] = self._of_order(order_id)
        elif isinstance(event, ev.PositionAdjusted):
            facts |= {"account": event.account, "symbol": event.symbol}
        if order_id:
            facts["order_id"] = str(order_id)
        if staged_id:
            facts["staged_id"] = str(staged_id)
        return AuditRow(seq, at_ns, type(event).__name__, **facts, text=msgspec.json.encode(event).decode())

    def _of_order(self, order_id: int) -> tuple[str, str]:
        return self._looked_up(self._orders, order_id, AuditQuery(order_id=str(order_id), limit=1))

    def _of_staged(self, staged_id: int) -> tuple[str, str]:
        return self._looked_up(self._staged, staged_id, AuditQuery(staged_id=str(staged_id), limit=1))

    def _looked_up(
        self, cache: dict[int, tuple[str, str]], number: int, query: AuditQuery
    ) -> tuple[str, str]:
        known = cache.get(number)
        if known is None and self.projection is not None:
            rows = self.projection.query(query)
            known = (rows[0].account, rows[0].symbol) if rows else ("", "")
            cache[number] = known
        return known or ("", "")


def open_projection(folder: Path, witness: Path | None = None) -> Projection:
    """The projection of the journal in ``folder``, brought up to date (without the witness, to the last commit but one); close it."""
    decoder = _Decoder()
    projection = Projection(folder / "audit.sqlite", folder, decoder, decoder_version=_DECODER_VERSION)
    decoder.projection = projection
    projection.update(committed_seq(folder, witness))
    return projection


_data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of the journal. [default: that of the settings file]",
)
_config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=CONFIG_PATH,
    show_default=True,
    help="Settings file.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(name="audit")
def audit_group() -> None:
    """Search and verify the engine's journal."""


@audit_group.command(name="search")
@_data_option
@_config_option
@click.option(
    "--kind",
    default="",
    metavar="EVENT",
    help="Such as OrderAccepted, OrderDenied, Reported, OrderStaged, StagedReleased, LimitSet, LevelSet.",
)
@click.option("--user", default="", metavar="NAME", help="Who did it.")
@click.option("--account", default="", metavar="ACCOUNT", help="For which account.")
@click.option("--symbol", default="", metavar="SYMBOL", help="In which instrument.")
@click.option("--order", "order_id", default="", metavar="ID", help="Of which order.")
@click.option("--staged", "staged_id", default="", metavar="ID", help="Of which staged order.")
@click.option("--contains", default="", metavar="TEXT", help="A piece of the event's JSON.")
@click.option(
    "--since",
    default=None,
    metavar="TIME",
    help="From this time on, such as 2026-01-05T14:30 (local, or with an offset).",
)
@click.option("--until", default=None, metavar="TIME", help="Up to this time.")
@click.option("--after", "after_seq", type=int, default=None, metavar="SEQ", help="After this event.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=_ROWS_DEFAULT,
    show_default=True,
    help="At most so many: the newest.",
)
@_json_option
def search_command(
    data: Path | None, config: Path, since: str | None, until: str | None, after_seq: int | None, limit: int, as_json: bool,
    **equal: Any,
) -> None:  # fmt: skip
    """What happened, newest last: one line an event, or with --json one JSON object a line."""
    folder = _folder(data, config)
    query = AuditQuery(
        **equal,
        from_ns=_time_ns(since),
        to_ns=_time_ns(until),
        from_seq=None if after_seq is None else after_seq + 1,
        limit=limit,
        newest_first=True,
    )
    projection = _told(open_projection, folder, _witness(data, config))
    try:
        rows = projection.query(query)
        for note in projection.notes:
            click.echo(f"toucan audit: {note}", err=True)
        if projection.damages:
            click.echo("toucan audit: the journal is damaged; `toucan audit verify` says where", err=True)
    finally:
        projection.close()
    for row in reversed(rows):
        click.echo(_json_line(row) if as_json else _line(row))


@audit_group.command(name="verify")
@_data_option
@_config_option
@_json_option
def verify_command(data: Path | None, config: Path, as_json: bool) -> None:
    """Check every byte of the journal: checksums, numbers, the chain of hashes, the witness. Exit code 1 if it is not whole."""
    folder = _folder(data, config)
    report = _told(verify, folder, _witness(data, config))
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        _print_report(report)
    sys.exit(0 if report.is_whole else 1)


@audit_group.command(name="replay")
@_data_option
@_config_option
def replay_command(data: Path | None, config: Path) -> None:
    """Apply every event and print the state's hash: equal journals give equal hashes."""
    folder = _folder(data, config)
    began = time.monotonic()
    state, follower = _told(recover, folder, committed_seq(folder, _witness(data, config)))
    follower.close()
    click.echo(
        f"{state.digest()}  after event {state.seq}, {len(state.live)} orders live, {time.monotonic() - began:.2f} s"
    )


@audit_group.command(name="repair")
@_data_option
@_config_option
@click.confirmation_option(prompt="Have you kept a copy of the folder, and is the engine stopped?")
def repair_command(data: Path | None, config: Path) -> None:
    """Set damaged places of the journal aside and record them as lost, so that the engine can go on behind them. Nothing readable is touched."""
    folder = _folder(data, config)
    losses = _told(lambda: repair(folder, at_ns=time.time_ns()))
    for loss in losses:
        click.echo(json.dumps(msgspec.to_builtins(loss)))
    click.echo(f"{len(losses)} damaged places recorded as lost")


def _folder(data: Path | None, config: Path) -> Path:
    if data is not None:
        return data
    return Path(_told(load_settings, config).engine.data)


def _witness(data: Path | None, config: Path) -> Path | None:
    path = Path(_told(load_settings, config).engine.witness) if data is None else data / "witness"
    return path if path.exists() else None


def _told(call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except (ToucanError, JournalError) as error:
        raise click.ClickException(" ".join(str(error).split())) from error


def _time_ns(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time; write 2026-01-05T14:30 or 2026-01-05T14:30+01:00"
        ) from None
    return int(when.timestamp() * 1e9)


def _json_line(row: AuditRow) -> str:
    values = msgspec.to_builtins(row)
    values["event"] = json.loads(values.pop("text")) if row.kind != "Unreadable" else row.text
    return json.dumps(values)


def _line(row: AuditRow) -> str:
    when = datetime.datetime.fromtimestamp(row.at_ns / 1e9).astimezone().isoformat(timespec="milliseconds")
    about = [row.user, row.account, row.symbol, f"#{row.order_id}" if row.order_id else ""]
    about.append(f"staged {row.staged_id}" if row.staged_id else "")
    return f"{row.seq:>8}  {when}  {row.kind:<20} {' '.join(word for word in about if word):<32} {row.text}"


def _print_report(report: Report) -> None:
    click.echo(
        f"journal {report.journal_id}: events {report.first_seq} to {report.last_seq} in {len(report.segments)} segments"
    )
    click.echo(f"chain {report.chain}")
    for finding in report.findings:
        events = (
            f"events {finding.first_seq} to {finding.last_seq}"
            if finding.last_seq >= finding.first_seq
            else "no event"
        )
        click.echo(
            f"{finding.kind}: {finding.segment} at {finding.offset}, {finding.size_bytes} bytes, {events}: {finding.text}"
        )
    if report.unreachable_events:
        click.echo(
            f"{report.unreachable_events} events behind the damage can be read; no chain of hashes leads to them"
        )
    click.echo(
        "whole"
        if report.is_whole
        else "NOT WHOLE: stop the engine, keep a copy, look for the cause; then `toucan audit repair`"
    )
