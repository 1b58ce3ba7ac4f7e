-- Unit prices, one row a price: what one unit of a meter costs, from when, in which part of the day and above which input.
-- `unit_price` is per single unit (one token, one request), so that cost = quantity * unit_price.
CREATE TABLE $database.prices
(
    catalog       String,                     -- identity of the compiled price list, see `catalogs`
    rate_card     LowCardinality(String),     -- 'openai/gpt-4o': the prices of one model at one provider
    variant       LowCardinality(String),     -- '' standard, else the service tier as served, 'flex'
    valid_from    DateTime('UTC'),            -- inclusive
    valid_to      DateTime('UTC'),            -- inclusive, to the second
    window_from   UInt32,                     -- second of the UTC day from which the price holds
    above         Int64,                      -- holds when the call's total input is more than this; -1 always
    meter         LowCardinality(String),
    unit_price    Decimal(38, 18),
    currency      LowCardinality(String),
    price_key     LowCardinality(String),     -- the source's own name of the price, 'cache_read_mtok'
    source        LowCardinality(String)      -- who says so
)
ENGINE = $replacing_merge_tree
ORDER BY (catalog, rate_card, variant, valid_from, window_from, above, meter);

-- What each (provider, host, models) seen in calls is priced as. An empty rate card has a reason.
CREATE TABLE $database.models
(
    provider        LowCardinality(String),
    host            LowCardinality(String),
    request_model   String,
    response_model  String,
    rate_card       String,
    tiered          UInt8,                    -- 1: the card's service-tier variants apply to this provider
    reason          LowCardinality(String),
    catalog         String,
    resolved_at     DateTime64(3, 'UTC')
)
ENGINE = $replacing_merge_tree(resolved_at)
ORDER BY (provider, host, request_model, response_model);

-- Each price list that was ever in force here; the newest is the one in use.
CREATE TABLE $database.catalogs
(
    catalog          String,
    genai_prices     LowCardinality(String),  -- version of the compiled package
    newest_price     DateTime('UTC'),         -- start of its newest price in force: it is at least as young as that
    activated_at     DateTime64(3, 'UTC')
)
ENGINE = $replacing_merge_tree(activated_at)
ORDER BY catalog;
