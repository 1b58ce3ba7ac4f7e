"""A price file is taken whole or refused whole, with file, line and field of every mistake in it."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pennytrace_collectors.catalog import PriceFile, compile_catalog, read_price_file
from pennytrace_collectors.errors import PriceFileError
from pennytrace_collectors.tomlfile import lines_of

WHOLE = """\
currency = "EUR"

[[price]]
provider = "openai_compatible"
model = ["my-llama", "my-llama:*"]
currency = "EUR"
valid_from = 2026-01-01
valid_to = 2026-06-30
input_mtok = 0.10
output_mtok = 3
source = "our cluster"

[[correction]]
model = "gpt-4o"
tier = "flex"
input_mtok = 1.25

[[surcharge]]
provider = "anthropic"
model = "claude-*"
variant = "us"
factor = 1.1

[[discount]]
provider = "openai"
committed = 60_000
steps = [{from = 0, percent = 5}, {from = 50_000, percent = 12}]

[[deployment]]
provider = "azure"
name = "prod-chat"
model = "gpt-4o-2024-08-06"

[[gpu]]
pool = "h100-eu"
kind = "on_demand"
instance_per_hour = 32.77
gpus = 8

[[exchange_rate]]
from = "USD"
to = "EUR"
date = 2026-11-01
rate = "0.92"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "prices.toml"
    file.write_text(text, "utf-8")
    return file


def mistakes(folder: Path, text: str) -> list[str]:
    """What is said of a file, without the folder in front."""
    with pytest.raises(PriceFileError) as caught:
        read_price_file(written(folder, text))
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_a_file_says_all_that_it_can_say(tmp_path: Path) -> None:
    found = read_price_file(written(tmp_path, WHOLE))

    assert found.currency == "EUR"
    (price,) = found.prices
    assert price.model == ("my-llama", "my-llama:*")
    assert price.amounts == {"input_mtok": Decimal("0.10"), "output_mtok": Decimal(3)}
    assert all(isinstance(amount, Decimal) for amount in price.amounts.values())
    assert price.written == "prices.toml:3 our cluster"
    assert found.corrections[0].variant == "flex"
    assert found.surcharges[0].factor == Decimal("1.1")
    assert found.discounts[0].off == 12
    assert found.deployments[0].name == "prod-chat"
    assert found.gpus[0].card == "gpu:h100-eu"
    assert found.exchange_rates[0].rate == Decimal("0.92")
    assert [entry.line for entry in (*found.corrections, *found.gpus, *found.exchange_rates)] == [13, 34, 40]


@pytest.mark.parametrize(
    ("keys", "variant"),
    [
        ("", ""),
        ('tier = "flex"', "flex"),
        ('tier = "default"', ""),
        ('tier = "batch"', "batch"),
        ('processing = "batch"\ntier = "flex"', "batch+flex"),
        ('variant = "us"', "us"),
        ('processing = "batch"\nvariant = "us"', "batch+us"),
        ('size = "1024x1792"\nquality = "hd"', "hd+1024x1792"),
        ('size = "1024x1792"\nquality = "standard"', "1024x1792"),
    ],
)
def test_a_price_is_for_the_variant_that_its_keys_name(tmp_path: Path, keys: str, variant: str) -> None:
    found = read_price_file(written(tmp_path, f'[[price]]\nmodel = "m"\nimage = 1\n{keys}\n'))

    assert found.prices[0].variant == variant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[[price]]\nmodel = "m"',
            "prices.toml:1: [[price]] gives no price; give at least one of input_mtok,",
        ),
        ("[[price]]\ninput_mtok = 1", "prices.toml:1: [[price]] model: is missing; add it"),
        (
            '[[price]]\nmodel = "m"\n\ninptu_mtok = 1\noutput_mtok = 1',
            "prices.toml:4: [[price]] inptu_mtok: unknown key, got 1; did you mean 'input_mtok'?",
        ),
        (
            '[[price]]\nmodel = "m"\ninput_mtok = -0.1',
            "prices.toml:3: [[price]] input_mtok: input should be greater than or equal to 0, got -0.1",
        ),
        (
            '[[price]]\nmodel = "m"\ninput_mtok = true',
            "prices.toml:3: [[price]] input_mtok: should be a number, got True",
        ),
        ('[[price]]\nmodel = "m"\ninput_mtok = nan', "prices.toml:3: [[price]] input_mtok: "),
        ('[[price]]\nmodel = "m"\ninput_mtok = inf', "prices.toml:3: [[price]] input_mtok: "),
        ('[[price]]\nmodel = "m"\ninput_mtok = 0.0000000000001', "prices.toml:3: [[price]] input_mtok: "),
        ('[[price]]\nmodel = "m"\ninput_mtok = "much"', "prices.toml:3: [[price]] input_mtok: "),
        ('[[price]]\nmodel = ""\ninput_mtok = 1', "prices.toml:2: [[price]] model"),
        ("[[price]]\nmodel = []\ninput_mtok = 1", "prices.toml:2: [[price]] model"),
        (
            '[[price]]\nmodel = "m"\ncurrency = "eur"\ninput_mtok = 1',
            "prices.toml:3: [[price]] currency: should be a currency's three capital letters, such as EUR, got 'eur'",
        ),
        (
            '[[price]]\nmodel = "m"\nvalid_from = 2026-13-01\ninput_mtok = 1',
            "prices.toml' is not valid TOML",
        ),
        (
            '[[price]]\nmodel = "m"\nvalid_from = "soon"\ninput_mtok = 1',
            "prices.toml:3: [[price]] valid_from: ",
        ),
        (
            '[[price]]\nmodel = "m"\nvalid_from = 1960-01-01\ninput_mtok = 1',
            "prices.toml:3: [[price]] valid_from: ",
        ),
        (
            '[[price]]\nmodel = "m"\nvalid_from = 2026-02-01\nvalid_to = 2026-01-01\ninput_mtok = 1',
            "prices.toml:1: [[price]] valid_to 2026-01-01 is before valid_from 2026-02-01",
        ),
        (
            '[[price]]\nmodel = "m"\ntier = "flex"\nvariant = "us"\ninput_mtok = 1',
            "prices.toml:1: [[price]] tier and variant cannot stand together",
        ),
        (
            '[[price]]\nmodel = "m"\nvariant = "batch+us"\ninput_mtok = 1',
            "prices.toml:3: [[price]] variant: should be one",
        ),
        ('[[price]]\nmodel = "m"\nline = 3\ninput_mtok = 1', "prices.toml:3: [[price]] line: unknown key"),
        (
            '[[price]]\nmodel = "m"\nother = "us"\ninput_mtok = 1',
            "prices.toml:3: [[price]] other: unknown key",
        ),
        ('[price]\nmodel = "m"', "prices.toml:1: [price]: a file may have several; write [[price]]"),
        ("price = 3", "prices.toml:1: [price]: a file may have several; write [[price]]"),
        ("price = [3]", "prices.toml:1: [[price]] "),
        (
            '[[prices]]\nmodel = "m"',
            "prices.toml:1: unknown 'prices'; did you mean 'price'?; expected currency, [[price]]",
        ),
        ('\ncurrency = "euro"', "prices.toml:2: currency: should be a currency's three capital letters"),
        (
            '[[correction]]\nmodel = "m"\ncurrency = "EUR"\nimage = 1',
            "prices.toml:3: [[correction]] currency: unknown key",
        ),
        (
            '[[surcharge]]\nmodel = "m"\nvariant = "us"',
            "prices.toml:1: [[surcharge]] factor: is missing; add it",
        ),
        ('[[surcharge]]\nmodel = "m"\nvariant = ""\nfactor = 2', "prices.toml:3: [[surcharge]] variant: "),
        (
            '[[discount]]\nmodel = "m"',
            "prices.toml:1: [[discount]] give either percent, or committed with steps",
        ),
        ("[[discount]]\npercent = 101", "prices.toml:2: [[discount]] percent: "),
        (
            '[[discount]]\npercent = 1\nmeters = ["inputs"]',
            "prices.toml:3: [[discount]] meters.0: should be a meter: ",
        ),
        (
            "[[discount]]\ncommitted = 5\nsteps = [{from = 10, percent = 1}]",
            "prices.toml:1: [[discount]] committed = 5 is below the first of steps; add one with from = 0",
        ),
        (
            "[[discount]]\ncommitted = 5\nsteps = [\n  {from = 0, percent = 1}, # ok\n  {from = 1, percent = 200},\n]",
            "prices.toml:5: [[discount]] steps.1.percent: ",
        ),
        ('[[deployment]]\nname = "x"', "prices.toml:1: [[deployment]] model: is missing; add it"),
        (
            '[[gpu]]\nkind = "spot"\nper_gpu_hour = 1',
            "prices.toml:1: [[gpu]] say what it is the rate of: one of pool, gpu",
        ),
        ('[[gpu]]\npool = "a"\nkind = "leased"\nper_gpu_hour = 1', "prices.toml:3: [[gpu]] kind: "),
        (
            '[[gpu]]\npool = "a"\nkind = "spot"',
            "prices.toml:1: [[gpu]] give either per_gpu_hour, or instance_per_hour",
        ),
        (
            '[[gpu]]\npool = "a"\nkind = "owned"\nper_gpu_hour = 1',
            "prices.toml:1: [[gpu]] kind = 'owned' cannot have per_gpu_hour",
        ),
        (
            '[[gpu]]\npool = "a"\nkind = "owned"\npurchase_price = 1',
            "prices.toml:1: [[gpu]] an owned machine needs purchase_price and lifetime_years",
        ),
        (
            '[[gpu]]\npool = "a"\nkind = "spot"\nper_gpu_hour = 1\nutilisation = 0',
            "prices.toml:5: [[gpu]] utilisation: ",
        ),
        (
            '[[exchange_rate]]\nfrom = "USD"\nto = "USD"\ndate = 2026-01-01\nrate = 1',
            "prices.toml:1: [[exchange_rate]] from and to are both USD",
        ),
        (
            '[[exchange_rate]]\nfrom = "USD"\nto = "EUR"\ndate = 2026-01-01\nrate = 0',
            "prices.toml:5: [[exchange_rate]] rate: ",
        ),
    ],
)
def test_a_mistake_is_refused_with_its_line_and_field(tmp_path: Path, text: str, said: str) -> None:
    (found,) = mistakes(tmp_path, text)

    assert said in found


def test_every_mistake_is_told_at_once_and_in_order(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        """
        [[price]]
        model = "a"
        input_mtok = -1
        output_mtok = "x"

        [[discount]]
        percent = 1_000

        [[price]]
        model = "b"

        [[gpus]]
        """,
    )

    assert [line.split(":")[1] for line in found] == ["4", "5", "8", "10", "13"]


def test_mistakes_of_several_files_are_told_at_once(tmp_path: Path) -> None:
    names = ("one.toml", "two.toml")
    for name in names:
        (tmp_path / name).write_text("[[price]]", "utf-8")

    with pytest.raises(PriceFileError) as caught:
        compile_catalog([tmp_path / name for name in names])

    for name in names:
        assert f"{name}:1: [[price]] model: is missing" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[[price]]\nmodel = "m"\ninput_mtok = 1\n[[price]]\nmodel = ["n", "M"]\ninput_mtok = 2',
            "prices.toml:4: [[price]] says again what line 1 says of '*' 'm' 1970-01-01; keep one of them",
        ),
        (
            '[[price]]\nmodel = "m"\nvalid_to = 2026-03-31\ninput_mtok = 1\n'
            '[[price]]\nmodel = "m"\nvalid_from = 2026-03-31\ninput_mtok = 2',
            "prices.toml:5: [[price]] begins on 2026-03-31, while line 1 holds to 2026-03-31",
        ),
        (
            '[[price]]\nmodel = "m"\ninput_mtok = 1\n'
            '[[price]]\nmodel = "m"\nabove_input_tokens = 9\ncurrency = "EUR"\ninput_mtok = 2',
            "prices.toml:4: [[price]] currency: must be that of line 1, of which this is a band",
        ),
        (
            '[[price]]\nmodel = "m"\nabove_input_tokens = 9\ninput_mtok = 2',
            "prices.toml:1: [[price]] says what holds above 9 input tokens, and no entry what holds below",
        ),
        (
            '[[exchange_rate]]\nfrom = "USD"\nto = "EUR"\ndate = 2026-01-01\nrate = 1\n' * 2,
            "prices.toml:6: [[exchange_rate]] says again what line 1 says",
        ),
        (
            '[[deployment]]\nname = "x"\nmodel = "m"\n' * 2,
            "prices.toml:4: [[deployment]] says again what line 1 says",
        ),
        (
            '[[gpu]]\ncpu = true\nkind = "spot"\nper_gpu_hour = 1\n' * 2,
            "prices.toml:5: [[gpu]] says again what line 1",
        ),
    ],
)
def test_entries_that_cannot_both_hold_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (found,) = mistakes(tmp_path, text)

    assert said in found


def test_what_is_no_file_or_no_toml_is_said(tmp_path: Path) -> None:
    with pytest.raises(PriceFileError, match=r"cannot read the price file .*: No such file"):
        read_price_file(tmp_path / "none.toml")
    with pytest.raises(PriceFileError, match=r"is not valid TOML: .*line 2"):
        read_price_file(written(tmp_path, "[[price]]\nmodel = \n"))
    (tmp_path / "latin.toml").write_bytes(b'[[price]]\nmodel = "\xe9"')
    with pytest.raises(PriceFileError, match="is not valid TOML"):
        read_price_file(tmp_path / "latin.toml")


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    assert read_price_file(written(tmp_path, "")) == PriceFile("prices.toml")


def test_the_supplement_must_say_where_and_when_a_price_was_read(tmp_path: Path) -> None:
    entry = '[[price]]\nmodel = "m"\ninput_mtok = 1\n'
    file = written(tmp_path, entry + 'source = "hearsay"\nchecked = 2999-01-01\n' + 'currency = "EUR"')

    with pytest.raises(PriceFileError) as caught:
        read_price_file(file, supplement=True)

    assert "[[price]] source: should be the https:// address" in str(caught.value)
    assert "[[price]] checked: should be the day" in str(caught.value)


def test_lines_are_right_however_a_file_is_laid_out(tmp_path: Path) -> None:
    text = '''\
# [[price]] in a comment
currency = "EUR" # = [ { "

price = [
  { model = "inline", input_mtok = 1, source = """
[[price]]
model = 3
""" },
  # ] }
  { model = 'a\\', "input_mtok" = -2 }, # wrong
]

[[ "discount" ]] # dotted and quoted
"percent" = 1
[[discount.steps]]
from = 0
percent = 1

  [[discount]]
  model = [ # a list
    "one",
    "", # wrong
  ]
  percent = 5
'''
    text = text.replace('"percent" = 1\n[[discount.steps]]', '"committed" = 1\n[[discount.steps]]')

    found = mistakes(tmp_path, text)

    assert [line.split(": [[")[0] for line in found] == ["prices.toml:10", "prices.toml:22"]


NAMES = ["a", "b", '"c d"', "'e.f'", '"=#["', "g-1"]
VALUES = [
    "1", "-2.5", "true", "2026-01-01", "07:32:00", "1979-05-27 07:32:00Z", '"x"', "'y'", '"\\"]#"',
    "'''\n[[z]]\nk = 1'''",
    '"""\\"""\n[q]\n"""', '""""quoted""""', "[]", "{}", "[1, 2]", "[\n1, # one ]\n[2,\n3],\n]",
    "{ i = 1, j.k = [ {l = 2} ] }",
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_value_of_any_toml_has_the_line_that_it_is_written_on(seed: int) -> None:
    """Each value is replaced by its line where it stands; tomllib then reads the lines that we say."""
    chance = Random(seed)
    lines: list[str] = []
    marked: dict[str, int] = {}
    for table in range(chance.randint(1, 5)):
        lines += chance.choices(["", "# [[t]] x = 1", "   \t"], k=chance.randint(0, 2))
        lines += [chance.choice(["[[t]]", " [[ t ]] # [[u]]", '[["t"]]'])]
        for key in chance.sample(NAMES, chance.randint(0, 4)):
            marked[f"{table} {tomllib.loads(f'{key} = 1').popitem()[0]}"] = sum(map(_height, lines)) + 1
            lines += [
                f"{chance.choice(['', '  '])}{key} = {chance.choice(VALUES)}{chance.choice(['', ' # ] }'])}"
            ]
    text = "\n".join(lines)
    document = tomllib.loads(text)

    found = lines_of(text)

    for table, content in enumerate(document["t"]):
        for key in content:
            assert found["t", table, key] == marked[f"{table} {key}"], text


def _height(line: str) -> int:
    return line.count("\n") + 1


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_spoilt_file_is_read_or_refused_by_line_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    chance = Random(seed)
    lines = WHOLE.splitlines()
    for _ in range(chance.choice([1, 1, 2, 4])):
        place, how = chance.randrange(len(lines)), chance.random()
        if how < 0.15:
            del lines[place]
        elif how < 0.3:
            lines.insert(place, chance.choice(lines))
        elif how < 0.8 and "=" in lines[place]:
            lines[place] = lines[place].partition("=")[0] + "= " + chance.choice(SPOILT)
        elif how < 0.9:
            lines[place] = lines[place][: chance.randint(0, len(lines[place]))]
        else:
            lines.insert(
                place, chance.choice(["[[price]]", "[price.x]", "a.b = 1", "steps = 3", "[[discount.steps]]"])
            )
    file = written(tmp_path_factory.mktemp("spoilt"), "\n".join(lines))

    said: list[str] = []
    try:
        read_price_file(file)
    except PriceFileError as refused:
        said = str(refused).splitlines()

    assert all("prices.toml" in line for line in said)


SPOILT = [
    '"*"', "0", "-1", "1e40", "1e-30", "nan", "inf", "true", "[]", "{}", '""', '["a", "*"]', '"\\u0000"', "07:30:00",
    "2105-12-30", "9999-12-31", "0001-01-01", "2026-01-01T00:00:00Z", "99999999999999999999999", '"batch"', '"USD"',
]  # fmt: skip
