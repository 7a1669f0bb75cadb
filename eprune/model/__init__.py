"""The formal objects: frozen dataclasses and pure functions over them. Imports nothing else of eprune."""
