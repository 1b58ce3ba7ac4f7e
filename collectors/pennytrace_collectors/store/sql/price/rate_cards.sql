-- Prices, folded so that one look-up by (rate card, variant, time) brings all that pricing a call needs: for each window of
-- the day and each band of input size in turn, the unit price of every token meter and of the request, -1 where there is
-- none; and, in the few cards that price anything else, that of each of their `detail_meters`. Prices of one period in two
-- currencies make no sum, so no call is priced by them.
-- The lists are strings of their bytes: a dictionary keeps an array as boxed values, whose look-up takes 2 us a call.
SELECT
    cityHash64(rate_card, variant, valid_from) AS rate_set,
    rate_card,
    variant,
    valid_from,
    valid_to,
    arraySort(groupUniqArray(window_from)) AS starts,
    arraySort(groupUniqArray(above)) AS bands,
    arraySort(groupUniqArrayIf(CAST(meter AS $meter_enum), meter IN $detail_meter_names)) AS details,
    groupArray((window_from, above, meter)) AS cells,
    groupArray(unit_price) AS prices,
    arrayMap(start -> arrayMap(band -> arrayMap(
        name -> if(has(cells, (start, band, name)), prices[indexOf(cells, (start, band, name))], toDecimal128(-1, 18)),
        arrayConcat($dense_meter_names, CAST(details AS Array(String)))), bands), starts) AS table_of_prices,
    unhex(arrayStringConcat(arrayMap(start -> hex(reinterpretAsFixedString(start)), starts))) AS windows,
    unhex(arrayStringConcat(arrayMap(band -> hex(reinterpretAsFixedString(band)), bands))) AS thresholds,
    unhex(arrayStringConcat(arrayMap(price -> hex(reinterpretAsFixedString(price)), arrayFlatten(table_of_prices)))) AS unit_prices,
    unhex(arrayStringConcat(arrayMap(meter -> hex(reinterpretAsFixedString(CAST(meter AS Int8))), details))) AS detail_meters,
    any(listed.currency) AS currency,
    any(listed.billing_currency) AS billing_currency,
    any(listed.valid_from) AS price_valid_from,
    any(listed.catalog) AS catalog
FROM $prices AS listed
GROUP BY rate_card, variant, valid_from, valid_to
HAVING uniqExact(listed.currency) = 1
