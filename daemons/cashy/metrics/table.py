"""Every metric of cashy's daemons: its name in Prometheus, what it means, and which counters it is made of.

Law: a counter that is not in :data:`FAMILIES` is not exposed, and a test fails on it; nothing else lists metrics. The daemons count
under names of their own (``blocks_filled``, ``origin.<name>.reads_total``); a source here says which of these become one family, and
under which labels. In a source's name ``<word>`` stands for any text and becomes the label ``word``. Naming follows Prometheus: base
units, ``_total`` for what only rises. Pure: it knows no daemon and not the client library of Prometheus.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

__all__ = ["FAMILIES", "INFO", "Daemon", "Family", "Kind", "Resolver", "Sample", "Source", "families_of"]

Daemon = Literal["master", "s3"]
Kind = Literal["counter", "gauge"]

_PLACEHOLDER = re.compile(r"<(\w+)>")


@dataclass(frozen=True)
class Source:
    """A counter's name (with placeholders), the labels its value gets, and what one of it is in the family's unit."""

    counter: str
    labels: Mapping[str, str] = field(default_factory=dict)
    scale: float = 1

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches the counters that this source stands for."""
        pieces = _PLACEHOLDER.split(self.counter)  # text, word, text, word, …
        parts = [f"(?P<{piece}>.+)" if odd % 2 else re.escape(piece) for odd, piece in enumerate(pieces)]
        return re.compile("".join(parts), re.DOTALL)

    @property
    def placeholders(self) -> tuple[str, ...]:
        """Labels whose values stand in the counter's name."""
        return tuple(_PLACEHOLDER.findall(self.counter))

    @property
    def label_names(self) -> tuple[str, ...]:
        """All its labels, those of placeholders first."""
        return (*self.placeholders, *self.labels)


@dataclass(frozen=True)
class Family:
    """One metric. ``sources`` empty: it is not made from counters."""

    daemon: Daemon | Literal["both"]
    name: str
    kind: Kind
    help_text: str
    sources: tuple[Source, ...] = ()
    other_labels: tuple[str, ...] = ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """Labels of its samples, the same for all of them."""
        return self.sources[0].label_names if self.sources else self.other_labels


class Sample(NamedTuple):
    """Where the value of one counter goes."""

    family: Family
    labels: tuple[str, ...]
    scale: float


def _master(name: str, kind: Kind, help_text: str, *sources: Source | str) -> Family:
    return _family("master", name, kind, help_text, sources)


def _s3(name: str, kind: Kind, help_text: str, *sources: Source | str) -> Family:
    return _family("s3", name, kind, help_text, sources)


def _family(
    daemon: Daemon, name: str, kind: Kind, help_text: str, sources: tuple[Source | str, ...]
) -> Family:
    made = tuple(Source(source) if isinstance(source, str) else source for source in sources)
    return Family(daemon, name, kind, help_text, made)


def _by(label: str, **counters: str) -> tuple[Source, ...]:
    """One family of several counters, told apart by a label: value = counter."""
    return tuple(Source(counter, {label: value}) for value, counter in counters.items())


#: Made by the exposition itself.
INFO = Family(
    "both", "cashy_info", "gauge", "Always 1; says which daemon this is.",
    other_labels=("daemon", "version", "instance", "host"),
)  # fmt: skip

#: Made by prometheus_client's collector.
_PROCESS: tuple[Family, ...] = (
    Family("both", "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds."),
    Family("both", "process_resident_memory_bytes", "gauge", "Resident memory size in bytes; of the arena only what this process has touched."),
    Family("both", "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes; the arena is part of it."),
    Family("both", "process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds."),
    Family("both", "process_open_fds", "gauge", "Number of open file descriptors."),
    Family("both", "process_max_fds", "gauge", "Maximum number of open file descriptors."),
)  # fmt: skip

_READS: tuple[Family, ...] = (
    _master(
        "cashy_blocks_total", "counter",
        "Blocks by where they were found. memory: clients and S3 workers of this host found them in shared memory, asking nobody. "
        "ssd, peer, origin: brought into this host's memory from its SSD, from another host or from the origin, for a reader or ahead of one.",
        *_by("tier", memory="hits_memory", ssd="blocks_from_ssd", peer="blocks_from_peer", origin="blocks_from_origin"),
    ),
    _master(
        "cashy_bytes_total", "counter", "Bytes in the same way; from memory, those that were asked for.",
        *_by("tier", memory="hit_bytes_memory", ssd="bytes_from_ssd", peer="bytes_from_peer", origin="bytes_from_origin"),
    ),
    _master("cashy_ssd_written_blocks_total", "counter", "Blocks that memory was about to let go, written to an SSD.", "blocks_to_ssd"),
    _master("cashy_ssd_written_bytes_total", "counter", "Bytes of these.", "bytes_to_ssd"),
    _master(
        "cashy_ssd_not_offered_blocks_total", "counter",
        "Blocks that went before they could be offered to an SSD: it is slower than what comes.", "blocks_not_offered",
    ),
    _master("cashy_ssd_reads_failed_total", "counter", "Reads of blocks from an SSD that failed: others were asked.", "ssd_reads_failed"),
    _master(
        "cashy_ssd_mapped_blocks_total", "counter", "Blocks on an SSD given to clients as files, for views that do not fit into memory.",
        "blocks_mapped",
    ),
    _master("cashy_peer_served_blocks_total", "counter", "Blocks that were sent to other hosts.", "peer_reads_served"),
    _master("cashy_peer_served_bytes_total", "counter", "Bytes that were sent to other hosts.", "peer_bytes_served"),
    _master("cashy_peer_served_heads_total", "counter", "Questions of other hosts for an object's metadata.", "peer_heads_served"),
    _master("cashy_peer_reads_total", "counter", "Blocks asked of other hosts.", "peer_reads"),
    _master("cashy_peer_reads_failed_total", "counter", "Of these, those that came not: somebody else was asked.", "peer_reads_failed"),
    _master(
        "cashy_hedges_total", "counter", "Blocks asked of a second source too, since the first host gave no sign in its usual time.", "hedges",
    ),
    _master(
        "cashy_hedges_of_silent_total", "counter", "Of these, those whose first host did not even answer PING: they cost nothing of the budget.",
        "hedges_of_silent",
    ),
    _master("cashy_hedges_won_total", "counter", "Of these, those that the second source answered first.", "hedges_won"),
    _master("cashy_hedges_cancelled_total", "counter", "Reads given up since another source was first, or nobody waited.", "hedges_cancelled"),
    _master(
        "cashy_hedges_refused_total", "counter",
        "Late reads that nobody else was asked for, each once for a reason. budget: too few reads have gone well; cap: too many are asked twice "
        "at present; overload: somebody said SlowDown, or no place was free; waiting: the first host is at the origin for it; sending: it is "
        "sending other blocks.",
        "hedges_refused_<reason>",
    ),
    _master("cashy_hedges_under_way", "gauge", "Second reads at present.", "hedges_under_way"),
    _master("cashy_slow_peers_avoided_total", "counter", "Blocks not asked of their home, since that is slow at present.", "slow_peers_avoided"),
    _master("cashy_slow_peers_probed_total", "counter", "Blocks asked of a slow home all the same, to see whether it still is.", "slow_peers_probed"),
    _master("cashy_peer_heads_total", "counter", "Questions to other hosts for an object's metadata.", "peer_heads"),
    _master("cashy_peer_heads_failed_total", "counter", "Of these, those that another host did not answer.", "peer_heads_failed"),
    _master("cashy_origin_block_reads_total", "counter", "Blocks asked of the origin.", "origin_reads"),
    _master("cashy_pages_listed_total", "counter", "Pages of listings asked of origins for clients.", "pages_listed"),
    _master("cashy_origin_heads_total", "counter", "Questions to the origin for an object's metadata.", "origin_heads"),
)  # fmt: skip

_FILLS: tuple[Family, ...] = (
    _master("cashy_fills_total", "counter", "Transfers of a block into memory that were begun.", "fills_started"),
    _master("cashy_blocks_filled_total", "counter", "Blocks that arrived whole and verified, whatever they came from.", "blocks_filled"),
    _master("cashy_bytes_filled_total", "counter", "Bytes of these.", "bytes_filled"),
    _master("cashy_fills_joined_total", "counter", "Requests for a block that was on its way already.", "fills_joined"),
    _master("cashy_fills_failed_total", "counter", "Transfers that failed for good: the readers got an error.", "fills_failed"),
    _master("cashy_fills_refused_total", "counter", "Blocks refused with SlowDown, since too much waited already.", "fills_refused"),
    _master(
        "cashy_fills_past_deadline_total", "counter", "Blocks not asked for, since their readers' deadlines had passed while they waited.",
        "fills_past_deadline",
    ),
    _master("cashy_fills_expired_total", "counter", "Transfers given up after a silence that no source allows itself: a bug.", "fills_expired"),
    _master("cashy_fills_cancelled_total", "counter", "Transfers ended because nobody waited for them any more.", "fills_cancelled"),
    _master("cashy_fills_under_way", "gauge", "Transfers at present.", "fills_under_way"),
    _master("cashy_fills_waiting", "gauge", "Transfers that wait for their turn.", "fills_waiting"),
    _master("cashy_blocks_prefetched_total", "counter", "Blocks loaded before anybody waited for them.", "blocks_prefetched"),
    _master("cashy_prefetches_failed_total", "counter", "Objects that a client wished for and that could not be loaded.", "prefetches_failed"),
    _master("cashy_questions_joined_total", "counter", "Requests for metadata that was being asked for already.", "questions_joined"),
    _master("cashy_coherent", "gauge", "1 while every change would be heard of; else versions are checked at each read.", "coherent"),
    _master("cashy_coherent_left_milliseconds", "gauge", "For how much longer, if no other host is heard of.", "coherent_left_ms"),
    _master("cashy_coherence_gained_total", "counter", "Times that this began, or began anew.", "coherence_gained"),
    _master("cashy_peers_left_total", "counter", "Other hosts that stopped in an orderly way.", "peers_left"),
    _master("cashy_leases_missed_total", "counter", "Leases that another host did not grant when asked.", "leases_missed"),
    _master("cashy_leases_begun_total", "counter", "Leases of hosts that cannot tell what was before: new, restarted, or forgetful.", "leases_begun"),
    _master("cashy_change_rounds_total", "counter", "Times that hosts were told of changes, until whoever believes something knew.", "change_rounds"),
    _master(
        "cashy_change_rounds_without_all_total", "counter", "Of these, those that some host did not confirm.",
        "change_rounds_without_all",
    ),
    _master("cashy_changes_refused_total", "counter", "Changes refused since too few hosts of the cluster were reached.", "changes_refused"),
    _master(
        "cashy_changes_unconfirmed_total", "counter", "Changes whose success was kept from the writer since too few hosts could be told.",
        "changes_unconfirmed",
    ),
    _master(
        "cashy_changes_noted_total", "counter", "Times that an object was changed, or about to be, through a host of the cluster.",
        "changes_noted",
    ),
    _master(
        "cashy_answers_outdated_total", "counter", "Answers on an object's version not kept, since the object was changed meanwhile.",
        "answers_outdated",
    ),
    _master(
        "cashy_stale_answers_total", "counter", "Questions answered from what was past its time, since its origin could not be reached.",
        "stale_answers",
    ),
    _master("cashy_versions_replaced_total", "counter", "Objects found to have another version than was known.", "versions_replaced"),
    _master("cashy_metadata_not_kept_total", "counter", "Metadata for which no room could be made.", "metadata_not_kept"),
)  # fmt: skip

_MEMORY: tuple[Family, ...] = (
    _master("cashy_arena_used_bytes", "gauge", "Shared memory that holds blocks and metadata, or is being filled.", "arena_used_bytes"),
    _master("cashy_arena_free_bytes", "gauge", "Shared memory that is free; room is made when there is none.", "arena_free_bytes"),
    _master("cashy_slots_in_use", "gauge", "Blocks and metadata records in memory.", "slots_in_use"),
    _master("cashy_slots_retired", "gauge", "Outdated ones that a reader still holds.", "slots_retired"),
    _master("cashy_slots_unverified", "gauge", "Of a predecessor's slots, those whose bytes nobody has looked at yet.", "slots_unverified"),
    _master("cashy_slots_scrubbed_total", "counter", "Slots whose bytes were compared with their checksum in the background.", "slots_scrubbed"),
    _master(
        "cashy_slots_corrupt_total", "counter", "Slots whose bytes had been damaged in memory; they were dropped, and not served.",
        "slots_corrupt",
    ),
    _master("cashy_slots_restored_total", "counter", "Slots taken over from this master's predecessor.", "slots_restored"),
    _master("cashy_slots_evicted_total", "counter", "Slots emptied to make room.", "slots_evicted"),
    _master("cashy_slots_spared_total", "counter", "Slots that would have been, had a reader not held them.", "slots_spared"),
    _master("cashy_arena_full_total", "counter", "Requests refused because everything in memory was held or being filled.", "arena_full"),
)  # fmt: skip

_OPERATING: tuple[Family, ...] = (
    _master("cashy_pinned_objects", "gauge", "Objects that operators have pinned.", "pinned_objects"),
    _master(
        "cashy_pinned_objects_failing", "gauge", "Of these, those of which something is missing for a reason that `cashy pin --list` says.",
        "pinned_objects_failing",
    ),
    _master("cashy_pinned_bytes", "gauge", "Bytes to be kept for pins.", "pinned_bytes"),
    _master("cashy_pinned_max_bytes", "gauge", "As much as may be.", "pinned_bytes_max"),
    _master("cashy_pinned_here_blocks", "gauge", "Blocks that are kept for pins.", "pinned_blocks_here"),
    _master("cashy_pinned_here_bytes", "gauge", "Bytes of these.", "pinned_bytes_here"),
    _master("cashy_pins_expired_total", "counter", "Pins whose time was over.", "pins_expired"),
    _master("cashy_pins_followed_total", "counter", "Pinned objects whose new version was loaded in place of the old.", "pins_followed"),
    _master("cashy_evicted_by_request_blocks_total", "counter", "Blocks that an operator had evicted.", "blocks_evicted_by_request"),
    _master("cashy_evicted_by_request_bytes_total", "counter", "Bytes of these.", "bytes_evicted_by_request"),
    _master("cashy_reads_traced_total", "counter", "Reads that somebody had traced here.", "reads_traced"),
)  # fmt: skip

_CLIENTS: tuple[Family, ...] = (
    _master("cashy_clients", "gauge", "Connected clients, S3 workers included.", "clients"),
    _master("cashy_clients_without_table_total", "counter", "Clients that copy: no shared memory was left for their pins.", "clients_without_table"),
    _master("cashy_clients_refused_total", "counter", "Clients that were not let in: too many, or of another version.", "clients_refused"),
    _master("cashy_clients_dropped_total", "counter", "Clients cut off because they did not read their answers.", "clients_dropped"),
    _master("cashy_protocol_errors_total", "counter", "Clients cut off because they broke the protocol.", "protocol_errors"),
    _master("cashy_requests_failed_total", "counter", "Requests of clients that were answered with an error.", "requests_failed"),
    _master("cashy_pin_tables", "gauge", "Pin tables: one per client that can hold blocks, and one more after each fork.", "pin_tables"),
    _master("cashy_tables_retired_total", "counter", "Pin tables of clients that are gone.", "tables_retired"),
    _master(
        "cashy_loop_stall_max_seconds", "gauge", "Longest time by which the master's loop came late to a timer, since its start.",
        Source("loop_stall_max_us", scale=1e-6),
    ),
)  # fmt: skip

_ORIGINS: tuple[Family, ...] = (
    _master("cashy_origin_reads_total", "counter", "Reads of blocks begun at this origin.", "origin.<origin>.reads_total"),
    _master("cashy_origin_listings_total", "counter", "Pages of listings asked of this origin.", "origin.<origin>.lists_total"),
    _master("cashy_origin_requests_for_metadata_total", "counter", "Reads of metadata begun at this origin.", "origin.<origin>.heads_total"),
    _master("cashy_origin_received_bytes_total", "counter", "Bytes of objects received.", "origin.<origin>.bytes_total"),
    _master("cashy_origin_timeouts_total", "counter", "Requests that took too long.", "origin.<origin>.timeouts_total"),
    _master("cashy_origin_cancels_total", "counter", "Reads that were no longer wanted.", "origin.<origin>.cancels_total"),
    _master("cashy_origin_is_down", "gauge", "1 while it cannot be reached; what is cached is served past its time.", "reach.<origin>.is_down"),
    _master(
        "cashy_origin_is_recovering", "gauge", "1 while it answers again and is asked by few at a time.", "reach.<origin>.is_recovering",
    ),
    _master("cashy_origin_queued", "gauge", "Requests that wait for a connection or a thread.", "origin.<origin>.queued"),
    _master("cashy_origin_requests_total", "counter", "HTTP requests, retries included (S3).", "origin.<origin>.requests_total"),
    _master("cashy_origin_retries_total", "counter", "HTTP requests sent again after a failure (S3).", "origin.<origin>.retries_total"),
    _master(
        "cashy_origin_retries_refused_total", "counter",
        "Failures after which no retry was left, in number, time or in the store's budget (S3).", "origin.<origin>.retries_refused_total",
    ),
    _master(
        "cashy_origin_reads_resumed_total", "counter", "Reads that went on after their connection broke (S3).",
        "origin.<origin>.reads_resumed_total",
    ),
    _master("cashy_origin_slow_downs_total", "counter", "Answers that ask for fewer requests: 503, 429 (S3).", "origin.<origin>.slow_downs_total"),
    _master("cashy_origin_redirects_total", "counter", "Requests sent again for another region (S3).", "origin.<origin>.redirects_total"),
    _master(
        "cashy_origin_credential_failures_total", "counter", "Renewals of credentials that failed (S3).",
        "origin.<origin>.credential_failures_total",
    ),
    _master("cashy_origin_hosts", "gauge", "Hosts of the store with connections (S3).", "origin.<origin>.hosts"),
    _master(
        "cashy_origin_passed_over_total", "counter", "Requests refused here, since the host (S3) or the directory had not answered the last ones.",
        "origin.<origin>.passed_over_total",
    ),
    _master("cashy_origin_hosts_resting", "gauge", "Hosts left alone for that reason at present.", "origin.<origin>.hosts_resting"),
    _master("cashy_origin_connections_opened_total", "counter", "Connections made (S3).", "origin.<origin>.connections_opened_total"),
    _master("cashy_origin_connect_failures_total", "counter", "Connections that could not be made (S3).", "origin.<origin>.connect_failures_total"),
    _master(
        "cashy_origin_cancelled_transfers_total", "counter", "Connections of reads no longer wanted (S3): drained and kept, or closed.",
        *(Source(f"origin.<origin>.cancels_{how}_total", {"connection": how}) for how in ("drained", "closed")),
    ),
    _master("cashy_origin_credential_refreshes_total", "counter", "Renewals of credentials (S3).", "origin.<origin>.credential_refreshes_total"),
    _master("cashy_origin_connections", "gauge", "Open connections (S3).", "origin.<origin>.connections"),
    _master("cashy_origin_connections_idle", "gauge", "Of these, idle ones (S3).", "origin.<origin>.connections_idle"),
    _master("cashy_origin_threads", "gauge", "Threads that read files (directory).", "origin.<origin>.threads"),
    _master("cashy_origin_threads_busy", "gauge", "Of these, busy ones (directory).", "origin.<origin>.threads_busy"),
    _master("cashy_origin_threads_stuck", "gauge", "Of these, those in a call that does not return (directory).", "origin.<origin>.threads_stuck"),
    _master("cashy_origin_threads_stuck_total", "counter", "Times that a thread was found stuck (directory).", "origin.<origin>.threads_stuck_total"),
)  # fmt: skip

_DISKS: tuple[Family, ...] = (
    _master(
        "cashy_disk_is_ready",
        "gauge",
        "Whether the SSD is used: 1 or 0; the log says why not.",
        "disk.<disk>.is_ready",
    ),
    _master("cashy_disk_blocks", "gauge", "Blocks on it.", "disk.<disk>.blocks"),
    _master("cashy_disk_used_bytes", "gauge", "What they take.", "disk.<disk>.used_bytes"),
    _master("cashy_disk_size_bytes", "gauge", "What they may take.", "disk.<disk>.size_bytes"),
    _master(
        "cashy_disk_waiting_bytes",
        "gauge",
        "Bytes of blocks that are being written or wait for it.",
        "disk.<disk>.waiting_bytes",
    ),
    _master("cashy_disk_reads_total", "counter", "Reads of blocks.", "disk.<disk>.reads_total"),
    _master(
        "cashy_disk_hits_total",
        "counter",
        "Of these and of the mapped ones, those whose bytes came and were right.",
        "disk.<disk>.hits_total",
    ),
    _master(
        "cashy_disk_mapped_total",
        "counter",
        "Blocks checked to be mapped by clients.",
        "disk.<disk>.mapped_total",
    ),
    _master(
        "cashy_disk_corrupt_total",
        "counter",
        "Blocks whose checksum, name or length was wrong; they are given up.",
        "disk.<disk>.corrupt_total",
    ),
    _master(
        "cashy_disk_timeouts_total",
        "counter",
        "Calls that did not come back in time: the disk is left alone until they do.",
        "disk.<disk>.timeouts_total",
    ),
    _master(
        "cashy_disk_errors_total",
        "counter",
        "Calls that failed; five within a minute, and the disk is taken out for a time.",
        "disk.<disk>.errors_total",
    ),
    _master(
        "cashy_disk_writes_total", "counter", "Blocks handed over to be written.", "disk.<disk>.writes_total"
    ),
    _master(
        "cashy_disk_writes_failed_total",
        "counter",
        "Of these, those that are not there.",
        "disk.<disk>.writes_failed_total",
    ),
    _master(
        "cashy_disk_bytes_written_total",
        "counter",
        "Bytes of blocks written.",
        "disk.<disk>.bytes_written_total",
    ),
    _master(
        "cashy_disk_refused_by_admission_total",
        "counter",
        "Blocks not written: read once, or too small.",
        "disk.<disk>.refused_by_admission_total",
    ),
    _master(
        "cashy_disk_refused_by_queue_total",
        "counter",
        "Blocks not written: too many bytes wait already.",
        "disk.<disk>.refused_by_queue_total",
    ),
    _master(
        "cashy_disk_refused_by_rate_total",
        "counter",
        "Blocks not written: write_bytes_per_s is used up.",
        "disk.<disk>.refused_by_rate_total",
    ),
    _master(
        "cashy_disk_evicted_total",
        "counter",
        "Blocks that made room for others.",
        "disk.<disk>.evicted_total",
    ),
    _master(
        "cashy_disk_full_total", "counter", "Times that others had taken its room.", "disk.<disk>.full_total"
    ),
    _master(
        "cashy_disk_adopted_total",
        "counter",
        "Blocks found in its folders that the index did not know.",
        "disk.<disk>.adopted_total",
    ),
)

_MEMBERSHIP: tuple[Family, ...] = (
    _master("cashy_membership_version", "gauge", "Number of the list of hosts in force; 0: it stands in the settings.", "membership_version"),
    _master("cashy_membership_hosts", "gauge", "Hosts in it.", "membership_hosts"),
    _master(
        "cashy_membership_errors_total", "counter",
        "Lists that were not taken: broken, older, or changed without a new number.", "membership_errors",
    ),
    _master("cashy_membership_changes_total", "counter", "Lists that were taken.", "membership_changes"),
    _master("cashy_membership_settled_total", "counter", "Times that all hosts were known to go by this host's list.", "membership_settled"),
    _master(
        "cashy_membership_lists_counted", "gauge",
        "Lists that changes and leases are counted by: 1, or more until all hosts agree.", "membership_lists_counted",
    ),
    _master("cashy_membership_unconfirmed_hosts", "gauge", "Hosts whose word on the newest list is waited for.", "membership_unconfirmed"),
    _master(
        "cashy_membership_acts", "gauge",
        "1 while this host is in the list and sure of it; else versions are checked at each read, and nothing can be changed through it.",
        "membership_acts",
    ),
    _master(
        "cashy_membership_left_behind_total", "counter",
        "Times that other hosts had agreed on a list without this one.", "membership_left_behind",
    ),
    _master(
        "cashy_holder_reads_total", "counter",
        "Blocks asked of their home before the hosts changed, or of the home of a hot block.", "holder_reads",
    ),
    _master("cashy_holder_reads_missed_total", "counter", "Of these, those that it had not, either.", "holder_reads_missed"),
    _master("cashy_hot_blocks", "gauge", "Blocks at home here that so many hosts ask for that others hold copies.", "hot_blocks"),
    _master("cashy_hot_blocks_watched", "gauge", "Blocks whose askers are counted.", "hot_blocks_watched"),
    _master("cashy_hot_reads_total", "counter", "Reads of hot blocks at home here.", "hot_reads"),
    _master("cashy_hot_reads_sent_on_total", "counter", "Of these, those sent on to a host with a copy.", "hot_reads_sent_on"),
    _master("cashy_peer_reads_sent_on_total", "counter", "Blocks that this host was sent to another holder for.", "peer_reads_sent_on"),
    _master("cashy_hot_hints_kept", "gauge", "Hot blocks of other homes that this host was told of.", "hints_kept"),
)  # fmt: skip

_PEERS: tuple[Family, ...] = (
    _master("cashy_peer_link_up", "gauge", "Whether there is a connection to this host: 1 or 0.", "peer.<peer>.is_up"),
    _master("cashy_peer_link_requests_under_way", "gauge", "Requests it has to answer.", "peer.<peer>.requests_under_way"),
    _master("cashy_peer_link_requests_waiting", "gauge", "Requests that wait for the connection.", "peer.<peer>.requests_waiting"),
    _master("cashy_peer_link_reads_total", "counter", "Blocks asked of it.", "peer.<peer>.reads_total"),
    _master("cashy_peer_link_reads_failed_total", "counter", "Of these, those it did not deliver.", "peer.<peer>.reads_failed_total"),
    _master("cashy_peer_link_reads_cancelled_total", "counter", "Of these, those no longer wanted.", "peer.<peer>.reads_cancelled_total"),
    _master(
        "cashy_peer_link_timeouts_total", "counter",
        "Of the failures, those without a sign for too long, with frames that took too long, or not complete by the deadline.",
        "peer.<peer>.timeouts_total",
    ),
    _master(
        "cashy_peer_link_waits_total", "counter", "Times it said of a block that it is at the origin for it, there being no bytes to send.",
        "peer.<peer>.waits_total",
    ),
    _master(
        "cashy_peer_link_corrupt_reads_total", "counter", "Of the failures, those whose bytes did not fit their checksum.",
        "peer.<peer>.corrupt_reads_total",
    ),
    _master(
        "cashy_peer_link_breaker_state", "gauge", "0: reads are sent to it; 2: it is passed over, since the last ones failed; 1: one may try.",
        "peer.<peer>.breaker_state",
    ),
    _master("cashy_peer_link_breaker_opened_total", "counter", "Times that it came to be passed over.", "peer.<peer>.breaker_opened_total"),
    _master(
        "cashy_peer_link_expected_sign_seconds", "gauge", "How long it takes to the first sign of a read: a moving average.",
        Source("expected_sign_us.<peer>", scale=1e-6),
    ),
    _master(
        "cashy_peer_link_latency_seconds", "gauge", "Time of its latest answers to leases and the like: half of them, and 99 of 100, took no longer.",
        *(Source(f"peer.<peer>.latency_{name}_us", {"percentile": value}, 1e-6) for name, value in (("p50", "50"), ("p99", "99"))),
    ),
    _master("cashy_peer_link_heads_total", "counter", "Questions for metadata.", "peer.<peer>.heads_total"),
    _master("cashy_peer_link_received_bytes_total", "counter", "Bytes received from it, frames and all.", "peer.<peer>.bytes_received_total"),
    _master("cashy_peer_link_connects_total", "counter", "Connections that were made.", "peer.<peer>.connects_total"),
    _master("cashy_peer_link_connect_failures_total", "counter", "Connections that were not.", "peer.<peer>.connect_failures_total"),
    _master("cashy_peer_link_refused_total", "counter", "Of these, those it refused, or we.", "peer.<peer>.refused_total"),
    _master("cashy_peer_link_connections_lost_total", "counter", "Connections that broke.", "peer.<peer>.connections_lost_total"),
    _master("cashy_peer_link_silences_total", "counter", "Times that it did not answer PING for 0.75 s.", "peer.<peer>.silences_total"),
    _master("cashy_peer_link_protocol_errors_total", "counter", "Connections on which it broke the protocol.", "peer.<peer>.protocol_errors_total"),
)  # fmt: skip

_PEER_SERVER: tuple[Family, ...] = (
    _master("cashy_peer_server_connections", "gauge", "Connections of other hosts.", "peer_server.connections"),
    _master("cashy_peer_server_greetings_under_way", "gauge", "Connections that have not yet shown who they are.", "peer_server.greetings_under_way"),
    _master("cashy_peer_server_requests_under_way", "gauge", "Requests of other hosts at present.", "peer_server.requests_under_way"),
    _master("cashy_peer_server_checksummed_ranges", "gauge", "Blocks whose checksums are remembered.", "peer_server.checksummed_ranges"),
    _master("cashy_peer_server_accepted_total", "counter", "Connections accepted, whoever made them.", "peer_server.accepted_total"),
    _master("cashy_peer_server_turned_away_total", "counter", "Connections closed at once, there being too many.", "peer_server.turned_away_total"),
    _master("cashy_peer_server_greeted_total", "counter", "Connections that showed who they are and were let in.", "peer_server.greeted_total"),
    _master(
        "cashy_peer_server_tls_handshakes_failed_total", "counter", "TLS handshakes that came to no agreement.",
        "peer_server.handshakes_failed_total",
    ),
    _master(
        "cashy_certificate_expires_seconds", "gauge",
        "Seconds until the certificate expires by which this host proves itself to the others; 0: it has.", "certificate_expires_s",
    ),
    _master("cashy_peer_server_changes_total", "counter", "Changes of objects that other hosts told of.", "peer_server.changes_total"),
    _master("cashy_peer_server_operations_total", "counter", "Requests of operators that other hosts passed on.", "peer_server.operations_total"),
    _master("cashy_peer_server_leases_total", "counter", "Leases that other hosts asked for.", "peer_server.leases_total"),
    _master("cashy_peer_server_leavings_total", "counter", "Times that another host said that it stops.", "peer_server.leavings_total"),
    _master("cashy_peer_server_refused_total", "counter", "Connections that were not let in.", "peer_server.refused_total"),
    _master("cashy_peer_server_refusals_total", "counter", "The same, by reason.", "peer_server.refused_<reason>_total"),
    _master("cashy_peer_server_reads_total", "counter", "Blocks that other hosts asked for.", "peer_server.reads_total"),
    _master(
        "cashy_peer_server_reads_ended_total", "counter", "The same, by how they ended.",
        *(Source(f"peer_server.reads_{how}_total", {"outcome": how}) for how in ("completed", "cancelled", "failed")),
    ),
    _master(
        "cashy_peer_server_waits_total", "counter", "Times another host was told to wait on for a block, there being no bytes to send.",
        "peer_server.waits_total",
    ),
    _master("cashy_peer_server_heads_total", "counter", "Questions of other hosts for metadata.", "peer_server.heads_total"),
    _master("cashy_peer_server_slow_downs_total", "counter", "Requests refused because a connection had too many.", "peer_server.slow_downs_total"),
    _master("cashy_peer_server_received_bytes_total", "counter", "Bytes received, frames and all.", "peer_server.bytes_received_total"),
    _master("cashy_peer_server_sent_bytes_total", "counter", "Bytes sent, frames and all.", "peer_server.bytes_sent_total"),
    _master("cashy_peer_server_protocol_errors_total", "counter", "Connections that broke the protocol.", "peer_server.protocol_errors_total"),
    _master("cashy_peer_server_stalled_receivers_total", "counter", "Connections that did not read.", "peer_server.stalled_receivers_total"),
    _master("cashy_peer_server_silent_clients_total", "counter", "Connections that said nothing.", "peer_server.silent_clients_total"),
)  # fmt: skip

_S3: tuple[Family, ...] = (
    _s3("cashy_s3_requests_total", "counter", "Requests received.", "requests_total"),
    _s3("cashy_s3_rights_asked_total", "counter", "Questions to stores whether a caller may read an object.", "rights_asked_total"),
    _s3("cashy_s3_rights_refused_total", "counter", "Of these, those that were answered with no.", "rights_refused_total"),
    _s3(
        "cashy_s3_rights_in_grace_total", "counter", "Callers let in by what the store said before, since it could not be reached.",
        "rights_in_grace_total",
    ),
    _s3("cashy_s3_stale_answers_total", "counter", "Answers marked as stale, since the origin could not be reached.", "stale_answers_total"),
    _s3("cashy_s3_hits_total", "counter", "Requests answered at once, out of one block in shared memory.", "hits_total"),
    _s3("cashy_s3_misses_total", "counter", "Questions to the master, for metadata or a block.", "misses_total"),
    _s3("cashy_s3_sent_bytes_total", "counter", "Bytes of objects handed to connections.", "bytes_sent_total"),
    _s3("cashy_s3_errors_total", "counter", "Error answers, by S3's code.", "errors_<code>"),
    _s3("cashy_s3_bodies_cut_off_total", "counter", "Answers cut off because they failed after their head was sent.", "bodies_cut_off_total"),
    _s3("cashy_s3_connections", "gauge", "Open connections.", "connections"),
    _s3("cashy_s3_connections_total", "counter", "Connections that were made.", "connections_total"),
    _s3("cashy_s3_connections_refused_total", "counter", "Connections over the limit, or during the stop.", "connections_refused_total"),
    _s3("cashy_s3_tls_handshakes_failed_total", "counter", "TLS handshakes that came to no agreement.", "tls_handshakes_failed_total"),
    _s3(
        "cashy_s3_timeouts_total", "counter",
        "Connections closed for slowness: sending a request's head or body, between requests, or taking an answer.",
        *_by(
            "phase", handshake="timeouts_handshake_total", head="timeouts_head_total", body="timeouts_body_total", idle="timeouts_idle_total",
            send="timeouts_send_total",
        ),
    ),
    _s3("cashy_s3_proxied_total", "counter", "Requests passed on to a store.", "proxied_total"),
    _s3(
        "cashy_s3_proxied_bytes_total", "counter", "Bytes of bodies passed on to stores and back.",
        *_by("direction", to_store="proxied_bytes_received_total", to_client="proxied_bytes_sent_total"),
    ),
    _s3(
        "cashy_s3_directory_requests_total", "counter",
        "Requests about buckets that are directories answered by the worker itself, and lists of buckets with such among them.",
        "directory_requests_total",
    ),
    _s3("cashy_s3_listings_total", "counter", "Pages of listings of directories.", "listings_total"),
    _s3("cashy_s3_listed_keys_total", "counter", "Keys and common prefixes on these pages.", "listed_keys_total"),
    _s3(
        "cashy_s3_listing_folders_read_total", "counter", "Folders looked into for these pages; those whose names were kept are counted, too.",
        "listing_folders_read_total",
    ),
    _s3("cashy_s3_listings_under_way", "gauge", "Listings of directories that are being made or wait for it.", "listings_under_way"),
    _s3("cashy_s3_listing_names_kept", "gauge", "Names of files and folders kept for the next pages.", "listing_names_kept"),
    _s3("cashy_s3_store_links", "gauge", "Connections to stores, for requests that are passed on.", "store_links"),
)  # fmt: skip

#: All metrics, in the order of the documentation.
FAMILIES: tuple[Family, ...] = (
    INFO,
    *_PROCESS,
    *_READS,
    *_FILLS,
    *_MEMORY,
    *_OPERATING,
    *_CLIENTS,
    *_ORIGINS,
    *_DISKS,
    *_MEMBERSHIP,
    *_PEERS,
    *_PEER_SERVER,
    *_S3,
)


def families_of(daemon: Daemon) -> tuple[Family, ...]:
    """What one daemon exposes."""
    return tuple(family for family in FAMILIES if family.daemon in (daemon, "both"))


class Resolver:
    """Says for each counter of a daemon where it goes; remembers it, since names repeat with every snapshot."""

    def __init__(self, daemon: Daemon) -> None:
        self._known: dict[str, Sample | None] = {}
        self._plain: dict[str, tuple[Family, Source]] = {}
        self._patterns: list[tuple[Family, Source]] = []
        for family in families_of(daemon):
            for source in family.sources:
                if source.placeholders:
                    self._patterns.append((family, source))
                else:
                    self._plain[source.counter] = family, source

    def find(self, counter: str) -> Sample | None:
        """Where it goes; None: it is in no table."""
        if counter not in self._known:
            self._known[counter] = self._resolve(counter)
        return self._known[counter]

    def _resolve(self, counter: str) -> Sample | None:
        if counter in self._plain:
            family, source = self._plain[counter]
            return Sample(family, tuple(source.labels.values()), source.scale)
        for family, source in self._patterns:
            match = source.pattern.fullmatch(counter)
            if match is not None:
                return Sample(family, (*match.groups(), *source.labels.values()), source.scale)
        return None
