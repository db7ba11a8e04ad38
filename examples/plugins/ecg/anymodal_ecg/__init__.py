"""Electrocardiograms for anymodal: a kind of file and a tower."""
