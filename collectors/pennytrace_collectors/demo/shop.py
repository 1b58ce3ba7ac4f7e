"""A sample shop whose features call language models, to copy from: one line counts every call.

It runs against any endpoint that speaks OpenAI's language:

    OPENAI_API_KEY=... OPENAI_BASE_URL=... python shop.py --calls 7 --model gpt-4o-mini
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from openai import AsyncOpenAI, OpenAI, OpenAIError

import pennytrace

pennytrace.init(service="sample-shop")  # the one line; the collector's address comes from PENNYTRACE_ENDPOINT

client = OpenAI()
async_client = AsyncOpenAI()

LONGEST_ANSWER = 120  # tokens
AT_ONCE = 12

PRODUCTS = ("rain jacket", "camp stove", "head torch", "down bag", "trail shoes", "tent", "water filter")
PROMISES = (
    "can be returned within 30 days if the label is still on it",
    "is shipped from our own warehouse on the day of the order until 3 pm",
    "has a guarantee of five years against faults of material and of making",
    "is repaired at cost after the guarantee, as long as we can get the parts",
    "may be rented for a weekend at a tenth of its price before it is bought",
)
HANDBOOK = "You answer for the shop. Stay with these rules.\n" + "\n".join(
    f"Rule {number}.{part}: the {product}, in every size and colour that we sell, {promise}."
    for number, product in enumerate(PRODUCTS, 1)
    for part, promise in enumerate(PROMISES, 1)
)
QUESTIONS = (
    "My {} arrived wet. What now?",
    "Can I still send back the {}?",
    "Is the {} warm enough for October, and when would it be here if I ordered it today?",
)
CUSTOMERS = ("nordic-outdoor", "city-bikes", "little-harbour", "alpine-rescue")  # who run their shops with us


@dataclass(frozen=True)
class Shopper:
    """Somebody in one of the shops."""

    customer: str
    user: str
    session: str
    product: str
    question: str


def model(usual: str) -> str:
    """Return the model to call: the usual one, unless `--model` names one for all."""
    return options.model or usual


# --- features that say who they are ------------------------------------------------------------------------


@pennytrace.tag(feature="search", team="discovery")
def search(shopper: Shopper) -> None:
    """Find products by meaning."""
    client.embeddings.create(model="text-embedding-3-small", input=[shopper.question, shopper.product])


@pennytrace.tag(feature="product-descriptions", team="catalog")
def describe_product(shopper: Shopper) -> None:
    """Write what stands beside the picture."""
    client.chat.completions.create(
        model=model("gpt-4o"),
        messages=[{"role": "user", "content": f"Describe the {shopper.product} in three sentences."}],
        max_completion_tokens=LONGEST_ANSWER,
    )


@pennytrace.tag(feature="review-summary", team="catalog")
async def summarise_reviews(shopper: Shopper) -> None:
    """Say in a line what buyers think."""
    reviews = "\n".join(
        f"- {4 + n % 2} stars: {promise}, it says, and it does." for n, promise in enumerate(PROMISES)
    )
    await async_client.chat.completions.create(
        model=model("gpt-4.1-mini"),
        messages=[{"role": "user", "content": f"Sum up these reviews of the {shopper.product}:\n{reviews}"}],
        max_completion_tokens=LONGEST_ANSWER,
    )


@pennytrace.tag(feature="chat-support", team="care")
async def answer_in_chat(shopper: Shopper) -> None:
    """Answer two questions, word by word, with the whole handbook in the prompt."""
    said: list[Any] = [{"role": "system", "content": HANDBOOK}]
    for question in (shopper.question, "And what does that cost me?"):
        said.append({"role": "user", "content": question})
        stream = await async_client.chat.completions.create(
            model=model("gpt-4o-mini"), messages=said, max_completion_tokens=LONGEST_ANSWER, stream=True
        )
        words = [chunk.choices[0].delta.content or "" async for chunk in stream]
        said.append({"role": "assistant", "content": "".join(words)})


async def recommend(shopper: Shopper) -> None:
    """Rank with a model of our own, then let another one explain the choice."""
    with pennytrace.tag(feature="recommendations", team="discovery", experiment="ranker-7b"):
        for name in ("house-ranker-7b", "o4-mini"):
            await async_client.chat.completions.create(
                model=model(name),
                messages=[{"role": "user", "content": f"Who buys a {shopper.product} also buys? {PRODUCTS}"}],
                max_completion_tokens=LONGEST_ANSWER * 4,
            )


# --- one that nobody has tagged: its own name becomes the feature ------------------------------------------


def newsletter(shopper: Shopper) -> None:
    """Write to everybody about one product."""
    stream = client.chat.completions.create(
        model=model("gpt-4.1-mini"),
        messages=[
            {"role": "user", "content": f"Write a short letter to our readers about the {shopper.product}."}
        ],
        max_completion_tokens=LONGEST_ANSWER,
        stream=True,
    )
    for _ in stream:
        pass


# --- a day in the shop -------------------------------------------------------------------------------------

Feature = Callable[[Shopper], Awaitable[None] | None]


@dataclass(frozen=True)
class Use:
    """A feature, how many calls one use of it makes, and how often it is used."""

    feature: Feature
    calls: int
    weight: int


USES = (
    Use(describe_product, calls=1, weight=3),
    Use(answer_in_chat, calls=2, weight=5),
    Use(summarise_reviews, calls=1, weight=4),
    Use(recommend, calls=2, weight=3),
    Use(newsletter, calls=1, weight=1),
)
SEARCH = Use(search, calls=1, weight=7)  # left out with --model: the endpoint may have no embeddings


def day(chance: random.Random, calls: int | None) -> Iterator[Use]:
    """Yield what is used: everything once, then by weight, until exactly `calls` calls are made."""
    uses = USES if options.model else (*USES, SEARCH)
    planned = 0
    for number in range(sys.maxsize):
        use = uses[number] if number < len(uses) else chance.choices(uses, [use.weight for use in uses])[0]
        if planned == calls:
            return
        if calls is None or planned + use.calls <= calls:
            planned += use.calls
            yield use


def shopper(chance: random.Random) -> Shopper:
    """Return who comes in next."""
    product = chance.choice(PRODUCTS)
    number = chance.randrange(60)
    return Shopper(
        customer=CUSTOMERS[number % len(CUSTOMERS)],
        user=f"user-{number}",
        session=f"session-{chance.randrange(10**6):06}",
        product=product,
        question=chance.choice(QUESTIONS).format(product),
    )


async def serve(use: Use, who: Shopper) -> None:
    """Let one shopper use one feature; everything inside is spent for that shopper."""
    with pennytrace.tag(customer=who.customer, user=who.user, session=who.session):
        if inspect.iscoroutinefunction(use.feature):
            await use.feature(who)
        else:
            await asyncio.to_thread(use.feature, who)


async def open_shop() -> None:
    """Serve shoppers, a few at once, and say how many calls have been answered."""
    chance = random.Random(2026)
    places = asyncio.Semaphore(AT_ONCE)
    answered = 0

    async def take_in(use: Use, who: Shopper) -> None:
        nonlocal answered
        try:
            await serve(use, who)
        finally:
            places.release()
        answered += use.calls
        print(f"{answered} calls answered", flush=True)

    async with asyncio.TaskGroup() as inside:
        for use in day(chance, options.calls):
            await places.acquire()
            inside.create_task(take_in(use, shopper(chance)))
            await asyncio.sleep(options.pause)


def main() -> int:
    """Open the shop until the day is over or Ctrl-C closes it."""
    problem: BaseException | None = None
    try:
        asyncio.run(open_shop())
    except* OpenAIError as errors:
        problem = errors.exceptions[0]
    except* KeyboardInterrupt:
        pass
    delivered = pennytrace.flush()
    if problem is not None:
        print(f"the shop had to close: {problem}", file=sys.stderr)
    elif not delivered:
        print("the collector did not take all calls", file=sys.stderr)
    return 0 if delivered and problem is None else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--calls", type=int, help="how many calls to make [until Ctrl-C]")
    parser.add_argument("--model", help="the model for all calls [each feature has its own]")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between shoppers [0]")
    options = parser.parse_args()
    sys.exit(main())
