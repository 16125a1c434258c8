"""What is known of an object's name, as the parts of the master pass it on."""

from __future__ import annotations

from aviary.cashy.v1.control_pb2 import ObjectInfo
from cashy.core.names import ObjectName
from cashy.master.fills import Content

__all__ = ["Known"]


class Known:
    """What is known of a name now."""

    __slots__ = ("content", "info", "name")

    def __init__(self, name: ObjectName, content: Content, info: ObjectInfo) -> None:
        self.name = name
        self.content = content
        self.info = info
