"""The errors that the collector raises on purpose.

CollectorError                  shown by the command line as `pennytrace: error: ...`
├── BadRequest                  the client's body cannot be taken, now or later; nothing of it is kept
│   ├── Malformed               it is not what it says it is
│   ├── TooLarge                it is larger than the collector takes
│   ├── Unauthenticated         it comes without a token, or with one that is not known
│   ├── Forbidden               its token may not send this
│   └── Unsupported             its content type or encoding is none that the collector reads
├── Overloaded                  not now: the client keeps its body and tries again
│   ├── TooMuchInFlight         too many bytes are being received at once
│   ├── OverAllowance           its token has sent more than it may for now
│   ├── JournalFull             the journal has reached its size limit
│   └── JournalUnwritable       the disk is full or broken
├── JournalError                the journal's folder cannot be used
│   └── JournalInUse            another collector is using it
├── StoreError                  the store could not do what was asked; the journal keeps the data
│   ├── StoreTooNew             a newer version of pennytrace has written it
│   ├── StoreUnavailable        it cannot be reached or is busy; trying again may help
│   └── StoreRefused            it does not take these very messages; trying again never helps
├── ListenError                 an address cannot be listened on
├── AccessFileError             the access file, or a certificate it names, cannot be used
├── PriceFileError              a price file cannot be used: which file, entry and field, and what is wrong
├── PriceDataError              a genai-prices data file cannot be had, kept or used
├── OrderError                  what was asked of the store cannot be done, and why
└── NoSpend                     there is no store or collector to read from
"""

from __future__ import annotations

from typing import ClassVar

from pennytrace.errors import PennytraceError


class CollectorError(PennytraceError):
    """The base of every error that the collector raises on purpose; its message is meant for people."""


class BadRequest(CollectorError):
    """A request cannot be taken, now or later, and leaves nothing behind."""

    label: ClassVar[str] = "bad_request"
    """The `reason` under which `/metrics` counts it."""


class Malformed(BadRequest):
    """A body is not what its content type or encoding says it is."""

    label = "malformed"


class TooLarge(BadRequest):
    """A body is larger than the limit, before or after decompression."""

    label = "too_large"


class Unauthenticated(BadRequest):
    """A request has no token, or one that is not known; the message never has the token in it."""

    label = "unauthenticated"


class Forbidden(BadRequest):
    """A body says what its token may not say."""

    label = "forbidden"


class Unsupported(BadRequest):
    """A content type or content encoding is none that the collector reads."""

    label = "unsupported"


class Overloaded(CollectorError):
    """A request cannot be taken now; sending it again after `retry_after_s` seconds may work."""

    label: ClassVar[str] = "overloaded"
    """The `reason` under which `/metrics` counts it."""
    retry_after_s: int = 1


class TooMuchInFlight(Overloaded):
    """More bytes are being received at once than the collector holds in memory."""

    label = "in_flight"


class OverAllowance(Overloaded):
    """A token has sent more than its limit lets it send for now."""

    label = "over_allowance"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        """Say what limit it is, and when it is worth to try again."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class JournalFull(Overloaded):
    """The journal has reached its size limit, because the store does not keep up or is away."""

    label = "journal_full"
    retry_after_s = 5


class JournalUnwritable(Overloaded):
    """The journal cannot write: the disk is full or broken."""

    label = "journal_unwritable"
    retry_after_s = 5


class JournalError(CollectorError):
    """The journal's folder cannot be used."""


class JournalInUse(JournalError):
    """Another collector is using the journal's folder."""


class StoreError(CollectorError):
    """The store could not do what was asked; what it did not confirm stays in the journal."""


class StoreTooNew(StoreError):
    """The store was written by a newer version of pennytrace."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, or cannot work now; trying again may help."""


class StoreRefused(StoreError):
    """The store does not take these very messages, and never will; others may well be taken.

    The loader answers it by looking for the messages at fault and setting them aside. So it is raised only
    when the content is to blame (a parsing error, a value out of range), not when a store is away or full.
    """


class ListenError(CollectorError):
    """An address cannot be listened on."""


class AccessFileError(CollectorError):
    """The access file, or a certificate that it names, cannot be used; the message has no secret in it."""


class PriceFileError(CollectorError):
    """A price file cannot be used; the message names the file, the entry and the field."""


class PriceDataError(CollectorError):
    """A genai-prices data file cannot be had, kept or used; the message says why, and what to do."""


class OrderError(CollectorError):
    """What was asked of the store cannot be done; the message says why, what was changed, and what to do."""


class NoSpend(CollectorError):
    """There is no store and no running collector to read from."""
