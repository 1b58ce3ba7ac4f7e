"""From a finished call to the collector, without loss: the queue, the spool on disk, and the wire."""
