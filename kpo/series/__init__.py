"""Is there structure in log-ratios, from token to token, that a filter could find?"""
