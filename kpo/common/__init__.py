"""What every room uses and what uses none of them: files, locks, seeds, hashes, manifests."""
