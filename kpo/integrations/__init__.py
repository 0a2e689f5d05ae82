"""The objectives in the frameworks of others: adapters over the same code."""
