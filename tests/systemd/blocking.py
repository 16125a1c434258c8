"""Runs a daemon whose main thread, which is its loop's, stands still from SIGUSR1 on, while its other threads go on: what a hang looks like.

``python blocking.py cashy master …``; run by the Python of the release. A daemon that pings its watchdog from a helper thread would live on.
"""

from __future__ import annotations

import importlib
import signal
import sys
import time


def stand_still(number: int, frame: object) -> None:
    time.sleep(600)


signal.signal(signal.SIGUSR1, stand_still)
sys.argv = sys.argv[1:]
sys.exit(importlib.import_module(f"{sys.argv[0]}.cli").main())
