"""Numbers as text tables, JSON, CSV, charts and pages."""
