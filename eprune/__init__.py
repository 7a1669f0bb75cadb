"""eprune: take deep-learning inference apart and spread it over devices, on a formal dataflow model."""

__version__ = "0.1.0"
