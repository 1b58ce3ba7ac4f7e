-- What calls come to in the currency of the reports, where no exchange rate was known, or reports were in another currency.
-- What they were charged stays, and so does what had no rate when its month was closed. An amount for which there is still no rate says so, by a NULL.
INSERT INTO $database.calls
SELECT * EXCEPT known REPLACE ('$currency' AS billing_currency, known AS exchange_rate, version + 10000000000000 AS version)
FROM
(
    SELECT *,
        if(currency = '$currency', toDecimal128(1, 18),
            dictGetOrNull('$database.exchange_rate_at', 'rate', (toString(currency), '$currency'), toDateTime(started_at, 'UTC'))) AS known
    FROM $database.calls FINAL
    WHERE currency != '' AND (billing_currency != '$currency'
        OR exchange_rate IS NULL AND toStartOfMonth(started_at) NOT IN (SELECT month FROM $database.months))
)
WHERE billing_currency != '$currency' OR known IS NOT NULL
