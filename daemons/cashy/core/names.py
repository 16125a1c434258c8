"""Names of objects, their digests, and which origins may hold them.

Law. This module alone decides what a name means: every program that gets a text from outside parses it here, once, and from then on
passes :data:`ObjectName` values, :class:`Resolved` triples or digests. It knows no file system and no store: whether a bucket exists,
or where a symbolic link leads, is asked of the origin.

Names are *literal*. ``s3://b/a b+c%2Fd`` is the key ``a b+c%2Fd``: nothing is percent-decoded, ``+`` is no space, and no Unicode
normalisation takes place, because S3 keys and Linux paths are both plain sequences of bytes in which all of these are legal
characters. ``file://`` names are literal too; RFC 8089 would percent-decode them, and then a file called ``100%25`` would have two
spellings and two entries in the cache. Decoding a request's URL is the business of the HTTP edge.

Rejected: normalising ``.``, ``..`` and doubled slashes (two texts for one object, and a way out of a directory); decoding names that
do not encode to UTF-8 (surrogates): they cannot be sent to a store and would fail later and less clearly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Literal

from cashy.errors import ConfigError, InvalidName

__all__ = [
    "BUCKET_BYTES_MAX",
    "DIGEST_BYTES",
    "FILE_COMPONENT_BYTES_MAX",
    "FILE_PATH_BYTES_MAX",
    "S3_KEY_BYTES_MAX",
    "FileName",
    "ObjectName",
    "OriginSpec",
    "Resolved",
    "S3Name",
    "block_digest",
    "content_id",
    "meta_digest",
    "parse_name",
    "parse_prefix",
    "resolve",
    "resolve_prefix",
]

S3_KEY_BYTES_MAX = 1024  # of UTF-8; S3 User Guide, "Naming Amazon S3 objects"
BUCKET_BYTES_MAX = 255  # S3's oldest buckets have up to 255; NAME_MAX for folders that stand for buckets
FILE_PATH_BYTES_MAX = 4095  # Linux PATH_MAX is 4,096 with the closing NUL
FILE_COMPONENT_BYTES_MAX = 255  # Linux NAME_MAX
DIGEST_BYTES = 32  # a collision would serve another object's bytes: 2^128 names for an even chance

_SHOWN_CHARACTERS_MAX = (
    120  # of a wrong name in an error message: names come from outside and may be a megabyte
)


@dataclass(frozen=True, slots=True)
class S3Name:
    """An object in a bucket; ``key`` is literal, not percent-encoded."""

    bucket: str
    key: str

    @property
    def url(self) -> str:
        """The one canonical text of this name; :func:`parse_name` gives the name back."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class FileName:
    """A file by its absolute path, without ``.``, ``..`` or empty components; literal, not percent-encoded."""

    path: str

    @property
    def url(self) -> str:
        """The one canonical text of this name; :func:`parse_name` gives the name back."""
        return f"file://{self.path}"


ObjectName = S3Name | FileName


@dataclass(frozen=True, slots=True)
class OriginSpec:
    """What routing needs to know of one configured origin.

    ``root`` is a directory origin's absolute path. ``buckets`` are shell patterns (``*``, ``?``, ``[…]``, case-sensitive) of the bucket
    names this origin answers for; empty means any. They route ``s3://`` names only: a ``file://`` name is routed by ``root`` alone.
    """

    name: str
    kind: Literal["s3", "directory"]
    root: str = ""
    buckets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind == "directory" and (problem := _path_problem(self.root.rstrip("/"), empty_is_root=True)):
            raise ConfigError(f"origin {self.name!r}: the directory {_shown(self.root)} {problem}")

    def answers_for(self, bucket: str) -> bool:
        """Whether the bucket patterns let this origin have ``bucket``."""
        return not self.buckets or any(fnmatchcase(bucket, pattern) for pattern in self.buckets)


@dataclass(frozen=True, slots=True)
class Resolved:
    """One place where an object may be: an origin's name, and bucket and key there.

    For a file named by its path, ``bucket`` is empty and ``key`` is the path relative to the origin's root.
    """

    origin: str
    bucket: str
    key: str


def parse_name(text: str) -> ObjectName:
    """Parses ``s3://bucket/key`` or ``file:///absolute/path``; the scheme's case does not matter (RFC 3986 3.1).

    Raises :class:`InvalidName` that says what is wrong and how to write it.
    """
    if text.startswith("s3://"):
        return _parse_s3(text, text[5:])
    if text.startswith("file://"):
        return _parse_file(text, text[7:])
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() == "s3":
        return _parse_s3(text, rest)
    if separator and scheme.lower() == "file":
        return _parse_file(text, rest)
    hint = (
        f"write file://{_cut(text)}"
        if text.startswith("/")
        else "write s3://bucket/key or file:///absolute/path"
    )
    raise InvalidName(f"{_shown(text)} is not the name of an object: {hint}")


def parse_prefix(text: str) -> ObjectName:
    """Parses what a listing is to begin with: like a name, but its key may be empty, and its path may end anywhere, in a ``/`` too.

    The value is for :func:`resolve_prefix` alone. Raises :class:`InvalidName`.
    """
    scheme, separator, rest = text.partition("://")
    kind = scheme.lower() if separator else ""
    if kind == "s3":
        bucket, slash, key = rest.partition("/")
        if problem := _bucket_problem(bucket) or _text_problem(key, S3_KEY_BYTES_MAX):
            raise InvalidName(f"{_shown(text)}: the bucket or prefix {problem}")
        if not slash:
            raise InvalidName(f"{_shown(text)} is no beginning of objects' names: write s3://bucket/")
        return S3Name(bucket, key)
    if kind == "file" and rest.startswith("/"):
        if problem := _text_problem(rest, FILE_PATH_BYTES_MAX):
            raise InvalidName(f"{_shown(text)}: the path {problem}")
        return FileName(rest)
    raise InvalidName(
        f"{_shown(text)} is no beginning of objects' names: write s3://bucket/prefix or file:///absolute/folder/"
    )


def resolve_prefix(prefix: ObjectName, origins: Sequence[OriginSpec]) -> tuple[Resolved, ...]:
    """Where objects may be that begin with ``prefix``: all candidates, as of :func:`resolve`. Raises :class:`InvalidName` when there is none."""
    if isinstance(prefix, FileName):
        return (_resolve_file(prefix, origins),)
    found = tuple(
        Resolved(spec.name, prefix.bucket, prefix.key) for spec in origins if spec.answers_for(prefix.bucket)
    )
    if not found:
        raise InvalidName(f"{_shown(prefix.url)}: no configured origin can have it{_patterns_of(origins)}")
    return found


def resolve(name: ObjectName, origins: Sequence[OriginSpec]) -> tuple[Resolved, ...]:
    """Finds where ``name`` may be: all candidates, in the order in which they are to be tried; never empty.

    A :class:`FileName` has one candidate: the directory origin whose root is the longest prefix of its path, by whole components. An
    :class:`S3Name` has every origin whose bucket patterns match, in configured order; a directory origin among them stands for its
    first-level folders, and drops out if bucket and key do not form a clean relative path (``..``, empty components, too long).

    Raises :class:`InvalidName` when there is none.
    """
    if isinstance(name, FileName):
        return (_resolve_file(name, origins),)
    return _resolve_s3(name, origins)


def meta_digest(name: ObjectName) -> bytes:
    """Digest under which the metadata of whatever ``name`` names now is found; 32 bytes."""
    return blake2b(name.url.encode(), digest_size=DIGEST_BYTES, person=b"cashy meta 1").digest()


def content_id(source: str, key: str, version: str, block_bytes: int) -> bytes:
    """Digest that names exactly one version of one object's bytes, cut in blocks of ``block_bytes``; 32 bytes.

    ``source`` says which store or directory (two names of one file share its blocks if they share source and key). Each field goes in
    with its length in front, so that no two lists of fields make the same bytes.
    """
    digest = blake2b(block_bytes.to_bytes(8, "little"), digest_size=DIGEST_BYTES, person=b"cashy content 1")
    for field in (source, key, version):
        encoded = field.encode("utf-8", "surrogatepass")  # a version is whatever the store sent
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.digest()


def block_digest(content: bytes, index: int) -> bytes:
    """Digest under which block ``index`` (0 …) of the content ``content`` (see :func:`content_id`) is found; 32 bytes."""
    return blake2b(
        content + index.to_bytes(8, "little"), digest_size=DIGEST_BYTES, person=b"cashy block 1"
    ).digest()


def _parse_s3(text: str, rest: str) -> S3Name:
    bucket, separator, key = rest.partition("/")
    if not separator or not key:
        raise InvalidName(f"{_shown(text)} names no object: write s3://bucket/key")
    if problem := _bucket_problem(bucket):
        raise InvalidName(f"{_shown(text)}: the bucket {problem}")
    if problem := _text_problem(key, S3_KEY_BYTES_MAX):
        raise InvalidName(f"{_shown(text)}: the key {problem}")
    return S3Name(bucket, key)


def _parse_file(text: str, path: str) -> FileName:
    if not path.startswith("/"):
        raise InvalidName(
            f"{_shown(text)} has a host, or no absolute path: write file:///absolute/path (three slashes)"
        )
    if problem := _path_problem(path):
        raise InvalidName(f"{_shown(text)}: the path {problem}")
    return FileName(path)


def _resolve_file(name: FileName, origins: Sequence[OriginSpec]) -> Resolved:
    best: OriginSpec | None = None
    best_prefix = ""
    for spec in origins:
        if spec.kind != "directory":
            continue
        prefix = spec.root.rstrip("/") + "/"
        if name.path.startswith(prefix) and len(prefix) > len(best_prefix):
            best, best_prefix = spec, prefix
    if best is None:
        roots = ", ".join(spec.root for spec in origins if spec.kind == "directory") or "none is configured"
        raise InvalidName(f"{_shown(name.url)} is in no directory that this daemon serves ({roots})")
    return Resolved(best.name, "", name.path[len(best_prefix) :])


def _resolve_s3(name: S3Name, origins: Sequence[OriginSpec]) -> tuple[Resolved, ...]:
    candidates = []
    refused = ""
    for spec in origins:
        if not spec.answers_for(name.bucket):
            continue
        if spec.kind == "directory" and (
            problem := _path_problem(f"{spec.root.rstrip('/')}/{name.bucket}/{name.key}")
        ):
            refused = f"; as a path in directory origin {spec.name!r} it {problem}"
            continue
        candidates.append(Resolved(spec.name, name.bucket, name.key))
    if not candidates:
        raise InvalidName(
            f"{_shown(name.url)}: no configured origin can have it{refused or _patterns_of(origins)}"
        )
    return tuple(candidates)


def _patterns_of(origins: Sequence[OriginSpec]) -> str:
    patterns = ", ".join(f"{spec.name}: {' '.join(spec.buckets)}" for spec in origins)
    return f" (their bucket patterns: {patterns or 'no origin is configured'})"


def _bucket_problem(bucket: str) -> str:
    if not bucket:
        return "is empty: write s3://bucket/key"
    if bucket in (".", ".."):
        return "may not be '.' or '..'"
    return _text_problem(bucket, BUCKET_BYTES_MAX)


def _path_problem(path: str, *, empty_is_root: bool = False) -> str:
    if not path and empty_is_root:
        return ""
    if not path.startswith("/"):
        return "is not absolute"
    if problem := _text_problem(path, FILE_PATH_BYTES_MAX):
        return problem
    for component in path[1:].split("/"):
        if component in ("", ".", ".."):
            return f"has the component {component!r}: no '.', '..', doubled or closing slash is allowed"
        # A character has at most 4 bytes, so that most components need no encoding to be found short enough.
        if (
            len(component) * 4 > FILE_COMPONENT_BYTES_MAX
            and len(component.encode()) > FILE_COMPONENT_BYTES_MAX
        ):
            return f"has a component longer than {FILE_COMPONENT_BYTES_MAX} bytes"
    return ""


def _text_problem(text: str, bytes_max: int) -> str:
    if "\0" in text:
        return "has a NUL character"
    try:
        length = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode (a lone surrogate): only names that encode to UTF-8 can be read"
    return f"has {length} bytes of UTF-8, at most {bytes_max} are allowed" if length > bytes_max else ""


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else f"{text[:_SHOWN_CHARACTERS_MAX]}…"


def _shown(text: str) -> str:
    return ascii(_cut(text)) if not text.isprintable() else repr(_cut(text))
