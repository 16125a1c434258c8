"""Whose market data a front end follows, as the settings say."""

from __future__ import annotations

from toucan.market.address import feed_address
from toucan.market.link import FeedLink
from toucan.settings import ToucanSettings

__all__ = ["differing_feeds", "feeds_of"]


def feeds_of(file: ToucanSettings) -> dict[str, FeedLink]:
    """The feed of each venue that has one, by name."""
    return {
        name: FeedLink(name, feed_address(venue.market_data))
        for name, venue in file.venue.items()
        if venue.market_data
    }


def differing_feeds(running: ToucanSettings, fresh: ToucanSettings) -> list[str]:
    """Names the settings of feeds that differ."""
    before, after = ({name: one.market_data for name, one in file.venue.items()} for file in (running, fresh))
    names = before | after
    return sorted(
        f"venue.{name}.market_data" for name in names if before.get(name, "") != after.get(name, "")
    )
