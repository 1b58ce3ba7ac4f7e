-- The prices in force, as price/rate_cards.sql folds them.
CREATE OR REPLACE VIEW $database.rate_cards AS
$rate_cards;

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
    windows           String,
    thresholds        String,
    unit_prices       String,
    detail_meters     String,
    currency          String,
    billing_currency  String,
    price_valid_from  DateTime('UTC'),
    catalog           String
)
PRIMARY KEY rate_set
SOURCE(CLICKHOUSE(DB '$database' TABLE 'rate_cards'$dictionary_credentials))
LAYOUT(HASHED())
LIFETIME(0);

CREATE OR REPLACE VIEW $database.resolved_models AS
SELECT provider, host, request_model, response_model, rate_card, tiered, sized, reason, candidates
FROM $database.models FINAL;

CREATE OR REPLACE DICTIONARY $database.model_rate_card
(
    provider        String,
    host            String,
    request_model   String,
    response_model  String,
    rate_card       String,
    tiered          UInt8,
    sized           UInt8,
    reason          String,
    candidates      Array(String)
)
PRIMARY KEY provider, host, request_model, response_model
SOURCE(CLICKHOUSE(DB '$database' TABLE 'resolved_models'$dictionary_credentials))
LAYOUT(COMPLEX_KEY_HASHED())
LIFETIME(0);

CREATE OR REPLACE VIEW $database.exchange_rates_in_force AS
SELECT base, quote, valid_from, valid_to, rate
FROM $database.exchange_rates FINAL
WHERE catalog = (SELECT argMax(catalog, activated_at) FROM $database.catalogs);

CREATE OR REPLACE DICTIONARY $database.exchange_rate_at
(
    base        String,
    quote       String,
    valid_from  DateTime('UTC'),
    valid_to    DateTime('UTC'),
    rate        Decimal(38, 18)
)
PRIMARY KEY base, quote
SOURCE(CLICKHOUSE(DB '$database' TABLE 'exchange_rates_in_force'$dictionary_credentials))
LAYOUT(COMPLEX_KEY_RANGE_HASHED())
RANGE(MIN valid_from MAX valid_to)
LIFETIME(0);
