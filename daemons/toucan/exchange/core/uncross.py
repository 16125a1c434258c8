"""The one price at which a crossed book trades when matching begins.

Law: the price at which most is executed; of several the one that leaves the smallest surplus, then the one nearest to the last trade, then the
lowest. Executing best against best at that one price until the sides no longer meet executes exactly that much: whoever is left could not have
traded with anybody else who is left. Rejected: matching in the order of arrival at each older order's price, which makes the opening price a matter
of who came first into a book that nobody could trade in.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["equilibrium"]


def equilibrium(
    bids: Sequence[tuple[int, int]], asks: Sequence[tuple[int, int]], last_price: int | None
) -> tuple[int, int] | None:
    """Price and quantity of the uncross; None if nothing can be traded.

    ``bids`` and ``asks`` are (price, quantity) of each level that the other side reaches, in any order; quantities are positive.
    """
    buying, selling = sorted(bids), sorted(asks)
    demand, supply = sum(quantity for _, quantity in bids), 0
    next_bid = next_ask = 0
    best: tuple[int, int, int, int] | None = None
    for price in sorted({price for price, _ in buying} | {price for price, _ in selling}):
        while next_ask < len(selling) and selling[next_ask][0] <= price:
            supply += selling[next_ask][1]
            next_ask += 1
        while next_bid < len(buying) and buying[next_bid][0] < price:
            demand -= buying[next_bid][1]
            next_bid += 1
        distance = 0 if last_price is None else abs(price - last_price)
        rank = (-min(demand, supply), abs(demand - supply), distance, price)
        if rank[0] and (best is None or rank < best):
            best = rank
    return None if best is None else (best[3], -best[0])
