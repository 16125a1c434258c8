"""Scenarios after FIX 4.4 Appendix D, by its letters, and of days. See :mod:`tests.toucan.exchange.script` for how to read them."""

from __future__ import annotations

__all__ = ["CASES"]

CASES: dict[str, str] = {
    "A.1.b: a DAY order is done for the day, then expires": """
        > A buy X 100 @50 in NINE
        < A NEW X NEW 100/0/100
        > B sell S 30 @50 in NINE
        < B NEW S NEW 30/0/30
        < A TRADE X PARTIALLY_FILLED 100/30/70 30@50
        < B TRADE S FILLED 30/30/0 30@50
        > end-day NINE
        < A DONE_FOR_DAY X DONE_FOR_DAY 100/30/0 (done-for-day)
        > A cancel C X
        < A CANCEL_REJECT C DONE_FOR_DAY after X (too-late)
        > until 2024-01-03 17:00
        < A EXPIRED X EXPIRED 100/30/0 (expired)
    """,
    "B.1.a: a cancel": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > A cancel Y X
        < A CANCELED Y CANCELED 100/0/0 after X
    """,
    "B.1.c: a cancel that is too late": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > B sell S 100 @50
        < B NEW S NEW 100/0/100
        < A TRADE X FILLED 100/100/0 100@50
        < B TRADE S FILLED 100/100/0 100@50
        > A cancel Y X
        < A CANCEL_REJECT Y FILLED after X (too-late)
    """,
    "a second cancel is too late, a repeated id is refused": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > A cancel Y X
        < A CANCELED Y CANCELED 100/0/0 after X
        > A cancel Z X
        < A CANCEL_REJECT Z CANCELED after Y (too-late)
        > A cancel Y X
        < A CANCEL_REJECT Y CANCELED after Y (duplicate-id)
    """,
    "B.1.f: a cancel of an unknown order uses up no id": """
        > A cancel Y X
        < A CANCEL_REJECT Y REJECTED after X (unknown-order)
        > A cancel Y X
        < A CANCEL_REJECT Y REJECTED after X (unknown-order)
    """,
    "orders of other firms are unknown": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > B cancel Y X
        < B CANCEL_REJECT Y REJECTED after X (unknown-order)
    """,
    "C.1.a: more quantity before any fill": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > A replace Y X 110
        < A REPLACED Y NEW 110/0/110 @50 after X
        > B sell S 10 @50
        < B NEW S NEW 10/0/10
        < A TRADE Y PARTIALLY_FILLED 110/10/100 10@50
        < B TRADE S FILLED 10/10/0 10@50
    """,
    "C.1.c: a filled order that gets more is open again": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > B sell S 100 @50
        < B NEW S NEW 100/0/100
        < A TRADE X FILLED 100/100/0 100@50
        < B TRADE S FILLED 100/100/0 100@50
        > A replace Y X 120
        < A REPLACED Y PARTIALLY_FILLED 120/100/20 @50 after X
        > B sell S2 20 @50
        < B NEW S2 NEW 20/0/20
        < A TRADE Y FILLED 120/120/0 20@50
        < B TRADE S2 FILLED 20/20/0 20@50
    """,
    "C.2.a: another price after the last fill is too late": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > B sell S 100 @50
        < B NEW S NEW 100/0/100
        < A TRADE X FILLED 100/100/0 100@50
        < B TRADE S FILLED 100/100/0 100@50
        > A replace Y X 100 @51
        < A CANCEL_REJECT Y FILLED after X (too-late)
    """,
    "a filled IOC order cannot get more": """
        > B sell S 100 @50
        < B NEW S NEW 100/0/100
        > A buy X 100 @50 ioc
        < A NEW X NEW 100/0/100
        < B TRADE S FILLED 100/100/0 100@50
        < A TRADE X FILLED 100/100/0 100@50
        > A replace Y X 120
        < A CANCEL_REJECT Y FILLED after X (too-late)
    """,
    "C.3.b: replaced to what is executed": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > B sell S 70 @50
        < B NEW S NEW 70/0/70
        < A TRADE X PARTIALLY_FILLED 100/70/30 70@50
        < B TRADE S FILLED 70/70/0 70@50
        > A replace Y X 70
        < A REPLACED Y FILLED 70/70/0 @50 after X
    """,
    "C.3.c: replaced to less than is executed": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > B sell S 80 @50
        < B NEW S NEW 80/0/80
        < A TRADE X PARTIALLY_FILLED 100/80/20 80@50
        < B TRADE S FILLED 80/80/0 80@50
        > A replace Y X 70
        < A REPLACED Y FILLED 80/80/0 @50 after X
    """,
    "D.1.b: after a refused replacement the last accepted id is named, or the refused one": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > A replace Y X 0
        < A CANCEL_REJECT Y NEW after X (quantity-not-positive)
        > A replace Z X 60
        < A REPLACED Z NEW 60/0/60 @50 after X
        > A replace Z2 Y 50
        < A REPLACED Z2 NEW 50/0/50 @50 after Z
    """,
    "D.2.a: two replacements one after the other": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > A replace Y X 80
        < A REPLACED Y NEW 80/0/80 @50 after X
        > A replace Z Y 70
        < A REPLACED Z NEW 70/0/70 @50 after Y
    """,
    "D.2.c: a cancel that names a refused replacement passes": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > A replace Y X 80 @-1
        < A CANCEL_REJECT Y NEW after X (price-not-positive)
        > A cancel Z Y
        < A CANCELED Z CANCELED 100/0/0 after X
    """,
    "E.1.a: an order by telephone": """
        > phone A buy X 100 @50
        < A NEW X NEW 100/0/100 BUY ABC a
        > B sell S 20 @50
        < B NEW S NEW 20/0/20
        < A TRADE X PARTIALLY_FILLED 100/20/80 20@50 BUY ABC a
        < B TRADE S FILLED 20/20/0 20@50
    """,
    "E.1.b: a cancel that nobody asked for": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > B sell S 10 @50
        < B NEW S NEW 10/0/10
        < A TRADE X PARTIALLY_FILLED 100/10/90 10@50
        < B TRADE S FILLED 10/10/0 10@50
        > drop A X
        < A CANCELED X CANCELED 100/10/0 (operator)
    """,
    "E.1.c: restated to more, twice": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > restate A X quantity 110
        < A RESTATED X NEW 110/0/110 @50 (operator)
        > B sell S 10 @50
        < B NEW S NEW 10/0/10
        < A TRADE X PARTIALLY_FILLED 110/10/100 10@50
        < B TRADE S FILLED 10/10/0 10@50
        > restate A X quantity 120
        < A RESTATED X PARTIALLY_FILLED 120/10/110 @50 (operator)
    """,
    "E.1.d: restated to less": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > restate A X quantity 90
        < A RESTATED X NEW 90/0/90 @50 (operator)
    """,
    "restated to what is executed": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > B sell S 40 @50
        < B NEW S NEW 40/0/40
        < A TRADE X PARTIALLY_FILLED 100/40/60 40@50
        < B TRADE S FILLED 40/40/0 40@50
        > restate A X quantity 40
        < A RESTATED X FILLED 40/40/0 @50 (operator)
    """,
    "a restated price can be executed at once": """
        > B sell S 40 @52
        < B NEW S NEW 40/0/40
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > restate A X price 52
        < A RESTATED X NEW 100/0/100 @52 (operator)
        < B TRADE S FILLED 40/40/0 40@52
        < A TRADE X PARTIALLY_FILLED 100/40/60 40@52
    """,
    "F.1.a: a second order under a known id": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > B sell S 10 @50
        < B NEW S NEW 10/0/10
        < A TRADE X PARTIALLY_FILLED 100/10/90 10@50
        < B TRADE S FILLED 10/10/0 10@50
        > A buy X 150 @50
        < A REJECTED X PARTIALLY_FILLED 100/10/90 (duplicate-id)
    """,
    "F.1.b: possible resends of known and unknown ids": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > A buy X 100 @50 resend
        < A ORDER_STATUS X NEW 100/0/100 (nothing-done)
        > A buy X 200 @50
        < A REJECTED X NEW 100/0/100 (duplicate-id)
        > A buy Y 100 @49 resend
        < A NEW Y NEW 100/0/100
    """,
    "a possible resend of a cancelled order": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > A cancel Y X
        < A CANCELED Y CANCELED 100/0/0 after X
        > A buy X 100 @50 resend
        < A ORDER_STATUS Y CANCELED 100/0/0 after X
    """,
    "a possible resend of a rejected order": """
        > A buy X 0 @50
        < A REJECTED X REJECTED 0/0/0 (quantity-not-positive)
        > A buy X 0 @50 resend
        < A ORDER_STATUS X REJECTED 0/0/0
    """,
    "G.1.a: the status of an unknown order": """
        > A status Y
        < A ORDER_STATUS Y REJECTED (unknown-order)
    """,
    "G.1.b and G.1.c: the status before and after a fill and a replacement": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > A status X
        < A ORDER_STATUS X NEW 100/0/100 (nothing-done)
        > B sell S 20 @50
        < B NEW S NEW 20/0/20
        < A TRADE X PARTIALLY_FILLED 100/20/80 20@50
        < B TRADE S FILLED 20/20/0 20@50
        > A status X
        < A ORDER_STATUS X PARTIALLY_FILLED 100/20/80
        > A replace Y X 120
        < A REPLACED Y PARTIALLY_FILLED 120/20/100 @50 after X
        > A status X
        < A ORDER_STATUS Y PARTIALLY_FILLED 120/20/100 after X
    """,
    "a mass status request tells what is open": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > A buy X2 100 @49
        < A NEW X2 NEW 100/0/100
        > A buy S 10 stop 90
        < A NEW S NEW 10/0/10
        > A cancel C X2
        < A CANCELED C CANCELED 100/0/0 after X2
        > B sell Z 20 @50
        < B NEW Z NEW 20/0/20
        < A TRADE X PARTIALLY_FILLED 100/20/80 20@50
        < B TRADE Z FILLED 20/20/0 20@50
        > A mass Q
        < A ORDER_STATUS X PARTIALLY_FILLED 100/20/80
        < A ORDER_STATUS S NEW 10/0/10 (nothing-done)
        < A END Q
        > C mass R
        < C END R
    """,
    "H.1.a: a GTC order over two days, beside a DAY order": """
        > A buy X 100 @50 gtc in NINE
        < A NEW X NEW 100/0/100
        > A buy D 100 @49 in NINE
        < A NEW D NEW 100/0/100
        > B sell S 20 @50 in NINE
        < B NEW S NEW 20/0/20
        < A TRADE X PARTIALLY_FILLED 100/20/80 20@50
        < B TRADE S FILLED 20/20/0 20@50
        > until 2024-01-03 17:00
        < A EXPIRED D EXPIRED 100/0/0 (expired)
        < A DONE_FOR_DAY X DONE_FOR_DAY 100/20/80 (done-for-day)
        > until 2024-01-04 09:00
        < A RESTATED X PARTIALLY_FILLED 100/20/80 @50 today 0 (new-day)
        > B sell S2 10 @50 in NINE
        < B NEW S2 NEW 10/0/10
        < A TRADE X PARTIALLY_FILLED 100/30/70 10@50 today 10
        < B TRADE S2 FILLED 10/10/0 10@50
        > A status X
        < A ORDER_STATUS X PARTIALLY_FILLED 100/30/70 today 10
    """,
    "H.1.c and H.1.d: a GTC order replaced and cancelled on its second day": """
        > A buy X 100 @50 gtc in NINE
        < A NEW X NEW 100/0/100
        > B sell S 20 @50 in NINE
        < B NEW S NEW 20/0/20
        < A TRADE X PARTIALLY_FILLED 100/20/80 20@50
        < B TRADE S FILLED 20/20/0 20@50
        > until 2024-01-03 17:00
        < A DONE_FOR_DAY X DONE_FOR_DAY 100/20/80 (done-for-day)
        > A status X
        < A ORDER_STATUS X DONE_FOR_DAY 100/20/80
        > until 2024-01-04 09:00
        < A RESTATED X PARTIALLY_FILLED 100/20/80 @50 today 0 (new-day)
        > A replace Y X 150
        < A REPLACED Y PARTIALLY_FILLED 150/20/130 @50 after X today 0
        > A cancel Z Y
        < A CANCELED Z CANCELED 150/20/0 after Y today 0
    """,
    "over the weekend orders wait, and cannot be immediate": """
        > until 2024-01-05 17:00
        > A buy X 10 @50 in NINE
        < A NEW X NEW 10/0/10
        > A buy M 10 in NINE
        < A REJECTED M REJECTED 10/0/0 (closed)
        > A buy I 10 @50 ioc in NINE
        < A REJECTED I REJECTED 10/0/0 (closed)
        > until 2024-01-08 08:59
        > until 2024-01-08 09:00
        > until 2024-01-08 17:00
        < A EXPIRED X EXPIRED 10/0/0 (expired)
    """,
    "a GTD order ends at its time": """
        > A buy X 100 @50 gtd 10
        < A NEW X NEW 100/0/100
        > wait 9
        > wait 1
        < A EXPIRED X EXPIRED 100/0/0 (expired)
    """,
    "a GTD order needs a time to come": """
        > A buy X 100 @50 gtd 0
        < A REJECTED X REJECTED 100/0/0 (expire-time-passed)
    """,
    "around the clock DAY orders expire and others go on": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > A buy G 100 @49 gtc
        < A NEW G NEW 100/0/100
        > B sell S 30 @49
        < B NEW S NEW 30/0/30
        < A TRADE X PARTIALLY_FILLED 100/30/70 30@50
        < B TRADE S FILLED 30/30/0 30@50
        > until 2024-01-04 00:00
        < A EXPIRED X EXPIRED 100/30/0 (expired)
        > B sell S2 10 @49
        < B NEW S2 NEW 10/0/10
        < A TRADE G PARTIALLY_FILLED 100/10/90 10@49
        < B TRADE S2 FILLED 10/10/0 10@49
    """,
}
