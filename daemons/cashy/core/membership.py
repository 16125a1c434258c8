"""Which lists of hosts a host counts by while the list changes: joint quorums, and when the older list may be forgotten.

Law. Values only: lists, what other hosts say of theirs, and times that are arguments. Where lists come from is :mod:`cashy.master.membership`'s;
what is counted by them is :mod:`cashy.core.coherence`'s; which host is home to what follows from the newest list alone
(:mod:`cashy.core.placement`), needs no agreement, and costs only reads where two hosts differ.

Nobody tells all hosts of a new list at one instant, and no host is elected to. So a host that has got a new list counts by *both*: a change
must be noted by w of each, and who believes holds r leases of each. It forgets the older ones when every host of all of them has said that it
counts by the newest (it **settles** on that). Each lease and each noted change carries the sender's :class:`~cashy.core.coherence.Word`: the lists
it counts by, the one it has settled on first.

Why that suffices. A host *acts* (believes what it knows, acknowledges changes) only while it is in the newest list it has, and remembers what it
counted by. Claim: there is always one list that all who act count by, so that by the proof in :mod:`cashy.core.coherence` each change meets each
reader. It holds at first. Learning a list only adds. A host that learns a list without itself stops acting, so one that acts is in *all* lists it
counts by, and in the common one. Let X settle on N: X counts by the common list C, hence has the word of every host of C, hence of all
who act, that it counts by N; N is the common list from then on. (Who counts by N leaves it only by settling on a later list, for which X's word
was needed.) X may also take the word of Y, who acts and has settled on N: then the common list is N or a later one, and X forgets those before N.

One thing is left: a change that was acknowledged by C just before its writer knew N, and a reader X that settles just after. So X settles
one lease's length after it has had all words: the leases it then holds were all granted after any such change was noted, and have told it. What
validation they did not cover stays doubted (:meth:`cashy.core.coherence.Leases.doubt_before`); a host without enough leases then doubts everything.
And who learns a list looks at once at what it may believe by both: who was alone in the older one has believed without any lease, so for ever.

A host that has forgotten what it counted by (a new one, a rebooted one, one that had left the list) counts by the newest list and does not act until
somebody who acts says that it has settled on this list, or until every other host of it has forgotten, too (after a power cut). Of a list with the
number 1 (or 0: it stands in the settings) there is nothing older to remember. And where somebody who acts has settled on a list, not older than
what X has settled on, by which X does not count, X's word was not waited for: it was taken for gone, or two lists have one number. It has
forgotten, then, whatever it remembers.

What nobody can know is whether a host that is silent is dead. A list names those that are (``gone``): their word is not waited for. Without that
both lists are counted by for as long as it takes, which costs nothing while enough hosts of both are there. That is an operator's word, and the
one thing here that can be wrong: a host named ``gone`` that runs on, unreached, with clients that write through it. The rest that is asked of
operators: from one list to the next some host stays that is not rebooted meanwhile, and no file is put back to an older one while its host is off.

Rejected: an elected leader, or a log of lists (consensus is a dependency, and the file comes from one place anyway); taking a list over from
other hosts (one wrong file would be everywhere); a fixed time after which all are assumed to know (nobody knows how long a file takes); stopping
all changes of objects while lists differ (a host that is off for a week would stop them for a week).

Sources: joint consensus of Raft (Ongaro and Ousterhout, USENIX ATC 2014, section 6); reconfiguration by overlapping quorums: Lynch and
Shvartsman, "RAMBO" (DISC 2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from cashy.core.coherence import NO_WORD, ListId, Word

__all__ = ["LISTS_COUNTED_MAX", "Counting", "Listed"]

#: Lists counted by at a time: each new one that comes before the last was settled on adds one. Beyond it only one is taken that names more hosts as
#: gone.
LISTS_COUNTED_MAX = 16

#: Lists with a number up to this follow no other.
_FIRST_VERSION = 1


class Listed(NamedTuple):
    """A list as it matters here. ``gone``: hosts of earlier lists that are known to be off."""

    version: int
    names: frozenset[str]
    gone: frozenset[str] = frozenset()

    @property
    def id(self) -> ListId:
        """The same on every host that has this list."""
        text = "".join(f"{len(name)}:{name}" for name in sorted(self.names))
        digest = blake2b(
            text.encode("utf-8", "surrogatepass"), digest_size=8, person=b"cashy hosts 1"
        ).digest()
        return ListId(self.version, int.from_bytes(digest, "little"))


class Counting:
    """By which lists one host counts. ``forgot``: what it counted by before is not known; ``lists`` are in the order of their numbers."""

    def __init__(self, own: str, lists: Sequence[Listed], *, forgot: bool) -> None:
        self.own = own
        self.forgot = forgot or own not in lists[-1].names
        self.lists = list(lists)
        self._words: dict[str, Word] = {}
        self._ids = [listed.id for listed in lists]
        #: What may be settled on, and since when.
        self._next: tuple[int, int] = (0, 0)

    @classmethod
    def begun_with(cls, own: str, listed: Listed) -> Counting:
        """A host that starts without any memory."""
        return cls(own, [listed], forgot=listed.version > _FIRST_VERSION)

    # --- what it says and knows ---

    @property
    def newest(self) -> Listed:
        """The list in force here."""
        return self.lists[-1]

    @property
    def acts(self) -> bool:
        """Whether this host may believe what it knows, and acknowledge changes."""
        return not self.forgot

    @property
    def is_settled(self) -> bool:
        """Whether one list is counted by, and this host acts."""
        return self.acts and len(self.lists) == 1

    def word(self) -> Word:
        """What this host says of itself."""
        return Word(tuple(self._ids), self.acts)

    def others(self) -> list[str]:
        """Hosts of all lists that are counted by, but this one and those that are gone: whom to ask and to tell."""
        names = frozenset[str]().union(*(listed.names for listed in self.lists))
        return sorted(names - {self.own} - self.newest.gone)

    def electorates(self) -> list[frozenset[str]]:
        """Of whom enough must have noted a change, or given a lease: the hosts of each list."""
        return [listed.names for listed in self.lists]

    def unconfirmed(self) -> list[str]:
        """Hosts that are not known to count by the newest list."""
        newest = self._ids[-1]
        return [name for name in self.others() if newest not in self._words.get(name, NO_WORD).counted]

    # --- what happens ---

    def has_room_for(self, listed: Listed) -> bool:
        """Whether so many lists are not settled on that no further one is taken, unless it names more hosts as gone."""
        return len(self.lists) < LISTS_COUNTED_MAX or not listed.gone <= self.newest.gone

    def learn(self, listed: Listed) -> None:
        """A list has come, newer than the one in force."""
        if listed.version <= self.newest.version:
            raise ValueError(f"list {listed.version} is not newer than {self.newest.version}")
        self.lists.append(listed)
        self._ids.append(listed.id)
        if self.forgot or self.own not in listed.names:
            self._forget()

    def heard(self, host: str, word: Word) -> None:
        """``host`` has said by which lists it counts."""
        self._words[host] = word
        if not self.acts or not word.acts or not word.counted:
            return
        settled = word.counted[0]
        if settled.version >= self._ids[0].version and settled.digest not in {
            each.digest for each in self._ids
        }:
            self._forget()  # others went on without this host

    def _forget(self) -> None:
        self.forgot = True
        self._keep_from(len(self.lists) - 1)

    def _keep_from(self, at: int) -> None:
        self.lists, self._ids = self.lists[at:], self._ids[at:]
        self._next = (0, 0)
        needed = set(self.others())
        self._words = {name: word for name, word in self._words.items() if name in needed}

    # --- settling ---

    def may_begin(self) -> bool:
        """Whether a host that does not act may begin to: with :meth:`begin`, and with doubt of all that was validated before."""
        if self.acts or self.own not in self.newest.names:
            return False
        newest, words = self._ids[-1], self._words
        if any(word.acts and word.counted[:1] == (newest,) for word in words.values()):
            return True
        return all(words.get(name, NO_WORD) == Word((newest,), acts=False) for name in self.others())

    def begin(self) -> None:
        """Acts from now on."""
        self.forgot = False

    def settles_in_ns(self, now_ns: int, lease_ns: int) -> int | None:
        """For a host that acts: in how many nanoseconds it may :meth:`settle` (0: now); None: the words that it needs are not here yet."""
        at = self._may_settle_on() if self.acts else 0
        if not at:
            return None
        if self._next[0] != at:
            self._next = at, now_ns
        return max(0, self._next[1] + lease_ns - now_ns)

    def _may_settle_on(self) -> int:
        """The place in ``lists`` of the newest list that all who act are known to count by; 0: there is nothing to forget."""
        last = len(self.lists) - 1
        if last and not self.unconfirmed():
            return last
        settled = {word.counted[0] for word in self._words.values() if word.acts and word.counted}
        return max((at for at, listed in enumerate(self._ids) if listed in settled), default=0)

    def settle(self) -> None:
        """Forgets the lists before the one that may be settled on."""
        self._keep_from(self._next[0])
