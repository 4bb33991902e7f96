"""Examples that were made elsewhere: seed sets, training files, and what becomes of them."""
