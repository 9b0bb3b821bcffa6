"""Discovery: what the landing shows that has not arrived yet becomes arrivals."""

from collections import Counter

from conf.logs import fields, logger
from streaming.arrivals import Arrivals
from streaming.listing import FolderListing, Sighting


class Discovery:
    """Polls the landing and appends what is new.

    Parameters
    ----------
    listing
        The landing.
    arrivals
        The table.
    """

    def __init__(self, listing: FolderListing, arrivals: Arrivals) -> None:
        self._listing = listing
        self._arrivals = arrivals
        self._told: Counter[str] = Counter()

    @property
    def arrived(self) -> int:
        """Versions of pictures that have arrived since the lake began."""
        return len(self._arrivals)

    def poll(self, rows_per_file: int) -> Sighting:
        """List the landing once and append what is new; a poll that finds nothing new costs the listing only.

        Raises
        ------
        LandingError, StorageError
            The landing or the table does not answer; nothing is lost, a later poll finds the same pictures.
        """
        new = sum(self._arrivals.append(self._listing.poll(), route="listing", rows_per_file=rows_per_file))
        sighting = self._listing.sighting()
        if new or sighting.passed_over != self._told:
            self._told = sighting.passed_over
            logger().info(
                "arrivals", extra=fields(new=new, waiting=sighting.young, passed_over=dict(sighting.passed_over))
            )
        return sighting
