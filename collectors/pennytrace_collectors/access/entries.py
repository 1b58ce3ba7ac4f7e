"""What may stand in an access file: one class for each kind of table, checked by pydantic."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
DIGEST: Final = r"^[0-9a-f]{64}$"
SAFE: Final = r"^[^\x00-\x1f\x7f\\]*$"


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _number(value: object) -> object:
    if isinstance(value, bool):  # to Python, true is also the number 1
        raise ValueError("should be a number")
    return value


_Digest: TypeAlias = Annotated[str, Field(pattern=DIGEST)]
_Digests: TypeAlias = Annotated[tuple[_Digest, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
_Name: TypeAlias = Annotated[str, Field(pattern=NAME, max_length=100)]
_Written: TypeAlias = Annotated[str, Field(pattern=SAFE, max_length=200)]
"""A value that calls get: what must not stand in a panel's SQL or a terminal is in none."""
_Count: TypeAlias = Annotated[int, BeforeValidator(_number), Field(ge=1, le=10**12)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    table: ClassVar[str]


class Token(_Entry):
    """Who may send, what their calls say of themselves, and how much they may send."""

    table: ClassVar[str] = "token"

    name: _Name
    sha256: _Digests
    """Of the token; several while one takes the place of another."""
    team: _Written = ""
    environment: _Written = ""
    mode: Literal["stamp", "restrict"] = "stamp"
    """What is done where a call says another team or environment: it is overwritten, or the body refused."""
    valid_to: date | None = None
    """The last day, of UTC."""
    bytes_per_s: _Count | None = None
    """Unpacked, on average: a single body may be larger."""
    spans_per_body: _Count | None = None

    @model_validator(mode="after")
    def _restrict_to_something(self) -> Self:
        if self.mode == "restrict" and not (self.team or self.environment):
            raise ValueError("mode: 'restrict' needs a team or an environment to restrict to")
        return self


class User(_Entry):
    """Who may read on the SQL port, and what."""

    table: ClassVar[str] = "user"

    name: _Name
    sha256: _Digests
    """Of the password."""
    tables: Literal["spend", "all"] = "spend"
    valid_to: date | None = None
    """The last day, of UTC."""


class TlsFiles(_Entry):
    """What a port proves itself with, and whose certificates it asks of its clients."""

    table: ClassVar[str] = "tls"

    certificate: Path
    key: Path
    client_ca: Path | None = None
    """Only clients with a certificate of these authorities are answered."""

    def within(self, folder: Path) -> Self:
        """The same with the paths taken from `folder` where they are relative."""
        found = {name: folder / path for name, path in self if path is not None}
        return self.model_copy(update=found)


def is_over(valid_to: date | None) -> bool:
    """Whether the last day of something has passed, in UTC."""
    return valid_to is not None and datetime.now(UTC).date() > valid_to
