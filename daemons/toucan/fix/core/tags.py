"""FIX 4.4's tags and message types that are used here, by their names in the specification.

Law: names for numbers, and nothing else. What is not listed is not looked at when it comes.
"""

from __future__ import annotations

import enum

__all__ = ["MESSAGE_TYPES", "USER_DEFINED_MIN", "MsgType", "Tag"]

#: From here on tags are each two parties' own.
USER_DEFINED_MIN = 5000


class Tag(enum.IntEnum):
    """Fields."""

    ACCOUNT = 1
    AVG_PX = 6
    CL_ORD_ID = 11
    CUM_QTY = 14
    EXEC_ID = 17
    EXEC_INST = 18
    EXEC_REF_ID = 19
    HANDL_INST = 21
    LAST_PX = 31
    LAST_QTY = 32
    MSG_SEQ_NUM = 34
    MSG_TYPE = 35
    ORDER_ID = 37
    ORDER_QTY = 38
    ORD_STATUS = 39
    ORD_TYPE = 40
    ORIG_CL_ORD_ID = 41
    POSS_DUP_FLAG = 43
    PRICE = 44
    REF_SEQ_NUM = 45
    SENDER_COMP_ID = 49
    SENDING_TIME = 52
    SIDE = 54
    SYMBOL = 55
    TARGET_COMP_ID = 56
    TEXT = 58
    TIME_IN_FORCE = 59
    TRANSACT_TIME = 60
    RAW_DATA = 96
    POSS_RESEND = 97
    STOP_PX = 99
    CXL_REJ_REASON = 102
    ORD_REJ_REASON = 103
    MAX_FLOOR = 111
    ON_BEHALF_OF_COMP_ID = 115
    EXPIRE_TIME = 126
    RESET_SEQ_NUM_FLAG = 141
    NO_RELATED_SYM = 146
    EXEC_TYPE = 150
    LEAVES_QTY = 151
    MD_REQ_ID = 262
    SUBSCRIPTION_REQUEST_TYPE = 263
    MARKET_DEPTH = 264
    MD_UPDATE_TYPE = 265
    NO_MD_ENTRY_TYPES = 267
    NO_MD_ENTRIES = 268
    MD_ENTRY_TYPE = 269
    MD_ENTRY_PX = 270
    MD_ENTRY_SIZE = 271
    MD_REQ_REJ_REASON = 281
    MD_ENTRY_POSITION_NO = 290
    SECURITY_STATUS_REQ_ID = 324
    SECURITY_TRADING_STATUS = 326
    NUMBER_OF_ORDERS = 346
    REF_TAG_ID = 371
    REF_MSG_TYPE = 372
    EXEC_RESTATEMENT_REASON = 378
    BUSINESS_REJECT_REF_ID = 379
    BUSINESS_REJECT_REASON = 380
    DAY_ORDER_QTY = 424
    DAY_CUM_QTY = 425
    CXL_REJ_RESPONSE_TO = 434
    USERNAME = 553
    PASSWORD = 554
    MASS_STATUS_REQ_ID = 584
    MASS_STATUS_REQ_TYPE = 585
    TOT_NUM_REPORTS = 911
    LAST_RPT_REQUESTED = 912
    #: Of later versions of FIX, in a Logon.
    NEW_PASSWORD = 925
    #: Our own: the reason's code of :mod:`toucan.exchange.core.reasons`, of which FIX's numbers know only the kind.
    REASON_CODE = 5801
    #: Our own: the number of the report in its firm's log, without gaps within one life of the exchange.
    VENUE_SEQ = 5802


class MsgType(enum.StrEnum):
    """FIX 35."""

    LOGON = "A"
    REJECT = "3"
    LOGOUT = "5"
    EXECUTION_REPORT = "8"
    ORDER_CANCEL_REJECT = "9"
    NEW_ORDER_SINGLE = "D"
    ORDER_CANCEL_REQUEST = "F"
    ORDER_CANCEL_REPLACE_REQUEST = "G"
    ORDER_STATUS_REQUEST = "H"
    MARKET_DATA_REQUEST = "V"
    MARKET_DATA_SNAPSHOT = "W"
    MARKET_DATA_REQUEST_REJECT = "Y"
    SECURITY_STATUS_REQUEST = "e"
    SECURITY_STATUS = "f"
    BUSINESS_MESSAGE_REJECT = "j"
    ORDER_MASS_STATUS_REQUEST = "AF"


#: Every message type of FIX 4.4: one that is none of these is no message of this protocol.
MESSAGE_TYPES = (
    *"0123456789",
    *"ABCDEFGHJKLMNPQRSTVWXYZ",
    *"abcdefghijklmnopqrstuvwxyz",
    *(f"A{letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    *(f"B{letter}" for letter in "ABCDEFGH"),
)
