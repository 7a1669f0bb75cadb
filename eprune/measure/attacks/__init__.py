"""How pictures are reconstructed from tokens: a module for each attack, ``prepared(own, target) -> Inversion``."""
