-- Which dialect told of a call, so that one can ask who did; '' of what was stored before.
ALTER TABLE $database.calls
    ADD COLUMN IF NOT EXISTS dialect LowCardinality(String) AFTER scope
SETTINGS alter_sync = 2;
