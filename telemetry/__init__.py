"""What happened: the exchange store, prices and metrics."""
