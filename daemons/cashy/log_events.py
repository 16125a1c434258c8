"""Every event of cashy's logs: what it means, which values come with it, and what to do; docs/logs.md is made of it.

Law: an event that is not in :data:`LOG_EVENTS` is not written, and a test fails on one; nothing else lists them. An event's text is constant, so that
lines can be counted; what differs is in its fields. A field that is about a read has one name everywhere (:data:`READ_FIELDS`).
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LOG_EVENTS", "READ_FIELDS", "LogEvent", "logs_page"]


class LogEvent(NamedTuple):
    """One event. ``program``: master, s3, dev, or more than one of them. ``fields``: those that may come with it."""

    program: str
    name: str
    level: str
    fields: tuple[str, ...]
    meaning: str


#: What a line about a read is followed by, in whichever log it stands.
READ_FIELDS: dict[str, str] = {
    "url": "the object, as its reader named it",
    "key": "the object as its origin has it; blocks are filed by it, so it is there where the name is not",
    "block": "which block, from 0",
    "origin": "the origin's name in the settings",
    "peer": "the other host that was asked, or that asks",
    "client": "process id of the client, in lines about requests with its program: `python3[4711]`",
    "request": "number of the client's request on its connection",
    "request_id": "of an S3 request: `x-amz-request-id` of its answer, which S3 clients show with their errors",
    "trace": "of a read by `cashy trace`: its id; of an S3 request: the trace id of its `traceparent`, else the root of its `X-Amzn-Trace-Id`",
    "code": "of the error: a name of `Failure.Code` (`control.proto`), or S3's code",
    "error": "the error in a sentence",
    "not_logged": "how many lines of the same kind, of the same source, were left out since the last one",
}

_PEER = ("peer", "reason", "not_logged")
_S3_REQUEST = ("request_id", "method", "path", "trace")

LOG_EVENTS: tuple[LogEvent, ...] = (
    LogEvent(
        "master",
        "ready",
        "info",
        ("socket", "arena", "memory", "peer", "metrics"),
        "It serves; the addresses are those it listens on.",
    ),
    LogEvent("master", "stopping", "info", (), "It was told to end."),
    LogEvent(
        "master",
        "coherent",
        "info",
        (),
        "It holds enough leases: what it knows counts as current without asking the origin at each read.",
    ),
    LogEvent(
        "master",
        "source_failed",
        "warning",
        ("url", "origin", "key", "block", "peer", "code", "error", "trace", "not_logged"),
        "A block did not come from where it was asked for: from `peer` (then the next host, or the origin, is asked), or, without one, from the "
        "origin (then the readers get the error). One line in 10 s for each source.",
    ),
    LogEvent(
        "master, s3",
        "origin_down",
        "warning",
        ("origin", "reason"),
        "An origin cannot be reached: what is cached stands in within its grace.",
    ),
    LogEvent(
        "master, s3", "origin_up", "info", ("origin", "down_s"), "It answers again, after so many seconds."
    ),
    LogEvent(
        "master",
        "corrupt_memory",
        "error",
        ("slot", "kind", "since"),
        "A block in memory has other bytes than it had: it is given to nobody, and read again. If it comes again: the host's memory.",
    ),
    LogEvent("master", "peer_left", "info", ("peer", "not_logged"), "Another host stops in an orderly way."),
    LogEvent(
        "master",
        "request_failed",
        "warning",
        ("client", "request", "url", "code", "error", "not_logged"),
        "A client got an error that is neither its own fault nor the object's. `source_failed` of the same object says where it comes from. One line "
        "in 10 s for each client.",
    ),
    LogEvent(
        "master",
        "request_crashed",
        "error",
        ("client", "request", "url", "exception"),
        "A bug in the master: please report it with the lines around.",
    ),
    LogEvent(
        "master",
        "prefetch_failed",
        "info",
        ("url", "code", "error"),
        "An object that a client wished for could not be loaded ahead.",
    ),
    LogEvent(
        "master",
        "accept_failed",
        "warning",
        ("error",),
        "A client could not be let in, mostly for want of descriptors: raise LimitNOFILE.",
    ),
    LogEvent(
        "master",
        "no_channel",
        "warning",
        ("error",),
        "A client got no rings in shared memory, for want of descriptors or memory; it goes on over its socket.",
    ),
    LogEvent(
        "master",
        "no_pin_table",
        "warning",
        ("client", "error"),
        "A client got no table to hold blocks by, for want of descriptors or memory: it copies what it reads.",
    ),
    LogEvent(
        "master",
        "client_closed",
        "debug",
        ("client", "program", "reason"),
        "A client has gone; `client` is its process id.",
    ),
    LogEvent(
        "master",
        "pin_failed",
        "warning",
        ("url", "code", "error"),
        "A pinned object cannot be kept in memory, or not all of it; it is tried again.",
    ),
    LogEvent(
        "master",
        "pin_follows",
        "info",
        ("url", "version"),
        "A pinned object was replaced: the blocks of this version take the place of the old.",
    ),
    LogEvent("master", "pin_expired", "info", ("url",), "A pin's time was over."),
    LogEvent(
        "master",
        "pins_not_read",
        "warning",
        ("file", "error"),
        "The list of pins that the last master left is damaged: pin again what should stay.",
    ),
    LogEvent(
        "master",
        "pins_not_written",
        "warning",
        ("file", "error"),
        "The list of pins could not be kept: a restart would forget the last change.",
    ),
    LogEvent(
        "master",
        "peer_up",
        "info",
        ("peer", "address", "not_logged"),
        "The connection to another host is made.",
    ),
    LogEvent(
        "master",
        "peer_lost",
        "warning",
        _PEER,
        "A connection to another host broke, or it does not answer: it is skipped, and tried again.",
    ),
    LogEvent(
        "master",
        "peer_unreachable",
        "warning",
        (*_PEER, "address"),
        "Another host could not be connected to several times in a row.",
    ),
    LogEvent(
        "master",
        "peer_refused",
        "warning",
        (*_PEER, "refusal"),
        "Another host, or this one, refused the connection: certificates, keys, names or versions differ.",
    ),
    LogEvent(
        "master",
        "peer_not_let_in",
        "warning",
        (*_PEER, "address", "refusal"),
        "A host that connected was refused, for the same reasons.",
    ),
    LogEvent(
        "master",
        "peer_broke_protocol",
        "warning",
        (*_PEER, "address"),
        "Another host sent what no host sends: a bug, or damage on the way.",
    ),
    LogEvent(
        "master",
        "peer_sent_corrupt_bytes",
        "warning",
        _PEER,
        "Bytes of another host did not fit their checksum; they were asked of the next. If it stays: its memory.",
    ),
    LogEvent(
        "master",
        "peer_cut_off",
        "warning",
        (*_PEER, "address"),
        "A host that connected neither reads nor speaks: its connection was closed.",
    ),
    LogEvent(
        "master",
        "stranger_broke_protocol",
        "warning",
        (*_PEER, "address"),
        "Somebody who is no host connected to the peer endpoint.",
    ),
    LogEvent(
        "master",
        "stranger_not_let_in",
        "warning",
        (*_PEER, "address"),
        "The TLS handshake of a connection failed: no certificate of this cluster's authorities, or no TLS at all.",
    ),
    LogEvent(
        "master",
        "peer_left_greeting",
        "warning",
        (*_PEER, "address"),
        "Somebody with a certificate of this cluster closed the connection before its greeting: it may not accept this host's.",
    ),
    LogEvent(
        "master",
        "list_of_hosts_taken",
        "info",
        ("version", "joined", "left", "is_in_it"),
        "A newer list of the cluster's hosts is in force here.",
    ),
    LogEvent(
        "master",
        "list_of_hosts_not_taken",
        "error",
        ("reason", "in_force"),
        "The file of hosts is wrong, older, or changed without another number; the list before stays in force.",
    ),
    LogEvent(
        "master",
        "hosts_agree_on_list",
        "info",
        ("version",),
        "All hosts are known to go by this list; earlier ones are counted by no more.",
    ),
    LogEvent(
        "master",
        "hosts_not_known_to_have_the_list",
        "info",
        ("hosts", "version", "advice"),
        "Their word is waited for, and both lists are counted by until then; said every so often.",
    ),
    LogEvent(
        "master",
        "other_hosts_went_on_without_this_one",
        "warning",
        ("by", "version"),
        "They took this host for gone. It asks the origin for versions at each read until it is in their list again.",
    ),
    LogEvent(
        "master",
        "not_in_the_list_of_hosts",
        "warning",
        ("version",),
        "This host is started and no list names it: no other host can connect to it.",
    ),
    LogEvent(
        "master",
        "what_was_known_of_the_hosts_is_lost",
        "error",
        ("reason",),
        "What this host wrote down of the lists cannot be read: it begins as after a reboot.",
    ),
    LogEvent(
        "master",
        "the_hosts_were_not_written_down",
        "error",
        ("reason",),
        "The instance's folder takes no more; the host still remembers more lists than it counts by, which is safe.",
    ),
    LogEvent(
        "master",
        "this host's certificate expires soon",
        "warning",
        ("days_left", "advice"),
        "It is to be renewed; said once a day.",
    ),
    LogEvent(
        "master",
        "this host's certificate has expired: no other host lets it in",
        "error",
        ("days_ago", "advice"),
        "The host works alone until it has another one.",
    ),
    LogEvent(
        "master",
        "the cluster's certificates were read again",
        "info",
        ("serial",),
        "At SIGHUP; new connections are made with them.",
    ),
    LogEvent(
        "master",
        "the cluster's certificates were not read again, those before stay in use",
        "error",
        ("reason",),
        "At SIGHUP; a file is wrong.",
    ),
    LogEvent(
        "master",
        "who may connect was not read again, those before still may",
        "error",
        ("reason",),
        "At SIGHUP; a user or group of the lists is not known here.",
    ),
    LogEvent(
        "master",
        "client_not_allowed",
        "warning",
        (*_PEER, "user", "pid"),
        "A process connected to the socket whose user no list names.",
    ),
    LogEvent(
        "master", "stranger_turned_away", "warning", (*_PEER, "address"), "Too many of these at a time."
    ),
    LogEvent("s3", "serving S3", "info", ("address", "tls", "keys", "anonymous", "metrics"), "It serves."),
    LogEvent("s3", "stopped", "info", (), "It has ended; with the line come its counters."),
    LogEvent(
        "s3",
        "request failed",
        "warning",
        (*_S3_REQUEST, "code", "reason"),
        "A request was answered with an error of the server's (5xx).",
    ),
    LogEvent(
        "s3",
        "request failed: a bug",
        "error",
        (*_S3_REQUEST, "exception"),
        "A bug in the worker: please report it.",
    ),
    LogEvent(
        "s3",
        "answer cut off",
        "warning",
        (*_S3_REQUEST, "reason", "exception"),
        "An object could not be read to its end; its client sees a broken connection.",
    ),
    LogEvent(
        "s3",
        "answer of the store cut off",
        "warning",
        (*_S3_REQUEST, "reason", "exception"),
        "The same with an answer of the store that was passed on.",
    ),
    LogEvent(
        "s3",
        "the master was not told that a change is over",
        "warning",
        ("error", "names"),
        "Other hosts may take an old version for current for as long as revalidate_after_s.",
    ),
    LogEvent(
        "s3",
        "no request can be allowed: there are no credentials, and anonymous reads are off",
        "warning",
        (),
        "See `s3.credentials` and `s3.anonymous`.",
    ),
    LogEvent(
        "s3",
        "only reads are answered: no origin is configured that other requests could be passed on to",
        "warning",
        (),
        "There are no S3 origins.",
    ),
    LogEvent(
        "s3",
        "the credentials were not read again, those before stay in force",
        "error",
        ("reason",),
        "The file is wrong: mend it, and reload again.",
    ),
    LogEvent(
        "s3",
        "the certificate was not read again, the one before stays in use",
        "error",
        ("reason",),
        "The file is wrong: mend it, and reload again.",
    ),
    LogEvent("s3", "the certificate was read again", "info", (), "New connections get it."),
    LogEvent("master, s3", "settings read again", "info", ("applied", "need_restart"), "At SIGHUP."),
    LogEvent(
        "master, s3",
        "this setting needs a restart",
        "warning",
        ("setting",),
        "It was changed in the file, and stays as it was.",
    ),
    LogEvent(
        "master, s3",
        "the settings were not read again, those before stay in force",
        "error",
        ("reason",),
        "The file is wrong: mend it, and reload again.",
    ),
    LogEvent("dev", "child is ready", "info", ("child", "pid"), "A process of `cashy dev` serves."),
    LogEvent(
        "dev",
        "child fell, restarting it",
        "warning",
        ("child", "how", "pause_s"),
        "A process of `cashy dev` ended unasked.",
    ),
    LogEvent(
        "dev",
        "child does not stop, killing it",
        "warning",
        ("child", "pid"),
        "A process of `cashy dev` did not end when told to.",
    ),
)

_INTRO = """\
# Logs of cashy

Each daemon writes one event a line on standard error (under systemd: the journal), from `log.level` on, as text or, with `log.format = "json"`, as
JSON objects. Every line has `timestamp` (ISO 8601, UTC), `level`, `event` (one of those below, word for word) and the event's own values; those of a
master in a cluster, `host`. Secrets are blanked.

## Following a read

An S3 client's error names its request id: it is `request_id` in the worker's log, beside the path and the client's own trace id, if it sent one
(`traceparent` of W3C Trace Context, or `X-Amzn-Trace-Id`; both are passed on to stores). The master's `request_failed` of the same object names its
client; `source_failed` says which host or origin did not deliver which block, and why, on the host that asked; the host that was asked says there why
it could not. `cashy trace URL` repeats the read and shows all of this at once.

```console
$ journalctl -u 'cashy-*' -o cat | jq -c 'select(.url == "s3://market/ticks" or .path == "/market/ticks")'
```

| field | what it is |
|---|---|
"""


def logs_page() -> str:
    """The text of the page, without the line that says how it is made."""
    parts = [_INTRO + "\n".join(f"| `{name}` | {meaning} |" for name, meaning in READ_FIELDS.items()) + "\n"]
    parts.append("## Events\n")
    parts.append("| of | event | level | fields | what it means |\n|---|---|---|---|---|")
    for event in LOG_EVENTS:
        fields = ", ".join(f"`{name}`" for name in event.fields)
        parts.append(f"| {event.program} | `{event.name}` | {event.level} | {fields} | {event.meaning} |")
    return "\n".join(parts) + "\n"
