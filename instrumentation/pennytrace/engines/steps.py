"""Keeps the GPU-seconds of each request from an engine's steps: arithmetic only, on the engine's scheduler thread.

A step k is issued, and later done; an engine may issue the next one before. Its busy time is what it adds to the time
in which any step was under way:

    busy_k = done_k - max(issued_k, done_{k-1})

so that no second is counted twice, however many steps are under way at once. All GPUs of the engine work on each step,
so it costs busy_k times their number. That is shared among the requests in the step by their weights (`cost`):

    seconds_{i,k} = gpus * busy_k * weight_{i,k} / sum_j weight_{j,k}

What is left of the time is idle, between steps, and what a step without a request takes is overhead, so that always

    sum of all requests + overhead + idle = gpus * (time of the last event - time of the start)

A request that has ended is charged for the steps that it is still in, and is reported when the last one is done. One
that runs across a full hour (UTC) is reported in parts, each of which lies inside one hour; a step that does is split.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from operator import ge
from typing import Any, Final, NamedTuple

from pennytrace._calls.cost import Cost

_HOUR: Final = 3600.0
_MOST_UNDER_WAY: Final = 256  # steps; no engine has so many, so they are lost


class Part(NamedTuple):
    """What a request used within one hour."""

    prefill: float
    """GPU-seconds of reading the input, and of computing again what a preemption threw away."""
    decode: float
    """GPU-seconds of writing the output."""
    started: float
    """Seconds since 1970, UTC."""
    ended: float
    waited: float | None
    """Seconds from its arrival to its first step, or to its end without one; None in all parts but the first."""


class Account:
    """What one request has used, and not yet been reported."""

    __slots__ = (
        "_parts",
        "alone",
        "arrived",
        "cached",
        "computed",
        "decode",
        "last",
        "over",
        "prefill",
        "prompt",
        "request",
        "started",
    )

    def __init__(self, request: Any, *, prompt: int, arrived: float) -> None:
        """Open it.

        Args:
            request: Whatever the engine knows of it.
            prompt: The tokens of its input.
            arrived: Seconds since 1970, UTC.
        """
        self.request = request
        self.prompt = prompt
        self.arrived = arrived
        self.prefill = 0.0
        self.decode = 0.0
        self.cached: int | None = None
        """Tokens of its input that were there before its first step; None until then."""
        self.computed = 0
        """Tokens of its input, and not only of it, that are computed or were there before; what it had at most."""
        self.last = 0
        """The number of the last step that it was put into."""
        self.alone = True
        """Whether no other request was in a step of its, or in one that was under way at the same time."""
        self.over = False
        self.started: float | None = None
        """When the first step began that is not reported, in seconds since 1970; None where there is none."""
        self._parts = 0

    def part(self, ended: float) -> Part:
        """Return what has not been reported, up to a time in seconds since 1970, and begin the next part."""
        started = ended if self.started is None else self.started
        part = Part(
            prefill=self.prefill,
            decode=self.decode,
            started=started,
            ended=max(started, ended),
            waited=None if self._parts else max(0.0, started - self.arrived),
        )
        self.prefill = self.decode = 0.0
        self._parts += 1
        self.started = None
        return part


class Totals(NamedTuple):
    """GPU-seconds of an engine since it began; they only grow."""

    attributed: float
    overhead: float
    idle: float

    @property
    def busy(self) -> float:
        """The time of all steps."""
        return self.attributed + self.overhead


class _Step(NamedTuple):
    number: int
    output: Any
    """What the engine knows the step by."""
    issued: float
    prefills: Sequence[Account]
    prefill_weights: Sequence[float]
    decodes: Sequence[Account]
    decode_weights: Sequence[float]

    @property
    def accounts(self) -> Sequence[Account]:
        return [*self.prefills, *self.decodes] if self.prefills else self.decodes

    def charge(self, seconds: float) -> None:
        """Share GPU-seconds among the requests in the step."""
        weight = sum(self.prefill_weights) + sum(self.decode_weights)
        if not weight:
            return
        each = seconds / weight
        for account, own in zip(self.prefills, self.prefill_weights, strict=True):
            account.prefill += own * each
        for account, own in zip(self.decodes, self.decode_weights, strict=True):
            account.decode += own * each


class _State(NamedTuple):
    """What another thread may read: replaced as a whole."""

    totals: Totals
    last: float
    """When the last step was issued or done, whichever is later."""
    is_idle: bool


Report = Callable[[Account, Part], object]
"""Is given each part of each request; `account.over` says that it is the last."""


class Steps:
    """The books of one engine."""

    def __init__(
        self,
        *,
        gpus: int,
        cost: Cost,
        opened: Callable[[str], Account],
        report: Report,
        now: float,
        wall: float,
    ) -> None:
        """Begin now.

        Args:
            gpus: How many work on each step.
            cost: How a step is shared.
            opened: Returns an account for a request of which nothing is known but the id.
            report: Is given what each request has used.
            now: Seconds of a clock that never goes back; here and below.
            wall: Seconds since 1970, UTC; here and below.
        """
        self._gpus = gpus
        self._cost = cost
        self._opened = opened
        self._report = report
        self._accounts: dict[str, Account] = {}
        self._leaving: list[Account] = []
        """Requests that have ended, and are in steps that are not done."""
        self._fresh: list[Account] = []
        """Requests of which no step has been charged since they came, or since the last full hour."""
        self._number = 0
        """Of the last step that was issued; they are done in the same order."""
        self._done = 0
        self._ids: Sequence[str] = ()
        self._same: list[Account] = []
        """The requests of the last step: the next one often has the same, and then nothing is looked up."""
        self._prompts: list[int] = []
        self._crowd: list[Account] = []
        """Requests that are known not to be alone."""
        self._ended = wall
        """When the last step was done."""
        self._under_way: deque[_Step] = deque()
        self._state = _State(Totals(0.0, 0.0, 0.0), now, True)
        self._hour = wall // _HOUR

    def totals(self, now: float) -> Totals:
        """Return the totals up to now; of a step that is under way, nothing yet. Any thread may ask."""
        totals, last, is_idle = self._state
        if is_idle and now > last:
            return totals._replace(idle=totals.idle + (now - last) * self._gpus)
        return totals

    def issued(
        self,
        output: Any,
        *,
        ids: Sequence[str],
        scheduled: Sequence[int],
        before: Sequence[int],
        drafted: Callable[[str], int],
        besides: Iterable[tuple[int, int]] = (),
        now: float,
    ) -> None:
        """Note that a step begins: now, or as soon as the one before it is done.

        Args:
            output: What `done` will be called with.
            ids: The requests in it.
            scheduled: The tokens that it computes for each.
            before: The tokens of each that were computed before.
            drafted: Returns how many of a request's tokens are guesses of speculative decoding, and so no prefill.
            besides: Places in `ids`, and tokens that an encoder (of images, of sounds) computes for that request.
            now: The time.
        """
        tokens = sum(scheduled)
        weights = self._cost.weights(scheduled, before, tokens)
        for place, encoded in besides:
            weights[place] += self._cost.weights((encoded,), (0,), tokens)[0]
        accounts = self._of(ids)
        if self._fresh:
            self._note_what_was_there(accounts, before)
        self._number += 1
        if tokens == len(ids) and all(map(ge, before, self._prompts)):
            # The most frequent kind of step, and the one with the most requests.
            step = _Step(self._number, output, now, (), (), accounts, weights)
        else:
            prefills: list[Account] = []
            prefill_weights: list[float] = []
            decodes: list[Account] = []
            decode_weights: list[float] = []
            for account, own, ahead, weight, id in zip(
                accounts, scheduled, before, weights, ids, strict=True
            ):
                if ahead >= account.prompt and own <= 1 + (drafted(id) if own > 1 else 0):
                    decodes.append(account)
                    decode_weights.append(weight)
                else:
                    account.computed = max(account.computed, ahead + own)
                    prefills.append(account)
                    prefill_weights.append(weight)
            step = _Step(self._number, output, now, prefills, prefill_weights, decodes, decode_weights)
        self._see_who_is_alone(accounts)
        self._add(step, now)

    def done(self, output: Any, *, now: float, wall: float) -> None:
        """Note that a step is done, and charge it; one that was never issued is none."""
        step = self._take(output)
        if step is None:
            return
        (attributed, overhead, idle), last, _ = self._state
        busy = max(0.0, now - max(step.issued, last))
        if self._hour == wall // _HOUR:
            self._charge(step, busy, wall - busy, wall)
        else:
            self._charge_across_hours(step, busy, wall)
        if step.prefills or step.decodes:
            attributed += busy * self._gpus
        else:
            overhead += busy * self._gpus
        self._state = _State(Totals(attributed, overhead, idle), max(now, last), not self._under_way)
        if self._leaving:
            self._let_go()

    def end(self, id: str, *, wall: float) -> None:
        """Note that a request has ended; it is reported now, or when the last step that it is in is done."""
        account = self._accounts.pop(id, None) or self._opened(id)
        account.over = True
        self._forget_the_last_step()
        if account.last > self._done:
            self._leaving.append(account)
        else:
            self._report(account, account.part(self._ended if account.started else wall))

    def report(self) -> None:
        """Report all that has been used, of requests too that have not ended: no other step will be done."""
        for account in self._leaving:
            self._report(account, account.part(self._ended))
        self._leaving = []
        self._close_the_hour()

    def close(self, *, now: float) -> None:
        """Count no more idle time from now on: the engine is gone, and with it what it had not finished."""
        self._state = self._state._replace(totals=self.totals(now), is_idle=False)
        self._accounts, self._leaving, self._fresh, self._same, self._ids = {}, [], [], [], ()
        self._crowd = []
        self._under_way.clear()

    def _of(self, ids: Sequence[str]) -> list[Account]:
        if ids != self._ids:
            self._forget_the_last_step()
            get = self._accounts.get
            self._ids, self._same = list(ids), [get(id) or self._open(id) for id in ids]
            self._prompts = [account.prompt for account in self._same]
        return self._same

    def _forget_the_last_step(self) -> None:
        for account in self._same:
            account.last = self._number
        self._ids, self._same = (), []

    def _open(self, id: str) -> Account:
        account = self._accounts[id] = self._opened(id)
        self._fresh.append(account)
        return account

    def _note_what_was_there(self, accounts: Sequence[Account], before: Sequence[int]) -> None:
        for account, ahead in zip(accounts, before, strict=True):
            if account.cached is None:
                account.cached = min(ahead, account.prompt)
                account.computed = ahead

    def _see_who_is_alone(self, accounts: list[Account]) -> None:
        others = self._under_way[-1].accounts if self._under_way else accounts
        if self._crowd is accounts and others is accounts:
            return  # as in the last step
        if len(accounts) > 1 or others != accounts:
            for account in (*accounts, *others):
                account.alone = False
            self._crowd = accounts

    def _add(self, step: _Step, now: float) -> None:
        (attributed, overhead, idle), last, is_idle = self._state
        if is_idle:
            idle += max(0.0, now - last) * self._gpus
            self._state = _State(Totals(attributed, overhead, idle), max(now, last), False)
        self._under_way.append(step)
        if len(self._under_way) > _MOST_UNDER_WAY:
            self._under_way.popleft()

    def _take(self, output: Any) -> _Step | None:
        """Return the step that is done; those that were issued before it are lost, and cost nothing."""
        if all(step.output is not output for step in self._under_way):
            return None
        while True:
            step = self._under_way.popleft()
            if step.output is output:
                self._done = step.number
                return step

    def _charge(self, step: _Step, busy: float, started: float, ended: float) -> None:
        step.charge(busy * self._gpus)
        if self._fresh:
            self._begin(step, started)
        self._ended = ended

    def _begin(self, step: _Step, started: float) -> None:
        inside = set(map(id, step.accounts))
        for account in self._fresh:
            if id(account) in inside:
                account.started = started
        self._fresh = [
            account
            for account in self._fresh
            if account.started is None and (account.last > self._done or not account.over)
        ]

    def _charge_across_hours(self, step: _Step, busy: float, wall: float) -> None:
        started, left = wall - busy, busy
        while self._hour < wall // _HOUR:
            self._hour = max(self._hour + 1, started // _HOUR)
            full = self._hour * _HOUR
            before = min(max(0.0, full - started), left)
            if before:
                self._charge(step, before, started, full)
                started, left = full, left - before
            self._close_the_hour()
        if self._hour > wall // _HOUR:  # somebody has set the clock back
            self._hour = wall // _HOUR
            self._close_the_hour()
        self._charge(step, left, started, wall)

    def _close_the_hour(self) -> None:
        for account in (*self._accounts.values(), *self._leaving):
            if account.started is not None:
                is_over, account.over = account.over, False
                self._report(account, account.part(self._ended))
                account.over = is_over
                self._fresh.append(account)

    def _let_go(self) -> None:
        leaving, self._leaving = self._leaving, []
        for account in leaving:
            if account.last > self._done:
                self._leaving.append(account)
            else:
                self._report(account, account.part(self._ended))
