"""Reading a rate card in tests as pricing does: by variant, time, size of the input and meter."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from pennytrace_collectors.catalog import Catalog, Price, RateCard, SeenModel, compile_catalog

MILLION = Decimal(1_000_000)


def catalog_of(folder: Path, *texts: str) -> Catalog:
    """The price list with these price files over it."""
    written = []
    for number, text in enumerate(texts, 1):
        file = folder / f"prices{number if len(texts) > 1 else ''}.toml"
        file.write_text(text, "utf-8")
        written.append(file)
    return compile_catalog(written)


def card_of(catalog: Catalog, model: str, *, provider: str = "openai", asked: str = "") -> RateCard:
    """The card that calls of a model are priced by."""
    found = catalog.resolve(SeenModel(provider, "", asked or model, model))
    card = catalog.rate_card(found.rate_card)
    assert card is not None, found
    return card


def day(text: str) -> datetime:
    """Noon of a day."""
    return datetime.fromisoformat(f"{text}T12:00:00").replace(tzinfo=UTC)


def price_of(
    card: RateCard, meter: str, at: str | datetime = "2026-11-20", *, variant: str = "", tokens: int = 0
) -> Price | None:
    """What holds for a meter; None where there is no price."""
    moment = at if isinstance(at, datetime) else day(at)
    now = [p for p in card.prices if p.variant == variant and p.valid_from <= moment <= p.valid_to]
    if not now:
        return None
    second = moment.hour * 3600 + moment.minute * 60 + moment.second
    window = max(p.window_from for p in now if p.window_from <= second)
    band = max(p.above for p in now if p.above < tokens)
    found = [p for p in now if (p.window_from, p.above, p.meter) == (window, band, meter)]
    assert len(found) <= 1
    return found[0] if found else None


def per_million(
    card: RateCard, meter: str, at: str | datetime = "2026-11-20", *, variant: str = "", tokens: int = 0
) -> Decimal | None:
    """The same as money for a million units."""
    found = price_of(card, meter, at, variant=variant, tokens=tokens)
    return found.unit_price * MILLION if found else None
