"""The text of ``docs/toucan-staged-orders.md``: what is generated of it, and what people should know beside it."""

from __future__ import annotations

from toucan.core import limits
from toucan.core.staged import diagram

__all__ = ["staged_page"]

_INTRO = """\
# Staged orders

Semi-automated trading: a strategy proposes an order and says why; a person releases it, as it is or amended, or rejects it. Until it is released it
has left for no venue and counts for no limit. Every step is in the journal with who, when and why (`toucan audit search --staged ID`).

```console
$ toucan stage buy 100 AAPL @ 189.50 --why "below its mean of 20 days"
staged 7: buy 100 AAPL @ 189.50 for ACC1: proposed by bot: below its mean of 20 days
$ toucan staged                             # what waits; `toucan staged 7` shows one with all that it was
$ toucan release 7 --quantity 50            # by somebody else: the order belongs to bot
order 12: buy 50 AAPL @ 189.50 for ACC1: new
$ toucan reject 8 --why "not before the announcement"
$ toucan watch --staged                     # as it happens; the prompt says it by itself, and completes the numbers
```

From Python ([an example strategy](../daemons/toucan/client/examples/propose.py), [a notebook](examples/approve_orders.ipynb)):

```python
staged = bot.stage("buy", "AAPL", 100, price="189.50", why="below its mean of 20 days")
for update in ann.watch_staged(is_pending=True):
    if update.staged.is_pending:
        # As it was seen: if it was amended since, it is refused.
        ann.release_staged(update.staged, quantity=50)
```

The API is `StagedOrderService` in [staged.proto](../protos/aviary/toucan/v1/staged.proto).

## States

What happens to a staged order is one table (`TRANSITIONS` in `daemons/toucan/core/staged.py`); what a state has no step for cannot happen to it.
"""

_NOTES = """\
`amend` and `deny` (a release that a limit forbids) leave it waiting. Of two people who decide at once one wins, and the other is told who did
(`STAGED_ORDER_DECIDED`).

## Rules

* **What was seen counts.** A release and an amendment name the revision that was looked at. If it was amended meanwhile nothing happens
  (`STAGED_ORDER_CHANGED`). Quantity and prices can be amended; what it was before stays, with who and why.
* **Four eyes.** Nobody releases what he has proposed himself, by whatever session, unless he is entitled to `release-own`. Who releases may amend
  in the same step: then the terms are his, which the history says.
* **Limits** are looked at twice. At the proposal, what would be denied now is told with it (`denials`) and refuses nothing; an amendment looks
  again. At the release everything is checked as for a new order, against the limits of the proposer, who owns the order; soft limits ask whoever
  releases. A denial counts as one of who tried to release, and the proposal waits on.
* **Kill levels.** `BLOCK_NEW` and `FREEZE` hold proposals: a release is denied, a rejection passes, new proposals are taken and say that they would
  be denied. `CANCEL_ALL` rejects every proposal below the node, with the name and the reason of who set it: whoever wants nothing left in the
  market wants nothing to go there by one click later. A mass cancel is about orders and leaves proposals alone.
* **A strategy that is gone.** Proposals of a session with cancel-on-disconnect are withdrawn when its orders are cancelled: after the same grace
  time, and not at an orderly logout. Without cancel-on-disconnect they stay until somebody decides or their time is over.
* **A crash** between the decision and the venue is what it is for any order: the release and its order are one record of the journal. If the order
  has not arrived when the venue is asked, it becomes `REJECTED` with the reason `not-received`; it is never sent again by itself.
* **Expired in time.** A proposal that nobody decides on expires by its time to live, with the session of its instrument, or at the order's own
  expire time, whichever comes first.

## Who may what

| | proposes | amends, rejects | releases | sees |
|---|---|---|---|---|
| `view` | | | | those of his accounts |
| `stage` | in his accounts and symbols | his own | | those of his accounts |
| `release` | | those of his accounts and symbols | the same, unless he has proposed it | those of his accounts |
| `release-own` | | as `release` | his own, too | those of his accounts |

`trade` includes none of these, and none of these includes `trade` or `cancel`: a strategy with `stage` alone can send nothing by itself, and cannot
replace what was released for it. Who releases should also be able to stop what he has released: give him `cancel-others`, too. A staged order of
another account is *not found*. The actions stand in the [users file](toucan-settings.md).

## Bounds
"""


def staged_page() -> str:
    """The page, without the line that says it is generated."""
    rows = [
        ("waiting, of one account", f"{limits.STAGED_PER_ACCOUNT_MAX:,}"),
        ("waiting, of all accounts", f"{limits.STAGED_MAX:,}"),
        ("decided and still answered from memory", f"{limits.STAGED_DECIDED_KEPT_MAX:,}"),
        ("revisions of one", f"{limits.STAGED_REVISIONS_MAX}"),
        ("time to live", f"{_seconds(limits.STAGED_TTL_NS_DEFAULT)} if nothing is said, from {_seconds(limits.STAGED_TTL_NS_MIN)} "
                         f"to {_seconds(limits.STAGED_TTL_NS_MAX)}"),
        ("characters of a reason", f"{limits.STAGED_WHY_CHARACTERS_MAX}"),
    ]  # fmt: skip
    table = "\n".join(["| what | bound |", "|---|---|", *(f"| {what} | {bound} |" for what, bound in rows)])
    over = "Over the first two, and over the revisions, a request is refused with `TOO_MANY_STAGED_ORDERS`.\n"
    return "\n".join([_INTRO, diagram(), _NOTES, table + "\n", over])


def _seconds(duration_ns: int) -> str:
    return f"{duration_ns // 1_000_000_000:,} s"
