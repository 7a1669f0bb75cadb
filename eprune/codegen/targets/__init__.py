"""What a Program becomes: a file a target, each ``Program -> {path: bytes}``, with the spelling of its language."""
