"""Operators that an exporter took apart, fused back into one."""
