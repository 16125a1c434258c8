"""Renders releases: which files a version consists of, what is run to install it, and the digest that tells it from others.

Law: a version's name says what its author calls it; its fingerprint says what it is. The same version built anew is another release, is installed
again, and restarts what runs from it. A release is rendered for each host, so that a host can have another version for a while (its variable
says which); hosts with equal values share everything that is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

import msgspec

from labtest.core.contexts import World
from labtest.core.environment import HostSpec, ReleaseSpec
from labtest.core.folder import Folder, Found, SourceProblem
from labtest.core.problems import Place
from labtest.core.rendered_checks import bad_placeholder, bad_version
from labtest.core.target import Blobs, ReleaseTarget, SourceFile
from labtest.core.templates import TemplateProblem, render

__all__ = ["Releases"]

#: All files of one version are held in memory while they are copied.
RELEASE_BYTES_MAX = 1 << 30

#: A pattern that finds more was meant otherwise, such as one that takes in a whole home folder.
RELEASE_FILES_MAX = 20_000


class Releases:
    """Renders the releases of an environment; ``tell`` is called with each problem. Unless it ``reads``, contents are left alone."""

    def __init__(
        self, world: World, folder: Folder, blobs: Blobs, tell: Callable[[Place, str], None], *, reads: bool
    ) -> None:
        self._world = world
        self._folder = folder
        self._blobs = blobs
        self._tell = tell
        self._reads = reads
        self._found: dict[tuple[str, ...], tuple[SourceFile, ...]] = {}

    def on(self, release: ReleaseSpec, host: HostSpec) -> ReleaseTarget:
        """The version that a host shall have."""
        place: Place = ("releases", release.name)
        version = self._text(release.version, self._world.on(host), (*place, "version"))
        if version and (wrong := bad_version(version)):
            self._tell((*place, "version"), wrong)
            version = ""
        context = self._world.of_release(release, version, host)
        patterns = self._texts(release.source, context, (*place, "source")) if version else ()
        install = self._texts(release.install, context, (*place, "install"))
        for index, argument in enumerate(install):
            if wrong := bad_placeholder(argument):
                self._tell((*place, "install", index), wrong)
        return _with_fingerprint(
            ReleaseTarget(
                name=release.name,
                version=version,
                folder=release.folder,
                source=self._sources(patterns, (*place, "source")),
                install=install,
                after_switch=release.after_switch,
                install_timeout_s=release.install_timeout_s,
                fingerprint="",
            )
        )

    def _text(self, template: str, context: Mapping[str, object], place: Place) -> str:
        try:
            return render(template, context)
        except TemplateProblem as problem:
            self._tell(place, str(problem))
            return ""

    def _texts(
        self, templates: Iterable[str], context: Mapping[str, object], place: Place
    ) -> tuple[str, ...]:
        return tuple(self._text(one, context, (*place, index)) for index, one in enumerate(templates))

    def _sources(self, patterns: tuple[str, ...], place: Place) -> tuple[SourceFile, ...]:
        if patterns not in self._found:
            self._found[patterns] = self._look(patterns, place)
        return self._found[patterns]

    def _look(self, patterns: tuple[str, ...], place: Place) -> tuple[SourceFile, ...]:
        files: dict[str, Found] = {}
        for index, pattern in enumerate(patterns):
            if not pattern:
                continue  # it could not be rendered, which was told
            try:
                found = self._folder.find(pattern)
            except SourceProblem as problem:
                self._tell((*place, index), str(problem))
                continue
            if not found:
                self._tell((*place, index), f"no file beside the spec matches {pattern!r}")
            for one in found:
                other = files.setdefault(one.under, one)
                if other.path != one.path:
                    self._tell(
                        (*place, index),
                        f"{other.path!r} and {one.path!r} would both be copied to {one.under!r}",
                    )
        if len(files) > RELEASE_FILES_MAX:
            self._tell(place, f"it takes in {len(files):,} files; {RELEASE_FILES_MAX:,} are possible")
            return ()
        return self._read([files[under] for under in sorted(files)], place) if self._reads else ()

    def _read(self, files: Iterable[Found], place: Place) -> tuple[SourceFile, ...]:
        read = []
        total = 0
        for one in files:
            try:
                content = self._folder.read(one.path)
            except SourceProblem as problem:
                self._tell(place, str(problem))
                continue
            total += len(content)
            if total > RELEASE_BYTES_MAX:
                self._tell(
                    place, f"its files have more than the {RELEASE_BYTES_MAX:,} bytes that are possible"
                )
                break
            digest = hashlib.sha256(content).hexdigest()
            self._blobs[digest] = content
            read.append(
                SourceFile(path=one.under, sha256=digest, size_bytes=len(content), executable=one.executable)
            )
        return tuple(read)


def _with_fingerprint(release: ReleaseTarget) -> ReleaseTarget:
    digest = hashlib.sha256(msgspec.json.encode(release)).hexdigest()
    return msgspec.structs.replace(release, fingerprint=digest)
