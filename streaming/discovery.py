"""Discovery: what the landing shows that has not arrived yet becomes arrivals, forgotten pictures excepted."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from conf.logs import fields, logger
from streaming.arrivals import Arrivals
from streaming.commands import tombstones
from streaming.listing import FolderListing, Sighting


class Discovery:
    """Polls the landing and appends what is new.

    Parameters
    ----------
    listing
        The landing.
    arrivals
        The table.
    forgotten
        The folder of the lake's tombstones, looked at in each poll.
    """

    def __init__(self, listing: FolderListing, arrivals: Arrivals, forgotten: Path) -> None:
        self._listing = listing
        self._arrivals = arrivals
        self._forgotten = forgotten
        self._names: frozenset[str] = frozenset()
        self._tombstones = tombstones.Tombstones()
        self._told: Counter[str] = Counter()

    @property
    def arrived(self) -> int:
        """Rows of arrivals since the lake began: versions of pictures, and retries of them."""
        return len(self._arrivals)

    def poll(self, rows_per_file: int) -> Sighting:
        """List the landing once and append what is new; a poll that finds nothing new costs the listing only.

        Returns
        -------
        Sighting
            Of the listing; what was passed over as forgotten counts as `forgotten`.

        Raises
        ------
        LandingError, StorageError
            The landing or the table does not answer; nothing is lost, a later poll finds the same pictures.
        LakeError
            A tombstone is damaged.
        """
        self._look_for_tombstones()
        passed_over: Counter[str] = Counter()

        def forgotten(uri: str) -> bool:
            held = self._tombstones.holds(uri)
            passed_over["forgotten"] += held
            return held

        found = self._listing.poll()
        new = sum(self._arrivals.append(found, route="listing", rows_per_file=rows_per_file, unless=forgotten))
        sighting = self._listing.sighting()
        sighting = replace(sighting, passed_over=sighting.passed_over + passed_over)
        if new or sighting.passed_over != self._told:
            self._told = sighting.passed_over
            logger().info(
                "arrivals", extra=fields(new=new, waiting=sighting.young, passed_over=dict(sighting.passed_over))
            )
        return sighting

    def _look_for_tombstones(self) -> None:
        names = tombstones.names(self._forgotten)
        if names != self._names:
            self._tombstones = tombstones.load(self._forgotten)
            self._names = names
