"""``toucan web``: the gateway, a front end of the engine whose calls come by HTTP from browsers and scripts.

* :mod:`~toucan.web.gateway` puts it together: the methods are those of ``toucan server`` (:mod:`toucan.server.front_end`), and nothing here decides
  on orders;
* :mod:`~toucan.web.app` routes, guards and answers HTTP; :mod:`~toucan.web.connect` carries calls by Connect, gRPC-Web and JSON;
* :mod:`~toucan.web.core` decides whom to let in: origins, sessions, rates.
"""

from __future__ import annotations

__all__: list[str] = []
