"""Prompts of which some are equal, and a response to each."""

PROMPTS = [[5, 6, 7], [9], [5, 6, 7], [4, 8, 15, 16, 23, 42, 50], [5, 6, 7]]
RESPONSES = [[11, 12, 13, 14], [20], [61, 62, 1], [33, 1, 35, 36, 37], [70]]
PROMPTS.append(PROMPTS[3])  # of 11 and 10 tokens, these two share a padded bucket
RESPONSES.append([2, 3, 9, 10])
LENGTHS = [len(x) + len(y) - 1 for x, y in zip(PROMPTS, RESPONSES, strict=True)]
