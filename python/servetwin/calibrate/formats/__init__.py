"""Readers, one a format of measurements."""
