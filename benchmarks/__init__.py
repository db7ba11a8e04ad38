"""What is measured: `python -m benchmarks PART`. Each part writes its section of ``results/``."""
