"""The ledger: what `attempts` says about deliveries, kept in a file of this machine, so that nothing is done a second time.

An id that a service accepted is not sent again for at least 24 hours and 1,000,000 accepted ids of the worker, whichever is
longer, over restarts and rebalances. The topic is the truth; the file is what is known of it, and costs only time when it is
lost. Each worker follows all of `attempts`, so whoever takes over a partition has only to read on to the end of that moment
before its lanes open (`ledgers`). A file that is new reads backwards until it holds as much (`filling`).

What is in the file and what is still to be read change in one transaction of SQLite (`file`), so they agree after any kill.
Copies of a delivery in two partitions at the same moment, after a consumer's `partitions` grew, are told apart only once the
other worker has read of the first, some tenths of a second later.
"""

from streams.delivery.ledger.accepted import Accepted
from streams.delivery.ledger.ledger import Ledger, PastTries
from streams.delivery.ledger.ledgers import Ledgers, Unread
from streams.delivery.ledger.line import SETTLED, SPARED

__all__ = ["SETTLED", "SPARED", "Accepted", "Ledger", "Ledgers", "PastTries", "Unread"]
