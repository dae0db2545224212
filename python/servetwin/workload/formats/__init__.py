"""The formats of traces: one module a format, or a family of them."""
