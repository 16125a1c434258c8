"""What a path of the file system means, and back.

Law: the one place where fsspec's paths and cashy's names meet. ``bucket/key`` is ``s3://bucket/key``, ``/absolute/path`` is
``file:///absolute/path``; in a URL ``cashy://`` stands before either, so a file has three slashes. cashy's own names are taken as well. Paths
are literal, as names are: nothing is percent-decoded, and ``a//b`` is not ``a/b``. One or more closing slashes mean nothing, as everywhere in
fsspec; so an object whose key ends in a slash (a folder's marker) is not reached by this way.

Rejected: ``cashy://s3://bucket/key`` (two schemes in one URL, and fsspec's chains use ``::``), and ``cashy://s3/bucket/key`` (``s3`` would be where
other URLs have the bucket, and a bucket may be called so).
"""

from __future__ import annotations

__all__ = ["name_of", "parent_of", "path_of", "prefix_of", "strip"]


def strip(path: str) -> str:
    """The path that a URL, a name of cashy's, or a path stands for."""
    for scheme in ("cashy://", "s3://", "file://"):
        if path.startswith(scheme):
            path = path[len(scheme) :]
            break
    is_file = path.startswith("/")
    path = path.rstrip("/")
    return "/" if is_file and not path else path


def name_of(path: str) -> str:
    """The object's name for the client library; a bucket alone has none that it accepts."""
    return f"file://{path}" if path.startswith("/") else f"s3://{path}"


def prefix_of(path: str) -> str:
    """What the names of everything in the folder ``path`` begin with."""
    return name_of(path).rstrip("/") + "/" if path != "/" else "file:///"


def path_of(name: str) -> str:
    """The path of a listed name; that of a common prefix without its slash."""
    return strip(name)


def parent_of(path: str) -> str:
    """The folder that a path lies in; that of a bucket is the empty path."""
    above, slash, _ = path.rpartition("/")
    return above or ("/" if slash else "")
