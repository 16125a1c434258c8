"""Scenarios of halts, busts, corrections, and of requests that make no sense. See :mod:`tests.toucan.exchange.script` for how to read them."""

from __future__ import annotations

__all__ = ["CASES"]

CASES: dict[str, str] = {
    "K.1.a: orders wait through a halt, immediate ones are rejected": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > halt ABC
        > B sell M 10
        < B REJECTED M REJECTED 10/0/0 (halted)
        > B sell I 10 @50 ioc
        < B REJECTED I REJECTED 10/0/0 (halted)
        > B sell F 10 @50 fok
        < B REJECTED F REJECTED 10/0/0 (halted)
        > B sell S 40 @50
        < B NEW S NEW 40/0/40
        > A cancel C X
        < A CANCELED C CANCELED 100/0/0 after X
        > A buy X2 100 @50
        < A NEW X2 NEW 100/0/100
        > resume ABC
        < A TRADE X2 PARTIALLY_FILLED 100/40/60 40@50
        < B TRADE S FILLED 40/40/0 40@50
        > B sell S2 60 @50
        < B NEW S2 NEW 60/0/60
        < A TRADE X2 FILLED 100/100/0 60@50
        < B TRADE S2 FILLED 60/60/0 60@50
    """,
    "K.1.b: a halt that cancels": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > B sell S 10 @55 gtc
        < B NEW S NEW 10/0/10
        > B sell T 10 stop 40
        < B NEW T NEW 10/0/10
        > halt ABC cancel
        < A CANCELED X CANCELED 100/0/0 (halted)
        < B CANCELED S CANCELED 10/0/0 (halted)
        < B CANCELED T CANCELED 10/0/0 (halted)
    """,
    "a halt ends at the one price at which most is executed": """
        > halt ABC
        > A buy A1 10 @52
        < A NEW A1 NEW 10/0/10
        > A buy A2 10 @51
        < A NEW A2 NEW 10/0/10
        > A buy A3 10 @50
        < A NEW A3 NEW 10/0/10
        > B sell B1 15 @49
        < B NEW B1 NEW 15/0/15
        > B sell B2 10 @51
        < B NEW B2 NEW 10/0/10
        > resume ABC
        < A TRADE A1 FILLED 10/10/0 10@51
        < B TRADE B1 PARTIALLY_FILLED 15/10/5 10@51
        < A TRADE A2 PARTIALLY_FILLED 10/5/5 5@51
        < B TRADE B1 FILLED 15/15/0 5@51
        < A TRADE A2 FILLED 10/10/0 5@51
        < B TRADE B2 PARTIALLY_FILLED 10/5/5 5@51
    """,
    "the uncross triggers stops": """
        > halt ABC
        > A buy A1 10 @52
        < A NEW A1 NEW 10/0/10
        > B sell B1 10 @52
        < B NEW B1 NEW 10/0/10
        > C buy S 5 stop 52
        < C NEW S NEW 5/0/5
        > B sell B2 5 @53
        < B NEW B2 NEW 5/0/5
        > resume ABC
        < A TRADE A1 FILLED 10/10/0 10@52
        < B TRADE B1 FILLED 10/10/0 10@52
        < C TRIGGERED S NEW 5/0/5
        < B TRADE B2 FILLED 5/5/0 5@53
        < C TRADE S FILLED 5/5/0 5@53
    """,
    "a stop that came during a halt is triggered after it": """
        > A sell X 10 @50
        < A NEW X NEW 10/0/10
        > B buy Z 10 @50
        < B NEW Z NEW 10/0/10
        < A TRADE X FILLED 10/10/0 10@50
        < B TRADE Z FILLED 10/10/0 10@50
        > A sell X2 10 @51
        < A NEW X2 NEW 10/0/10
        > halt ABC
        > B buy S 10 stop 45
        < B NEW S NEW 10/0/10
        > resume ABC
        < B TRIGGERED S NEW 10/0/10
        < A TRADE X2 FILLED 10/10/0 10@51
        < B TRADE S FILLED 10/10/0 10@51
    """,
    "a post-only order that waited may be executed in the uncross": """
        > A sell X 10 @50
        < A NEW X NEW 10/0/10
        > halt ABC
        > B buy Y 10 @50 post
        < B NEW Y NEW 10/0/10
        > B buy N 10 @49
        < B NEW N NEW 10/0/10
        > resume ABC
        < B TRADE Y FILLED 10/10/0 10@50
        < A TRADE X FILLED 10/10/0 10@50
    """,
    "a replacement during a halt is executed after it": """
        > A sell X 10 @52
        < A NEW X NEW 10/0/10
        > B buy Y 10 @50
        < B NEW Y NEW 10/0/10
        > halt ABC
        > B replace Y2 Y 10 @52
        < B REPLACED Y2 NEW 10/0/10 @52 after Y
        > resume ABC
        < B TRADE Y2 FILLED 10/10/0 10@52
        < A TRADE X FILLED 10/10/0 10@52
    """,
    "icebergs take part in an uncross with all of it": """
        > halt ABC
        > A sell X 30 @50 floor 10
        < A NEW X NEW 30/0/30
        > A sell X1 10 @50
        < A NEW X1 NEW 10/0/10
        > B buy Y 40 @50
        < B NEW Y NEW 40/0/40
        > resume ABC
        < B TRADE Y PARTIALLY_FILLED 40/10/30 10@50
        < A TRADE X PARTIALLY_FILLED 30/10/20 10@50
        < B TRADE Y PARTIALLY_FILLED 40/20/20 10@50
        < A TRADE X1 FILLED 10/10/0 10@50
        < B TRADE Y PARTIALLY_FILLED 40/30/10 10@50
        < A TRADE X PARTIALLY_FILLED 30/20/10 10@50
        < B TRADE Y FILLED 40/40/0 10@50
        < A TRADE X FILLED 30/30/0 10@50
    """,
    "orders expire during a halt": """
        > A sell X 10 @52 gtd 5
        < A NEW X NEW 10/0/10
        > halt ABC
        > wait 5
        < A EXPIRED X EXPIRED 10/0/0 (expired)
    """,
    "J.1.a: busts and corrections of a filled order that is put back": """
        > A buy X 100 @110
        < A NEW X NEW 100/0/100
        > B sell S1 10 @100 ioc
        < B NEW S1 NEW 10/0/10
        < A TRADE X PARTIALLY_FILLED 100/10/90 10@110
        < B TRADE S1 FILLED 10/10/0 10@110
        > B sell S2 90 @110 ioc
        < B NEW S2 NEW 90/0/90
        < A TRADE X FILLED 100/100/0 90@110
        < B TRADE S2 FILLED 90/90/0 90@110
        > bust X 1 back
        < A TRADE_CANCEL X PARTIALLY_FILLED 100/90/10 10@110
        < B TRADE_CANCEL S1 NEW 10/0/10 10@110
        < B CANCELED S1 CANCELED 10/0/0 (busted)
        > correct X 2 price 100
        < A TRADE_CORRECT X PARTIALLY_FILLED 100/90/10 90@100
        < B TRADE_CORRECT S2 FILLED 90/90/0 90@100
        > B sell S3 10 @110 ioc
        < B NEW S3 NEW 10/0/10
        < A TRADE X FILLED 100/100/0 10@110
        < B TRADE S3 FILLED 10/10/0 10@110
        > correct X 3 price 105
        < A TRADE_CORRECT X FILLED 100/100/0 10@105
        < B TRADE_CORRECT S3 FILLED 10/10/0 10@105
        > A replace Y X 120
        < A REPLACED Y PARTIALLY_FILLED 120/100/20 @110 after X
        > correct X 2 quantity 85 back
        < A TRADE_CORRECT Y PARTIALLY_FILLED 120/95/25 85@100
        < B TRADE_CORRECT S2 PARTIALLY_FILLED 90/85/5 85@100
        < B CANCELED S2 CANCELED 90/85/0 (busted)
    """,
    "J.1.b: a bust after the cancel": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > B sell S 50 @50
        < B NEW S NEW 50/0/50
        < A TRADE X PARTIALLY_FILLED 100/50/50 50@50
        < B TRADE S FILLED 50/50/0 50@50
        > A cancel Y X
        < A CANCELED Y CANCELED 100/50/0 after X
        > bust X 1
        < A TRADE_CANCEL Y CANCELED 100/0/0 50@50
        < B TRADE_CANCEL S NEW 50/0/50 50@50
        < B CANCELED S CANCELED 50/0/0 (busted)
    """,
    "J.1.c: corrections of yesterday and today": """
        > A buy X 100 @50 gtc in NINE
        < A NEW X NEW 100/0/100
        > B sell S 20 @50 in NINE
        < B NEW S NEW 20/0/20
        < A TRADE X PARTIALLY_FILLED 100/20/80 20@50
        < B TRADE S FILLED 20/20/0 20@50
        > until 2024-01-03 17:00
        < A DONE_FOR_DAY X DONE_FOR_DAY 100/20/80 (done-for-day)
        > until 2024-01-04 09:00
        < A RESTATED X PARTIALLY_FILLED 100/20/80 @50 today 0 (new-day)
        > B sell S2 10 @50 in NINE
        < B NEW S2 NEW 10/0/10
        < A TRADE X PARTIALLY_FILLED 100/30/70 10@50 today 10
        < B TRADE S2 FILLED 10/10/0 10@50
        > correct X 1 quantity 15
        < A TRADE_CORRECT X PARTIALLY_FILLED 100/25/75 15@50 today 10
        < B TRADE_CORRECT S PARTIALLY_FILLED 20/15/5 15@50
        < A RESTATED X PARTIALLY_FILLED 95/25/70 @50 today 10 (busted)
        < B CANCELED S CANCELED 20/15/0 (busted)
        > correct X 2 quantity 5
        < A TRADE_CORRECT X PARTIALLY_FILLED 95/20/75 5@50 today 5
        < B TRADE_CORRECT S2 PARTIALLY_FILLED 10/5/5 5@50
        < A RESTATED X PARTIALLY_FILLED 90/20/70 @50 today 5 (busted)
        < B CANCELED S2 CANCELED 10/5/0 (busted)
    """,
    "J.1.d: a correction and a bust after the end of the day": """
        > A buy X 100 @50 in NINE
        < A NEW X NEW 100/0/100
        > B sell S 50 @50 in NINE
        < B NEW S NEW 50/0/50
        < A TRADE X PARTIALLY_FILLED 100/50/50 50@50
        < B TRADE S FILLED 50/50/0 50@50
        > end-day NINE
        < A DONE_FOR_DAY X DONE_FOR_DAY 100/50/0 (done-for-day)
        > correct X 1 quantity 40
        < A TRADE_CORRECT X DONE_FOR_DAY 100/40/0 40@50
        < B TRADE_CORRECT S PARTIALLY_FILLED 50/40/10 40@50
        < B CANCELED S CANCELED 50/40/0 (busted)
        > bust X 1
        < A TRADE_CANCEL X DONE_FOR_DAY 100/0/0 40@50
        < B TRADE_CANCEL S CANCELED 50/0/0 40@50
    """,
    "a bust takes the quantity off an open order, which keeps its place": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > A buy X2 10 @50
        < A NEW X2 NEW 10/0/10
        > B sell S 40 @50
        < B NEW S NEW 40/0/40
        < A TRADE X PARTIALLY_FILLED 100/40/60 40@50
        < B TRADE S FILLED 40/40/0 40@50
        > bust S 1
        < A TRADE_CANCEL X NEW 100/0/100 40@50
        < B TRADE_CANCEL S NEW 40/0/40 40@50
        < A RESTATED X NEW 60/0/60 @50 (busted)
        < B CANCELED S CANCELED 40/0/0 (busted)
        > B sell S2 70 @50
        < B NEW S2 NEW 70/0/70
        < A TRADE X FILLED 60/60/0 60@50
        < B TRADE S2 PARTIALLY_FILLED 70/60/10 60@50
        < A TRADE X2 FILLED 10/10/0 10@50
        < B TRADE S2 FILLED 70/70/0 10@50
    """,
    "a bust cancels what came back to filled orders": """
        > A buy X 40 @50
        < A NEW X NEW 40/0/40
        > B sell S 40 @50
        < B NEW S NEW 40/0/40
        < A TRADE X FILLED 40/40/0 40@50
        < B TRADE S FILLED 40/40/0 40@50
        > bust X 1
        < A TRADE_CANCEL X NEW 40/0/40 40@50
        < B TRADE_CANCEL S NEW 40/0/40 40@50
        < A CANCELED X CANCELED 40/0/0 (busted)
        < B CANCELED S CANCELED 40/0/0 (busted)
    """,
    "a bust puts the resting side back": """
        > A buy X 40 @50
        < A NEW X NEW 40/0/40
        > B sell S 40
        < B NEW S NEW 40/0/40
        < A TRADE X FILLED 40/40/0 40@50
        < B TRADE S FILLED 40/40/0 40@50
        > bust S 1 back
        < A TRADE_CANCEL X NEW 40/0/40 40@50
        < B TRADE_CANCEL S NEW 40/0/40 40@50
        < B CANCELED S CANCELED 40/0/0 (busted)
    """,
    "two sides that are put back meet again": """
        > A buy X 40 @50
        < A NEW X NEW 40/0/40
        > B sell S 40 @50
        < B NEW S NEW 40/0/40
        < A TRADE X FILLED 40/40/0 40@50
        < B TRADE S FILLED 40/40/0 40@50
        > bust S 1 back
        < A TRADE_CANCEL X NEW 40/0/40 40@50
        < B TRADE_CANCEL S NEW 40/0/40 40@50
        < A TRADE X FILLED 40/40/0 40@50
        < B TRADE S FILLED 40/40/0 40@50
    """,
    "a correction to the same numbers changes nothing": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > B sell S 40 @50
        < B NEW S NEW 40/0/40
        < A TRADE X PARTIALLY_FILLED 100/40/60 40@50
        < B TRADE S FILLED 40/40/0 40@50
        > B sell R 100 @70
        < B NEW R NEW 100/0/100
        > C buy Z 40 @70
        < C NEW Z NEW 40/0/40
        < B TRADE R PARTIALLY_FILLED 100/40/60 40@70
        < C TRADE Z FILLED 40/40/0 40@70
        > correct X 1 quantity 30
        < A TRADE_CORRECT X PARTIALLY_FILLED 100/30/70 30@50
        < B TRADE_CORRECT S PARTIALLY_FILLED 40/30/10 30@50
        < A RESTATED X PARTIALLY_FILLED 90/30/60 @50 (busted)
        < B CANCELED S CANCELED 40/30/0 (busted)
        > correct R 1 quantity 40
        < C TRADE_CORRECT Z FILLED 40/40/0 40@70
        < B TRADE_CORRECT R PARTIALLY_FILLED 100/40/60 40@70
    """,
    "lots and ticks are kept": """
        > A buy X 150 @50 in LOT
        < A REJECTED X REJECTED 150/0/0 (quantity-not-on-lot)
        > A buy X2 200 @51 in LOT
        < A REJECTED X2 REJECTED 200/0/0 (price-not-on-tick)
        > A buy X3 200 @50 floor 50 in LOT
        < A REJECTED X3 REJECTED 200/0/0 (max-floor-not-on-lot)
        > A buy X4 200 @50 floor 100 in LOT
        < A NEW X4 NEW 200/0/200
    """,
    "orders that make no sense are rejected": """
        > A buy X1 0 @50
        < A REJECTED X1 REJECTED 0/0/0 (quantity-not-positive)
        > A buy X2 -5 @50
        < A REJECTED X2 REJECTED -5/0/0 (quantity-not-positive)
        > A buy X3 10 @0
        < A REJECTED X3 REJECTED 10/0/0 (price-not-positive)
        > A buy X4 10 @50 in NIX
        < A REJECTED X4 REJECTED 10/0/0 (unknown-symbol)
        > A buy X5 10 @50 post ioc
        < A REJECTED X5 REJECTED 10/0/0 (post-only-not-allowed)
        > A buy X6 10 post
        < A REJECTED X6 REJECTED 10/0/0 (post-only-not-allowed)
        > A buy X7 10 @50 floor 11
        < A REJECTED X7 REJECTED 10/0/0 (max-floor-above-quantity)
        > A buy X8 10 @50 ioc floor 5
        < A REJECTED X8 REJECTED 10/0/0 (max-floor-not-allowed)
        > A buy X9 9007199254740992 @50
        < A REJECTED X9 REJECTED 9007199254740992/0/0 (quantity-too-large)
    """,
    "replacements that make no sense are refused": """
        > A buy X 10 @50
        < A NEW X NEW 10/0/10
        > A replace Y X 9007199254740992
        < A CANCEL_REJECT Y NEW after X (quantity-too-large)
        > A replace X X 9
        < A CANCEL_REJECT X NEW after X (duplicate-id)
    """,
    "a firm may trade with itself": """
        > A buy X 10 @50
        < A NEW X NEW 10/0/10
        > A sell Y 10 @50
        < A NEW Y NEW 10/0/10
        < A TRADE X FILLED 10/10/0 10@50
        < A TRADE Y FILLED 10/10/0 10@50
    """,
    "less quantity keeps an iceberg's place and slice": """
        > A sell X 30 @50 floor 10
        < A NEW X NEW 30/0/30
        > B sell Y 10 @50
        < B NEW Y NEW 10/0/10
        > A replace X2 X 25
        < A REPLACED X2 NEW 25/0/25 @50 after X
        > C buy Z 12 @50
        < C NEW Z NEW 12/0/12
        < A TRADE X2 PARTIALLY_FILLED 25/10/15 10@50
        < C TRADE Z PARTIALLY_FILLED 12/10/2 10@50
        < B TRADE Y PARTIALLY_FILLED 10/2/8 2@50
        < C TRADE Z FILLED 12/12/0 2@50
    """,
    "an iceberg can get smaller than its slice": """
        > A sell X 30 @50 floor 10
        < A NEW X NEW 30/0/30
        > A replace X2 X 5
        < A REPLACED X2 NEW 5/0/5 @50 after X
        > C buy Z 12 @50
        < C NEW Z NEW 12/0/12
        < A TRADE X2 FILLED 5/5/0 5@50
        < C TRADE Z PARTIALLY_FILLED 12/5/7 5@50
    """,
    "a correction to more takes from what is left": """
        > A buy X 100 @50
        < A NEW X NEW 100/0/100
        > B sell S 40 @50
        < B NEW S NEW 40/0/40
        < A TRADE X PARTIALLY_FILLED 100/40/60 40@50
        < B TRADE S FILLED 40/40/0 40@50
        > correct X 1 quantity 30
        < A TRADE_CORRECT X PARTIALLY_FILLED 100/30/70 30@50
        < B TRADE_CORRECT S PARTIALLY_FILLED 40/30/10 30@50
        < A RESTATED X PARTIALLY_FILLED 90/30/60 @50 (busted)
        < B CANCELED S CANCELED 40/30/0 (busted)
        > correct S 1 quantity 40
        < A TRADE_CORRECT X PARTIALLY_FILLED 90/40/50 40@50
        < B TRADE_CORRECT S FILLED 40/40/0 40@50
        > B sell S2 50 @50
        < B NEW S2 NEW 50/0/50
        < A TRADE X FILLED 90/90/0 50@50
        < B TRADE S2 FILLED 50/50/0 50@50
    """,
    "a correction to less leaves the rest open": """
        > A buy X 40 @50
        < A NEW X NEW 40/0/40
        > B sell S 30 @50
        < B NEW S NEW 30/0/30
        < A TRADE X PARTIALLY_FILLED 40/30/10 30@50
        < B TRADE S FILLED 30/30/0 30@50
        > correct X 1 quantity 10
        < A TRADE_CORRECT X PARTIALLY_FILLED 40/10/30 10@50
        < B TRADE_CORRECT S PARTIALLY_FILLED 30/10/20 10@50
        < A RESTATED X PARTIALLY_FILLED 20/10/10 @50 (busted)
        < B CANCELED S CANCELED 30/10/0 (busted)
        > A status X
        < A ORDER_STATUS X PARTIALLY_FILLED 20/10/10
    """,
    "stops of every kind wait through a halt": """
        > halt ABC
        > B buy S 10 @60 stop 50 ioc
        < B NEW S NEW 10/0/10
        > B buy M 10 stop 50
        < B NEW M NEW 10/0/10
        > B cancel C S
        < B CANCELED C CANCELED 10/0/0 after S
    """,
    "orders keep their place over night": """
        > A buy X 10 @50 gtc in NINE
        < A NEW X NEW 10/0/10
        > B buy Y 10 @50 gtc in NINE
        < B NEW Y NEW 10/0/10
        > until 2024-01-04 09:00
        < A DONE_FOR_DAY X DONE_FOR_DAY 10/0/10 (done-for-day)
        < B DONE_FOR_DAY Y DONE_FOR_DAY 10/0/10 (done-for-day)
        < A RESTATED X NEW 10/0/10 @50 (new-day)
        < B RESTATED Y NEW 10/0/10 @50 (new-day)
        > C sell Z 10 @50 in NINE
        < C NEW Z NEW 10/0/10
        < A TRADE X FILLED 10/10/0 10@50
        < C TRADE Z FILLED 10/10/0 10@50
    """,
    "a DAY order that comes after an early end is for that day": """
        > A buy X 10 @50 in NINE
        < A NEW X NEW 10/0/10
        > end-day NINE
        < A DONE_FOR_DAY X DONE_FOR_DAY 10/0/0 (done-for-day)
        > A buy X2 10 @50 in NINE
        < A NEW X2 NEW 10/0/10
        > until 2024-01-03 17:00
        < A EXPIRED X EXPIRED 10/0/0 (expired)
        < A EXPIRED X2 EXPIRED 10/0/0 (expired)
        > until 2024-01-04 09:00
    """,
    "a day that ended early begins anew at its time": """
        > A buy X 10 @50 gtc
        < A NEW X NEW 10/0/10
        > end-day ABC
        < A DONE_FOR_DAY X DONE_FOR_DAY 10/0/10 (done-for-day)
        > B sell S 10 @50
        < B NEW S NEW 10/0/10
        > B sell M 10
        < B REJECTED M REJECTED 10/0/0 (closed)
        > until 2024-01-04 00:00
        < B EXPIRED S EXPIRED 10/0/0 (expired)
        < A RESTATED X NEW 10/0/10 @50 (new-day)
    """,
    "a halt outlasts the night": """
        > A buy X 10 @50 gtc in NINE
        < A NEW X NEW 10/0/10
        > halt NINE
        > until 2024-01-03 17:00
        < A DONE_FOR_DAY X DONE_FOR_DAY 10/0/10 (done-for-day)
        > B sell S 10 @50 gtc in NINE
        < B NEW S NEW 10/0/10
        > until 2024-01-04 09:00
        < A RESTATED X NEW 10/0/10 @50 (new-day)
        > resume NINE
        < A TRADE X FILLED 10/10/0 10@50
        < B TRADE S FILLED 10/10/0 10@50
    """,
    "a filled GTC order gets more on the next day": """
        > A buy X 10 @50 gtc in NINE
        < A NEW X NEW 10/0/10
        > B sell S 10 @50 in NINE
        < B NEW S NEW 10/0/10
        < A TRADE X FILLED 10/10/0 10@50
        < B TRADE S FILLED 10/10/0 10@50
        > until 2024-01-04 09:00
        > A replace Y X 20
        < A REPLACED Y PARTIALLY_FILLED 20/10/10 @50 after X today 0
        > B sell S2 5 @50 in NINE
        < B NEW S2 NEW 5/0/5
        < A TRADE Y PARTIALLY_FILLED 20/15/5 5@50 today 5
        < B TRADE S2 FILLED 5/5/0 5@50
    """,
    "a filled DAY order cannot get more on the next day": """
        > A buy X 10 @50 in NINE
        < A NEW X NEW 10/0/10
        > B sell S 10 @50 in NINE
        < B NEW S NEW 10/0/10
        < A TRADE X FILLED 10/10/0 10@50
        < B TRADE S FILLED 10/10/0 10@50
        > until 2024-01-04 09:00
        > A replace Y X 20
        < A CANCEL_REJECT Y FILLED after X (too-late)
    """,
}
