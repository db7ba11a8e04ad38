"""What quantization costs and gains, beside other runtimes. These parts import torch."""
