"""Who a call is made for: tags, the feature, and how both reach other threads, processes and services."""
