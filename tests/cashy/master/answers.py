"""What a fetch answers, noted down."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from aviary.cashy.v1.control_pb2 import ObjectInfo, Tier
from cashy.master.host import Host

__all__ = ["Answers"]


@dataclass
class Answers:
    host: Host
    object: ObjectInfo | None = None
    blocks: dict[int, tuple[int, int, int, Tier, bool]] = field(default_factory=dict)
    files: dict[int, bytes] = field(default_factory=dict)
    progress: dict[int, list[int]] = field(default_factory=dict)

    def send_object(self, request_id: int, info: ObjectInfo) -> None:
        self.object = info

    def send_block(
        self,
        request_id: int,
        block: int,
        slot: int,
        generation: int,
        length: int,
        tier: Tier,
        *,
        filling: bool,
    ) -> None:
        self.blocks[block] = (slot, generation, length, tier, filling)

    def send_file(self, request_id: int, block: int, length: int, tier: Tier, descriptor: int) -> None:
        """The file's bytes, read and closed."""
        self.files[block] = os.pread(descriptor, length, 0)
        os.close(descriptor)

    def send_progress(self, request_id: int, block: int, watermark: int, *, complete: bool) -> None:
        self.progress.setdefault(block, []).append(watermark)

    @property
    def tiers(self) -> dict[int, Tier]:
        """Where each block came from."""
        return {index: tier for index, (_, _, _, tier, _) in self.blocks.items()}

    def content(self) -> bytes:
        return b"".join(
            bytes(self.host.store.content(self.blocks[index][0])) for index in sorted(self.blocks)
        )
