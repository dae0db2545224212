"""How wrong the models are: against timings that others measured."""
