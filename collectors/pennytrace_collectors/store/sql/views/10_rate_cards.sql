-- The prices in force, folded so that one lookup by (rate card, variant, time) brings all that pricing a call needs:
-- for each window of the day and each band of input size in turn, the unit price of every meter, -1 where there is none.
CREATE OR REPLACE VIEW $database.rate_cards AS
SELECT
    cityHash64(rate_card, variant, valid_from) AS rate_set,
    rate_card,
    variant,
    valid_from,
    valid_to,
    arraySort(groupUniqArray(window_from)) AS windows,
    arraySort(groupUniqArray(above)) AS thresholds,
    groupArray((window_from, above, meter)) AS cells,
    groupArray(unit_price) AS prices,
    arrayFlatten(arrayMap(
        start -> arrayMap(
            band -> arrayMap(
                name -> if(has(cells, (start, band, name)), prices[indexOf(cells, (start, band, name))], toDecimal128(-1, 18)),
                $meter_names),
            thresholds),
        windows)) AS unit_prices,
    any(listed.currency) AS currency,
    any(listed.valid_from) AS price_valid_from,
    any(listed.catalog) AS catalog
FROM (
    SELECT * FROM $database.prices FINAL
    WHERE catalog = (SELECT argMax(catalog, activated_at) FROM $database.catalogs)
) AS listed
GROUP BY rate_card, variant, valid_from, valid_to;

-- Two steps, because a look-up by text and time costs as much again for every attribute that it is asked for.
CREATE OR REPLACE DICTIONARY $database.rate_set_at
(
    rate_card   String,
    variant     String,
    valid_from  DateTime('UTC'),
    valid_to    DateTime('UTC'),
    rate_set    UInt64
)
PRIMARY KEY rate_card, variant
SOURCE(CLICKHOUSE(DB '$database' TABLE 'rate_cards'$dictionary_credentials))
LAYOUT(COMPLEX_KEY_RANGE_HASHED())
RANGE(MIN valid_from MAX valid_to)
LIFETIME(0);

CREATE OR REPLACE DICTIONARY $database.rate_sets
(
    rate_set          UInt64,
    windows           Array(UInt32),
    thresholds        Array(Int64),
    unit_prices       Array(Decimal(38, 18)),
    currency          String,
    price_valid_from  DateTime('UTC'),
    catalog           String
)
PRIMARY KEY rate_set
SOURCE(CLICKHOUSE(DB '$database' TABLE 'rate_cards'$dictionary_credentials))
LAYOUT(HASHED())
LIFETIME(0);

CREATE OR REPLACE VIEW $database.resolved_models AS
SELECT provider, host, request_model, response_model, rate_card, tiered, reason
FROM $database.models FINAL;

CREATE OR REPLACE DICTIONARY $database.model_rate_card
(
    provider        String,
    host            String,
    request_model   String,
    response_model  String,
    rate_card       String,
    tiered          UInt8,
    reason          String
)
PRIMARY KEY provider, host, request_model, response_model
SOURCE(CLICKHOUSE(DB '$database' TABLE 'resolved_models'$dictionary_credentials))
LAYOUT(COMPLEX_KEY_HASHED())
LIFETIME(0);
