"""The commands, one file each; no logic beyond arguments, progress and printing."""
