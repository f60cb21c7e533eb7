"""One thread for every test: two cores are shared, and one thread makes the order of sums the same everywhere."""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
