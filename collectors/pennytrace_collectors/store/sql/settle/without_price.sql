status != 'priced' AND usage_fault = '' AND usage_source != 'missing'
