"""What an hour of a GPU costs, rented or owned, and what one currency is worth in another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from pennytrace_collectors.catalog import Catalog, GpuRate
from tests.collectors.catalog.cards import catalog_of, price_of


def rate(folder: Path, keys: str) -> tuple[GpuRate, Decimal]:
    """The rate of the one entry of a file, and the price of a GPU second that comes of it."""
    catalog = catalog_of(folder, f"[[gpu]]\n{keys}")
    (found,) = catalog.gpu_rates
    return found, second(catalog, found.name)


def second(catalog: Catalog, name: str, at: str = "2026-11-20") -> Decimal:
    card = catalog.rate_card(name)
    assert card is not None
    assert card in catalog.rate_cards()
    price = price_of(card, "gpu_seconds", at)
    assert price is not None
    return price.unit_price


def test_a_rented_gpu_costs_what_its_hour_is_rented_for(tmp_path: Path) -> None:
    found, per_second = rate(tmp_path, 'pool = "h100-eu"\nkind = "on_demand"\nper_gpu_hour = 2.52')

    assert (found.name, found.pool, found.kind) == ("gpu:h100-eu", "h100-eu", "on_demand")
    assert found.per_gpu_hour == Decimal("2.52")
    assert per_second == Decimal("0.0007")
    assert found.derivation == ("on demand: 2.52 USD per GPU-hour",)


def test_a_rented_machine_is_shared_by_its_gpus(tmp_path: Path) -> None:
    # the p4d.24xlarge, with 8 A100
    found, per_second = rate(
        tmp_path, 'gpu = "NVIDIA A100-SXM4-40GB"\nkind = "on_demand"\ninstance_per_hour = 32.77\ngpus = 8'
    )

    assert found.per_gpu_hour == Decimal("4.09625")
    assert per_second == Decimal("0.001137847222222222")
    assert found.derivation == (
        "on demand: 32.77 USD per hour of the machine",
        "32.77 / 8 GPUs = 4.09625 USD per GPU-hour",
    )


def test_the_hours_that_are_sold_bear_the_others(tmp_path: Path) -> None:
    found, per_second = rate(tmp_path, 'pool = "a"\nkind = "spot"\nper_gpu_hour = 1.8\nutilisation = 0.5')

    assert (found.per_gpu_hour, found.utilisation) == (Decimal("1.8"), Decimal("0.5"))
    assert per_second == Decimal("0.001")
    assert found.derivation[-1] == "1.8 / utilisation 0.5 = 3.6 USD per busy hour"


def test_an_owned_machine_costs_purchase_power_and_people(tmp_path: Path) -> None:
    found, per_second = rate(
        tmp_path,
        """
        pool = "basement"
        kind = "owned"
        currency = "EUR"
        purchase_price = 262_800       # 10 an hour over 3 years
        lifetime_years = 3
        gpus = 8
        power_watts = 10_000
        pue = 1.5
        electricity_per_kwh = 0.20     # 3 an hour
        operations_per_year = 26_280   # 3 an hour
        """,
    )

    assert (found.per_gpu_hour, found.currency) == (Decimal(2), "EUR")
    assert per_second == Decimal("0.000555555555555556")
    assert found.derivation == (
        "purchase: 262800 / (3 years x 8760 h) = 10 an hour",
        "power: 10000 W / 1000 x PUE 1.5 x 0.2 per kWh = 3 an hour",
        "operations: 26280 a year / 8760 h = 3 an hour",
        "owned: 10 + 3 + 3 = 16 EUR per hour of the machine",
        "16 / 8 GPUs = 2 EUR per GPU-hour",
    )


def test_a_machine_that_only_costs_its_purchase_needs_no_more(tmp_path: Path) -> None:
    found, _ = rate(tmp_path, 'pool = "a"\nkind = "owned"\npurchase_price = 8760\nlifetime_years = 0.5')

    assert found.per_gpu_hour == 2


def test_cpu_has_a_rate_too(tmp_path: Path) -> None:
    found, per_second = rate(tmp_path, 'cpu = true\nkind = "reserved"\ninstance_per_hour = 0.36')

    assert (found.name, found.cpu, per_second) == ("gpu:cpu", True, Decimal("0.0001"))


def test_rates_change_by_the_day(tmp_path: Path) -> None:
    catalog = catalog_of(
        tmp_path,
        """
        gpu = [
          { pool = "a", kind = "on_demand", per_gpu_hour = 3.6 },
          { pool = "a", kind = "reserved", per_gpu_hour = 1.8, valid_from = 2026-06-01, valid_to = 2026-09-30 },
          { pool = "a", kind = "spot", per_gpu_hour = 0.36, valid_from = 2026-11-01 },
        ]
        """,
    )

    assert second(catalog, "gpu:a", "2026-05-31") == Decimal("0.001")
    assert second(catalog, "gpu:a", "2026-06-01") == Decimal("0.0005")
    assert second(catalog, "gpu:a", "2026-11-01") == Decimal("0.0001")
    card = catalog.rate_card("gpu:a")
    assert card is not None
    assert price_of(card, "gpu_seconds", "2026-10-15") is None


def test_a_later_file_gives_another_rate_for_the_same_day(tmp_path: Path) -> None:
    text = '[[gpu]]\npool = "a"\nkind = "spot"\nper_gpu_hour = '
    catalog = catalog_of(tmp_path, text + "3.6", text + "7.2")

    assert second(catalog, "gpu:a") == Decimal("0.002")


def test_an_exchange_rate_holds_until_the_next_one_and_not_before_the_first(tmp_path: Path) -> None:
    catalog = catalog_of(
        tmp_path,
        """
        currency = "EUR"
        exchange_rate = [
          { from = "USD", to = "EUR", date = 2026-11-01, rate = "0.92", source = "ECB" },
          { from = "USD", to = "EUR", date = 2026-10-01, rate = 0.9 },
          { from = "CNY", to = "EUR", date = 2026-10-01, rate = 0.13 },
        ]
        """,
    )

    first, second_ = (rate for rate in catalog.exchange_rates if rate.base == "USD")
    assert catalog.currency == "EUR"
    assert (first.valid_from, first.rate) == (datetime(2026, 10, 1, tzinfo=UTC), Decimal("0.9"))
    assert first.valid_to + timedelta(seconds=1) == second_.valid_from == datetime(2026, 11, 1, tzinfo=UTC)
    assert (second_.rate, second_.quote, second_.source) == (Decimal("0.92"), "EUR", "prices.toml:4 ECB")
    assert [rate.base for rate in catalog.exchange_rates].count("CNY") == 1


def test_reports_are_in_usd_unless_a_file_says_otherwise(tmp_path: Path) -> None:
    assert catalog_of(tmp_path).currency == "USD"
    assert catalog_of(tmp_path, 'currency = "EUR"', "").currency == "EUR"
    assert catalog_of(tmp_path, 'currency = "EUR"', 'currency = "CHF"').currency == "CHF"
