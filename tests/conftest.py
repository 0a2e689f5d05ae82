"""Settings for every test."""

import os

# One thread: the models are tiny, and threads that wait for each other crawl on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
