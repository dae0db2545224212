"""Whole runs beside the measurements of real engines that aiconfigurator-core carries (`silicon_sample.csv`)."""
