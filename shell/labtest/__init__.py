"""labtest: an environment of many processes on many hosts, described in a file, deployed, tested, and torn down."""

__all__: list[str] = []
