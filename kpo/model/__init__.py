"""The policy: loading, packing, the LM head, decoding with a cache."""
