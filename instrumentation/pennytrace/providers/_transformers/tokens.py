"""Counts tokens, exactly: those that a model was given, and those that it wrote before it had finished."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

_streams: dict[str, Any] = {}


class Written(NamedTuple):
    """What a model wrote, and how it is to be read."""

    rows: Any
    """A tensor of token ids; one row for each sequence."""
    given: int
    """How many at the start of each row were given to it."""
    ends: tuple[int, ...]
    """Ids that end a sequence; what follows one was not written."""
    filler: int | None = None
    """The id behind sequences that end in another way, where some may."""


def given(ids: Any, mask: Any) -> int:
    """Return how many tokens a model is given.

    Args:
        ids: Their ids or embeddings, a row for each sequence.
        mask: 1 for a token and 0 for padding; None, or of another shape, where nothing is said to be padding.
    """
    if mask is not None and mask.dim() == 2 and mask.shape == ids.shape[:2]:
        return int((here(mask) != 0).sum())
    rows, longest = ids.shape[:2]
    return int(rows * longest)


def written(by: Written) -> int:
    """Return how many tokens a model wrote, the one that ends a sequence included."""
    count, longest = by.rows.shape
    most = longest - by.given
    if most <= 0:
        return 0
    if count == 1 and by.filler is None:  # nobody else to wait for: it ends where it was finished
        return int(most)
    return _cut(here(by.rows)[:, by.given :], by.ends, by.filler)


def _cut(rows: Any, ends: Iterable[int], filler: int | None) -> int:
    most = rows.shape[1]
    lengths = rows.new_full((rows.shape[0],), most)
    if filler is not None:
        text = rows != filler
        lengths = (most - text.flip(1).byte().argmax(1)).masked_fill(~text.any(1), 0)
    ended = rows.new_zeros(rows.shape).bool()
    for end in ends:
        ended |= rows == end
    first = ended.byte().argmax(1) + 1
    return int(first.where(ended.any(1), lengths).sum())


def here(tensor: Any) -> Any:
    """Return a tensor in the memory of the host.

    It is copied on a stream of its own, so that nobody waits for other work on the device, and it waits for none.
    """
    device = tensor.device
    if device.type == "cpu":
        return tensor
    if device.type != "cuda":
        return tensor.cpu()
    cuda = sys.modules["torch"].cuda
    stream = _streams.get(str(device)) or _streams.setdefault(str(device), cuda.Stream(device))
    with cuda.stream(stream):
        return tensor.cpu()
