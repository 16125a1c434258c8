"""FIX 4.4's repeating groups, and the data dictionary that tells QuickFIX of them.

Law: a table of groups. QuickFIX takes a tag that stands twice outside of a group as a fault and refuses the whole message, a fill too; so every
group that FIX 4.4 has in the messages that are read here is listed, whether anybody looks at it or not. What else a venue sends is let pass: the
dictionary knows no other fields, and ``AllowUnknownMsgFields`` is on. Required fields are listed for an acceptor alone; of what a venue sends
nothing is refused for its form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from xml.sax.saxutils import quoteattr

from toucan.fix.core.tags import MESSAGE_TYPES, MsgType, Tag

__all__ = ["GROUPS", "HEADER_TAGS", "dictionary_xml"]

#: The counter's tag, and the fields of an entry, of which the first begins one.
GROUPS: dict[int, tuple[int, ...]] = {
    136: (137, 138, 139, 891),  # NoMiscFees
    146: (55, 65, 48, 22, 460, 461, 167, 207, 15, 107),  # NoRelatedSym
    232: (233, 234),  # NoStipulations
    267: (269,),  # NoMDEntryTypes
    268: (269, 270, 15, 271, 272, 273, 274, 275, 276, 277, 282, 283, 284, 286, 59, 432, 126, 110, 18, 287, 37, 299, 288, 289, 346, 290, 546, 811, 58),
    382: (375, 337, 437, 438, 655),  # NoContraBrokers
    386: (336, 625),  # NoTradingSessions
    78: (79, 661, 736, 467, 80),  # NoAllocs
    453: (448, 447, 452, 802),  # NoPartyIDs
    454: (455, 456),  # NoSecurityAltID
    518: (519, 520, 521),  # NoContAmts
    555: (600, 601, 602, 603, 607, 608, 609, 610, 611, 612, 613, 614, 615, 616,
        617, 618, 619, 620, 621, 622, 623, 624, 556, 687, 690, 564, 565, 637, 654, 566, 587, 588),
    711: (311, 312, 309, 305, 462, 463, 310, 763, 313, 542, 241, 242, 316, 317, 436,
        435, 308, 306, 362, 363, 307, 318, 879, 810),
    864: (865, 866, 867, 868),  # NoEvents
}  # fmt: skip
_NESTED: dict[int, dict[int, tuple[int, ...]]] = {453: {802: (523, 803)}}

_REPORT = (136, 232, 382, 453, 454, 518, 555, 711, 864)
_ORDER = (78, 232, 386, 453, 454, 711, 864)
_GROUPS_OF: dict[str, tuple[int, ...]] = {
    MsgType.EXECUTION_REPORT: _REPORT,
    MsgType.NEW_ORDER_SINGLE: _ORDER,
    MsgType.ORDER_CANCEL_REQUEST: (453, 454, 711, 864),
    MsgType.ORDER_CANCEL_REPLACE_REQUEST: _ORDER,
    MsgType.ORDER_STATUS_REQUEST: (453, 454, 711, 864),
    MsgType.ORDER_MASS_STATUS_REQUEST: (453, 454, 711, 864),
    MsgType.MARKET_DATA_REQUEST: (146, 267, 386),
    MsgType.MARKET_DATA_SNAPSHOT: (268, 454, 711, 864),
}
#: Fields in which any bytes may stand, those that end a field as well; how many there are says the field before it (of 89: 93).
_DATA = frozenset((89, 91, 96, 213, 349, 351, 353, 355, 357, 359, 361, 363, 365, 446, 619, 622))
_HOPS = (628, 629, 630)
_CHECK_SUM = 10

_REQUIRED: dict[str, tuple[int, ...]] = {
    MsgType.NEW_ORDER_SINGLE: (Tag.CL_ORD_ID, Tag.SYMBOL, Tag.SIDE, Tag.TRANSACT_TIME, Tag.ORDER_QTY, Tag.ORD_TYPE),
    MsgType.ORDER_CANCEL_REQUEST: (Tag.ORIG_CL_ORD_ID, Tag.CL_ORD_ID, Tag.SYMBOL, Tag.SIDE, Tag.TRANSACT_TIME),
    MsgType.ORDER_CANCEL_REPLACE_REQUEST: (
        Tag.ORIG_CL_ORD_ID, Tag.CL_ORD_ID, Tag.SYMBOL, Tag.SIDE, Tag.TRANSACT_TIME, Tag.ORDER_QTY, Tag.ORD_TYPE,
    ),
    MsgType.ORDER_STATUS_REQUEST: (Tag.CL_ORD_ID, Tag.SYMBOL, Tag.SIDE),
    MsgType.ORDER_MASS_STATUS_REQUEST: (Tag.MASS_STATUS_REQ_ID, Tag.MASS_STATUS_REQ_TYPE),
    MsgType.MARKET_DATA_REQUEST: (Tag.MD_REQ_ID, Tag.SUBSCRIPTION_REQUEST_TYPE, Tag.MARKET_DEPTH),
    MsgType.SECURITY_STATUS_REQUEST: (Tag.SECURITY_STATUS_REQ_ID, Tag.SYMBOL, Tag.SUBSCRIPTION_REQUEST_TYPE),
}  # fmt: skip

#: Fields that stand in the header of a message, whoever makes it.
HEADER_TAGS = frozenset((Tag.POSS_RESEND, Tag.ON_BEHALF_OF_COMP_ID, Tag.POSS_DUP_FLAG))


def dictionary_xml(*, is_strict: bool) -> str:
    """The dictionary in QuickFIX's format; ``is_strict``: with the fields that requests must have."""
    used: set[int] = {*_HOPS, 627, Tag.MSG_TYPE, _CHECK_SUM, *_DATA}
    messages = [
        "".join(_message(one, _REQUIRED.get(one, ()) if is_strict else (), used)) for one in MESSAGE_TYPES
    ]
    for count, members in GROUPS.items():
        used |= {count, *members}
    used |= {
        tag for nested in _NESTED.values() for count, members in nested.items() for tag in (count, *members)
    }
    counters = {627, *GROUPS, *(count for nested in _NESTED.values() for count in nested)}
    fields = "".join(
        f'<field number="{tag}" name="{_name(tag)}" type="{"NUMINGROUP" if tag in counters else "DATA" if tag in _DATA else "STRING"}"/>'
        for tag in sorted(used)
    )
    return (
        '<fix type="FIX" major="4" minor="4" servicepack="0">'
        f'<header><field name="{_name(Tag.MSG_TYPE)}" required="Y"/>{_group(627, _HOPS, {})}</header>'
        f'<trailer><field name="{_name(_CHECK_SUM)}" required="Y"/></trailer><components/>'
        f"<messages>{''.join(messages)}</messages><fields>{fields}</fields></fix>\n"
    )


def _message(kind: str, required: Iterable[int], used: set[int]) -> Iterator[str]:
    category = "admin" if kind in "012345A" else "app"
    yield f'<message name="Type{kind}" msgtype={quoteattr(kind)} msgcat="{category}">'
    for tag in required:
        used.add(int(tag))
        yield f'<field name="{_name(tag)}" required="Y"/>'
    for count in _GROUPS_OF.get(kind, ()):
        yield _group(count, GROUPS[count], _NESTED.get(count, {}))
    yield "</message>"


def _group(count: int, members: Iterable[int], nested: dict[int, tuple[int, ...]]) -> str:
    parts = [
        _group(tag, nested[tag], {}) if tag in nested else f'<field name="{_name(tag)}" required="N"/>'
        for tag in members
    ]
    return f'<group name="{_name(count)}" required="N">{"".join(parts)}</group>'


def _name(tag: int) -> str:
    return f"Tag{int(tag)}"
