"""Scenarios of order types, priority and replacement. See :mod:`tests.toucan.exchange.script` for how to read them."""

from __future__ import annotations

__all__ = ["CASES"]

CASES: dict[str, str] = {
    "a resting order is filled in three parts (A.1.a)": """
        > A buy X 10000 @50
        < A NEW X NEW 10000/0/10000
        > B sell S1 2000 @50
        < B NEW S1 NEW 2000/0/2000
        < A TRADE X PARTIALLY_FILLED 10000/2000/8000 2000@50
        < B TRADE S1 FILLED 2000/2000/0 2000@50
        > B sell S2 1000 @50
        < B NEW S2 NEW 1000/0/1000
        < A TRADE X PARTIALLY_FILLED 10000/3000/7000 1000@50
        < B TRADE S2 FILLED 1000/1000/0 1000@50
        > B sell S3 7000 @49
        < B NEW S3 NEW 7000/0/7000
        < A TRADE X FILLED 10000/10000/0 7000@50
        < B TRADE S3 FILLED 7000/7000/0 7000@50
    """,
    "a market order goes through the levels": """
        > A sell X 100 @50
        < A NEW X NEW 100/0/100
        > A sell Y 100 @51
        < A NEW Y NEW 100/0/100
        > B buy Z 150
        < B NEW Z NEW 150/0/150
        < A TRADE X FILLED 100/100/0 100@50
        < B TRADE Z PARTIALLY_FILLED 150/100/50 100@50
        < A TRADE Y PARTIALLY_FILLED 100/50/50 50@51
        < B TRADE Z FILLED 150/150/0 50@51
    """,
    "a market order without anybody to trade with is cancelled": """
        > A buy X 100
        < A NEW X NEW 100/0/100
        < A CANCELED X CANCELED 100/0/0 (no-liquidity)
    """,
    "what is left of a market order is cancelled": """
        > A sell X 60 @50
        < A NEW X NEW 60/0/60
        > B buy Z 100
        < B NEW Z NEW 100/0/100
        < A TRADE X FILLED 60/60/0 60@50
        < B TRADE Z PARTIALLY_FILLED 100/60/40 60@50
        < B CANCELED Z CANCELED 100/60/0 (no-liquidity)
    """,
    "what is left of an IOC order is cancelled (I.1.b)": """
        > A sell X 60 @50
        < A NEW X NEW 60/0/60
        > B buy Z 100 @50 ioc
        < B NEW Z NEW 100/0/100
        < A TRADE X FILLED 60/60/0 60@50
        < B TRADE Z PARTIALLY_FILLED 100/60/40 60@50
        < B CANCELED Z CANCELED 100/60/0 (ioc)
    """,
    "a FOK order is filled over two levels": """
        > A sell X 60 @50
        < A NEW X NEW 60/0/60
        > A sell Y 60 @51
        < A NEW Y NEW 60/0/60
        > B buy Z 100 @51 fok
        < B NEW Z NEW 100/0/100
        < A TRADE X FILLED 60/60/0 60@50
        < B TRADE Z PARTIALLY_FILLED 100/60/40 60@50
        < A TRADE Y PARTIALLY_FILLED 60/40/20 40@51
        < B TRADE Z FILLED 100/100/0 40@51
    """,
    "a FOK order that cannot be filled is cancelled, not rejected (I.1.a)": """
        > A sell X 60 @50
        < A NEW X NEW 60/0/60
        > B buy Z 100 @50 fok
        < B NEW Z NEW 100/0/100
        < B CANCELED Z CANCELED 100/0/0 (fok)
    """,
    "a FOK order counts hidden quantity": """
        > A sell X 100 @50 floor 10
        < A NEW X NEW 100/0/100
        > B buy Z 100 @50 fok
        < B NEW Z NEW 100/0/100
        < A TRADE X PARTIALLY_FILLED 100/10/90 10@50
        < B TRADE Z PARTIALLY_FILLED 100/10/90 10@50
        < A TRADE X PARTIALLY_FILLED 100/20/80 10@50
        < B TRADE Z PARTIALLY_FILLED 100/20/80 10@50
        < A TRADE X PARTIALLY_FILLED 100/30/70 10@50
        < B TRADE Z PARTIALLY_FILLED 100/30/70 10@50
        < A TRADE X PARTIALLY_FILLED 100/40/60 10@50
        < B TRADE Z PARTIALLY_FILLED 100/40/60 10@50
        < A TRADE X PARTIALLY_FILLED 100/50/50 10@50
        < B TRADE Z PARTIALLY_FILLED 100/50/50 10@50
        < A TRADE X PARTIALLY_FILLED 100/60/40 10@50
        < B TRADE Z PARTIALLY_FILLED 100/60/40 10@50
        < A TRADE X PARTIALLY_FILLED 100/70/30 10@50
        < B TRADE Z PARTIALLY_FILLED 100/70/30 10@50
        < A TRADE X PARTIALLY_FILLED 100/80/20 10@50
        < B TRADE Z PARTIALLY_FILLED 100/80/20 10@50
        < A TRADE X PARTIALLY_FILLED 100/90/10 10@50
        < B TRADE Z PARTIALLY_FILLED 100/90/10 10@50
        < A TRADE X FILLED 100/100/0 10@50
        < B TRADE Z FILLED 100/100/0 10@50
    """,
    "who came first is executed first": """
        > A buy X 10 @50
        < A NEW X NEW 10/0/10
        > B buy Y 10 @50
        < B NEW Y NEW 10/0/10
        > C sell Z 15 @50
        < C NEW Z NEW 15/0/15
        < A TRADE X FILLED 10/10/0 10@50
        < C TRADE Z PARTIALLY_FILLED 15/10/5 10@50
        < B TRADE Y PARTIALLY_FILLED 10/5/5 5@50
        < C TRADE Z FILLED 15/15/0 5@50
    """,
    "a better price is executed first": """
        > A buy X 10 @50
        < A NEW X NEW 10/0/10
        > B buy Y 10 @51
        < B NEW Y NEW 10/0/10
        > C sell Z 15 @50
        < C NEW Z NEW 15/0/15
        < B TRADE Y FILLED 10/10/0 10@51
        < C TRADE Z PARTIALLY_FILLED 15/10/5 10@51
        < A TRADE X PARTIALLY_FILLED 10/5/5 5@50
        < C TRADE Z FILLED 15/15/0 5@50
    """,
    "a trade is made at the price of the one who waited": """
        > A sell X 10 @48
        < A NEW X NEW 10/0/10
        > B buy Y 10 @50
        < B NEW Y NEW 10/0/10
        < A TRADE X FILLED 10/10/0 10@48
        < B TRADE Y FILLED 10/10/0 10@48
    """,
    "less quantity keeps the place": """
        > A buy X 10 @50
        < A NEW X NEW 10/0/10
        > B buy Y 10 @50
        < B NEW Y NEW 10/0/10
        > A replace X2 X 8
        < A REPLACED X2 NEW 8/0/8 @50 after X
        > C sell Z 10 @50
        < C NEW Z NEW 10/0/10
        < A TRADE X2 FILLED 8/8/0 8@50
        < C TRADE Z PARTIALLY_FILLED 10/8/2 8@50
        < B TRADE Y PARTIALLY_FILLED 10/2/8 2@50
        < C TRADE Z FILLED 10/10/0 2@50
    """,
    "more quantity loses the place": """
        > A buy X 10 @50
        < A NEW X NEW 10/0/10
        > B buy Y 10 @50
        < B NEW Y NEW 10/0/10
        > A replace X2 X 12
        < A REPLACED X2 NEW 12/0/12 @50 after X
        > C sell Z 15 @50
        < C NEW Z NEW 15/0/15
        < B TRADE Y FILLED 10/10/0 10@50
        < C TRADE Z PARTIALLY_FILLED 15/10/5 10@50
        < A TRADE X2 PARTIALLY_FILLED 12/5/7 5@50
        < C TRADE Z FILLED 15/15/0 5@50
    """,
    "another price loses the place, also when it comes back": """
        > A buy X 10 @50
        < A NEW X NEW 10/0/10
        > B buy Y 10 @50
        < B NEW Y NEW 10/0/10
        > A replace X2 X 10 @49
        < A REPLACED X2 NEW 10/0/10 @49 after X
        > A replace X3 X2 10 @50
        < A REPLACED X3 NEW 10/0/10 @50 after X2
        > C sell Z 15 @50
        < C NEW Z NEW 15/0/15
        < B TRADE Y FILLED 10/10/0 10@50
        < C TRADE Z PARTIALLY_FILLED 15/10/5 10@50
        < A TRADE X3 PARTIALLY_FILLED 10/5/5 5@50
        < C TRADE Z FILLED 15/15/0 5@50
    """,
    "a replaced price can be executed at once": """
        > A buy X 10 @50
        < A NEW X NEW 10/0/10
        > B sell Y 10 @52
        < B NEW Y NEW 10/0/10
        > A replace X2 X 10 @52
        < A REPLACED X2 NEW 10/0/10 @52 after X
        < B TRADE Y FILLED 10/10/0 10@52
        < A TRADE X2 FILLED 10/10/0 10@52
    """,
    "a post-only order that would be executed is rejected": """
        > A sell X 10 @50
        < A NEW X NEW 10/0/10
        > B buy Y 10 @50 post
        < B REJECTED Y REJECTED 10/0/0 (post-only)
        > B buy Y2 10 @49 post
        < B NEW Y2 NEW 10/0/10
    """,
    "a post-only order cannot be replaced into the other side": """
        > A sell X 10 @50
        < A NEW X NEW 10/0/10
        > B buy Y 10 @49 post
        < B NEW Y NEW 10/0/10
        > B replace Y2 Y 10 @50
        < B CANCEL_REJECT Y2 NEW after Y (post-only)
    """,
    "an iceberg's next slice goes behind the others": """
        > A sell X 30 @50 floor 10
        < A NEW X NEW 30/0/30
        > B sell Y 10 @50
        < B NEW Y NEW 10/0/10
        > C buy Z 35 @50
        < C NEW Z NEW 35/0/35
        < A TRADE X PARTIALLY_FILLED 30/10/20 10@50
        < C TRADE Z PARTIALLY_FILLED 35/10/25 10@50
        < B TRADE Y FILLED 10/10/0 10@50
        < C TRADE Z PARTIALLY_FILLED 35/20/15 10@50
        < A TRADE X PARTIALLY_FILLED 30/20/10 10@50
        < C TRADE Z PARTIALLY_FILLED 35/30/5 10@50
        < A TRADE X PARTIALLY_FILLED 30/25/5 5@50
        < C TRADE Z FILLED 35/35/0 5@50
    """,
    "a slice is used up before the next one is shown": """
        > A sell X 25 @50 floor 10
        < A NEW X NEW 25/0/25
        > C buy Z1 4 @50
        < C NEW Z1 NEW 4/0/4
        < A TRADE X PARTIALLY_FILLED 25/4/21 4@50
        < C TRADE Z1 FILLED 4/4/0 4@50
        > C buy Z2 30 @50
        < C NEW Z2 NEW 30/0/30
        < A TRADE X PARTIALLY_FILLED 25/10/15 6@50
        < C TRADE Z2 PARTIALLY_FILLED 30/6/24 6@50
        < A TRADE X PARTIALLY_FILLED 25/20/5 10@50
        < C TRADE Z2 PARTIALLY_FILLED 30/16/14 10@50
        < A TRADE X FILLED 25/25/0 5@50
        < C TRADE Z2 PARTIALLY_FILLED 30/21/9 5@50
    """,
    "an arriving iceberg takes with all of it, and then shows a slice": """
        > B sell Y 15 @50
        < B NEW Y NEW 15/0/15
        > A buy X 40 @50 floor 10
        < A NEW X NEW 40/0/40
        < B TRADE Y FILLED 15/15/0 15@50
        < A TRADE X PARTIALLY_FILLED 40/15/25 15@50
        > C sell Z 40 @50
        < C NEW Z NEW 40/0/40
        < A TRADE X PARTIALLY_FILLED 40/25/15 10@50
        < C TRADE Z PARTIALLY_FILLED 40/10/30 10@50
        < A TRADE X PARTIALLY_FILLED 40/35/5 10@50
        < C TRADE Z PARTIALLY_FILLED 40/20/20 10@50
        < A TRADE X FILLED 40/40/0 5@50
        < C TRADE Z PARTIALLY_FILLED 40/25/15 5@50
    """,
    "a buy stop becomes a market order at its price": """
        > A sell X 10 @50
        < A NEW X NEW 10/0/10
        > A sell X2 10 @55
        < A NEW X2 NEW 10/0/10
        > B buy S 10 stop 50
        < B NEW S NEW 10/0/10
        > C buy Z 10 @50
        < C NEW Z NEW 10/0/10
        < A TRADE X FILLED 10/10/0 10@50
        < C TRADE Z FILLED 10/10/0 10@50
        < B TRIGGERED S NEW 10/0/10
        < A TRADE X2 FILLED 10/10/0 10@55
        < B TRADE S FILLED 10/10/0 10@55
    """,
    "a stop limit order rests at its limit when it is triggered": """
        > A sell X 10 @50
        < A NEW X NEW 10/0/10
        > A sell X2 10 @55
        < A NEW X2 NEW 10/0/10
        > B buy S 10 @52 stop 50
        < B NEW S NEW 10/0/10
        > C buy Z 10 @50
        < C NEW Z NEW 10/0/10
        < A TRADE X FILLED 10/10/0 10@50
        < C TRADE Z FILLED 10/10/0 10@50
        < B TRIGGERED S NEW 10/0/10
    """,
    "a stop that was reached before is triggered at once": """
        > A sell X 10 @50
        < A NEW X NEW 10/0/10
        > C buy Z 10 @50
        < C NEW Z NEW 10/0/10
        < A TRADE X FILLED 10/10/0 10@50
        < C TRADE Z FILLED 10/10/0 10@50
        > A sell X2 10 @51
        < A NEW X2 NEW 10/0/10
        > B buy S 10 stop 45
        < B NEW S NEW 10/0/10
        < B TRIGGERED S NEW 10/0/10
        < A TRADE X2 FILLED 10/10/0 10@51
        < B TRADE S FILLED 10/10/0 10@51
    """,
    "a sell stop is triggered from above": """
        > A buy X 10 @50
        < A NEW X NEW 10/0/10
        > A buy X2 10 @48
        < A NEW X2 NEW 10/0/10
        > B sell S 10 stop 50
        < B NEW S NEW 10/0/10
        > C sell Z 10 @50
        < C NEW Z NEW 10/0/10
        < A TRADE X FILLED 10/10/0 10@50
        < C TRADE Z FILLED 10/10/0 10@50
        < B TRIGGERED S NEW 10/0/10
        < A TRADE X2 FILLED 10/10/0 10@48
        < B TRADE S FILLED 10/10/0 10@48
    """,
    "a triggered order can trigger another": """
        > A sell A1 5 @50
        < A NEW A1 NEW 5/0/5
        > A sell A2 5 @51
        < A NEW A2 NEW 5/0/5
        > A sell A3 5 @52
        < A NEW A3 NEW 5/0/5
        > B buy S1 5 stop 50
        < B NEW S1 NEW 5/0/5
        > B buy S2 5 stop 51
        < B NEW S2 NEW 5/0/5
        > C buy Z 5 @50
        < C NEW Z NEW 5/0/5
        < A TRADE A1 FILLED 5/5/0 5@50
        < C TRADE Z FILLED 5/5/0 5@50
        < B TRIGGERED S1 NEW 5/0/5
        < A TRADE A2 FILLED 5/5/0 5@51
        < B TRADE S1 FILLED 5/5/0 5@51
        < B TRIGGERED S2 NEW 5/0/5
        < A TRADE A3 FILLED 5/5/0 5@52
        < B TRADE S2 FILLED 5/5/0 5@52
    """,
    "stops are sent in the order in which they were reached": """
        > A sell A1 5 @50
        < A NEW A1 NEW 5/0/5
        > A sell A2 5 @51
        < A NEW A2 NEW 5/0/5
        > A sell A3 5 @52
        < A NEW A3 NEW 5/0/5
        > A sell A4 5 @60
        < A NEW A4 NEW 5/0/5
        > A sell A5 5 @61
        < A NEW A5 NEW 5/0/5
        > B buy S2 5 stop 51
        < B NEW S2 NEW 5/0/5
        > B buy S1 5 stop 50
        < B NEW S1 NEW 5/0/5
        > C buy Z 10 @51
        < C NEW Z NEW 10/0/10
        < A TRADE A1 FILLED 5/5/0 5@50
        < C TRADE Z PARTIALLY_FILLED 10/5/5 5@50
        < A TRADE A2 FILLED 5/5/0 5@51
        < C TRADE Z FILLED 10/10/0 5@51
        < B TRIGGERED S1 NEW 5/0/5
        < A TRADE A3 FILLED 5/5/0 5@52
        < B TRADE S1 FILLED 5/5/0 5@52
        < B TRIGGERED S2 NEW 5/0/5
        < A TRADE A4 FILLED 5/5/0 5@60
        < B TRADE S2 FILLED 5/5/0 5@60
    """,
    "a waiting stop can be cancelled": """
        > B buy S 10 stop 50
        < B NEW S NEW 10/0/10
        > B cancel S2 S
        < B CANCELED S2 CANCELED 10/0/0 after S
    """,
    "a replaced stop price can be reached already": """
        > A sell X 10 @50
        < A NEW X NEW 10/0/10
        > C buy Z 10 @50
        < C NEW Z NEW 10/0/10
        < A TRADE X FILLED 10/10/0 10@50
        < C TRADE Z FILLED 10/10/0 10@50
        > A sell X2 10 @51
        < A NEW X2 NEW 10/0/10
        > B buy S 10 stop 55
        < B NEW S NEW 10/0/10
        > B replace S2 S 10 stop 50
        < B REPLACED S2 NEW 10/0/10 after S
        < B TRIGGERED S2 NEW 10/0/10
        < A TRADE X2 FILLED 10/10/0 10@51
        < B TRADE S2 FILLED 10/10/0 10@51
    """,
    "a triggered stop limit order is replaced as a limit order": """
        > A sell X 10 @50
        < A NEW X NEW 10/0/10
        > B buy S 20 @49 stop 50
        < B NEW S NEW 20/0/20
        > C buy Z 10 @50
        < C NEW Z NEW 10/0/10
        < A TRADE X FILLED 10/10/0 10@50
        < C TRADE Z FILLED 10/10/0 10@50
        < B TRIGGERED S NEW 20/0/20
        > B replace S2 S 20 @51 stop 70
        < B REPLACED S2 NEW 20/0/20 @51 after S
        > A sell Y 5 @51
        < A NEW Y NEW 5/0/5
        < B TRADE S2 PARTIALLY_FILLED 20/5/15 5@51
        < A TRADE Y FILLED 5/5/0 5@51
    """,
    "a FOK stop that cannot be filled is cancelled when it is triggered": """
        > A sell X 10 @50
        < A NEW X NEW 10/0/10
        > B buy S 20 @60 stop 50 fok
        < B NEW S NEW 20/0/20
        > C buy Z 10 @50
        < C NEW Z NEW 10/0/10
        < A TRADE X FILLED 10/10/0 10@50
        < C TRADE Z FILLED 10/10/0 10@50
        < B TRIGGERED S NEW 20/0/20
        < B CANCELED S CANCELED 20/0/0 (fok)
    """,
}
